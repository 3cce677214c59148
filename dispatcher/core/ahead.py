"""Whom to lock ahead: while every place is busy, those who come next are locked already, one for each busy place, so that a place
that becomes free is taken without a word to the queue service.

It is done where it is worth it: where a lock takes a good part of the time that containers run, and these are short, so that
nobody is held for long. Pure, like every planner; what may be done stands in ``transitions/ahead``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from dispatcher.core import recent, sizing
from dispatcher.core.messages import LockContainer
from dispatcher.core.model import Container, Fit, State
from dispatcher.core.transitions import ahead, locks
from dispatcher.core.transitions.ahead import Seat
from dispatcher.core.waiting import Waiting, turn_of

WORTH_PART = 0.01  # a lock takes so much of the time that a container runs
LONGEST_RUN_S = 30.0  # a place becomes free within about this time, long before a lock is given back
ASKED_ABOUT = 500  # so many who wait are looked at in one pass
KEPT_FREE = locks.LOCK_WINDOW // 2  # locks in flight that are left for those who have a place


def worth_it(state: State, now: float) -> bool:
    """Whether locks are slow against the containers, and the queue service has not asked for fewer of them."""
    lock_s, run_s = recent.usual_s(state.recent.locks_s), recent.usual_s(state.recent.runs_s)
    if lock_s is None or run_s is None or run_s > LONGEST_RUN_S or lock_s < WORTH_PART * run_s:
        return False
    return locks.window(state.queue, now) == locks.LOCK_WINDOW


def plan(state: State, now: float, wait: Waiting, placed: set[str], locks_left: int) -> Iterator[LockContainer]:
    """The locks to ask for in a pass that has put everybody else in ``placed`` somewhere and may still send ``locks_left``."""
    if not worth_it(state, now):
        return
    seats, held = ahead.seats(state), ahead.held(state)
    most = min(len(seats) - len(held), locks_left - KEPT_FREE)
    if most < 1:
        return
    taken = _Taken(seats)
    for container in sorted(held, key=turn_of):
        taken.take(container.fit)
    for container in islice(wait.in_turn(), ASKED_ABOUT):
        if most < 1:
            return
        if container.ahead or container.uuid in placed or ahead.once_more(state, container) is not None:
            continue
        seat = taken.take(container.fit)
        if seat is not None:
            most -= 1
            yield LockContainer(uuid=container.uuid, instance=seat.instance, ahead=True)


class _Taken:
    """The busy places, each of which is given to one. Containers of one fit find the same places suitable, in the same order."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = seats
        self._gone: set[int] = set()
        self._next: dict[int, int] = {}  # fit → seats before this are of no use to it

    def take(self, fit: Fit | None) -> Seat | None:
        if fit is None or fit.problem:
            return None
        for index in range(self._next.get(id(fit), 0), len(self._seats)):
            if index not in self._gone and _suits(self._seats[index], fit):
                self._next[id(fit)] = index + 1
                self._gone.add(index)
                return self._seats[index]
        self._next[id(fit)] = len(self._seats)
        return None


def _suits(seat: Seat, fit: Fit) -> bool:
    return seat.type in fit.types and seat.image == fit.image and sizing.accommodates(seat.room, fit.need, seat.shared)


def waits_locked(container: Container, text: str) -> str:
    """Why it waits, when it is locked already."""
    return f"{text}; it is locked already, for the next place that becomes free" if container.ahead else text
