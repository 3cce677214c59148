"""Where connections wait while their client is slow: until the head of a request is there, and at the end until it hangs up.

No thread answers anybody who has not asked yet, and all waits have an end. What came is looked at and left where it is, so that
gunicorn reads it as ever.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

HEAD_BYTES = 16 * 1024  # whoever sends more without ending the head is gunicorn's to refuse
END_OF_HEAD = b"\r\n\r\n"
FAREWELL_S = 2.0
FAREWELL_BYTES = 64 * 1024


@dataclass(slots=True, eq=False)
class _Guest:
    connection: Any
    until_s: float
    leaving: bool = False
    dropped: int = 0


class Lobby:
    """Belongs to one thread. ``fileno`` can be polled: it is readable when there is something to look at."""

    def __init__(self, patience_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._patience_s, self._now = patience_s, now
        self._epoll = select.epoll()
        self._guests: dict[int, _Guest] = {}

    def fileno(self) -> int:
        return self._epoll.fileno()

    def admits(self, connection: Any) -> bool:
        """Whether its request can be read at once; else it waits here."""
        if has_head(connection.sock):
            return True
        self._seat(_Guest(connection, self._now() + self._patience_s))
        return False

    def part(self, connection: Any) -> None:
        """The last of an answer is on its way: the client gets a moment to read it, since a close with something unread in it
        would take the answer back."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
            connection.sock.setblocking(False)
            self._seat(_Guest(connection, self._now() + FAREWELL_S, leaving=True))
        except OSError:
            close(connection)

    def arrived(self) -> Iterator[Any]:
        """Those whose request can be read now; each leaves by that."""
        for descriptor, _ in self._epoll.poll(0):
            guest = self._guests.get(descriptor)
            if guest is None:
                continue
            if guest.leaving:
                self._drain(descriptor, guest)
            elif has_head(guest.connection.sock):
                self._unseat(descriptor)
                yield guest.connection

    def hurry(self, patience_s: float) -> None:
        """Nobody waits longer than this from now on."""
        self._patience_s = min(self._patience_s, patience_s)
        for guest in self._guests.values():
            guest.until_s = min(guest.until_s, self._now() + patience_s)

    def dismiss(self) -> list[Any]:
        """Those who said nothing for too long, closed. Who was only leaving is closed too, and not told of."""
        late = [(descriptor, guest) for descriptor, guest in self._guests.items() if guest.until_s <= self._now()]
        for descriptor, guest in late:
            self._unseat(descriptor)
            close(guest.connection)
        return [guest.connection for _, guest in late if not guest.leaving]

    def _seat(self, guest: _Guest) -> None:
        """Edge by edge: a part of a head is no news until more of it comes."""
        descriptor = guest.connection.sock.fileno()
        self._guests[descriptor] = guest
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def _unseat(self, descriptor: int) -> None:
        del self._guests[descriptor]
        with contextlib.suppress(OSError):
            self._epoll.unregister(descriptor)

    def _drain(self, descriptor: int, guest: _Guest) -> None:
        try:
            while (came := len(guest.connection.sock.recv(4096))) and guest.dropped < FAREWELL_BYTES:
                guest.dropped += came
        except BlockingIOError:
            return
        except OSError:
            pass
        self._unseat(descriptor)
        close(guest.connection)


def has_head(sock: socket.socket) -> bool:
    """Whether reading the head would not wait; also when the client has hung up, or sent more than a head can be."""
    try:
        seen = sock.recv(HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not seen or END_OF_HEAD in seen or len(seen) >= HEAD_BYTES


def close(connection: Any) -> None:
    with contextlib.suppress(OSError):
        connection.sock.close()
