"""The terminal: a compact view that is drawn over itself, or plain lines where there is no terminal.

Nothing is hidden and no other screen is used, so that a program that is killed leaves the terminal as it should be.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import TextIO

from dispatcher.cli.words import fitted, width_of
from dispatcher.frozen import dataclass

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"
UP, CLEAR_LINE, CLEAR_BELOW, CLEAR_ALL = "\x1b[{}A", "\x1b[K", "\x1b[J", "\x1b[2J\x1b[H"


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    colour: str = ""


Line = tuple[Span, ...]


def line(*parts: Span | str) -> Line:
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


class Screen:
    """``live``: the view is drawn; else only what is said is written."""

    def __init__(self, out: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._out = out
        self.live = out.isatty() and environment.get("TERM", "dumb") != "dumb"
        self._coloured = self.live and not environment.get("NO_COLOR")
        self._drawn = 0
        self._size = self.size()

    def size(self) -> tuple[int, int]:
        """Columns and rows; generous where there is no terminal."""
        found = shutil.get_terminal_size((100, 24))
        return found.columns, found.lines

    @property
    def plain_letters(self) -> bool:
        return "utf" not in (self._out.encoding or "").lower()

    def say(self, text: str = "", colour: str = "") -> None:
        """A line that stays."""
        self.clear()
        self._write(self._styled(Span(text, colour)) + "\n")

    def show(self, lines: Sequence[Line]) -> None:
        """The view of now, over the last one."""
        if not self.live:
            return
        columns, rows = self.size()
        begin = self._back(columns, rows)
        shown = [self._cut(each, columns - 1) for each in lines[: rows - 1]]
        self._write(begin + "".join(f"{text}{CLEAR_LINE}\n" for text in shown) + CLEAR_BELOW)
        self._drawn = len(shown)

    def clear(self) -> None:
        """Take the view away."""
        if self._drawn:
            self._write(self._back(*self.size()) + CLEAR_BELOW)
            self._drawn = 0

    def _back(self, columns: int, rows: int) -> str:
        """To where the view begins. After a change of size nobody knows where that is."""
        changed = (columns, rows) != self._size
        self._size = (columns, rows)
        if changed and self._drawn:
            return CLEAR_ALL
        return UP.format(self._drawn) if self._drawn else ""

    def _cut(self, spans: Line, columns: int) -> str:
        text, left = "", columns
        for span in spans:
            shown = fitted(span.text, left) if width_of(span.text) > left else span.text
            text += self._styled(Span(shown, span.colour))
            left -= width_of(shown)
        return text

    def _styled(self, span: Span) -> str:
        if not (span.colour and self._coloured and span.text):
            return span.text
        return f"\x1b[{span.colour}m{span.text}\x1b[0m"

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
