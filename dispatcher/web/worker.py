"""The one worker process: gunicorn's threaded worker, with the daemon living in it.

Signal handlers here only set marks and put words into the supervisor's queue. TERM and INT end the worker in good order.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from dispatcher.web.requests import WAITS
from dispatcher.web.supervisor import RELOAD, STOP

DRAIN_S = 0.5


class Worker(ThreadWorker):  # type: ignore[misc]
    """``app`` is the ``Application`` of ``dispatcher.web.serve``: it holds the supervisor once the daemon is built."""

    def init_signals(self) -> None:
        """Between the reset of all handlers and ours a HUP would end the process: it waits meanwhile."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
        try:
            super().init_signals()
            signal.signal(signal.SIGHUP, self.handle_hup)
            signal.signal(signal.SIGINT, self.handle_exit)
            signal.siginterrupt(signal.SIGHUP, False)
            signal.siginterrupt(signal.SIGINT, False)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])

    def handle_hup(self, sig: int, frame: Any) -> None:
        self._ask(RELOAD)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """The daemon stops while the last requests are answered."""
        self._ask(STOP)
        if hasattr(self, "set_accept_enabled") or self.poller is None:
            super().handle_exit(sig, frame)
            return
        self._stop_accepting()
        late = threading.Timer(DRAIN_S, super().handle_exit, (sig, frame))
        late.daemon = True
        late.start()

    def finish_request(self, *args: Any) -> None:
        """Newer gunicorns linger here, in the main thread, for each client that does not hang up: that is no silence."""
        self.notify()
        super().finish_request(*args)

    def enqueue_req(self, conn: Any) -> None:
        """From here on the connection waits for a thread."""
        WAITS.begin(conn)
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Runs in that thread."""
        WAITS.end(conn)
        return super().handle(conn)

    def _stop_accepting(self) -> None:
        """Older gunicorns drop what they accepted and did not read yet: they get a moment in which nothing new comes."""
        for listener in self.sockets:
            try:
                self.poller.unregister(listener)
            except (KeyError, ValueError):
                continue

    def _ask(self, word: str) -> None:
        supervisor = self.app.supervisor
        if supervisor is not None:
            supervisor.ask(word)
