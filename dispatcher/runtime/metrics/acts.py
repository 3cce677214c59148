"""What ``perform`` tells about each act: how often, how long, and how it ended. Many threads tell at once.

An act that was not sent (another leads, its subject is gone) is counted as such and as no call.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dispatcher.core import messages as m
from dispatcher.core.messages import CloudFailure, QueueFailure
from dispatcher.core.model import HoldoffKind
from dispatcher.meters import catalogue as c
from dispatcher.meters.instruments import Board
from dispatcher.runtime.performed import Performed
from dispatcher.runtime.ports import Clock

SERIES = (
    c.ACTS, c.ACT_DURATION, c.DRIVER_OPERATIONS, c.CLOUD_CALLS, c.QUEUE_REQUESTS, c.LOCK_FAILURES, c.PROBE_DURATION,
    c.PROBE_HISTOGRAM, c.SSH_FAILURES, c.STARTS,
)  # fmt: skip

OPERATIONS: dict[type[m.Action], str] = {
    m.CreateInstance: "Create",
    m.ListInstances: "List",
    m.DestroyInstance: "Destroy",
    m.SaveTags: "SetTags",
    m.PollCreate: "PollCreate",
    m.ReadCatalogue: "ReadCatalogue",
}
REQUESTS: dict[type[m.Action], str] = {
    m.PollQueue: "poll",
    m.ReadContainers: "read",
    m.LockContainer: "lock",
    m.UnlockContainer: "unlock",
    m.CancelContainer: "cancel",
}
OK, UNKNOWN, NONE = "ok", "unknown", "none"

log = logging.getLogger(__name__)


class ActMeter:
    """``ended`` is what ``Perform`` is handed. ``last_503_s`` is Unix time, 0 for never; ``poll_records`` of the last poll."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.board = Board(SERIES)
        self.last_503_s = 0.0
        self.poll_records = 0
        self.bugs = 0
        self._preset()

    def _preset(self) -> None:
        """Known labels stand at 0 from the start, so that a rate has where to begin."""
        for outcome in (OK, UNKNOWN, *(kind.value for kind in HoldoffKind)):
            for operation in OPERATIONS.values():
                self.board.add(c.CLOUD_CALLS, operation, outcome, by=0.0)
        for request in REQUESTS.values():
            for status in ("200", "401", "403", "503", NONE):
                self.board.add(c.QUEUE_REQUESTS, request, status, by=0.0)
        for status in (NONE, "422", "503"):
            self.board.add(c.LOCK_FAILURES, status, by=0.0)
        for start in m.StartOutcome:
            self.board.add(c.STARTS, start.value, by=0.0)
        for problem in m.ProbeProblem:
            for booted in "01":
                if problem is not m.ProbeProblem.NONE:
                    self.board.add(c.SSH_FAILURES, problem.value, booted, by=0.0)

    def ended(self, done: Performed) -> None:
        """An act is over. Never raises."""
        try:
            self._count(done)
        except Exception:
            log.exception("an act of %s could not be counted", type(done.action).__name__)
            self.bugs += 1

    def calls(self) -> dict[str, dict[str, int]]:
        """Operation of the driver → outcome → how many calls, since the start."""
        outcomes = (OK, UNKNOWN, *(kind.value for kind in HoldoffKind))
        value = self.board.value
        return {each: {how: int(value(c.CLOUD_CALLS, each, how)) for how in outcomes} for each in OPERATIONS.values()}

    def polled(self, records: int) -> None:
        """A look at the queue brought so many records."""
        self.poll_records = records

    def _count(self, done: Performed) -> None:
        kind, now_s = type(done.action), self._clock.monotonic()
        self.board.add(c.ACTS, kind.__name__, "not sent" if not done.sent else "failed" if done.failed else OK)
        if not done.sent:
            return
        self.board.observe(c.ACT_DURATION, done.seconds, kind.__name__, at_s=now_s)
        if kind in OPERATIONS:
            self._count_call(OPERATIONS[kind], done.events)
        if kind in REQUESTS:
            self._count_request(REQUESTS[kind], done.events)
        for event in done.events:
            if isinstance(event, m.Probed):
                self._count_probe(event, done, now_s)
            if isinstance(event, m.StartEnded):
                self.board.add(c.STARTS, event.outcome.value)

    def _count_call(self, operation: str, events: Sequence[m.Event]) -> None:
        failures = [f for e in events if isinstance(f := getattr(e, "failure", None), CloudFailure) and not _came_later(e)]
        if operation in c.OPERATIONS:
            self.board.add(c.DRIVER_OPERATIONS, operation, "1" if failures else "0")
        outcome = OK
        if failures:
            outcome = UNKNOWN if failures[0].outcome_unknown else failures[0].kind.value
        self.board.add(c.CLOUD_CALLS, operation, outcome)

    def _count_request(self, request: str, events: Sequence[m.Event]) -> None:
        failures = [f for e in events if isinstance(f := getattr(e, "failure", None), QueueFailure)]
        status = _status(failures[0]) if failures else "200"
        self.board.add(c.QUEUE_REQUESTS, request, status)
        if failures and request == "lock":
            self.board.add(c.LOCK_FAILURES, status)
        if any(failure.overloaded for failure in failures):
            self.last_503_s = self._clock.wall()

    def _count_probe(self, event: m.Probed, done: Performed, now_s: float) -> None:
        """Only the looks at booted instances are timed: while one boots, a probe runs other commands too."""
        instance, report = done.state.instances.get(event.name), event.report
        booted = instance is not None and instance.ready_s is not None
        if report.problem is not m.ProbeProblem.NONE:
            self.board.add(c.SSH_FAILURES, report.problem.value, "1" if booted else "0")
        if booted:
            outcome = "success" if report.processes is not None else "fail"
            self.board.observe(c.PROBE_DURATION, done.seconds, outcome, at_s=now_s)
            self.board.observe(c.PROBE_HISTOGRAM, done.seconds, outcome, at_s=now_s)


def _came_later(event: m.Event) -> bool:
    """The call that told it went well: what failed is the create that the cloud had accepted before."""
    return isinstance(event, m.CreateFailed) and event.accepted


def _status(failure: QueueFailure) -> str:
    return str(failure.status) if failure.status is not None and 100 <= failure.status <= 599 else NONE
