"""The view of ``watch`` as lines of a terminal, and as one line where there is no terminal. Pure.

What has to be seen comes first: rows that do not fit are taken from the instances, those that changed last go first.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.cli.operate import table
from dispatcher.cli.operate.instances import BEHAVIOUR_COLOURS, STATE_COLOURS
from dispatcher.cli.operate.standing import Cell, Standing
from dispatcher.cli.operate.status import lines
from dispatcher.cli.operate.table import Column
from dispatcher.cli.terminal import DIM, RED, Line, Span, line
from dispatcher.cli.words import printable, span

LEAST_FLEET = 3
MOST_DECISIONS = 6

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
    head = lines(standing)
    if trouble:
        head = [line(Span(f"no answer for {span(silent_s)}: {printable(trouble)}", RED)), *head]
    decisions = [line(Span(printable(text), DIM)) for text in standing.decisions[-MOST_DECISIONS:]]
    room = rows - len(head) - (len(decisions) + 1 if decisions else 0) - 1
    fleet = fleet_lines(standing.fleet, columns, max(room, LEAST_FLEET))
    return [*head, *([line(""), *fleet] if fleet else []), *([line(""), *decisions] if decisions else [])][:rows]


def fleet_lines(fleet: Sequence[Cell], columns: int, rows: int) -> list[Line]:
    """Who has not changed for the longest comes first: that is where something hangs."""
    ordered = sorted(fleet, key=lambda cell: (-(cell.age_s or 0.0), cell.name))
    room = rows - 1 if len(ordered) < rows else rows - 2
    shown = ordered[: max(room, 1)]
    made = table.lines(CELLS, shown, columns)
    more = len(ordered) - len(shown)
    return [*made, line(Span(f"and {more} more: cloud-dispatcher instance list", DIM))] if more else made


def change_line(standing: Standing) -> str:
    """All that matters of a moment; a line is written when it differs from the last one."""
    counted = ", ".join(f"{number} {state}" for state, number in standing.instances().items()) or "none"
    steps = ", ".join(f"{step.count} {step.name}" for step in standing.steps if step.count) or "none"
    return f"{standing.level}: {standing.text}; containers: {steps}; instances: {counted}; {standing.price:g} per hour"


