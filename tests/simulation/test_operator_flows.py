"""What operators choose, in virtual time: saved with its note, over restarts, until its time is over."""

from __future__ import annotations

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, IdleBehavior
from dispatcher.simulation.incidents import whole_seconds
from tests.simulation.worlds import Town, idle_instance, settings, wants

RUNNING, COMPLETE = ContainerState.RUNNING, ContainerState.COMPLETE
TERM, ACTOR, REASON = "ArvadosIdleBehaviorTerm", "ArvadosIdleBehaviorActor", "ArvadosIdleBehaviorReason"


def town(**changes: float) -> Town:
    here = Town(settings(**changes))
    here.start_dispatcher()
    return here


def choose(here: Town, name: str, behavior: IdleBehavior, for_s: float = 0.0) -> None:
    wall_s = here.clock.wall()
    ends = {"until": whole_seconds(wall_s + for_s), "until_s": here.clock.now_s + for_s} if for_s else {}
    at = whole_seconds(wall_s)
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=behavior, actor="ada@host", reason="kernel", at=at, **ends))


def tags(here: Town, name: str) -> dict[str, str]:
    return dict(here.machine(name).tags_at(here.clock.now_s))


def test_a_hold_for_a_time_ends_by_itself():
    """Kept until then although idle for long, then back to work, and its tags are those of any instance."""
    here = town(timeout_idle_s=60.0)
    name = idle_instance(here).name
    choose(here, name, IdleBehavior.HOLD, for_s=600.0)
    here.run(590.0)
    assert tags(here, name)["ArvadosIdleBehavior"] == "hold"
    assert tags(here, name)[TERM].startswith("hold since ")
    here.run(20.0)
    assert here.state.instances[name].idle_behavior is IdleBehavior.RUN
    assert tags(here, name)["ArvadosIdleBehavior"] == "run"
    assert not {TERM, ACTOR, REASON} & tags(here, name).keys()
    here.until_over(within_s=300.0)


def test_a_drain_for_a_time_ends_before_its_container_does():
    """The instance takes work again: nothing new is created for it."""
    here = town()
    uuid = here.submit(wants(), length_s=300.0)
    here.until_states([uuid], RUNNING)
    name = here.held()[0].name
    choose(here, name, IdleBehavior.DRAIN, for_s=60.0)
    here.run(70.0)
    other = here.submit(wants(), length_s=5.0)
    here.until_states([uuid, other], COMPLETE)
    assert {start.instance for start in here.journal.of(m.StartContainer)} == {name}
    here.until_over()


@pytest.mark.parametrize("jump_s", [0.0, 100.0, -100.0])
def test_the_note_and_its_end_survive_a_restart(jump_s):
    """Who, why and until when are in the tags; the end is a wall time there, so whoever starts later takes it from his clock."""
    here = town(timeout_idle_s=60.0)
    name = idle_instance(here).name
    choose(here, name, IdleBehavior.HOLD, for_s=1000.0)
    ends_s, before = here.clock.now_s + 1000.0, here.state.instances[name].operator
    here.run(300.0)
    here.clock.wall_offset_s += jump_s
    here.restart()
    here.run(60.0)
    found = here.state.instances[name].operator
    assert (found.actor, found.reason, found.at, found.until) == (before.actor, before.reason, before.at, before.until)
    here.run(ends_s - jump_s - here.clock.now_s - 5.0)
    assert here.state.instances[name].idle_behavior is IdleBehavior.HOLD
    here.run(10.0)
    assert here.state.instances[name].idle_behavior is IdleBehavior.RUN
    here.until_over(within_s=300.0)


def test_an_end_that_passed_while_nobody_was_there_is_made_up_for():
    """The dispatcher was down when the time came."""
    here = town(timeout_idle_s=60.0)
    name = idle_instance(here).name
    choose(here, name, IdleBehavior.HOLD, for_s=100.0)
    here.run(10.0)
    here.leader.stop()
    here.run(1000.0)
    here.restart()
    here.until_over(within_s=600.0)


def test_a_drain_taken_back_leaves_no_note_behind():
    """Run takes the note's tags away, and a restart finds an instance that works as usual."""
    here = town()
    uuid = here.submit(wants(), length_s=120.0)
    here.until_states([uuid], RUNNING)
    name = here.held()[0].name
    choose(here, name, IdleBehavior.DRAIN, for_s=3600.0)
    here.run(10.0)
    assert tags(here, name)[REASON] == "kernel"
    choose(here, name, IdleBehavior.RUN)
    here.run(10.0)
    assert not {TERM, ACTOR, REASON} & tags(here, name).keys()
    here.restart()
    here.run(60.0)
    assert here.state.instances[name].idle_behavior is IdleBehavior.RUN
    here.until_over()


def test_an_instance_that_is_still_asked_for_keeps_its_choice():
    """Held before the cloud has accepted it: the tags follow, and it is never destroyed for being idle."""
    here = town(timeout_idle_s=30.0)
    here.submit(wants(), length_s=1.0)
    assert here.run(60.0, until=lambda: bool(here.held()))
    name = here.held()[0].name
    choose(here, name, IdleBehavior.HOLD)
    here.run(600.0)
    assert tags(here, name)["ArvadosIdleBehavior"] == "hold"
    assert tags(here, name)[ACTOR] == "ada@host"
    here.check()
