"""Containers onto instances: who is served first, where they go, what is created, locked, started and made room for."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from dispatcher.core import limits, schedule
from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, DestroyCause, Holdoff, HoldoffKind, IdleBehavior, Phase
from tests.core.build import C1, C2, C3, GIB, NOW, after, container, instance, kill, offer, process, settings, state, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
SIZES = settings(offer("t1", 1, 1.0), offer("t2", 2, 2.0), offer("t4", 4, 4.0), offer("t8", 8, 8.0), maximum_price_factor=2.0)


def plan(before, now=NOW):
    """What a pass decides; names are new1, new2, …"""
    numbers = count(1)
    return schedule.plan(before, now, lambda: (f"new{next(numbers)}", "secret"))


def create(number: int, type_name: str = "t4") -> m.CreateInstance:
    return m.CreateInstance(name=f"new{number}", instance_type=type_name, secret="secret")


def lock(uuid: str, name: str = "i1") -> m.LockContainer:
    return m.LockContainer(uuid=uuid, instance=name)


def start(uuid: str, name: str = "i1") -> m.StartContainer:
    return m.StartContainer(uuid=uuid, instance=name)


def room(name: str, reason: str) -> m.DestroyInstance:
    return m.DestroyInstance(name=name, cause=DestroyCause.MAKE_ROOM, reason=f"to make room: {reason}")


def many(number: int, **more):
    return [container(f"zzzzz-dz642-{index:015d}", **more) for index in range(1, number + 1)]


def uuid(number: int) -> str:
    return f"zzzzz-dz642-{number:015d}"


def wait(before, which: str = C1) -> str:
    return schedule.decide(before, NOW, everyone=True).waits[which]


# ---------------------------------------------------------------------------------------------------- lock late, and bind


def test_a_queued_container_with_no_instance_asks_for_one_and_is_not_locked():
    """Locking never waits for quota, capacity or a boot that has not begun."""
    assert plan(state(container())) == [create(1)]


@pytest.mark.parametrize("phase", [Phase.BOOTING, Phase.READY])
def test_it_is_locked_and_bound_as_soon_as_an_instance_for_it_exists(phase):
    """Accepted by the cloud is enough: the lock comes while it boots."""
    assert plan(state(container(), instance(phase=phase))) == [lock(C1)]


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.UNKNOWN])
def test_an_instance_on_its_way_is_waited_for_without_a_lock(phase):
    """It counts as room, so that nothing else is created; nothing is started early."""
    assert plan(state(container(), instance(phase=phase, appeared_s=990.0))) == []


def test_a_locked_container_starts_on_the_ready_instance_to_which_it_is_bound():
    """Its place is kept from the lock to the start."""
    assert plan(state(container(state=LOCKED, instance="i1"), instance())) == [start(C1)]


def test_a_locked_container_waits_for_the_boot_of_its_instance():
    """Bound and booting: nothing to do, and nothing more is asked for."""
    before = state(container(state=LOCKED, instance="i1"), instance(phase=Phase.BOOTING))
    assert plan(before) == []
    assert wait(before) == "i1 boots"


def test_a_container_locked_by_us_on_no_instance_is_placed_before_queued_ones():
    """It keeps its lock: after a boot that failed, a lost instance or a restart."""
    before = state(container(C1, priority=9), container(C2, state=LOCKED), instance(), settings=settings(offer("t4", 1)))
    assert plan(before) == [start(C2), create(1)]


def test_it_is_bound_to_an_instance_that_boots():
    """A place without a second lock."""
    before = state(container(state=LOCKED), instance(phase=Phase.BOOTING))
    assert plan(before) == [m.BindContainer(uuid=C1, instance="i1")]


NO_WORK = [
    {"idle_behavior": IdleBehavior.HOLD},
    {"idle_behavior": IdleBehavior.DRAIN},
    {"condemned": "broken"},
    {"kill_requested": "ada"},
    {"failure": "no"},
    {"deleting": True},
    {"probe_failures": 2},
]


@pytest.mark.parametrize("fields", NO_WORK)
def test_an_instance_that_takes_no_work_gets_none(fields):
    """Hold, drain, condemned, killed, failed, going or silent: another one is asked for."""
    assert plan(state(container(), instance(**fields))) == [create(1)]


@pytest.mark.parametrize("fields", NO_WORK)
def test_a_container_that_waits_for_such_an_instance_is_released(fields):
    """It keeps its lock and finds another place in the next pass."""
    before = state(container(state=LOCKED, instance="i1"), instance(**fields))
    assert plan(before) == [m.ReleaseContainer(uuid=C1)]


def test_an_instance_whose_runner_had_to_be_killed_takes_no_new_work():
    """From the KILL on."""
    stubborn = replace(instance(), processes={C2: process(C2, kill=kill(since_s=800.0, heard=True))})
    before = state(container(), container(C2, state=RUNNING), stubborn)
    killed = after(before, m.KillProcess(name="i1", uuid=C2, signal=9, reason="enough"))
    assert plan(killed) == [create(1)]


def test_an_instance_with_a_process_that_the_queue_does_not_know_gets_nothing():
    """Nobody knows how much room it takes."""
    assert plan(state(container(), instance("i1", Phase.READY, C2))) == [create(1)]


UNTIL = [
    (Phase.UNKNOWN, {"appeared_s": 969.0}),
    (Phase.CREATING, {"creating": False, "create_unknown": True, "create_changed_s": 984.0}),
]


@pytest.mark.parametrize(("phase", "fields"), UNTIL)
def test_an_instance_that_leaves_us_in_the_dark_counts_as_room_for_a_while_only(phase, fields):
    """Found at start: 30 s. A create without an answer: 15 s."""
    assert plan(state(container(), instance(phase=phase, **fields))) == [create(1)]


# ------------------------------------------------------------------------------------------------------- order and packing


def test_those_of_higher_priority_come_first_then_those_who_were_here_first():
    """The one idle instance goes to the highest priority; the rest ask for more."""
    one = settings(offer("t4", 1))
    before = state(container(C1, priority=1), container(C2, priority=3), container(C3, priority=2), instance(), settings=one)
    assert plan(before) == [lock(C2), create(1), create(2)]
    before = state(replace(container(C1), first_seen_s=950.0), container(C2), instance(), settings=one)
    assert plan(before)[0] == lock(C2)


def test_four_small_containers_need_two_instances_of_two():
    """More containers pack onto an instance that is only just asked for."""
    assert plan(state(*many(4), settings=settings(offer("t2", 2)))) == [create(1, "t2"), create(2, "t2")]


def test_the_cheapest_type_is_asked_for():
    """One VCPU, one VCPU: price decides, whatever else is offered."""
    assert plan(state(container(), settings=SIZES)) == [create(1, "t1")]


def test_an_idle_instance_is_filled_before_anything_is_asked_for():
    """Four of one VCPU on an idle one of four; the fifth asks for its own."""
    before = state(*many(5), instance(), settings=settings(offer("t4")))
    assert plan(before) == [*(lock(uuid(number)) for number in range(1, 5)), create(1)]


def test_an_idle_instance_beyond_the_price_factor_is_not_used():
    """Too big is too dear: t8 costs eight times the cheapest."""
    before = state(container(), instance(type="t8"), settings=SIZES)
    assert plan(before) == [create(1, "t1")]


def test_spare_room_of_a_busy_instance_is_used():
    """What is left beside a running container counts."""
    before = state(container(C1), container(C2, state=RUNNING, requirements=wants(3)), instance("i1", Phase.READY, C2))
    assert plan(before) == [lock(C1)]


def test_the_fullest_instance_is_filled_first():
    """So that the others become idle."""
    busy = instance("i2", Phase.READY, C2)
    assert plan(state(container(C1), container(C2, state=RUNNING), instance("i1"), busy)) == [lock(C1, "i2")]


def test_a_ready_instance_beats_one_that_boots_and_holds_more():
    """Work never waits minutes beside idle hardware.

    Regression: a booting instance with one assigned container was preferred to an idle one."""
    booting = instance("i1", Phase.BOOTING)
    before = state(container(C1), container(C2, state=LOCKED, instance="i1"), booting, instance("i2"))
    assert plan(before) == [m.ReleaseContainer(uuid=C2), lock(C1, "i2")]  # who waits for the boot moves as well


def test_who_gave_up_a_place_to_move_is_served_before_others_who_could_move_as_well():
    """Room on a ready instance for two of four who wait for a boot: two move, and the others stay where they are.

    Regression: the others saw the same room in the next pass and gave up their places too, over and over, and nobody moved."""
    before = state(
        *many(4, state=LOCKED, instance="i1", requirements=wants(2)),
        instance("i1", Phase.BOOTING, type="t8"), instance("i2", type="t4"),
        settings=SIZES,
    )  # fmt: skip
    gone = plan(before)
    assert [type(action) for action in gone] == [m.ReleaseContainer] * 2
    assert plan(after(before, *gone)) == [start(action.uuid, "i2") for action in gone]


RESOURCES = [
    # (what it asks for, does it fit beside a container of 2 VCPUs, 8 GiB and 50 GiB on an instance of 4, 16 GiB, 100 GiB)
    (wants(2), True),
    (wants(3), False),
    (wants(1, ram_bytes=7 * GIB), True),
    (wants(1, ram_bytes=9 * GIB), False),
    (wants(1, tmp_bytes=50 * GIB), True),
    (wants(1, tmp_bytes=51 * GIB), False),
    (wants(0), True),
]


@pytest.mark.parametrize(("wanted", "fits"), RESOURCES)
def test_every_resource_has_to_fit(wanted, fits):
    """VCPUs, RAM and scratch."""
    half = wants(2, ram_bytes=8 * GIB * 95 // 100 - 220 * (1 << 20), tmp_bytes=50 * GIB)
    other = container(C2, state=RUNNING, requirements=half)
    before = state(container(C1, requirements=wanted), other, instance("i1", Phase.READY, C2))
    assert (plan(before) == [lock(C1)]) is fits


def test_containers_without_a_vcpu_share_one():
    """They need one free VCPU between them, and leave it to them alone."""
    shared = state(
        *many(3, requirements=wants(0)), container(C3, state=RUNNING, requirements=wants(3)), instance("i1", Phase.READY, C3)
    )
    assert [action for action in plan(shared) if isinstance(action, m.CreateInstance)] == []


def test_a_lower_priority_of_another_type_does_not_wait_for_a_type_without_capacity():
    """Only what the cloud refuses waits; it says for what."""
    chosen = settings(offer("t4"), offer("g4", 4, 9.0, ram_bytes=64 * GIB))
    held = {"create type:g4": Holdoff(call="create", key="type:g4", kind=HoldoffKind.CAPACITY, until_s=NOW + 9, since_s=NOW,
                                      strikes=1, reason="sold out")}  # fmt: skip
    big = container(C1, priority=9, requirements=wants(1, ram_bytes=40 * GIB))
    before = state(big, container(C2), settings=chosen)
    before = replace(before, holdoffs=before.holdoffs.update(held.items()))
    assert plan(before) == [create(1, "t4")]
    assert wait(before) == "no g4: capacity: sold out"


# ----------------------------------------------------------------------------------------------------------------- limits

LIMITS = [
    # (settings, how many instances are asked for by five containers of four VCPUs)
    ({"max_instances": 2}, 2),
    ({"max_instances": 0}, 5),
    ({"max_concurrent_creates": 1}, 1),
    ({"max_concurrent_creates": 3}, 3),
    ({"max_concurrent_creates": 0}, 5),
    ({"initial_quota_estimate": 3}, 3),
    ({"max_cloud_ops_per_second": 1.0}, 1),
]


@pytest.mark.parametrize(("changes", "asked"), LIMITS)
def test_no_more_is_asked_for_than_the_limits_allow(changes, asked):
    """MaxInstances, MaxConcurrentInstanceCreateOps, InitialQuotaEstimate and the rate of calls."""
    before = state(*many(5, requirements=wants(4)), settings=settings(**changes))
    assert plan(before) == [create(number) for number in range(1, asked + 1)]


def test_creates_on_their_way_count():
    """An instance exists here before the cloud knows it."""
    creating = instance(phase=Phase.CREATING)
    before = state(*many(3, requirements=wants(4)), creating, settings=settings(max_instances=2))
    assert plan(before) == [create(1)]


@pytest.mark.parametrize(("most", "locked"), [(0, 4), (1, 1), (3, 3)])
def test_no_more_containers_run_on_an_instance_than_allowed(most, locked):
    """MaxRunningContainersPerInstance, also for an instance that is only just asked for."""
    before = state(*many(4), instance(), settings=settings(max_running_containers_per_instance=most))
    assert plan(before)[:locked] == [lock(uuid(number)) for number in range(1, locked + 1)]
    assert all(isinstance(action, m.CreateInstance) for action in plan(before)[locked:])


SUPERVISORS = [
    # (SupervisorFraction, MaxInstances, how many supervisors may run)
    (0.5, 8, 4),
    (0.5, 1, 1),
    (0.3, 8, 2),
    (0.01, 8, 1),
    (1.0, 4, 3),  # never the last slot
    (0.0, 8, None),
    (0.5, 0, None),
]


@pytest.mark.parametrize(("fraction", "most", "limit"), SUPERVISORS)
def test_supervisors_never_take_everything(fraction, most, limit):
    """Their fraction of the cap, at least one, never the last slot."""
    assert limits.supervisor_limit(state(settings=settings(supervisor_fraction=fraction, max_instances=most))) == limit


def test_a_supervisor_beyond_the_limit_waits_and_others_pass_it():
    """It says why, and keeps nobody waiting."""
    supervisors = many(3, requirements=wants(1, supervisor=True), priority=9)
    before = state(*supervisors, container(C1 + "0"), instance(), settings=settings(max_instances=4))
    assert plan(before) == [lock(uuid(1)), lock(uuid(2)), lock(C1 + "0")]
    assert wait(before, uuid(3)) == "as many supervisors run as SupervisorFraction allows"


def test_the_window_of_locks_is_kept():
    """503 made it narrow: the rest is locked later, and nothing else is created for them."""
    before = state(*many(4), instance(), queue={"lock_window": 3, "locks_in_flight": 0, "overloaded_s": NOW - 1})
    assert plan(before) == [lock(uuid(number)) for number in range(1, 4)]
    assert plan(state(*many(4), instance(), queue={"locks_held_until_s": NOW + 1})) == []


# -------------------------------------------------------------------------------------------------------------- make room


def test_at_a_limit_instances_without_use_give_way():
    """MaxInstances is reached and the idle one is too small: it goes, and nothing is unlocked."""
    chosen = settings(offer("t1", 1), offer("t4"), max_instances=1)
    before = state(container(requirements=wants(4)), instance(type="t1"), settings=chosen)
    assert plan(before) == [room("i1", "MaxInstances (1) is reached")]


@pytest.mark.parametrize("fields", [{"idle_behavior": IdleBehavior.HOLD}, {"processes_listed_s": 0.0, "start_changed_s": 5.0}])
def test_only_what_is_proved_empty_and_may_go_gives_way(fields):
    """A hold, and what may still run something, stays."""
    chosen = settings(offer("t1", 1), offer("t4"), max_instances=1)
    assert plan(state(container(requirements=wants(4)), instance(type="t1", **fields), settings=chosen)) == []


def test_no_more_gives_way_than_is_waited_for():
    """One waits, one goes; one that goes already counts."""
    chosen = settings(offer("t1", 1), offer("t4"), max_instances=2)
    before = state(container(requirements=wants(4)), instance("i1", type="t1"), instance("i2", type="t1"), settings=chosen)
    assert len(plan(before)) == 1
    going = instance("i2", Phase.SHUTDOWN, type="t1")
    assert plan(state(container(requirements=wants(4)), instance("i1", type="t1"), going, settings=chosen)) == []


@pytest.mark.parametrize("quota", [1, 2])
def test_at_the_clouds_quota_idle_instances_give_way_and_nothing_is_unlocked(quota):
    """Two containers wait for a big instance; the small idle ones make room, one for each that waits."""
    chosen = settings(offer("t1", 1), offer("t4"))
    held = Holdoff(call="create", key="*", kind=HoldoffKind.QUOTA, until_s=NOW + 9, since_s=NOW, strikes=1, reason="full")
    small = [instance(f"i{number}", type="t1") for number in range(1, quota + 1)]
    before = state(*many(2, requirements=wants(4)), *small, settings=chosen)
    before = replace(before, holdoffs=before.holdoffs.set("create *", held))
    actions = plan(before)
    assert [type(action) for action in actions] == [m.DestroyInstance] * quota
    assert {action.name for action in actions} == {one.name for one in small}


def test_a_pace_is_no_reason_to_make_room():
    """Waiting for the rate of creates or a 503 costs nobody an instance."""
    chosen = settings(offer("t1", 1), offer("t4"), max_cloud_ops_per_second=0.001)
    before = state(*many(3, requirements=wants(4)), instance(type="t1"), settings=chosen)
    assert [type(action) for action in plan(before)] == [m.CreateInstance, m.CreateInstance]


# ---------------------------------------------------------------------------------------------------------- who must wait

WAITS = [
    ({"priority": 0}, None),
    ({"requirements": None}, "its record has not been read yet"),
    ({"requirements": wants(1000)}, "no instance type can run it"),
    ({"exited_s": 950.0}, "its last attempt is being cleared up"),
    ({"not_before_s": NOW + 1}, "the last attempt failed, and the next one waits"),
]


@pytest.mark.parametrize(("fields", "why"), WAITS)
def test_what_may_not_be_tried_waits_and_says_why(fields, why):
    """Priority 0 is not even looked at: a container with priority 0 must not be started."""
    before = state(container(**fields), instance())
    assert plan(before) == []
    assert schedule.decide(before, NOW, everyone=True).waits.get(C1) == why


def test_a_container_of_which_a_process_still_runs_is_not_tried_again():
    """Its old runner has to be gone first."""
    before = state(container(state=LOCKED), instance("i1", Phase.READY, C1), instance("i2"))
    assert plan(before) == []


def test_nothing_is_planned_before_the_cloud_was_listed_in_this_term_or_without_leading():
    """What the predecessor created has to be known first."""
    assert plan(state(container(), cloud={"listed_s": -1.0})) == []
    assert plan(state(container(), leadership={"leading": False})) == []


def test_no_create_before_two_lists_of_this_term_agree():
    """A single one may be older than what the predecessor created last."""
    before = state(container(), cloud={"confirmed_s": -1.0})
    assert plan(before) == []
    assert plan(state(container(), instance(), cloud={"confirmed_s": -1.0})) == [lock(C1)]


def test_the_same_state_gives_the_same_plan_thirty_times():
    """Equal priorities: nothing flaps."""
    before = state(*many(9), instance("i1"), instance("i2"), instance("i3", Phase.BOOTING))
    assert len({str(plan(before)) for _ in range(30)}) == 1


# ---------------------------------------------------------------------------------------------------- restart, might run

FOUND = {"locked_term": 0, "instance": None}
MIGHT = [
    # (address in the record, what the silent instance is, may it start elsewhere)
    ("", {"phase": Phase.UNKNOWN}, False),
    ("10.0.0.1:80", {"phase": Phase.UNKNOWN}, False),
    ("10.0.0.7:80", {"phase": Phase.UNKNOWN}, False),  # the address may be that of an earlier attempt
    ("", {"phase": Phase.BOOTING}, True),  # created in this term: nobody else can have started anything there
    ("", {"phase": Phase.READY}, False),
    ("", {"phase": Phase.SHUTDOWN}, False),
]


@pytest.mark.parametrize(("address", "silent", "may"), MIGHT)
def test_a_container_found_locked_waits_for_whoever_might_run_it(address, silent, may):
    """Not yet probed in this term, whatever its record says."""
    quiet = instance("i1", processes_listed_s=-1.0, probe_failures=2, **silent)
    found = container(state=LOCKED, gateway_address=address, **FOUND)
    assert (plan(state(found, quiet, instance("i2"))) == [start(C1, "i2")]) is may


def test_a_container_found_locked_waits_out_what_the_last_leader_had_sent():
    """Its starts may still take effect."""
    found = container(state=LOCKED, **FOUND)
    fresh = {"since_s": 990.0, "quiet_s": 30.0}
    before = state(found, instance(processes_listed_s=999.0), leadership=fresh)
    assert plan(before) == []
    assert wait(before) == "a start of an earlier dispatcher may still take effect"


def test_a_queued_container_waits_for_nobody():
    """Queued means that nothing runs: a silent instance does not delay it."""
    quiet = instance("i1", Phase.UNKNOWN, processes_listed_s=-1.0, probe_failures=2)
    assert plan(state(container(), quiet, instance("i2"), leadership={"since_s": 900.0, "quiet_s": 500.0})) == [lock(C1, "i2")]
