"""Notices that somebody moved the wall clock: seconds passed on it that did not pass on the monotonic one.

A clock that is steered gently is not meant: only what changes between two looks counts.
"""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.core.messages import ClockJumped, Event
from dispatcher.runtime.ports import Clock

LEAST_S = 5.0


class ClockWatch:
    """``tick`` is called every few seconds."""

    def __init__(self, clock: Clock, post: Callable[[Event], None]) -> None:
        self._clock, self._post = clock, post
        self._offset_s = self._now_s()

    def _now_s(self) -> float:
        return self._clock.wall() - self._clock.monotonic()

    def tick(self) -> None:
        before_s, self._offset_s = self._offset_s, self._now_s()
        by_s = self._offset_s - before_s
        if abs(by_s) >= LEAST_S:
            self._post(ClockJumped(by_s=by_s))
