"""Attempts that come to nothing, from the start to the last word: noticed at once, tried elsewhere, given up with the reason."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core.explain import statuses
from dispatcher.core.model import ContainerState, DestroyCause, IdleBehavior
from dispatcher.driver import InstanceType
from dispatcher.simulation.instances import InstanceKnobs
from drivers.stub import StubKnobs
from tests.simulation.worlds import GIB, Town, idle_instance, offer, settings, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
COMPLETE, CANCELLED = ContainerState.COMPLETE, ContainerState.CANCELLED

KIND = StubKnobs.kind(boot_s=5.0)
DIES_EARLY = replace(KIND, runner_crash_rate=1.0, detach_s=0.5, prepare_s=3.0)  # half of them before the container began


def town(*offers, knobs=KIND, seed=1, max_attempts=10, **changes) -> Town:
    made = Town(settings(*offers, **changes), seed=seed, knobs=knobs)
    made.queue.max_attempts = max_attempts
    made.start_dispatcher()
    return made


def crashes_while_locked(here: Town, uuid: str) -> None:
    """Its runner detached, and dies before the container is Running."""
    for machine in here.stub.existing():
        if uuid in machine.processes and machine.processes[uuid].alive:
            machine.processes[uuid].crash_s = here.clock.now_s + 0.2


def test_a_runner_that_goes_away_while_its_container_is_locked_is_noticed_within_two_seconds():
    """Whatever the intervals: a young attempt is looked at each second, its record is read, and only then is it unlocked."""
    here = town(poll_interval_s=60.0, probe_interval_s=300.0, timeout_idle_s=900.0, knobs=replace(KIND, prepare_s=60.0))
    idle_instance(here)
    uuid = here.submit(wants(), length_s=30.0)
    here.leader.post(m.QueueHinted())
    assert here.run(30.0, until=lambda: bool(here.queue.running.get(uuid)))
    here.run(1.5)
    crashes_while_locked(here, uuid)
    died_s = here.clock.now_s + 0.2
    assert here.run(60.0, until=lambda: bool(here.journal.of(m.UnlockContainer)))
    assert here.clock.now_s - died_s < 2.0


def test_12_19_a_start_that_is_refused_is_tried_elsewhere_within_seconds():
    """12.19: upstream acts on no failed start; it waits for a probe and for a poll, 10 to 25 s. Here the refusal, a probe and a
    read follow each other, and the next attempt goes to another instance."""
    here = town(offer("a1", 1), timeout_idle_s=900.0, poll_interval_s=60.0, probe_interval_s=300.0)
    bad = idle_instance(here).name
    here.instances.knobs = InstanceKnobs(refused_start_rate=1.0)
    uuid, began_s = here.submit(wants(), length_s=30.0), here.clock.now_s
    here.leader.post(m.QueueHinted())
    assert here.run(60.0, until=lambda: bool(here.journal.of(m.UnlockContainer)))
    assert here.clock.now_s - began_s < 3.0
    here.instances.knobs = InstanceKnobs()
    here.run(0.5)
    assert "exit status 1: no disk" in here.container(uuid).last_error
    here.until_states([uuid], RUNNING, within_s=120.0)
    assert here.container(uuid).instance != bad


def test_the_pause_between_attempts_grows():
    """One second, then two, four …: a container that never begins does not keep the queue service busy."""
    here = town(offer("a1", 1), max_attempts=6, max_dispatch_attempts=6, timeout_idle_s=900.0, knobs=replace(KIND, prepare_s=9.0))
    uuid = here.submit(wants(), length_s=30.0, attempts=1)
    here.listener = lambda dispatcher, message: (here.journal.note(dispatcher, message), crashes_while_locked(here, uuid))
    here.until_states([uuid], CANCELLED, within_s=600.0)
    starts = here.journal.times(m.StartContainer)
    pauses = [later - sooner for sooner, later in itertools.pairwise(starts)]
    assert len(starts) == 6
    assert pauses[-2] > 8.0
    assert pauses[-1] > 16.0


def test_the_last_attempt_is_ended_by_one_cancel_that_says_why():
    """Not by an unlock, which could only count: error, instance, last signal and the end of the output, in one request."""
    here = town(offer("a1", 1), max_attempts=2, max_dispatch_attempts=2, knobs=replace(KIND, prepare_s=9.0))
    uuid = here.submit(wants(), length_s=30.0, attempts=1)
    here.listener = lambda dispatcher, message: (here.journal.note(dispatcher, message), crashes_while_locked(here, uuid))
    here.until_states([uuid], CANCELLED, within_s=300.0)
    status = here.entry(uuid).runtime_status
    assert len(here.journal.of(m.UnlockContainer)) == 1
    assert "could not be started in 2 attempts (MaxDispatchAttempts is 2)" in status["error"]
    last = here.journal.of(m.StartContainer)[-1].instance
    for said in (f"instance: {last} (id inst", "last signal: none was sent", "attempts: 2", f"crunch-run {uuid}: crashed"):
        assert said in status["errorDetail"], said
    here.until_over()


def test_the_count_and_the_last_error_are_shown_while_it_waits():
    """Whoever asks why nothing happens reads how often it was tried, and what went wrong."""
    here = town(offer("a1", 1), knobs=replace(KIND, prepare_s=9.0))
    uuid = here.submit(wants(), length_s=30.0)
    assert here.run(60.0, until=lambda: bool(here.queue.running.get(uuid)))
    crashes_while_locked(here, uuid)
    assert here.run(60.0, until=lambda: bool(here.journal.of(m.UnlockContainer)) and here.is_state(uuid, QUEUED))
    here.run(0.3)
    told = statuses(here.state, here.clock.now_s)[uuid]
    assert "it was locked 1 times of 10: its runner ended on compute-" in told
    here.until_over()


def test_the_servers_own_cancel_on_unlock_is_followed():
    """A server that allows fewer attempts than we were told answers an unlock with Cancelled: that is the end of it."""
    here = town(offer("a1", 1), max_attempts=1, knobs=replace(KIND, prepare_s=9.0))
    uuid = here.submit(wants(), length_s=30.0, attempts=1)
    assert here.run(60.0, until=lambda: bool(here.queue.running.get(uuid)))
    crashes_while_locked(here, uuid)
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert here.entry(uuid).reason == "too many attempts"
    here.until_over()
    assert len(here.journal.of(m.StartContainer)) == 1


def test_the_count_is_the_servers_also_after_a_restart():
    """``lock_count`` comes with the list: what another process tried counts."""
    here = town(offer("a1", 1), max_attempts=2, max_dispatch_attempts=2, knobs=replace(KIND, prepare_s=9.0))
    uuid = here.submit(wants(), length_s=30.0, attempts=1)
    assert here.run(60.0, until=lambda: bool(here.queue.running.get(uuid)))
    crashes_while_locked(here, uuid)
    assert here.run(60.0, until=lambda: here.is_state(uuid, QUEUED))
    here.restart()
    assert here.run(120.0, until=lambda: bool(here.queue.running.get(uuid)))
    crashes_while_locked(here, uuid)
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert "in 2 attempts" in here.entry(uuid).reason


# ------------------------------------------------------------------------------------------------------ fits no type


def test_12_17_a_container_that_fits_no_type_is_cancelled_by_one_request_that_says_what_is_missing():
    """12.17: upstream takes three requests (lock, status, cancel), and the lock spends an attempt. Here one PUT names the
    nearest type and what it lacks."""
    here = town(offer("a2", 2), offer("b4", 4))
    uuid = here.submit(wants(16), attempts=1)
    here.until_states([uuid], CANCELLED, within_s=10.0)
    assert here.entry(uuid).lock_count == 0
    assert here.entry(uuid).runtime_status["error"] == (
        "constraints not satisfiable by any configured instance type: nearest is b4, but it has 4 of 16 VCPUs"
    )
    written = [n for n in ("LockContainer", "UnlockContainer", "CancelContainer") for _ in range(here.acts[n])]
    assert written == ["CancelContainer"]
    assert here.queue.status_reads == 0


# ----------------------------------------------------------------------------------------------- why: in the same request


def test_12_18_a_crash_is_told_with_instance_signal_and_output():
    """12.18: upstream cancels such a container without a word. Here its user reads where it ran and what its runner last wrote,
    and what the runner had told before is kept."""
    here = town()
    uuid = here.submit(wants(), length_s=300.0, attempts=1)
    here.until_states([uuid], RUNNING)
    name = here.container(uuid).instance
    crashes_while_locked(here, uuid)
    here.until_states([uuid], CANCELLED, within_s=60.0)
    status = here.entry(uuid).runtime_status
    assert status["error"] == f"the container's runner ended on {name} without a result"
    assert f"instance: {name} (id inst" in status["errorDetail"]
    assert f"crunch-run {uuid}: crashed" in status["errorDetail"]
    assert (status["activity"], status["steps"]) == ("the runner says what it does", "1")
    here.until_over()


def test_12_18_a_lost_instance_is_told_with_what_is_known_of_the_cause():
    """12.18, and a spot reclaim: the instance was preemptible, and the cloud was seen to delete it."""
    spot = InstanceType(
        name="s2", provider_type="s2", vcpus=2, ram_bytes=8 * GIB, included_scratch_bytes=100 * GIB, price=0.1, preemptible=True
    )
    here = town(spot)
    uuid = here.submit(wants(preemptible=True), length_s=300.0, attempts=1)
    here.until_states([uuid], RUNNING)
    here.stub.lose(here.machine(here.held()[0].name).id)
    here.until_states([uuid], CANCELLED, within_s=60.0)
    status = here.entry(uuid).runtime_status
    assert "the instance on which the container ran was lost: it disappeared from the cloud" in status["error"]
    assert "it is preemptible: the cloud may have taken it back" in status["error"]
    assert "type s2" in status["errorDetail"]


def test_12_18_an_instance_that_goes_while_nobody_looks_is_told_by_its_address():
    """The dispatcher was down when it went: the container's record alone still says where it ran."""
    here = town()
    uuid = here.submit(wants(), length_s=300.0, attempts=1)
    here.until_states([uuid], RUNNING)
    here.leader.stop()
    address = here.entry(uuid).gateway_address
    here.stub.lose(here.machine(here.held()[0].name).id)
    here.start_dispatcher()
    here.until_states([uuid], CANCELLED, within_s=60.0)
    error = here.entry(uuid).runtime_status["error"]
    assert error == "the container runs on no instance: its runner or its instance was lost while no dispatcher looked"
    assert here.entry(uuid).runtime_status["errorDetail"] == f"instance: at {address}"
    here.until_over()


# ------------------------------------------------------------------------------------------------------------- the output


HUNG, LOST = InstanceKnobs(hung_output_rate=1.0), InstanceKnobs(lost_output_rate=1.0)


@pytest.mark.parametrize("knobs", [HUNG, LOST], ids=["hung", "lost"])
def test_an_output_that_cannot_be_had_delays_nothing_by_more_than_five_seconds(knobs):
    """The cancel goes out without it."""
    here = town()
    uuid = here.submit(wants(), length_s=300.0, attempts=1)
    here.until_states([uuid], RUNNING)
    here.instances.knobs = knobs
    here.run(20.0)
    crashes_while_locked(here, uuid)
    assert here.run(60.0, until=lambda: bool(here.journal.of(m.FetchOutput)))
    asked_s = here.clock.now_s
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert here.clock.now_s - asked_s < 5.5
    assert "the end of its output" not in here.entry(uuid).runtime_status["errorDetail"]
    here.until_over()


def test_a_container_that_ends_well_is_not_asked_for_its_output():
    """Nobody would read it."""
    here = town()
    uuids = [here.submit(wants(), length_s=20.0) for _ in range(4)]
    here.until_states(uuids, COMPLETE)
    here.until_over()
    assert here.journal.of(m.FetchOutput) == []


def test_the_output_of_what_runs_is_fetched_before_its_instance_is_destroyed():
    """It goes with the instance; afterwards nobody could read it."""
    here = town()
    uuid = here.submit(wants(), length_s=300.0, attempts=1)
    here.until_states([uuid], RUNNING)
    name = here.container(uuid).instance
    here.leader.post(m.InstanceKillRequested(name=name, reason="smoke", actor="ada@desk"))
    here.until_states([uuid], CANCELLED, within_s=60.0)
    destroyed_s, asked_s = here.journal.times(m.DestroyInstance)[0], here.journal.times(m.FetchOutput)[0]
    assert asked_s < destroyed_s < asked_s + 5.5
    assert here.journal.of(m.DestroyInstance)[0].cause is DestroyCause.OPERATOR
    assert f"crunch-run {uuid}: the container runs" in here.entry(uuid).runtime_status["errorDetail"]
    here.until_over()


@pytest.mark.parametrize("hung", [0.0, 1.0], ids=["it answers", "it does not answer"])
def test_an_instance_that_only_waited_for_its_last_runner_goes_after_the_output_was_asked_for(hung):
    """Drained, and then its runner crashes: of all instances the one whose output somebody wants to read. It is waited for as
    long as for every output."""
    here = town()
    here.run(15.0)  # an earlier leader may start nothing any more
    uuid = here.submit(wants(), length_s=300.0, attempts=1)
    here.until_states([uuid], RUNNING)
    name = here.container(uuid).instance
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.DRAIN))
    here.instances.knobs = InstanceKnobs(hung_output_rate=hung)
    here.machine(name).processes[uuid].crash_s = here.clock.now_s + 0.2
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert here.run(60.0, until=lambda: bool(here.journal.of(m.DestroyInstance)))
    destroyed_s, (asked_s,) = here.journal.times(m.DestroyInstance)[0], here.journal.times(m.FetchOutput)
    assert asked_s < destroyed_s < asked_s + (6.0 if hung else 1.0)
    assert here.journal.of(m.DestroyInstance)[0].cause is DestroyCause.DRAINED
    assert (f"crunch-run {uuid}: the container runs" in here.entry(uuid).runtime_status["errorDetail"]) is not bool(hung)
    here.until_over()


def test_an_instance_that_is_drained_goes_as_soon_as_its_last_container_ended_well():
    """There is no output that anybody would ask for."""
    here = town()
    uuid = here.submit(wants(), length_s=30.0)
    here.until_states([uuid], RUNNING)
    here.leader.post(m.IdleBehaviorSet(name=here.container(uuid).instance, behavior=IdleBehavior.DRAIN))
    here.until_states([uuid], COMPLETE)
    assert here.run(4.0, until=lambda: bool(here.journal.of(m.DestroyInstance)))
    here.until_over()


def test_a_destroy_waits_no_longer_than_five_seconds_for_an_output():
    """An instance that is to go is often one that answers nothing."""
    here = town()
    uuid = here.submit(wants(), length_s=300.0, attempts=1)
    here.until_states([uuid], RUNNING)
    here.instances.knobs = InstanceKnobs(hung_output_rate=1.0)
    here.leader.post(m.InstanceKillRequested(name=here.container(uuid).instance, reason="smoke", actor="ada@desk"))
    asked_s = here.clock.now_s
    assert here.run(60.0, until=lambda: bool(here.journal.of(m.DestroyInstance)))
    assert 2.5 < here.clock.now_s - asked_s < 6.5  # an answer may come after some seconds yet
    here.until_over()
