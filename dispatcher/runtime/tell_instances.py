"""What changed about an instance and the processes on it, in sentences. Pure: two values in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dispatcher.core import ending
from dispatcher.core.messages import Said
from dispatcher.core.model import NEVER, Destroy, DestroyCause, IdleBehavior, Instance, Kill, Phase, Process, ProcessPhase
from dispatcher.runtime.told import DEBUG, ERROR, INFO, WARNING, Kind, Moment, Told

SIGNALS = {15: "TERM", 9: "KILL"}


def instance_news(
    before: Instance | None, after: Instance | None, now_s: float, *, preemptible: bool = False
) -> Iterator[Told]:
    """``preemptible``: whether the cloud may take such an instance back."""
    if before is None and after is not None:
        yield _appeared(after)
    elif before is not None and after is None:
        yield _gone(before, now_s, preemptible)
        yield from _process_news(before, None)
    elif before is not None and after is not None and before is not after:
        yield from _existence_news(before, after, now_s)
        yield from _condition_news(before, after)
        yield from _operator_news(before, after)
        if before.processes is not after.processes:
            yield from _process_news(before, after)


# -------------------------------------------------------------------------------------------------------------- existence


def _appeared(instance: Instance) -> Told:
    if instance.phase is Phase.CREATING:
        return _told(instance, f"is asked for: instance type {instance.type}", IdleBehavior=instance.idle_behavior.value)
    chosen = f"{instance.idle_behavior}{_note(instance)}"
    text = f"was found in the cloud: {instance.phase}, instance type {instance.type or 'unknown'}, {chosen}"
    return _told(instance, text, IdleBehavior=instance.idle_behavior.value)


def _gone(instance: Instance, now_s: float, preemptible: bool) -> Told:
    if instance.destroy is not None:
        took_s = now_s - instance.destroy.since_s
        return _told(instance, f"is gone {took_s:.1f} s after its destroy: {instance.destroy.reason}", Duration=round(took_s, 3))
    if instance.id is None:
        return _told(instance, "was not created")
    held = [uuid for uuid, process in instance.processes.items() if process.phase is not ProcessPhase.ENDED]
    cause = ending.why_gone(instance, preemptible=preemptible, now=now_s)
    text = f"shut down unexpectedly, it was {instance.phase} with {len(held)} containers: {cause}"
    return _told(instance, text, level=WARNING, WorkerState=instance.phase.value, Cause=cause, RunningContainers=held)


def _existence_news(before: Instance, after: Instance, now_s: float) -> Iterator[Told]:
    if after.id is not None and before.id is None:
        took_s = now_s - after.appeared_s
        text = f"was accepted by the cloud as {after.id} after {took_s:.1f} s"
        yield _told(after, text, Duration=round(took_s, 3), IdleBehavior=after.idle_behavior.value)
    if after.address is not None and after.address != before.address:
        yield _told(after, f"has the address {after.address}", level=DEBUG)
    if after.phase is Phase.READY and before.phase is not Phase.READY:
        took_s = now_s - after.appeared_s
        text = f"is ready {took_s:.1f} s after it appeared"
        fields: dict[str, Any] = {"RunningContainers": len(after.processes), "ProbeStart": Moment(after.answered_s)}
        yield _told(after, text, Duration=round(took_s, 3), **fields)
        if after.warning:
            text = f"counts as booted although not all is well there: {after.warning}"
            yield _told(after, text, level=WARNING, error=after.warning)
    if after.failure and not before.failure:
        yield _told(after, f"was accepted and failed later: {after.failure}", level=WARNING, error=after.failure)
    if after.create_unknown and not before.create_unknown:
        yield _told(after, "may or may not have been created: the answer was lost", level=WARNING)
    if len(after.misses) > len(before.misses):
        level = DEBUG if after.destroy is not None else WARNING  # after a destroy it is what everybody waits for
        yield _told(after, f"is missing from a complete list ({len(after.misses)} in a row)", level=level)
    if after.destroy is not None and after.destroy != before.destroy:
        yield from _destroy_news(before, after, after.destroy, now_s)


def _destroy_news(instance: Instance, after: Instance, destroy: Destroy, now_s: float) -> Iterator[Told]:
    before = instance.destroy
    if before is None:
        level = WARNING if destroy.cause.guarded else INFO
        fields = _destroy_fields(instance, destroy, now_s)
        yield _told(after, f"is destroyed ({destroy.cause}): {destroy.reason}", level=level, **fields)
    elif destroy.attempts > before.attempts:
        yield _told(after, f"is still there and destroyed again (attempt {destroy.attempts})")
    if destroy.error and (before is None or destroy.error != before.error):
        yield _told(after, f"could not be destroyed: {destroy.error}", level=WARNING, error=destroy.error)


def _destroy_fields(instance: Instance, destroy: Destroy, now_s: float) -> dict[str, Any]:
    """``State`` is the one that it had until now."""
    known: dict[str, Any] = {
        "Cause": destroy.cause.value,
        "Reason": destroy.reason,
        "State": instance.phase.value,
        "IdleBehavior": instance.idle_behavior.value,
        "IdleDuration": round(now_s - instance.busy_s, 3) if instance.busy_s > NEVER and not instance.processes else 0.0,
    }
    if destroy.cause is DestroyCause.UNRESPONSIVE:
        known |= {"Duration": round(now_s - instance.answered_s, 3), "Since": Moment(instance.answered_s)}
    return known


# -------------------------------------------------------------------------------------------------------------- condition


def _condition_news(before: Instance, after: Instance) -> Iterator[Told]:
    if after.probe_error and after.probe_error != before.probe_error and after.ready_s is None:  # later ones: probe_account
        yield _told(after, f"does not pass its boot probe yet: {after.probe_error}", error=after.probe_error)
    if after.condemned and not before.condemned:
        yield _told(after, f"gets no new work: {after.condemned}", level=WARNING)
    if after.stale_since_s is not None and before.stale_since_s is None:
        yield _told(after, "holds a run lock although its runner is gone", level=WARNING)
    if after.phase is Phase.READY and before.processes and not after.processes:
        yield _told(after, "is idle")


def _operator_news(before: Instance, after: Instance) -> Iterator[Told]:
    if after.idle_behavior is not before.idle_behavior or after.operator != before.operator:
        text = f"idle behaviour {before.idle_behavior} → {after.idle_behavior}{_note(after)}"
        yield _told(after, text, IdleBehavior=after.idle_behavior.value)
    if after.kill_requested and not before.kill_requested:
        yield _told(after, f"an operator asked to kill it: {after.kill_requested}", level=WARNING)


def _note(instance: Instance) -> str:
    """Who chose, until when and why, as far as it is known."""
    note = instance.operator
    until = f"until {note.until}" if note.until else ""
    who = " ".join(part for part in (note.actor, until) if part)
    told = ": ".join(part for part in (who, note.reason) if part)
    return f" ({told})" if told else ""


# -------------------------------------------------------------------------------------------------------------- processes


def _process_news(before: Instance, after: Instance | None) -> Iterator[Told]:
    there = after.processes if after is not None else {}
    for uuid, process in there.items():
        known = before.processes.get(uuid)
        if known is not process:
            yield from _one_process(before, known, process)
    for uuid in before.processes:
        if uuid not in there:
            yield _of_process(before, uuid, "ended" if after is not None else "is lost with its instance")


def _one_process(instance: Instance, before: Process | None, after: Process) -> Iterator[Told]:
    if before is None or before.phase is not after.phase:
        yield _of_process(instance, after.uuid, *_phase_text(before, after))
    kill, known = after.kill, before.kill if before is not None else None
    if kill is not None and (known is None or kill.signal != known.signal):
        yield _killed(instance, after.uuid, kill)
    if kill is not None and kill.unkillable and not (known is not None and known.unkillable):
        stays = instance.idle_behavior is IdleBehavior.HOLD
        text = "cannot be killed" + (", and an operator's hold keeps the instance: release or kill it" if stays else "")
        yield _of_process(instance, after.uuid, text, ERROR if stays else WARNING)


def _phase_text(before: Process | None, after: Process) -> tuple[str, int]:
    if after.phase is ProcessPhase.STARTING:
        return "is being started", INFO
    if after.phase is ProcessPhase.UNCERTAIN:
        return f"was not started for sure: {after.note or 'the answer was lost'}", WARNING
    if after.phase is ProcessPhase.ENDED:
        return "is gone, says the kill command", INFO
    return ("was found running" if before is None else "runs"), INFO


def _killed(instance: Instance, uuid: str, kill: Kill) -> Told:
    name = SIGNALS.get(kill.signal, str(kill.signal))
    level = WARNING if kill.signal == 9 else INFO
    return _of_process(instance, uuid, f"is sent {name}: {kill.reason}", level, Signal=name, Reason=kill.reason)


def _of_process(instance: Instance, uuid: str, text: str, level: int = INFO, **fields: object) -> Told:
    return Told(
        text=f"the process of container {uuid} on {instance.name} {text}", kind=Kind.PROCESS, level=level, container=uuid,
        instance=instance.name, fields={"ContainerUUID": uuid, **fields_of(instance), **fields},
    )  # fmt: skip


def _told(instance: Instance, text: str, *, level: int = INFO, **fields: object) -> Told:
    return Told(
        text=f"instance {instance.name} {text}", kind=Kind.INSTANCE, level=level, instance=instance.name,
        fields={**fields_of(instance), **fields},
    )  # fmt: skip


def fields_said(said: Said | None) -> dict[str, Any]:
    """What a remote command said, named as upstream names it."""
    if said is None:
        return {}
    status = {} if said.status is None else {"ExitStatus": said.status}
    return {"Command": said.command, **status, "stdout": said.stdout, "stderr": said.stderr}


def fields_of(instance: Instance) -> dict[str, object]:
    return {
        "Instance": instance.id or "",
        "InstanceName": instance.name,
        "InstanceType": instance.type,
        "Address": instance.address or "",
        "State": instance.phase.value,
    }
