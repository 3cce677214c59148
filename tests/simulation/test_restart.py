"""Restarts, also by kill -9: whatever stood when the process went, the next one finds it, uses it and harms nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, DestroyCause, IdleBehavior, Phase
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, idle_instance, offer, settings, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
COMPLETE, CANCELLED = ContainerState.COMPLETE, ContainerState.CANCELLED

OFFERS = (offer("a1", 1), offer("b2", 2), offer("old3", 3, price=9.0))
NOW_OFFERED = OFFERS[:2]


def town(*offers, knobs=None, seed=1, **changes) -> Town:
    made = Town(settings(*offers, **changes), seed=seed, knobs=knobs or StubKnobs.kind(boot_s=5.0))
    made.start_dispatcher()
    return made


# ------------------------------------------------------------------------------------------------------------- the mix


@dataclass(kw_only=True)
class Mix:
    """One instance in each condition, by name, and the containers that are somewhere on them."""

    here: Town
    idle: str = ""
    held: str = ""
    drained: str = ""
    running: str = ""
    removed: str = ""
    booting: str = ""
    containers: list[str]


def ready_with_work(here: Town, vcpus: int, length_s: float) -> tuple[str, str]:
    """A container that runs on an instance of its own, and that instance."""
    uuid = here.submit(wants(vcpus), length_s=length_s)
    here.until_states([uuid], RUNNING, within_s=60.0)
    name = here.container(uuid).instance
    assert name is not None
    return uuid, name


def mixed(seed: int = 1) -> Mix:
    """A town in which every kind of instance stands, and a container waits for the one that boots."""
    here = town(*OFFERS, seed=seed, timeout_idle_s=1e6, timeout_booting_s=300.0)
    mix = Mix(here=here, containers=[])
    mix.held = idle_instance(here).name
    here.leader.post(m.IdleBehaviorSet(name=mix.held, behavior=IdleBehavior.HOLD, actor="ada", reason="disk"))
    on_removed, mix.removed = ready_with_work(here, 3, 400.0)
    on_drained, mix.drained = ready_with_work(here, 2, 400.0)
    here.leader.post(m.IdleBehaviorSet(name=mix.drained, behavior=IdleBehavior.DRAIN, actor="ada", reason="kernel"))
    on_running, mix.running = ready_with_work(here, 2, 400.0)
    brief, mix.idle = ready_with_work(here, 2, 5.0)
    here.until_states([brief], COMPLETE)
    here.run(5.0)
    here.stub.knobs = StubKnobs.kind(boot_s=60.0)
    filler, waits = here.submit(wants(2), length_s=400.0), here.submit(wants(2), length_s=30.0)
    here.until_states([filler, waits], LOCKED, RUNNING)
    mix.booting = next(i.name for i in here.held(Phase.BOOTING))
    mix.containers = [on_removed, on_drained, on_running, filler, waits]
    return mix


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_restart_with_every_kind_of_instance_loses_nothing(seed):
    """Booting, idle, running, draining, held, and of a type that is configured no longer: each is used or left as it was, and
    every container runs exactly once."""
    mix = mixed(seed)
    here, began_s = mix.here, mix.here.clock.now_s
    here.reload(settings(*NOW_OFFERED, timeout_idle_s=1e6, timeout_booting_s=300.0))
    here.restart()
    up = {mix.idle, mix.held, mix.drained, mix.running, mix.removed}
    assert here.run(5.0, until=lambda: up <= {i.name for i in here.held(Phase.READY)})
    assert here.clock.now_s - began_s < 1.0  # the first probes go out at once
    now = here.state.instances
    assert (now[mix.held].idle_behavior, now[mix.drained].idle_behavior) == (IdleBehavior.HOLD, IdleBehavior.DRAIN)
    assert now[mix.removed].condemned == "its instance type is no longer configured"
    assert mix.booting in now
    here.until_states(mix.containers, COMPLETE, within_s=900.0)
    assert [here.queue.starts[uuid] for uuid in mix.containers] == [1] * 5
    assert [here.entry(uuid).lock_count for uuid in mix.containers] == [1] * 5
    here.run(60.0)
    left = {i.name for i in here.held()}
    assert {mix.idle, mix.held, mix.running, mix.booting} <= left
    assert not left & {mix.drained, mix.removed}
    here.check()


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.05, 0.3, 2.0, 7.0])
def test_a_second_kill_minus_nine_in_the_middle_of_the_start_harms_nothing(after_s):
    """Killed again before it has understood what it found, or just when it has begun to act on it."""
    mix = mixed()
    here = mix.here
    here.reload(settings(*NOW_OFFERED, timeout_idle_s=1e6, timeout_booting_s=300.0))
    for _ in range(3):
        here.restart(quiet_s=2.0)
        here.run(after_s)
    here.until_states(mix.containers, COMPLETE, within_s=900.0)
    assert [here.queue.starts[uuid] for uuid in mix.containers] == [1] * 5
    assert mix.held in {i.name for i in here.held()}
    here.check()


# ------------------------------------------------------------------------------------------------- defects of upstream


def test_12_3_a_container_that_is_found_running_keeps_its_lock():
    """12.3: upstream lists stale locks before it knows what runs, and unlocks a container whose instance answers last. Here no
    unlock goes out for it, and one instance that answers nothing holds nobody else up."""
    here = town(offer("a1", 1), knobs=StubKnobs.kind(boot_s=5.0, prepare_s=40.0), timeout_idle_s=600.0)
    slow, other = here.submit(wants(), length_s=60.0), here.submit(wants(), length_s=60.0)
    assert here.run(60.0, until=lambda: {slow, other} <= set(here.queue.running))
    here.run(1.0)
    here.machine(here.container(slow).instance).cut_off_until_s = here.clock.now_s + 25.0
    here.restart(quiet_s=2.0)
    late = here.submit(wants(), length_s=5.0)
    assert here.run(20.0, until=lambda: not here.is_state(late, QUEUED))  # nobody waits for the silent one
    here.until_states([slow, other, late], COMPLETE, within_s=300.0)
    assert here.journal.of(m.UnlockContainer) == []
    assert [here.entry(uuid).lock_count for uuid in (slow, other, late)] == [1, 1, 1]


def test_12_4_a_running_container_that_fits_no_type_does_not_bring_the_start_down():
    """12.4: upstream panics at each start until such a container has ended. Here it runs to its end, and so does the rest."""
    here = town(offer("old4", 4))
    uuid = here.submit(wants(4), length_s=200.0)
    here.until_states([uuid], RUNNING)
    here.reload(settings(offer("a1", 1)))
    for _ in range(3):
        here.restart(quiet_s=1.0)
        here.run(5.0)
    other = here.submit(wants(1), length_s=5.0)
    here.until_states([uuid, other], COMPLETE, within_s=400.0)
    here.until_over()


def test_12_31_a_busy_instance_whose_boot_probe_fails_is_drained_however_long_it_takes():
    """12.31: upstream destroys it with its containers ten minutes after the start. Here it takes no new work, its containers run
    to their end, thirty times TimeoutBooting later, and then it is destroyed as drained."""
    here = town(offer("b4", 4), timeout_booting_s=60.0, timeout_probe_s=60.0)
    long, short = here.submit(wants(), length_s=2000.0), here.submit(wants(), length_s=100.0)
    here.until_states([long, short], RUNNING)
    name = here.container(long).instance
    here.machine(name).unfit_at_s = here.clock.now_s
    here.restart()
    here.run(10.0)
    assert here.state.instances[name].condemned.startswith("its boot probe fails, though containers run there")
    other = here.submit(wants(), length_s=10.0)
    here.until_states([other, short], COMPLETE, within_s=300.0)
    assert [start.instance for start in here.journal.of(m.StartContainer) if start.uuid == other] != [name]
    here.until_states([long], COMPLETE, within_s=2500.0)
    here.until_over()
    causes = {destroy.cause for destroy in here.journal.of(m.DestroyInstance) if destroy.name == name}
    assert causes == {DestroyCause.DRAINED}


def test_an_instance_that_comes_to_itself_is_used_again():
    """What only its boot probe spoke against is forgotten as soon as that passes."""
    here = town(offer("b4", 4), timeout_idle_s=600.0)
    uuid = here.submit(wants(), length_s=900.0)
    here.until_states([uuid], RUNNING)
    machine = here.machine(here.held()[0].name)
    machine.unfit_at_s = here.clock.now_s
    here.restart()
    here.run(30.0)
    assert here.held()[0].condemned
    machine.unfit_at_s = 1e9
    here.run(15.0)
    other = here.submit(wants(), length_s=5.0)
    here.until_states([other], COMPLETE, within_s=60.0)
    assert [here.container(uuid).instance, len(here.held()), here.held()[0].condemned] == [machine.name, 1, ""]


def test_a_held_instance_whose_boot_probe_fails_is_left_alone():
    """Hold wins, empty or not."""
    here = town(offer("b4", 4), timeout_booting_s=60.0)
    uuid = here.submit(wants(), length_s=100.0)
    here.until_states([uuid], RUNNING)
    name = here.held()[0].name
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.HOLD))
    here.run(5.0)
    here.machine(name).unfit_at_s = here.clock.now_s
    here.restart()
    here.until_states([uuid], COMPLETE, within_s=200.0)
    here.run(900.0)
    assert [i.name for i in here.held()] == [name]
    assert here.journal.of(m.DestroyInstance) == []
