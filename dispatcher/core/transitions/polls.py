"""Looks at the queue: when one is on its way, what it covered, and how many list requests are left.

List requests are counted in a bucket of their own. While more wait than a page shows, at most sixty go out in any minute,
whatever asks: what the bucket holds at most, and what a minute brings. A shorter queue costs the service less, and its bucket
fills ten times faster.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from dispatcher.core.looks import PAGE, Look, Span, Sweep
from dispatcher.core.messages import EventsFlowing, PollQueue, QueueHinted, QueuePolled, QueuePollFailed
from dispatcher.core.model import NEVER, Bucket, Container, QueueView, State
from dispatcher.core.transitions.changes import put_container
from dispatcher.core.values import replace

DEEP_RATE, DEEP_BURST = 0.88, 6.0  # 6 + 60 × 0.88 = 58.8 in a minute; the rest is for answers that come in more pages
RATE, BURST = 10.0, 40.0
SWEEP_AGAIN_S = 60.0  # from one sweep to the next, at least
SWEEP_PAGE_S = 20.0  # and at least so long for each of its pages


# ----------------------------------------------------------------------------------------------------------- list requests


def tokens(queue: QueueView, now: float) -> float:
    """How many list requests may be sent now; below nothing after one that took more than was expected."""
    rate, burst = (DEEP_RATE, DEEP_BURST) if queue.backlog else (RATE, BURST)
    return min(burst, queue.lists.tokens + max(0.0, now - queue.lists.at_s) * rate)


def tokens_at(queue: QueueView, wanted: float, now: float) -> float:
    """When so many may be sent; NEVER stands for a time that has passed."""
    missing = wanted - tokens(queue, now)
    return NEVER if missing <= 0 else now + missing / (DEEP_RATE if queue.backlog else RATE)


def cost(state: State, look: Look) -> int:
    """How many list requests a look is expected to take; never more than the bucket holds."""
    own = 1 + sum(state.containers.parts(_count_ours)) // PAGE if look.own else 0
    return min(int(DEEP_BURST), own + (look.size > 0) + look.count)


def _count_ours(containers: Collection[Container]) -> int:
    return sum(1 for container in containers if container.ours)


def spend(queue: QueueView, count: float, now: float) -> QueueView:
    return replace(queue, lists=Bucket(tokens=tokens(queue, now) - count, at_s=now))


def interval_due_s(state: State) -> float:
    """When the pace that the site named asks for a look at the top that shows everything: so long after the last such look, or
    after one that failed. Never where it named none."""
    interval_s = state.settings.poll_interval_s
    return math.inf if interval_s is None else state.queue.shown_s + interval_s


def uncounted(state: State, look: Look, now: float) -> bool:
    """Whether the site itself asked for this look by naming its pace."""
    return look.at_top and now >= interval_due_s(state)


# ------------------------------------------------------------------------------------------------------------------- looks


def begin_poll(state: State, action: PollQueue, now: float) -> State:
    expected = None if uncounted(state, action.look, now) else cost(state, action.look)
    queue = state.queue if expected is None else spend(state.queue, expected, now)
    if action.look.at_top:
        queue = replace(queue, hinted_s=NEVER, hinted_new=False)
    return replace(state, queue=replace(queue, polling=True, looking=action.look, expected=expected))


def polled(state: State, event: QueuePolled, now: float) -> State:
    look, span = event.look, event.span
    expected = state.queue.expected
    queue = state.queue if expected is None else spend(state.queue, span.lists - expected, now)
    rejected = type(queue.rejected)(event.rejected.items()) if look.own else queue.rejected.update(event.rejected.items())
    queue = replace(queue, polling=False, looking=None, failures=0, error="", failing_since_s=math.inf, rejected=rejected)
    if look.own:
        queue = replace(queue, polled_s=event.began_s)
    if span.waiting is not None:
        queue = replace(queue, waiting=span.waiting, counted_s=event.began_s)
    if look.at_top:
        queue = _at_top(queue, event, now)
    else:
        queue = replace(queue, deeper_next=False)  # now it is the turn of those at the top
        queue = _further_down(queue, span) if look.size else queue
    return replace(state, queue=queue)


def _at_top(queue: QueueView, event: QueuePolled, now: float) -> QueueView:
    took_s = now - event.began_s
    queue = replace(queue, poll_ended_s=now, poll_took_s=took_s, deeper_next=True, unseen=not event.span.ended)
    if event.span.ended:
        queue = replace(queue, backlog=False, sweep=None)
    elif event.look.size >= PAGE:
        queue = replace(queue, backlog=True, sweep=_sweep(queue.sweep, event.span, now))
    if event.span.ended or event.look.size >= PAGE:
        queue = replace(queue, page_s=event.began_s, page_ended_s=now, page_took_s=took_s)
        queue = replace(queue, shown_s=now) if event.look.own else queue
    return queue


def _sweep(before: Sweep | None, span: Span, now: float) -> Sweep:
    """The sweep that is under way, or, when it is old, a new one that goes at least as far."""
    if before is not None and now < before.began_s + max(SWEEP_AGAIN_S, SWEEP_PAGE_S * before.read / PAGE):
        return before
    return Sweep(began_s=now, cursor=span.after, read=span.records, goal=before.read if before is not None else 0)


def _further_down(queue: QueueView, span: Span) -> QueueView:
    sweep = queue.sweep
    if sweep is None:
        return queue
    read, ended = sweep.read + span.records, span.ended or span.after is None
    return replace(queue, sweep=replace(sweep, cursor=span.after, read=read, ended=ended))


def poll_failed(state: State, event: QueuePollFailed, now: float) -> State:
    look = state.queue.looking or Look()
    queue = replace(
        state.queue, polling=False, looking=None, failures=state.queue.failures + 1, error=event.failure.text,
        error_status=event.failure.status, failing_since_s=min(now, state.queue.failing_since_s), poll_ended_s=now, shown_s=now,
        deeper_next=False,
    )  # fmt: skip
    return replace(state, queue=replace(queue, full_refused_s=now) if look.full else queue)


def hinted(state: State, event: QueueHinted, now: float) -> State:
    """Whom we know is looked at by uuid, the end of somebody on the instance; somebody new stands at the top."""
    container = state.containers.get(event.container)
    if container is None:
        new = bool(event.container) and (state.queue.hinted_new or state.queue.hinted_s == NEVER)
        unknown_end = event.container and event.ended
        return state if unknown_end else replace(state, queue=replace(state.queue, hinted_s=now, hinted_new=new))
    if event.ended:
        return look_for_exit(state, container, now)
    return state if container.reading else put_container(state, replace(container, read_due=True))


def events_flowing(state: State, event: EventsFlowing, now: float) -> State:
    return replace(state, queue=replace(state.queue, events_flow=event.flowing))


def look_for_exit(state: State, container: Container, now: float) -> State:
    """A container that is over has a runner that is ending: its instance is probed at once, and often until it is seen gone."""
    instance = state.instances.get(container.instance) if container.instance is not None else None
    if instance is None or container.uuid not in instance.processes:
        return state
    ending = replace(instance, probe_due=True, runner_ends_s=now)
    return replace(state, instances=state.instances.set(instance.name, ending))


def forgotten(queue: QueueView) -> QueueView:
    """As at a start: what was seen in an earlier term is not known any more. What was asked lately still counts."""
    return replace(
        queue, polled_s=NEVER, page_s=NEVER, page_ended_s=NEVER, backlog=True, waiting=None, counted_s=NEVER, sweep=None
    )
