"""State: everything that the dispatcher knows, as one immutable value.

Facts are stored, the rest is derived (idle or running, the room that is left, who waits). Times whose names end in ``_s`` are
seconds of the monotonic clock; ``NEVER`` stands for "not yet", so that comparisons need no special case.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import field

from dispatcher.core.hints import Hints
from dispatcher.core.looks import Look, Sweep
from dispatcher.core.maps import Map
from dispatcher.core.offers import Asked as Asked
from dispatcher.core.offers import Catalogue as Catalogue
from dispatcher.core.offers import CataloguePart as CataloguePart
from dispatcher.core.paces import NEVER as NEVER
from dispatcher.core.paces import Bucket as Bucket
from dispatcher.core.paces import CallReport as CallReport
from dispatcher.core.paces import Holdoff as Holdoff
from dispatcher.core.paces import HoldoffKind as HoldoffKind
from dispatcher.core.paces import Learned as Learned
from dispatcher.core.paces import Spending as Spending
from dispatcher.core.problems import ProbeProblem
from dispatcher.core.recent import Recent
from dispatcher.core.setbacks import Setbacks
from dispatcher.core.settings import Settings
from dispatcher.driver import HostKey, InstanceType, Leftover
from dispatcher.frozen import dataclass

# ------------------------------------------------------------------------------------------------------------- containers


class ContainerState(enum.StrEnum):
    """The states of the queue service, spelled as there."""

    QUEUED = "Queued"
    LOCKED = "Locked"
    RUNNING = "Running"
    COMPLETE = "Complete"
    CANCELLED = "Cancelled"

    @property
    def final(self) -> bool:
        return self in (ContainerState.COMPLETE, ContainerState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class GPURequest:
    """What a container asks of accelerators. ``vram_bytes`` is per device."""

    stack: str = ""
    driver_version: str = ""
    hardware_target: tuple[str, ...] = ()
    device_count: int = 0
    vram_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a container's record asks for, before the dispatcher's own overheads. ``tmp_bytes``: sum of its tmp mounts."""

    vcpus: int
    ram_bytes: int
    keep_cache_ram_bytes: int = 0
    keep_cache_disk_bytes: int = 0
    tmp_bytes: int = 0
    container_image: str = ""
    gpu: GPURequest = field(default_factory=GPURequest)
    preemptible: bool = False
    supervisor: bool = False
    max_run_time_s: int = 0
    partitions: tuple[str, ...] = ()
    image_id: str = ""  # the image of the instance, as the driver names it; empty: the site's


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """One answer of the queue service about one container. ``requirements`` is None when the answer did not hold them
    (polls ask for less than reads), ``lock_count`` None likewise."""

    uuid: str
    state: ContainerState
    priority: int
    locked_by_uuid: str | None = None
    lock_count: int | None = None
    created_at: str = ""
    gateway_address: str = ""
    requirements: Requirements | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of each thing that an instance has and a container takes. ``vram`` is bytes per device, never summed."""

    vcpus: int = 0
    ram: int = 0
    scratch: int = 0
    gpus: int = 0
    vram: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Which instance types can run a container, in the order of preference; ``problem`` says why none can. ``image``: what the
    instance has to be made with, empty for the site's; ``warning``: what the container asked for and does not get."""

    need: Resources
    types: tuple[str, ...]
    problem: str = ""
    image: str = ""
    warning: str = ""


class QueueWrite(enum.StrEnum):
    LOCK = "lock"
    UNLOCK = "unlock"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The end of what a container's runner wrote on an instance. ``text`` is safe to be shown; empty: there was none."""

    instance: str
    asked_s: float
    asking: bool = True
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """The end of a process, asked for. TERM is repeated, KILL follows, then the process counts as unkillable. The patience with
    a TERM begins with the first one that was heard."""

    reason: str
    since_s: float
    sent_s: float = NEVER
    sending: bool = False
    heard: bool = False  # a kill command ran, and the process was still there
    signal: int = 15
    kill_since_s: float | None = None  # since when KILL is sent
    unkillable: bool = False
    error: str = ""  # of the last kill command
    actor: str = ""  # the operator who asked for it, if one did


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of the queue and what we did about it."""

    uuid: str
    state: ContainerState
    priority: int
    created_at: str = ""
    gateway_address: str = ""
    lock_count: int = 0
    requirements: Requirements | None = None  # None: not read yet, so it cannot be placed
    fit: Fit | None = None

    first_seen_s: float
    runnable_since_s: float | None = None  # since when priority > 0 and not final
    observed_s: float = NEVER  # when the newest observation that named it began
    state_changed_s: float = NEVER  # stamp of our last write of its queue state
    writing: QueueWrite | None = None  # a write is on its way
    ours: bool = False  # Locked or Running under our token
    locked_term: int = 0  # the term in which we locked it: in that term nobody else can have started it
    found_s: float = NEVER  # when a record showed it as ours that was not before: a list of processes from before lacks it
    read_due: bool = False  # its record has to be asked for by uuid
    reading: bool = False

    instance: str | None = None  # bound to: its room there is taken
    ahead: bool = False  # locked before there is a place for it: it has none, and stands in line like the Queued
    exited_s: float | None = None  # its process ended, or its instance was lost, then: only a later record counts
    exit_note: str = ""  # what is known about the end: becomes runtime_status
    ran_on: str = ""  # the instance of the attempt that ended, in words
    killed: Kill | None = None  # how its runner was made to end
    output: Output | None = None  # of its last runner, once somebody asked
    last_error: str = ""  # why the last attempt failed, until the container is over
    avoid: str | None = None  # the instance on which the last attempt failed
    failed_attempts: int = 0
    not_before_s: float = NEVER  # no attempt before this
    write_failures: int = 0
    write_error: str = ""  # what the queue service said to the last write, until one succeeds
    read_failures: int = 0
    ask_after_s: float = NEVER  # no read or write of its record before this
    kill_requested: str = ""  # an operator's reason
    kill_actor: str = ""  # and who it was
    lost: str = ""  # its instance is gone: why


# -------------------------------------------------------------------------------------------------------------- instances


class Phase(enum.StrEnum):
    """Where an instance stands. Idle and running are derived from READY, never stored."""

    CREATING = "creating"
    UNKNOWN = "unknown"
    BOOTING = "booting"
    READY = "ready"
    SHUTDOWN = "shutdown"


class IdleBehavior(enum.StrEnum):
    """The operator's choice, kept in a tag of the VM."""

    RUN = "run"
    HOLD = "hold"
    DRAIN = "drain"


class ProcessPhase(enum.StrEnum):
    STARTING = "starting"  # the start command is on its way
    UNCERTAIN = "uncertain"  # nobody knows whether the start took effect
    RUNNING = "running"
    ENDED = "ended"  # the kill command proved it gone; kept until a later probe agrees


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A runner process on an instance, known by its container's uuid."""

    uuid: str
    phase: ProcessPhase
    since_s: float
    changed_s: float  # stamp of our last act on it: a list that began earlier says nothing about it
    refused: bool = False  # UNCERTAIN because the runner said no (one later list settles it)
    absences: int = 0  # lists begun since then that did not show it
    proven_absent: bool = False  # the kill command said so
    unheard_of: bool = False  # the queue service said once that there is no such container
    orphan: bool = False  # it said so again
    ask_after_s: float = NEVER  # the queue service is not asked about an unknown container again before this
    kill: Kill | None = None
    note: str = ""


class DestroyCause(enum.StrEnum):
    """Why an instance is destroyed. The destroy guard counts the ones in which we judged a machine to be bad."""

    IDLE = "idle"
    DRAINED = "drained"
    OPERATOR = "operator"
    MAKE_ROOM = "make room"
    CREATE_FAILED = "create failed"
    BOOT_TIMEOUT = "boot timeout"
    UNRESPONSIVE = "unresponsive"
    UNKILLABLE = "unkillable"

    @property
    def guarded(self) -> bool:
        return self in (DestroyCause.BOOT_TIMEOUT, DestroyCause.UNRESPONSIVE, DestroyCause.UNKILLABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroy:
    """A destroy that was decided. ``acknowledged_s``: when the cloud last said yes."""

    cause: DestroyCause
    reason: str
    since_s: float
    sent_s: float = NEVER
    in_flight: bool = False
    attempts: int = 0
    acknowledged_s: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorNote:
    """Who chose an idle behaviour, when (UTC, RFC 3339) and why. ``until`` is when it goes back to run, as text, and
    ``until_s`` the same on our clock; a choice without an end has neither."""

    actor: str = ""
    reason: str = ""
    at: str = ""
    until: str = ""
    until_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A VM of ours: asked for, listed by the cloud, or both."""

    name: str
    type: str  # name of the InstanceType; a type that the configuration no longer has is drained
    provider_type: str = ""
    image: str = ""  # what it was made with when it is not the site's image
    price: float = 0.0  # per hour
    phase: Phase
    id: str | None = None
    address: str | None = None
    user: str = "root"
    secret: str = ""
    host_keys: tuple[HostKey, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)  # as the cloud last listed or took them
    created_at: str | None = None

    idle_behavior: IdleBehavior = IdleBehavior.RUN
    operator: OperatorNote = field(default_factory=OperatorNote)
    condemned: str = ""  # why we give it no new work; hold wins over it
    ending: str = ""  # the cloud has announced its end, and why
    ending_since_s: float = NEVER  # when that was first heard
    ends_s: float | None = None  # when it ends, if the cloud said so
    kill_requested: str = ""  # an operator's reason
    kill_actor: str = ""  # and who it was
    broken: bool = False
    warning: str = ""  # it works, and its boot probe complains

    # Existence
    phase_since_s: float
    appeared_s: float
    create_changed_s: float = NEVER  # stamp of our last create call for it
    creating: bool = False  # the create call is on its way
    create_unknown: bool = False  # its outcome is not known
    operation: str | None = None
    polling_create: bool = False
    operation_polled_s: float = NEVER
    poll_after_s: float | None = None  # so long after that the cloud wants to be asked again
    failure: str = ""  # accepted, then failed
    listed_s: float = NEVER  # when the newest list that showed it began
    ever_listed: bool = False
    deleting: bool = False  # the cloud says so itself
    misses: tuple[float, ...] = ()  # begin times of complete lists without it, since the last sign of life
    destroy: Destroy | None = None

    paid_since_s: float = math.inf  # since when it costs what is accounted for; inf: it does not count

    # Tags
    saving_tags: bool = False
    tags_changed_s: float = NEVER
    tags_failed: int = 0

    # Probes
    probing: bool = False
    probe_due: bool = False
    runner_ends_s: float = NEVER  # when we last heard that a container on it has ended: its runner ends soon
    probed_s: float = NEVER  # when the last probe ended, whatever came of it
    answered_s: float = NEVER  # when the last probe that fully succeeded began
    reached_s: float = NEVER  # when SSH last answered anything
    silent_s: float = 0.0  # time without an answer while other instances did answer
    probe_failures: int = 0
    probe_error: str = ""
    probe_problem: ProbeProblem = ProbeProblem.NONE  # of the last probe
    booted: bool = False
    ready_s: float | None = None
    stale_since_s: float | None = None

    # Processes
    processes: Mapping[str, Process] = field(default_factory=dict)
    bound: Mapping[str, Resources | None] = field(default_factory=dict)  # room taken by containers; None: not known
    processes_listed_s: float = NEVER  # when the newest list of processes of this term began
    start_changed_s: float = NEVER  # stamp of our last start on it
    busy_s: float = NEVER  # when it last had work, or became ready
    last_container: str = ""


# ------------------------------------------------------------------------------------------------------------------- rest


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """What we know about the queue service itself."""

    token_uuid: str = ""  # by which we know our own locks
    polling: bool = False
    looking: Look | None = None  # what the poll that is on its way asks for
    expected: int | None = 1  # how many list requests it was taken to need; None: they are not counted
    polled_s: float = NEVER  # when the last poll of this term began that showed all that we hold
    poll_ended_s: float = NEVER  # the end of the last look at the top
    shown_s: float = NEVER  # the same of the last that showed a page and all that we hold, or failed
    poll_took_s: float = 0.0
    page_s: float = NEVER  # when the last look began that showed a whole page, or all that wait
    page_ended_s: float = NEVER
    page_took_s: float = 0.0
    backlog: bool = True  # more wait than one page shows, or it is not known
    waiting: int | None = None  # how many wait in all, when they were last counted
    counted_s: float = NEVER
    sweep: Sweep | None = None  # what is read below the first page
    unseen: bool = False  # the last look at the top did not reach the end of those that wait
    deeper_next: bool = False  # the last look was at the top: the turn of one further down
    full_refused_s: float = NEVER  # a look in full failed: its answer may be too large
    asked_s: float = NEVER  # when records were last asked for by uuid
    lists: Bucket = field(default_factory=lambda: Bucket(tokens=math.inf, at_s=0.0))  # list requests that may be sent
    changed_s: float = NEVER  # when a poll last brought something new
    failures: int = 0
    error: str = ""
    error_status: int | None = None  # what it answered with; None: nothing
    failing_since_s: float = math.inf  # the first of the failures in a row
    rejected: Map[str] = field(default_factory=Map)  # records that could not be understood: uuid → reason
    lock_window: int = 16  # locks in flight at most; shrinks on 503
    locks_in_flight: int = 0
    locks_held_until_s: float = NEVER
    overloaded_s: float = NEVER  # last 503
    lock_strikes: int = 0
    hinted_s: float = NEVER  # something told us to look now, and no look has begun since
    hinted_new: bool = False  # and it is only about who waits
    events_flow: bool = False  # hints come by themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLeftover:
    """A resource that lists show as left over: since the list that began at ``first_s``, and again in one at ``again_s``."""

    leftover: Leftover
    first_s: float
    again_s: float = NEVER
    deleting: bool = False
    failures: int = 0
    retry_s: float = NEVER  # not before
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudView:
    """What we know about the cloud itself."""

    listing: bool = False
    listed_s: float = NEVER  # when the last complete list of this term began
    first_listed_s: float = NEVER  # when the first one did
    confirmed_s: float = NEVER  # when the last one did that agrees with an earlier one: a single list may lie
    list_ended_s: float = NEVER
    list_due_s: float = math.inf  # somebody wants one at this time
    failures: int = 0
    error: str = ""
    error_kind: HoldoffKind = HoldoffKind.ERROR
    failing_since_s: float = math.inf  # the first of the failures in a row
    partial_since_s: float = math.inf  # the first part of a list since the last complete one
    leftovers: Mapping[str, KnownLeftover] = field(default_factory=dict)  # by id
    leftovers_listed_s: float = NEVER  # when the last list that told them all began
    usages_told_s: float = NEVER  # when a list last told how much of the quotas is used
    catalogue: Catalogue = field(default_factory=Catalogue)
    probe_answered_s: float = NEVER  # newest full answer of any instance
    probe_answered_by: str = ""
    answers_since_s: float = NEVER  # since when some instance or other has answered, without a long gap
    guarded_destroys: tuple[float, ...] = ()  # times, for the destroy guard
    alarm: str = ""
    accepted: Map[float] = field(default_factory=Map)  # instance type → when the cloud last accepted one


@dataclass(frozen=True, slots=True, kw_only=True)
class Leadership:
    """Who may act. ``term`` counts up with each gain; acting is allowed only while ``leading``."""

    leading: bool = False
    term: int = 0
    since_s: float = NEVER
    quiet_s: float = 0.0  # the time in which an earlier leader's starts may still take effect
    holder: str = ""

    @property
    def quiet_until_s(self) -> float:
        """Before this, a list of processes may lack what an earlier leader has just started."""
        return self.since_s + self.quiet_s


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The whole. ``version`` grows with each change."""

    settings: Settings = field(default_factory=Settings)
    version: int = 0
    containers: Map[Container] = field(default_factory=Map)
    instances: Map[Instance] = field(default_factory=Map)
    queue: QueueView = field(default_factory=QueueView)
    cloud: CloudView = field(default_factory=CloudView)
    holdoffs: Map[Holdoff] = field(default_factory=Map)
    buckets: Mapping[str, Bucket] = field(default_factory=dict)
    learned: Mapping[str, Learned] = field(default_factory=dict)  # kind of call → the pace that its refusals taught
    reports: Mapping[str, CallReport] = field(default_factory=dict)  # kind of call → what the cloud last said of it
    spending: Spending = field(default_factory=Spending)
    hints: Hints = field(default_factory=Hints)
    setbacks: Setbacks = field(default_factory=Setbacks)
    recent: Recent = field(default_factory=Recent)
    leadership: Leadership = field(default_factory=Leadership)
    strays: Map[str] = field(default_factory=Map)  # uuid of a process whose container we do not hold → instance
    outages: tuple[tuple[float, float], ...] = ()  # from when to when (inf: now) the queue or the cloud could not be asked

    def instance_type(self, name: str) -> InstanceType | None:
        return self.settings.instance_types.get(name)
