"""What the queue service told us, and what we asked of it.

A record never overrides a state that one of our own writes changed at or after the moment the record was asked for; its
priority and address are taken whenever it is the newest. Any answer to a write but 200 makes a read of that uuid due, and the
record decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dispatcher.core import ending, hints, sizing
from dispatcher.core.messages import (
    BindContainer,
    CancelContainer,
    ContainersAbsent,
    ContainersObserved,
    ContainersRead,
    ContainersReadFailed,
    ContainerWriteFailed,
    ContainerWritten,
    ForgetContainer,
    LockContainer,
    QueueIdentified,
    ReadContainers,
    ReleaseContainer,
    UnlockContainer,
)
from dispatcher.core.model import NEVER, Container, ContainerRecord, ContainerState, Fit, QueueWrite, Requirements, State
from dispatcher.core.recent import noted
from dispatcher.core.transitions import locks, polls, setbacks
from dispatcher.core.transitions.changes import bind, past, put_container, put_containers, put_instance, release, resize
from dispatcher.core.values import replace

ERROR_CHARACTERS = 300
RETRY_FIRST_S, RETRY_LONGEST_S = 1.0, 60.0
READ_LONGEST_S = 10.0  # a read asks for all that is due: after an outage nobody waits a minute for the news of it
STRAY_AGAIN_S = 10.0  # from one question for a process's unknown container to the next
ATTEMPT_FIRST_S, ATTEMPT_LONGEST_S = 1.0, 60.0

_HOLDING = (ContainerState.LOCKED, ContainerState.RUNNING)


def growing(first_s: float, longest_s: float, strikes: int) -> float:
    """The pause after this many failures in a row: doubled each time, and bounded."""
    return float(min(longest_s, first_s * 2.0 ** min(max(0, strikes - 1), 16)))


# ---------------------------------------------------------------------------------------------------------- observations


def _fresh(state: State, record: ContainerRecord, began_s: float, now: float) -> Container:
    return Container(
        uuid=record.uuid, state=record.state, priority=record.priority, created_at=record.created_at,
        first_seen_s=hints.first_seen_s(state.hints, record.uuid, now), runnable_since_s=now, observed_s=began_s,
        read_due=record.requirements is None,
    )  # fmt: skip


def _wanted(state: State, record: ContainerRecord) -> bool:
    """Whether a container that we do not hold concerns us: it waits, it is ours, or it runs on an instance of ours."""
    if record.uuid in state.strays:
        return True
    if record.state is ContainerState.QUEUED:
        return record.priority > 0
    return record.state in _HOLDING and record.locked_by_uuid == state.queue.token_uuid


def _runnable_since(container: Container, now: float) -> float | None:
    if container.priority <= 0 or container.state.final:
        return None
    return container.runnable_since_s if container.runnable_since_s is not None else now


def _take_state(container: Container, record: ContainerRecord, token_uuid: str, now: float) -> Container:
    """The state part of a record. Back in Queued, an earlier attempt is history."""
    ours = record.state in _HOLDING and record.locked_by_uuid == token_uuid
    if container.state is not record.state or container.ours != ours:
        ahead = container.ahead and ours and record.state is ContainerState.LOCKED
        found_s = now if ours and not container.ours else container.found_s
        container = replace(container, state=record.state, ours=ours, ahead=ahead, found_s=found_s)
    if record.lock_count is not None and container.lock_count != record.lock_count:
        container = replace(container, lock_count=record.lock_count)
    if record.state is ContainerState.QUEUED:
        if container.locked_term:
            container = replace(container, locked_term=0)
        if container.exited_s is not None and container.observed_s > container.exited_s:
            container = past(container)
    return container


def _sized(
    state: State, held: Container, record: ContainerRecord, memo: dict[Requirements, Fit]
) -> tuple[Requirements | None, Fit | None]:
    """What it asks for, and where that fits: polls do not tell."""
    wanted = record.requirements
    if wanted is None or (held.fit is not None and held.requirements == wanted):
        return held.requirements, held.fit
    return wanted, sizing.fit(wanted, state.settings, memo)


def _observe_record(
    state: State, held: Container | None, record: ContainerRecord, began_s: float, now: float, memo: dict[Requirements, Fit]
) -> Container | None:
    """The container after this record, or None when it does not concern us."""
    if held is None:
        if not _wanted(state, record):
            return None
        held = _fresh(state, record, began_s, now)
    requirements, fit = _sized(state, held, record, memo)
    if began_s < held.observed_s:  # an older answer may still be the only one that says what it asks for: polls do not
        return replace(held, requirements=requirements, fit=fit) if held.requirements is None else held
    container = replace(
        held, priority=record.priority, gateway_address=record.gateway_address or held.gateway_address, observed_s=began_s,
        requirements=requirements, fit=fit,
    )  # fmt: skip
    if container.writing is None and began_s > container.state_changed_s:
        container = _take_state(container, record, state.queue.token_uuid, now)
        if held.requirements is None and requirements is not None and container.exited_s is None:
            container = replace(container, read_due=False)  # a look in full tells what a read would
    since_s = _runnable_since(container, now)
    return container if since_s == container.runnable_since_s else replace(container, runnable_since_s=since_s)


def _seat(state: State, container: Container, now: float) -> State:
    """Put the container down; a process of it that runs somewhere as a stray becomes its binding."""
    stray = state.strays.get(container.uuid)
    if stray is not None and container.instance is None:
        return bind(_mark_stray(state, container.uuid, unheard_of=False, orphan=False), container, stray)
    held = state.containers.get(container.uuid)
    if held is not None and container.state.final and not held.state.final:
        state = polls.look_for_exit(state, container, now)
    if held is not None and held.fit is not container.fit:
        return resize(state, container)
    return put_container(state, container)


def _observe_records(state: State, records: Iterable[ContainerRecord], began_s: float, now: float) -> State:
    """Each record by itself; containers that nothing else hangs on are put down together, since that costs far less."""
    memo = sizing.memo(state.settings)
    alone: dict[str, Container] = {}
    for record in records:
        held = alone.pop(record.uuid, None) or state.containers.get(record.uuid)
        container = _observe_record(state, held, record, began_s, now, memo)
        if container is None or container is state.containers.get(record.uuid):
            continue
        if _stands_alone(state, held, container):
            alone[container.uuid] = container
        else:
            state = _seat(state, container, now)
    return put_containers(state, alone.values())


def _stands_alone(state: State, held: Container | None, container: Container) -> bool:
    """Whether a container as it is now concerns no instance, or its instance not in what changed."""
    if container.instance is None:
        return container.uuid not in state.strays
    return held is not None and held.fit is container.fit and held.state is container.state


def identified(state: State, event: QueueIdentified, now: float) -> State:
    return replace(state, queue=replace(state.queue, token_uuid=event.token_uuid))


def observed(state: State, event: ContainersObserved, now: float) -> State:
    before = state.containers
    state = _observe_records(state, event.records, event.began_s, now)
    return state if state.containers is before else replace(state, queue=replace(state.queue, changed_s=now))


def absent(state: State, event: ContainersAbsent, now: float) -> State:
    """A container that is missing from a poll is asked for by uuid: only the empty answer to that drops it."""
    held = [c for uuid in event.uuids if (c := state.containers.get(uuid)) is not None]
    return put_containers(state, [replace(c, read_due=True) for c in held if _may_be_gone(c, event.began_s)])


def _may_be_gone(container: Container, began_s: float) -> bool:
    if container.writing is not None or container.state.final:
        return False
    return max(container.observed_s, container.state_changed_s) < began_s


def read(state: State, event: ContainersRead, now: float) -> State:
    asked = [c for uuid in event.asked if (c := state.containers.get(uuid)) is not None]
    state = put_containers(
        state, [replace(c, reading=False, read_due=_changed_since(c, event.began_s), read_failures=0) for c in asked]
    )
    state = _observe_records(state, event.records, event.began_s, now)
    found = {record.uuid for record in event.records} | set(event.rejected)
    for uuid in event.asked:
        if uuid not in found:
            state = _absent(state, uuid, event.began_s, now)
        elif uuid in event.rejected:
            state = _set_aside(state, uuid, event.rejected[uuid], now)
    return state


def _changed_since(container: Container, began_s: float) -> bool:
    """Whether a read that began then is too old to tell what became of a write, or of a process that ended."""
    ended_s = container.exited_s if container.exited_s is not None else NEVER
    return began_s <= max(container.state_changed_s, ended_s)


def _set_aside(state: State, uuid: str, reason: str, now: float) -> State:
    """A record that cannot be understood waits, with its reason, and stops no other."""
    queue = replace(state.queue, rejected=state.queue.rejected.set(uuid, reason))
    container = state.containers.get(uuid)
    if container is not None:
        state = put_container(state, replace(container, read_due=True, ask_after_s=now + RETRY_LONGEST_S))
    return replace(state, queue=queue)


def _absent(state: State, uuid: str, began_s: float, now: float) -> State:
    """The queue service knows no such container, and nothing is left of it but a process, if one runs."""
    container = state.containers.get(uuid)
    if container is not None:
        if container.writing is not None or container.state_changed_s >= began_s or container.observed_s > began_s:
            return state
        name = container.instance
        state = release(state, container)
        state = replace(state, containers=state.containers.without(uuid))
        if name is not None and uuid in state.instances[name].processes:
            state = replace(state, strays=state.strays.set(uuid, name))
    return _doubt_stray(state, uuid, now) if uuid in state.strays else state


def _doubt_stray(state: State, uuid: str, now: float) -> State:
    """A process is an orphan, and will be killed, only after a second answer: one that is empty by mistake ends no work."""
    process = state.instances[state.strays[uuid]].processes[uuid]
    if process.unheard_of:
        return _mark_stray(state, uuid, orphan=True)
    return _mark_stray(state, uuid, unheard_of=True, ask_after_s=now + STRAY_AGAIN_S)


def read_failed(state: State, event: ContainersReadFailed, now: float) -> State:
    held = [c for uuid in event.asked if (c := state.containers.get(uuid)) is not None]
    state = put_containers(state, [_read_later(container, now) for container in held])
    return replace(state, queue=replace(state.queue, error=event.failure.text, error_status=event.failure.status))


def _read_later(container: Container, now: float) -> Container:
    failures = container.read_failures + 1
    later = now + growing(RETRY_FIRST_S, READ_LONGEST_S, failures)
    return replace(container, reading=False, read_failures=failures, ask_after_s=later)


# ------------------------------------------------------------------------------------------------------------------ writes


def written(state: State, event: ContainerWritten, now: float) -> State:
    if event.write is QueueWrite.LOCK:
        state = replace(state, queue=locks.succeeded(state.queue, now))
    container = state.containers.get(event.uuid)
    if container is None:
        return state
    if event.write is QueueWrite.LOCK and container.writing is QueueWrite.LOCK:
        locks_s = noted(state.recent.locks_s, now - container.state_changed_s)
        state = replace(state, recent=replace(state.recent, locks_s=locks_s))
    held = replace(
        container, writing=None, state_changed_s=now, write_failures=0, write_error="", priority=event.record.priority
    )
    after = _take_state(held, event.record, state.queue.token_uuid, now)
    if event.write is QueueWrite.LOCK:
        after = replace(after, lock_count=container.lock_count + 1)
    if event.write is QueueWrite.UNLOCK:
        after = _attempt_failed(after, container, now)
    after = replace(after, runnable_since_s=_runnable_since(after, now))
    if after.state is ContainerState.LOCKED:
        return put_container(state, after)
    return release(put_container(state, after), after) if _free(state, after) else put_container(state, after)


def _free(state: State, container: Container) -> bool:
    """Whether no process of the container is known on the instance to which it is bound."""
    instance = state.instances.get(container.instance) if container.instance is not None else None
    return instance is not None and container.uuid not in instance.processes


def _attempt_failed(after: Container, before: Container, now: float) -> Container:
    """An unlock after an exit spent an attempt: the next one waits, longer each time."""
    if before.exited_s is None:
        return past(after)
    failed = before.failed_attempts + 1
    later = now + growing(ATTEMPT_FIRST_S, ATTEMPT_LONGEST_S, failed)
    error = ending.attempt_error(before)
    return replace(past(after), failed_attempts=failed, not_before_s=later, last_error=error)


def write_failed(state: State, event: ContainerWriteFailed, now: float) -> State:
    """The outcome is not known, or it was refused: the record decides."""
    container = state.containers.get(event.uuid)
    if event.write is QueueWrite.LOCK:
        sent_s = container.state_changed_s if container is not None else now
        queue = locks.failed(state.queue, now, overloaded=event.failure.overloaded, sent_s=sent_s)
        state = replace(state, queue=queue)
    if container is None:
        return state
    braked = event.write is QueueWrite.LOCK and event.failure.overloaded  # which is no fault of the container
    failures = container.write_failures + (not braked)
    later = state.queue.locks_held_until_s if braked else now + growing(RETRY_FIRST_S, RETRY_LONGEST_S, failures)
    container = replace(
        container, writing=None, state_changed_s=now, read_due=True, write_failures=failures,
        write_error=f"{event.write.value}: {event.failure.text}"[:ERROR_CHARACTERS],
        not_before_s=max(container.not_before_s, later),
        ask_after_s=now + growing(0.2, RETRY_LONGEST_S, failures),
    )  # fmt: skip
    if event.write is QueueWrite.LOCK:  # should it be Locked all the same, then perhaps by who led before us
        container = replace(container, locked_term=0, ahead=False)
    state = put_container(state, container)
    return release(state, container) if event.write is QueueWrite.LOCK and _free(state, container) else state


# ------------------------------------------------------------------------------------------------------------------ intents


def begin_read(state: State, action: ReadContainers, now: float) -> State:
    held = [c for uuid in action.uuids if (c := state.containers.get(uuid)) is not None]
    state = put_containers(state, [replace(container, reading=True) for container in held])
    state = replace(state, queue=replace(polls.spend(state.queue, 1, now), asked_s=now))
    for uuid in action.uuids:
        if uuid in state.strays:
            state = _mark_stray(state, uuid, ask_after_s=now + STRAY_AGAIN_S)
    return state


def _mark_stray(state: State, uuid: str, **marks: Any) -> State:
    instance = state.instances[state.strays[uuid]]
    marked = replace(instance.processes[uuid], **marks)
    return put_instance(state, replace(instance, processes={**instance.processes, uuid: marked}))


def _begin_write(state: State, uuid: str, write: QueueWrite, now: float) -> State:
    return put_container(state, replace(state.containers[uuid], writing=write, state_changed_s=now))


def begin_lock(state: State, action: LockContainer, now: float) -> State:
    state = replace(state, queue=replace(state.queue, locks_in_flight=state.queue.locks_in_flight + 1))
    container = replace(
        state.containers[action.uuid], writing=QueueWrite.LOCK, state_changed_s=now, locked_term=state.leadership.term,
        ahead=action.ahead,
    )  # fmt: skip
    if action.ahead:
        return put_container(state, container)
    return bind(state, container, action.instance)


def begin_unlock(state: State, action: UnlockContainer, now: float) -> State:
    return _begin_write(state, action.uuid, QueueWrite.UNLOCK, now)


def begin_cancel(state: State, action: CancelContainer, now: float) -> State:
    return _begin_write(setbacks.cancelled(state, action, now), action.uuid, QueueWrite.CANCEL, now)


def begin_bind(state: State, action: BindContainer, now: float) -> State:
    return bind(state, state.containers[action.uuid], action.instance)


def begin_release(state: State, action: ReleaseContainer, now: float) -> State:
    state = release(state, state.containers[action.uuid])
    free = past(state.containers[action.uuid])
    if free.state is ContainerState.RUNNING:  # somebody started it, and it was not us
        free = replace(free, locked_term=0)
    return put_container(state, free)


def begin_forget(state: State, action: ForgetContainer, now: float) -> State:
    state = release(state, state.containers[action.uuid])
    return replace(state, containers=state.containers.without(action.uuid))
