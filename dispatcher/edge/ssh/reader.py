"""One thread that reads every connection: it waits for all sockets at once, hands what has arrived to whom it belongs, and never
waits for any of them.

A fault of one connection ends that connection and no other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from typing import Protocol

from dispatcher.edge.ssh.wire import OUT, Wire

PAUSE_S = 0.1  # after a fault of the reader itself
STOP_PATIENCE_S = 5.0

log = logging.getLogger(__name__)


class Served(Protocol):
    """A connection that the reader owns."""

    wire: Wire

    def take(self) -> None: ...
    def end(self, error: Exception) -> None: ...


class Reader:
    """Its thread starts with the first connection. Raises OSError where the system cannot wait for many sockets at once."""

    def __init__(self) -> None:
        if not hasattr(select, "epoll"):
            raise OSError("this system has no epoll")
        self._poller = select.epoll()
        self._alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller.register(self._alarm, select.EPOLLIN)
        self._lock = threading.Lock()
        self._served: dict[int, Served] = {}
        self._thread: threading.Thread | None = None
        self._stopped = False

    def adopt(self, connection: Served) -> bool:
        """From now on this thread alone reads it; False when it cannot."""
        with self._lock:
            if self._stopped:
                return False
            descriptor: int = connection.wire.fileno()
            self._served[descriptor] = connection
            try:
                connection.wire.own(self._poller)
            except (OSError, ValueError):
                del self._served[descriptor]
                return False
            return self._started(descriptor)

    def _started(self, descriptor: int) -> bool:
        """Under the lock; False when this host refuses another thread."""
        if self._thread is not None:
            return True
        thread = threading.Thread(target=self._read, name="ssh-reader", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            log.exception("the reader of SSH connections cannot be started")
            del self._served[descriptor]
            return False
        self._thread = thread
        return True

    def stop(self) -> None:
        """Ends what it still owns."""
        with self._lock:
            first, self._stopped = not self._stopped, True
            thread = self._thread
        if not first:
            return
        os.eventfd_write(self._alarm, 1)
        if thread is not None:
            thread.join(STOP_PATIENCE_S)
        if thread is None or not thread.is_alive():
            self._poller.close()
            os.close(self._alarm)

    def _read(self) -> None:
        while not self._stopped:
            try:
                for descriptor, events in self._poller.poll():
                    self._serve(descriptor, events)
            except Exception:
                log.exception("bug in the reader of SSH connections")
                threading.Event().wait(PAUSE_S)
        for descriptor, connection in list(self._served.items()):
            self._let_go(descriptor, connection, EOFError())

    def _serve(self, descriptor: int, events: int) -> None:
        connection = self._served.get(descriptor)
        if connection is None:
            return  # the alarm: it only wakes
        try:
            if events & OUT:
                connection.wire.flush()
            if events & ~OUT:
                connection.take()
        except Exception as error:  # noqa: BLE001 (a hostile or broken server makes the library raise anything)
            self._let_go(descriptor, connection, error)

    def _let_go(self, descriptor: int, connection: Served, error: Exception) -> None:
        del self._served[descriptor]
        with contextlib.suppress(Exception):
            connection.end(error)
