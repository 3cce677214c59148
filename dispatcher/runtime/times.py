"""Wall time as text, for people, logs and tags. Nothing is ever decided by it."""

from __future__ import annotations

import time
from datetime import datetime
from functools import lru_cache

from dispatcher.runtime.ports import Clock


def rfc3339(wall_s: float) -> str:
    """UTC with nanoseconds: 2027-01-15T08:00:00.000000000Z. Times that no calendar has are shown as the earliest."""
    whole, part = divmod(round(wall_s * 1e9), 1_000_000_000)
    try:
        day = _second(whole)
    except (OverflowError, ValueError, OSError):
        return "0001-01-01T00:00:00Z"
    return f"{day}.{part:09d}Z"


@lru_cache(maxsize=16)  # most of what is written falls into the same few seconds
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def unix_s(text: str) -> float | None:
    """The Unix time of an RFC 3339 text; None when it is none, or a date that no calendar has."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def utc_at(clock: Clock, at_s: float) -> str:
    """The wall time of a moment of the monotonic clock, as the wall clock stands now."""
    return rfc3339(clock.wall() - (clock.monotonic() - at_s))
