"""Calls that do not come back: a driver or a library that ignores its deadline must not keep an entity waiting for ever.

The act ends in an event that says its outcome is not known; the thread that hangs is given up and replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dispatcher.core import messages as m

GRACE_S = 15.0


@dataclass(slots=True)
class _Running:
    action: m.Action
    began_s: float
    limit_s: float
    given_up: bool = False


class Overruns:
    """Knows what is running. ``limit_of`` says how long an act may take before it is given up."""

    def __init__(self, now: Callable[[], float], limit_of: Callable[[m.Action], float]) -> None:
        self._now, self._limit_of = now, limit_of
        self._lock = threading.Lock()
        self._running: dict[int, _Running] = {}
        self.given_up = 0

    def enter(self, action: m.Action) -> int:
        job = _Running(action=action, began_s=self._now(), limit_s=self._limit_of(action) + GRACE_S)
        with self._lock:
            self._running[id(job)] = job
        return id(job)

    def leave(self, ticket: int) -> bool:
        """The act came back. False: it was given up before, and its events come too late to be believed."""
        with self._lock:
            return not self._running.pop(ticket).given_up

    def overdue(self) -> list[tuple[m.Action, float]]:
        """Acts that are given up now, each once, with the time at which they began."""
        now = self._now()
        with self._lock:
            late = [job for job in self._running.values() if not job.given_up and now > job.began_s + job.limit_s]
            for job in late:
                job.given_up = True
            self.given_up += len(late)
        return [(job.action, job.began_s) for job in late]


def believable_late(event: m.Event) -> bool:
    """What is true whenever it is heard: that an instance was created, or a destroy accepted."""
    return isinstance(event, m.InstanceCreated | m.DestroyAccepted)
