"""The view of ``watch`` as lines of a terminal, and as one line where there is no terminal. Pure.

What has to be seen comes first: rows that do not fit are taken from the instances, those that changed last go first.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from dispatcher.cli.operate import table
from dispatcher.cli.operate.instances import BEHAVIOUR_COLOURS, STATE_COLOURS
from dispatcher.cli.operate.standing import Cell, Standing
from dispatcher.cli.operate.status import lines
from dispatcher.cli.operate.table import NARROWEST, Column
from dispatcher.cli.terminal import DIM, RED, Line, Span, line
from dispatcher.cli.words import printable, span, width_of

LEAST_FLEET = 3
MOST_DECISIONS = 6
MOST_VERDICT_LINES = 3
LONG_BEGINNING = 12
OUR_NAME = re.compile(r"\b\w+-[0-9a-z]{20,}-(?=[0-9a-z])")  # kind and set of an instance, before what is its own

CELLS = (
    Column(title="INSTANCE", of=lambda cell: cell.name),
    Column(title="STATE", of=lambda cell: cell.state, colour=lambda text: STATE_COLOURS.get(text, "")),
    Column(title="BEHAVIOR", of=lambda cell: cell.behaviour, colour=lambda text: BEHAVIOUR_COLOURS.get(text, ""), drop=2),
    Column(title="TYPE", of=lambda cell: cell.type, drop=3),
    Column(title="SINCE", of=lambda cell: span(cell.age_s) or "-", right=True, drop=1),
    Column(title="RUNS", of=lambda cell: cell.runs, right=True, drop=4),
    Column(title="PRICE", of=lambda cell: f"{cell.price:g}", right=True, drop=5),
    Column(title="NOTE", of=lambda cell: cell.note, cut=True, drop=6),
)


def scene(standing: Standing, columns: int, rows: int, *, trouble: str = "", silent_s: float = 0.0) -> list[Line]:
    """At most ``rows`` lines."""
    head = [*verdict(standing, columns), *lines(standing)[1:]]
    if trouble:
        head = [line(Span(f"no answer for {span(silent_s)}: {printable(trouble)}", RED)), *head]
    decisions = [line(Span(told(text, columns), DIM)) for text in standing.decisions[-MOST_DECISIONS:]]
    room = rows - len(head) - (len(decisions) + 1 if decisions else 0) - 1
    fleet = fleet_lines(standing.fleet, columns, max(room, LEAST_FLEET))
    return [*head, *([line(""), *fleet] if fleet else []), *([line(""), *decisions] if decisions else [])][:rows]


def verdict(standing: Standing, columns: int) -> list[Line]:
    """The one sentence that must not be cut goes on below."""
    word, rest = lines(standing)[0]
    first, *more = textwrap.wrap(word.text + rest.text, max(columns, NARROWEST)) or [""]
    begun = line(word, first.removeprefix(word.text))
    return [begun, *(line(f"  {text}") for text in more[:MOST_VERDICT_LINES])]


def fleet_lines(fleet: Sequence[Cell], columns: int, rows: int) -> list[Line]:
    """Who has not changed for the longest comes first: that is where something hangs."""
    ordered = sorted(fleet, key=lambda cell: (-(cell.age_s or 0.0), cell.name))
    room = rows - 1 if len(ordered) < rows else rows - 2
    shown = ordered[: max(room, 1)]
    made = table.lines(CELLS, shown, None)
    if any(sum(width_of(span.text) for span in each) > columns for each in made):
        made = table.lines(CELLS, shortened(shown), columns)
    more = len(ordered) - len(shown)
    return [*made, line(Span(f"and {more} more: cloud-dispatcher instance list", DIM))] if more else made


def shortened(cells: Sequence[Cell]) -> list[Cell]:
    """Without the long beginning that all their names share: there is no room for it, and ``instance list`` has them whole."""
    names = [cell.name for cell in cells]
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(min(names), max(names), strict=False))
    cut = "".join(letter for letter, _ in alike).rfind("-") + 1
    return [replace(cell, name=f"...{cell.name[cut:]}") for cell in cells] if cut >= LONG_BEGINNING else list(cells)


def told(decision: str, columns: int) -> str:
    """Long names lose their beginning here too before the sentence is cut."""
    text = printable(decision)
    return text if width_of(text) <= columns else OUR_NAME.sub("...", text)


def change_line(standing: Standing) -> str:
    """All that matters of a moment; a line is written when it differs from the last one."""
    counted = ", ".join(f"{number} {state}" for state, number in standing.instances().items()) or "none"
    steps = ", ".join(f"{step.count} {step.name}" for step in standing.steps if step.count) or "none"
    return f"{standing.level}: {standing.text}; containers: {steps}; instances: {counted}; {standing.price:g} per hour"


