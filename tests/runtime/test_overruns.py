"""Calls that do not come back, and the way of events into the Store: nothing stays under way for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerRecord, ContainerState
from dispatcher.driver import Instance as ListedInstance
from dispatcher.runtime.deliver import Delivery
from dispatcher.runtime.overruns import GRACE_S, Overruns, believable_late
from tests.runtime.states import Clock, uuid

POLL, LIST = m.PollQueue(), m.ListInstances()


def limit(action: m.Action) -> float:
    return 10.0 if action is POLL else 100.0


def overruns() -> tuple[Clock, Overruns]:
    clock = Clock()
    return clock, Overruns(clock.monotonic, limit)


# ----------------------------------------------------------------------------------------------------------------- overruns


def test_an_act_is_given_up_once() -> None:
    """After its own limit and the grace, with the time at which it began."""
    clock, running = overruns()
    running.enter(POLL)
    running.enter(LIST)
    clock.now_s += 10.0 + GRACE_S
    assert running.overdue() == []
    clock.now_s += 0.1
    assert running.overdue() == [(POLL, 100.0)]
    assert running.overdue() == []
    assert running.given_up == 1


def test_an_act_that_came_back_is_not_given_up() -> None:
    """However late it is looked for."""
    clock, running = overruns()
    ticket = running.enter(POLL)
    assert running.leave(ticket)
    clock.now_s += 1000.0
    assert running.overdue() == []


def test_an_act_that_comes_back_late_is_told_so() -> None:
    """Its events are about a question that was answered already."""
    clock, running = overruns()
    ticket = running.enter(POLL)
    clock.now_s += 1000.0
    running.overdue()
    assert not running.leave(ticket)


def test_two_acts_that_look_alike_are_told_apart() -> None:
    """Equal values, each with its own time."""
    clock, running = overruns()
    first, second = m.ProbeInstance(name="i1"), m.ProbeInstance(name="i1")
    early = running.enter(first)
    clock.now_s += 60.0
    late = running.enter(second)
    clock.now_s += 60.0
    assert [began_s for _, began_s in running.overdue()] == [100.0]
    assert (running.leave(early), running.leave(late)) == (False, True)


RECORD = ContainerRecord(uuid=uuid(1), state=ContainerState.LOCKED, priority=1)
LATE: list[tuple[m.Event, bool]] = [
    (m.InstanceCreated(name="i1", id="1"), True),
    (m.DestroyAccepted(name="i1"), True),
    (m.CreateFailed(name="i1", failure=m.CloudFailure(text="t")), False),
    (m.DestroyFailed(name="i1", failure=m.CloudFailure(text="t")), False),
    (m.TagsSaved(name="i1", tags={}), False),
    (m.ContainerWritten(uuid=uuid(1), write=m.QueueWrite.LOCK, record=RECORD), False),
    (m.Probed(name="i1", began_s=1.0, report=m.ProbeReport(reached=True)), False),
    (m.StartEnded(name="i1", uuid=uuid(1), outcome=m.StartOutcome.NOT_SENT), False),
    (m.KillEnded(name="i1", uuid=uuid(1), gone=True), False),
    (m.ListEnded(began_s=1.0, complete=True), False),
    (m.InstancesListed(began_s=1.0, instances=(ListedInstance(id="1", name="i1", provider_type="s"),)), False),
    (m.InstancesMissed(began_s=1.0, names=("i1",)), False),
    (m.QueuePolled(began_s=1.0), False),
]


@pytest.mark.parametrize(("event", "believed"), LATE, ids=lambda value: type(value).__name__)
def test_what_is_believed_late(event: m.Event, believed: bool) -> None:
    """Only what stays true whenever it is heard: that something was created, and that a destroy was accepted."""
    assert believable_late(event) is believed


# ----------------------------------------------------------------------------------------------------------------- delivery


class Posted:
    """A Store that cannot take in events of some kinds."""

    def __init__(self, *refused: type[m.Event]) -> None:
        self.events: list[m.Event] = []
        self.refused = refused

    def __call__(self, event: m.Event) -> None:
        if isinstance(event, self.refused):
            raise KeyError("no such container")
        self.events.append(event)


def delivered(post: Callable[[m.Event], None], action: m.Action, *events: m.Event) -> Delivery:
    delivery = Delivery(post, lambda: 7.0)
    delivery.deliver(action, events)
    return delivery


OBSERVED = m.ContainersObserved(began_s=1.0, records=(RECORD,))
ABSENT = m.ContainersAbsent(began_s=1.0, uuids=(uuid(2),))
POLLED = m.QueuePolled(began_s=1.0)


def test_events_are_taken_in_in_their_order() -> None:
    """As the act told them."""
    posted = Posted()
    assert delivered(posted, POLL, OBSERVED, ABSENT, POLLED).bugs == 0
    assert posted.events == [OBSERVED, ABSENT, POLLED]


def test_one_bad_event_keeps_back_none_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """The poll has ended all the same; what was wrong is counted, and in the log."""
    posted = Posted(m.ContainersObserved)
    delivery = delivered(posted, POLL, OBSERVED, ABSENT, POLLED)
    assert posted.events == [ABSENT, POLLED]
    assert (delivery.bugs, delivery.last_bug) == (1, "ContainersObserved: KeyError")
    assert "Traceback" in caplog.text


def test_an_act_whose_end_cannot_be_taken_in_ends_as_a_failure() -> None:
    """Else it would be under way for ever: no second poll would begin."""
    posted = Posted(m.QueuePolled)
    delivered(posted, POLL, OBSERVED, POLLED)
    assert posted.events[0] == OBSERVED
    assert [type(event) for event in posted.events] == [m.ContainersObserved, m.QueuePollFailed]


def test_a_failure_that_cannot_be_taken_in_either_is_survived() -> None:
    """The thread that delivers has other acts to deliver."""
    posted = Posted(m.QueuePolled, m.QueuePollFailed)
    assert delivered(posted, POLL, POLLED).bugs == 2
    assert posted.events == []


def test_an_act_without_an_event_is_no_failure() -> None:
    """The end of a connection tells nothing."""
    posted = Posted()
    delivered(posted, m.RemoveInstance(name="i1"))
    assert posted.events == []
