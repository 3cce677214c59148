"""Makes stub instances answer over real SSH on this host: the same objects, behind the command lines of the dispatcher.

Each instance has a server, port and host key of its own and accepts only the key that it was created with. Nothing is executed.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import paramiko

from dispatcher.driver import HostKey
from drivers.ssh_server import SSHServer, host_key_of, load_private_key, new_private_key, quiet_library
from drivers.stub.commands import answer
from drivers.stub.instance import StubInstance

MAX_INPUT_BYTES = 64 << 20
SILENCE_S = 3600.0


class SSHServers:
    """Hand it to a StubCloud as ``servers``. ``authorized_key`` is accepted where a create names no key."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        pause: Callable[[float], None] = time.sleep,
        authorized_key: str | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        quiet_library()
        self._now = now
        self._pause = pause
        self._authorized_key = authorized_key
        self._host = host
        self._lock = threading.Lock()
        self._servers: dict[str, SSHServer] = {}
        self._released = threading.Event()

    def open(self, instance: StubInstance) -> tuple[str, tuple[HostKey, ...]]:
        """Start the server of a new instance."""
        listener = socket.create_server((self._host, 0))
        key = load_private_key(new_private_key())
        authorized = instance.public_key or self._authorized_key
        server = SSHServer(
            listener,
            host_key=key,
            authorized_keys=[authorized] if authorized else [],
            handler=lambda command, channel: self._run(instance, command, channel),
            is_open=lambda: instance.accepts_connections(self._now()),
            name=instance.id,
        )
        with self._lock:
            self._servers[instance.id] = server
        server.start()
        return server.address, (host_key_of(key),)

    def close(self, instance: StubInstance) -> None:
        with self._lock:
            server = self._servers.pop(instance.id, None)
        if server is not None:
            server.close()

    def close_all(self) -> None:
        """The end of the test: no port stays open, no command waits."""
        self._released.set()
        with self._lock:
            servers, self._servers = list(self._servers.values()), {}
        for server in servers:
            server.close()

    def cut(self, instance_id: str) -> None:
        """Every connection to this instance breaks; the instance lives on."""
        self._servers[instance_id].cut_connections()

    def _run(self, instance: StubInstance, command: str, channel: paramiko.Channel) -> int:
        return answer_on(channel, instance, command, now=self._now, pause=self._pause, released=self._released)


def answer_on(
    channel: paramiko.Channel,
    instance: StubInstance,
    command: str,
    *,
    now: Callable[[], float],
    pause: Callable[[float], object],
    released: threading.Event,
) -> int:
    """Carry out what an SSH client asked for, and return the exit status. ``released`` ends the wait of one that falls silent."""
    given = _read_all(channel) if _wants_input(command) else b""
    with instance.lock:
        reply = answer(instance, command, given, now())
    if reply is None:
        released.wait(SILENCE_S)
        channel.close()
        return -1
    if reply.after_s:
        pause(reply.after_s)
    channel.sendall(reply.stdout)
    channel.sendall_stderr(reply.stderr)
    return reply.status


def _wants_input(command: str) -> bool:
    return "--stdin-" in command or "cat >" in command or command.startswith(("sh -c", "sudo sh -c"))


def _read_all(channel: paramiko.Channel) -> bytes:
    """Standard input up to its end."""
    parts, size = [], 0
    while part := channel.recv(65536):
        parts.append(part)
        size += len(part)
        if size > MAX_INPUT_BYTES:
            raise OSError("too much input")
    return b"".join(parts)
