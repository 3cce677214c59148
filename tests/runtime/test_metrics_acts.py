"""What perform tells about each act, and what becomes of it: one row per act and end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import DestroyCause, HoldoffKind, QueueWrite, State
from dispatcher.meters import catalogue as c
from dispatcher.runtime.metrics.acts import ActMeter
from dispatcher.runtime.metrics.collector import Metrics
from dispatcher.runtime.performed import Performed
from tests.core import build
from tests.runtime.states import Clock

CREATE = m.CreateInstance(name="i1", instance_type="t4", secret="s")
LOCK = m.LockContainer(uuid=build.C1, instance="i1")
PROBE = m.ProbeInstance(name="i1")
QUOTA = m.CloudFailure(text="quota", kind=HoldoffKind.QUOTA)
LOST = m.CloudFailure(text="no answer", outcome_unknown=True)


def queue_failure(status: int | None) -> m.QueueFailure:
    return m.QueueFailure(text="no", status=status)


def lock_failed(status: int | None) -> m.Event:
    return m.ContainerWriteFailed(uuid=build.C1, write=QueueWrite.LOCK, failure=queue_failure(status))


def probed(**report: Any) -> m.Event:
    return m.Probed(name="i1", began_s=0.0, report=m.ProbeReport(**report))


def told(
    action: m.Action, *events: m.Event, state: State | None = None, failed: bool = False, sent: bool = True, seconds: float = 0.5
) -> ActMeter:
    meter = ActMeter(Clock())
    held = state or build.state(build.instance())
    meter.ended(Performed(action=action, state=held, events=events, seconds=seconds, failed=failed, sent=sent))
    return meter


ROWS: list[tuple[m.Action, Sequence[m.Event], tuple[Any, ...]]] = [
    (CREATE, [m.InstanceCreated(name="i1", id="x")], (c.DRIVER_OPERATIONS, "Create", "0")),
    (CREATE, [m.CreateFailed(name="i1", failure=QUOTA)], (c.DRIVER_OPERATIONS, "Create", "1")),
    (CREATE, [m.CreateFailed(name="i1", failure=QUOTA)], (c.CLOUD_CALLS, "Create", "quota")),
    (CREATE, [m.CreateFailed(name="i1", failure=LOST)], (c.CLOUD_CALLS, "Create", "unknown")),
    (m.PollCreate(name="i1"), [m.CreateFailed(name="i1", failure=QUOTA, accepted=True)], (c.CLOUD_CALLS, "PollCreate", "ok")),
    (m.ListInstances(), [m.ListEnded(began_s=0.0, complete=True)], (c.DRIVER_OPERATIONS, "List", "0")),
    (m.ListInstances(), [m.ListFailed(began_s=0.0, failure=QUOTA)], (c.DRIVER_OPERATIONS, "List", "1")),
    (
        m.DestroyInstance(name="i1", cause=DestroyCause.IDLE, reason=""), [m.DestroyAccepted(name="i1")],
        (c.DRIVER_OPERATIONS, "Destroy", "0"),
    ),
    (m.SaveTags(name="i1"), [m.TagsFailed(name="i1", failure=QUOTA)], (c.DRIVER_OPERATIONS, "SetTags", "1")),
    (LOCK, [m.ContainerWritten(uuid=build.C1, write=QueueWrite.LOCK, record=build.record())], (c.QUEUE_REQUESTS, "lock", "200")),
    (LOCK, [lock_failed(422)], (c.LOCK_FAILURES, "422")),
    (LOCK, [lock_failed(None)], (c.LOCK_FAILURES, "none")),
    (LOCK, [lock_failed(99_999)], (c.LOCK_FAILURES, "none")),  # no status that exists: labels are not for servers to choose
    (m.PollQueue(), [m.QueuePollFailed(began_s=0.0, failure=queue_failure(500))], (c.QUEUE_REQUESTS, "poll", "500")),
    (PROBE, [probed(reached=True, booted=True, processes=frozenset())], (c.PROBE_DURATION, "success")),
    (PROBE, [probed(reached=False, problem=m.ProbeProblem.TIMEOUT)], (c.PROBE_DURATION, "fail")),
    (PROBE, [probed(reached=False, problem=m.ProbeProblem.TIMEOUT)], (c.SSH_FAILURES, "timeout", "1")),
    (
        m.StartContainer(uuid=build.C1, instance="i1"), [m.StartEnded(name="i1", uuid=build.C1, outcome=m.StartOutcome.REFUSED)],
        (c.STARTS, "refused"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("action", "events", "row"), ROWS)
def test_an_act_counts_in_its_row(action: m.Action, events: Sequence[m.Event], row: tuple[Any, ...]) -> None:
    """Once, and also as an act with its duration."""
    meter = told(action, *events)
    assert meter.board.value(row[0], *row[1:]) == 1
    assert meter.board.value(c.ACT_DURATION, type(action).__name__) == 1


def test_what_was_not_sent_is_no_call() -> None:
    """Another leads, or its subject is gone: no driver was called, no request was made."""
    meter = told(CREATE, m.CreateFailed(name="i1", failure=QUOTA), failed=True, sent=False)
    assert meter.board.value(c.ACTS, "CreateInstance", "not sent") == 1
    assert meter.board.value(c.DRIVER_OPERATIONS, "Create", "1") == 0
    assert meter.board.value(c.ACT_DURATION, "CreateInstance") == 0


def test_the_probes_of_a_booting_instance_fail_apart_and_are_not_timed() -> None:
    """That it does not answer yet is usual, and its probe runs more than the list of processes."""
    booting = build.state(build.instance("i1", build.Phase.BOOTING))
    meter = told(PROBE, probed(reached=False, problem=m.ProbeProblem.UNREACHABLE), state=booting, failed=True)
    assert meter.board.value(c.SSH_FAILURES, "unreachable", "0") == 1
    assert meter.board.value(c.PROBE_DURATION, "fail") == 0


@pytest.mark.parametrize("action", [LOCK, m.PollQueue(), m.ReadContainers(uuids=(build.C1,))])
def test_any_503_is_dated(action: m.Action) -> None:
    """Of whatever request; other failures are not."""
    failure = m.ContainersReadFailed(asked=(), failure=queue_failure(503))
    assert told(action, failure).last_503_s == Clock().wall()
    assert told(action, m.ContainersReadFailed(asked=(), failure=queue_failure(500))).last_503_s == 0.0


def test_a_bug_in_counting_reaches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """perform goes on, the bug is counted and stands in the log."""
    meter = told(PROBE, m.Probed(name="i1", began_s=0.0, report=None))  # type: ignore[arg-type]
    assert meter.bugs == 1
    assert "could not be counted" in caplog.text


def test_the_turns_of_a_loop_are_timed() -> None:
    """One histogram per loop."""
    metrics = Metrics(Clock())
    metrics.passed("scheduler", 0.004)
    families = {family.name: family for family in metrics.registry(build.state).collect()}
    samples = {(s.name.rsplit("_", 1)[-1], s.labels.get("le", "")): s.value for s in families[c.PASS_DURATION.name].samples}
    assert (samples["count", ""], samples["sum", ""], samples["bucket", "0.002"], samples["bucket", "0.005"]) == (1, 0.004, 0, 1)
