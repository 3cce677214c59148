"""Room that is asked for before an announced end: for whom, when, how much, and never at the cost of somebody who waits."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.core import explain, lifecycle, replacing, schedule
from dispatcher.core import messages as m
from dispatcher.core.model import Container, ContainerState, IdleBehavior, Instance, Phase, State
from tests.core.build import C1, C2, C3, NOW, after, container, instance, offer, process, settings, state, wants

RUNNING, LOCKED, QUEUED = ContainerState.RUNNING, ContainerState.LOCKED, ContainerState.QUEUED
ENDS = {"condemned": "its end is announced: taken back", "ending": "taken back", "ending_since_s": NOW - 10.0}
AHEAD_S = 120.0


def doomed(*running: str, **changes: Any) -> Instance:
    return instance("i1", Phase.READY, *running, **{**ENDS, **changes})


def site(*things: Container | Instance, **changes: Any) -> State:
    chosen = settings(offer("t4"), **{"max_running_containers_per_instance": 1, **changes})
    return state(*things, settings=chosen)


def asked(here: State) -> list[m.CreateInstance]:
    numbers = iter(range(100))
    plan = schedule.plan(here, NOW, lambda: (f"new{next(numbers)}", "s"))
    return [act for act in plan if isinstance(act, m.CreateInstance)]


# ----------------------------------------------------------------------------------------------------------- who, and when

WHO: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({"state": LOCKED}, {}, True),
    ({"priority": 0}, {}, False),
    ({"kill_requested": "enough"}, {}, False),
    ({"requirements": wants(64)}, {}, False),
    ({"requirements": None}, {}, False),
    ({}, {"ending": ""}, False),
    ({}, {"ends_s": NOW + AHEAD_S}, True),
    ({}, {"ends_s": NOW + AHEAD_S + 1}, False),
    ({}, {"ends_s": NOW - 60.0}, True),
    ({}, {"ends_s": NOW - 61.0}, False),
    ({}, {"ending_since_s": NOW - 900.0}, True),
    ({}, {"ending_since_s": NOW - 901.0}, False),
]


@pytest.mark.parametrize(("of", "at", "comes"), WHO)
def test_who_comes_back_and_when_it_is_time(of: dict[str, Any], at: dict[str, Any], comes: bool) -> None:
    """From two minutes before the end on, or at once when nobody knows it; for as long as it may still come."""
    one = container(**{"state": RUNNING, **of})
    here = site(one, doomed(C1, **at))
    assert [c.uuid for c in replacing.expected(here, NOW)] == ([C1] if comes else [])
    assert bool(asked(here)) is comes


def test_a_site_may_do_without() -> None:
    """Then only what waits is served."""
    here = site(container(state=RUNNING), doomed(C1), replace_ahead_s=0.0)
    assert asked(here) == []
    assert replacing.due_s(here, NOW) == []


def test_the_loop_wakes_when_the_time_comes_and_when_it_is_over() -> None:
    """The clock alone brings it about."""
    here = site(container(state=RUNNING), doomed(C1, ends_s=NOW + 300.0))
    assert sorted(replacing.due_s(here, NOW)) == [NOW + 180.0, NOW + 890.0]


# ----------------------------------------------------------------------------------------------------------------- how much


def test_an_instance_is_asked_for_once_and_says_what_for() -> None:
    """While one is on its way, or there is room, nothing more is asked for."""
    here = site(container(state=RUNNING), doomed(C1))
    (create,) = asked(here)
    assert create.reason == f"ahead of the announced end of i1, for {C1}"
    on_its_way = after(here, create)
    assert asked(on_its_way) == []
    spare = site(container(state=RUNNING), doomed(C1), instance("i2"))
    assert asked(spare) == []
    assert "room for its next attempt is on i2" in explain.statuses(spare, NOW)[C1]


def test_the_reason_is_shown_at_the_container() -> None:
    """What is announced, and what is done about it."""
    said = explain.statuses(site(container(state=RUNNING), doomed(C1)), NOW)[C1]
    assert said == "running on i1; the end of i1 is announced: taken back; an instance for its next attempt is asked for"
    full = explain.statuses(site(container(state=RUNNING), doomed(C1), max_instances=1), NOW)[C1]
    assert full.endswith("there is no room for its next attempt: MaxInstances (1) is reached")
    other = explain.statuses(site(container(state=RUNNING), instance("i1", Phase.READY, C1)), NOW)[C1]
    assert other == "running on i1"


def test_who_waits_comes_first_and_nobody_gives_way() -> None:
    """The last place that a limit leaves is for the container that waits; an idle instance is not destroyed for who may come."""
    both = (container(state=RUNNING), container(C2), doomed(C1))
    (create,) = asked(site(*both, max_instances=2))
    assert create.reason == ""
    held = instance("i2", idle_behavior=IdleBehavior.HOLD, tags={"ArvadosIdleBehavior": "hold"})
    full = site(container(state=RUNNING), doomed(C1), held, max_instances=2)
    assert schedule.plan(full, NOW, lambda: ("n", "s")) == []


@pytest.mark.parametrize("changes", [{"max_instances": 1}, {"max_price_per_hour": 1.0}, {"max_price_per_day": 1e-9}])
def test_every_limit_holds(changes: dict[str, Any]) -> None:
    """Number and money, as for any other create."""
    paid = {"price": 1.0, "paid_since_s": NOW - 100.0}
    assert asked(site(container(state=RUNNING), doomed(C1, **paid), **changes)) == []


# ------------------------------------------------------------------------------------------------------------------ keeping


def idle(name: str, **changes: Any) -> Instance:
    return instance(name, busy_s=NOW - 1000.0, **{"tags": {"ArvadosIdleBehavior": "run"}, **changes})


def destroyed(here: State) -> list[str]:
    return sorted(act.name for act in lifecycle.plan(here, NOW) if isinstance(act, m.DestroyInstance))


def test_as_many_idle_instances_are_kept_as_are_needed() -> None:
    """One for each that will come back; the others go."""
    here = site(container(state=RUNNING), doomed(C1), idle("i2"), idle("i3"))
    assert replacing.kept(here, NOW) == {"i2"}
    assert destroyed(here) == ["i3"]
    assert destroyed(site(container(state=RUNNING), doomed(C1), idle("i2"), replace_ahead_s=0.0)) == ["i2"]


def test_room_beside_others_keeps_no_idle_instance() -> None:
    """Where several share an instance."""
    here = site(
        container(state=RUNNING), container(C2, RUNNING), doomed(C1), instance("i2", Phase.READY, C2), idle("i3"),
        max_running_containers_per_instance=0,
    )  # fmt: skip
    assert replacing.kept(here, NOW) == frozenset()


@pytest.mark.parametrize("unfit", [{"condemned": "broken"}, {"image": "other"}, {"idle_behavior": IdleBehavior.DRAIN}])
def test_what_could_not_take_it_is_not_kept(unfit: dict[str, Any]) -> None:
    """Condemned, on drain, or made with another image."""
    here = site(container(state=RUNNING), doomed(C1), idle("i2", **unfit))
    assert replacing.kept(here, NOW) == frozenset()


def test_what_was_kept_is_idle_from_the_end_on() -> None:
    """So that it is there when the new container comes, some seconds later."""
    gone = doomed(C1, misses=(NOW - 2.0, NOW - 1.0), processes={C1: process(C1)})
    here = after(site(container(state=RUNNING), container(C3, RUNNING), gone, idle("i2")), m.RemoveInstance(name="i1"))
    assert here.instances["i2"].busy_s == NOW
    assert replacing.kept(here, NOW) == frozenset()


def test_an_announcement_is_kept_with_its_first_time_and_its_newest_date() -> None:
    """A question that fails later takes nothing back."""
    def heard(notice: str, ends_in_s: float | None, began_s: float) -> m.Probed:
        report = m.ProbeReport(reached=True, processes=frozenset(), notice=notice, ends_in_s=ends_in_s)
        return m.Probed(name="i1", began_s=began_s, report=report)

    here = after(state(instance()), heard("taken back", 60.0, 995.0), heard("", None, 996.0), heard("soon", 30.0, 997.0))
    known = here.instances["i1"]
    assert (known.ending, known.ending_since_s, known.ends_s) == ("soon", 995.0, 1027.0)
    assert known.condemned == "its end is announced: taken back"
    late = after(state(instance()), heard("begun", -5.0, 995.0)).instances["i1"]
    assert late.ends_s == 990.0
