"""How much of the queue is read, and when: who could be placed soon, and not fifty thousand again and again.

Every look at the top costs one request; what we hold, the number that wait and what stands below the first page are asked for
as seldom as they may be. Below it is read on only while too few of those that are known could be placed: so nobody starves
behind containers that no instance can take.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from dispatcher.core import limits, pacing
from dispatcher.core.looks import PAGE, PEEK, Look
from dispatcher.core.model import NEVER, Container, ContainerState, State
from dispatcher.core.transitions import polls
from dispatcher.core.transitions.room import accepts_work, room

OWN_AGAIN_S, OWN_PAGE_S = 10.0, 5.0  # with a backlog: what we hold is listed so often, and so long for each page of it
COUNT_AGAIN_S = 60.0
PAGE_LONGEST_S, PAGE_PART = 10.0, 10.0  # a whole page each ten seconds, or as often as it takes a tenth of the time
FULL_AGAIN_S = 600.0  # no look in full so long after one failed
FEW = 20
UNREAD_MANY = 200  # rather one page in full than three questions for a hundred each
LEAST_WANTED, MOST_WANTED = 100, 5000  # containers that could be placed
DEEPEST = 100_000
RESERVE = 1.0  # list requests that are kept for what cannot wait


def beyond(state: State) -> int:
    """How many containers wait that were not read; as of the last count."""
    held = sum(state.containers.parts(_wanted))
    return max(0, (state.queue.waiting or 0) - held)


def _wanted(containers: Collection[Container]) -> int:
    return sum(1 for c in containers if c.state is ContainerState.QUEUED and c.priority > 0)


# ------------------------------------------------------------------------------------------------------------- the next look


def cut_short(state: State) -> bool:
    """Whether the last look was too short for those who had come: a burst that had only begun when its first were seen. Events
    have told of all of them already, so that nobody would look again for long."""
    queue = state.queue
    return queue.unseen and not queue.backlog and not queue.failures and beyond(state) > 0


def at_top(state: State, now: float) -> Look:
    """The next look at those who come first, with what else is due."""
    queue = state.queue
    first = queue.polled_s < state.leadership.since_s
    everything = first or now >= polls.interval_due_s(state)
    many, missing = in_full_next(state, now), cut_short(state)
    page_s = queue.page_ended_s + min(PAGE_LONGEST_S, max(1.0, PAGE_PART * queue.page_took_s))
    page = everything or many or missing or now >= page_s
    exact = not queue.backlog or queue.counted_s < state.leadership.since_s
    full = first or (queue.hinted_s != NEVER and not queue.backlog and sum(state.containers.parts(_queued)) < FEW)
    full = full or (missing and beyond(state) > UNREAD_MANY)
    return Look(
        own=everything or not (queue.backlog or queue.hinted_new),
        size=PAGE if page else PEEK,
        full=many or (full and now >= queue.full_refused_s + FULL_AGAIN_S),
        exact=exact,
        count=everything and not exact and now >= queue.counted_s + COUNT_AGAIN_S,
    )


def _queued(containers: Collection[Container]) -> int:
    """When they are few, an answer that tells all about everybody who waits is small: it saves a second question about who is
    new."""
    return sum(1 for c in containers if c.state is ContainerState.QUEUED)


def aside(state: State, now: float) -> Look | None:
    """With a backlog: what we hold, or how many wait, when it is time. By themselves, so that no look at the top waits for the
    requests of all three."""
    queue = state.queue
    if not queue.backlog or state.settings.poll_interval_s is not None or not _turn(state, now):
        return None
    if now >= queue.polled_s + _own_again_s(state):
        look = Look(size=0)
        return look if polls.tokens(queue, now) >= polls.cost(state, look) else None
    return Look(own=False, size=0, count=True) if now >= queue.counted_s + COUNT_AGAIN_S else None


def saved_for_ours(state: State, now: float) -> int:
    """How many requests the list of what we hold waits for when it is due: one of many pages would never have its turn else."""
    queue = state.queue
    due = queue.backlog and queue.deeper_next and now >= queue.polled_s + _own_again_s(state)
    return polls.cost(state, Look(size=0)) if due else 0


def _turn(state: State, now: float) -> bool:
    """Whether it is the turn of something else than the top: after each look there, and when requests are left for it."""
    queue = state.queue
    if queue.hinted_s != NEVER or queue.polled_s < state.leadership.since_s:
        return False
    named = state.settings.poll_interval_s is not None
    return (queue.deeper_next or named) and polls.tokens(queue, now) >= 1 + RESERVE


def _own_again_s(state: State) -> float:
    return max(OWN_AGAIN_S, OWN_PAGE_S * polls.cost(state, Look(size=0)))


def in_full_next(state: State, now: float) -> bool:
    """Whether the last page showed so many newcomers that a page in full is cheaper than asking for each."""
    if state.settings.poll_interval_s is not None or now < state.queue.full_refused_s + FULL_AGAIN_S:
        return False
    page_s = state.queue.page_s
    return sum(1 for part in state.containers.parts(_unread) for seen_s in part if seen_s >= page_s) > UNREAD_MANY


def _unread(containers: Collection[Container]) -> list[float]:
    """When those were last observed of whom it is not known what they need."""
    return [c.observed_s for c in containers if c.requirements is None]


def deeper(state: State, now: float) -> Look | None:
    """A page below the first one: its turn comes after each look at the top, unless the site named the pace of those."""
    queue, sweep = state.queue, state.queue.sweep
    if sweep is None or sweep.ended or sweep.cursor is None or sweep.read >= DEEPEST:
        return None
    if not _turn(state, now) or (sweep.read >= sweep.goal and not hungry(state, now)):
        return None
    full = sweep.read >= sweep.goal and now >= queue.full_refused_s + FULL_AGAIN_S
    return Look(own=False, size=PAGE, after=sweep.cursor, full=full)


# ------------------------------------------------------------------------------------------------------------------- hunger


def hungry(state: State, now: float) -> bool:
    """Whether fewer containers are known that could be placed than there will soon be places for, twice."""
    types = usable_types(state, now)
    if not types:
        return False
    wanted = min(MOST_WANTED, max(LEAST_WANTED, 2 * places(state, now)))
    return sum(1 for _ in islice(_placeable(state, types), wanted)) < wanted


def _placeable(state: State, types: frozenset[str]) -> Iterator[Container]:
    """Those that wait and that some instance could take; one that was not read yet may be such a one."""
    queued, known = ContainerState.QUEUED, dict[int, bool]()
    for container in state.containers.all():
        if container.state is not queued or container.instance is not None or container.priority < 1:
            continue
        fit = container.fit
        if fit is None:
            yield container
            continue
        if id(fit) not in known:
            known[id(fit)] = not types.isdisjoint(fit.types)
        if known[id(fit)]:
            yield container


def usable_types(state: State, now: float) -> frozenset[str]:
    """The types of the instances that take work, now or when something ends, and those that may be asked for."""
    taking = {i.type for i in state.instances.all() if accepts_work(state, i, now) is None}
    return frozenset(taking) | _requestable(state, now)


def _requestable(state: State, now: float) -> frozenset[str]:
    if limits.instance_limit(state)[0] < 1:
        return frozenset()
    return frozenset(name for name in state.settings.instance_types if pacing.holdoff(state, "create", name, now) is None)


def places(state: State, now: float) -> int:
    """How many containers could be started soon, roughly: free vcpus, and what the instances that may be asked for would hold."""
    free = 0
    for instance in state.instances.all():
        if accepts_work(state, instance, now) is None and (left := room(state, instance)) is not None:
            free += max(0, left.vcpus)
    types = _requestable(state, now)
    return free + int(min(MOST_WANTED, limits.instance_limit(state)[0] * _packing(state, types) if types else 0))


def _packing(state: State, types: frozenset[str]) -> int:
    """How many of the containers that wait go on one instance of the type that each would get; judged by some of them."""
    most, seen = 1, set[int]()
    for container in islice(state.containers.all(), PAGE):
        fit = container.fit
        if fit is None or id(fit) in seen:
            continue
        seen.add(id(fit))
        chosen = next((name for name in fit.types if name in types), None)
        offer = state.instance_type(chosen) if chosen is not None else None
        if offer is not None:
            most = max(most, offer.vcpus // max(1, fit.need.vcpus))
    return most
