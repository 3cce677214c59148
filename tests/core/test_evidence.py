"""Absence is a proof, emptiness a fact with a time, and an unknown outcome stays unknown until something settles it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import lifecycle
from dispatcher.core import messages as m
from dispatcher.core.model import NEVER, ContainerState, Destroy, DestroyCause, HoldoffKind, IdleBehavior, Phase, ProcessPhase
from dispatcher.core.transitions import legal
from dispatcher.driver import Scope
from dispatcher.runtime import differences
from tests.core.build import C1, NOW, after, container, instance, listed, process, settings, state

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
UNKNOWN = m.CloudFailure(text="no answer in time", outcome_unknown=True)
REMOVE = m.RemoveInstance(name="i1")


def probed(began_s: float, *running: str, name: str = "i1", booted: bool = True) -> m.Probed:
    return m.Probed(name=name, began_s=began_s, report=m.ProbeReport(reached=True, booted=booted, processes=frozenset(running)))


def failed(began_s: float, name: str = "i1", problem=m.ProbeProblem.UNREACHABLE) -> m.Probed:
    return m.Probed(name=name, began_s=began_s, report=m.ProbeReport(reached=False, problem=problem, error="no answer"))


def missed(*names: str, began_s: float = NOW) -> m.InstancesMissed:
    return m.InstancesMissed(began_s=began_s, names=names or ("i1",))


def destroyed(acknowledged_s: float | None) -> Destroy:
    return Destroy(
        cause=DestroyCause.IDLE, reason="idle", since_s=980.0, sent_s=980.0, attempts=1, acknowledged_s=acknowledged_s
    )


# ---------------------------------------------------------------------------------------------------------------- absence


def test_one_list_without_it_removes_an_instance_whose_destroy_was_acknowledged():
    """Proof 1: destroy answered success, and a later complete list is without it."""
    before = state(instance(phase=Phase.SHUTDOWN, destroy=destroyed(991.0)))
    assert "i1" not in after(before, missed(), REMOVE).instances


def test_the_list_has_to_begin_after_the_acknowledgement():
    """One that began before shows the time before."""
    before = state(instance(phase=Phase.SHUTDOWN, destroy=destroyed(995.0)))
    assert legal(after(before, missed(began_s=994.0)), REMOVE, NOW) == "one list without it proves nothing"


def test_the_list_has_to_be_younger_than_the_acknowledgement_by_its_lag():
    """A list of a driver with lag may show the time before the destroy, and lack the instance by mistake."""
    going = instance(phase=Phase.SHUTDOWN, destroy=destroyed(985.0), listed_s=900.0, reached_s=900.0)
    before = state(going, settings=settings(list_lag_s=10.0))
    assert legal(after(before, missed(began_s=994.0)), REMOVE, NOW) == "one list without it proves nothing"
    assert legal(after(before, missed(began_s=996.0)), REMOVE, NOW) is None


def test_without_an_acknowledgement_two_lists_in_a_row_are_needed():
    """Proof 2: the first miss makes a second list due at once, and the second one removes it."""
    once = after(state(instance()), missed(began_s=995.0))
    assert legal(once, REMOVE, NOW) == "one list without it proves nothing"
    assert (once.cloud.list_due_s, once.instances["i1"].probe_due) == (NOW + 2.0, True)
    assert "i1" not in after(once, missed(began_s=998.0), REMOVE).instances


def test_the_second_list_comes_no_sooner_than_the_lag():
    """Two lists within the lag of the driver may show the same old picture."""
    before = state(instance(listed_s=900.0, reached_s=900.0), settings=settings(list_lag_s=10.0))
    once = after(before, missed(began_s=950.0))
    assert once.cloud.list_due_s == NOW + 10.0
    assert legal(after(once, missed(began_s=955.0)), REMOVE, NOW) == "one list without it proves nothing"
    assert legal(after(once, missed(began_s=960.0)), REMOVE, NOW) is None


def crowd(count: int, missing: int, **fields):
    gone = [f"i{number}" for number in range(missing)]
    standing = [instance(f"i{number}", **(fields if f"i{number}" in gone else {})) for number in range(count)]
    return after(state(*standing), missed(*gone, began_s=995.0), missed(*gone, began_s=998.0)), gone


@pytest.mark.parametrize(("count", "missing", "removed"), [(3, 2, True), (3, 3, False), (20, 4, True), (20, 5, False)])
def test_when_a_good_part_would_go_at_once_two_lists_are_not_enough(count, missing, removed):
    """Proof 3: more than two and more than a fifth of those that nobody destroys."""
    seen, _ = crowd(count, missing)
    reason = legal(seen, REMOVE, NOW)
    assert (reason is None) is removed
    assert removed or reason.startswith(f"{missing} of {count} instances would go at once")


def test_then_a_third_list_and_a_failing_probe_have_to_agree():
    """Three lists alone, or two and a failing probe, prove nothing yet."""
    seen, gone = crowd(3, 3)
    third = after(seen, missed(*gone, began_s=999.0))
    assert legal(third, REMOVE, NOW) is not None
    assert legal(after(seen, failed(999.0)), REMOVE, NOW) is not None
    assert legal(after(third, failed(999.5)), REMOVE, NOW) is None


def test_an_instance_without_an_address_needs_no_failing_probe():
    """Nobody can ask a machine that has never had an address: three lists are all that there is to ask."""
    seen, gone = crowd(3, 3, address=None)
    assert legal(after(seen, missed(*gone, began_s=999.0)), REMOVE, NOW) is None


def test_an_empty_complete_list_is_a_list():
    """No instance at all is an answer too: everything is missed, and the rules above decide."""
    assert differences.missed(state(instance(), instance("i2", Phase.CREATING)), []) == ["i1"]


def test_a_partial_list_adds_and_refreshes_and_never_removes():
    """It is not the truth of this term either: nothing may be created on its word."""
    before = state(instance(misses=(995.0,)), cloud={"listed_s": NEVER})
    events = (m.InstancesListed(began_s=998.0, instances=(listed("i2"),)), m.ListEnded(began_s=998.0, complete=False))
    seen = after(before, *events)
    assert set(seen.instances) == {"i1", "i2"}
    assert (seen.cloud.listed_s, seen.instances["i1"].misses) == (NEVER, (995.0,))


def test_what_is_removed_is_lost_with_its_reason():
    """The containers of a lost instance are free at once, marked as lost, and their records asked for."""
    before = state(container(state=RUNNING), instance("i1", Phase.READY, C1))
    seen = after(before, missed(began_s=995.0), missed(began_s=998.0), REMOVE).containers[C1]
    assert (seen.instance, seen.exited_s, seen.read_due) == (None, NOW, True)
    assert seen.lost == "it disappeared from the cloud (it last answered 10 s ago)"


def test_a_lost_connection_makes_a_list_and_a_probe_due_at_once():
    """A loss is known within seconds, whatever the interval of lists.

    Regression: a dead machine was noticed at the next periodic list, a minute later."""
    seen = after(state(instance()), m.ConnectionLost(name="i1"))
    assert (seen.cloud.list_due_s, seen.instances["i1"].probe_due) == (NOW, True)


# ------------------------------------------------------------------------------------------------------ a create, unknown


def unknown_create(**fields):
    values = {"creating": False, "create_unknown": True, "create_changed_s": 990.0, "phase_since_s": 989.0, **fields}
    return instance(phase=Phase.CREATING, listed_s=NEVER, reached_s=NEVER, **values)


def test_a_create_without_an_answer_counts_and_is_asked_for_again():
    """The instance stays; with an idempotent driver the same name is sent again after a while, and that is the answer."""
    before = state(instance(phase=Phase.CREATING), settings=settings(create_is_idempotent=True))
    seen = after(before, m.CreateFailed(name="i1", failure=UNKNOWN))
    assert (seen.instances["i1"].create_unknown, len(seen.instances)) == (True, 1)
    assert lifecycle.plan(seen, NOW + 4.9) == []
    assert lifecycle.plan(seen, NOW + 500.0) == [m.CreateInstance(name="i1", instance_type="t4", secret="")]


def test_a_driver_that_is_not_idempotent_is_never_asked_again():
    """The same name twice would be two instances: only lists settle it."""
    before = state(unknown_create())
    assert legal(before, m.CreateInstance(name="i1", instance_type="t4", secret=""), NOW) == "there is an instance of that name"
    assert "i1" not in after(before, missed(began_s=995.0), missed(began_s=998.0), REMOVE).instances


def test_a_create_that_is_sent_again_is_sent_less_and_less_often():
    """Between two calls lists find the time to settle what no call can."""
    sent = [unknown_create(create_changed_s=at_s) for at_s in (990.0, 995.0, 1005.0, 1025.0)]
    assert [lifecycle.create_again_s(one) - one.create_changed_s for one in sent] == [5.0, 6.0, 16.0, 36.0]


STILL_UNKNOWN = [
    (HoldoffKind.QUOTA, False),
    (HoldoffKind.CAPACITY, False),
    (HoldoffKind.RATE, True),
    (HoldoffKind.DENIED, True),
    (HoldoffKind.ERROR, True),
]


@pytest.mark.parametrize(("kind", "unknown"), STILL_UNKNOWN)
def test_a_refusal_of_the_second_call_says_nothing_about_the_first(kind, unknown):
    """Too fast, no login, an error: the first call may still have made one. No room: it did not."""
    before = state(replace(unknown_create(), creating=True))
    seen = after(before, m.CreateFailed(name="i1", failure=m.CloudFailure(text="no", kind=kind)))
    assert ("i1" in seen.instances) is unknown


def test_a_create_that_was_refused_is_gone_with_its_place():
    """A clear no: the instance never was, and what was bound to it looks for another place."""
    before = state(container(state=LOCKED, instance="i1"), instance(phase=Phase.CREATING))
    refusal = m.CloudFailure(text="no", kind=HoldoffKind.QUOTA, scope=Scope.EVERYTHING)
    seen = after(before, m.CreateFailed(name="i1", failure=refusal))
    assert (len(seen.instances), seen.containers[C1].instance) == (0, None)
    assert [held.until_s > NOW for held in seen.holdoffs.all()] == [True]  # and nothing of it ended its own hold-off


def test_an_instance_that_shows_up_after_all_is_adopted():
    """A list with a name of ours settles it: the create worked."""
    seen = after(state(unknown_create()), m.InstancesListed(began_s=995.0, instances=(listed(),))).instances["i1"]
    assert (seen.phase, seen.create_unknown, seen.id) == (Phase.BOOTING, False, "id-i1")


def test_a_create_that_failed_after_its_acceptance_is_destroyed():
    """The driver's poll, or the list, says so; a hold-off forbids the type for a while."""
    before = state(instance(phase=Phase.BOOTING))
    failure = m.CloudFailure(text="allocation failed", kind=HoldoffKind.CAPACITY, scope=Scope.TYPE)
    seen = after(before, m.CreateFailed(name="i1", failure=failure, accepted=True))
    assert lifecycle.plan(seen, NOW) == [
        m.DestroyInstance(name="i1", cause=DestroyCause.CREATE_FAILED, reason="allocation failed")
    ]
    assert "create type:t4" in seen.holdoffs


# ------------------------------------------------------------------------------------------------------- a start, unknown


def uncertain(**fields):
    return replace(
        instance(), processes={C1: process(C1, ProcessPhase.UNCERTAIN, **{"since_s": 980.0, "changed_s": 980.0, **fields})}
    )


SETTLED = [
    # (what is known, when two more lists begin, is it settled)
    ({"proven_absent": True}, (991.0, 992.0), True),
    ({"proven_absent": False}, (991.0, 992.0), False),  # the runner's kill command has to agree
    ({"proven_absent": True}, (989.0, 992.0), False),  # the first list began before it could no longer appear
    ({"proven_absent": True}, (992.0,), False),
    ({"refused": True}, (981.0,), True),  # the runner said no: one list is enough
]


@pytest.mark.parametrize(("fields", "lists", "settled"), SETTLED)
def test_a_start_without_an_answer_is_settled_by_time_two_lists_and_the_kill_command(fields, lists, settled):
    """Until then the container stays bound to its instance, and starts nowhere else."""
    before = state(container(state=LOCKED), uncertain(**fields))
    seen = after(before, *(probed(began_s) for began_s in lists))
    assert (C1 not in seen.instances["i1"].processes) is settled
    assert (seen.containers[C1].instance is None) is settled


def test_a_start_without_an_answer_that_a_list_shows_did_work():
    """It runs: nothing more to settle."""
    seen = after(state(container(state=LOCKED), uncertain()), probed(995.0, C1))
    assert seen.instances["i1"].processes[C1].phase is ProcessPhase.RUNNING


@pytest.mark.parametrize("outcome", list(m.StartOutcome))
def test_how_a_start_ended_is_what_is_believed(outcome):
    """Started runs, not sent never was, anything else is uncertain."""
    starting = replace(instance(), processes={C1: process(C1, ProcessPhase.STARTING)})
    seen = after(state(container(state=LOCKED), starting), m.StartEnded(name="i1", uuid=C1, outcome=outcome, error="e"))
    held = seen.instances["i1"].processes.get(C1)
    wanted = {m.StartOutcome.STARTED: ProcessPhase.RUNNING, m.StartOutcome.NOT_SENT: None}
    assert (held.phase if held else None) is wanted.get(outcome, ProcessPhase.UNCERTAIN)
    assert seen.containers[C1].instance == "i1"


# -------------------------------------------------------------------------------------------------- may it be destroyed?

EMPTY, BUSY = (), (C1,)
EVIDENCE = [
    # (phase, what runs, fields, cause, may it go)
    (Phase.READY, EMPTY, {}, DestroyCause.IDLE, True),
    (Phase.READY, BUSY, {}, DestroyCause.IDLE, False),
    (Phase.READY, BUSY, {}, DestroyCause.DRAINED, False),
    (Phase.READY, BUSY, {}, DestroyCause.MAKE_ROOM, False),
    (Phase.READY, BUSY, {}, DestroyCause.CREATE_FAILED, False),
    (Phase.READY, BUSY, {}, DestroyCause.BOOT_TIMEOUT, False),
    (Phase.READY, BUSY, {}, DestroyCause.OPERATOR, True),
    (Phase.READY, BUSY, {}, DestroyCause.UNRESPONSIVE, True),
    (Phase.READY, BUSY, {}, DestroyCause.UNKILLABLE, True),
    (Phase.READY, EMPTY, {"start_changed_s": 995.0}, DestroyCause.IDLE, False),  # no list since the last start
    (Phase.READY, EMPTY, {"start_changed_s": 990.0}, DestroyCause.IDLE, False),  # a tie
    (Phase.UNKNOWN, EMPTY, {"processes_listed_s": NEVER}, DestroyCause.DRAINED, False),
    (Phase.UNKNOWN, EMPTY, {"processes_listed_s": NEVER}, DestroyCause.BOOT_TIMEOUT, False),
    (Phase.UNKNOWN, EMPTY, {"processes_listed_s": NEVER, "silent_s": 600.0}, DestroyCause.BOOT_TIMEOUT, True),
    (Phase.UNKNOWN, EMPTY, {}, DestroyCause.BOOT_TIMEOUT, True),
    (Phase.UNKNOWN, BUSY, {"processes_listed_s": NEVER, "silent_s": 600.0}, DestroyCause.BOOT_TIMEOUT, False),
    (Phase.BOOTING, EMPTY, {"processes_listed_s": NEVER}, DestroyCause.BOOT_TIMEOUT, True),
    (Phase.BOOTING, EMPTY, {"processes_listed_s": NEVER}, DestroyCause.CREATE_FAILED, True),
    (Phase.BOOTING, EMPTY, {"processes_listed_s": NEVER}, DestroyCause.DRAINED, True),
    (Phase.BOOTING, EMPTY, {"processes_listed_s": NEVER}, DestroyCause.IDLE, False),
]


@pytest.mark.parametrize(("phase", "running", "fields", "cause", "may"), EVIDENCE)
def test_nothing_is_destroyed_without_the_proof_that_nothing_runs_there(phase, running, fields, cause, may):
    """A list of processes that began after the last start, with exactly four exceptions.

    Regression: ten minutes after a restart a busy instance was destroyed when its boot probe failed."""
    holding = [container(state=RUNNING)] if running else []
    before = state(*holding, instance("i1", phase, *running, **fields))
    assert (legal(before, m.DestroyInstance(name="i1", cause=cause, reason=""), NOW) is None) is may


def test_a_list_of_the_time_in_which_an_earlier_leader_may_still_start_proves_nothing():
    """What it had sent appears later: only a list that began after the quiet time counts."""
    action = m.DestroyInstance(name="i1", cause=DestroyCause.MAKE_ROOM, reason="")
    fresh = {"since_s": 985.0, "quiet_s": 10.0}
    assert legal(state(instance(), leadership=fresh), action, NOW) == "it is not proved that nothing runs there"
    assert legal(state(instance(processes_listed_s=996.0), leadership=fresh), action, NOW) is None


@pytest.mark.parametrize("cause", list(DestroyCause))
def test_a_hold_is_ended_by_an_operators_kill_alone(cause):
    """Whatever we think of it."""
    before = state(instance(idle_behavior=IdleBehavior.HOLD))
    reason = legal(before, m.DestroyInstance(name="i1", cause=cause, reason=""), NOW)
    assert reason == (None if cause is DestroyCause.OPERATOR else "it is on hold")


@pytest.mark.parametrize("cause", [DestroyCause.IDLE, DestroyCause.DRAINED, DestroyCause.MAKE_ROOM])
def test_a_bound_instance_is_not_empty(cause):
    """A container that is locked for it has its place there."""
    before = state(container(state=LOCKED, instance="i1"), instance())
    assert legal(before, m.DestroyInstance(name="i1", cause=cause, reason=""), NOW) == "containers are bound to it"


# ------------------------------------------------------------------------------------------------------ the destroy guard

GUARDED = [
    # (instances, times of earlier guarded destroys, cause, is it held back)
    (3, 4, DestroyCause.UNRESPONSIVE, False),
    (3, 5, DestroyCause.UNRESPONSIVE, True),
    (3, 5, DestroyCause.BOOT_TIMEOUT, True),
    (3, 5, DestroyCause.UNKILLABLE, True),
    (3, 5, DestroyCause.OPERATOR, False),
    (3, 5, DestroyCause.IDLE, False),
    (3, 5, DestroyCause.DRAINED, False),
    (100, 9, DestroyCause.UNRESPONSIVE, False),
    (100, 10, DestroyCause.UNRESPONSIVE, True),
]


@pytest.mark.parametrize(("count", "recent", "cause", "held"), GUARDED)
def test_the_guard_stops_us_from_judging_a_good_part_of_the_fleet(count, recent, cause, held):
    """More than five, or a tenth, within ten minutes: it is rather us."""
    fleet = [instance(f"i{number}") for number in range(count)]
    before = state(*fleet, cloud={"guarded_destroys": (900.0,) * recent})
    reason = legal(before, m.DestroyInstance(name="i1", cause=cause, reason=""), NOW)
    assert (reason is not None and reason.startswith("the destroy guard")) is held


def test_the_guard_forgets_after_ten_minutes_and_counts_what_begins():
    """Each guarded destroy that begins is counted once, however often it is sent."""
    before = state(instance(), cloud={"guarded_destroys": (399.0,) * 9})
    again = m.DestroyInstance(name="i1", cause=DestroyCause.UNRESPONSIVE, reason="")
    once = after(before, again)
    assert once.cloud.guarded_destroys == (NOW,)
    twice = after(once, m.DestroyAccepted(name="i1"), again)
    assert (twice.cloud.guarded_destroys, twice.instances["i1"].destroy.attempts) == ((NOW,), 2)


def test_what_the_guard_holds_back_is_said():
    """An alarm names the instances."""
    bad = [instance(f"i{number}", silent_s=700.0) for number in range(3)]
    alarm = lifecycle.alarm(state(*bad, cloud={"guarded_destroys": (900.0,) * 5}), NOW)
    assert alarm == "the destroy guard keeps 3 instances alive that look bad: i0, i1, i2"
    assert lifecycle.alarm(state(*bad), NOW) == ""


# ------------------------------------------------------------------------------------------------------- the silence clock

SILENCE = [
    # (who answered last and when, since when somebody does, problem, silence after a probe that fails)
    ("i2", 995.0, 100.0, m.ProbeProblem.UNREACHABLE, 10.0),
    ("i2", 995.0, 100.0, m.ProbeProblem.COMMAND, 10.0),
    ("i2", 995.0, 999.5, m.ProbeProblem.UNREACHABLE, 0.5),  # they answer again since the probe began: it says nothing
    ("i2", 900.0, 100.0, m.ProbeProblem.UNREACHABLE, 0.5),  # nobody answers: a twentieth, while cloud and queue do
    ("i2", 900.0, 100.0, m.ProbeProblem.LOGIN, 0.0),
    ("i1", 995.0, 100.0, m.ProbeProblem.UNREACHABLE, 0.5),  # it proves nothing by itself
]


@pytest.mark.parametrize(("who", "at_s", "since_s", "problem", "silent_s"), SILENCE)
def test_silence_counts_while_others_answer(who, at_s, since_s, problem, silent_s):
    """If our own network, key or sudo broke, nobody is unresponsive."""
    cloud = {"probe_answered_by": who, "probe_answered_s": at_s, "answers_since_s": since_s}
    before = state(instance(), instance("i2"), cloud=cloud)
    assert after(before, failed(999.0, problem=problem)).instances["i1"].silent_s == pytest.approx(silent_s)


def test_the_silence_of_the_only_instance_weighs_a_third():
    """Nobody else could answer: it is given up too, only later."""
    before = state(instance(), cloud={"probe_answered_by": "i1", "probe_answered_s": 900.0})
    assert after(before, failed(999.0)).instances["i1"].silent_s == pytest.approx(10.0 / 3)


def test_an_answer_ends_the_silence():
    """From the beginning again."""
    assert after(state(instance(silent_s=500.0, probe_failures=9)), probed(999.0)).instances["i1"].silent_s == 0.0


def test_an_instance_that_lists_its_processes_is_not_silent_whatever_its_boot_probe_says():
    """Degraded, but speaking: what runs there is known.

    Regression: a failing boot probe alone condemned an instance that ran containers."""
    cloud = {"probe_answered_by": "i2", "probe_answered_s": 995.0, "answers_since_s": 1.0}
    before = state(instance("i1", Phase.UNKNOWN), instance("i2"), cloud=cloud)
    seen = after(before, probed(999.0, booted=False)).instances["i1"]
    assert (seen.phase, seen.silent_s) == (Phase.UNKNOWN, 0.0)


def test_an_instance_that_answers_and_cannot_list_its_processes_falls_silent():
    """Cannot fork, no runner: for our purpose it does not answer."""
    cloud = {"probe_answered_by": "i2", "probe_answered_s": 995.0, "answers_since_s": 1.0}
    report = m.ProbeReport(reached=True, problem=m.ProbeProblem.COMMAND, error="cannot fork")
    seen = after(state(instance(), instance("i2"), cloud=cloud), m.Probed(name="i1", began_s=999.0, report=report))
    assert seen.instances["i1"].silent_s == 10.0
