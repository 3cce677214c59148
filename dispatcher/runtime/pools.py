"""Bounded lanes in which all I/O runs: so many threads for each kind of act, and no act of one kind waits behind another kind.

At most one operation of a kind is in flight per entity, so a lane's queue is bounded by the number of entities.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from dispatcher.core import messages as m
from dispatcher.core.model import State

log = logging.getLogger(__name__)

LANES: dict[str, int] = {
    "poll": 1,
    "details": 2,
    "writes": 2,
    "locks": 16,
    "list": 1,
    "create": 32,
    "destroy": 8,
    "tags": 2,
    "probe": 48,
    "failing probe": 8,
    "start": 8,
}

_LANE_OF: dict[type[m.Action], str] = {
    m.PollQueue: "poll",
    m.ReadContainers: "details",
    m.LockContainer: "locks",
    m.UnlockContainer: "writes",
    m.CancelContainer: "writes",
    m.ListInstances: "list",
    m.CreateInstance: "create",
    m.PollCreate: "create",
    m.DestroyInstance: "destroy",
    m.RemoveInstance: "destroy",
    m.SaveTags: "tags",
    m.ProbeInstance: "probe",
    m.StartContainer: "start",
    m.KillProcess: "start",
}


def lane_of(action: m.Action, state: State) -> str:
    """The lane of an act; instances that failed last time keep to their own, so that an outage delays no healthy one."""
    if isinstance(action, m.ProbeInstance):
        instance = state.instances.get(action.name)
        if instance is not None and instance.probe_failures > 2:
            return "failing probe"
    return _LANE_OF[type(action)]


class Lane:
    """Up to ``size`` daemon threads, started as they are needed, that take jobs in order."""

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def submit(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                return
            self._jobs.put(work)
            if self._idle < self._jobs.qsize() and len(self._threads) < self._size:
                thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads) + 1}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            work = self._jobs.get()
            with self._lock:
                self._idle -= 1
            if work is None:
                return
            try:
                work()
            except Exception:
                log.exception("lane %s: a bug; it goes on", self._name)

    def widen(self) -> None:
        """One thread of it hangs for good: another may take its place."""
        with self._lock:
            self._size += 1

    def close(self) -> None:
        """Take no more jobs, drop the waiting ones, and let the running ones end."""
        with self._lock:
            self._closed = True
            while not self._jobs.empty():
                self._jobs.get_nowait()
            for _ in self._threads:
                self._jobs.put(None)

    def join(self, deadline: Callable[[], float]) -> bool:
        """Wait for the running jobs until the deadline (seconds left); True when all have ended."""
        for thread in self._threads:
            thread.join(max(0.0, deadline()))
        return not any(thread.is_alive() for thread in self._threads)

    def waiting(self) -> int:
        return self._jobs.qsize()


class Lanes:
    """All lanes, by name."""

    def __init__(self, run: Callable[[m.Action, int], None], snapshot: Callable[[], State]) -> None:
        self._run, self._snapshot = run, snapshot
        self._lanes = {name: Lane(name, size) for name, size in LANES.items()}

    def dispatch(self, action: m.Action, term: int) -> None:
        self._lanes[lane_of(action, self._snapshot())].submit(lambda: self._run(action, term))

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()

    def join(self, deadline: Callable[[], float]) -> bool:
        ended = [lane.join(deadline) for lane in self._lanes.values()]
        return all(ended)

    def replace_thread(self, action: m.Action) -> None:
        """The thread that performs this action is given up."""
        self._lanes[lane_of(action, self._snapshot())].widen()

    def waiting(self) -> dict[str, int]:
        return {name: lane.waiting() for name, lane in self._lanes.items()}
