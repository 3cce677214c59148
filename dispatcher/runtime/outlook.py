"""The outlook: the verdict and why containers wait, kept ready so that nobody who looks at the page has to wait for it.

With thousands of waiting containers it costs a tenth of a second. So a thread of its own makes it anew, each second while
somebody looks and now and then while nobody does; only a small one is made for the one who asks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from dispatcher.core.model import State
from dispatcher.core.verdict import Factor, Verdict, verdict
from dispatcher.core.why import Group, groups
from dispatcher.frozen import dataclass

FRESH_S = 1.0  # while somebody looks
IDLE_S = 10.0  # while nobody does
LOOKED_AT_S = 15.0  # after the last look somebody counts as looking
CHEAP_S = 0.01  # made for the one who asks when it cost no more than this the last time
SHARE = 0.2  # of one processor, at most, for outlooks

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """``version`` of the State that it is about, ``at_s`` when it was made and ``cost_s`` what that took."""

    at_s: float
    version: int
    verdict: Verdict
    groups: tuple[Group, ...]
    cost_s: float = 0.0

    @property
    def level_and_cause(self) -> tuple[str, str]:
        return self.verdict.level, self.verdict.cause


class Outlooks:
    """``get`` answers at once, from any thread; ``run`` is the body of the thread that keeps the answer fresh."""

    def __init__(
        self, snapshot: Callable[[], State], now: Callable[[], float], troubles: Callable[[], Sequence[Factor]] = tuple,
        *, spent: Callable[[], float] = time.thread_time,
    ) -> None:  # fmt: skip
        self._snapshot, self._now, self._troubles, self._spent = snapshot, now, troubles, spent
        self._made: Outlook | None = None
        self._making = threading.Lock()
        self._looked_s = -LOOKED_AT_S

    def get(self) -> Outlook:
        """The newest one: made now when there is none, or when that is cheap."""
        self._looked_s = self._now()
        made = self._made
        if made is None:
            with self._making:
                return self._made or self._make()
        if made.cost_s < CHEAP_S and self._is_stale(made, 0.0) and self._making.acquire(blocking=False):
            try:
                return self._make()
            finally:
                self._making.release()
        return made

    def newest(self) -> Outlook:
        """For machines that come by now and then: nobody looks at the page, and none is made more often for them."""
        with self._making:
            return self._made or self._make()

    def tick(self) -> None:
        """Make it anew when it is due."""
        made = self._made
        looked_at = self._now() < self._looked_s + LOOKED_AT_S
        age_s = FRESH_S if looked_at else IDLE_S
        if made is None or self._is_stale(made, max(age_s, made.cost_s / SHARE)):
            with self._making:
                self._make()

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(FRESH_S / 4):
            try:
                self.tick()
            except Exception:  # nobody's page is worth a thread that is gone for good
                log.exception("the outlook could not be made")
                stop.wait(IDLE_S)

    def _is_stale(self, made: Outlook, age_s: float) -> bool:
        """Ages and hold-offs pass without a change of State, so that a second is the longest that it counts as fresh."""
        old_s = self._now() - made.at_s
        return old_s >= age_s and (old_s >= FRESH_S or self._snapshot().version != made.version)

    def _make(self) -> Outlook:
        began_s, state, now = self._spent(), self._snapshot(), self._now()
        found, why = verdict(state, now, tuple(self._troubles())), groups(state, now)
        self._made = Outlook(at_s=now, version=state.version, verdict=found, groups=why, cost_s=self._spent() - began_s)
        return self._made
