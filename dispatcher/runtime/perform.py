"""Action → I/O → event. Each function does one act through one port and says how it ended, also when it failed.

Nothing is decided here. Before each write the term is compared once more: who leads no longer acts no longer. Who has just
lost the claim may not know it yet: before what would undo or repeat the work of another leader, the claim is proved.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from typing import Any, TypeVar

from dispatcher.core import messages as m
from dispatcher.core.model import CataloguePart, ContainerRecord, ContainerState, Instance, QueueWrite, State
from dispatcher.core.notes import until_text
from dispatcher.core.transitions.catalogue import as_in_file
from dispatcher.core.transitions.cloud import all_tags, own_tags
from dispatcher.core.transitions.outputs import awaited
from dispatcher.driver import Call, CreateRequest, InstanceType
from dispatcher.driver import Instance as ListedInstance
from dispatcher.frozen import dataclass
from dispatcher.runtime.differences import absent, missed, news
from dispatcher.runtime.failed import failure_of as failure_of
from dispatcher.runtime.performed import Performed, Tally, Unwatched, Watch
from dispatcher.runtime.ports import Clock, CloudCallFailed, CloudPort, InstancePort, QueueError, QueuePort, Records, Target
from dispatcher.runtime.runtime_status import merged
from dispatcher.runtime.scrub import Scrub, last_lines
from dispatcher.runtime.times import unix_s

SLICE = 50
LOCAL = (m.RemoveInstance,)  # sends nothing to anybody, and has to be done whoever leads
PROVED = (m.UnlockContainer, m.CancelContainer, m.DestroyInstance, m.StartContainer, m.KillProcess)  # undo or repeat another's
SECRET_FILE = "/var/run/arvados-instance-secret"  # noqa: S105 - the name of a file, not a secret
NOT_LEADING = "another dispatcher leads now: nothing was sent"
NOT_PROVED = "it cannot be proved that we still lead: nothing was sent"

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything that ``Perform`` may touch."""

    queue: QueuePort
    cloud: CloudPort
    instances: InstancePort
    clock: Clock
    public_key: str | None = None
    vouches_host_keys: bool = False
    scrub: Scrub = field(default_factory=Scrub)
    proves_to_lead: Callable[[], bool] = lambda: True  # asks whoever decides it, now


class Gone(Exception):
    """What the act is about was removed between the plan and the act: nothing was sent."""


def _held(state: State, name: str) -> Instance:
    instance = state.instances.get(name)
    if instance is None:
        raise Gone(f"{name} is gone")
    return instance


def _offered(state: State, name: str) -> InstanceType:
    offer = state.settings.instance_types.get(name)
    if offer is None:
        raise Gone(f"the instance type {name} is no longer configured")
    return offer


def init_script(secret: str, command: str) -> str:
    """What an instance runs first: it keeps the secret by which we know it, readable by root alone, then the site's command."""
    return f"#!/bin/sh\numask 0177 && printf '%s' '{secret}' > {SECRET_FILE}\n{command}\n"


class Perform:
    """Executes actions through the ports. ``snapshot`` gives the State that an act needs for its details."""

    def __init__(self, ports: Ports, snapshot: Callable[[], State], watch: Watch | None = None) -> None:
        self._ports, self._snapshot = ports, snapshot
        self._watch: Watch = watch or Unwatched()
        self._token_uuid = ""
        self.tally = Tally()
        self.bugs: deque[str] = deque(maxlen=20)
        self.bug_count = 0
        self._acts: dict[type[m.Action], Callable[[Any, State], list[m.Event]]] = {
            m.PollQueue: self._poll,
            m.ReadContainers: self._read,
            m.LockContainer: self._lock,
            m.UnlockContainer: self._unlock,
            m.CancelContainer: self._cancel,
            m.CreateInstance: self._create,
            m.PollCreate: self._poll_create,
            m.ListInstances: self._list,
            m.DestroyInstance: self._destroy,
            m.RemoveInstance: self._remove,
            m.SaveTags: self._save_tags,
            m.DeleteLeftover: self._delete_leftover,
            m.ReadCatalogue: self._read_catalogue,
            m.ProbeInstance: self._probe,
            m.StartContainer: self._start,
            m.KillProcess: self._kill,
            m.FetchOutput: self._fetch_output,
        }

    def execute(self, action: m.Action, term: int) -> list[m.Event]:
        """Do it, and say how it ended. Never raises: a bug becomes the failure of the act."""
        state = self._snapshot()
        began = self._ports.clock.monotonic()
        failed, sent = True, False
        events: list[m.Event] = []
        try:
            if why := self._refusal(action, state, term):
                return failure_of(action, began, why, sent=False)
            events = self._acts[type(action)](action, state)
            sent = True
            failed = any(_failed(event) for event in events)
            return events
        except Gone as gone:
            return failure_of(action, began, str(gone), sent=False)
        except Exception as bug:
            log.exception("a bug while performing %s", type(action).__name__)
            self.bugs.append(f"{type(action).__name__}: {type(bug).__name__}: {bug}")
            self.bug_count += 1
            sent = True
            events = failure_of(action, began, f"a bug in the dispatcher: {type(bug).__name__}", sent=True)
            return events
        finally:
            seconds = self._ports.clock.monotonic() - began
            self.tally.add(type(action).__name__, failed=failed, seconds=seconds)
            done = Performed(action=action, state=state, events=events, seconds=seconds, failed=failed, sent=sent)
            self._watch.ended(done)

    def _refusal(self, action: m.Action, state: State, term: int) -> str:
        if type(action) in LOCAL:
            return ""
        if state.leadership.term != term or not state.leadership.leading:
            return NOT_LEADING
        return NOT_PROVED if type(action) in PROVED and not self._ports.proves_to_lead() else ""

    # -- queue

    def _identify(self, state: State) -> list[m.Event]:
        """Told until State knows it: the event that told it first may have been lost with the act that brought it."""
        if not self._token_uuid:
            self._token_uuid = self._ports.queue.token_uuid()
        return [] if state.queue.token_uuid == self._token_uuid else [m.QueueIdentified(token_uuid=self._token_uuid)]

    def _poll(self, action: m.PollQueue, state: State) -> list[m.Event]:
        began = self._ports.clock.monotonic()
        events: list[m.Event] = []
        try:
            events += self._identify(state)
            answer = self._ports.queue.poll(action.look)
        except QueueError as error:
            return [*events, m.QueuePollFailed(began_s=began, failure=error.failure)]
        self._watch.polled(len(answer.records))
        state = self._snapshot()
        for records in slices(news(state, answer.records, self._token_uuid)):
            events.append(m.ContainersObserved(began_s=began, records=records))
        for uuids in slices(absent(state, action.look, answer)):
            events.append(m.ContainersAbsent(began_s=began, uuids=uuids))
        return [*events, m.QueuePolled(began_s=began, look=action.look, span=answer.span, rejected=answer.rejected)]

    def _read(self, action: m.ReadContainers, state: State) -> list[m.Event]:
        began = self._ports.clock.monotonic()
        events: list[m.Event] = []
        try:
            events += self._identify(state)
            answer = self._ports.queue.read(action.uuids)
        except QueueError as error:
            return [*events, m.ContainersReadFailed(asked=action.uuids, failure=error.failure)]
        return [*events, *_what_was_read(action.uuids, answer, began)]

    def _lock(self, action: m.LockContainer, state: State) -> list[m.Event]:
        return self._write(action.uuid, QueueWrite.LOCK, lambda: self._ports.queue.lock(action.uuid))

    def _unlock(self, action: m.UnlockContainer, state: State) -> list[m.Event]:
        return self._write(action.uuid, QueueWrite.UNLOCK, lambda: self._ports.queue.unlock(action.uuid))

    def _cancel(self, action: m.CancelContainer, state: State) -> list[m.Event]:
        """The reason joins what stands in the record; one that only waited in the queue has nothing there."""
        queue, container = self._ports.queue, state.containers.get(action.uuid)

        def send() -> ContainerRecord:
            waited = container is not None and container.state is ContainerState.QUEUED
            present = {} if waited else queue.runtime_status(action.uuid)
            scrub = self._ports.scrub
            return queue.cancel(action.uuid, merged(present, scrub(action.error), scrub(action.detail)))

        return self._write(action.uuid, QueueWrite.CANCEL, send)

    def _write(self, uuid: str, write: QueueWrite, send: Callable[[], ContainerRecord]) -> list[m.Event]:
        try:
            return [m.ContainerWritten(uuid=uuid, write=write, record=send())]
        except QueueError as error:
            return [m.ContainerWriteFailed(uuid=uuid, write=write, failure=error.failure)]

    # -- cloud

    def _call(self, state: State) -> Call:
        return Call(timeout_s=state.settings.timeout_cloud_call_s)

    def _create(self, action: m.CreateInstance, state: State) -> list[m.Event]:
        instance, settings = _held(state, action.name), state.settings
        chosen = _offered(state, action.instance_type)
        request = CreateRequest(
            name=action.name,
            instance_type=chosen,
            image_id=action.image or settings.image_id,
            tags=own_tags(instance, settings),
            init_script=init_script(action.secret, settings.instance_init_command),
            public_key=self._ports.public_key if settings.deploy_public_key else None,
            created_at=self._ports.clock.utc(),
        )
        call = self._call(state)
        try:
            created = self._ports.cloud.create(request, call)
        except CloudCallFailed as error:
            return [m.CreateFailed(name=action.name, failure=error.failure), *_reports("create", call)]
        wish_s = call.poll_after_s
        done = m.InstanceCreated(name=action.name, id=created.id, operation=created.operation, poll_after_s=wish_s)
        return [done, *_reports("create", call)]

    def _poll_create(self, action: m.PollCreate, state: State) -> list[m.Event]:
        operation = _held(state, action.name).operation
        if operation is None:
            return [m.CreatePolled(name=action.name, done=True)]
        call = self._call(state)
        try:
            done = self._ports.cloud.poll_create(operation, call)
        except CloudCallFailed as error:  # the call failed, which says nothing of the create
            failed = m.CreatePolled(name=action.name, done=False, failure=error.failure)
            return [failed, *_reports("poll_create", call)]
        if isinstance(done, m.CloudFailure):
            return [m.CreateFailed(name=action.name, failure=done, accepted=True), *_reports("poll_create", call)]
        polled = m.CreatePolled(name=action.name, done=done, poll_after_s=call.poll_after_s)
        return [polled, *_reports("poll_create", call)]

    def _list(self, action: m.ListInstances, state: State) -> list[m.Event]:
        began = self._ports.clock.monotonic()
        call = replace(self._call(state), leftovers=action.leftovers, usages=action.usages)
        try:
            listing = self._ports.cloud.list(call)
        except CloudCallFailed as error:
            return [m.ListFailed(began_s=began, failure=error.failure), *_reports("list", call)]
        state = self._snapshot()
        shown = _named_apart(state, listing.instances)
        events: list[m.Event] = [
            m.InstancesListed(began_s=began, instances=part, until_s=self._ends(state, part))
            for part in slices(shown[::-1])  # the newest first, if they stand last: see probing.plan
        ]
        if listing.complete:
            for names in slices(missed(state, shown)):
                events.append(m.InstancesMissed(began_s=began, names=names))
        leftovers = listing.leftovers if action.leftovers else None
        usages = listing.usages if action.usages else None
        ended = m.ListEnded(began_s=began, complete=listing.complete, leftovers=leftovers, usages=usages)
        return [*events, ended, *_reports("list", call)]

    def _ends(self, state: State, listed: Sequence[ListedInstance]) -> dict[str, float]:
        """When the choices of operators end, on our clock: tags tell it in wall time."""
        clock, prefix = self._ports.clock, state.settings.tag_prefix
        walls = {one.name: unix_s(text) for one in listed if (text := until_text(one.tags, prefix))}
        offset_s = clock.monotonic() - clock.wall()
        return {name: wall_s + offset_s for name, wall_s in walls.items() if wall_s is not None}

    def _destroy(self, action: m.DestroyInstance, state: State) -> list[m.Event]:
        instance = state.instances.get(action.name)
        if instance is None or instance.id is None:
            return [m.DestroyAccepted(name=action.name)]
        call = self._call(state)
        try:
            self._ports.cloud.destroy(instance.id, call)
        except CloudCallFailed as error:
            return [m.DestroyFailed(name=action.name, failure=error.failure), *_reports("destroy", call)]
        return [m.DestroyAccepted(name=action.name), *_reports("destroy", call)]

    def _remove(self, action: m.RemoveInstance, state: State) -> list[m.Event]:
        """The instance is gone: so is its connection."""
        self._ports.instances.close(action.name)
        return []

    def _save_tags(self, action: m.SaveTags, state: State) -> list[m.Event]:
        instance = state.instances.get(action.name)
        if instance is None or instance.id is None:
            return [m.TagsSaved(name=action.name, tags={})]
        tags = all_tags(instance, state.settings)
        call = self._call(state)
        try:
            self._ports.cloud.set_tags(instance.id, tags, call)
        except CloudCallFailed as error:
            return [m.TagsFailed(name=action.name, failure=error.failure), *_reports("set_tags", call)]
        return [m.TagsSaved(name=action.name, tags=tags), *_reports("set_tags", call)]

    def _delete_leftover(self, action: m.DeleteLeftover, state: State) -> list[m.Event]:
        known = state.cloud.leftovers.get(action.id)
        if known is None:
            return [m.LeftoverDeleted(id=action.id)]
        call = self._call(state)
        try:
            self._ports.cloud.delete_leftover(known.leftover, call)
        except CloudCallFailed as error:
            return [m.LeftoverFailed(id=action.id, failure=error.failure), *_reports("destroy", call)]
        return [m.LeftoverDeleted(id=action.id), *_reports("destroy", call)]

    def _read_catalogue(self, action: m.ReadCatalogue, state: State) -> list[m.Event]:
        call, cloud, part = self._call(state), self._ports.cloud, action.part
        types = as_in_file(state.settings)
        try:
            if part is CataloguePart.PRICES:
                told = m.CatalogueRead(part=part, types=types, prices=cloud.prices(types, call))
            else:
                told = m.CatalogueRead(part=part, types=types, facts=cloud.type_facts(types, call))
        except CloudCallFailed as error:
            return [m.CatalogueFailed(part=part, failure=error.failure), *_reports(part.value, call)]
        return [told, *_reports(part.value, call)]

    # -- instances

    def _target(self, instance: Instance) -> Target:
        host_keys = instance.host_keys
        if self._ports.vouches_host_keys and not host_keys and instance.id is not None:
            host_keys = self._ports.cloud.host_keys(instance.id)
        return Target(
            name=instance.name, address=instance.address, user=instance.user, secret=instance.secret, host_keys=host_keys
        )

    def _probe(self, action: m.ProbeInstance, state: State) -> list[m.Event]:
        began = self._ports.clock.monotonic()
        instance = _held(state, action.name)
        boot = instance.ready_s is None
        report = self._ports.instances.probe(self._target(instance), boot=boot)
        return [m.Probed(name=action.name, began_s=began, report=report)]

    def _start(self, action: m.StartContainer, state: State) -> list[m.Event]:
        instance = _held(state, action.instance)
        container = state.containers.get(action.uuid)
        offer = _offered(state, instance.type)
        wanted = container.requirements if container is not None else None
        vcpus = wanted.vcpus if wanted is not None else None
        report = self._ports.instances.start(self._target(instance), action.uuid, offer, vcpus=vcpus)
        outcome, error = report.outcome, self._ports.scrub(report.error, instance.secret)
        return [m.StartEnded(name=action.instance, uuid=action.uuid, outcome=outcome, error=error, said=report.said)]

    def _kill(self, action: m.KillProcess, state: State) -> list[m.Event]:
        target = self._target(_held(state, action.name))
        report = self._ports.instances.kill(target, action.uuid, action.signal)
        ended = m.KillEnded(
            name=action.name, uuid=action.uuid, gone=report.gone, error=report.error, answered=report.answered, said=report.said
        )
        return [ended]

    def _fetch_output(self, action: m.FetchOutput, state: State) -> list[m.Event]:
        """Nobody waits for it any more when it had to wait long itself."""
        began = self._ports.clock.monotonic()
        container = state.containers.get(action.uuid)
        text = ""
        if container is not None and awaited(container, began):
            instance = _held(state, action.name)
            said = self._ports.instances.output(self._target(instance), action.uuid)
            text = last_lines(self._ports.scrub(said, instance.secret))
        return [m.OutputFetched(name=action.name, uuid=action.uuid, began_s=began, text=text)]


# ---------------------------------------------------------------------------------------------------------------- helpers


def _reports(kind: str, call: Call) -> Iterator[m.Event]:
    """What the driver read out of the answer beside the answer, if anything."""
    told = (call.calls_remaining, call.retry_after_s, call.limit, call.usage)
    if any(value is not None for value in told):
        remaining, retry_after_s, limit, usage = told
        yield m.CallReported(call=kind, calls_remaining=remaining, retry_after_s=retry_after_s, limit=limit, usage=usage)


def slices(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """At most ``SLICE`` at a time, so that no event keeps the lock for long."""
    for start in range(0, len(items), SLICE):
        yield tuple(items[start : start + SLICE])


def _what_was_read(asked: Sequence[str], answer: Records, began: float) -> Iterator[m.Event]:
    """The answer in slices; what nobody asked for is left out."""
    found = {record.uuid: record for record in answer.records}
    for uuids in slices(asked):
        yield m.ContainersRead(
            began_s=began, asked=uuids, records=tuple(found[uuid] for uuid in uuids if uuid in found),
            rejected={uuid: answer.rejected[uuid] for uuid in uuids if uuid in answer.rejected},
        )  # fmt: skip


def _named_apart(state: State, listed: Sequence[ListedInstance]) -> list[ListedInstance]:
    """Each machine under a name of its own. Two under one name, or one without, are never lost sight of: the one whose id we
    know keeps the name, and the others go by their ids as well."""
    found: dict[str, ListedInstance] = {}
    for one in sorted(listed, key=lambda one: (known := state.instances.get(one.name)) is None or known.id != one.id):
        if not one.name or found.get(one.name, one).id != one.id:
            one = replace(one, name=f"{one.name}~{one.id}")
        found[one.name] = one
    return list(found.values())


def _failed(event: m.Event) -> bool:
    if isinstance(event, m.Probed):
        return event.report.processes is None
    if isinstance(event, m.StartEnded):
        return event.outcome is not m.StartOutcome.STARTED
    return getattr(event, "failure", None) is not None
