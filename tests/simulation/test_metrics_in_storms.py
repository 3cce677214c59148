"""In storms the books balance: every instance has one boot outcome and one disappearance, whatever happened to it."""

from __future__ import annotations

from collections import Counter

import pytest

from dispatcher.core.messages import Action, Event
from dispatcher.core.model import Phase
from dispatcher.meters import catalogue as c
from dispatcher.simulation.storm import Storm
from dispatcher.simulation.world import Dispatcher

BEFORE_READY = (Phase.CREATING, Phase.BOOTING, Phase.UNKNOWN)


class Births:
    """How often each dispatcher saw an instance that the cloud has accepted, counted the slow way."""

    def __init__(self) -> None:
        self.lives: Counter[str] = Counter()
        self.there: dict[str, set[str]] = {}

    def note(self, dispatcher: Dispatcher, message: Event | Action) -> None:
        now = {each.name for each in dispatcher.store.snapshot().instances.all() if each.id is not None}
        self.lives[dispatcher.name] += len(now - self.there.get(dispatcher.name, set()))
        self.there[dispatcher.name] = now


@pytest.mark.parametrize("seed", [10, 67, 2003])
def test_the_books_balance_after_a_storm(seed: int) -> None:
    """Also for a dispatcher that was killed on the way: what it still held has no end yet."""
    births = Births()
    storm = Storm(seed, births.note)
    assert storm.run().wrong == []
    for dispatcher in storm.world.ever:
        metrics, state = dispatcher.metrics, dispatcher.store.snapshot()
        metrics.recorder.catch_up(storm.world.clock.now_s)
        board, held = metrics.recorder.board, [each for each in state.instances.all() if each.id is not None]
        outcomes = sum(board.value(c.BOOT_OUTCOMES, each) for each in c.OUTCOMES)
        assert outcomes + sum(each.phase in BEFORE_READY for each in held) == births.lives[dispatcher.name]
        gone = sum(board.value(c.DISAPPEARED, each) for each in c.WORKER_STATES)
        assert gone + len(held) == births.lives[dispatcher.name]
        assert (metrics.recorder.bugs, metrics.acts.bugs) == (0, 0)
        assert len(list(metrics.registry(dispatcher.store.snapshot).collect())) > 50
