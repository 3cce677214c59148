"""The last day in samples, one a minute: bounded, in memory, and lost with the process.

Nothing is decided by it. A sample is taken from a snapshot, outside every lock but the one of the list.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping

from dispatcher.core.history import Sample, sample
from dispatcher.core.model import State

EVERY_S = 60.0
LOOK_S = 5.0
KEPT = 24 * 60
BOOTS_KEPT = 60

Calls = Mapping[str, Mapping[str, int]]
"""Operation of the driver → outcome → how many calls, since the start."""

Boots = Mapping[str, Mapping[str, int]]
"""Instance type → outcome → how many boots ended so."""


class History:
    """Safe from many threads; ``tick`` is called by one. ``booted`` counts how boots ended, since the start."""

    def __init__(
        self, snapshot: Callable[[], State], now: Callable[[], float], booted: Callable[[], Boots] = dict
    ) -> None:
        self._snapshot, self._now, self._booted = snapshot, now, booted
        self._boots: deque[Boots] = deque([booted()], maxlen=BOOTS_KEPT)
        self._kept: deque[Sample] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Take a sample when one is due. Who does not lead holds nothing worth counting."""
        now, newest = self._now(), self._kept[-1] if self._kept else None
        state = self._snapshot()
        if state.leadership.leading and (newest is None or now >= newest.at_s + EVERY_S):
            taken, boots = sample(state, now), self._booted()
            with self._lock:
                self._kept.append(taken)
                self._boots.append(boots)

    def samples(self) -> tuple[Sample, ...]:
        """Oldest first."""
        with self._lock:
            return tuple(self._kept)

    def boots(self) -> Boots:
        """How the boots of the last hour ended."""
        now = self._booted()
        with self._lock:
            before = self._boots[0]
        return {kind: _since(before.get(kind, {}), outcomes) for kind, outcomes in now.items()}

    def run(self, stop: threading.Event) -> None:
        """The body of its thread."""
        while not stop.wait(LOOK_S):
            self.tick()


def _since(before: Mapping[str, int], now: Mapping[str, int]) -> Mapping[str, int]:
    return {outcome: count - before.get(outcome, 0) for outcome, count in now.items()}
