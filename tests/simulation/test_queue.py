"""The queue service at its worst, in virtual time: overloaded, deep, refusing, gone and back. Nothing is lost, nothing storms."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, Phase
from dispatcher.core.transitions import locks
from tests.simulation.worlds import Town, offer, settings, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
COMPLETE, CANCELLED = ContainerState.COMPLETE, ContainerState.CANCELLED


def town(*offers, **changes) -> Town:
    made = Town(settings(*offers, **changes), seed=1)
    made.start_dispatcher()
    return made


# --------------------------------------------------------------------------------------------------------------- overload


def forty_running() -> Town:
    """Ten instances of four, full of containers of 30 s, and no end of them in the queue."""
    here = town(offer("b4", 4), max_instances=10, probe_interval_s=5.0)
    for _ in range(800):
        here.submit(wants(), length_s=30.0)
    assert here.run(600.0, until=lambda: len(here.held(Phase.READY)) == 10)
    here.run(60.0)
    return here


def per_half_minute(times: list[float], since_s: float) -> list[int]:
    counts = Counter(int((at_s - since_s) // 30.0) for at_s in times if at_s >= since_s)
    return [counts[slot] for slot in range(6)]


def test_12_12_after_one_503_with_40_running_everything_runs_at_its_full_rate_again():
    """Full rate within two minutes without a further 503, and in every half minute as many starts as exits.

    Regression of 12.12: one 503 took a cluster of 64 back to what ran at that moment, and let it grow by one per boot."""
    here = forty_running()
    before = len([at_s for at_s in here.journal.times(m.StartContainer) if at_s >= here.clock.now_s - 30.0])
    here.queue.knobs.overloads, since_s = 1, here.clock.now_s
    here.run(180.0)
    starts = per_half_minute(here.journal.times(m.StartContainer), since_s)
    exits = per_half_minute([at_s for at_s, _ in here.queue.ended_at], since_s)
    refused = [message for message in here.journal.of(m.ContainerWriteFailed) if message.failure.overloaded]
    assert len(refused) == 1
    unseen = 4  # exits that no probe has seen yet
    assert all(begun >= over - unseen for begun, over in zip(accumulate(starts), accumulate(exits), strict=True)), (starts, exits)
    assert starts[4] + starts[5] >= 2 * (before - unseen), (starts, before)
    assert locks.window(here.state.queue, here.clock.now_s) == locks.LOCK_WINDOW
    here.check()
