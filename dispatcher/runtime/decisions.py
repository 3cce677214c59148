"""What the dispatcher decides that destroys something, for the audit log: destroys, signals, cancels, deleted leftovers. Pure.

One entry when it is decided, with the evidence, and one when it is known what came of it. ``Actor`` is whoever asked for it, and
``dispatcher`` where nobody did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dispatcher.core import ending
from dispatcher.core import messages as m
from dispatcher.core.model import NEVER, Container, DestroyCause, IdleBehavior, Instance, Process, ProcessPhase, QueueWrite, State
from dispatcher.runtime.audit_file import DECISION

Entry = dict[str, Any]
DISPATCHER = "dispatcher"
BEGUN = "begun"
DECIDED = frozenset({m.DestroyInstance, m.KillProcess, m.CancelContainer, m.DeleteLeftover})

_SIGNALS = {15: "TERM", 9: "KILL"}
_LEFT_OVER = "two complete lists show it, it is old enough, and no instance uses it"


def decisions(before: State, after: State, message: m.Event | m.Action, now_s: float) -> list[Entry]:
    """The entries that this change asks for; mostly none."""
    tell = _TELLERS.get(type(message))
    return [] if tell is None else [{"Kind": DECISION, **entry} for entry in tell(before, after, message, now_s)]


# --------------------------------------------------------------------------------------------------------------- instances


def _destroy(before: State, after: State, action: m.DestroyInstance, now_s: float) -> Iterator[Entry]:
    """The first time alone: that it is sent again is no other decision, but for an operator's kill of what goes anyway."""
    instance = before.instances[action.name]
    if instance.destroy is None or instance.destroy.cause is not action.cause:
        yield {
            "Act": "destroy", "Actor": _who_destroys(instance, action.cause), "Cause": action.cause.value,
            "Reason": action.reason, **_about(instance), **_evidence(instance, now_s), "Outcome": BEGUN,
        }  # fmt: skip


def _who_destroys(instance: Instance, cause: DestroyCause) -> str:
    if cause is DestroyCause.OPERATOR:
        return instance.kill_actor or "an operator"
    drained = cause is DestroyCause.DRAINED and instance.idle_behavior is IdleBehavior.DRAIN
    return (instance.operator.actor or "an operator") if drained else DISPATCHER


def _evidence(instance: Instance, now_s: float) -> Entry:
    """What was known when it was decided."""
    known: Entry = {
        "Price": instance.price,
        "AgeSeconds": _since(instance.appeared_s, now_s),
        "LastAnswerSeconds": _since(instance.answered_s, now_s),
        "ProbeFailures": instance.probe_failures,
        "ProbeError": instance.probe_error,
        "RunningContainers": [p.uuid for p in instance.processes.values() if p.phase is not ProcessPhase.ENDED],
    }
    if not instance.processes:
        known["IdleSeconds"] = _since(instance.busy_s, now_s)
    return known


def _since(at_s: float, now_s: float) -> float | None:
    return None if at_s == NEVER else round(now_s - at_s, 3)


def _about(instance: Instance) -> Entry:
    return {
        "Instance": instance.id or "", "InstanceName": instance.name, "InstanceType": instance.type,
        "State": instance.phase.value, "IdleBehavior": instance.idle_behavior.value,
        "Held": instance.idle_behavior is IdleBehavior.HOLD,
    }  # fmt: skip


def _destroy_failed(before: State, after: State, event: m.DestroyFailed, now_s: float) -> Iterator[Entry]:
    instance = before.instances.get(event.name)
    if instance is not None and instance.destroy is not None and instance.destroy.error != event.failure.text:
        yield _destroyed(instance, f"failed, it is tried again: {event.failure.text}", now_s)


def _removed(before: State, after: State, action: m.RemoveInstance, now_s: float) -> Iterator[Entry]:
    instance = before.instances[action.name]
    if instance.destroy is not None:
        yield _destroyed(instance, "gone", now_s)
    yield from _ended(instance, None)


def _destroyed(instance: Instance, outcome: str, now_s: float) -> Entry:
    destroy = instance.destroy
    assert destroy is not None
    return {
        "Act": "destroy", "Actor": _who_destroys(instance, destroy.cause), "Cause": destroy.cause.value, "Reason": destroy.reason,
        **_about(instance), "Attempts": destroy.attempts, "Duration": round(now_s - destroy.since_s, 3), "Outcome": outcome,
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- processes


def _kill(before: State, after: State, action: m.KillProcess, now_s: float) -> Iterator[Entry]:
    """The first signal, and the first KILL."""
    known = before.instances[action.name].processes[action.uuid].kill
    if known is None or known.sent_s == NEVER or known.signal != action.signal:
        instance = after.instances[action.name]
        yield _signal(instance, instance.processes[action.uuid], BEGUN)


def _signal(instance: Instance, process: Process, outcome: str) -> Entry:
    kill = process.kill
    assert kill is not None
    return {
        "Act": "signal", "Actor": kill.actor or DISPATCHER, "Signal": _SIGNALS.get(kill.signal, str(kill.signal)),
        "Reason": kill.reason, "ContainerUUID": process.uuid, **_about(instance), "Outcome": outcome,
    }  # fmt: skip


def _looked(before: State, after: State, event: m.Probed | m.KillEnded, now_s: float) -> Iterator[Entry]:
    instance = before.instances.get(event.name)
    if instance is not None and any(process.kill is not None for process in instance.processes.values()):
        yield from _ended(instance, after.instances.get(event.name))


def _ended(instance: Instance, after: Instance | None) -> Iterator[Entry]:
    """What became of those that were sent a signal."""
    there = after.processes if after is not None else {}
    for uuid, process in instance.processes.items():
        if process.kill is None or process.phase is ProcessPhase.ENDED:
            continue
        now = there.get(uuid)
        if now is None or now.phase is ProcessPhase.ENDED:
            yield _signal(instance, process, "ended" if after is not None else "lost with its instance")
        elif now.kill is not None and now.kill.unkillable and not process.kill.unkillable:
            yield _signal(instance, now, "it cannot be killed")


# -------------------------------------------------------------------------------------------------------------- containers


def _cancel(before: State, after: State, action: m.CancelContainer, now_s: float) -> Iterator[Entry]:
    container = before.containers[action.uuid]
    facts = action.detail.partition(ending.OUTPUT_FOLLOWS)[0]
    yield {**_cancelled(container, BEGUN), "Reason": action.error, "Detail": facts.strip().replace("\n", "; ")}


def _cancelled(container: Container, outcome: str) -> Entry:
    return {
        "Act": "cancel", "Actor": (container.killed.actor if container.killed is not None else "") or DISPATCHER,
        "ContainerUUID": container.uuid, "State": container.state.value, "Attempts": container.lock_count,
        "RanOn": container.ran_on, "Outcome": outcome,
    }  # fmt: skip


def _written(before: State, after: State, event: m.ContainerWritten, now_s: float) -> Iterator[Entry]:
    container = before.containers.get(event.uuid)
    if event.write is QueueWrite.CANCEL and container is not None:
        yield _cancelled(container, f"it is {event.record.state.value}")


def _write_failed(before: State, after: State, event: m.ContainerWriteFailed, now_s: float) -> Iterator[Entry]:
    container = before.containers.get(event.uuid)
    if event.write is QueueWrite.CANCEL and container is not None:
        yield _cancelled(container, f"failed, its record is read again: {event.failure.text}")


# --------------------------------------------------------------------------------------------------------------- leftovers


def _delete(before: State, after: State, action: m.DeleteLeftover, now_s: float) -> Iterator[Entry]:
    if not before.cloud.leftovers[action.id].failures:
        yield _leftover(before, action.id, BEGUN, now_s)


def _leftover(state: State, leftover_id: str, outcome: str, now_s: float) -> Entry:
    known = state.cloud.leftovers[leftover_id]
    return {
        "Act": "delete leftover", "Actor": DISPATCHER, "Reason": _LEFT_OVER, "Leftover": leftover_id,
        "LeftoverKind": known.leftover.kind, "AgeSeconds": _since(known.first_s, now_s), "Outcome": outcome,
    }  # fmt: skip


def _deleted(before: State, after: State, event: m.LeftoverDeleted, now_s: float) -> Iterator[Entry]:
    if event.id in before.cloud.leftovers:
        yield _leftover(before, event.id, "deleted", now_s)


def _delete_failed(before: State, after: State, event: m.LeftoverFailed, now_s: float) -> Iterator[Entry]:
    known = before.cloud.leftovers.get(event.id)
    if known is not None and known.error != event.failure.text:
        yield _leftover(before, event.id, f"failed, it is tried again: {event.failure.text}", now_s)


_TELLERS: Mapping[type[m.Event] | type[m.Action], Callable[[State, State, Any, float], Iterator[Entry]]] = {
    m.DestroyInstance: _destroy,
    m.DestroyFailed: _destroy_failed,
    m.RemoveInstance: _removed,
    m.KillProcess: _kill,
    m.KillEnded: _looked,
    m.Probed: _looked,
    m.CancelContainer: _cancel,
    m.ContainerWritten: _written,
    m.ContainerWriteFailed: _write_failed,
    m.DeleteLeftover: _delete,
    m.LeftoverDeleted: _deleted,
    m.LeftoverFailed: _delete_failed,
}
