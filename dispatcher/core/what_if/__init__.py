"""What would have to change, so that a container gets a place? Each change is tried on a copy of State, by the pass that decides.

A change that does not lead to a place is not named. Pace is no reason to wait for long, so trials are not slowed down by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

from dispatcher.core import schedule, sizing
from dispatcher.core.maps import Map
from dispatcher.core.messages import BindContainer, CreateInstance, LockContainer, StartContainer
from dispatcher.core.model import Container, ContainerState, Instance, Requirements, State
from dispatcher.core.schedule import Decision
from dispatcher.core.transitions.changes import release
from dispatcher.core.values import replace
from dispatcher.driver import RateLimits
from dispatcher.frozen import dataclass

PLACED = frozenset(("creating", "booting", "locking", "starting", "moving"))
"""Causes of those who have a place already, or get one in this pass."""

Value = float | str | bool | Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that would let the container begin. ``kind``: settings, container, instance, quota, cloud, queue, leader or time;
    ``key``: what of it; ``value``: what it has to become, a time on the monotonic clock."""

    text: str
    kind: str
    key: str
    value: Value | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A change, and the State after it. ``at_s``: when it is tried; None: now."""

    change: Change
    state: State
    at_s: float | None = None


Finder = Callable[[State, Container, float], Iterable[Trial]]


def ahead(state: State, container: Container) -> State:
    """The same without those who are served later: they take nothing away from it."""
    rank = (-container.priority, container.first_seen_s, container.uuid)
    kept = [
        c
        for c in state.containers.all()
        if c.instance is not None or c.state is not ContainerState.QUEUED or (-c.priority, c.first_seen_s, c.uuid) <= rank
    ]
    return replace(state, containers=Map((c.uuid, c) for c in kept))


def unhurried(state: State, now: float) -> State:
    """The same without any pace: how fast something is asked for changes nothing for long."""
    settings = replace(
        state.settings, max_cloud_ops_per_second=None, max_creates_per_second=None, max_concurrent_creates=None,
        cloud_limits=RateLimits(),
    )  # fmt: skip
    cloud = replace(state.cloud, accepted=Map((name, now) for name in settings.instance_types))
    return replace(state, settings=settings, buckets={}, reports={}, cloud=cloud)


def decided(state: State, now: float) -> Decision:
    """A pass that may ask for instances."""
    numbers = itertools.count()
    return schedule.decide(state, now, lambda: (f"what-if-{next(numbers)}", ""), everyone=True)


def places(state: State, uuid: str, now: float) -> bool:
    """Whether the pass finds a place for it."""
    decision = decided(state, now)
    reason = decision.reasons.get(uuid)
    if reason is not None:
        return reason.cause in PLACED
    return any(isinstance(a, StartContainer | BindContainer) and a.uuid == uuid for a in decision.actions)


def begins(state: State, uuid: str, now: float) -> bool:
    """Whether it is locked or started at once."""
    actions = decided(state, now).actions
    begun = (a for a in actions if isinstance(a, StartContainer) or (isinstance(a, LockContainer) and not a.ahead))
    return any(a.uuid == uuid for a in begun)


def creates(state: State, now: float) -> list[CreateInstance]:
    """What the pass would ask for."""
    return [action for action in decided(state, now).actions if isinstance(action, CreateInstance)]


# ---------------------------------------------------------------------------------------------------------- how to change it


def with_settings(state: State, **changes: object) -> State:
    return replace(state, settings=replace(state.settings, **changes))  # type: ignore[arg-type]


def refitted(state: State, container: Container, **changes: object) -> State:
    """Other settings, by which everybody fits elsewhere; the container is among them."""
    state = with_container(with_settings(state, **changes), container)
    memo = sizing.memo(state.settings)
    waiting = [c for c in state.containers.all() if c.instance is None and c.requirements is not None]
    fits = ((c.uuid, replace(c, fit=sizing.fit(c.requirements, state.settings, memo))) for c in waiting if c.requirements)
    return replace(state, containers=state.containers.update(fits))


def with_instance(state: State, instance: Instance) -> State:
    return replace(state, instances=state.instances.set(instance.name, instance))


def with_container(state: State, container: Container) -> State:
    return replace(state, containers=state.containers.set(container.uuid, container))


def asking(state: State, container: Container, wanted: Requirements) -> State:
    """The container asks for something else."""
    fit = sizing.fit(wanted, state.settings)
    return with_container(state, replace(container, requirements=wanted, fit=fit))


def ended(state: State, container: Container) -> State:
    """Another container is over: its room is free."""
    name = container.instance
    state = release(state, container)
    state = replace(state, containers=state.containers.without(container.uuid))
    instance = state.instances.get(name) if name is not None else None
    if instance is None:
        return state
    processes = {uuid: process for uuid, process in instance.processes.items() if uuid != container.uuid}
    return with_instance(state, replace(instance, processes=processes))


def seconds(for_s: float) -> str:
    return f"{max(0.0, for_s):.0f} s"


def kept(found: Iterator[Trial], uuid: str, now: float, most: int) -> Iterator[Change]:
    """Those that lead to a place."""
    for trial in itertools.islice(found, most):
        if places(trial.state, uuid, now if trial.at_s is None else trial.at_s):
            yield trial.change
