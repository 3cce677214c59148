"""The one worker process: gunicorn's threaded worker, with the daemon living in it.

Signal handlers here only set marks and put words into the supervisor's queue. TERM and INT end the worker in good order. Slow
clients wait in the lobby; one that is slow with the body of its request holds a thread for as long as its patience lasts.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from dispatcher.web.access import TOO_SLOW
from dispatcher.web.lobby import Lobby
from dispatcher.web.requests import WAITS
from dispatcher.web.supervisor import RELOAD, STOP

DRAIN_S = 0.5
LAST_PATIENCE_S = 2.0  # while the worker stops


class Worker(ThreadWorker):  # type: ignore[misc]
    """``app`` is the ``Application`` of ``dispatcher.web.serve``: it holds the supervisor once the daemon is built."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._lobby: Lobby | None = None
        self._busy: dict[Any, float] = {}  # connection → since when a thread is at it

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

    # -- slow clients

    def notify(self) -> None:
        """Called by the main thread each second."""
        super().notify()
        lobby = self._lobby
        if lobby is None:
            return
        if not self.alive:
            lobby.hurry(LAST_PATIENCE_S)
        self._answer_arrived()
        for _ in lobby.dismiss():
            self.nr_conns -= 1
            self.log.info(TOO_SLOW)
        self._hurry_bodies()

    def enqueue_req(self, conn: Any) -> None:
        """A thread gets it when the head of its request is there. With TLS nobody can see that from outside."""
        conn.close = partial(self._close, conn)
        if self.cfg.is_ssl or _read_ahead(conn) or self._open_lobby().admits(conn):
            self._enqueue(conn)

    def handle(self, conn: Any) -> Any:
        """Runs in a thread of its own."""
        WAITS.end(conn)
        self._busy[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            self._busy.pop(conn, None)

    def finish_request(self, *args: Any) -> None:
        """Newer gunicorns linger here, in the main thread, for each TLS client that does not hang up: that is no silence."""
        super().notify()
        super().finish_request(*args)

    def _enqueue(self, conn: Any) -> None:
        """From here on the connection waits for a thread."""
        WAITS.begin(conn)
        super().enqueue_req(conn)

    def _open_lobby(self) -> Lobby:
        """In the main thread, once there is a poller."""
        if self._lobby is None:
            self._lobby = Lobby(self._patience_s)
            self.poller.register(self._lobby.fileno(), EVENT_READ, self._answer_arrived)
        return self._lobby

    def _answer_arrived(self, _: Any = None) -> None:
        for conn in self._lobby.arrived() if self._lobby is not None else ():
            self._enqueue(conn)

    def _hurry_bodies(self) -> None:
        """Reading ends, so that the thread comes back; an answer that is on its way still goes out."""
        now_s = time.monotonic()
        for conn, since_s in list(self._busy.items()):
            if now_s - since_s > self._patience_s:
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)

    def _close(self, conn: Any, graceful: bool = False) -> None:
        """Newer gunicorns linger in the main thread, for each client that does not hang up, and answer nobody meanwhile."""
        if graceful and not self.cfg.is_ssl:
            self._open_lobby().part(conn)
        else:
            type(conn).close(conn)

    @property
    def _patience_s(self) -> float:
        return float(self.app.serving.client_patience_s)

    # -- the stop

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


def _read_ahead(conn: Any) -> bool:
    """Whether a part of its next request was read already, behind the one before."""
    return conn.parser is not None and bool(conn.parser.unreader.buf.getvalue())
