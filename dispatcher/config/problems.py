"""What is wrong with the configuration, and where each value came from, as values.

A problem names file, line and key and says what to write instead; it never holds the value of a key that may be secret.
"""

from __future__ import annotations

import enum

from dispatcher.frozen import dataclass


class Severity(enum.StrEnum):
    ERROR = "error"  # the dispatcher cannot start
    WARNING = "warning"  # it can, and somebody should look


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """``path`` is dotted, as in the file. ``unreadable``: the file itself could not be had, so nothing in it was checked."""

    severity: Severity
    file: str
    text: str
    path: str = ""
    line: int | None = None
    column: int | None = None
    unreadable: bool = False

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return ": ".join(part for part in (place, self.path, self.text) if part)


class Source(enum.StrEnum):
    FILE = "file"
    DEFAULT = "default"
    CHOSEN = "chosen by us"  # the site named no pace, so the dispatcher finds its own
    DERIVED = "derived"  # made from other keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value in force came from. ``note`` says how it was derived."""

    source: Source
    file: str = ""
    line: int | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.source is Source.FILE:
            return f"{self.file}:{self.line}" if self.line is not None else self.file
        return self.note or str(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """One value in force, as shown to people: secrets only as ``set`` or ``not set``."""

    path: str
    shown: str
    origin: Origin
