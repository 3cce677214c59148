"""The events of the queue: a WebSocket that tells of every change of a container or a request, in the service's own words.

The handshake is always accepted, and the token only decides what is told. Nobody waits for a listener: who reads too slowly is
dropped.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from websocket import ABNF
from websocket._abnf import frame_buffer

PATH = "/websocket"
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
WAITING = 64  # events that wait for one listener
PING_S = 60.0
LISTENERS = 64
LARGEST_FRAME = 65_536

Event = dict[str, Any]


def event(kind: str, object_kind: str, uuid: str, state: str | None) -> Event:
    """A frame as the service sends it, with the members that anybody may rely on."""
    return {
        "event_type": kind, "object_uuid": uuid, "object_kind": f"arvados#{object_kind}",
        "properties": {"new_attributes": {"state": state}},
    }  # fmt: skip


def accept_key(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + ACCEPT, usedforsecurity=False).digest()).decode()


class Listener:
    """One socket: a thread that reads, which is the caller's, and one that writes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waiting: queue.Queue[bytes | None] = queue.Queue(WAITING)
        self.subscribed = False

    def put(self, message: Event) -> None:
        self._put(_frame(ABNF.OPCODE_TEXT, json.dumps(message).encode()))

    def _put(self, frame: bytes | None) -> None:
        try:
            self._waiting.put_nowait(frame)
        except queue.Full:
            self.cut()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Until the other side goes."""
        writer = threading.Thread(target=self._write, name="events write", daemon=True)
        writer.start()
        try:
            self._read()
        except (OSError, ValueError, ConnectionError):
            pass
        finally:
            self.cut()
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(None)
            writer.join(5.0)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                try:
                    frame = self._waiting.get(timeout=PING_S)
                except queue.Empty:
                    frame = _frame(ABNF.OPCODE_PING, b"")
                if frame is None:
                    return
                self._connection.sendall(frame)

    def _read(self) -> None:
        frames = frame_buffer(self._receive, skip_utf8_validation=True)
        self._connection.settimeout(None)
        while True:
            frame = frames.recv_frame()
            if frame.opcode == ABNF.OPCODE_CLOSE:
                return
            if frame.opcode == ABNF.OPCODE_PING:
                self._put(_frame(ABNF.OPCODE_PONG, _bytes(frame.data)))
            elif frame.opcode == ABNF.OPCODE_TEXT:
                self.put({"status": self._subscribe(_bytes(frame.data))})

    def _receive(self, size: int) -> bytes:
        if size > LARGEST_FRAME:
            raise ValueError("too large a frame")
        part = self._connection.recv(size)
        if not part:
            raise ConnectionError("the other side is gone")
        return part

    def _subscribe(self, said: bytes) -> int:
        try:
            asked = json.loads(said)
        except ValueError:
            return 400
        if not isinstance(asked, Mapping) or asked.get("method") != "subscribe":
            return 400
        self.subscribed = True
        return 200


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _frame(opcode: int, data: bytes) -> bytes:
    """A whole frame, unmasked as a server sends it."""
    framed: bytes = ABNF(1, 0, 0, 0, opcode, 0, data).format()
    return framed


class Announcer:
    """Everybody who listens."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()

    def announce(self, message: Event) -> None:
        with self._lock:
            listeners = [listener for listener in self._listeners if listener.subscribed]
        for listener in listeners:
            listener.put(message)

    def serve(self, connection: socket.socket, key: str, send: Callable[[bytes], object], *, told: bool = True) -> None:
        """Take a connection over after its request for an upgrade. ``told``: the token may see everything."""
        listener = Listener(connection)
        with self._lock:
            full = len(self._listeners) >= LISTENERS
            if told and not full:
                self._listeners.add(listener)
        if full:
            send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        send("\r\n".join((*lines, f"Sec-WebSocket-Accept: {accept_key(key)}", "", "")).encode())
        try:
            listener.serve()
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def close(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.cut()
