"""What the headers of an answer say about pace: how long to wait, and how many calls are left. Pure.

A date in ``Retry-After`` is measured against the ``Date`` of the same answer, so that no clock of ours is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

RETRY_AFTER = "retry-after"
_RETRY_AFTER_MS = ("retry-after-ms", "x-ms-retry-after-ms")
_REMAINING = "x-ms-ratelimit-remaining-"
_OF_ONE = "resource"  # Microsoft.Compute/PutVMResource: the limit of one machine
_AMOUNT = re.compile(r"\s*(?:([^;]*);)?\s*(\d+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """``retry_after_s`` is None when the answer asked for no pause; ``retry_at`` (Unix seconds) when it named a date and did
    not tell its own time. ``remaining`` is the smallest number of calls that a limit for all machines leaves;
    ``one_machine`` says that what is used up is the limit of a single one."""

    retry_after_s: float | None = None
    retry_at: float | None = None
    remaining: int | None = None
    one_machine: bool = False


def pace_of(headers: Mapping[str, str]) -> Pace:
    lowered = {name.lower(): value for name, value in headers.items()}
    after_s, at = _retry_after(lowered)
    amounts = _amounts(lowered)
    shared = [amount for name, amount in amounts if not name.endswith(_OF_ONE)]
    narrow = any(amount == 0 for name, amount in amounts if name.endswith(_OF_ONE)) and 0 not in shared
    return Pace(retry_after_s=after_s, retry_at=at, remaining=min(shared, default=None), one_machine=narrow)


def _retry_after(headers: Mapping[str, str]) -> tuple[float | None, float | None]:
    for name in _RETRY_AFTER_MS:
        milliseconds = _number(headers.get(name, ""))
        if milliseconds is not None:
            return milliseconds / 1000.0, None
    text = headers.get(RETRY_AFTER, "")
    seconds = _number(text)
    if seconds is not None:
        return seconds, None
    until, now = _unix_s(text), _unix_s(headers.get("date", ""))
    if until is None:
        return None, None
    return (max(0.0, until - now), None) if now is not None else (None, until)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,9}(\.\d+)?", text.strip()) else None


def _unix_s(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (TypeError, ValueError):
        return None


def _amounts(headers: Mapping[str, str]) -> list[tuple[str, int]]:
    """(name of the limit in lower case, calls left). Several in one header are joined by commas:
    ``Microsoft.Compute/PutVMSubscriptionMaximum;1100,Microsoft.Compute/PutVMResource;11``."""
    parts = [part for name, value in headers.items() if name.startswith(_REMAINING) for part in value.split(",")]
    return [((match[1] or "").lower(), int(match[2])) for part in parts if (match := _AMOUNT.fullmatch(part))]
