"""A small SSH server on paramiko for drivers whose machines are no real ones: public keys only, commands only.

It accepts one user key per authorized line, offers no shell, password, forwarding or agent, and hands every command to a
function that runs in a thread of its own. Everything is counted: connections, sessions of a connection, waiting logins.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_RESOURCE_SHORTAGE,
    OPEN_SUCCEEDED,
)

from dispatcher.driver import HostKey

MAX_CONNECTIONS = 32
MAX_SESSIONS = 10  # of one connection, as an OpenSSH server allows
LOGIN_TIMEOUT_S = 30.0
SOCKET_TIMEOUT_S = 60.0  # once somebody is logged in; the library would wake ten times a second
REPLY_TIMEOUT_S = 0.5
ACCEPT_PAUSE_S = 0.1
COMMAND_FAILED = 255
CHANNEL_SUCCESS = bytes([99])  # RFC 4254, section 9

log = logging.getLogger(__name__)

Handler = Callable[[str, paramiko.Channel], int]
"""``handler(command, channel)`` reads and writes the channel and returns the exit status."""


def quiet_library() -> None:
    """paramiko logs each channel and each lost connection; ours is the only log that is wanted."""
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)


# ------------------------------------------------------------------------------------------------------------------- keys


def new_private_key() -> str:
    """A fresh ed25519 key as OpenSSH text. Keep it secret."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH
    return Ed25519PrivateKey.generate().private_bytes(encoding, form, serialization.NoEncryption()).decode()


def load_private_key(text: str) -> paramiko.Ed25519Key:
    return paramiko.Ed25519Key(file_obj=io.StringIO(text))


def host_key_of(key: paramiko.PKey) -> HostKey:
    """Its public half."""
    return HostKey(key.get_name(), key.get_base64())


def authorized_words(line: str) -> tuple[str, str]:
    """Type and base64 of an authorized_keys line without options. Raises ValueError."""
    words = line.split()
    if len(words) < 2:
        raise ValueError("an authorized key has the form: TYPE BASE64 [COMMENT]")
    return words[0], words[1]


# ----------------------------------------------------------------------------------------------------------------- server


class SSHServer:
    """Serves a bound socket until ``close``. ``is_open`` says for each new connection whether the machine answers now.
    ``authorized_keys`` open every account, those of ``accounts`` (by user name) only that one."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        host_key: paramiko.PKey,
        authorized_keys: Sequence[str],
        handler: Handler,
        is_open: Callable[[], bool] = lambda: True,
        name: str = "ssh",
        accounts: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._listener = listener
        self._host_key = host_key
        self._authorized = {authorized_words(line) for line in authorized_keys}
        self._accounts = {user: {authorized_words(line) for line in lines} for user, lines in (accounts or {}).items()}
        self._handler = handler
        self._is_open = is_open
        self._name = name
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._transports: set[ServerTransport] = set()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()[:2]
        return f"{host}:{port}"

    def start(self) -> None:
        """Listen. A connection that comes before this is refused by the kernel."""
        self._listener.listen(64)
        threading.Thread(target=self._accept, name=f"{self._name} accept", daemon=True).start()

    def close(self) -> None:
        """Cut all connections and listen no more."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_connections()

    def cut_connections(self) -> None:
        with self._lock:
            transports, self._transports = self._transports, set()
        for transport in transports:
            _cut(transport)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed, or out of descriptors for a while
                self._closed.wait(ACCEPT_PAUSE_S)
                continue
            with self._lock:
                busy = len(self._transports) >= MAX_CONNECTIONS
            if busy or not self._is_open():
                connection.close()
                continue
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        """The handshake goes on in the transport's own thread."""
        try:
            transport = ServerTransport(connection)
            transport.ended = self._forget
            transport.banner_timeout = transport.auth_timeout = LOGIN_TIMEOUT_S
            transport.add_server_key(self._host_key)
            with self._lock:
                self._transports.add(transport)
            # An event makes start_server return at once instead of waiting for the handshake.
            transport.start_server(event=threading.Event(), server=_Login(transport, self._admits, self._run))
            self._limit_login(transport)
        except (paramiko.SSHException, OSError, EOFError) as error:
            log.debug("%s: connection failed: %s", self._name, error)
            connection.close()
        if self._closed.is_set():
            self.cut_connections()

    def _limit_login(self, transport: ServerTransport) -> None:
        """Who does not log in in time is cut."""
        timer = threading.Timer(LOGIN_TIMEOUT_S, lambda: None if transport.is_authenticated() else _cut(transport))
        timer.daemon = True
        transport.login_timer = timer
        timer.start()

    def _admits(self, user: str, words: tuple[str, str]) -> bool:
        return words in self._authorized or words in self._accounts.get(user, ())

    def _forget(self, transport: ServerTransport) -> None:
        with self._lock:
            self._transports.discard(transport)

    def _run(self, transport: ServerTransport, channel: paramiko.Channel, command: str) -> None:
        """One command, in its own thread, from after the reply to the exit status."""
        transport.wait_for_reply(channel)
        status = COMMAND_FAILED
        try:
            status = self._handler(command, channel)
        except (OSError, EOFError, paramiko.SSHException) as error:
            log.debug("%s: a command lost its connection: %s", self._name, error)
        except Exception:
            log.exception("%s: bug in a command", self._name)
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            if not channel.closed:
                channel.send_exit_status(status)
            channel.close()


def _cut(transport: paramiko.Transport) -> None:
    """The shutdown wakes the reading thread, whose socket has a long time-out."""
    with contextlib.suppress(OSError):
        transport.sock.shutdown(socket.SHUT_RDWR)
    transport.close()


class ServerTransport(paramiko.Transport):
    """A Transport that says when the reply to a command is out: what is sent before it confuses clients."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.daemon = True
        self.ended: Callable[[ServerTransport], None] = lambda transport: None
        self.login_timer: threading.Timer | None = None
        self._channels_seen: list[paramiko.Channel] = []
        self._replied: dict[int, threading.Event] = {}

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.stop_login_timer()
            self.ended(self)

    def stop_login_timer(self) -> None:
        if self.login_timer is not None:
            self.login_timer.cancel()

    def open_sessions(self) -> int:
        """How many channels are open now. The library queues each for ``accept``."""
        while (channel := self.accept(0)) is not None:
            self._channels_seen.append(channel)
        self._channels_seen = [channel for channel in self._channels_seen if not channel.closed]
        return len(self._channels_seen)

    def expect_reply(self, channel: paramiko.Channel) -> None:
        self._replied[channel.remote_chanid] = threading.Event()

    def wait_for_reply(self, channel: paramiko.Channel) -> None:
        replied = self._replied.get(channel.remote_chanid)
        if replied is not None:
            replied.wait(REPLY_TIMEOUT_S)
        self._replied.pop(channel.remote_chanid, None)

    def _send_message(self, data: paramiko.Message) -> None:
        """Overrides a private method of the library; if a version drops it, ``wait_for_reply`` merely waits its time."""
        super()._send_message(data)  # type: ignore[misc]
        if not self._replied:
            return
        message = data.asbytes()
        if message[:1] == CHANNEL_SUCCESS:
            replied = self._replied.get(int.from_bytes(message[1:5], "big"))
            if replied is not None:
                replied.set()


class _Login(paramiko.ServerInterface):
    """What one connection may do."""

    def __init__(
        self,
        transport: ServerTransport,
        admits: Callable[[str, tuple[str, str]], bool],
        run: Callable[[ServerTransport, paramiko.Channel, str], None],
    ) -> None:
        self._transport = transport
        self._admits = admits
        self._run = run

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        admitted = self._admits(username, (key.get_name(), key.get_base64()))
        return AUTH_SUCCESSFUL if admitted else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind != "session":
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        self._transport.sock.settimeout(SOCKET_TIMEOUT_S)
        self._transport.stop_login_timer()
        if self._transport.open_sessions() >= MAX_SESSIONS:
            return OPEN_FAILED_RESOURCE_SHORTAGE
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._transport.expect_reply(channel)
        arguments = (self._transport, channel, command.decode("utf-8", "surrogateescape"))
        threading.Thread(target=self._run, args=arguments, name="ssh command", daemon=True).start()
        return True
