"""Why a container waits, in lines: what for, since when, what was considered, and what would have to change. Pure.

Only what the dispatcher says is shown; one that says no more than ``scheduling_status`` is shown as far as it goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dispatcher.cli.operate import table
from dispatcher.cli.operate.containers import state_of, uuid_of
from dispatcher.cli.operate.dispatchers import Record
from dispatcher.cli.operate.instances import ago
from dispatcher.cli.operate.table import Column
from dispatcher.cli.terminal import BOLD, DIM, Line, Span, line
from dispatcher.cli.words import printable

CONSIDERED = (
    Column(title="TYPE", of=lambda each: each.get("type")),
    Column(title="PRICE", of=lambda each: each.get("price"), right=True, drop=1),
    Column(title="WHY NOT", of=lambda each: each.get("why_not") or "-"),
)


def reasons(entry: Record, width: int | None, now_s: float) -> list[Line]:
    """From one container's entry. ``why`` stands in it where the dispatcher can tell."""
    told = entry.get("why") if isinstance(entry.get("why"), dict) else {}
    assert isinstance(told, dict)
    sentence = told.get("waits_for") or entry.get("scheduling_status") or _by_state(state_of(entry))
    lines = [line(Span(printable(uuid_of(entry)), BOLD), f" {printable(state_of(entry))}"), line(printable(sentence))]
    since = told.get("since") or entry.get("first_seen_at")
    if since and ago(since, now_s) != "-":
        lines.append(line(Span(f"since {printable(since)} ({ago(since, now_s)} ago)", DIM)))
    return [*lines, *_considered(_items(told.get("considered")), width), *_changes(_items(told.get("changes")))]


def _by_state(state: str) -> str:
    return "it runs, and waits for nothing" if state == "Running" else "the dispatcher does not say what it waits for"


def _items(found: Any) -> list[Record]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list | tuple) else []


def _considered(items: list[Record], width: int | None) -> Iterable[Line]:
    if items:
        yield from (line(""), line(Span("considered, cheapest first", DIM)))
        yield from table.lines(CONSIDERED, items, width)


def _changes(items: list[Record]) -> Iterable[Line]:
    if items:
        yield from (line(""), line(Span("what would have to change", DIM)))
        yield from (line(f"  {printable(each.get('text'))}") for each in items)
