"""The way of an act's events into the Store. One event that the core cannot take in keeps back none of the others.

An act whose last event is lost would stay under way for ever, so it ends as one that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from dispatcher.core import messages as m
from dispatcher.runtime.perform import failure_of

log = logging.getLogger(__name__)


class Delivery:
    """``post`` is the Store's; ``bugs`` counts the events that it could not take in."""

    def __init__(self, post: Callable[[m.Event], None], now: Callable[[], float]) -> None:
        self._post, self._now = post, now
        self.bugs = 0
        self.last_bug = ""

    def deliver(self, action: m.Action, events: Sequence[m.Event]) -> None:
        taken = [self._take(event) for event in events]
        if taken and not taken[-1]:
            for event in failure_of(action, self._now(), "a bug in the dispatcher: see its log", sent=True):
                self._take(event)

    def _take(self, event: m.Event) -> bool:
        try:
            self._post(event)
        except Exception as bug:
            log.exception("a bug while taking in %s; the others go on", type(event).__name__)
            self.bugs += 1
            self.last_bug = f"{type(event).__name__}: {type(bug).__name__}"
            return False
        return True
