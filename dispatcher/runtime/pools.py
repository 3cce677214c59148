"""Bounded lanes in which all I/O runs: so many threads for each kind of act, and no act of one kind waits behind another kind.

At most one operation of a kind is in flight per entity, so a lane's queue is bounded by the number of entities.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection

from dispatcher.core import messages as m
from dispatcher.core.model import State

log = logging.getLogger(__name__)

LANES: dict[str, int] = {
    "poll": 1,
    "details": 2,
    "writes": 2,
    "locks": 16,
    "list": 1,
    "catalogue": 1,
    "create": 32,
    "destroy": 8,
    "tags": 2,
    "leftovers": 2,
    "probe": 48,
    "failing probe": 8,
    "start": 8,
    "output": 8,
}
WITH_EFFECT = ("writes", "locks", "create", "destroy", "tags", "leftovers", "start")
"""What runs here changes the world, so its end is worth waiting for; what the others ask can be asked again."""

MOST_HUNG = 3  # a lane has at most this many times its size of threads that hang; then its jobs wait

_LANE_OF: dict[type[m.Action], str] = {
    m.PollQueue: "poll",
    m.ReadContainers: "details",
    m.LockContainer: "locks",
    m.UnlockContainer: "writes",
    m.CancelContainer: "writes",
    m.ListInstances: "list",
    m.ReadCatalogue: "catalogue",
    m.CreateInstance: "create",
    m.PollCreate: "create",
    m.DestroyInstance: "destroy",
    m.RemoveInstance: "destroy",
    m.SaveTags: "tags",
    m.DeleteLeftover: "leftovers",
    m.ProbeInstance: "probe",
    m.StartContainer: "start",
    m.KillProcess: "start",
    m.FetchOutput: "output",
}


def lane_of(action: m.Action, state: State) -> str:
    """The lane of an act; instances that failed last time keep to their own, so that an outage delays no healthy one."""
    if isinstance(action, m.ProbeInstance):
        instance = state.instances.get(action.name)
        if instance is not None and instance.probe_failures > 2:
            return "failing probe"
    return _LANE_OF[type(action)]


class Lane:
    """Up to ``size`` daemon threads, started as they are needed, that take jobs in order.

    Who waits and who is idle is known exactly, under one lock: a job never waits behind a running one while the lane may still
    start a thread for it."""

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0  # threads that are about to take a job or wait for one
        self._hung = 0
        self._serial = 0
        self._closed = False

    def submit(self, work: Callable[[], None]) -> None:
        with self._changed:
            if self._closed:
                return
            self._jobs.append(work)
            self._hire()
            self._changed.notify()

    def _hire(self) -> None:
        """Start threads for the jobs that no idle one will take. A host that refuses one is asked again with the next job."""
        for _ in range(min(len(self._jobs) - self._idle, self._allowed() - len(self._threads))):
            self._serial += 1
            thread = threading.Thread(target=self._run, name=f"{self._name}-{self._serial}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                log.exception("lane %s: no thread can be started", self._name)
                return
            self._threads.append(thread)
            self._idle += 1

    def _allowed(self) -> int:
        return self._size + min(self._hung, self._size * MOST_HUNG)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except BaseException:  # a plug-in may raise SystemExit, which would end the thread without a word
                log.exception("lane %s: a bug; it goes on", self._name)
            with self._changed:
                self._idle += 1

    def _next(self) -> Callable[[], None] | None:
        """The next job; None when this thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed or self._crowded())
            self._idle -= 1
            if self._jobs and not self._crowded():
                return self._jobs.popleft()
            self._threads.remove(threading.current_thread())
            return None

    def _crowded(self) -> bool:
        return len(self._threads) > self._allowed()

    def widen(self) -> None:
        """One thread of it hangs: another takes its place, as long as not too many hang already."""
        with self._changed:
            self._hung += 1
            self._hire()

    def narrow(self) -> None:
        """A thread that hung came back after all."""
        with self._changed:
            self._hung -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more jobs, drop the waiting ones, and let the running ones end."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()

    def join(self, deadline: Callable[[], float]) -> bool:
        """Wait for the running jobs until the deadline (seconds left); True when all have ended."""
        with self._changed:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline()))
        return not any(thread.is_alive() for thread in threads)

    def waiting(self) -> int:
        return len(self._jobs)


class Lanes:
    """All lanes, by name. A job that is given up gets its lane a thread more, until it comes back."""

    def __init__(self, run: Callable[[m.Action, int], None], snapshot: Callable[[], State]) -> None:
        self._run, self._snapshot = run, snapshot
        self._lanes = {name: Lane(name, size) for name, size in LANES.items()}
        self._lock = threading.Lock()
        self._busy: dict[int, Lane] = {}
        self._given_up: set[int] = set()

    def dispatch(self, action: m.Action, term: int) -> None:
        lane = self._lanes[lane_of(action, self._snapshot())]
        lane.submit(lambda: self._work(lane, action, term))

    def _work(self, lane: Lane, action: m.Action, term: int) -> None:
        with self._lock:
            self._busy[id(action)] = lane
        try:
            self._run(action, term)
        finally:
            with self._lock:
                del self._busy[id(action)]
                came_back = id(action) in self._given_up
                self._given_up.discard(id(action))
            if came_back:
                lane.narrow()

    def give_up(self, action: m.Action) -> None:
        """The thread that performs this very action hangs: do without it. One that has ended meanwhile is left alone."""
        with self._lock:
            lane = self._busy.get(id(action))
            if lane is None or id(action) in self._given_up:
                return
            self._given_up.add(id(action))
        lane.widen()

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()

    def join(self, deadline: Callable[[], float], names: Collection[str] = tuple(LANES)) -> bool:
        """Wait for the running jobs of these lanes; True when all have ended."""
        ended = [self._lanes[name].join(deadline) for name in names]
        return all(ended)

    def waiting(self) -> dict[str, int]:
        return {name: lane.waiting() for name, lane in self._lanes.items()}
