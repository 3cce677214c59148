"""Texts for people at a terminal: durations, money, and what came from outside made harmless and short. Pure.

Nothing that a record, a cloud or a file says reaches a terminal with its control characters.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

NO_TIME = "0001-01-01T00:00:00Z"
MARK = "\ufffd"
UNITS_S = ((86400, "d"), (3600, "h"), (60, "m"))


def printable(text: object) -> str:
    """On one line, without control characters, also those that turn the direction of writing."""
    return "".join(letter if letter.isprintable() else MARK for letter in str(text))


def width_of(text: str) -> int:
    """How many columns of a terminal it takes: wide letters take two, marks that sit on others none."""
    if text.isascii():
        return len(text)
    return sum(_width(letter) for letter in text)


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def fitted(text: str, size: int) -> str:
    """At most ``size`` columns wide; what was cut shows as three dots."""
    if width_of(text) <= size:
        return text
    kept, left = "", max(0, size - 3)
    for letter in text:
        left -= _width(letter)
        if left < 0:
            break
        kept += letter
    return (kept + "...")[: max(size, 0)] if size < 3 else kept + "..."


def padded(text: str, size: int, *, right: bool = False) -> str:
    blanks = " " * max(0, size - width_of(text))
    return blanks + text if right else text + blanks


def duration(value_s: float | None) -> str:
    """Short, for people: ``4.2 s``, ``3m07s``."""
    if value_s is None:
        return ""
    if value_s < 60:
        return f"{value_s:.1f} s"
    return f"{int(value_s) // 60}m{int(value_s) % 60:02}s"


def span(value_s: float | None) -> str:
    """Shorter still, of any length: ``7s``, ``3m07s``, ``2h05m``, ``4d03h``."""
    if value_s is None:
        return ""
    left = max(0, int(value_s))
    if left < 60:
        return f"{left}s"
    size, unit = next(each for each in UNITS_S if left >= each[0])
    smaller, small = {"d": (3600, "h"), "h": (60, "m"), "m": (1, "s")}[unit]
    return f"{left // size}{unit}{left % size // smaller:02}{small}"


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def money(amount: float) -> str:
    return f"${amount:.4f}"


def seconds(text: object) -> float | None:
    """Seconds since 1970 of a time in RFC 3339, whatever its digits; None when there is none, and for the zero time."""
    if not isinstance(text, str) or text in ("", NO_TIME):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
