"""What came back from the world, as data: records, reports of a command on an instance, and failures.

Ports give these, events carry them; nothing here says what follows from them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field

from dispatcher.core.looks import Span
from dispatcher.core.model import ContainerRecord, HoldoffKind
from dispatcher.core.problems import ProbeProblem
from dispatcher.driver import HostKey, Scope
from dispatcher.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFailure:
    """Why the queue service gave no good answer. ``status`` is None when there was no HTTP answer at all."""

    text: str
    status: int | None = None

    @property
    def overloaded(self) -> bool:
        return self.status == 503


class QueueError(Exception):
    """The queue service gave no good answer."""

    def __init__(self, failure: QueueFailure) -> None:
        super().__init__(failure.text)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Records that were understood, and those that were not: uuid (or a stand-in) → reason."""

    records: tuple[ContainerRecord, ...]
    rejected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight(Records):
    """What a look at the queue brought, and what of the queue it covered."""

    span: Span = field(default_factory=Span)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudFailure:
    """A driver's error as data. ``kind`` is what the core does about it."""

    text: str
    kind: HoldoffKind = HoldoffKind.ERROR
    scope: Scope = Scope.REQUEST
    retry_after_s: float | None = None
    outcome_unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which machine to speak to. ``secret`` is what it must hold when no host key is known; never shown."""

    name: str
    address: str | None
    user: str
    secret: str = field(repr=False, default="")
    host_keys: tuple[HostKey, ...] = ()


class CloudCallFailed(Exception):
    """A cloud call failed; ``failure`` says what to do next."""

    def __init__(self, failure: CloudFailure) -> None:
        super().__init__(failure.text)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The remote command that failed, for people: both outputs are bounded tails on one line. ``status`` None: it was not sent,
    or its exit status never came."""

    command: str
    status: int | None = None
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What one probe saw. ``processes`` is None when the list is not known; an empty set says that nothing runs. ``said``: of
    the command that failed."""

    reached: bool  # SSH answered and the machine is the right one
    booted: bool = False  # the boot probe passed and the runner is in place
    processes: frozenset[str] | None = None
    stale: frozenset[str] = frozenset()
    broken: bool = False
    problem: ProbeProblem = ProbeProblem.NONE
    error: str = ""
    said: Said | None = None
    warning: str = ""  # booted, and not as it should be
    notice: str = ""  # the cloud has told it that it is about to end, and why
    ends_in_s: float | None = None  # and when, counted from this probe


class StartOutcome(enum.StrEnum):
    STARTED = "started"
    REFUSED = "refused"  # the runner answered with an error
    NOT_SENT = "not sent"  # no byte of the command left this host
    UNKNOWN = "unknown"  # it may have begun; the connection is closed


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport:
    outcome: StartOutcome
    error: str = ""
    said: Said | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KillReport:
    """``gone``: the runner said that nothing runs under this uuid (any more). ``answered``: the kill command ran at all."""

    gone: bool
    error: str = ""
    answered: bool = True
    said: Said | None = None
