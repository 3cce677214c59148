"""What is written down of a decision that destroys something: one entry with its evidence, one with what came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.maps import Map
from dispatcher.core.model import (
    CloudView,
    ContainerRecord,
    ContainerState,
    Destroy,
    DestroyCause,
    IdleBehavior,
    Kill,
    KnownLeftover,
    OperatorNote,
    Phase,
    Process,
    ProcessPhase,
    QueueWrite,
    State,
)
from dispatcher.driver import Leftover
from dispatcher.runtime.decisions import decisions
from tests.core import build

NOW_S, I1 = 1000.0, "i1"
NO = m.CloudFailure(text="try again")
IDLE = m.DestroyInstance(name=I1, cause=DestroyCause.IDLE, reason="idle for 60 s")
ADA = OperatorNote(actor="ada@host", reason="kernel")


def told(before: State, message: Any, after: State | None = None) -> list[tuple[Any, ...]]:
    """(act, actor, outcome) of each entry."""
    entries = decisions(before, after or before, message, NOW_S)
    assert all(entry["Kind"] == "decision" for entry in entries)
    return [(entry["Act"], entry["Actor"], entry["Outcome"]) for entry in entries]


def instance(phase: Phase = Phase.READY, **changes: Any) -> Any:
    return build.instance(I1, phase, **{"price": 0.5, "busy_s": 900.0, "answered_s": 995.0, **changes})


def test_a_destroy_is_told_with_its_evidence() -> None:
    """Whoever asks later why this machine went finds what was known then."""
    (entry,) = decisions(build.state(instance(probe_failures=2, probe_error="no answer")), State(), IDLE, NOW_S)
    assert entry["Cause"] == "idle"
    assert entry["Reason"] == "idle for 60 s"
    assert (entry["Price"], entry["IdleSeconds"], entry["LastAnswerSeconds"]) == (0.5, 100.0, 5.0)
    assert (entry["ProbeFailures"], entry["ProbeError"], entry["RunningContainers"]) == (2, "no answer", [])


@pytest.mark.parametrize(
    ("changes", "cause", "actor"),
    [
        ({}, DestroyCause.IDLE, "dispatcher"),
        ({"condemned": "broken"}, DestroyCause.DRAINED, "dispatcher"),
        ({"idle_behavior": IdleBehavior.DRAIN, "operator": ADA}, DestroyCause.DRAINED, "ada@host"),
        ({"kill_requested": "enough", "kill_actor": "ada@host"}, DestroyCause.OPERATOR, "ada@host"),
        ({"kill_requested": "enough"}, DestroyCause.OPERATOR, "an operator"),
    ],
)
def test_the_actor_is_who_asked_for_it(changes: dict[str, Any], cause: DestroyCause, actor: str) -> None:
    """And the dispatcher where nobody did."""
    before = build.state(instance(**changes))
    assert told(before, replace(IDLE, cause=cause)) == [("destroy", actor, "begun")]


def test_a_destroy_that_is_sent_again_is_no_other_decision() -> None:
    """An operator's kill of what goes anyway is one."""
    before = build.state(instance(Phase.SHUTDOWN, destroy=Destroy(cause=DestroyCause.IDLE, reason="idle", since_s=990.0)))
    assert told(before, IDLE) == []
    assert len(told(before, replace(IDLE, cause=DestroyCause.OPERATOR))) == 1


def test_the_end_of_a_destroy_is_told() -> None:
    """Each failure of another kind, and that it is gone; one that nobody destroyed was no decision."""
    destroy = Destroy(cause=DestroyCause.IDLE, reason="idle", since_s=990.0, error="no")
    destroyed = build.state(instance(Phase.SHUTDOWN, destroy=destroy))
    failed, gone = m.DestroyFailed(name=I1, failure=NO), m.RemoveInstance(name=I1)
    assert told(destroyed, failed) == [("destroy", "dispatcher", "failed, it is tried again: try again")]
    assert told(destroyed, replace(failed, failure=replace(NO, text="no"))) == []
    assert told(destroyed, gone) == [("destroy", "dispatcher", "gone")]
    assert told(build.state(instance()), gone) == []


def running(kill: Kill | None, phase: ProcessPhase = ProcessPhase.RUNNING) -> State:
    process = Process(uuid=build.C1, phase=phase, since_s=0.0, changed_s=0.0, kill=kill)
    return build.state(instance(processes={build.C1: process}))


TERM = Kill(reason="priority 0", since_s=900.0, sent_s=900.0)


@pytest.mark.parametrize(
    ("before", "signal", "count"), [(None, 15, 1), (TERM, 15, 0), (TERM, 9, 1), (replace(TERM, signal=9), 9, 0)]
)
def test_the_first_signal_of_each_kind_is_told(before: Kill | None, signal: int, count: int) -> None:
    """TERM is sent again and again: that is one decision."""
    action = m.KillProcess(name=I1, uuid=build.C1, signal=signal, reason="priority 0")
    after = running(replace(TERM, signal=signal, actor="ada"))
    assert told(running(before), action, after) == [("signal", "ada", "begun")] * count


def test_what_a_signal_came_to_is_told() -> None:
    """By a probe or by the kill command itself; also that it came to nothing."""
    probed = m.Probed(name=I1, began_s=999.0, report=m.ProbeReport(reached=True))
    ended = m.KillEnded(name=I1, uuid=build.C1, gone=True)
    assert told(running(TERM), probed, build.state(instance())) == [("signal", "dispatcher", "ended")]
    assert told(running(TERM), ended, running(TERM, ProcessPhase.ENDED)) == [("signal", "dispatcher", "ended")]
    stays = running(replace(TERM, unkillable=True))
    assert told(running(TERM), ended, stays) == [("signal", "dispatcher", "it cannot be killed")]
    assert told(running(TERM), probed, running(TERM)) == []
    assert told(running(None), probed, build.state(instance())) == []


def test_a_cancel_and_its_end_are_told() -> None:
    """With the reason that the user reads, and without the output of the runner."""
    killed = build.container(killed=replace(TERM, actor="ada"), ran_on="i1 (vm1)")
    before = build.state(killed)
    action = m.CancelContainer(uuid=build.C1, error="lost", detail="attempts: 2\nthe end of its output:\nsecret")
    (entry,) = decisions(before, before, action, NOW_S)
    assert (entry["Actor"], entry["Reason"], entry["Detail"], entry["RanOn"]) == ("ada", "lost", "attempts: 2", "i1 (vm1)")
    record = ContainerRecord(uuid=build.C1, state=ContainerState.CANCELLED, priority=0)
    written = m.ContainerWritten(uuid=build.C1, write=QueueWrite.CANCEL, record=record)
    assert told(before, written) == [("cancel", "ada", "it is Cancelled")]
    assert told(before, replace(written, write=QueueWrite.LOCK)) == []
    refused = m.ContainerWriteFailed(uuid=build.C1, write=QueueWrite.CANCEL, failure=m.QueueFailure(text="no"))
    assert told(before, refused) == [("cancel", "ada", "failed, its record is read again: no")]


def test_the_deletion_of_a_leftover_and_its_end_are_told() -> None:
    """Once for each failure of another kind."""
    known = KnownLeftover(leftover=Leftover("nic of i7", "nic"), first_s=940.0)
    before = build.state(cloud=CloudView(leftovers={"nic of i7": known}))
    (entry,) = decisions(before, before, m.DeleteLeftover(id="nic of i7"), NOW_S)
    assert (entry["Leftover"], entry["LeftoverKind"], entry["AgeSeconds"]) == ("nic of i7", "nic", 60.0)
    assert told(before, m.LeftoverDeleted(id="nic of i7")) == [("delete leftover", "dispatcher", "deleted")]
    failed = m.LeftoverFailed(id="nic of i7", failure=NO)
    assert told(before, failed) == [("delete leftover", "dispatcher", "failed, it is tried again: try again")]
    again = build.state(cloud=CloudView(leftovers={"nic of i7": replace(known, failures=1, error="try again")}))
    assert told(again, failed) == told(again, m.DeleteLeftover(id="nic of i7")) == []


def test_what_destroys_nothing_is_no_decision() -> None:
    """The log tells it; the audit log stays short."""
    state = State(instances=Map([(I1, instance())]))
    assert told(state, m.ProbeInstance(name=I1)) == told(state, m.CondemnInstance(name=I1, reason="x")) == []
