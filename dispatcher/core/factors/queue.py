"""The queue service: refusing our token, out of reach, in error, not understood, braking. Nothing is started without it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dispatcher.core.factors import Factor, count, cut, span
from dispatcher.core.model import ContainerState, QueueView, State

SURE_S = 20.0  # one failed look is no outage
SILENT_S = 120.0  # no look has ended for so long, whatever the pace
UNREAD_S = 60.0
ANSWER_S = 90.0  # a write that has had no answer for so long
OVERLOAD_S = 60.0

CERTIFICATE = re.compile(r"certificate|SSL|TLS", re.IGNORECASE)
CLOCK = re.compile(r"(certificate|token)\b.{0,60}(expired|not yet valid)", re.IGNORECASE)
_GOES_ON = "what runs goes on, and nothing is started"


def factors(state: State, now: float) -> Iterator[Factor]:
    yield from _failing(state, now)
    yield from _silent(state, now)
    yield from _braked(state, now)
    yield from _unread(state, now)
    yield from _refused_writes(state, now)
    if len(state.queue.rejected):
        uuid, why = next(iter(state.queue.rejected.items()))
        text = f"{count(len(state.queue.rejected), 'record')} of the queue cannot be understood, as {uuid}: {cut(why)}"
        yield Factor(cause="records-rejected", text=text, level="busy", containers=len(state.queue.rejected))


def _failing(state: State, now: float) -> Iterator[Factor]:
    queue = state.queue
    first = queue.polled_s < state.leadership.since_s
    if not queue.failures or (now - queue.failing_since_s < SURE_S and not first and not _sure(queue)):
        return
    cause, what = _kind(queue)
    since = f"for {span(now - queue.failing_since_s)}"
    yield Factor(
        cause=cause, text=f"{what} {since}: {cut(queue.error)}; {_GOES_ON}", level="stopped", since_s=queue.failing_since_s,
        containers=_waiting(state),
    )  # fmt: skip


def _sure(queue: QueueView) -> bool:
    """A refused token does not mend itself."""
    return queue.error_status in (401, 403) and queue.failures > 1


def _kind(queue: QueueView) -> tuple[str, str]:
    """Cause and words, by what it answered."""
    status, error = queue.error_status, queue.error
    if status in (401, 403):
        return "queue-token", f"the queue service refuses our token with HTTP {status} (see SystemRootToken)"
    if status is None and CERTIFICATE.search(error):
        return "queue-certificate", "the TLS certificate of the queue service is not accepted"
    if status is None:
        return "queue-unreachable", "the queue service does not answer"
    if status == 429:
        return "queue-overloaded", "the queue service refuses our lists with HTTP 429 (too many requests)"
    if status < 400:
        return "queue-garbage", "the answers of the queue service cannot be understood"
    return "queue-error", f"the queue service answers with HTTP {status}"


def _silent(state: State, now: float) -> Iterator[Factor]:
    """A look that is on its way and does not come back."""
    queue = state.queue
    ended_s = max(queue.poll_ended_s, state.leadership.since_s)
    patience_s = SILENT_S + (state.settings.poll_interval_s or 0.0)
    if queue.polling and not queue.failures and now - ended_s > patience_s:
        text = f"the queue service has not answered a poll for {span(now - ended_s)}; {_GOES_ON}"
        yield Factor(cause="queue-unreachable", text=text, level="stopped", since_s=ended_s, containers=_waiting(state))


def _waiting(state: State) -> int:
    return sum(1 for c in state.containers.all() if c.state is ContainerState.QUEUED and c.priority > 0)


def _braked(state: State, now: float) -> Iterator[Factor]:
    queue = state.queue
    if queue.lock_strikes and now < max(queue.locks_held_until_s, queue.overloaded_s + OVERLOAD_S):
        braked = [c for c in state.containers.all() if c.write_error.startswith("lock") and c.state is ContainerState.QUEUED]
        text = (
            f"the queue service answers 503 to locks ({queue.lock_strikes} times in a row): "
            f"fewer are sent at once, and containers begin later"
        )
        yield Factor(cause="queue-overloaded", text=text, level="limited", containers=len(braked), since_s=queue.overloaded_s)


def _unread(state: State, now: float) -> Iterator[Factor]:
    unread = [c for c in state.containers.all() if c.requirements is None and c.read_failures > 1]
    late = [c for c in unread if now - c.first_seen_s > UNREAD_S]
    if late and not state.queue.failures:
        text = f"the records of {count(len(late), 'container')} cannot be read: {cut(state.queue.error) or 'no answer'}"
        since_s = min(c.first_seen_s for c in late)
        yield Factor(cause="records-unread", text=text, containers=len(late), since_s=since_s)


def _refused_writes(state: State, now: float) -> Iterator[Factor]:
    """Locks, unlocks and cancels that do not succeed, or have no answer."""
    refused = [c for c in state.containers.all() if c.write_failures > 1 and c.write_error]
    if refused and not state.queue.failures:
        newest = max(refused, key=lambda c: c.state_changed_s)
        text = f"the queue service refuses what is written to {count(len(refused), 'container')}: {cut(newest.write_error)}"
        yield Factor(cause="writes-refused", text=text, containers=len(refused))
    hung = [c for c in state.containers.all() if c.writing is not None and now - c.state_changed_s > ANSWER_S]
    if hung:
        since_s = min(c.state_changed_s for c in hung)
        text = f"the queue service has not answered {count(len(hung), 'write')} for {span(now - since_s)}"
        yield Factor(cause="queue-unreachable", text=text, containers=len(hung), since_s=since_s)
