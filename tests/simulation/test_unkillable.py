"""Runners that will not die: TERM, KILL, and what becomes of their instance and their container."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import lifecycle
from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, DestroyCause, IdleBehavior, Phase
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, offer, settings, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
COMPLETE, CANCELLED = ContainerState.COMPLETE, ContainerState.CANCELLED

KIND = StubKnobs.kind(boot_s=5.0)
IGNORES_TERM = replace(KIND, ignores_term_rate=1.0)
IGNORES_BOTH = replace(KIND, unkillable_rate=1.0)
CHILD_SURVIVES = replace(KIND, ignores_term_rate=1.0, stuck_lock_rate=1.0)


def town(knobs: StubKnobs, **changes) -> Town:
    chosen = {"timeout_term_s": 120.0, "timeout_kill_s": 20.0, "timeout_idle_s": 900.0, **changes}
    made = Town(settings(offer("b4", 4), **chosen), knobs=knobs)
    made.start_dispatcher()
    return made


def stubborn(here: Town, length_s: float = 3600.0) -> tuple[str, str]:
    """A container that runs under a runner of the town's kind, and its instance; who comes later is tame."""
    uuid = here.submit(wants(), length_s=length_s, attempts=1)
    here.until_states([uuid], RUNNING)
    name = here.container(uuid).instance
    assert name is not None
    here.machine(name).knobs = here.stub.knobs = KIND
    return uuid, name


def stop(here: Town, uuid: str) -> float:
    here.leader.post(m.ContainerKillRequested(uuid=uuid, reason="it hangs", actor="ada@desk"))
    return here.clock.now_s


def signals(here: Town) -> list[int]:
    return [kill.signal for kill in here.journal.of(m.KillProcess)]


def destroyed(here: Town, name: str) -> list[DestroyCause]:
    return [destroy.cause for destroy in here.journal.of(m.DestroyInstance) if destroy.name == name]


def test_a_runner_that_ignores_term_is_killed_after_timeout_term_and_its_instance_goes():
    """TERM every five seconds for two minutes, then one KILL, which works. The container is Cancelled by us with the reason, and
    the instance takes nothing new and is destroyed, as nothing runs there."""
    here = town(IGNORES_TERM)
    uuid, name = stubborn(here)
    asked_s = stop(here, uuid)
    here.until_states([uuid], CANCELLED, within_s=200.0)
    assert set(signals(here)[:-1]) == {15}
    assert (signals(here)[-1], len(signals(here)) > 20) == (9, True)
    assert 120.0 <= here.journal.times(m.KillProcess)[-1] - asked_s < 130.0
    status = here.entry(uuid).runtime_status
    assert "was killed: it had not ended 120 s after SIGTERM (an operator asked for it: it hangs" in status["error"]
    assert "last signal: SIGKILL" in status["errorDetail"]
    other = here.submit(wants(), length_s=5.0)
    here.until_states([other], COMPLETE, within_s=120.0)
    assert name not in {start.instance for start in here.journal.of(m.StartContainer) if start.uuid == other}
    assert here.run(60.0, until=lambda: bool(destroyed(here, name)))
    assert set(destroyed(here, name)) == {DestroyCause.DRAINED}


def test_a_runner_that_ignores_both_takes_its_instance_with_it_after_timeout_kill():
    """Twenty seconds after the first KILL nothing but it is there: destroyed, and the container says what happened."""
    here = town(IGNORES_BOTH)
    uuid, name = stubborn(here)
    stop(here, uuid)
    assert here.run(300.0, until=lambda: 9 in signals(here))
    killed_s = here.clock.now_s
    assert here.run(60.0, until=lambda: bool(destroyed(here, name)))
    assert 20.0 <= here.clock.now_s - killed_s < 28.0
    assert destroyed(here, name) == [DestroyCause.UNKILLABLE]
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert "was killed: it had not ended" in here.entry(uuid).reason
    assert "its runners cannot be killed" not in here.entry(uuid).reason
    here.until_over(within_s=4000.0)


def test_a_child_that_survives_its_runner_and_holds_the_lock_keeps_nothing_alive():
    """The list says ``UUID stale``: the runner is gone, so the container is Cancelled and the instance, with whatever lives on
    in it, destroyed."""
    here = town(CHILD_SURVIVES)
    uuid, name = stubborn(here)
    machine = here.machine(name)
    stop(here, uuid)
    assert here.run(200.0, until=lambda: machine.list_processes(here.clock.now_s).stale == {uuid})
    assert signals(here)[-1] == 9
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert here.run(60.0, until=lambda: bool(destroyed(here, name)))
    assert destroyed(here, name)[0] is DestroyCause.DRAINED
    here.until_over(within_s=4000.0)


@pytest.mark.parametrize("knobs", [IGNORES_TERM, IGNORES_BOTH], ids=["the KILL works", "the KILL does not work"])
def test_from_the_kill_on_nothing_new_starts_there_and_what_runs_there_goes_on(knobs):
    """Others on the same instance are not disturbed: it is destroyed when they have ended, and not sooner."""
    here = town(knobs)
    uuid, name = stubborn(here)
    neighbour = here.submit(wants(), length_s=600.0)
    here.until_states([neighbour], RUNNING)
    assert here.container(neighbour).instance == name
    stop(here, uuid)
    assert here.run(300.0, until=lambda: 9 in signals(here))
    here.run(0.1)
    assert "had to be killed" in here.state.instances[name].condemned
    later = here.submit(wants(), length_s=5.0)
    here.until_states([later], COMPLETE, within_s=120.0)
    assert name not in {start.instance for start in here.journal.of(m.StartContainer) if start.uuid == later}
    assert destroyed(here, name) == []
    here.until_states([neighbour], COMPLETE, within_s=900.0)
    assert here.run(60.0, until=lambda: bool(destroyed(here, name)))
    here.until_over(within_s=5000.0)


def test_a_held_instance_is_never_destroyed_but_shown_and_alerted():
    """A hold wins over everything of ours: the alarm says so until somebody releases or kills it."""
    here = town(IGNORES_BOTH)
    uuid, name = stubborn(here)
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.HOLD, actor="ada", reason="to look at it"))
    stop(here, uuid)
    here.run(600.0)
    assert (destroyed(here, name), here.held(Phase.READY)[0].name) == ([], name)
    assert here.state.instances[name].processes[uuid].kill.unkillable
    alarm = lifecycle.alarm(here.state, here.clock.now_s)
    assert alarm == f"a hold keeps instances alive although runners there cannot be killed: {uuid} on {name}"
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.RUN))
    assert here.run(60.0, until=lambda: bool(destroyed(here, name)))
    assert lifecycle.alarm(here.state, here.clock.now_s) == ""


def test_a_container_that_had_not_begun_is_cancelled_too_when_its_runner_was_killed():
    """Tried again it might run beside what the first runner left behind."""
    here = town(replace(IGNORES_TERM, prepare_s=1e6))
    uuid = here.submit(wants(), length_s=60.0, attempts=1)
    assert here.run(60.0, until=lambda: uuid in here.queue.running)
    here.run(2.0)
    stop(here, uuid)
    here.until_states([uuid], CANCELLED, within_s=200.0)
    assert "was killed" in here.entry(uuid).reason
    assert here.entry(uuid).lock_count == 1


def test_12_8_an_instance_that_takes_a_connection_and_never_answers_is_given_up():
    """12.8: upstream waits for ever for the answer of a command, so that neither TimeoutProbe nor TimeoutTERM is ever reached.
    Here every command ends, the silence is counted, and the instance goes after TimeoutProbe."""
    here = town(KIND, timeout_probe_s=300.0)
    uuid, name = stubborn(here)
    witness = here.submit(wants(4), length_s=5000.0)
    here.until_states([witness], RUNNING)
    here.machine(name).hung_at_s = here.clock.now_s
    stop(here, uuid)
    assert here.run(500.0, until=lambda: bool(destroyed(here, name)))
    assert destroyed(here, name) == [DestroyCause.UNRESPONSIVE]
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert set(signals(here)) == {15}  # nobody heard a TERM, so that there was nothing to escalate


def test_a_term_that_nobody_heard_asks_for_no_kill():
    """Our own network is cut for longer than TimeoutTERM: when it is back, the runner gets its time after the first TERM that
    reaches it, and ends by it."""
    here = town(replace(KIND, max_term_s=8.0))
    uuid, name = stubborn(here)
    here.cut_network(400.0)
    here.run(1.0)
    stop(here, uuid)
    here.run(390.0)
    assert 9 not in signals(here)
    here.until_states([uuid], CANCELLED, within_s=60.0)
    assert 9 not in signals(here)
    assert here.state.instances[name].condemned == ""
