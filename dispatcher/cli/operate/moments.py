"""When an operator's choice ends, and who the operator is: as people say it, made into what the management API takes."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from dispatcher.cli.operate.ends import USAGE, Ended

DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+", re.ASCII)
CLOCK = re.compile(r"\d{1,2}:\d\d", re.ASCII)
LONGEST_TEXT = 256


def end_of(lasts: str | None, until: str | None, now_s: float) -> str:
    """A duration, or a time in UTC; empty for no end. Raises Ended."""
    if lasts is not None and until is not None:
        raise Ended(USAGE, "--for and --until are two ways to say one thing: give one of them")
    if lasts is not None:
        if not DURATION.fullmatch(lasts):
            raise Ended(USAGE, f"--for {lasts!r}: has to be a duration like 90s, 2h or 1d12h")
        return lasts
    return "" if until is None else _moment(until, now_s)


def _moment(text: str, now_s: float) -> str:
    now = datetime.fromtimestamp(now_s).astimezone()
    try:
        found = _next(text, now) if CLOCK.fullmatch(text) else datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise Ended(USAGE, f"--until {text!r}: has to be a time like 18:30, 2027-01-15T08:00 or 2027-01-15T08:00:00Z") from None
    if found <= now:
        raise Ended(USAGE, f"--until {text!r}: that is in the past")
    return found.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _next(text: str, now: datetime) -> datetime:
    """The time of day, today or tomorrow."""
    hour, _, minute = text.partition(":")
    today = now.replace(tzinfo=None, hour=int(hour), minute=int(minute), second=0, microsecond=0).astimezone()
    return today if today > now else (today.replace(tzinfo=None) + timedelta(days=1)).astimezone()


def actor(environment: Mapping[str, str] = os.environ) -> str:
    """Who sits at the keyboard, also behind sudo."""
    try:
        user = environment.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:LONGEST_TEXT]
