"""Every Event (what happened, past tense) and every Action (what to do, imperative).

An action always ends in an event, also when it fails. ``began_s`` is the monotonic time at which an observation began, taken
before the first byte was sent: the rules of evidence rest on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field

from dispatcher.core.hints import Hints
from dispatcher.core.looks import PAGE as PAGE
from dispatcher.core.looks import Cursor as Cursor
from dispatcher.core.looks import Look as Look
from dispatcher.core.looks import Place as Place
from dispatcher.core.looks import Span as Span
from dispatcher.core.looks import place as place
from dispatcher.core.model import (
    CataloguePart,
    ContainerRecord,
    DestroyCause,
    IdleBehavior,
    QueueWrite,
)
from dispatcher.core.problems import ProbeProblem as ProbeProblem
from dispatcher.core.reports import CloudCallFailed as CloudCallFailed
from dispatcher.core.reports import CloudFailure as CloudFailure
from dispatcher.core.reports import KillReport as KillReport
from dispatcher.core.reports import ProbeReport as ProbeReport
from dispatcher.core.reports import QueueError as QueueError
from dispatcher.core.reports import QueueFailure as QueueFailure
from dispatcher.core.reports import Records as Records
from dispatcher.core.reports import Said as Said
from dispatcher.core.reports import Sight as Sight
from dispatcher.core.reports import StartOutcome as StartOutcome
from dispatcher.core.reports import StartReport as StartReport
from dispatcher.core.reports import Target as Target
from dispatcher.core.settings import Settings
from dispatcher.driver import Instance as ListedInstance
from dispatcher.driver import InstanceType, Leftover, Price, TypeFacts, Usage
from dispatcher.frozen import dataclass

# ----------------------------------------------------------------------------------------------------------------- events


class Event:
    """Something that happened."""

    __slots__ = ()



@dataclass(frozen=True, slots=True, kw_only=True)
class QueueIdentified(Event):
    """The queue service told us the uuid of our own token."""

    token_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainersObserved(Event):
    """Records from a poll, in slices; those that say nothing new may be left out."""

    began_s: float
    records: tuple[ContainerRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainersAbsent(Event):
    """Containers that we hold and that a complete poll did not show, in slices."""

    began_s: float
    uuids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolled(Event):
    """A look at the queue ended. ``rejected``: uuid → why its record was not understood."""

    began_s: float
    look: Look = field(default_factory=Look)
    span: Span = field(default_factory=Span)
    rejected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePollFailed(Event):
    began_s: float
    failure: QueueFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainersRead(Event):
    """The answer to a question by uuid: what is not in ``records`` does not exist (any more)."""

    began_s: float
    asked: tuple[str, ...]
    records: tuple[ContainerRecord, ...]
    rejected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainersReadFailed(Event):
    asked: tuple[str, ...]
    failure: QueueFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerWritten(Event):
    """Lock, unlock or cancel answered 200 with this record."""

    uuid: str
    write: QueueWrite
    record: ContainerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerWriteFailed(Event):
    uuid: str
    write: QueueWrite
    failure: QueueFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHinted(Event):
    """Something outside told us that the queue changed: look now. ``container``: it is about this one alone; empty: anything may
    have changed. ``ended``: it has ended, so that its runner is about to end too."""

    container: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsFlowing(Event):
    """Whether hints come by themselves, so that polls are only the safety net."""

    flowing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCreated(Event):
    """``poll_after_s``: when the cloud wants to be asked how it stands."""

    name: str
    id: str
    operation: str | None = None
    poll_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFailed(Event):
    """The create was refused, or (``accepted``) the cloud took it and failed later."""

    name: str
    failure: CloudFailure
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePolled(Event):
    """How an accepted create stands: still working, or done. ``failure``: the question itself failed."""

    name: str
    done: bool
    failure: CloudFailure | None = None
    poll_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancesListed(Event):
    """Instances from a list, in slices; those that say nothing new are left out only if their sign of life is in the end.
    ``until_s``: name → when the operator's choice in its tags ends, on our clock."""

    began_s: float
    instances: tuple[ListedInstance, ...]
    until_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancesMissed(Event):
    """Instances that we hold and that a complete list did not show, in slices."""

    began_s: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEnded(Event):
    began_s: float
    complete: bool
    leftovers: tuple[Leftover, ...] | None = None  # None: nobody asked for them
    usages: tuple[Usage, ...] | None = None  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFailed(Event):
    began_s: float
    failure: CloudFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyAccepted(Event):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyFailed(Event):
    name: str
    failure: CloudFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsSaved(Event):
    name: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsFailed(Event):
    name: str
    failure: CloudFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReported(Event):
    """What the driver read out of an answer beside the answer itself, whether the call succeeded or not. ``call``: create,
    list, destroy, set_tags, poll_create, prices or types."""

    call: str
    calls_remaining: float | None = None
    retry_after_s: float | None = None
    limit: float | None = None
    usage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftoverDeleted(Event):
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftoverFailed(Event):
    id: str
    failure: CloudFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueRead(Event):
    """What the cloud says of ``types``, as they were configured when it was asked."""

    part: CataloguePart
    types: tuple[InstanceType, ...]
    prices: tuple[Price, ...] = ()
    facts: tuple[TypeFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueFailed(Event):
    part: CataloguePart
    failure: CloudFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed(Event):
    name: str
    began_s: float
    report: ProbeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class StartEnded(Event):
    name: str
    uuid: str
    outcome: StartOutcome
    error: str = ""
    said: Said | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KillEnded(Event):
    """``gone``: the runner's kill command answered that nothing runs there under this uuid. ``answered``: it ran at all."""

    name: str
    uuid: str
    gone: bool
    error: str = ""
    answered: bool = True
    said: Said | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFetched(Event):
    """The end of what a container's runner wrote, safe to be shown; empty when there is none or it could not be had."""

    name: str
    uuid: str
    began_s: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost(Event):
    """A kept connection broke: look whether the instance is still there."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeHinted(Event):
    """Something told us that a process of this instance may have ended, or (``ending``) is about to."""

    name: str
    ending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleBehaviorSet(Event):
    """An operator chose. ``at`` and ``until`` are UTC in whole seconds, RFC 3339, for display and tags; ``until_s`` is the end
    on our clock."""

    name: str
    behavior: IdleBehavior
    actor: str = ""
    reason: str = ""
    at: str = ""
    until: str = ""
    until_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceKillRequested(Event):
    name: str
    reason: str
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerKillRequested(Event):
    uuid: str
    reason: str
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadershipGained(Event):
    """``quiet_s``: how long the acts of an earlier leader may still take effect."""

    quiet_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadershipLost(Event):
    holder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsLoaded(Event):
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class HintsRead(Event):
    hints: Hints


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJumped(Event):
    """The wall clock was moved by so many seconds against the monotonic one: somebody set it, or the host slept."""

    by_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTold(Event):
    """The wall clock says that the present UTC day began at this monotonic time."""

    midnight_s: float


# ---------------------------------------------------------------------------------------------------------------- actions


class Action:
    """Something to do."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollQueue(Action):
    """One look at the queue."""

    look: Look = field(default_factory=Look)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadContainers(Action):
    """At most 100 uuids."""

    uuids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockContainer(Action):
    """Lock it, and bind it to the instance on which it will run; ``ahead``: only for a place that may become free there."""

    uuid: str
    instance: str
    ahead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlockContainer(Action):
    uuid: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelContainer(Action):
    """``error`` and ``detail`` go into ``runtime_status`` in the same request."""

    uuid: str
    error: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindContainer(Action):
    """Give a container that we hold Locked a place on an instance that is not ready yet. No I/O."""

    uuid: str
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseContainer(Action):
    """Take a container's place away: its instance can no longer run it. No I/O."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetContainer(Action):
    """Drop a container that needs nothing more from us. No I/O."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateInstance(Action):
    """``secret`` identifies the machine on first contact; sending the same name again settles an unknown outcome."""

    name: str
    instance_type: str
    secret: str = field(repr=False)
    image: str = ""  # empty: the site's
    reason: str = ""  # when it is for nobody who waits yet


@dataclass(frozen=True, slots=True, kw_only=True)
class PollCreate(Action):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListInstances(Action):
    """``leftovers``: and what is left over of others; ``usages``: and how much of the quotas is used."""

    leftovers: bool = False
    usages: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyInstance(Action):
    name: str
    cause: DestroyCause
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveInstance(Action):
    """Its absence is proved: forget it, and what it held is lost. What is performed is the end of its connection, which
    tells nothing."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveTags(Action):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLeftover(Action):
    """By the id that the cloud gave it."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCatalogue(Action):
    """Ask the driver what the configured instance types cost, or what they are."""

    part: CataloguePart


@dataclass(frozen=True, slots=True, kw_only=True)
class CondemnInstance(Action):
    """Give it no new work, for a reason of ours. No I/O."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireIdleBehavior(Action):
    """The time for which an operator chose it is over: back to run. No I/O."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeInstance(Action):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartContainer(Action):
    uuid: str
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KillProcess(Action):
    name: str
    uuid: str
    signal: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOutput(Action):
    """Ask an instance for the end of what the runner of a container wrote there."""

    name: str
    uuid: str
