"""The flows of the design in virtual time: what a container, an instance and an operator live through from end to end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, IdleBehavior, Phase
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, idle_instance, offer, settings, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
COMPLETE, CANCELLED = ContainerState.COMPLETE, ContainerState.CANCELLED


def town(*offers, knobs=None, seed=1, **changes) -> Town:
    made = Town(settings(*offers, **changes), seed=seed, knobs=knobs)
    made.start_dispatcher()
    return made


# ------------------------------------------------------------------------------------------- 1. queued → idle instance


def test_a_queued_container_starts_on_an_idle_instance_within_a_second_of_the_hint():
    """With a hint, nothing waits for an interval: lock, start and the first probe follow one another at once."""
    here = town(poll_interval_s=60.0, probe_interval_s=60.0, timeout_idle_s=600.0)
    idle_instance(here)
    uuid, began_s = here.submit(wants(), length_s=30.0), here.clock.now_s
    here.leader.post(m.QueueHinted())
    here.until_states([uuid], RUNNING, within_s=5.0)
    assert here.clock.now_s - began_s < 1.0
    here.until_over()


def test_without_a_hint_the_poll_finds_it():
    """The poll alone brings a container to an idle instance as soon as its interval allows."""
    here = town(poll_interval_s=5.0)
    idle_instance(here)
    uuid, began_s = here.submit(wants()), here.clock.now_s
    here.until_states([uuid], RUNNING, within_s=30.0)
    assert here.clock.now_s - began_s < 7.0


def test_work_that_follows_work_needs_no_poll():
    """When a container ends, the next one in the queue takes its place: bound by the probe that sees the end, not by the poll."""
    here = town(offer("a1", 1), max_instances=1, poll_interval_s=60.0, probe_interval_s=5.0)
    first, second = here.submit(wants(), length_s=30.0, priority=2), here.submit(wants(), length_s=30.0, priority=1)
    here.until_states([first], COMPLETE)
    ended_s = here.clock.now_s
    here.until_states([second], RUNNING)
    assert here.clock.now_s - ended_s < 8.0


# ---------------------------------------------------------------------------------------------------- 2. no instance


def test_the_cheapest_type_is_created_and_more_containers_pack_onto_it_before_it_boots():
    """Four containers of one VCPU ask for one instance of four, and it takes them all."""
    here = town(offer("b4", 4), offer("c8", 8, price=1.0))
    uuids = [here.submit(wants()) for _ in range(4)]
    here.until_states(uuids, RUNNING)
    assert [instance.type for instance in here.held()] == ["b4"]
    here.until_over()


def test_a_container_is_locked_while_its_instance_boots_and_never_before():
    """The lock comes after the cloud's yes and before the boot ends, so that it costs no time."""
    here = town(knobs=StubKnobs.kind(boot_s=30.0))
    uuid = here.submit(wants())
    here.until_states([uuid], LOCKED)
    assert [instance.phase for instance in here.held()] == [Phase.BOOTING]
    assert here.container(uuid).instance == here.held()[0].name
    here.until_over()
    created_s, locked_s = here.journal.times(m.InstanceCreated)[0], here.journal.times(m.LockContainer)[0]
    assert created_s < locked_s < 30.0


def test_probes_begin_with_the_address_and_come_each_second():
    """A booting instance is asked as soon as there is an address, each second, and its container starts at its first yes."""
    here = town(knobs=StubKnobs.kind(address_s=4.0, boot_s=20.0))
    uuid = here.submit(wants())
    here.until_states([uuid], RUNNING)
    probes = here.journal.times(m.ProbeInstance)
    assert probes[0] < 10.0
    assert here.journal.times(m.StartContainer)[0] < 33.0  # a refused connection takes a while to be given up


# ---------------------------------------------------------------------------------------------- 3. what operators do


def test_a_drained_instance_ends_its_work_and_goes():
    """Drain: nothing new, the tag saved, destroyed when empty, and who and why are kept until the end."""
    here = town()
    uuid = here.submit(wants(), length_s=60.0)
    here.until_states([uuid], RUNNING)
    name = here.held()[0].name
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.DRAIN, actor="ada", reason="kernel update"))
    other = here.submit(wants())
    here.until_states([other], RUNNING)
    assert here.container(other).instance != name
    here.until_states([uuid, other], COMPLETE)
    here.until_over()
    gone = [destroy for destroy in here.journal.of(m.DestroyInstance) if destroy.name == name]
    assert gone[0].reason == "drained by an operator: kernel update"


def test_a_held_instance_stays_and_takes_no_work_until_it_is_released():
    """Hold: kept for ever while idle; run again: used again."""
    here = town(timeout_idle_s=20.0)
    name = idle_instance(here).name
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.HOLD))
    uuid = here.submit(wants(), length_s=5.0)
    here.until_states([uuid], COMPLETE)
    here.run(600.0)
    assert [instance.name for instance in here.held()] == [name]
    assert here.machine(name).tags_at(here.clock.now_s)["ArvadosIdleBehavior"] == "hold"
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.RUN))
    again = here.submit(wants(), length_s=1.0)
    here.until_states([again], RUNNING, COMPLETE, within_s=10.0)
    here.until_over()


def test_a_drain_can_be_taken_back():
    """Run after drain: the instance is used as before, and nothing is destroyed."""
    here = town()
    uuid = here.submit(wants(), length_s=30.0)
    here.until_states([uuid], RUNNING)
    name = here.held()[0].name
    for behavior in (IdleBehavior.DRAIN, IdleBehavior.RUN):
        here.leader.post(m.IdleBehaviorSet(name=name, behavior=behavior))
        here.run(2.0)
    other = here.submit(wants(), length_s=1.0)
    here.until_states([other], COMPLETE)
    assert {start.instance for start in here.journal.of(m.StartContainer)} == {name}
    here.until_over()


@pytest.mark.parametrize("behavior", list(IdleBehavior))
def test_an_operators_kill_ends_an_instance_at_once_whatever_runs_there(behavior):
    """The kill is the one thing that ends a hold; its container is lost and says so."""
    here = town()
    uuid = here.submit(wants(), length_s=600.0, attempts=1)
    here.until_states([uuid], RUNNING)
    name = here.held()[0].name
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=behavior))
    here.leader.post(m.InstanceKillRequested(name=name, reason="it smokes", actor="ada"))
    here.until_over(within_s=120.0)
    assert here.is_state(uuid, CANCELLED)
    assert "it smokes" in here.entry(uuid).reason


# -------------------------------------------------------------------------------------------------------- 4. restart


def busy_town(seed: int) -> tuple[Town, list[str]]:
    """A town in which, for two minutes, instances boot, idle, run, drain and are held, and containers are in every state."""
    here = town(offer("b2", 2), seed=seed, knobs=StubKnobs.kind(boot_s=12.0, detach_s=0.5, prepare_s=1.0), timeout_idle_s=20.0)
    uuids: list[str] = []
    for at_s, length_s, vcpus in ((0, 20, 1), (0, 90, 2), (5, 10, 1), (15, 60, 1), (25, 40, 2), (40, 5, 1), (60, 30, 2)):
        here.later(at_s, lambda length_s=length_s, vcpus=vcpus: uuids.append(here.submit(wants(vcpus), length_s=length_s)))
    here.later(20.0, lambda: set_behavior(here, 0, IdleBehavior.DRAIN))
    here.later(30.0, lambda: set_behavior(here, -1, IdleBehavior.HOLD))
    here.later(100.0, lambda: [set_behavior(here, index, IdleBehavior.RUN) for index in range(len(here.held()))])
    return here, uuids


def set_behavior(here: Town, index: int, behavior: IdleBehavior) -> None:
    names = sorted(instance.name for instance in here.held())
    if names:
        here.leader.post(m.IdleBehaviorSet(name=names[index], behavior=behavior))


@pytest.mark.parametrize("at_s", [0.5 + 3.7 * step for step in range(20)])
def test_kill_minus_nine_at_any_moment_loses_nothing_and_starts_nothing_twice(at_s):
    """Whatever stood when the process was killed, the next one finds it: each container runs exactly once."""
    here, uuids = busy_town(seed=int(at_s * 10))
    here.later(at_s, lambda: here.restart(quiet_s=5.0))
    here.run(120.0)
    here.until_over()
    assert [here.entry(uuid).state for uuid in uuids] == [COMPLETE] * 7
    assert [here.queue.starts[uuid] for uuid in uuids] == [1] * 7


@pytest.mark.parametrize("every_s", [2.3, 7.1, 31.0])
def test_restarts_in_a_row_lose_nothing_either(every_s):
    """A process that is killed again and again, before it has understood everything, still does no harm."""
    here, uuids = busy_town(seed=3)
    for count in range(1, int(90 / every_s)):
        here.later(count * every_s, lambda: here.restart(quiet_s=1.0))
    here.run(120.0)
    here.until_over()
    assert all(here.is_state(uuid, COMPLETE) for uuid in uuids)
    assert max(here.queue.starts.values()) == 1


def test_a_hold_and_a_drain_survive_a_restart():
    """The operator's choice is in the VM's tag: the next process obeys it."""
    here = town(timeout_idle_s=20.0)
    held = idle_instance(here).name
    here.leader.post(m.IdleBehaviorSet(name=held, behavior=IdleBehavior.HOLD))
    uuid = here.submit(wants(), length_s=100.0)
    here.until_states([uuid], RUNNING)
    drained = here.container(uuid).instance
    here.leader.post(m.IdleBehaviorSet(name=drained, behavior=IdleBehavior.DRAIN))
    here.run(10.0)
    here.restart()
    here.run(60.0)
    assert here.state.instances[held].idle_behavior is IdleBehavior.HOLD
    assert here.state.instances[drained].idle_behavior is IdleBehavior.DRAIN
    here.run(300.0)
    assert [instance.name for instance in here.held()] == [held]
    here.check()


def test_a_restart_with_an_instance_type_that_is_no_longer_configured_drains_it():
    """Its container runs to its end, nothing new is put there, and the process does not fall over it at its start.

    Regression: a running container that fits no configured type brought down the process at each start until it had ended."""
    here = town(offer("old", 2), offer("b4", 4, price=9.0))
    uuid = here.submit(wants(), length_s=100.0)
    here.until_states([uuid], RUNNING)
    here.reload(settings(offer("b4", 4, price=9.0)))
    here.restart()
    other = here.submit(wants(), length_s=10.0)
    here.until_states([other, uuid], COMPLETE)
    here.until_over()
    starts = {start.uuid: here.journal.of(m.CreateInstance)[-1].instance_type for start in here.journal.of(m.StartContainer)}
    assert starts[other] == "b4"
    assert here.queue.starts[uuid] == 1


def test_the_first_probes_after_a_restart_go_out_at_once():
    """Nobody waits for an interval to hear of the instances that were found."""
    here = town(probe_interval_s=60.0)
    uuid = here.submit(wants(), length_s=200.0)
    here.until_states([uuid], RUNNING)
    here.restart()
    began_s = here.clock.now_s
    assert here.run(30.0, until=lambda: bool(here.held(Phase.READY)))
    assert here.clock.now_s - began_s < 1.0


def test_a_busy_instance_whose_boot_probe_fails_after_a_restart_is_never_killed():
    """What runs there runs on, however long it takes; empty at last, the instance goes.

    Regression: ten minutes after a restart such an instance was destroyed although its containers ran."""
    here = town(timeout_booting_s=60.0, timeout_probe_s=60.0)
    uuid = here.submit(wants(), length_s=1200.0)
    here.until_states([uuid], RUNNING)
    machine = here.machine(here.held()[0].name)
    machine.booted_at_s = 1e9  # systemd calls itself degraded from now on
    here.restart()
    here.until_states([uuid], COMPLETE, within_s=1300.0)
    here.until_over()


# ---------------------------------------------------------------------------------------- 5. quota, capacity, rate limit


def test_with_quota_zero_for_an_hour_no_container_is_ever_locked():
    """Fifty wait; none spends an attempt, and all run when quota is back."""
    here = town(max_instances=20, poll_interval_s=10.0, knobs=StubKnobs.kind(quota_instances=0, boot_s=10.0))
    uuids = [here.submit(wants(), length_s=10.0) for _ in range(50)]
    here.run(3600.0)
    assert [here.entry(uuid).lock_count for uuid in uuids] == [0] * 50
    assert here.stub.calls["create"] < 20 * 12  # after each pause, which grows, as many as MaxInstances allows
    here.stub.knobs = StubKnobs.kind(boot_s=10.0)
    here.until_over()
    assert {here.entry(uuid).lock_count for uuid in uuids} == {1}


def test_another_eligible_type_is_taken_at_once_when_one_has_no_capacity():
    """A refusal is one hold-off of one type: the next plan buys the next type."""
    here = town(offer("a2", 2), offer("b2", 2, price=0.25), knobs=StubKnobs.kind(capacity_by_type={"a2": 0}, boot_s=10.0))
    uuid = here.submit(wants())
    here.until_states([uuid], RUNNING)
    assert [create.instance_type for create in here.journal.of(m.CreateInstance)] == ["a2", "b2"]
    assert here.journal.times(m.CreateInstance)[1] - here.journal.times(m.CreateInstance)[0] < 0.5
    here.until_over()


def test_a_create_that_fails_after_its_acceptance_is_cleared_away_and_replaced():
    """The cloud said yes and later no: the instance is destroyed and another type asked for at once."""
    knobs = StubKnobs.kind(boot_s=60.0, late_failure_rate=1.0, max_late_failure_s=10.0)
    here = town(offer("a2", 2), offer("b2", 2, price=0.25), knobs=knobs)
    uuid = here.submit(wants())
    here.run(3.0)
    here.stub.knobs = StubKnobs.kind(boot_s=10.0)
    here.until_states([uuid], RUNNING, within_s=60.0)
    assert here.held(Phase.READY)[0].type == "b2"
    assert here.entry(uuid).lock_count == 1
    here.until_over()


def test_an_instance_that_is_gone_ends_the_hold_off_for_quota():
    """Quota that a destroyed instance frees is used at once, not when a pause is over."""
    here = town(offer("a1", 1), offer("b4", 4), knobs=StubKnobs.kind(quota_instances=1, boot_s=5.0), timeout_idle_s=3600.0)
    first = here.submit(wants(1), length_s=100.0)
    here.until_states([first], RUNNING)
    big = here.submit(wants(4), length_s=10.0)
    here.until_states([first], COMPLETE)
    ended_s = here.clock.now_s
    here.until_states([big], RUNNING)
    assert here.clock.now_s - ended_s < 40.0


# ----------------------------------------------------------------------------------------------- 6. the instance dies


def test_a_container_is_cancelled_with_the_reason_when_its_instance_dies():
    """Its record says that its instance was lost, and the queue's own retry runs it elsewhere."""
    here = town()
    uuid = here.submit(wants(), length_s=300.0, attempts=2)
    here.until_states([uuid], RUNNING)
    here.stub.lose(here.machine(here.held()[0].name).id)
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert "lost" in here.entry(uuid).reason
    here.until_over()
    assert [entry.state for entry in here.queue.entries.values()] == [CANCELLED, COMPLETE]


def test_a_loss_is_known_within_fifteen_seconds_of_the_lost_connection():
    """A lost connection makes a list due at once, and a second one proves it."""
    here = town(sync_interval_s=600.0, probe_interval_s=600.0)
    uuid = here.submit(wants(), length_s=300.0, attempts=1)
    here.until_states([uuid], RUNNING)
    here.run(20.0)
    name, lost_s = here.held()[0].name, here.clock.now_s
    here.stub.lose(here.machine(name).id)
    here.leader.post(m.ConnectionLost(name=name))
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert here.clock.now_s - lost_s < 15.0


def test_a_container_that_had_not_begun_is_placed_again_with_its_lock():
    """An instance that dies while it boots costs no attempt: the container keeps its lock and gets another one."""
    here = town(knobs=StubKnobs.kind(boot_s=30.0))
    uuid = here.submit(wants())
    here.until_states([uuid], LOCKED)
    here.stub.lose(here.machine(here.held()[0].name).id)
    here.until_over()
    assert here.is_state(uuid, COMPLETE)
    assert here.entry(uuid).lock_count == 1


# ---------------------------------------------------------------------------------------- 7. the runner will not die


def test_a_runner_that_ignores_term_is_killed_and_its_instance_takes_no_new_work():
    """TERM at once and each TimeoutSignal, KILL after TimeoutTERM."""
    here = town(timeout_term_s=20.0, knobs=StubKnobs.kind(boot_s=5.0, ignores_term_rate=1.0))
    uuid = here.submit(wants(), length_s=3600.0, attempts=1)
    here.until_states([uuid], RUNNING)
    here.queue.set_priority(uuid, 0)
    asked_s = here.clock.now_s
    here.until_over(within_s=300.0)
    signals = [kill.signal for kill in here.journal.of(m.KillProcess)]
    times = here.journal.times(m.KillProcess)
    assert signals == [15, 15, 15, 15, 9]
    assert times[-1] - asked_s < 25.0


def test_an_instance_whose_runner_cannot_be_killed_is_destroyed():
    """After TimeoutKILL it counts as unkillable, and the instance goes once nothing else runs there."""
    here = town(timeout_term_s=20.0, timeout_kill_s=15.0, knobs=StubKnobs.kind(boot_s=5.0, unkillable_rate=1.0))
    uuid = here.submit(wants(), length_s=3600.0, attempts=1)
    here.until_states([uuid], RUNNING)
    here.stub.knobs = StubKnobs.kind(boot_s=5.0)
    here.queue.set_priority(uuid, 0)
    here.until_over(within_s=300.0)
    assert [destroy.cause.value for destroy in here.journal.of(m.DestroyInstance)] == ["unkillable"]
    assert here.journal.of(m.DestroyInstance)[0].reason == "its runners cannot be killed"


# ---------------------------------------------------------------------- 8. the leader changes while a start is in flight


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.1, 0.5, 2.0])
def test_no_container_runs_twice_when_the_leader_changes_during_its_start(after_s):
    """The new leader waits until a start of the old one must have taken effect, and finds what it did."""
    here = town(knobs=StubKnobs.kind(boot_s=5.0, detach_s=1.0))
    uuid = here.submit(wants(), length_s=60.0)
    assert here.run(120.0, until=lambda: bool(here.journal.of(m.StartContainer)))
    here.run(after_s)
    here.leader.post(m.LeadershipLost(holder="another host"))
    old = here.leader
    here.start_dispatcher(quiet_s=12.0)
    here.later(60.0, old.stop)
    here.until_over()
    assert here.is_state(uuid, COMPLETE)
    assert here.queue.starts[uuid] == 1


# ------------------------------------------------------------------------------------------------------------- and more


def wander(jump_s: float) -> list[str]:
    """Everything that one seed does in a town where somebody sets the wall clock."""
    here, _ = busy_town(seed=5)

    def jump() -> None:
        here.clock.wall_offset_s += jump_s

    here.later(33.3, jump)
    here.run(300.0)
    return [f"{at_s:.6f} {action}" for at_s, action in here.journal.actions()]


@pytest.mark.parametrize("jump_s", [86400.0, -86400.0])
def test_a_wall_clock_that_jumps_by_a_day_changes_no_decision(jump_s):
    """Durations are of the monotonic clock: the same actions at the same times, with and without the jump."""
    assert wander(jump_s) == wander(0.0)


def test_an_outage_of_our_own_network_destroys_nobody():
    """When no instance answers, it is us: for hours nothing is destroyed, and the work goes on."""
    here = town(timeout_probe_s=60.0)
    uuids = [here.submit(wants(2), length_s=10000.0, attempts=1) for _ in range(3)]
    here.until_states(uuids, RUNNING)
    here.cut_network(1e9)
    here.run(150.0)
    assert here.journal.of(m.DestroyInstance) == []
    here.cut_network(0.0)
    here.run(60.0)
    assert len(here.held(Phase.READY)) == 3
    assert all(instance.probe_failures == 0 for instance in here.held())


def test_one_hung_instance_delays_no_other():
    """While one instance answers nothing, the containers of the others start and end as ever, and it alone is given up."""
    here = town(offer("a1", 1), timeout_probe_s=120.0, timeout_idle_s=600.0)
    hung, *others = [here.submit(wants(), length_s=length_s, attempts=1) for length_s in (5000.0, 30.0, 30.0)]
    here.until_states([hung, *others], RUNNING)
    bad = here.container(hung).instance
    here.machine(bad).hung_at_s = here.clock.now_s
    here.until_states(others, COMPLETE)
    for _ in range(5):
        uuid, began_s = here.submit(wants(), length_s=10.0), here.clock.now_s
        here.until_states([uuid], RUNNING)
        assert here.clock.now_s - began_s < 3.0
        here.until_states([uuid], COMPLETE)
    here.run(300.0)
    first = here.journal.of(m.DestroyInstance)[0]
    assert (first.name, first.cause.value) == (bad, "unresponsive")
    assert len([gone for gone in here.journal.of(m.DestroyInstance) if gone.cause.guarded]) == 1


def test_a_container_that_fits_no_type_is_cancelled_with_the_reason():
    """Nobody waits for what can never run, and no attempt is spent on it."""
    here = town()
    uuid = here.submit(wants(1000), attempts=1)
    here.until_states([uuid], CANCELLED, within_s=10.0)
    assert "1000 VCPUs" in here.entry(uuid).reason
    assert here.entry(uuid).lock_count == 0
    here.until_over()


def test_overload_of_the_queue_service_slows_locks_only():
    """503 on locks is a brake, not a failure: everything runs, and no lock is sent twice at once."""
    here = town(offer("b4", 4), knobs=StubKnobs.kind(boot_s=5.0))
    here.queue.knobs = replace(here.queue.knobs, overload_rate=0.7)
    uuids = [here.submit(wants(), length_s=10.0) for _ in range(12)]
    here.until_states(uuids, COMPLETE, within_s=900.0)
    here.until_over()
