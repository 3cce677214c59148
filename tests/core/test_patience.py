"""MaxWaitTime: who is cancelled for having waited too long, and what time counts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core import patience
from dispatcher.core.model import ContainerState, Phase, QueueWrite
from dispatcher.core.transitions.outages import KEPT, waited_s
from tests.core.build import C1, C2, NOW, after, container, instance, offer, settings, state, wants

LIMIT_S = 60.0
FULL = settings(max_instances=1, max_wait_s=LIMIT_S)


def crowd(*more, chosen=FULL, **changes):
    """One instance, full, and none may be asked for: everybody else waits. They became runnable at 900."""
    busy = container(C2, ContainerState.RUNNING, requirements=wants(4))
    return state(busy, instance("i1", Phase.READY, C2), *more, settings=chosen, **changes)


def cancelled(before, now=NOW):
    return [action.uuid for action in patience.plan(before, now)]


WAITS = [
    # (what is different about a container that has waited for 100 s of 60, whether it is cancelled)
    ({}, True),
    ({"failed_attempts": 1}, False),  # it had a place: attempts are counted otherwise
    ({"state": ContainerState.LOCKED}, False),
    ({"writing": QueueWrite.CANCEL}, False),
    ({"priority": 0}, False),
    ({"read_due": True}, False),  # its record has to be read first
    ({"requirements": wants(99)}, False),  # no type can run it: it is cancelled for that
]


@pytest.mark.parametrize(("change", "ends"), WAITS)
def test_who_waited_too_long_without_ever_having_had_a_place_is_cancelled(change, ends):
    """One line for each reason not to."""
    assert cancelled(crowd(container(**change))) == ([C1] if ends else [])


@pytest.mark.parametrize(("limit_s", "ends"), [(0.0, False), (99.0, True), (101.0, False)])
def test_the_limit_is_the_sites_and_off_by_default(limit_s, ends):
    """0 is for ever, which is the default."""
    assert cancelled(crowd(container(), chosen=replace(FULL, max_wait_s=limit_s))) == ([C1] if ends else [])
    assert settings().max_wait_s == 0.0


def test_it_is_told_what_it_waited_for():
    """One cancel with the reason in it: the position, and what the scheduler says at that moment."""
    (action,) = patience.plan(crowd(container()), NOW)
    assert action == m.CancelContainer(
        uuid=C1, error="the container could not be scheduled within 60 s (MaxWaitTime)",
        detail="at the end it waited at position 1: MaxInstances (1) is reached",
    )  # fmt: skip


def test_who_gets_a_place_in_this_very_moment_is_not_cancelled():
    """The scheduler is asked first."""
    before = state(container(), instance(), settings=settings(max_wait_s=LIMIT_S))
    assert cancelled(before) == []


@pytest.mark.parametrize("changes", [{"cloud": {"confirmed_s": -1.0}}, {"outages": ((990.0, math.inf),)}])
def test_nobody_is_cancelled_while_nobody_could_be_scheduled(changes):
    """Before the cloud is known, and while it or the queue cannot be asked."""
    assert cancelled(crowd(container(), **changes)) == []


def test_outages_of_queue_and_cloud_do_not_count():
    """From the first failure to the first success of whichever was down; both at once count once."""
    failed = m.QueuePollFailed(began_s=NOW, failure=m.QueueFailure(text="HTTP 401: Not logged in", status=401))
    lost = m.ListFailed(began_s=NOW, failure=m.CloudFailure(text="no route"))
    down = after(crowd(container()), failed, now=1000.0)
    down = after(down, failed, lost, now=1010.0)
    up = after(down, m.QueuePolled(began_s=1029.0), now=1030.0)
    assert up.outages == ((1000.0, math.inf),)
    up = after(up, m.ListEnded(began_s=1039.0, complete=True), now=1040.0)
    assert up.outages == ((1000.0, 1040.0),)
    assert waited_s(up, 900.0, 1050.0) == 110.0
    assert waited_s(up, 1020.0, 1050.0) == 10.0
    assert waited_s(down, 900.0, 1015.0) == 100.0


def test_old_outages_are_drawn_together():
    """A wait is rather counted too short than too long."""
    many = tuple((10.0 * number, 10.0 * number + 1) for number in range(KEPT))
    failed = m.QueuePollFailed(began_s=NOW, failure=m.QueueFailure(text="", status=500))
    kept = after(state(outages=many), failed).outages
    assert (len(kept), kept[0], kept[-1]) == (KEPT, (0.0, 11.0), (NOW, math.inf))


def test_the_end_of_patience_is_known_beforehand():
    """The loop is woken when the first of them has waited long enough, and never for those who have already."""
    before = crowd(container(), chosen=replace(FULL, max_wait_s=150.0))
    assert patience.due_s(before, NOW) == 1050.0
    assert patience.due_s(crowd(container()), NOW) == math.inf
    assert patience.due_s(state(container(), settings=settings(offer("t4"))), NOW) == math.inf
