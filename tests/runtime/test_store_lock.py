"""What runs under the lock, seen by the listener, which is called there."""

from __future__ import annotations

import gc

from dispatcher.core.messages import Action, ConnectionLost, Event, LeadershipGained, PollQueue
from dispatcher.core.model import State
from dispatcher.runtime.store import Store


def test_no_garbage_is_collected_under_the_lock() -> None:
    """A collection may take longer than any change: it is put off until the lock is free, and comes then."""
    collecting: list[bool] = []

    def listen(before: State, after: State, message: Event | Action) -> None:
        collecting.append(gc.isenabled())

    store = Store(State(), lambda: 1.0, listener=listen)
    store.post(LeadershipGained())
    store.commit([PollQueue()], store.snapshot())
    assert collecting == [False, False]
    assert gc.isenabled()


def test_who_switched_the_collector_off_finds_it_off() -> None:
    """The store gives back what it found."""
    store = Store(State(), lambda: 1.0)
    gc.disable()
    try:
        store.post(ConnectionLost(name="nobody"))
        assert not gc.isenabled()
    finally:
        gc.enable()
