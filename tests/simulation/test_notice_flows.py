"""An end that a cloud announces on the instance itself: no new work there, and the reason is known when it goes."""

from __future__ import annotations

from typing import Any

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, offer, settings, wants

AHEAD = "ahead of the announced end of "
RUNNING, DONE = ContainerState.RUNNING, ContainerState.COMPLETE
FINAL = (DONE, ContainerState.CANCELLED)


def test_an_instance_whose_end_is_announced_gets_no_new_work() -> None:
    """What comes next runs elsewhere; what runs there is lost with it, and its record says why."""
    town = Town()
    town.start_dispatcher()
    first = town.submit(wants(), length_s=600.0)
    town.until_states([first], RUNNING)
    (doomed,) = town.until_ready()
    town.machine(doomed.name).notice = "the cloud takes this machine back"
    assert town.run(30.0, until=lambda: bool(town.state.instances[doomed.name].condemned))
    second = town.submit(wants(), length_s=5.0)
    town.until_states([second], DONE)
    assert doomed.name not in {start.instance for start in town.journal.of(m.StartContainer) if start.uuid == second}
    town.lose(doomed.name)
    town.until_states([first], *FINAL)
    cancel = next(act for act in town.journal.of(m.CancelContainer) if act.uuid == first)
    assert "the cloud takes this machine back" in cancel.error + cancel.detail
    town.until_over()


def announced(ends_in_s: float | None, **changes: Any) -> tuple[Town, str, str]:
    """One container on an instance whose end is announced: town, container, instance."""
    one = settings(offer("a2", 2), max_running_containers_per_instance=1, timeout_idle_s=20.0, **changes)
    town = Town(one, knobs=StubKnobs.kind(boot_s=60.0))
    town.start_dispatcher()
    first = town.submit(wants(), length_s=1000.0)
    town.until_states([first], RUNNING)
    (doomed,) = town.until_ready()
    machine = town.machine(doomed.name)
    machine.notice = "the cloud takes this machine back"
    machine.notice_ends_s = None if ends_in_s is None else town.clock.now_s + ends_in_s
    return town, first, doomed.name


def end(town: Town, uuid: str, name: str) -> float:
    """The machine goes; how long until the container that comes instead of it runs."""
    known, began_s = set(town.queue.entries), town.clock.now_s
    town.lose(name)
    assert town.run(300.0, until=lambda: any(town.is_state(new, RUNNING) for new in set(town.queue.entries) - known))
    assert town.is_state(uuid, ContainerState.CANCELLED)
    return town.clock.now_s - began_s


def test_room_is_there_when_the_container_comes_back() -> None:
    """Asked for two minutes before the end, kept although it is idle, and then used: no boot is waited for."""
    town, first, name = announced(300.0)
    town.run(170.0)
    assert len(town.journal.of(m.CreateInstance)) == 1
    assert town.is_state(first, RUNNING)
    town.run(130.0)
    assert [act.reason.partition(", for")[0] for act in town.journal.of(m.CreateInstance)] == ["", f"{AHEAD}{name}"]
    assert "the end of" in town.why(first)
    assert end(town, first, name) < 30.0
    assert len(town.journal.of(m.CreateInstance)) == 2
    town.check()


def test_without_it_a_boot_is_waited_for() -> None:
    """What it saves."""
    town, first, name = announced(300.0, replace_ahead_s=0.0)
    town.run(300.0)
    assert end(town, first, name) > 60.0
    town.check()


def test_an_end_that_does_not_come_costs_an_instance_for_a_while_only() -> None:
    """It goes when the announcement counts no more; the container runs on and ends well."""
    town, first, _ = announced(60.0)
    town.run(110.0)
    assert len(town.held()) == 2
    town.run(80.0)
    assert len(town.held()) == 1
    town.until_states([first], DONE, within_s=2000.0)
    town.until_over()
    assert len(town.journal.of(m.CreateInstance)) == 2


def test_at_the_limit_nothing_is_asked_for() -> None:
    """MaxInstances counts the instance that is about to go as well."""
    town, first, name = announced(None, max_instances=1)
    town.run(100.0)
    assert len(town.journal.of(m.CreateInstance)) == 1
    assert "MaxInstances (1) is reached" in town.why(first)
    end(town, first, name)
    town.check()
