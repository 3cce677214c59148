"""Where an instance is: ``host``, ``host:port``, ``[v6]:port`` or a bare v6 address, and a TCP connection to it.

An address is data that a cloud reports and may change at any list. Opening a connection costs at most the deadline it is
handed, name resolution included.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import struct
import threading
from typing import Any

from dispatcher.core.messages import ProbeProblem
from dispatcher.edge.ssh.remote import Deadline, RemoteError
from dispatcher.frozen import dataclass

TIMEOUT_TCP_S = 10.0
UNACKNOWLEDGED_MS = 20_000  # the kernel gives a connection up when what we sent stays unanswered for so long
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, probes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place to connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def bracketed_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def parse_port(text: str) -> int:
    """A port number or the name of a TCP service. Raises ValueError."""
    try:
        port = int(text) if text.isdigit() else socket.getservbyname(text or "ssh", "tcp")
    except OSError:
        raise ValueError(f"{text!r} is neither a port number nor the name of a service in /etc/services") from None
    if not 0 < port < 65536:
        raise ValueError(f"{text!r} is no port number: it must lie between 1 and 65535")
    return port


def parse_address(address: str, default_port: int) -> Endpoint:
    """Raises ValueError when the text has none of the four forms."""
    host, port = _split(address.strip())
    if not host or any(character.isspace() or character in "[]/" for character in host):
        raise ValueError(f"{address!r} is not of the form host, host:port, [v6]:port or v6")
    return Endpoint(host, parse_port(port) if port else default_port)


def _split(address: str) -> tuple[str, str]:
    if address.startswith("["):
        host, closing, rest = address[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            raise ValueError(f"{address!r}: a bracket must close, and only :port may follow")
        return host, rest[1:]
    if address.count(":") == 1:
        host, _, port = address.partition(":")
        return host, port
    return address, ""


def open_tcp(endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    """A connected socket on which the other side has begun to speak. Raises RemoteError."""
    failure: RemoteError | None = None
    candidates = _resolve(endpoint, deadline)
    for position, candidate in enumerate(candidates):
        if deadline.passed:
            break
        share_s = min(TIMEOUT_TCP_S, deadline.left_s / (len(candidates) - position))
        try:
            return _greeted(_dial(candidate, share_s), endpoint, deadline)
        except RemoteError as error:
            failure = error
        except TimeoutError:
            failure = RemoteError(ProbeProblem.TIMEOUT, f"{endpoint}: no TCP connection within {share_s:.0f} s")
        except OSError as error:
            failure = RemoteError(ProbeProblem.UNREACHABLE, f"{endpoint}: {error.strerror or error}")
    raise failure or deadline.missed(f"connecting to {endpoint}")


def _dial(candidate: tuple[Any, ...], timeout_s: float) -> socket.socket:
    family, kind, protocol, _, where = candidate
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(max(0.01, timeout_s))
        sock.connect(where)
        _tune(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Closing throws away what the kernel still holds unsent: a command that we gave up must not arrive later.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError, AttributeError):  # not every kernel knows these; probes find a dead peer as well
        for name, value in KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


def _greeted(sock: socket.socket, endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    """Wait for the server's first bytes here, where a silent host costs nobody else anything: handshakes are few at a time."""
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    try:
        if not poller.poll(deadline.left_s * 1000):
            raise deadline.missed(f"{endpoint}: waiting for the SSH server to speak")
        if not sock.recv(1, socket.MSG_PEEK):
            raise RemoteError(ProbeProblem.UNREACHABLE, f"{endpoint}: closed the connection before a word")
    except BaseException:
        sock.close()
        raise
    return sock


def _resolve(endpoint: Endpoint, deadline: Deadline) -> list[tuple[Any, ...]]:
    """``getaddrinfo`` with a deadline: it has none of its own, and a name server may be away."""
    try:
        return socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        pass  # not a number: ask the resolver
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_ask_resolver, args=(endpoint, answers), name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=min(TIMEOUT_TCP_S, deadline.left_s))
    except queue.Empty:
        raise RemoteError(ProbeProblem.TIMEOUT, f"{endpoint.host}: the name was not resolved in time") from None
    if isinstance(answer, Exception):
        raise RemoteError(ProbeProblem.UNREACHABLE, f"{endpoint.host}: the name cannot be resolved: {answer}")
    return list(answer)


def _ask_resolver(endpoint: Endpoint, answers: queue.SimpleQueue[Any]) -> None:
    try:
        answers.put(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is too long
        answers.put(error)
