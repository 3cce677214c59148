"""An instance whose end is announced: room for what runs there is asked for ahead, since it comes back as another container.

Nothing is moved, locked or cancelled: the queue decides what comes back. What waits by itself always comes first, and every limit
holds; how long an instance is kept for somebody who may come has an end.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.core import sizing
from dispatcher.core.model import Container, Instance, Phase, Resources, State
from dispatcher.core.transitions.room import accepts_work, empty, room, shares_vcpu

AFTER_END_S = 60.0  # an end that was announced and does not come is waited for so long
LONGEST_S = 900.0  # no announcement counts for longer


def expected(state: State, now: float) -> list[Container]:
    """The containers that are about to be lost with their instances, in turn, from ``ReplaceAhead`` before the end on; at once
    when nobody knows when it comes. Who is to end anyway is not expected back."""
    if state.settings.replace_ahead_s <= 0:
        return []
    doomed = [i for i in state.instances.once(_doomed) if _is_time(state, i, now)]
    held = [state.containers.get(uuid) for instance in doomed for uuid in instance.processes]
    found = [c for c in held if c is not None and _comes_back(c)]
    return sorted(found, key=lambda c: (-c.priority, c.first_seen_s, c.uuid))


def _doomed(instances: Sequence[Instance]) -> list[Instance]:
    return [i for i in instances if i.ending and i.processes and i.phase is not Phase.SHUTDOWN]


def _is_time(state: State, instance: Instance, now: float) -> bool:
    if now > instance.ending_since_s + LONGEST_S:
        return False
    ends_s = instance.ends_s
    return ends_s is None or ends_s - state.settings.replace_ahead_s <= now <= ends_s + AFTER_END_S


def _comes_back(container: Container) -> bool:
    sized = container.fit is not None and not container.fit.problem
    return sized and container.priority > 0 and not container.state.final and not container.kill_requested


def due_s(state: State, now: float) -> list[float]:
    """When the time for one of them comes, or is over."""
    times = [at for i in state.instances.once(_doomed) for at in _times(state, i)]
    return [at for at in times if at > now] if state.settings.replace_ahead_s > 0 else []


def _times(state: State, instance: Instance) -> list[float]:
    longest = instance.ending_since_s + LONGEST_S
    return [longest] if instance.ends_s is None else [longest, instance.ends_s - state.settings.replace_ahead_s]


def kept(state: State, now: float) -> frozenset[str]:
    """The instances without work that are not idle: they wait for those who are expected. Each of these takes one place, on
    an instance that has work if there is one."""
    waiting = expected(state, now)
    if not waiting:
        return frozenset()
    takers = [i for i in state.instances.all() if i.phase in (Phase.BOOTING, Phase.READY) and not accepts_work(state, i, now)]
    takers.sort(key=lambda i: (empty(i), i.phase is not Phase.READY, i.price, i.name))
    left = {i.name: free for i in takers if (free := room(state, i)) is not None}
    used: set[str] = set()
    for container in waiting:
        place = next((i for i in takers if i.name in left and _takes(i, left[i.name], container)), None)
        if place is not None and container.fit is not None:
            left[place.name] = sizing.take(left[place.name], container.fit.need)
            used.update([place.name] if empty(place) else [])
    return frozenset(used)


def _takes(instance: Instance, left: Resources, container: Container) -> bool:
    fit = container.fit
    if fit is None or instance.type not in fit.types or instance.image != fit.image:
        return False
    return sizing.accommodates(left, fit.need, shares_vcpu(instance))
