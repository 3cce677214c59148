"""Samples: each instance counts once, and those count as waiting who are wanted and have no runner."""

from __future__ import annotations

import pytest

from dispatcher.core.history import BOOTING, ENDING, IDLE, KEPT, RUNNING, by_standing, sample, standing
from dispatcher.core.model import ContainerState, IdleBehavior, Instance, Phase
from tests.core.build import C1, C2, C3, NOW, container, instance, state

STANDINGS = [
    (instance("i1", Phase.CREATING), BOOTING),
    (instance("i1", Phase.BOOTING), BOOTING),
    (instance("i1", Phase.UNKNOWN), BOOTING),
    (instance("i1"), IDLE),
    (instance("i1", Phase.READY, C1), RUNNING),
    (instance("i1", Phase.READY, C1, idle_behavior=IdleBehavior.DRAIN), KEPT),
    (instance("i1", idle_behavior=IdleBehavior.HOLD), KEPT),
    (instance("i1", condemned="broken"), KEPT),
    (instance("i1", Phase.SHUTDOWN, idle_behavior=IdleBehavior.HOLD), ENDING),
]


@pytest.mark.parametrize(("one", "word"), STANDINGS)
def test_each_instance_stands_under_one_word(one: Instance, word: str) -> None:
    """What it is about to become comes before what it does."""
    assert standing(one) == word


def test_a_sample_counts_instances_cost_and_waits() -> None:
    """Who runs waits no longer; the oldest wait is told in seconds."""
    shown = state(
        container(C1), container(C2, ContainerState.RUNNING), container(C3, priority=0),
        instance("i1", Phase.READY, C2, price=0.5), instance("i2", price=0.25),
    )  # fmt: skip
    taken = sample(shown, NOW)
    assert (dict(taken.instances), taken.price_per_hour) == ({RUNNING: 1, IDLE: 1}, 0.75)
    assert (taken.waiting, taken.oldest_wait_s, taken.running) == (1, 100.0, 1)
    assert by_standing(shown)[IDLE] == (1, 0.25)
