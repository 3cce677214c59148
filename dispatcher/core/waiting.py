"""Who waits, read off the parts of the map of containers: whatever did not change since the last pass is not looked at again.

Those who wait for a place stand in one line for each ``Fit``, in turn. A line for which nothing can be had any more is put aside
as a whole: whatever refused a type to it refuses that type to everybody who comes later in the pass.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import field

from dispatcher.core.model import NEVER, Container, ContainerState, State
from dispatcher.frozen import dataclass

Turn = tuple[int, float, str]
"""By priority, then who was here first: the smaller comes first."""
Entry = tuple[int, float, str, Container]


def turn_of(container: Container) -> Turn:
    return (-container.priority, container.first_seen_s, container.uuid)


@dataclass(slots=True)
class _Part:
    """The same of one part of the map, the Queued in turn, and with them who is locked ahead. ``odd``: those who have to be
    looked at one by one."""

    placed: list[Container] = field(default_factory=list)
    locked: list[Container] = field(default_factory=list)
    order: list[Entry] = field(default_factory=list)
    plain: dict[int, list[Entry]] = field(default_factory=dict)
    odd: list[Entry] = field(default_factory=list)


def _part(containers: Collection[Container]) -> _Part:
    queued, locked = ContainerState.QUEUED, ContainerState.LOCKED
    part = _Part()
    for c in containers:
        if c.priority < 1 or c.writing is not None or not (c.state is queued or (c.state is locked and c.ours)):
            continue
        if c.instance is not None:
            part.placed.append(c)
        elif c.state is locked and not c.ahead:
            part.locked.append(c)
        elif c.fit is not None and not c.fit.problem and c.exited_s is None:
            part.order.append((*turn_of(c), c))
    part.order.sort()
    for entry in part.order:
        if is_odd(entry[3]):
            part.odd.append(entry)
        else:  # the container keeps its fit alive, and the part its container
            part.plain.setdefault(id(entry[3].fit), []).append(entry)
    return part


def is_odd(container: Container) -> bool:
    """Whether more than its fit decides what becomes of it now: a supervisor, and who may have to wait after a failure."""
    return container.not_before_s != NEVER or supervises(container)


def supervises(container: Container) -> bool:
    return container.requirements is not None and container.requirements.supervisor


@dataclass(slots=True)
class Line:
    """Those of one fit who wait, in turn; put in order when the first of them is asked for. ``odd``: of any fit."""

    runs: list[list[Entry]]
    count: int = 0
    odd: bool = False
    order: list[Entry] = field(default_factory=list)
    next: int = 0

    def first(self) -> Entry:
        """Who is next, without putting anybody in order."""
        return self.order[self.next] if self.order else min(run[0] for run in self.runs)

    def sort(self) -> None:
        if not self.order:
            self.order = sorted(entry for run in self.runs for entry in run)

    def left(self) -> int:
        return self.count - self.next


class Lines:
    """All lines together: ``pop`` gives who is next of all."""

    def __init__(self, lines: list[Line]) -> None:
        self._heads = [(line.first(), number, line) for number, line in enumerate(lines)]
        heapq.heapify(self._heads)

    def head(self) -> tuple[Container, Line] | None:
        """Who is next, and in which line; None when nobody is left."""
        return (self._heads[0][0][3], self._heads[0][2]) if self._heads else None

    def pop(self) -> None:
        """The head has been served."""
        _, number, line = heapq.heappop(self._heads)
        line.sort()
        line.next += 1
        if line.left():
            heapq.heappush(self._heads, (line.first(), number, line))

    def put_aside(self) -> int:
        """For the head's line there is nothing any more; how many stand in it."""
        _, _, line = heapq.heappop(self._heads)
        return line.left()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Those that have a place, those Locked without one, and the Queued, of which the unread ones stand nowhere. Who is locked
    ahead stands with the Queued, so that nobody more urgent is overtaken."""

    placed: list[Container]
    locked: list[Container]
    parts: list[_Part]

    @property
    def anybody(self) -> bool:
        return bool(self.placed or self.locked) or any(part.order for part in self.parts)

    def lines(self) -> Lines:
        return Lines(_lines(self.parts))

    def in_turn(self) -> Iterator[Container]:
        """The same one after another: cheap for the first of them."""
        return (entry[3] for entry in heapq.merge(*(part.order for part in self.parts if part.order)))


def _lines(parts: list[_Part]) -> list[Line]:
    runs: dict[int, list[list[Entry]]] = {}
    for part in parts:
        for fit_id, run in part.plain.items():
            runs.setdefault(fit_id, []).append(run)
    lines = [Line(found, sum(map(len, found))) for found in runs.values()]
    odd = [part.odd for part in parts if part.odd]
    if odd:
        lines.append(Line(odd, sum(map(len, odd)), odd=True))
    return lines


def waiting(state: State) -> Waiting:
    parts = state.containers.parts(_part)
    return Waiting(
        placed=[c for part in parts for c in part.placed], locked=[c for part in parts for c in part.locked], parts=parts
    )


def queued(state: State) -> list[Container]:
    """Everybody who is Queued without a place, read or not, or locked ahead, in turn."""
    found = [
        c
        for c in state.containers.all()
        if (c.state is ContainerState.QUEUED or c.ahead) and c.priority > 0 and c.writing is None and c.instance is None
    ]
    found.sort(key=turn_of)
    return found
