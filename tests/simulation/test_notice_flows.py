"""An end that a cloud announces on the instance itself: no new work there, and the reason is known when it goes."""

from __future__ import annotations

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState
from tests.simulation.worlds import Town, wants

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
