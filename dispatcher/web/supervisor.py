"""The thread beside the request threads: it hands signals to the daemon and tells the service manager how it stands.

A signal handler may only put a word into the queue here; everything that takes a lock or time is done by this thread.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from dispatcher.web.notify import ServiceManager

log = logging.getLogger(__name__)

BEAT_S = 1.0
STUCK_S = 60.0

RELOAD, STOP = "reload", "stop"


class Daemon(Protocol):
    """The dispatcher as the server runs it. It is built after the fork, in the process that keeps its threads."""

    @property
    def app(self) -> Any:
        """The WSGI application. It is asked for once the threads run, and may take its time."""

    def start(self) -> None:
        """Start the threads; return at once."""

    def stop(self, deadline_s: float) -> None:
        """Stop planning, let running calls end, and return when all threads have ended or the time is over."""

    def reload(self) -> None:
        """Read the settings anew."""

    def heartbeats(self) -> Mapping[str, float]:
        """Loop → seconds since its last sign of life."""

    def standing(self) -> str:
        """How everything stands, in one line without a secret."""


class Supervisor:
    """Runs the daemon between ``begin`` and ``wait``."""

    def __init__(self, daemon: Daemon, manager: ServiceManager, *, stop_s: float) -> None:
        self._daemon = daemon
        self._manager = manager
        self._stop_s = stop_s
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()  # may be filled from a signal handler
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def begin(self) -> None:
        """The daemon goes to work; nobody is told yet."""
        self._daemon.start()

    def start(self) -> None:
        """Requests are answered from now on."""
        self._manager.tell(READY="1", STATUS="running")
        self._thread.start()

    def ask(self, word: str) -> None:
        """``RELOAD`` or ``STOP``. Safe in a signal handler."""
        self._asked.put(word)

    def wait(self) -> None:
        """Ask for the stop and wait for it. The daemon's own deadline bounds it."""
        if self._thread.ident is None:
            return
        self.ask(STOP)
        self._thread.join(self._stop_s + BEAT_S)

    def _run(self) -> None:
        petted_s = 0.0
        while True:
            word = self._next()
            if word == STOP:
                self._stop()
                return
            if word == RELOAD:
                self._reload()
            if time.monotonic() - petted_s >= min(BEAT_S * 10, self._manager.watchdog_s / 3):
                petted_s = time.monotonic()
                self._pet()

    def _next(self) -> str:
        try:
            return self._asked.get(timeout=BEAT_S)
        except queue.Empty:
            return ""

    def _pet(self) -> None:
        """Silence is what makes systemd restart a service whose loops are stuck."""
        try:
            stuck = [name for name, age_s in self._daemon.heartbeats().items() if age_s > STUCK_S]
            standing = " ".join(self._daemon.standing().split())
        except Exception:
            log.exception("the heartbeats cannot be read")
            return
        if stuck:
            log.error("no sign of life from %s for more than %.0f s", ", ".join(stuck), STUCK_S)
            self._manager.tell(STATUS=f"stuck: {', '.join(stuck)}")
        else:
            self._manager.tell(WATCHDOG="1", STATUS=standing)

    def _reload(self) -> None:
        log.info("reload")
        try:
            self._daemon.reload()
        except Exception:
            log.exception("the reload failed; the settings in force stay")

    def _stop(self) -> None:
        log.info("stopping")
        self._manager.tell(STOPPING="1", WATCHDOG="1", STATUS="stopping")
        try:
            self._daemon.stop(self._stop_s)
        except Exception:
            log.exception("the stop failed")
        self._manager.tell(WATCHDOG="1")
