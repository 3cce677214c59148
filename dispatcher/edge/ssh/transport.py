"""A paramiko transport as we need it: handshake and login each against one deadline, cut at any moment, quiet while idle.

Only public names of the library are used, and they are the same from 2.12 to 5.1. Its own time-outs count wall-clock time or
tenths of seconds, so none of them decides anything here.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import paramiko
from paramiko.common import MSG_CHANNEL_CLOSE, MSG_DISCONNECT
from paramiko.packet import NeedRekeyException
from paramiko.ssh_exception import AuthenticationException, IncompatiblePeer, SSHException
from paramiko.transport import SecurityOptions

from dispatcher.core.messages import ProbeProblem
from dispatcher.driver import HostKey
from dispatcher.edge.ssh.remote import Deadline, Output, RemoteError

# Once logged in the reader wakes only for data. The library's tenth of a second costs half a core at 1,000 connections and
# collapses beyond; before login it is needed, because only its wake-ups notice that a handshake was given up.
IDLE_WAKE_S = 60.0
TALK_WAIT_S = 1.0
MSG_EXT_INFO = 7  # RFC 8308
MOST_EXTENSIONS = struct.pack(">I", 100)
WINDOW_BYTES = 1 << 20

# In order of preference; what this version of the library lacks is left out. Group 14 costs ten times the CPU: last.
KEX = (
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
)
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
DIGESTS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")

T = TypeVar("T")
LOG_NAME = "dispatcher.edge.ssh.library"


def quiet_library() -> None:
    """The library logs each channel, and a traceback for every failed handshake, which all reach us as errors anyway."""
    logging.getLogger(LOG_NAME).setLevel(logging.CRITICAL)


class KeptTransport(paramiko.Transport):
    """Tells when it ends, and which channels the other side closed itself.

    A lost connection also closes all channels, so that alone does not say that an output is whole.
    """

    def __init__(self, sock: socket.socket, name: str) -> None:
        super().__init__(sock, default_window_size=WINDOW_BYTES)
        self.name = f"ssh {name}"  # the thread's name
        self.set_log_channel(LOG_NAME)
        self.closed_by_peer: set[int] = set()
        self._talking = threading.RLock()
        self.on_end: Callable[[], None] | None = None
        self.ended = threading.Event()  # nothing more comes of it, and its socket is closed
        self._socket = sock
        self._over = False  # the library closes the channels first and says only afterwards that the connection is dead
        self.packetizer.start_handshake = lambda timeout: None  # type: ignore[method-assign] # a thread for each; ours is the deadline
        self._read = self.packetizer.read_message
        self.packetizer.read_message = self._read_message  # type: ignore[method-assign]

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.finish()

    def finish(self) -> None:
        self.ended.set()
        if self.on_end is not None:
            self.on_end()

    def is_active(self) -> bool:
        return not self._over and bool(super().is_active())

    def _read_message(self) -> tuple[int, Any]:
        try:
            kind, message = self._read()
        except NeedRekeyException:
            raise
        except Exception:
            self._over = True
            raise
        if kind == MSG_DISCONNECT:
            self._over = True
        if kind == MSG_EXT_INFO and message.get_remainder()[:4] > MOST_EXTENSIONS:
            self._over = True  # the library would count them, whether they are there or not
            raise SSHException("the server announces more extensions than there are")
        if kind == MSG_CHANNEL_CLOSE:
            self._take_close(*struct.unpack_from(">I", message.get_remainder()))
        return kind, message

    def _take_close(self, number: int) -> None:
        """Whoever talks on a channel has said it before we answer the close. A thread of the library must not wait for ever: it
        also brings the new keys for which a talker may wait."""
        held = self._talking.acquire(timeout=TALK_WAIT_S)
        self.closed_by_peer.add(number)
        if held:
            self._talking.release()

    def talk(self, channel: paramiko.Channel, say: Callable[[], T]) -> T | None:
        """Not on a channel that the other side has closed: what comes after our own close belongs to no channel, for which a
        server ends the connection with every command on it."""
        with self._talking:
            return None if channel.chanid in self.closed_by_peer else say()

    def cut(self) -> None:
        """End it now, without waiting for its thread, which tidies up and closes the socket."""
        self._over = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the reader

    def idle(self) -> None:
        """From now on wake only for data."""
        self._socket.settimeout(IDLE_WAKE_S)

    def command(self, command: str, stdin: bytes, deadline: Deadline, limit_bytes: int) -> Output | None:
        """Run it to its end, if that can be done without a channel of the library; else None, and nothing has happened. Raises
        RemoteError."""
        return None

    def stream(self, command: str, ring: Callable[[], None]) -> Any:
        """The same for one that goes on: a ``watcher.Stream``, at once, or None."""
        return None

    def begin(self, channel: paramiko.Channel, command: str) -> None:
        """The library waits until the server has said that it runs the command."""
        channel.exec_command(command)

    @property
    def full(self) -> bool:
        """Whether a caller should wait before it sends more; here sending itself waits."""
        return False


def shake_hands(transport: KeptTransport, algorithms: Sequence[str], deadline: Deadline) -> HostKey:
    """Keys are exchanged and the host key is shown; nobody has logged in yet. Raises RemoteError, and the socket is closed."""
    try:
        _prefer(transport.get_security_options(), algorithms)
        transport.banner_timeout = deadline.left_s + 1  # ours comes first
        done = threading.Event()
        transport.start_client(event=done)
        _wait(transport, done, deadline, "SSH key exchange")
        key = transport.get_remote_server_key()
    except Exception as error:
        abandon(transport)  # a hostile or broken server makes the library raise anything
        raise _handshake_error(error) from error
    return HostKey(key.get_name(), key.get_base64())


def log_in(transport: KeptTransport, user: str, key: paramiko.PKey, deadline: Deadline) -> None:
    """By this key or not at all: no agent, no password, no other key. Raises RemoteError."""
    done = threading.Event()
    transport.auth_timeout = deadline.left_s + 1
    try:
        transport.auth_publickey(user, key, event=done)
        _wait(transport, done, deadline, "SSH login")
    except AuthenticationException as error:
        raise RemoteError(ProbeProblem.LOGIN, f"login as {user} was refused: {error}") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise RemoteError(ProbeProblem.UNREACHABLE, f"connection lost during login as {user}: {describe(error)}") from error
    if not transport.is_authenticated():
        raise RemoteError(ProbeProblem.LOGIN, f"login as {user}: the server asks for more than our key")


def abandon(transport: KeptTransport) -> None:
    """Cut, also when its thread never began."""
    transport.cut()
    if transport.ident is None:
        transport.sock.close()


def describe(error: BaseException) -> str:
    """The library often raises a bare EOFError, or errors without a text."""
    return str(error) or ("the other side closed it" if isinstance(error, EOFError) else type(error).__name__)


def _wait(transport: KeptTransport, done: threading.Event, deadline: Deadline, doing: str) -> None:
    if not done.wait(deadline.left_s):
        raise deadline.missed(doing)
    error = transport.get_exception()
    if error is not None:
        raise error
    if not transport.is_active():
        raise EOFError


def _prefer(options: SecurityOptions, algorithms: Sequence[str]) -> None:
    options.kex = _supported(KEX, options.kex)
    options.ciphers = _supported(CIPHERS, options.ciphers)
    options.digests = _supported(DIGESTS, options.digests)
    options.key_types = _supported(algorithms, options.key_types)


def _supported(wanted: Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in available)


def _handshake_error(error: Exception) -> RemoteError:
    if isinstance(error, RemoteError):
        return error
    if isinstance(error, IncompatiblePeer) and "host key" in str(error):
        return RemoteError(ProbeProblem.HOST_KEY, "the server has no host key of the types that are known for this instance")
    return RemoteError(ProbeProblem.UNREACHABLE, f"SSH handshake failed: {describe(error)}")
