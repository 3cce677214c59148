"""Faults that were found by reading the core, each as the shortest life in which it did harm."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, IdleBehavior, Phase
from dispatcher.simulation.world import Dispatcher
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, idle_instance, offer, settings, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
COMPLETE, CANCELLED = ContainerState.COMPLETE, ContainerState.CANCELLED


def town(*offers, knobs=None, seed=1, **changes) -> Town:
    made = Town(settings(*offers, **changes), seed=seed, knobs=knobs)
    made.start_dispatcher()
    return made


# ------------------------------------------------------------------------------------------------------------- pace, quota


def test_a_refused_create_does_not_end_its_own_hold_off():
    """An instance that never came to be frees no quota: with quota 0 a few creates are sent in ten minutes, not thousands."""
    here = town(knobs=StubKnobs.kind(quota_instances=0))
    here.submit(wants())
    here.run(600.0)
    assert 2 <= here.stub.calls["create"] <= 20


def test_a_container_too_big_for_the_quota_does_not_keep_smaller_ones_from_running():
    """What is refused although there is no other instance is refused for its size: the rest of the queue goes on."""
    here = town(offer("a1", 1), offer("z9", 9))
    here.cloud.driver = TooSmall(here.cloud.driver, "z9")
    big, small = here.submit(wants(9), priority=9 << 50), here.submit(wants(1), priority=1 << 50)
    here.until_states([small], COMPLETE, within_s=900.0)
    assert here.is_state(big, QUEUED)


class TooSmall:
    """A driver whose account has no quota for one type, and says so of everything."""

    def __init__(self, driver, refused):
        self.driver, self.refused = driver, refused

    def __getattr__(self, name):
        return getattr(self.driver, name)

    def create(self, request, call):
        if request.instance_type.name == self.refused:
            raise m.CloudCallFailed(
                m.CloudFailure(text="regional cores", kind=m.HoldoffKind.QUOTA, scope=m.Scope.EVERYTHING)
            )
        return self.driver.create(request, call)


def test_partial_lists_are_not_asked_for_without_a_pause():
    """A cloud one of whose pages fails for hours is asked at an interval, not as fast as it answers."""
    here = town(knobs=StubKnobs.kind(partial_list_rate=1.0))
    here.run(60.0)
    assert 2 <= here.stub.calls["list"] <= 70


def stray(here: Town) -> str:
    """A dispatcher that finds a runner whose container the queue does not show in its polls."""
    uuid = here.submit(wants(), length_s=3000.0)
    here.until_states([uuid], RUNNING)
    here.entry(uuid).locked_by = "zzzzz-gj3su-another00000000"
    return uuid


def test_the_queue_is_not_asked_for_an_unknown_process_as_fast_as_it_fails():
    """A process without a container, and a queue that is down: one question each few seconds."""
    here = town()
    stray(here)
    here.restart()
    assert here.run(60.0, until=lambda: here.state.queue.polled_s > 0)
    here.queue.knobs.down_until_s = here.clock.now_s + 60.0
    here.acts.clear()
    here.run(60.0)
    assert here.acts["ReadContainers"] <= 20


def test_nor_as_fast_as_its_record_is_not_understood():
    """A process whose container's record is garbled for ever stops nobody and costs little."""
    here = town()
    stray(here)
    here.queue.knobs.garbled_rate = 1.0
    here.restart()
    here.acts.clear()
    here.run(60.0)
    assert here.acts["ReadContainers"] <= 20


# ------------------------------------------------------------------------------------- places that nobody gives back


def booting(here: Town) -> str:
    """A container that is Locked and has a place on an instance that boots."""
    uuid = here.submit(wants(), length_s=10.0)
    assert here.run(60.0, until=lambda: uuid in here.state.containers and here.container(uuid).state is LOCKED)
    assert here.held(Phase.BOOTING)
    return uuid


def test_a_container_that_somebody_unlocks_while_its_instance_boots_is_locked_again():
    """Back in Queued it gives its place back and is served like any other; nobody waits for an attempt that never was."""
    here = town(knobs=StubKnobs.kind(boot_s=20.0))
    uuid = booting(here)
    here.entry(uuid).state, here.entry(uuid).locked_by = QUEUED, None
    here.until_states([uuid], COMPLETE)
    here.until_over()


def test_a_container_that_another_dispatcher_takes_gives_its_place_back():
    """An instance on which we only kept a place for it is not kept for ever."""
    here = town(knobs=StubKnobs.kind(boot_s=20.0))
    uuid = booting(here)
    here.entry(uuid).locked_by = "zzzzz-gj3su-another00000000"
    assert here.run(300.0, until=lambda: not here.state.instances), here.what()


def test_a_container_that_runs_though_we_never_started_it_gives_its_place_back_and_is_cancelled():
    """Somebody started it and its runner is gone: it is cancelled with a reason and retried, and does not stay for ever."""
    here = town(knobs=StubKnobs.kind(boot_s=20.0))
    uuid = booting(here)
    here.entry(uuid).state = RUNNING
    here.until_states([uuid], CANCELLED)
    here.until_over()


def test_a_runner_whose_container_another_dispatcher_has_is_killed():
    """Two dispatchers on one container would be two runs at once."""
    here = town()
    uuid = here.submit(wants(), length_s=3000.0)
    here.until_states([uuid], RUNNING)
    here.entry(uuid).locked_by = "zzzzz-gj3su-another00000000"
    assert here.run(60.0, until=lambda: not here.queue.running)
    assert "another dispatcher" in here.journal.of(m.KillProcess)[0].reason


# ---------------------------------------------------------------------------------------------------------- settings


def test_a_type_that_a_reload_removes_while_its_instance_boots_costs_no_attempt():
    """Its container gets another place, and nothing is sent that needs the type."""
    here = town(offer("old", 2), offer("b4", 4, price=0.25), knobs=StubKnobs.kind(boot_s=20.0))
    uuid = booting(here)
    here.reload(settings(offer("b4", 4, price=0.25)))
    here.until_states([uuid], COMPLETE)
    assert here.entry(uuid).lock_count == 1
    here.until_over()


# ----------------------------------------------------------------------------------------------------------- attempts


def test_the_next_attempt_goes_to_another_instance():
    """An instance on which every start is refused does not use up all attempts of a container."""
    here = town(offer("a1", 1), timeout_idle_s=600.0)
    bad = idle_instance(here).name
    refusing(here, bad)
    uuid = here.submit(wants(), length_s=10.0)
    here.until_states([uuid], COMPLETE)
    starts = [start.instance for start in here.journal.of(m.StartContainer) if start.uuid == uuid]
    assert [start == bad for start in starts] == [True, False]


def refusing(here: Town, name: str, times: float = float("inf")) -> None:
    """Let the runner of one instance refuse this many starts."""
    start, refused = here.instances.start, []

    def refuse(target, uuid, instance_type, *, vcpus=None):
        if target.name == name and len(refused) < times:
            refused.append(uuid)
            return m.StartReport(outcome=m.StartOutcome.REFUSED, error="no space left on device")
        return start(target, uuid, instance_type, vcpus=vcpus)

    here.instances.start = refuse


def test_where_only_one_instance_is_allowed_the_next_attempt_goes_there():
    """Better the same instance again than none."""
    here = town(offer("a1", 1), max_instances=1, timeout_idle_s=600.0)
    refusing(here, idle_instance(here).name, times=2)
    uuid = here.submit(wants(), length_s=10.0)
    here.until_states([uuid], COMPLETE)
    assert here.entry(uuid).lock_count == 3
    assert len(here.held()) == 1


def test_an_operators_kill_of_a_container_is_about_one_attempt():
    """A container that was asked to die before it ran goes back to the queue, and is not killed again and again."""
    here = town(knobs=StubKnobs.kind(boot_s=5.0, prepare_s=30.0))
    uuid = here.submit(wants(), length_s=10.0)
    assert here.run(120.0, until=lambda: uuid in here.queue.running)
    here.run(5.0)
    here.leader.post(m.ContainerKillRequested(uuid=uuid, reason="stuck", actor="ada"))
    here.until_states([uuid], COMPLETE)
    assert here.entry(uuid).lock_count == 2


# ------------------------------------------------------------------------------------------- a process that leads again


def hand_over(here: Town) -> Dispatcher:
    """Another dispatcher leads; the first one lives on as a standby."""
    old = here.leader
    old.post(m.LeadershipLost(holder="another host"))
    here.start_dispatcher(quiet_s=1.0)
    return old


def hand_back(here: Town, old: Dispatcher) -> None:
    here.leader.stop()
    here.dispatchers = [old]
    old.superseded_s = math.inf
    old.post(m.LeadershipGained(quiet_s=1.0))


def test_what_booted_when_leadership_was_lost_may_be_busy_when_it_is_back():
    """The clocks and phases of an earlier term prove nothing: the instance that another dispatcher used is not destroyed."""
    here = town(timeout_booting_s=60.0, knobs=StubKnobs.kind(boot_s=20.0, address_s=10.0))
    uuid = here.submit(wants(), length_s=400.0)
    assert here.run(60.0, until=lambda: bool(here.held(Phase.BOOTING)))
    old = hand_over(here)
    here.until_states([uuid], RUNNING)
    here.run(100.0)
    hand_back(here, old)
    here.until_over()
    assert (here.entry(uuid).state, here.queue.starts[uuid]) == (COMPLETE, 1)


@pytest.mark.parametrize("before_s", [0.6, 0.9, 1.2, 2.0])
def test_who_does_not_know_yet_that_another_leads_destroys_nothing(before_s):
    """The new leader starts a container on what was idle, just when the old one would destroy it as idle: the old one asks
    first whether it still leads."""
    here = town(offer("a1", 1), timeout_idle_s=60.0, poll_interval_s=1.0)
    idle = idle_instance(here)
    old = here.leader
    here.run(60.0 - before_s)
    here.start_dispatcher(quiet_s=12.0)
    here.later(3.0, lambda: old.post(m.LeadershipLost(holder="another host")))
    here.later(60.0, old.stop)
    uuid = here.submit(wants(), length_s=30.0)
    here.until_over()
    assert (here.entry(uuid).state, here.queue.starts[uuid], here.stub.calls["create"]) == (COMPLETE, 1, 1)
    assert [end.name for end in here.journal.of(m.DestroyInstance)] == [idle.name, idle.name]  # the first one was not sent


def test_one_lost_probe_after_a_long_time_as_standby_is_not_a_long_silence():
    """The time in which nobody asked does not count as time without an answer."""
    here = town(offer("a1", 1), timeout_probe_s=100.0)
    uuids = [here.submit(wants(), length_s=2000.0) for _ in range(2)]
    here.until_states(uuids, RUNNING)
    old = hand_over(here)
    here.run(500.0)
    name = here.container(uuids[0]).instance
    here.machine(name).cut_off_until_s = here.clock.now_s + 15.0
    hand_back(here, old)
    here.until_over()
    assert all(here.is_state(uuid, COMPLETE) for uuid in uuids)


def test_a_hold_that_another_leader_saved_is_obeyed_when_leadership_is_back():
    """The tag decides, not what this process remembers of an earlier term."""
    here = town(timeout_idle_s=30.0)
    name = idle_instance(here).name
    old = hand_over(here)
    assert here.run(30.0, until=lambda: name in here.state.instances)
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.HOLD))
    here.run(60.0)
    hand_back(here, old)
    here.run(300.0)
    assert here.state.instances[name].idle_behavior is IdleBehavior.HOLD
    here.check()


def test_a_container_that_another_leader_started_is_not_started_again():
    """It was Queued when leadership was lost; it is Locked by our common token and its runner prepares when it is back."""
    here = town(knobs=StubKnobs.kind(boot_s=10.0, prepare_s=60.0), timeout_idle_s=600.0)
    idle_instance(here)
    old = here.leader
    old.post(m.LeadershipLost(holder="another host"))
    uuid = here.submit(wants(), length_s=60.0)
    here.start_dispatcher(quiet_s=1.0)
    assert here.run(60.0, until=lambda: uuid in here.queue.running)
    hand_back(here, old)
    here.until_over()
    assert here.queue.starts[uuid] == 1


# -------------------------------------------------------------------------------------------------------- instances


def test_an_instance_that_never_gets_an_address_goes_also_after_a_restart():
    """Found running, without an address at which anything could answer: it does not stay and cost money for ever."""
    here = town(timeout_booting_s=60.0, knobs=StubKnobs.kind(address_s=1e9))
    uuid = here.submit(wants(), length_s=10.0)
    assert here.run(60.0, until=lambda: bool(here.held(Phase.BOOTING)))
    first = here.held()[0].name
    here.queue.set_priority(uuid, 0)
    here.restart()
    assert here.run(300.0, until=lambda: first not in [i.name for i in here.stub.existing()]), here.what()


def test_two_machines_under_one_name_are_both_looked_after():
    """A cloud in which names are not unique hides no machine from us: the second goes by its id as well, and goes when idle."""
    here = town(timeout_idle_s=60.0, sync_interval_s=5.0)
    first = idle_instance(here)
    second = replace(here.machine(first.name))
    second.id = f"{second.id}-twin"
    here.stub.instances[second.id] = second
    assert here.run(120.0, until=lambda: len(here.state.instances) == 2), here.what()
    assert {i.id for i in here.held()} == {first.id, second.id}
    assert here.run(600.0, until=lambda: not here.stub.existing()), here.what()
