"""Locked ahead: who, for which busy place, when it is worth it, who still comes before, and when a lock is given back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import ahead, explain, patience, reconcile, schedule
from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, IdleBehavior, Phase, ProcessPhase, QueueWrite
from dispatcher.core.recent import Recent
from dispatcher.core.transitions import legal
from dispatcher.core.transitions.ahead import GIVE_BACK_S, held, seats
from tests.core.build import C1, C2, C3, NOW, OURS, after, container, instance, offer, process, record, settings, state, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
BUSY = "zzzzz-dz642-000000000000100"
ONE_EACH = settings(offer("t4", 1), max_instances=1)
SLOW = Recent(locks_s=(0.1,) * 5, runs_s=(2.0,) * 5)
LOCK = m.LockContainer(uuid=C1, instance="i1", ahead=True)
EARLY = {"state": LOCKED, "ahead": True, "lock_count": 1, "state_changed_s": NOW - 5}


def busy(*waiting, name: str = "i1", uuid: str = BUSY, **changes):
    """One instance with one place on which a runner works, all there may be, with slow locks and short containers."""
    chosen = changes.pop("settings", ONE_EACH)
    here = (container(uuid, RUNNING), instance(name, Phase.READY, uuid))
    return state(*here, *waiting, settings=chosen, **{"recent": SLOW, **changes})


def plan(before, now=NOW):
    return schedule.plan(before, now, lambda: ("new", "secret"))


# ----------------------------------------------------------------------------------------------------------- when and whom


def test_the_next_is_locked_while_every_place_is_busy():
    """And it is bound to no instance: whichever place becomes free first is its place."""
    before = busy(container(C1))
    assert plan(before) == [LOCK]
    locked = after(before, LOCK).containers[C1]
    assert (locked.ahead, locked.instance, locked.writing) == (True, None, QueueWrite.LOCK)


@pytest.mark.parametrize(
    "recent",
    [
        Recent(),  # nothing is known yet
        Recent(locks_s=(0.1,) * 4, runs_s=(2.0,) * 5),  # too little
        Recent(locks_s=(0.001,) * 5, runs_s=(2.0,) * 5),  # a quick queue service
        Recent(locks_s=(0.1,) * 5, runs_s=(20.0,) * 5),  # which is nothing beside the time that containers run
        Recent(locks_s=(9.0,) * 5, runs_s=(100.0,) * 5),  # they would be held for too long
        Recent(locks_s=(*[0.001] * 9, *[5.0] * 5), runs_s=(2.0,) * 5),  # a few were slow
    ],
)
def test_nobody_is_locked_where_it_is_not_worth_it(recent):
    """It takes slow locks, as a rule, and short containers."""
    assert plan(busy(container(C1), recent=recent)) == []


def test_nobody_is_locked_while_the_queue_service_asks_for_fewer_locks():
    """Not before its last 503 is a minute old."""
    assert plan(busy(container(C1), queue={"overloaded_s": NOW - 50.0, "lock_window": 1})) == []
    assert plan(busy(container(C1), queue={"overloaded_s": NOW - 61.0, "lock_window": 1})) == [LOCK]


def test_half_of_the_locks_are_left_to_those_who_have_a_place():
    """Who comes ahead keeps nobody from being locked at once."""
    assert plan(busy(container(C1), queue={"locks_in_flight": 7})) == [LOCK]
    assert plan(busy(container(C1), queue={"locks_in_flight": 8})) == []


def test_one_for_each_busy_place():
    """The most urgent of those who wait."""
    assert plan(busy(container(C1, priority=1), container(C2, priority=3), container(C3, priority=2))) == [replace(LOCK, uuid=C2)]
    assert plan(busy(container(C1, **EARLY), container(C2, priority=3))) == []


def test_a_busy_place_has_to_be_large_enough_and_of_its_type():
    """What is free there already counts, and what ends there is added to it."""
    two = settings(offer("t4", 2), offer("t8", 8, 2.0), max_instances=1)
    assert plan(busy(container(C1, requirements=wants(2)), settings=two)) == [LOCK]
    assert plan(busy(container(C1, requirements=wants(8)), settings=two)) == []


@pytest.mark.parametrize(
    "fields",
    [{"idle_behavior": IdleBehavior.DRAIN}, {"idle_behavior": IdleBehavior.HOLD}, {"condemned": "broken"}, {"probe_failures": 2}],
)
def test_a_place_that_takes_no_more_work_is_nobodys(fields):
    """Drain, hold, condemned or silent: what becomes free there stays free."""
    unfit = instance("i1", Phase.READY, BUSY, **fields)
    here = state(container(BUSY, RUNNING), unfit, container(C1), settings=ONE_EACH, recent=SLOW)
    assert plan(here) == []
    assert legal(here, LOCK, NOW) is not None


def test_only_places_that_take_work_are_counted():
    """One drains and one goes on: one is locked ahead, and not a second one for the place that stays free."""
    other = "zzzzz-dz642-000000000000101"
    drained = instance("i2", Phase.READY, other, idle_behavior=IdleBehavior.DRAIN)
    before = busy(container(other, RUNNING), drained, container(C1, **EARLY), container(C2))
    assert legal(before, replace(LOCK, uuid=C2), NOW) == "as many are locked ahead as there are busy places"
    assert plan(before) == []


def test_who_is_locked_ahead_counts_for_a_place_that_suits_it():
    """There is a second busy place: it is of another type, and for somebody else."""
    two, other = settings(offer("t4", 1), offer("t8", 8, 2.0), max_instances=2), "zzzzz-dz642-000000000000101"
    large = (container(other, RUNNING, requirements=wants(8)), instance("i2", Phase.READY, other, type="t8"))
    before = busy(*large, container(C1, **EARLY), container(C2), settings=two)
    assert plan(before) == []
    more = busy(*large, container(C1, **EARLY), container(C2), container(C3, requirements=wants(8)), settings=two)
    assert plan(more) == [m.LockContainer(uuid=C3, instance="i2", ahead=True)]


def test_a_start_that_is_on_its_way_is_no_busy_place():
    """Nobody knows how it ends."""
    begins = instance("i1", processes={BUSY: process(BUSY, ProcessPhase.STARTING)})
    here = state(container(BUSY, LOCKED), begins, container(C1), settings=ONE_EACH, recent=SLOW)
    assert plan(here) == []


WHO_NOT = [
    container(C1, lock_count=1),  # each lock that is given back spends an attempt
    container(C1, requirements=wants(supervisor=True)),
    container(C1, priority=0),
    container(C1, not_before_s=NOW + 5),
    container(C1, read_due=True),
    container(C1, reading=True),
]


@pytest.mark.parametrize("waiting", WHO_NOT)
def test_who_is_not_locked_ahead(waiting):
    """Who was locked before, supervisors, and whoever could not begin now."""
    before = busy(waiting)
    assert plan(before) == []
    assert legal(before, LOCK, NOW) is not None


def test_where_few_attempts_are_allowed_none_is_risked():
    """A lock that is given back spends one of them."""
    assert plan(busy(container(C1), settings=replace(ONE_EACH, max_dispatch_attempts=2))) == []
    assert plan(busy(container(C1), settings=replace(ONE_EACH, max_dispatch_attempts=3))) == [LOCK]


def test_who_gets_an_instance_of_its_own_is_not_locked_ahead():
    """It is locked late, as everybody: when its instance is there."""
    more = replace(ONE_EACH, max_instances=2)
    assert [type(action) for action in plan(busy(container(C1), settings=more))] == [m.CreateInstance]
    booting = instance("i2", Phase.BOOTING)
    here = state(container(BUSY, RUNNING), instance("i1", Phase.READY, BUSY), booting, container(C1), settings=more, recent=SLOW)
    assert plan(here) == [m.LockContainer(uuid=C1, instance="i2")]


def test_the_limit_holds_also_against_a_plan_that_is_too_old():
    """Two plans on one snapshot lock one."""
    locked = after(busy(container(C1), container(C2)), LOCK)
    assert legal(locked, replace(LOCK, uuid=C2), NOW) == "as many are locked ahead as there are busy places"
    assert (len(held(locked)), len(seats(locked))) == (1, 1)


def test_an_instance_without_work_has_no_busy_place():
    """There a container is locked with a place, or not at all."""
    here = state(container(C1), instance(), recent=SLOW)
    assert legal(here, LOCK, NOW) == "nothing runs there whose place it could take"
    assert legal(here, replace(LOCK, instance="i9"), NOW) == "there is no such instance"


# --------------------------------------------------------------------------------------------------------- what becomes of it


def test_it_starts_without_another_word_when_a_place_is_free():
    """Also by the beginning of a pass alone."""
    here = state(container(C1, **EARLY), instance(), settings=ONE_EACH)
    assert schedule.next_step(here, NOW) == plan(here) == [m.StartContainer(uuid=C1, instance="i1")]
    assert not after(here, m.StartContainer(uuid=C1, instance="i1")).containers[C1].ahead


def test_whoever_is_more_urgent_comes_before_it():
    """It keeps its lock, and is the next but one."""
    here = state(container(C1, priority=1, **EARLY), container(C2, priority=2), instance(), settings=ONE_EACH)
    assert schedule.next_step(here, NOW) == plan(here) == [m.LockContainer(uuid=C2, instance="i1")]


def test_it_is_bound_to_an_instance_that_boots_for_it():
    """From then on it is one of those that have a place."""
    here = state(container(C1, **EARLY), instance(phase=Phase.BOOTING), settings=ONE_EACH)
    assert plan(here) == [m.BindContainer(uuid=C1, instance="i1")]
    assert not after(here, m.BindContainer(uuid=C1, instance="i1")).containers[C1].ahead


def test_what_it_waits_for_is_told_with_its_lock():
    """The reason is the one of everybody who has no place."""
    waits = explain.statuses(busy(container(C1, **EARLY)), NOW)[C1]
    assert waits == (
        "waiting at position 1: MaxInstances (1) is reached; it is locked already, for the next place that becomes free"
    )


def test_a_lock_that_comes_to_nothing_is_given_back():
    """After a minute, whatever happened to the place; once, since it has been locked then."""
    before = busy(container(C1, **EARLY))
    back_s = NOW - 5 + GIVE_BACK_S
    assert reconcile.plan(before, back_s - 1) == []
    assert reconcile.due_s(before, NOW) == back_s
    unlock = m.UnlockContainer(uuid=C1, reason="no place became free for it within 60 s")
    assert reconcile.plan(before, back_s) == [unlock]
    shown = record(C1, QUEUED, lock_count=None)
    free = after(before, unlock, m.ContainerWritten(uuid=C1, write=QueueWrite.UNLOCK, record=shown), now=back_s)
    assert (free.containers[C1].ahead, free.containers[C1].failed_attempts, plan(free, back_s)) == (False, 0, [])


def test_a_lock_whose_return_would_cancel_is_kept():
    """The queue service cancels who is unlocked for the last time."""
    before = busy(container(C1, **{**EARLY, "lock_count": 10}))
    assert reconcile.plan(before, NOW + GIVE_BACK_S) == []


def test_who_is_cancelled_is_unlocked_at_once():
    """As everybody with priority 0."""
    before = busy(container(C1, priority=0, **EARLY))
    assert reconcile.plan(before, NOW) == [m.UnlockContainer(uuid=C1, reason="priority 0")]


def test_a_lock_taken_away_is_no_lock():
    """Somebody unlocked it: it waits as before."""
    before = busy(container(C1, **EARLY))
    seen = m.ContainersObserved(began_s=NOW + 1, records=(record(C1, QUEUED),))
    assert not after(before, seen, now=NOW + 1).containers[C1].ahead


def test_a_lock_without_a_known_outcome_is_looked_after_as_any_other():
    """Should it have succeeded, it is one of ours without a place."""
    locking = after(busy(container(C1)), LOCK)
    failure = m.QueueFailure(text="no answer")
    lost = after(locking, m.ContainerWriteFailed(uuid=C1, write=QueueWrite.LOCK, failure=failure), now=NOW + 1)
    assert (lost.containers[C1].ahead, lost.containers[C1].read_due) == (False, True)


def test_the_wait_of_who_is_locked_ahead_has_an_end_too():
    """MaxWaitTime is about who never had a place, and a lock is none."""
    before = busy(container(C1, **EARLY), settings=replace(ONE_EACH, max_wait_s=50.0))
    assert [type(action) for action in patience.plan(before, NOW)] == [m.CancelContainer]
    fresh = busy(container(C1), settings=replace(ONE_EACH, max_wait_s=50.0))
    assert [type(action) for action in patience.plan(fresh, NOW)] == [m.CancelContainer]


# ------------------------------------------------------------------------------------------------------------ what is measured


def test_a_lock_is_timed_from_its_decision_to_its_answer():
    """Whatever it waited for in between: that is what a place would wait for."""
    before = state(container(C1), instance())
    locked = after(before, m.LockContainer(uuid=C1, instance="i1"))
    answered = m.ContainerWritten(uuid=C1, write=QueueWrite.LOCK, record=record(C1, LOCKED, locked_by_uuid=OURS))
    assert after(locked, answered, now=NOW + 0.25).recent.locks_s == (0.25,)


@pytest.mark.parametrize(
    ("wanted", "changed_s", "times"),
    [(wants(), 900.0, (101.0,)), (wants(supervisor=True), 900.0, ()), (wants(), float("-inf"), ())],
)
def test_a_runner_is_timed_from_its_start_to_the_list_without_it(wanted, changed_s, times):
    """Not supervisors, which wait for others, nor one whose start nobody saw."""
    held = container(C1, RUNNING, requirements=wanted)
    before = state(held, instance(processes={C1: process(C1, changed_s=changed_s)}))
    report = m.ProbeReport(reached=True, booted=True, processes=frozenset())
    assert after(before, m.Probed(name="i1", began_s=NOW + 1, report=report), now=NOW + 1).recent.runs_s == times


def test_only_the_last_times_count():
    """What was slow an hour ago is forgotten after so many that were not."""
    here = busy(container(C1), recent=Recent(locks_s=(0.1,) * 15, runs_s=(2.0,) * 15))
    assert ahead.worth_it(here, NOW)
    quick = replace(here, recent=Recent(locks_s=(*[0.1] * 7, *[0.001] * 8), runs_s=here.recent.runs_s))
    assert not ahead.worth_it(quick, NOW)
