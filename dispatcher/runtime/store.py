"""The one lock and the current State. Under the lock run only ``observe`` and ``begin``, in small slices: never I/O, never a
plan.

Everybody else works on a snapshot, which is a reference to an immutable value.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from dispatcher.core import transitions
from dispatcher.core.messages import Action, Event
from dispatcher.core.model import State
from dispatcher.runtime.topics import TOPICS, touched

Listener = Callable[[State, State, "Event | Action"], None]
SLICE_S = 0.002  # so much thread time under the lock, then others get their turn
YIELD_S = 0.0  # a lock that is let go and taken again at once is never theirs: the interpreter has to change threads
REFUSALS_KEPT = 1_000  # reasons hold names and what clouds say, so there is no end of them

log = logging.getLogger(__name__)


class PlannerBug(AssertionError):
    """A planner proposed what is not legal on the very State that it saw."""


class _Calm:
    """No garbage is collected meanwhile: it may take longer than the change, and everybody would wait. Entered under the lock."""

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(self, *problem: object) -> None:
        if self._collects:
            gc.enable()


class Store:
    """The locked state model that all threads share.

    ``strict`` raises ``PlannerBug`` where production counts a refusal. ``listener`` is told of every change, in order, inside
    the lock: it must only take note. ``spent`` tells the time that this thread has used, in seconds.
    """

    def __init__(
        self, state: State, now: Callable[[], float], *, strict: bool = False, listener: Listener | None = None,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:  # fmt: skip
        self._state = state
        self._spent = spent
        self._now = now
        self._strict = strict
        self._listener = listener
        self._lock = threading.RLock()
        self._waiting: dict[frozenset[str], threading.Condition] = {}  # for these topics, all of them under the one lock
        self._calm = _Calm()
        self._counts = dict.fromkeys(TOPICS, 0)
        self._stopped = False
        self.refusals: Counter[str] = Counter()
        self.planner_bugs = 0
        self.last_bug = ""
        self.longest_s = 0.0  # the most thread time that one change took under the lock

    def snapshot(self) -> State:
        return self._state

    def post(self, event: Event) -> None:
        """Take in what happened."""
        with self._lock, self._calm:
            started = self._spent()
            before = self._state
            self._replace(transitions.observe(before, event, self._now()), event)
            self.longest_s = max(self.longest_s, self._spent() - started)

    def commit(self, actions: Sequence[Action], seen: State) -> list[Action]:
        """Record the intent of each action that is still legal; the ones that are not are left to the next plan."""
        accepted: list[Action] = []
        waiting = list(reversed(actions))
        while waiting:
            with self._lock, self._calm:
                self._commit_slice(waiting, accepted, seen)
            if waiting:
                time.sleep(YIELD_S)
        return accepted

    def _commit_slice(self, waiting: list[Action], accepted: list[Action], seen: State) -> None:
        started = self._spent()
        while waiting and self._spent() - started < SLICE_S:
            action = waiting.pop()
            before = self._state
            try:
                after = transitions.begin(before, action, self._now())
            except transitions.Refused as refused:
                self._refuse(refused, unchanged=before is seen)
            except Exception as bug:  # noqa: BLE001 - logged there, with its traceback
                self._survive(action, bug)
            else:
                accepted.append(action)
                self._replace(after, action)
        self.longest_s = max(self.longest_s, self._spent() - started)

    def _refuse(self, refused: transitions.Refused, *, unchanged: bool) -> None:
        kind = type(refused.action).__name__
        text = f"{kind}: {refused.reason}"[:160]
        if text not in self.refusals and len(self.refusals) >= REFUSALS_KEPT:
            text = f"{kind}: for other reasons"
        self.refusals[text] += 1
        if unchanged:
            self.planner_bugs += 1
            self.last_bug = text
            if self._strict:
                raise PlannerBug(str(refused))

    def _survive(self, action: Action, bug: Exception) -> None:
        """What was accepted before it is recorded as on its way: it has to be performed whatever becomes of the others."""
        if self._strict:
            raise bug
        log.error("a bug at the start of %s; the others go on", type(action).__name__, exc_info=bug)
        self.planner_bugs += 1
        self.last_bug = f"{type(action).__name__}: {type(bug).__name__}"

    def _replace(self, after: State, message: Event | Action) -> None:
        before = self._state
        if after is before:
            return
        self._state = after
        topics = tuple(touched(before, after, message))
        for topic in topics:
            self._counts[topic] += 1
        if self._listener is not None:
            self._listener(before, after, message)
        for wanted, condition in self._waiting.items():
            if not wanted.isdisjoint(topics):
                condition.notify_all()

    def counts(self, topics: Iterable[str]) -> tuple[int, ...]:
        """How often each topic was touched so far: the argument of ``wait``."""
        return tuple(self._counts[topic] for topic in topics)

    def wait(self, topics: Sequence[str], counts: tuple[int, ...], timeout_s: float) -> bool:
        """Wait until one of the topics is touched after ``counts``, or the time is over, or ``stop``. True: touched."""
        with self._lock:
            condition = self._waiting.setdefault(frozenset(topics), threading.Condition(self._lock))
            condition.wait_for(lambda: self._stopped or self.counts(topics) != counts, timeout=max(0.0, timeout_s))
            return self.counts(topics) != counts

    def stop(self) -> None:
        """Wake everybody who waits."""
        with self._lock:
            self._stopped = True
            for condition in self._waiting.values():
                condition.notify_all()
