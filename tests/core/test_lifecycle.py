"""Instances: boot time-outs, idle, drain, destroy again, tags that differ, creates to be asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import lifecycle
from dispatcher.core import messages as m
from dispatcher.core.model import NEVER, ContainerState, Destroy, DestroyCause, IdleBehavior, OperatorNote, Phase
from dispatcher.core.transitions import IllegalTransition
from dispatcher.core.transitions.cloud import own_tags
from dispatcher.core.transitions.table import EDGES, demand, move
from dispatcher.driver import Presence
from tests.core.build import C1, NOW, after, container, instance, kill, listed, process, settings, state

RUNNING, LOCKED = ContainerState.RUNNING, ContainerState.LOCKED


def causes(before, now=NOW) -> list[str]:
    """Why something is destroyed now."""
    return [action.cause.value for action in lifecycle.plan(before, now) if isinstance(action, m.DestroyInstance)]


# ------------------------------------------------------------------------------------------------------------------- boot

BOOT = [
    # (phase, fields, is it given up); the time-out of 600 s ends at 700
    (Phase.BOOTING, {"phase_since_s": 100.0, "probed_s": 701.0}, True),
    (Phase.BOOTING, {"phase_since_s": 100.0, "probed_s": 699.0}, False),  # one probe after the deadline
    (Phase.BOOTING, {"phase_since_s": 100.0, "probed_s": 699.0, "address": None}, True),  # nobody can ask it
    (Phase.BOOTING, {"phase_since_s": 401.0}, False),
    (Phase.UNKNOWN, {"phase_since_s": 100.0, "probed_s": 701.0}, True),  # it lists that nothing runs there
    (Phase.UNKNOWN, {"phase_since_s": 100.0, "probed_s": 701.0, "processes_listed_s": -1.0}, False),
    (Phase.UNKNOWN, {"phase_since_s": 100.0, "probed_s": 701.0, "processes_listed_s": -1.0, "silent_s": 600.0}, True),
    (Phase.READY, {"phase_since_s": 100.0}, False),
]


@pytest.mark.parametrize(("phase", "fields", "given_up"), BOOT)
def test_an_instance_that_does_not_come_up_is_given_up(phase, fields, given_up):
    """After TimeoutBooting and one more probe; one that was found running only when it is proved empty or was silent."""
    assert (causes(state(instance(phase=phase, **fields))) == ["boot timeout"]) is given_up


def test_a_busy_instance_that_was_found_running_is_never_given_up_by_its_boot_probe():
    """Whatever its age and whatever the boot probe says.

    Regression: ten minutes after a restart it was destroyed although its containers ran."""
    before = state(container(state=RUNNING), instance("i1", Phase.UNKNOWN, C1, phase_since_s=-9999.0, silent_s=0.0))
    assert causes(before) == []


def test_the_boot_probe_makes_it_ready():
    """Booted, the runner in place, its processes listed: from now on idle or running."""
    report = m.ProbeReport(reached=True, booted=True, processes=frozenset())
    seen = after(state(instance(phase=Phase.BOOTING)), m.Probed(name="i1", began_s=999.0, report=report)).instances["i1"]
    assert (seen.phase, seen.ready_s, seen.busy_s) == (Phase.READY, NOW, NOW)


def test_a_boot_probe_that_fails_keeps_what_the_list_showed():
    """The processes of a degraded machine are known nevertheless."""
    report = m.ProbeReport(reached=True, processes=frozenset({C1}), problem=m.ProbeProblem.COMMAND, error="degraded")
    before = state(container(state=RUNNING), instance(phase=Phase.UNKNOWN))
    seen = after(before, m.Probed(name="i1", began_s=999.0, report=report))
    assert (seen.instances["i1"].phase, seen.containers[C1].instance) == (Phase.UNKNOWN, "i1")


# ------------------------------------------------------------------------------------------------------------ idle, drain

IDLE = [
    ({"busy_s": 939.0}, True),  # TimeoutIdle is 60 s
    ({"busy_s": 941.0}, False),
    ({"busy_s": 0.0, "idle_behavior": IdleBehavior.HOLD}, False),
    ({"busy_s": 0.0, "processes_listed_s": NEVER}, False),
]


@pytest.mark.parametrize(("fields", "goes"), IDLE)
def test_an_idle_instance_goes_after_its_time(fields, goes):
    """The clock runs since it last had work, or became ready.

    Regression: one whose boot took longer than TimeoutIdle was destroyed as soon as it was up."""
    assert (causes(state(instance(**fields))) == ["idle"]) is goes


@pytest.mark.parametrize("state_of", [LOCKED, RUNNING])
def test_an_instance_to_which_a_container_is_bound_is_not_idle(state_of):
    """Locked for it, or running there."""
    holding = instance("i1", Phase.READY, *([C1] if state_of is RUNNING else []), busy_s=0.0)
    assert causes(state(container(state=state_of, instance="i1"), holding)) == []


def test_a_drained_instance_goes_when_it_is_empty_with_who_and_why():
    """The operator's reason stands in the destroy."""
    drained = {"idle_behavior": IdleBehavior.DRAIN, "operator": OperatorNote(actor="ada", reason="kernel")}
    assert causes(state(container(state=RUNNING), instance("i1", Phase.READY, C1, **drained))) == []
    (action,) = lifecycle.plan(state(instance(tags={"ArvadosIdleBehavior": "drain"}, **drained)), NOW)
    assert (action.cause, action.reason) == (DestroyCause.DRAINED, "drained by an operator: kernel")


@pytest.mark.parametrize("fields", [{"condemned": "its runner is broken"}, {"failure": "the cloud lists it as failed"}])
def test_what_we_condemned_goes_when_it_is_empty(fields):
    """At once when empty, never while something runs there, and a hold wins over it."""
    assert causes(state(instance(**fields))) == ["drained"]
    assert causes(state(container(state=RUNNING), instance("i1", Phase.READY, C1, **fields))) == []
    assert causes(state(instance(idle_behavior=IdleBehavior.HOLD, **fields))) == []


STAYS = "a run lock stays locked although its runner is gone"
CONDITIONS = [
    (m.ProbeReport(reached=True, processes=frozenset(), broken=True), None, "its runner reports that it is broken"),
    (m.ProbeReport(reached=True, processes=frozenset(), stale=frozenset({C1})), None, ""),
    (m.ProbeReport(reached=True, processes=frozenset(), stale=frozenset({C1})), 990.0, STAYS),
    (m.ProbeReport(reached=True, processes=frozenset(), notice="taken back"), None, "its end is announced: taken back"),
    (m.ProbeReport(reached=True, processes=frozenset()), 990.0, ""),
]


@pytest.mark.parametrize(("report", "stale_since_s", "condemned"), CONDITIONS)
def test_a_broken_runner_or_a_lock_that_stays_condemns(report, stale_since_s, condemned):
    """TimeoutStaleRunLock is 5 s; it never goes into the operator's tag."""
    before = state(instance(stale_since_s=stale_since_s))
    assert after(before, m.Probed(name="i1", began_s=999.0, report=report)).instances["i1"].condemned == condemned


# ----------------------------------------------------------------------------------------------- unresponsive, unkillable


@pytest.mark.parametrize(("silent_s", "gone"), [(599.0, False), (600.0, True)])
def test_an_instance_that_is_silent_for_timeout_probe_is_given_up(silent_s, gone):
    """Also with containers on it: they are lost anyway.

    Regression: a machine that took a command and never answered was never given up."""
    before = state(container(state=RUNNING), instance("i1", Phase.READY, C1, silent_s=silent_s))
    asked = after(before, m.FetchOutput(name="i1", uuid=C1), m.OutputFetched(name="i1", uuid=C1, began_s=NOW))
    assert (causes(asked) == ["unresponsive"]) is gone


def test_an_instance_goes_when_all_that_is_left_on_it_cannot_be_killed():
    """As long as something else runs there it stays."""
    stuck = process(C1, kill=kill(since_s=800.0, kill_since_s=970.0))
    other = "zzzzz-dz642-000000000000009"
    before = state(container(state=ContainerState.CANCELLED), replace(instance(), processes={C1: stuck}))
    assert causes(before) == ["unkillable"]
    both = replace(instance(), processes={C1: stuck, other: process(other)})
    assert causes(state(container(state=ContainerState.CANCELLED), container(other, state=RUNNING), both)) == []


# ----------------------------------------------------------------------------------------------------------- destroy again


def going(**fields) -> Destroy:
    values = {"cause": DestroyCause.IDLE, "reason": "idle", "since_s": 900.0, "sent_s": 900.0, "attempts": 1}
    return Destroy(**{**values, **fields})


AGAIN = [
    ({}, {}, True),  # TimeoutShutdown is 10 s
    ({"sent_s": 991.0}, {}, False),
    ({"in_flight": True}, {}, False),
    ({"acknowledged_s": 901.0}, {}, True),
    ({"acknowledged_s": 901.0}, {"deleting": True}, False),  # the cloud says itself that it is on it
    ({}, {"deleting": True}, True),
    ({"sent_s": 999.0}, {"kill_requested": "ada"}, True),
]


@pytest.mark.parametrize(("destroy", "fields", "again"), AGAIN)
def test_a_destroy_is_sent_again_while_the_instance_is_still_listed(destroy, fields, again):
    """Ten seconds after the last one, unless the cloud is deleting it."""
    before = state(instance(phase=Phase.SHUTDOWN, destroy=going(**destroy), **fields))
    assert (causes(before) == ["idle"]) is again


def test_an_instance_that_the_cloud_deletes_already_is_found_going():
    """After a restart: it is listed as deleting, so it takes no work and is not judged again."""
    seen = after(state(), m.InstancesListed(began_s=NOW, instances=(listed(state=Presence.DELETING),))).instances["i1"]
    assert (seen.phase, seen.destroy.acknowledged_s) == (Phase.SHUTDOWN, NOW)


# ------------------------------------------------------------------------------------------------------------------- tags

TAGS = [
    (IdleBehavior.DRAIN, "run", {}, True),
    (IdleBehavior.RUN, "drain", {}, True),
    (IdleBehavior.HOLD, "hold", {}, False),
    (IdleBehavior.HOLD, "run", {"saving_tags": True}, False),
    (IdleBehavior.HOLD, "run", {"tags_failed": 1, "tags_changed_s": 971.0}, False),  # 30 s after a failure
    (IdleBehavior.HOLD, "run", {"tags_failed": 1, "tags_changed_s": 969.0}, True),
]


@pytest.mark.parametrize(("chosen", "in_cloud", "fields", "saves"), TAGS)
def test_the_operators_choice_is_saved_while_the_listed_tag_differs(chosen, in_cloud, fields, saves):
    """So it survives a restart."""
    held = instance(idle_behavior=chosen, tags={"ArvadosIdleBehavior": in_cloud}, **fields)
    before = state(container(state=RUNNING), replace(held, processes={C1: process(C1)}))
    assert (lifecycle.plan(before, NOW) == [m.SaveTags(name="i1")]) is saves


def test_the_choice_is_read_from_the_tag_of_what_is_found():
    """A restart: hold and drain are as they were, and an unknown word means run."""
    words = {"i1": "hold", "i2": "drain", "i3": "run", "i4": "sleep"}
    found = tuple(
        listed(name, tags={"ArvadosInstanceType": "t4", "ArvadosIdleBehavior": word}) for name, word in words.items()
    )
    seen = after(state(), m.InstancesListed(began_s=NOW, instances=found))
    chosen = {name: held.idle_behavior.value for name, held in seen.instances.items()}
    assert chosen == {"i1": "hold", "i2": "drain", "i3": "run", "i4": "run"}


def test_a_found_instance_of_a_removed_type_takes_no_work():
    """It is drained by us, not by the operator's tag, and its end is awaited.

    Regression: a running container of a removed type brought the process down at each start."""
    tags = {"ArvadosInstanceType": "gone", "ArvadosIdleBehavior": "run"}
    found = m.InstancesListed(began_s=NOW, instances=(listed(tags=tags),))
    seen = after(state(container(state=RUNNING)), found).instances["i1"]
    assert (seen.condemned, seen.idle_behavior) == ("its instance type is no longer configured", IdleBehavior.RUN)


def test_a_reload_retires_instances_of_a_type_that_is_gone_and_takes_them_back():
    """What was condemned for something else stays so."""
    before = state(instance("i1"), instance("i2", condemned="broken"))
    without = after(before, m.SettingsLoaded(settings=settings(instance_types={})))
    assert [held.condemned for held in without.instances.all()] == ["its instance type is no longer configured", "broken"]
    back = after(without, m.SettingsLoaded(settings=settings()))
    assert [held.condemned for held in back.instances.all()] == ["", "broken"]


def test_who_releases_a_hold_finds_the_instance_afterwards():
    """The idle clock begins at the release."""
    held = state(instance(idle_behavior=IdleBehavior.HOLD, busy_s=0.0, tags={"ArvadosIdleBehavior": "hold"}))
    released = after(held, m.IdleBehaviorSet(name="i1", behavior=IdleBehavior.RUN))
    assert causes(released) == []
    assert released.instances["i1"].busy_s == NOW


# ------------------------------------------------------------------------------------------------------------------ asking


def test_an_accepted_create_is_asked_for_every_two_seconds_or_as_the_cloud_wishes():
    """As long as the driver has a handle for it."""
    before = state(instance(phase=Phase.BOOTING, operation="op", operation_polled_s=998.0))
    wished = state(instance(phase=Phase.BOOTING, operation="op", operation_polled_s=998.0, poll_after_s=10.0))
    assert lifecycle.plan(wished, NOW) == []
    assert lifecycle.due_s(wished, NOW) <= NOW + 8.0
    assert lifecycle.plan(wished, NOW + 8.0) == [m.PollCreate(name="i1")]
    assert lifecycle.plan(before, NOW) == [m.PollCreate(name="i1")]
    assert lifecycle.plan(before, NOW - 0.1) == []
    assert lifecycle.plan(after(before, m.PollCreate(name="i1")), NOW + 9.0) == []


@pytest.mark.parametrize("edge", EDGES)
def test_the_table_is_the_law(edge):
    """Each edge is legal, and every other one raises."""
    demand(edge.start, edge.end, "i1")


def test_what_is_not_in_the_table_raises_and_changes_nothing():
    """READY never becomes BOOTING again, and nothing comes back from SHUTDOWN."""
    legal = {(edge.start, edge.end) for edge in EDGES}
    for start in Phase:
        for end in Phase:
            if (start, end) not in legal and start is not end:
                with pytest.raises(IllegalTransition):
                    move(instance(phase=start), end, NOW)


# ------------------------------------------------------------------------------------------- who is left alone, and how long

PAST = OperatorNote(actor="ada", reason="a look", until="then", until_s=NOW - 1.0)
LOOKED_AT = instance("i1", Phase.READY, C1, operator=PAST, idle_behavior=IdleBehavior.HOLD)
RESTLESS = [
    (instance(phase=Phase.READY, misses=(NOW - 5.0, NOW - 1.0)), m.RemoveInstance),
    (
        instance(phase=Phase.CREATING, creating=False, create_unknown=True, create_changed_s=NOW - 60, phase_since_s=NOW - 61),
        m.CreateInstance,
    ),
    (instance("i1", Phase.READY, C1, kill_requested="because"), m.DestroyInstance),
    (instance("i1", Phase.UNKNOWN, C1, probe_failures=1, probe_error="no"), m.CondemnInstance),
    (replace(LOOKED_AT, tags=own_tags(LOOKED_AT, settings())), m.ExpireIdleBehavior),
]


@pytest.mark.parametrize(("one", "wanted"), RESTLESS)
def test_who_needs_something_by_itself_is_never_left_alone(one, wanted):
    """What is kept with the parts of the map only says who can be passed over."""
    before = state(one, settings=settings(create_is_idempotent=True))
    assert wanted in {type(action) for action in lifecycle._needs(before, one, NOW)}
    looked_at = [found for part in before.instances.parts(lifecycle._part, before.settings) for found in part.due(NOW)]
    assert looked_at == [one]


def test_who_runs_something_is_left_alone_and_the_idle_until_their_time():
    """A fleet at work costs nothing; the first who becomes due is known."""
    busy = [instance(f"i{number}", Phase.READY, C1[:-1] + str(number)) for number in range(5)]
    idle = [instance("i7", busy_s=NOW - 20.0), instance("i8", busy_s=NOW - 10.0)]
    fleet = state(*busy, *idle)
    assert [found for part in fleet.instances.parts(lifecycle._part, fleet.settings) for found in part.due(NOW)] == []
    assert lifecycle.due_s(state(*busy), NOW) == NOW + 60.0
    assert lifecycle.due_s(fleet, NOW) == idle[0].busy_s + fleet.settings.timeout_idle_s
    assert causes(fleet, NOW + 45.0) == ["idle"]
