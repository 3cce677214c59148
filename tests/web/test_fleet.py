"""The fleet: longest unchanged first, whole while it is small, groups and pages when it is large."""

from __future__ import annotations

from dispatcher.core.maps import Map
from dispatcher.core.model import IdleBehavior, OperatorNote, Phase, State
from dispatcher.core.values import replace
from dispatcher.web.fleet import LONGEST, WHOLE, Wanted, cell, fleet, page, problem
from dispatcher.web.shown import Wall
from tests.core.build import C1, container, instance, kill, process, state

WALL = Wall(0.0)


def crowd(count: int) -> State:
    one = instance("i0")
    many = [replace(one, name=f"i{number}", phase_since_s=float(number), busy_s=float(number)) for number in range(count)]
    return replace(state(), instances=Map((each.name, each) for each in many))


def test_a_small_fleet_is_shown_whole_the_longest_unchanged_first() -> None:
    """Who has stood still for longest is who an operator looks for."""
    shown = fleet(crowd(3), WALL)
    assert [each["name"] for each in shown["shown"]] == ["i0", "i1", "i2"]
    assert (shown["whole"], shown["count"]) == (True, 3)


def test_a_large_fleet_is_groups_and_the_longest_unchanged() -> None:
    """The first view stays small however many there are."""
    shown = fleet(crowd(WHOLE + 1), WALL)
    assert (len(shown["shown"]), shown["whole"], shown["count"]) == (LONGEST, False, WHOLE + 1)
    assert shown["shown"][0]["name"] == "i0"
    assert [(each["type"], each["state"], each["behavior"], each["count"]) for each in shown["groups"]] == [
        ("t4", "idle", "run", WHOLE + 1)
    ]


def test_the_rest_is_a_page_further_on() -> None:
    """Nobody is on two pages, and nobody is left out."""
    many = crowd(2 * LONGEST + 50)
    pages = [page(many, Wanted(page=number), WALL) for number in (1, 2, 3)]
    names = [each["name"] for part in pages for each in part["shown"]]
    assert (len(names), len(set(names)), pages[0]["pages"]) == (2 * LONGEST + 50, 2 * LONGEST + 50, 3)
    assert page(many, Wanted(page=99), WALL)["page"] == 3


def test_instances_are_chosen_by_type_state_and_behaviour() -> None:
    """As a group of the page leads to them."""
    shown = state(instance("i1"), instance("i2", Phase.BOOTING), instance("i3", idle_behavior=IdleBehavior.HOLD))
    assert [each["name"] for each in page(shown, Wanted(state="booting"), WALL)["shown"]] == ["i2"]
    assert [each["name"] for each in page(shown, Wanted(type="t4", behavior="hold"), WALL)["shown"]] == ["i3"]
    assert page(shown, Wanted(type="none"), WALL)["count"] == 0


def test_a_cell_says_what_its_instance_does_and_who_chose_it() -> None:
    """State, load, containers, last answer, price, and the operator's note."""
    note = OperatorNote(actor="erika", reason="kernel\x1b[31m log", at="2027-01-15T03:10:00Z")
    shown = state(
        container(C1, instance="i1"),
        instance("i1", Phase.READY, C1, idle_behavior=IdleBehavior.HOLD, operator=note, answered_s=980.0, reached_s=970.0),
    )
    made = cell(shown, shown.instances["i1"], WALL)
    assert (made["state"], made["behavior"], made["price"]) == ("running", "hold", 1.0)
    assert (made["vcpus"], made["vcpus_taken"], made["containers"]) == (4, 1, [C1])
    assert (made["probed"], made["since"]) == ("1970-01-01T00:16:20Z", "1970-01-01T00:15:00Z")
    assert made["choice"]["reason"] == "kernel [31m log"


def test_the_problem_of_an_instance_is_the_worst_one() -> None:
    """Why it goes comes before what is wrong with it."""
    assert problem(instance("i1")) == ""
    assert problem(instance("i1", Phase.SHUTDOWN, warning="degraded")) == "idle"
    assert problem(instance("i1", probe_failures=3, probe_error="no route")) == "3 probes failed: no route"
    assert "cannot be killed" in problem(instance("i1", processes={C1: process(C1, kill=kill(unkillable=True))}))
