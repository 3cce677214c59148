"""The day in samples: one a minute, bounded, and how boots ended lately."""

from __future__ import annotations

from dataclasses import replace

from states import Clock, instance, leading

from dispatcher.core.model import Leadership, State
from dispatcher.runtime.history import EVERY_S, KEPT, History


def test_a_sample_is_taken_once_a_minute() -> None:
    """However often it is asked."""
    clock, shown = Clock(), leading(instance())
    history = History(lambda: shown, clock.monotonic)
    for _ in range(5):
        history.tick()
        clock.now_s += EVERY_S / 2
    assert [taken.at_s for taken in history.samples()] == [100.0, 160.0, 220.0]


def test_a_day_is_kept_and_no_more() -> None:
    """The oldest goes."""
    clock, shown = Clock(), leading()
    history = History(lambda: shown, clock.monotonic)
    for _ in range(KEPT + 3):
        history.tick()
        clock.now_s += EVERY_S
    assert (len(history.samples()), history.samples()[0].at_s) == (KEPT, 100.0 + 3 * EVERY_S)


def test_who_does_not_lead_takes_no_samples() -> None:
    """It holds nothing: a picture of it would show a fleet that vanished."""
    waiting = replace(State(), leadership=Leadership(leading=False))
    history = History(lambda: waiting, Clock().monotonic)
    history.tick()
    assert history.samples() == ()


def test_boots_are_those_of_the_last_hour() -> None:
    """Counters only grow: what they showed an hour ago is taken off."""
    clock, shown, counts = Clock(), leading(), {"small": {"success": 1, "failure": 2}}
    history = History(lambda: shown, clock.monotonic, lambda: {kind: dict(known) for kind, known in counts.items()})
    history.tick()
    counts["small"]["failure"] = 5
    counts["large"] = {"success": 1}
    assert history.boots() == {"small": {"success": 0, "failure": 3}, "large": {"success": 1}}
    for _ in range(61):
        clock.now_s += EVERY_S
        history.tick()
    assert history.boots() == {"small": {"success": 0, "failure": 0}, "large": {"success": 0}}
