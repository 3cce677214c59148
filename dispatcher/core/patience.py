"""Containers that could not be scheduled for as long as the site allows (``MaxWaitTime``) are cancelled, and told why.

Only who never had a place is meant: an attempt that was made is counted otherwise. The wait begins when a container becomes
runnable, as far as this term saw it, and stands still while the queue service or the cloud cannot be asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from dispatcher.core import schedule
from dispatcher.core.messages import Action, CancelContainer, LockContainer
from dispatcher.core.model import Container, ContainerState, State
from dispatcher.core.transitions.legal import legal
from dispatcher.core.transitions.outages import under_way, waited_s

AT_ONCE = 50  # in one pass: the others follow with the next


def plan(state: State, now: float) -> list[Action]:
    """Cancel who waited too long; nobody while we could not have scheduled anybody."""
    if not state.settings.max_wait_s or under_way(state) or state.cloud.confirmed_s < state.leadership.since_s:
        return []
    overdue = [c for c in _waiting(state) if _left_s(state, c, now) <= 0]
    if not overdue:
        return []
    decision = schedule.decide(state, now, everyone=True)
    placed = {action.uuid for action in decision.actions if isinstance(action, LockContainer) and not action.ahead}
    waits = decision.waits
    positions = {uuid: number for number, uuid in enumerate(waits, start=1)}
    proposed = [_cancel(state, c.uuid, positions.get(c.uuid, 0), waits) for c in overdue if c.uuid not in placed]
    return [action for action in proposed[:AT_ONCE] if legal(state, action, now) is None]


def due_s(state: State, now: float) -> float:
    """When the patience with the first of them ends, should nothing happen until then."""
    if not state.settings.max_wait_s or under_way(state):
        return math.inf
    return min((now + left_s for c in _waiting(state) if (left_s := _left_s(state, c, now)) > 0), default=math.inf)


def _waiting(state: State) -> Iterator[Container]:
    """Those that wait for a place and never had one."""
    for c in state.containers.all():
        waits = (c.state is ContainerState.QUEUED or c.ahead) and c.instance is None and c.writing is None
        if waits and c.fit is not None and not c.fit.problem and not c.failed_attempts:
            yield c


def _left_s(state: State, container: Container, now: float) -> float:
    """Of its time; all of it while nobody wants it to run."""
    if container.runnable_since_s is None:
        return math.inf
    return state.settings.max_wait_s - waited_s(state, container.runnable_since_s, now)


def _cancel(state: State, uuid: str, position: int, waits: Mapping[str, str]) -> CancelContainer:
    error = f"the container could not be scheduled within {state.settings.max_wait_s:.0f} s (MaxWaitTime)"
    detail = f"at the end it waited at position {position}: {waits.get(uuid) or 'its turn had not come'}"
    return CancelContainer(uuid=uuid, error=error, detail=detail)
