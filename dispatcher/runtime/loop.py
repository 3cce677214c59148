"""A loop: plan on a snapshot, commit what is still legal, hand it to the lanes, rest, wait for its topics or its due time.

``turn`` is the whole of it without the waiting, so that the simulation runs the very same code in virtual time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from dispatcher.core.messages import Action
from dispatcher.core.model import State
from dispatcher.core.transitions import WITHOUT_EFFECT
from dispatcher.frozen import dataclass
from dispatcher.runtime.ports import Clock
from dispatcher.runtime.store import PlannerBug, Store

Planner = Callable[[State, float], list[Action]]
Due = Callable[[State, float], float]

HEARTBEAT_S = 5.0  # a loop looks at least this often, so that its silence means that it hangs
REST_S = 0.005
REST_LEAST_PARTS, REST_MOST_S = 2.0, 0.3
TOGETHER = 50  # actions that are committed before they are handed on
LONGER = 1.5  # each rest than the one before, while news never cease
BORED_S = 0.1
AFTER_BUG_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSpec:
    """A row of ``LOOPS``: who plans, what wakes it, when it is next due, how many times as long as it worked it rests at least,
    and how long it may rest while news never cease."""

    name: str
    planners: tuple[Planner, ...]
    topics: tuple[str, ...]
    due: Due
    rest_parts: float = REST_LEAST_PARTS
    longest_rest_s: float = REST_S


def next_rest_s(rest_s: float, quiet_s: float, longest_s: float) -> float:
    """What follows a rest of ``rest_s`` after which nothing happened for ``quiet_s``. The first news after a pause are looked at
    at once; where they never cease each turn sees many of them, and costs no more than it did with one."""
    return min(rest_s * LONGER, max(longest_s, REST_S)) if quiet_s < REST_S else REST_S


def rest_after_s(worked_s: float, took_s: float, parts: float) -> float:
    """So many parts of the time that it took, so that all loops together leave the processor to those who act, but not for long.
    Of long work twice is enough; to have waited for others, for the lock or the interpreter, is no work."""
    return max(REST_LEAST_PARTS * worked_s, min(parts * took_s, REST_MOST_S))


class Loop:
    """One of the named threads, or its equal in virtual time."""

    def __init__(
        self, spec: LoopSpec, store: Store, clock: Clock, dispatch: Callable[[Action, int], None],
        passed: Callable[[str, float], None] | None = None, heartbeat_s: float = HEARTBEAT_S,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:  # fmt: skip
        self.spec = spec
        self._store, self._clock, self._dispatch = store, clock, dispatch
        self._heartbeat_s, self._spent = heartbeat_s, spent
        self._passed = passed  # told of each turn how long it took
        self.beat_s = clock.monotonic()
        self.turns = 0
        self.bugs = 0
        self.last_bug = ""
        self.last_turn_s = 0.0
        self._rest_s = REST_S

    def turn(self) -> int:
        """One round of every planner; how many actions were begun. A planner with a bug stops none that come after it."""
        self.beat_s = self._clock.monotonic()
        self.turns += 1
        begun = 0
        for planner in self.spec.planners:
            try:
                seen = self._store.snapshot()
                begun += self.finish(seen, planner(seen, self._clock.monotonic()))
            except PlannerBug:
                raise
            except Exception as bug:  # noqa: BLE001 - a loop that dies takes the service with it
                self._survive(bug)
        self.last_turn_s = self._clock.monotonic() - self.beat_s
        if self._passed is not None:
            self._passed(self.spec.name, self.last_turn_s)
        return begun

    def finish(self, seen: State, actions: Sequence[Action]) -> int:
        """Commit a plan and hand on what was accepted, to be performed in the term in which it was planned or not at all. The
        first of many do not wait for the last."""
        begun = 0
        for start in range(0, len(actions), TOGETHER):
            accepted = self._store.commit(actions[start : start + TOGETHER], seen)
            begun += len(accepted)
            for action in accepted:
                if not isinstance(action, WITHOUT_EFFECT):
                    self._dispatch(action, seen.leadership.term)
        return begun

    def due_s(self, begun: int) -> float:
        """When the clock alone wakes it, never later than the next heartbeat. Who just looked, found something due and could
        begin nothing, or does not lead, has no reason to look again at once."""
        now, state = self._clock.monotonic(), self._store.snapshot()
        if not state.leadership.leading:
            return now + self._heartbeat_s
        due_s = min(self.spec.due(state, now), now + self._heartbeat_s)
        return due_s if begun or due_s > now else now + BORED_S

    def run(self, stop: threading.Event) -> None:
        """The body of the thread. It rests after each turn, longer after a long one, so that it never starves the others."""
        while not stop.is_set():
            counts = self._store.counts(self.spec.topics)
            began, spent = self._clock.monotonic(), self._spent()
            bugs, due_s = self.bugs, began
            begun = self.turn()
            try:
                due_s = self.due_s(begun)
            except Exception as bug:  # noqa: BLE001 - as above
                self._survive(bug)
            took_s, worked_s = self._clock.monotonic() - began, self._spent() - spent
            rest_s = rest_after_s(worked_s, took_s, self.spec.rest_parts)
            stop.wait(max(self._rest_s if self.bugs == bugs else AFTER_BUG_S, rest_s))
            rested_s = self._clock.monotonic()
            self._store.wait(self.spec.topics, counts, due_s - rested_s)
            self._rest_s = next_rest_s(self._rest_s, self._clock.monotonic() - rested_s, self.spec.longest_rest_s)

    def _survive(self, bug: Exception) -> None:
        self.bugs += 1
        self.last_bug = f"{type(bug).__name__}: {bug}"
        log.exception("loop %s: a bug; it goes on", self.spec.name)
