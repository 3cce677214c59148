"""A socket as the SSH library is given it: first an ordinary blocking one, later one that nobody ever waits on.

From the moment the reader owns it, what has arrived is handed out in whole packets only, and what the kernel does not take now
waits here, up to a limit, until the reader sends it on.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

LARGEST_READ_BYTES = 1 << 16
LARGEST_PACKET_BYTES = 1 << 18  # as OpenSSH has it
FULL_BYTES = 1 << 18  # so much unsent, and callers are asked to wait
LARGEST_UNSENT_BYTES = 1 << 22  # so much, and the other side makes us answer without ever reading
LENGTH_BYTES = 4
QUICK_ACKNOWLEDGEMENT = getattr(socket, "TCP_QUICKACK", 12)
IN, OUT = getattr(select, "EPOLLIN", 1), getattr(select, "EPOLLOUT", 4)


class Wire:
    """One connection's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._poller: Any = None  # the reader's, once it owns this
        self._arrived = bytearray()
        self._unsent = bytearray()
        self._cut = False
        self._gathering = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    @property
    def owned(self) -> bool:
        return self._poller is not None

    # -- what the library calls

    def recv(self, count: int) -> bytes:
        if self.owned:
            piece = bytes(self._arrived[:count])
            del self._arrived[:count]
            return piece
        return self._sock.recv(count)

    def send(self, data: bytes) -> int:
        """The library has a lock of its own around this: nobody may be held up in it once one thread serves all."""
        if not self.owned:
            return self._sock.send(data)
        with self._lock:
            if self._cut or len(self._unsent) > LARGEST_UNSENT_BYTES:
                self._end()
                raise BrokenPipeError("the connection is cut")
            sent = 0 if self._unsent or self._gathering else self._send_now(data)
            if sent < len(data):
                self._unsent += data[sent:]
                if not self._gathering:
                    self._poll(IN | OUT)
        return len(data)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is sent meanwhile leaves at its end, at once."""
        with self._lock:
            self._gathering += 1
        try:
            yield
        finally:
            with self._lock:
                self._gathering -= 1
                if self._unsent and not self._gathering:
                    self._send_gathered()

    def _send_gathered(self) -> None:
        try:
            del self._unsent[: self._send_now(self._unsent)]
        except OSError:
            self._end()  # the reader hears of it
        if self._unsent:
            self._poll(IN | OUT)

    def close(self) -> None:
        """The reader closes what it owns, by ``release``: another thread's descriptor could have the same number by then."""
        self.cut() if self.owned else self._sock.close()

    # -- what the reader calls

    def own(self, poller: Any) -> None:
        """Raises OSError when it cannot be watched."""
        with self._lock:
            self._sock.setblocking(False)
            self._poller = poller  # before there can be an event
            try:
                poller.register(self._sock, IN)
            except BaseException:
                self._poller = None
                raise

    def fill(self) -> None:
        """What is there now. Raises EOFError or OSError at its end."""
        with contextlib.suppress(BlockingIOError):
            piece = self._sock.recv(LARGEST_READ_BYTES)
            if not piece:
                raise EOFError
            self._arrived += piece
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Now, as the kernel forgets that it was asked to: a server that gathers small packets sends its next only after that,
        and we often have nothing to say that would carry it."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, QUICK_ACKNOWLEDGEMENT, 1)

    def holds_packet(self, seal_bytes: int) -> bool:
        """Whether a whole one is there, with the seal behind it. Its length has to be in clear. Raises ValueError when none is so
        long."""
        if len(self._arrived) < LENGTH_BYTES:
            return False
        length: int = struct.unpack_from(">I", self._arrived)[0]
        if length > LARGEST_PACKET_BYTES:
            raise ValueError(f"a packet of {length} bytes was announced")
        return len(self._arrived) >= LENGTH_BYTES + length + seal_bytes

    def flush(self) -> None:
        with self._lock:
            if self._unsent:
                del self._unsent[: self._send_now(self._unsent)]
            if not self._unsent:
                self._poll(IN)

    def release(self) -> None:
        """Close it, and all that it still holds is gone."""
        with self._lock:
            self._unsent.clear()
            self._cut = True
            if self._poller is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._poller.unregister(self._sock)
            self._poller = None
            self._sock.close()

    # -- what anybody calls

    @property
    def full(self) -> bool:
        return len(self._unsent) > FULL_BYTES

    def cut(self) -> None:
        """Nothing more goes out, and whoever reads hears of the end."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        self._cut = True
        self._unsent.clear()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _send_now(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def _poll(self, events: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._poller.modify(self._sock, events)
