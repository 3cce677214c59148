"""SSH servers that misbehave, inside the test's process: each fault that a real instance shows when it is ill.

Real OpenSSH is never this unkind on request. Handlers of commands begin after the client has sent its end of input, so that
the reply to the request has always left before.
"""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import paramiko
from sshd import KeyPair, make_key

from dispatcher.core.messages import Target
from dispatcher.driver import HostKey

Handler = Callable[[paramiko.Channel, str], None]


def answer(stdout: bytes = b"", *, status: int = 0, stderr: bytes = b"") -> Handler:
    def handle(channel: paramiko.Channel, command: str) -> None:
        channel.sendall(stdout)
        channel.sendall_stderr(stderr)
        channel.send_exit_status(status)
        channel.close()

    return handle


@dataclass
class Conduct:
    """How a server behaves. ``window_bytes``: how much standard input it lets come unread."""

    host_key: KeyPair = field(default_factory=make_key)
    accepts_login: bool = True
    login_gate: threading.Event | None = None  # the login is answered when it is set
    max_sessions: int = 10
    runs: bool = True  # what it is asked to; otherwise it says that it does not
    replies_to_exec: bool = True
    reads_after_exec: bool = True
    window_bytes: int = 1 << 21
    handler: Handler = field(default_factory=answer)


@dataclass
class FakeSSH:
    """``said``: what happened, in order."""

    conduct: Conduct
    port: int = 0
    said: list[str] = field(default_factory=list)
    transports: list[paramiko.Transport] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len(self.transports)

    def target(self, name: str = "vm-1", *, secret: str = "s3cret", host_keys: tuple[HostKey, ...] | None = None) -> Target:
        known = (self.conduct.host_key.public,) if host_keys is None else host_keys
        return Target(name=name, address=f"127.0.0.1:{self.port}", user="root", secret=secret, host_keys=known)

    def drop_connections(self) -> None:
        for transport in self.transports:
            transport.close()


class _Session(paramiko.ServerInterface):
    def __init__(self, server: FakeSSH, transport: paramiko.Transport) -> None:
        self._server = server
        self._conduct = server.conduct
        self._release = threading.Event()
        self._deaf = False
        self._read = transport.packetizer.read_message
        transport.packetizer.read_message = self._read_message
        self._open: list[paramiko.Channel] = []

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._server.said.append("login")
        if self._conduct.login_gate is not None:
            self._conduct.login_gate.wait(30)
        return paramiko.AUTH_SUCCESSFUL if self._conduct.accepts_login else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if sum(not channel.closed for channel in self._open) >= self._conduct.max_sessions:
            return paramiko.OPEN_FAILED_RESOURCE_SHORTAGE
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.said.append(command.decode())
        self._open.append(channel)
        if not self._conduct.runs:
            return False
        if not self._conduct.replies_to_exec:
            self._release.wait()
        self._deaf = not self._conduct.reads_after_exec
        threading.Thread(target=self._handle, args=(channel, command.decode()), daemon=True).start()
        return True

    def _read_message(self) -> object:
        if self._deaf:
            self._release.wait()
        return self._read()

    def release(self) -> None:
        self._release.set()

    def _handle(self, channel: paramiko.Channel, command: str) -> None:
        stdin = b""
        with suppress(OSError, EOFError, paramiko.SSHException):
            while piece := channel.recv(65536):
                stdin += piece
            if stdin:
                self._server.said.append(f"stdin {len(stdin)}")
            self._conduct.handler(channel, command)


@contextmanager
def fake_ssh(conduct: Conduct | None = None) -> Iterator[FakeSSH]:
    """A server that speaks SSH and then behaves as told."""
    server = FakeSSH(conduct or Conduct())
    sessions: list[_Session] = []

    def serve(sock: socket.socket) -> None:
        transport = paramiko.Transport(sock, default_window_size=server.conduct.window_bytes)
        transport.add_server_key(_server_key(server.conduct.host_key))
        session = _Session(server, transport)
        sessions.append(session)
        server.transports.append(transport)
        with suppress(paramiko.SSHException, OSError, EOFError):
            transport.start_server(event=threading.Event(), server=session)

    with raw_server(serve) as raw:
        server.port = raw.port
        try:
            yield server
        finally:
            for session in sessions:
                session.release()
            server.drop_connections()


@dataclass
class RawServer:
    port: int
    connections: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def target(self, name: str = "vm-1") -> Target:
        return Target(name=name, address=f"127.0.0.1:{self.port}", user="root", secret="s3cret")


@contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[RawServer]:
    """Hands each TCP connection to ``serve`` and keeps it open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(listener.getsockname()[1])

        def accept() -> None:
            with suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    server.connections += 1
                    server.sockets.append(sock)
                    serve(sock)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for sock in server.sockets:
                sock.close()


def _server_key(pair: KeyPair) -> paramiko.PKey:
    kinds = {"ssh-ed25519": paramiko.Ed25519Key, "ssh-rsa": paramiko.RSAKey}
    return kinds.get(pair.public.type, paramiko.ECDSAKey).from_private_key(io.StringIO(pair.private))
