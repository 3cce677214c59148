"""How it stands: every gauge read from one snapshot. Pure; a pass over the containers and one over the instances.

Those who wait are sorted by the very pass that decides, so that the numbers cannot disagree with what happens.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from dispatcher.core import explain, lifecycle, limits, spending
from dispatcher.core.model import NEVER, CallReport, Container, ContainerState, HoldoffKind, IdleBehavior, Instance, Phase, State
from dispatcher.core.spending import price_of_instance
from dispatcher.driver import InstanceType
from dispatcher.meters import catalogue as c
from dispatcher.meters.series import Labels, Series
from dispatcher.runtime.metrics.categories import category, running, worker_state
from dispatcher.runtime.times import unix_s

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_WAITING = (ContainerState.QUEUED, ContainerState.LOCKED)
_ON_ITS_WAY = (Phase.CREATING, Phase.BOOTING, Phase.UNKNOWN)
_ANSWERING = (Phase.UNKNOWN, Phase.BOOTING, Phase.READY)
_CALLS = ("create", "destroy", "list", "set_tags", "poll_create")


def gauges(state: State, now_s: float, wall_s: float) -> Iterator[Metric]:
    """``now_s`` of the monotonic clock, ``wall_s`` Unix time of the same moment."""
    yield from _containers(state, now_s, wall_s)
    yield from _placing(state, now_s)
    yield from _instances(state)
    yield from _suspects(state, now_s, wall_s)
    yield from _probes(state, now_s)
    yield from _cloud(state, now_s)
    yield from _money(state, now_s)
    yield from _queue(state, now_s)
    yield _one(c.WALL_CLOCK, wall_s)
    yield _one(c.LEADING, state.leadership.leading)
    yield _one(c.TERM, state.leadership.term)


def _one(series: Series, value: float) -> Metric:
    return series.family([((), float(value))])


# ------------------------------------------------------------------------------------------------------------- containers


def _containers(state: State, now_s: float, wall_s: float) -> Iterator[Metric]:
    entries: dict[Labels, float] = {(each, name): 0.0 for each in c.STATES for name in state.settings.instance_types}
    waiting: list[Container] = []
    for container in state.containers.all():
        fits = container.fit.types if container.fit is not None else ()
        labels = (container.state.value, fits[0] if fits else "")
        entries[labels] = entries.get(labels, 0.0) + 1
        if container.priority > 0 and container.state in _WAITING and not _on_an_instance(state, container):
            waiting.append(container)
    yield c.QUEUE_ENTRIES.family(entries.items())
    yield _one(c.LONGEST_WAIT, _longest_wait_s(waiting, now_s, wall_s))
    since = [each.runnable_since_s for each in waiting if each.runnable_since_s is not None]
    yield _one(c.LONGEST_RUNNABLE, now_s - min(since) if since else 0.0)


def _on_an_instance(state: State, container: Container) -> bool:
    """A runner of it is there. A place alone is no start."""
    instance = state.instances.get(container.instance) if container.instance is not None else None
    return instance is not None and container.uuid in instance.processes


def _longest_wait_s(waiting: list[Container], now_s: float, wall_s: float) -> float:
    """Since it was created; since it was first seen when the queue service did not say. All times are written alike, so the
    smallest text is the oldest."""
    oldest = min((each.created_at for each in waiting if each.created_at), default="")
    created_s = unix_s(oldest) if oldest else None
    if created_s is not None:
        return max(0.0, wall_s - created_s)
    return max((now_s - each.first_seen_s for each in waiting), default=0.0)


def _placing(state: State, now_s: float) -> Iterator[Metric]:
    decision = explain.decision(state, now_s)
    bound = sum(
        1 for instance in state.instances.all() if instance.phase in _ON_ITS_WAY
        for uuid in instance.bound if uuid not in instance.processes
    )  # fmt: skip
    yield _one(c.ALLOCATED, bound + decision.promised)
    yield _one(c.OVER_QUOTA, decision.shut_out)
    causes = Counter(reason.cause for reason in explain.reasons(state, now_s).values())
    yield c.WAITING.family(((cause,), float(count)) for cause, count in causes.items())
    yield _one(c.MAX_CONTAINERS, limits.container_cap(state) or 0)


# -------------------------------------------------------------------------------------------------------------- instances


def _instances(state: State) -> Iterator[Metric]:
    instances = state.instances.all()
    yield _one(c.CONTAINERS_RUNNING, sum(running(instance) for instance in instances))
    counts: Counter[Labels] = Counter({(each, name): 0 for each in c.CATEGORIES for name in state.settings.instance_types})
    counts.update((category(instance), instance.type) for instance in instances)
    yield c.INSTANCES.family((labels, float(count)) for labels, count in counts.items())
    yield _prices(state)
    for series, measure in _MEASURES:
        yield _summed(series, state, counts, measure)
    yield c.PHASES.family(((each,), float(count)) for each, count in _by_phase(instances).items())
    held = [instance for instance in instances if instance.idle_behavior is IdleBehavior.HOLD]
    yield _one(c.HELD, len(held))
    yield _one(c.HELD_PRICE, sum(price_of_instance(state, instance) for instance in held))


def _prices(state: State) -> Metric:
    sums = dict.fromkeys(c.CATEGORIES, 0.0)
    for instance in state.instances.all():
        sums[category(instance)] += price_of_instance(state, instance)
    return c.PRICE.family(((each,), total) for each, total in sums.items())


_MEASURES: tuple[tuple[Series, Callable[[InstanceType], float]], ...] = (
    (c.VCPUS, lambda offer: offer.vcpus),
    (c.MEMORY, lambda offer: offer.ram_bytes),
)


def _summed(series: Series, state: State, counts: Counter[Labels], measure: Callable[[InstanceType], float]) -> Metric:
    """A type that is no longer configured counts as nothing: nobody knows what it has."""
    sums = dict.fromkeys(c.CATEGORIES, 0.0)
    for (each, name), count in counts.items():
        offer = state.settings.instance_types.get(name)
        sums[each] += count * measure(offer) if offer is not None else 0.0
    return series.family(((each,), total) for each, total in sums.items())


def _by_phase(instances: Iterable[Instance]) -> Counter[str]:
    counts: Counter[str] = Counter(dict.fromkeys(("creating", *c.WORKER_STATES), 0))
    counts.update("creating" if each.phase is Phase.CREATING else worker_state(each) for each in instances)
    return counts


def _suspects(state: State, now_s: float, wall_s: float) -> Iterator[Metric]:
    """What lasts longer than it ought to, and what cannot be got rid of."""
    longest = dict.fromkeys(c.PASSING, 0.0)
    for instance in state.instances.all():
        if instance.phase is not Phase.READY:
            since_s = instance.destroy.since_s if instance.destroy is not None else instance.phase_since_s
            longest[instance.phase.value] = max(longest[instance.phase.value], now_s - since_s)
    yield c.LONGEST_IN_STATE.family(((each,), seconds) for each, seconds in longest.items())
    held = [i for i in state.instances.all() if i.idle_behavior is IdleBehavior.HOLD]
    yield _one(c.HELD_LONGEST, max((_held_s(instance, now_s, wall_s) for instance in held), default=0.0))
    yield _one(c.GUARDED, len(lifecycle.kept(state, now_s)))
    yield _one(c.UNKILLABLE, len(lifecycle.unkillable(state, now_s)))
    known = state.cloud.leftovers.values()
    yield _one(c.LEFTOVERS, len(known))
    yield _one(c.LEFTOVERS_LONGEST, max((now_s - each.first_s for each in known), default=0.0))


def _held_s(instance: Instance, now_s: float, wall_s: float) -> float:
    """Since the operator chose it; where no note says when, since we know the instance."""
    chosen_s = unix_s(instance.operator.at) if instance.operator.at else None
    return max(0.0, wall_s - chosen_s if chosen_s is not None else now_s - instance.appeared_s)


def _probes(state: State, now_s: float) -> Iterator[Metric]:
    """Of the instances that have answered and are not being destroyed."""
    answered = [i.answered_s for i in state.instances.all() if i.phase in _ANSWERING and i.answered_s != NEVER]
    ages_s = [now_s - at_s for at_s in answered]
    yield _one(c.PROBE_AGE_MAX, max(ages_s, default=0.0))
    yield _one(c.PROBE_AGE_MEDIAN, statistics.median(ages_s) if ages_s else 0.0)


# ------------------------------------------------------------------------------------------------- the cloud and the queue


def _cloud(state: State, now_s: float) -> Iterator[Metric]:
    """Hold-offs are counted by kind of call and reason; how long they last is told by call alone."""
    counts: Counter[Labels] = Counter({(call, kind.value): 0 for call in _CALLS for kind in HoldoffKind})
    left = dict.fromkeys(_CALLS, 0.0)
    for held in state.holdoffs.values():
        if held.until_s > now_s:
            counts[held.call, held.kind.value] += 1
            left[held.call] = max(left.get(held.call, 0.0), held.until_s - now_s)
    yield _one(c.AT_QUOTA, counts["create", HoldoffKind.QUOTA.value] > 0)
    yield c.HOLDOFFS.family((labels, float(count)) for labels, count in counts.items())
    yield c.HOLDOFF_LEFT.family(((call,), seconds) for call, seconds in left.items())
    said = {call: state.reports.get(call) or CallReport(at_s=now_s) for call in _CALLS}
    for series, read in _REPORTED:
        yield series.family(((call,), math.nan if (value := read(each)) is None else value) for call, each in said.items())
    yield _one(c.LIST_AGE, _unseen_s(state, state.cloud.listed_s, now_s))


def _unseen_s(state: State, seen_s: float, now_s: float) -> float:
    """How long the leader has not seen something. Who waits to lead looks at nothing."""
    return now_s - max(seen_s, state.leadership.since_s) if state.leadership.leading else 0.0


def _money(state: State, now_s: float) -> Iterator[Metric]:
    yield _one(c.SPENT_TODAY, spending.today(state, now_s))
    settings = state.settings
    yield c.PRICE_LIMIT.family([(("day",), settings.max_price_per_day), (("hour",), settings.max_price_per_hour)])


_REPORTED: tuple[tuple[Series, Callable[[CallReport], float | None]], ...] = (
    (c.CALLS_LEFT, lambda said: said.left),
    (c.QUOTA_LIMIT, lambda said: said.limit),
    (c.QUOTA_USAGE, lambda said: said.usage),
)


def _queue(state: State, now_s: float) -> Iterator[Metric]:
    queue = state.queue
    yield _one(c.POLL_AGE, _unseen_s(state, queue.polled_s, now_s))
    yield _one(c.REJECTED, len(queue.rejected))
    yield _one(c.POLL_TOOK, queue.poll_took_s)
    yield _one(c.QUEUE_WAITING, queue.waiting if queue.waiting is not None else math.nan)
    yield _one(c.LOCK_WINDOW, queue.lock_window)
