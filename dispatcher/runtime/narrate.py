"""Turns a change of State into sentences: what happened, to whom, and why.

Pure, and cheap beside the change itself: only the entities that a message names are compared. It runs outside the lock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from dispatcher.core import ending
from dispatcher.core import messages as m
from dispatcher.core.model import CallReport, CloudView, Holdoff, HoldoffKind, Instance, Leadership, QueueView, State
from dispatcher.core.pacing import FEW_CALLS
from dispatcher.runtime.tell_catalogue import catalogue_news
from dispatcher.runtime.tell_containers import container_news
from dispatcher.runtime.tell_instances import fields_said, instance_news
from dispatcher.runtime.told import DEBUG, ERROR, INFO, WARNING, Kind, Moment, Told

Message = m.Event | m.Action
LAST_LINES, LAST_CHARACTERS = 3, 600


def narrate(before: State, after: State, message: Message, now_s: float) -> list[Told]:
    """The sentences for this change, in the order in which they should be read."""
    told = list(SPECIAL[type(message)](message)) if type(message) in SPECIAL else []
    if isinstance(message, m.KillEnded) and message.error == _last_error(before, message):
        told = [replace(one, level=DEBUG) for one in told]  # it is repeated for days on a held instance
    names = list(instances_of(message))
    if before.containers is not after.containers:
        for uuid in containers_of(before, message, names):
            held, kept = before.containers.get(uuid), after.containers.get(uuid)
            if held is not kept:
                told.extend(container_news(held, kept))
    if before.instances is not after.instances:
        for name in names:
            known, left = before.instances.get(name), after.instances.get(name)
            if known is not left:
                news = instance_news(known, left, now_s, preemptible=_preemptible(before, known))
                told.extend(_with_command(one, message) for one in news)
    told.extend(_surroundings(before, after, now_s))
    if isinstance(message, m.SettingsLoaded) and before.settings is not after.settings:
        told.append(Told(text="new settings are in force", kind=Kind.SETTINGS))
    if isinstance(message, m.SettingsLoaded | m.CatalogueRead | m.CatalogueFailed):
        told.extend(catalogue_news(before, after))
    return told


def _last_error(state: State, event: m.KillEnded) -> str:
    """What the kill command before this one said about the same process."""
    instance = state.instances.get(event.name)
    process = instance.processes.get(event.uuid) if instance is not None else None
    return process.kill.error if process is not None and process.kill is not None else ""


def _with_command(told: Told, message: Message) -> Told:
    """What a failed probe's command said belongs to the sentence about its failure."""
    if not isinstance(message, m.Probed) or message.report.said is None or "error" not in told.fields:
        return told
    return replace(told, fields={**told.fields, **fields_said(message.report.said)})


def containers_of(before: State, message: Any, names: Iterable[str]) -> Iterable[str]:
    """The containers that a message may have changed: those that it names, and those bound to what it removes."""
    found: dict[str, None] = {}
    if (uuid := getattr(message, "uuid", None)) is not None:
        found[uuid] = None
    for several in ("uuids", "asked"):
        found.update(dict.fromkeys(getattr(message, several, ())))
    found.update((record.uuid, None) for record in getattr(message, "records", ()))
    if isinstance(message, m.RemoveInstance | m.Probed | m.CreateFailed):
        for name in names:
            instance = before.instances.get(name)
            found.update(dict.fromkeys((*instance.bound, *instance.processes) if instance is not None else ()))
    if isinstance(message, m.Probed):
        found.update(dict.fromkeys(message.report.processes or ()))
    return found


def instances_of(message: Any) -> Iterator[str]:
    for one in ("name", "instance"):
        if (name := getattr(message, one, None)) is not None:
            yield name
    yield from getattr(message, "names", ())
    for listed in getattr(message, "instances", ()):
        yield listed.name


def _preemptible(state: State, instance: Instance | None) -> bool:
    offer = state.instance_type(instance.type) if instance is not None else None
    return offer is not None and offer.preemptible

REQUEST_ID = re.compile(r" ?\(req-[0-9a-z]+\)")


# ------------------------------------------------------------------------------------------------- what surrounds them all


def _surroundings(before: State, after: State, now_s: float) -> Iterator[Told]:
    if before.holdoffs is not after.holdoffs:
        for name, held in after.holdoffs.items():
            if before.holdoffs.get(name) is not held:
                yield from _holdoff(before.holdoffs.get(name), held, now_s)
    if before.reports is not after.reports:
        yield from _reports(before.reports, after.reports)
    if before.cloud is not after.cloud:
        yield from _cloud(before.cloud, after.cloud, after)
    if before.queue is not after.queue:
        yield from _queue(before.queue, after.queue, after, now_s)
    if before.leadership is not after.leadership:
        yield from _leadership(before.leadership, after.leadership)


def _holdoff(before: Holdoff | None, held: Holdoff, now_s: float) -> Iterator[Told]:
    if before is not None and before.until_s > now_s and before.kind is held.kind is HoldoffKind.UNAVAILABLE:
        return  # the catalogue says so again, each hour
    what = "everything" if held.key == "*" else held.key
    if held.until_s > now_s:
        text = f"no {held.call} for {what} for {held.until_s - now_s:.0f} s: {held.kind} ({held.strikes} in a row): {held.reason}"
        yield Told(text=text, kind=Kind.CLOUD, level=WARNING, fields=_holdoff_fields(held, now_s))
    elif before is not None and before.until_s > now_s:
        yield Told(text=f"{held.call} for {what} may be tried again: {held.kind} may have eased", kind=Kind.CLOUD)


def _holdoff_fields(held: Holdoff, now_s: float) -> dict[str, object]:
    ttl_s, until = round(held.until_s - now_s, 3), Moment(held.until_s)
    fields: dict[str, object] = {"CallType": held.call, "Key": held.key, "Duration": ttl_s, "ResumeAt": until}
    fields["error"] = held.reason
    if held.kind is HoldoffKind.QUOTA:
        fields |= {"atQuotaUntil": until}
    if held.kind is HoldoffKind.CAPACITY:
        fields |= {
            "capKey": "" if held.key == "*" else held.key.partition(":")[2],
            "capacityErrorTTL": ttl_s,
            "atCapacityUntil": until,
            "isInstanceTypeSpecific": held.key.startswith("type:"),
            "isInstanceQuotaGroupSpecific": held.key.startswith("group:"),
        }
    return fields


def _reports(before: Mapping[str, CallReport], after: Mapping[str, CallReport]) -> Iterator[Told]:
    """What the cloud says of a kind of call: once when it gets scarce, and each other limit that it names."""
    for call, said in after.items():
        known = before.get(call)
        if said.left is not None and said.left < FEW_CALLS and (known is None or (known.left or FEW_CALLS) >= FEW_CALLS):
            text = f"{call}: the cloud says that {max(0.0, said.left):g} calls are left: they are spread"
            yield Told(text=text, kind=Kind.CLOUD, fields={"CallType": call, "Remaining": said.left})
        if said.limit is not None and (known is None or known.limit != said.limit):
            used = "" if said.usage is None else f", {said.usage:g} of it used"
            fields = {"CallType": call, "Limit": said.limit, "Usage": said.usage}
            yield Told(text=f"{call}: the cloud names a limit of {said.limit:g}{used}", kind=Kind.CLOUD, fields=fields)


def _cloud(before: CloudView, after: CloudView, state: State) -> Iterator[Told]:
    if after.alarm != before.alarm:
        text = after.alarm or f"over: {before.alarm}"
        yield Told(text=f"alarm: {text}", kind=Kind.CLOUD, level=ERROR if after.alarm else INFO)
    if after.error != before.error:
        yield _trouble("the list of instances", after.error, after.failures, before.failures, Kind.CLOUD)
    if after.listed_s > before.listed_s and before.listed_s < state.leadership.since_s:
        count = len(state.instances)
        yield Told(text=f"the first complete list of instances: {count}", kind=Kind.CLOUD, fields={"N": count})


def _queue(before: QueueView, after: QueueView, state: State, now_s: float) -> Iterator[Told]:
    if _worth_telling(before.error, after.error, after.failures):
        yield _trouble("the queue", after.error, after.failures, before.failures, Kind.QUEUE)
    if after.rejected is not before.rejected:
        for uuid, reason in after.rejected.items():
            if before.rejected.get(uuid) != reason:
                text = f"container {uuid} is set aside, its record cannot be understood: {reason}"
                yield Told(text=text, kind=Kind.QUEUE, level=WARNING, container=uuid, fields={"ContainerUUID": uuid})
    if after.lock_strikes > before.lock_strikes:
        pause_s = max(0.0, after.locks_held_until_s - now_s)
        text = f"the queue is overloaded: no lock for {pause_s:.0f} s, then at most {after.lock_window} at once"
        yield Told(text=text, kind=Kind.QUEUE, level=WARNING)
    if (after.backlog and after.waiting is not None) and not (before.backlog and before.waiting is not None):
        text = f"{after.waiting} containers wait: those that could be placed soon are read, all are counted each minute"
        yield Told(text=text, kind=Kind.QUEUE, fields={"N": after.waiting})
    if after.polled_s > before.polled_s and before.polled_s < state.leadership.since_s:
        count = len(state.containers)
        yield Told(text=f"the first complete poll of the queue: {count} containers", kind=Kind.QUEUE, fields={"N": count})


def _worth_telling(before: str, after: str, failures: int) -> bool:
    """The first failure, another one than before, and each time that their number has doubled: an hour is a dozen lines. Request
    ids make no other failure of it."""
    if before == after:
        return False
    return REQUEST_ID.sub("", before) != REQUEST_ID.sub("", after) or failures & (failures - 1) == 0


def _trouble(what: str, error: str, failures: int, failed_before: int, kind: Kind) -> Told:
    if error:
        text = f"{what} cannot be read{f' ({failures} in a row)' if failures else ''}: {error}"  # 0: only some of it
        return Told(text=text, kind=kind, level=WARNING, fields={"error": error})
    return Told(text=f"{what} can be read again after {failed_before} failures", kind=kind)


def _leadership(before: Leadership, after: Leadership) -> Iterator[Told]:
    holder = after.holder or "holder unknown"
    if after.leading and (not before.leading or after.term != before.term):
        yield Told(text=f"leading now, term {after.term}", kind=Kind.LEADER, fields={"Term": after.term})
    elif before.leading and not after.leading:
        yield Told(text=f"leading no more, nothing is acted on: {holder}", kind=Kind.LEADER, level=WARNING)
    elif after.holder != before.holder and not after.leading:
        yield Told(text=f"waiting to lead: {holder}", kind=Kind.LEADER, fields={"Holder": after.holder, "DBClient": after.holder})


# -------------------------------------------------------------------------------- what only the message itself knows to tell


def _cancel(action: m.CancelContainer) -> Iterator[Told]:
    facts = action.detail.partition(ending.OUTPUT_FOLLOWS)[0].strip().replace("\n", "; ")  # the output was told when it came
    reason = action.error + (f" ({facts})" if facts else "")
    yield _on_container(action.uuid, f"is being cancelled: {reason}", level=WARNING, Reason=reason)


def _unlock(action: m.UnlockContainer) -> Iterator[Told]:
    yield _on_container(action.uuid, f"is being unlocked: {action.reason}", Reason=action.reason)


def _write_failed(event: m.ContainerWriteFailed) -> Iterator[Told]:
    text = f"{event.write} did not succeed, its record is read again: {event.failure.text}"
    yield _on_container(event.uuid, text, level=WARNING, error=event.failure.text)


def _create_failed(event: m.CreateFailed) -> Iterator[Told]:
    failure = event.failure
    fields = {"InstanceName": event.name, "error": failure.text, "isQuotaError": failure.kind == "quota"}
    fields["isCapacityError"] = failure.kind == "capacity"
    text = f"instance {event.name}: create failed ({failure.kind}, concerns {failure.scope}): {failure.text}"
    yield Told(text=text, kind=Kind.INSTANCE, level=WARNING, instance=event.name, fields=fields)


def _create(action: m.CreateInstance) -> Iterator[Told]:
    """What it is for, when nobody waits for it yet."""
    if action.reason:
        text, fields = f"instance {action.name} is wanted {action.reason}", {"InstanceName": action.name, "Reason": action.reason}
        yield Told(text=text, kind=Kind.INSTANCE, instance=action.name, fields=fields)


def _delete_leftover(action: m.DeleteLeftover) -> Iterator[Told]:
    text = f"left over, no instance uses it any more: {action.id} is being deleted"
    yield Told(text=text, kind=Kind.CLOUD, fields={"Leftover": action.id})


def _leftover_failed(event: m.LeftoverFailed) -> Iterator[Told]:
    text = f"what is left over could not be deleted, it is tried again later: {event.id}: {event.failure.text}"
    yield Told(text=text, kind=Kind.CLOUD, level=WARNING, fields={"Leftover": event.id, "error": event.failure.text})


def _start_ended(event: m.StartEnded) -> Iterator[Told]:
    if event.outcome is m.StartOutcome.NOT_SENT:
        text = f"was not started on {event.name}, nothing was sent: {event.error}"
        yield _on_container(event.uuid, text, level=WARNING, error=event.error)
    elif event.error:
        text = f"start on {event.name}: {event.outcome}: {event.error}"
        yield _on_container(event.uuid, text, level=WARNING, error=event.error, **fields_said(event.said))


def _kill_ended(event: m.KillEnded) -> Iterator[Told]:
    if event.error:
        fields = {"InstanceName": event.name, "error": event.error, **fields_said(event.said)}
        yield _on_container(event.uuid, f"kill on {event.name} failed: {event.error}", level=WARNING, **fields)


def _tags_failed(event: m.TagsFailed) -> Iterator[Told]:
    text = f"instance {event.name}: its tags cannot be saved, they are sent again: {event.failure.text}"
    fields = {"InstanceName": event.name, "error": event.failure.text}
    yield Told(text=text, kind=Kind.INSTANCE, level=WARNING, instance=event.name, fields=fields)


def _connection_lost(event: m.ConnectionLost) -> Iterator[Told]:
    text = f"instance {event.name}: the connection broke, a list is due at once"
    yield Told(text=text, kind=Kind.INSTANCE, level=DEBUG, instance=event.name, fields={"InstanceName": event.name})


def _output_fetched(event: m.OutputFetched) -> Iterator[Told]:
    """All of it goes into the log; the story keeps its last lines."""
    if event.text:
        last = "\n".join(event.text.splitlines()[-LAST_LINES:])[-LAST_CHARACTERS:]
        text = f"the runner of container {event.uuid} wrote at its end on {event.name}: {last}"
        fields = {"ContainerUUID": event.uuid, "InstanceName": event.name, "Output": event.text}
        yield Told(text=text, kind=Kind.CONTAINER, container=event.uuid, instance=event.name, fields=fields)


def _clock_jumped(event: m.ClockJumped) -> Iterator[Told]:
    way = "forward" if event.by_s > 0 else "back"
    text = f"the wall clock of this host was put {way} by {abs(event.by_s):.0f} s; nothing is decided by it"
    yield Told(text=text, kind=Kind.SETTINGS, level=WARNING, fields={"ClockJumpSeconds": round(event.by_s, 1)})


def _on_container(uuid: str, text: str, *, level: int = INFO, **fields: object) -> Told:
    known = {"ContainerUUID": uuid, **fields}
    return Told(text=f"container {uuid} {text}", kind=Kind.CONTAINER, level=level, container=uuid, fields=known)


SPECIAL: dict[type[Message], Callable[[Any], Iterator[Told]]] = {
    m.CancelContainer: _cancel,
    m.UnlockContainer: _unlock,
    m.ContainerWriteFailed: _write_failed,
    m.CreateInstance: _create,
    m.CreateFailed: _create_failed,
    m.DeleteLeftover: _delete_leftover,
    m.LeftoverFailed: _leftover_failed,
    m.StartEnded: _start_ended,
    m.KillEnded: _kill_ended,
    m.TagsFailed: _tags_failed,
    m.ConnectionLost: _connection_lost,
    m.OutputFetched: _output_fetched,
    m.ClockJumped: _clock_jumped,
}
