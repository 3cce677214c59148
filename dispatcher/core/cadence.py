"""What is due by the clock: poll the queue, read records, list instances. Probes have a room of their own (``probing``).

Intervals that the site named are obeyed exactly, as the longest gap; where it named none, the pace follows what is going on.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from dispatcher.core import pacing, quotas, window
from dispatcher.core.looks import Look
from dispatcher.core.messages import Action, ListInstances, PollQueue, ReadContainers
from dispatcher.core.model import NEVER, CloudView, Container, Instance, Phase, Process, State
from dispatcher.core.transitions import leftovers, polls
from dispatcher.core.transitions.cloud import lists_quickly
from dispatcher.core.transitions.legal import legal
from dispatcher.core.transitions.queue import growing

POLL_BUSY_S, POLL_QUIET_S = 1.0, 10.0
READ_BATCH, READS_AT_ONCE = 100, 2
READ_PAUSE_S, READ_LONG_PAUSE_S = 2.0, 5.0
HINT_GAP_S = 0.25  # hints may come by the hundred; at least as long as a look takes passes between two, at most so long
LIST_ACTIVE_S, LIST_CONFIRM_S = 5.0, 1.0
LIST_AGAIN_S = 10.0  # after one that failed or told a part: from this to SyncInterval, while it goes on
LIST_NEW_S, LIST_AGE_PART = 0.5, 4.0  # for an address: the sooner, the younger the instance


# ------------------------------------------------------------------------------------------------------------------- queue


def poll_interval_s(state: State, now: float) -> float:
    """What the site named; else from one second while work waits to ten when nothing has happened for a minute, or when events
    tell what happens; longer after failures, and never so short that more than a third of the time is spent polling."""
    queue = state.queue
    if state.settings.poll_interval_s is not None:
        return state.settings.poll_interval_s
    quiet_s = now - max(queue.changed_s, state.leadership.since_s)
    busy = len(state.containers) > 0 and not queue.events_flow
    wanted = POLL_BUSY_S if busy else POLL_QUIET_S if queue.events_flow else min(POLL_QUIET_S, max(POLL_BUSY_S, quiet_s / 6))
    after_failures = growing(POLL_BUSY_S, POLL_QUIET_S, queue.failures) if queue.failures else 0.0
    return max(wanted, after_failures, min(POLL_QUIET_S, 2 * queue.poll_took_s))


def poll_due_s(state: State, now: float) -> float:
    """When to look at the top of the queue again; some list requests are kept for what cannot wait. A hint does not wait for
    the pace that a site named, and that pace does not wait for requests to be left."""
    queue, named_s = state.queue, polls.interval_due_s(state)
    lists = polls.cost(state, window.at_top(state, now))
    first = queue.polled_s < state.leadership.since_s and not queue.failures
    if first or queue.hinted_s != NEVER or window.cut_short(state):
        rest_s = 0.0 if first else min(HINT_GAP_S, queue.poll_took_s)
        return min(max(now, queue.poll_ended_s + rest_s, polls.tokens_at(queue, lists, now)), max(now, named_s))
    if named_s < math.inf:
        return named_s
    due_s, saved = queue.poll_ended_s + poll_interval_s(state, now), window.saved_for_ours(state, now)
    return max(due_s, polls.tokens_at(queue, min(polls.DEEP_BURST, max(lists, saved) + window.RESERVE), now))


def reads_due(state: State, now: float) -> tuple[list[str], float]:
    """Whose record has to be asked for now, and when the next one is due. Processes without a container come first."""
    wanted = [c for part in state.containers.parts(_to_be_read) for c in part]
    if window.in_full_next(state, now):  # a page in full tells most of it
        wanted = [c for c in wanted if c.requirements is not None or c.observed_s < state.queue.page_s]
    due = [c for c in wanted if c.ask_after_s <= now]
    later_s = min((c.ask_after_s for c in wanted if c.ask_after_s > now), default=math.inf)
    due.sort(key=_urgency)
    return [*_unknown_strays(state, now), *(container.uuid for container in due)], later_s


def _to_be_read(containers: Collection[Container]) -> list[Container]:
    return [c for c in containers if c.read_due and not c.reading and c.writing is None]


def _urgency(container: Container) -> tuple[bool, int, str]:
    return (container.exited_s is None, -container.priority, container.uuid)


def _unknown_strays(state: State, now: float) -> list[str]:
    """Processes that no poll explained: the queue is asked for them, once a poll of this term could have."""
    if state.queue.polled_s < state.leadership.since_s:
        return []
    return [
        uuid
        for uuid, name in state.strays.items()
        if uuid not in state.containers and _explains_nothing(state.instances[name].processes[uuid], now)
    ]


def _explains_nothing(process: Process, now: float) -> bool:
    """The answer may be long in coming, or be a record that nobody understands: then the next question waits."""
    return not process.orphan and process.ask_after_s <= now


def plan_queue(state: State, now: float) -> list[Action]:
    look = _look(state, now)
    actions: list[Action] = [] if look is None else [PollQueue(look=look)]
    uuids = reads_due(state, now)[0] if reads_open_s(state, now) <= now else []
    in_flight = sum(state.containers.parts(_being_read)) // READ_BATCH
    left = min(READS_AT_ONCE - in_flight, int(polls.tokens(state.queue, now)), 1 if state.queue.backlog else READS_AT_ONCE)
    for start in range(0, len(uuids), READ_BATCH)[: max(0, left)]:
        actions.append(ReadContainers(uuids=tuple(uuids[start : start + READ_BATCH])))
    return [action for action in actions if legal(state, action, now) is None]


def _being_read(containers: Collection[Container]) -> int:
    return sum(1 for c in containers if c.reading)


def _look(state: State, now: float) -> Look | None:
    if state.queue.polling:
        return None
    beside = window.aside(state, now) or window.deeper(state, now)
    return beside or (window.at_top(state, now) if poll_due_s(state, now) <= now else None)


def reads_open_s(state: State, now: float) -> float:
    """When records may be asked for: with a backlog not often, so that looks have their share; sooner for newcomers."""
    newcomers = state.queue.backlog and any(state.containers.parts(_unread))
    pause_s = READ_PAUSE_S if newcomers else READ_LONG_PAUSE_S if state.queue.backlog else 0.0
    return max(state.queue.asked_s + pause_s, polls.tokens_at(state.queue, 1.0, now))


def _unread(containers: Collection[Container]) -> bool:
    """Whether somebody waits to be read for the first time."""
    return any(c.requirements is None and c.read_due and not c.reading for c in containers)


def queue_due_s(state: State, now: float) -> float:
    due, later_s = reads_due(state, now)
    if due:
        later_s = min(later_s, max(now, reads_open_s(state, now)))
    return min(later_s, poll_due_s(state, now) if not state.queue.polling else math.inf)


# ------------------------------------------------------------------------------------------------------------------- lists


def list_interval_s(state: State, now: float) -> float:
    """Five seconds while something about an instance can only be learnt from a list, less while a young one has no address, but
    never so short that more than half of the time is spent on lists; else SyncInterval."""
    active = any(
        i.create_unknown or i.phase is Phase.SHUTDOWN or i.misses or (i.id is not None and i.address is None)
        or (i.phase is Phase.UNKNOWN and i.processes_listed_s < state.leadership.since_s)
        for i in state.instances.all()
    )  # fmt: skip
    if not active:
        return state.settings.sync_interval_s
    if not lists_quickly(state.settings):
        return min(LIST_ACTIVE_S, state.settings.sync_interval_s)
    youngest_s = max((i.create_changed_s for i in state.instances.all() if _wants_address(i)), default=NEVER)
    wanted_s = max(LIST_NEW_S, (now - youngest_s) / LIST_AGE_PART, state.cloud.list_ended_s - state.cloud.listed_s)
    return min(LIST_ACTIVE_S, wanted_s, state.settings.sync_interval_s)


def _wants_address(instance: Instance) -> bool:
    return instance.id is not None and instance.address is None and instance.phase is Phase.BOOTING


def list_due_s(state: State, now: float) -> float:
    cloud = state.cloud
    held = pacing.holdoff(state, "list", None, now)
    wanted = min(cloud.list_due_s, cloud.list_ended_s + min(list_interval_s(state, now), _again_s(cloud)))
    if cloud.list_ended_s < state.leadership.since_s:
        wanted = now
    elif cloud.confirmed_s < state.leadership.since_s:
        wanted = min(wanted, cloud.list_ended_s + max(LIST_CONFIRM_S, state.settings.list_lag_s))
    return max(wanted, held.until_s if held is not None else wanted, pacing.next_token_s(state, "list", now))


def _again_s(cloud: CloudView) -> float:
    """How long after a list that failed or told a part the next one comes: the longer it has been so, the later."""
    since_s = min(cloud.failing_since_s, cloud.partial_since_s)
    return max(LIST_AGAIN_S, cloud.list_ended_s - since_s) if since_s < math.inf else math.inf


def plan_lists(state: State, now: float) -> list[Action]:
    if list_due_s(state, now) > now or legal(state, ListInstances(), now) is not None:
        return []
    return [ListInstances(leftovers=leftovers.wanted(state, now), usages=quotas.wanted(state, now))]


# ------------------------------------------------------------------------------------------------------------ a new term


def finds_out(state: State) -> bool:
    """Whether it is still to be learnt who leads, or what runs on the instances that were there before this term."""
    lead, first_listed_s = state.leadership, state.cloud.first_listed_s
    if not lead.leading:
        return not lead.holder
    return first_listed_s < lead.since_s or any(_unheard(each, lead.since_s) for each in state.instances.all())


def _unheard(instance: Instance, since_s: float) -> bool:
    return instance.phase is Phase.UNKNOWN and max(instance.processes_listed_s, instance.probed_s) < since_s
