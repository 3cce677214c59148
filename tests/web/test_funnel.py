"""The funnel: every container that is wanted stands at one step, with since when."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.core.model import Container, ContainerState, Instance, Phase
from dispatcher.web.funnel import STEPS, funnel, step
from dispatcher.web.shown import Wall
from tests.core.build import C1, C2, C3, container, instance, kill, process, state

LOCKED, RUNNING = ContainerState.LOCKED, ContainerState.RUNNING


def placed(where: Container, *on: Instance) -> Any:
    shown = state(where, *on)
    return step(shown, shown.containers[C1])


# the container, its instance → step, since when
TABLE = [
    (container(), (), ("queued", 900.0)),
    (container(instance="i1"), (instance("i1", Phase.BOOTING),), ("assigned", 900.0)),
    (container(state=LOCKED, instance="i1"), (instance("i1", Phase.CREATING),), ("asked for", 500.0)),
    (container(state=LOCKED, instance="i1"), (instance("i1", Phase.BOOTING),), ("booting", 500.0)),
    (container(state=LOCKED, instance="i1"), (instance("i1"),), ("ready", 500.0)),
    (container(state=RUNNING), (instance("i1", Phase.READY, C1),), ("running", 900.0)),
    (container(state=RUNNING, exited_s=950.0), (), ("finishing", 950.0)),
    (container(priority=0), (), None),
    (container(state=ContainerState.COMPLETE), (), None),
]


@pytest.mark.parametrize(("one", "on", "expected"), TABLE)
def test_each_container_stands_at_one_step(one: Container, on: tuple[Instance, ...], expected: Any) -> None:
    """Where it is, and since when; None for what is over or not wanted."""
    assert placed(one, *on) == expected


def test_a_runner_that_is_being_killed_finishes() -> None:
    """From the first signal on."""
    dying = instance("i1", processes={C1: process(C1, kill=kill(since_s=980.0))})
    assert placed(container(state=RUNNING), dying) == ("finishing", 980.0)


def test_the_funnel_names_the_oldest_of_each_step() -> None:
    """Every step is there, also when nobody stands at it."""
    shown = state(container(C1), container(C2), container(C3, priority=0))
    made = funnel(shown, Wall(0.0))
    assert [row["step"] for row in made["steps"]] == list(STEPS)
    assert made["steps"][0]["count"] == 2
    assert (made["steps"][0]["oldest"], made["steps"][0]["oldest_since"]) == (C1, "1970-01-01T00:15:00Z")
    assert made["unwanted"] == 1
