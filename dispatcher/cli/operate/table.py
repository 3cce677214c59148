"""Tables that fit the terminal: what identifies a thing is never cut, what matters least is left out first.

Pure: cells and a width in, lines out. Where there is no terminal nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dispatcher.cli.terminal import Line, Span
from dispatcher.cli.words import fitted, padded, printable, width_of
from dispatcher.frozen import dataclass

GAP = "  "
NARROWEST = 16  # a column of sentences is not cut further


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """``of`` makes the cell. ``drop``: the greatest is left out first when it gets narrow, 0 never. ``cut``: may be shortened.
    ``colour`` of the cell's text."""

    title: str
    of: Callable[[Any], object]
    drop: int = 0
    cut: bool = False
    right: bool = False
    colour: Callable[[str], str] = lambda text: ""


def lines(columns: Sequence[Column], rows: Sequence[Any], width: int | None) -> list[Line]:
    """The headings and a line for each row. ``width`` None: as wide as it gets."""
    if not rows:
        return []
    cells = [[printable(column.of(row)) for column in columns] for row in rows]
    sizes = [max(map(width_of, (column.title, *each))) for column, each in zip(columns, zip(*cells, strict=True), strict=True)]
    kept = list(range(len(columns)))
    if width is not None:
        kept = _kept(columns, sizes, width)
        sizes = _narrowed(columns, sizes, kept, width)
    head = tuple(Span(_cell(columns[n], columns[n].title, sizes[n], n == kept[-1]), "1") for n in kept)
    return [head, *(tuple(_span(columns[n], row[n], sizes[n], n == kept[-1]) for n in kept) for row in cells)]


def _kept(columns: Sequence[Column], sizes: Sequence[int], width: int) -> list[int]:
    kept = list(range(len(columns)))
    while _total(columns, sizes, kept) > width:
        droppable = [n for n in kept if columns[n].drop]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda n: columns[n].drop))
    return kept


def _total(columns: Sequence[Column], sizes: Sequence[int], kept: Sequence[int]) -> int:
    """With what can be cut cut as far as may be."""
    least = (min(sizes[n], NARROWEST) if columns[n].cut else sizes[n] for n in kept)
    return sum(least) + len(GAP) * (len(kept) - 1)


def _narrowed(columns: Sequence[Column], sizes: Sequence[int], kept: Sequence[int], width: int) -> list[int]:
    narrowed = list(sizes)
    for n in reversed(kept):
        over = sum(narrowed[each] for each in kept) + len(GAP) * (len(kept) - 1) - width
        if over > 0 and columns[n].cut:
            narrowed[n] = max(min(NARROWEST, narrowed[n]), narrowed[n] - over)
    return narrowed


def _span(column: Column, text: str, size: int, last: bool) -> Span:
    return Span(_cell(column, text, size, last), column.colour(text))


def _cell(column: Column, text: str, size: int, last: bool) -> str:
    shown = fitted(text, size) if column.cut else text
    if column.right:
        return padded(shown, size, right=True) + ("" if last else GAP)
    return shown if last else padded(shown, size) + GAP


def pairs(facts: Sequence[tuple[str, object]]) -> list[Line]:
    """A line for each fact that there is."""
    there = [(name, printable(value)) for name, value in facts if value not in ("", None)]
    size = max((len(name) for name, _ in there), default=0)
    return [(Span(f"{name:<{size}}{GAP}", "2"), Span(value)) for name, value in there]
