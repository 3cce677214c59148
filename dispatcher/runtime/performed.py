"""What became of an act, for those who count: told once to a watch, and added up by kind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import field
from typing import Protocol

from dispatcher.core import messages as m
from dispatcher.core.model import State
from dispatcher.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """An act that is over. ``state`` is the snapshot on which it was done; ``sent``: it was tried at all."""

    action: m.Action
    state: State
    events: Sequence[m.Event]
    seconds: float
    failed: bool
    sent: bool


class Watch(Protocol):
    """Who is told of acts, for metrics. It is called by many threads, and never raises."""

    def ended(self, done: Performed) -> None: ...

    def polled(self, records: int) -> None:
        """A look at the queue brought so many records."""


class Unwatched:
    """Nobody counts."""

    def ended(self, done: Performed) -> None:
        return

    def polled(self, records: int) -> None:
        return


@dataclass(slots=True)
class Tally:
    """What was done and how it ended, for metrics: kind of act → (count, failures, seconds). Many threads add."""

    counts: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, *, failed: bool, seconds: float) -> None:
        with self.lock:
            count, failures, total = self.counts.get(kind, (0, 0, 0.0))
            self.counts[kind] = (count + 1, failures + failed, total + seconds)
