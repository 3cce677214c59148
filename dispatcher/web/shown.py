"""How facts are written for people: times on the wall, text from outside made harmless, numbers with their unit.

Pure. HTML is escaped by the templates; here go control characters, and whatever turns the direction of a line around.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache

from dispatcher.core.notes import one_line
from dispatcher.frozen import dataclass

TEXT_CHARACTERS = 500


def plain(text: object, most: int = TEXT_CHARACTERS) -> str:
    """Text from outside: one line, bounded, without control characters."""
    if text is None:
        return ""
    text = str(text)
    good = len(text) <= most and text.isprintable() and "  " not in text and text == text.strip()  # nearly always
    return text if good else one_line(text, most)


@dataclass(frozen=True, slots=True)
class Wall:
    """Turns the monotonic clock into wall time. ``offset_s`` is Unix time minus monotonic time."""

    offset_s: float

    def unix_s(self, at_s: float | None) -> int | None:
        """Whole seconds: what is written twice is written alike."""
        return math.floor(at_s + self.offset_s) if at_s is not None and math.isfinite(at_s) else None

    def utc(self, at_s: float | None) -> str:
        """RFC 3339 to the second; empty for what never was."""
        whole = self.unix_s(at_s)
        return utc_text(whole) if whole is not None else ""


@lru_cache(maxsize=1 << 13)
def utc_text(unix_s: int) -> str:
    try:
        return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


@lru_cache(maxsize=1 << 13)
def seconds_of(text: str) -> float | None:
    """Unix seconds of an RFC 3339 text; None when it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def duration(seconds: float) -> str:
    """The two largest units: 5 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = max(0, int(seconds))
    for size, unit, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit} {rest} {small}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def age(text: str, now_text: str) -> str:
    """How long ago a time was, or how long until it comes."""
    at_s, now_s = seconds_of(text), seconds_of(now_text)
    if at_s is None or now_s is None:
        return "never"
    return f"in {duration(at_s - now_s)}" if at_s > now_s + 1 else duration(now_s - at_s)


def money(amount: float) -> str:
    """As many digits as tell something, never an exponent."""
    if amount and abs(amount) < 0.01:
        return f"{amount:.4f}"
    return f"{amount:,.2f}"


def size(bytes_: int) -> str:
    """Binary units, one digit."""
    value, unit = float(bytes_), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"
