"""One thread that cuts what has overrun: the SSH library waits without a bound in several places.

An entry fires when its deadline has passed and again each second until its owner has taken it away, because a waiter may
have begun to wait just after the first cut.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from dispatcher.edge.ssh.remote import Deadline

REPEAT_S = 1.0


class Watchdog:
    """Guards blocking calls. The thread starts with the first of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entries: dict[object, tuple[float, Callable[[], None]]] = {}
        self._wakes_at_s = 0.0
        self._thread: threading.Thread | None = None
        self._stopped = False

    @contextlib.contextmanager
    def guard(self, deadline: Deadline, cut: Callable[[], None]) -> Iterator[None]:
        """Call ``cut`` (which must not block) when the body is not done in time."""
        key = object()
        self._add(key, deadline.at_s, cut)
        try:
            yield
        finally:
            with self._changed:
                self._entries.pop(key, None)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(5)

    def _add(self, key: object, at_s: float, cut: Callable[[], None]) -> None:
        with self._changed:
            self._entries[key] = (at_s, cut)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="ssh-watchdog", daemon=True)
                self._thread.start()
            elif at_s < self._wakes_at_s:
                self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                self._cut_overrun(time.monotonic())
                self._sleep()

    def _cut_overrun(self, now_s: float) -> None:
        """Under the lock: whoever has taken an entry away is never cut afterwards."""
        for key, (at_s, cut) in self._entries.items():
            if at_s <= now_s:
                self._entries[key] = (now_s + REPEAT_S, cut)
                cut()

    def _sleep(self) -> None:
        self._wakes_at_s = min((at_s for at_s, _ in self._entries.values()), default=float("inf"))
        sleep_s = self._wakes_at_s - time.monotonic()
        self._changed.wait(None if sleep_s == float("inf") else max(0.0, sleep_s))
