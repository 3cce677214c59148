"""A connection without a thread of its own: the library's thread shakes hands and logs in, then leaves, and the one reader of all
connections takes its place.

What the library does with a packet that has come is done here by its private names, so it happens only with versions that were
tried (``unfit``); with all others each connection keeps its thread.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
from collections.abc import Callable
from typing import Any

import paramiko
from paramiko import transport as library
from paramiko.common import (
    MSG_CHANNEL_REQUEST,
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_IGNORE,
    MSG_NEWKEYS,
    MSG_UNIMPLEMENTED,
)
from paramiko.ssh_exception import SSHException

from dispatcher.edge.ssh.command import KINDS, MOST_STDIN_BYTES, Command, CommandStream, Session
from dispatcher.edge.ssh.reader import Reader
from dispatcher.edge.ssh.remote import Deadline, Output
from dispatcher.edge.ssh.transport import KeptTransport, describe
from dispatcher.edge.ssh.wire import Wire

TRIED = ("2.12", "3.5", "4.0", "5.0", "5.1")  # the whole suite of tests of SSH ran on the first two and the last
NEEDED = ("_send_user_message", "_send_message", "_send_kex_init", "_channel_handler_table", "_parse_newkeys")
KEY_EXCHANGE = range(30, 42)  # the kinds of packets whose meaning depends on the kind of key exchange
MOST_HELD = 1000  # messages while keys are exchanged
MOST_SESSIONS = 100  # that the other side never closes
FIRST_NUMBER = 1 << 24  # of our own channels: the library's are smaller

log = logging.getLogger(__name__)


def unfit(version: str = paramiko.__version__, transport: type = paramiko.Transport) -> str:
    """Why the connections of this version of the library need a thread each; or nothing."""
    if ".".join(version.split(".")[:2]) not in TRIED:
        return f"paramiko {version} is not one of the versions that were tried ({', '.join(TRIED)})"
    missing = [name for name in NEEDED if not hasattr(transport, name)]
    return f"this paramiko {version} has no {', '.join(missing)}" if missing else ""


def open_reader(*, thread_per_connection: bool, unfit_because: str | None = None) -> Reader | None:
    """None where each connection has to have a thread: because somebody wants it, or, and that is said, because of this library
    or this system."""
    if thread_per_connection:
        return None
    reason = unfit() if unfit_because is None else unfit_because
    try:
        if not reason:
            return Reader()
    except OSError as error:
        reason = str(error)
    log.warning("each SSH connection keeps a thread, which costs more memory and processor time: %s", reason)
    return None


def make_transport(sock: socket.socket, name: str, reader: Reader | None) -> KeptTransport:
    return KeptTransport(sock, name) if reader is None else SharedTransport(sock, name, reader)


class Leave(BaseException):
    """Takes the library's thread out of its loop between two packets. No handler there catches it, so nothing is torn down."""


class SharedTransport(KeptTransport):
    """Begins as its parent, and goes over to the reader the moment it is logged in."""

    # The library's, which no stub knows
    remote_cipher: str
    remote_mac: str | None
    _channels: Any
    _handler_table: dict[int, Any]
    _channel_handler_table: dict[int, Any]
    _send_message: Callable[[paramiko.Message], None]

    def __init__(self, sock: socket.socket, name: str, reader: Reader) -> None:
        self.wire = Wire(sock)
        self._reader = reader
        self._held: list[paramiko.Message] = []  # until the new keys are there
        self._sessions: dict[int, Session] = {}  # by the number of their channel
        self._numbers = itertools.count(FIRST_NUMBER)
        super().__init__(self.wire, name)  # type: ignore[arg-type]

    def run(self) -> None:
        try:
            paramiko.Transport.run(self)
        except Leave:
            with contextlib.suppress(ValueError):
                library._active_threads.remove(self)  # type: ignore[attr-defined]
            if self._reader.adopt(self):
                return
            self.end(EOFError())
            return
        self.finish()

    def idle(self) -> None:
        if not self._may_leave():
            super().idle()

    def cut(self) -> None:
        self._over = True
        self.wire.cut()

    @property
    def full(self) -> bool:
        return self.wire.full or bool(self._held)

    def _may_leave(self) -> bool:
        """Without a length in clear nobody could tell a whole packet from half of one: then the thread stays."""
        return self.is_authenticated() and self._lengths_are_clear()

    def _lengths_are_clear(self) -> bool:
        return "-gcm@" in self.remote_cipher or "-etm@" in (self.remote_mac or "")

    def _read_message(self) -> tuple[int, Any]:
        if not self.wire.owned and self._may_leave():
            raise Leave
        return super()._read_message()

    # ---------------------------------------------------------------------------------------------- in the reader's thread

    def take(self) -> None:
        """All packets that have come, and one look for more. Raises whatever ends the connection."""
        self.wire.fill()
        while self.wire.holds_packet(self.packetizer.get_mac_size_in()):
            self._take_in(*self._read_message())
            if self.packetizer.need_rekey() and not self.in_kex:
                self._send_kex_init()  # type: ignore[attr-defined]

    def end(self, error: Exception) -> None:
        """The same as the library does at the end of its thread."""
        self._over = True
        self.saved_exception = error if isinstance(error, SSHException | EOFError | OSError) else SSHException(describe(error))
        for session in list(self._sessions.values()):
            session.lost(error)
        self.wire.release()
        self.close()
        for event in list(self.channel_events.values()):
            event.set()
        self.finish()

    def _take_in(self, kind: int, message: paramiko.Message) -> None:
        if kind in (MSG_IGNORE, MSG_DEBUG):
            return
        if kind == MSG_DISCONNECT:
            raise EOFError
        if self._expected_packet:
            self._require_expected(kind)
            if kind in KEY_EXCHANGE:
                engine: Any = self.kex_engine
                engine.parse_next(kind, message)
                return
        if kind in KINDS and self._for_session(kind, message):
            return
        if kind in self._handler_table:
            handler = self._handler_table[kind]
            handler(message) if hasattr(handler, "__self__") else handler(self, message)  # unbound until 3.x
            if kind == MSG_NEWKEYS:
                self._new_keys()
        elif kind in self._channel_handler_table:
            self._handle_channel(kind, message)
        elif kind != MSG_UNIMPLEMENTED:
            self._decline(message)

    def _require_expected(self, kind: int) -> None:
        if kind not in self._expected_packet:
            raise SSHException(f"a packet of kind {kind} in the middle of a key exchange")
        self._expected_packet: tuple[int, ...] = ()

    def _for_session(self, kind: int, message: paramiko.Message) -> bool:
        number = message.get_int()
        session = self._sessions.get(number)
        if session is None:
            message.rewind()
            return False
        if session.take(kind, message):
            del self._sessions[number]
        return True

    def _take_close(self, number: int) -> None:
        if number not in self._sessions:
            super()._take_close(number)

    def _handle_channel(self, kind: int, message: paramiko.Message) -> None:
        number = message.get_int()
        channel = self._channels.get(number)
        if channel is not None:
            self._channel_handler_table[kind](channel, message)
        elif number not in self.channels_seen:
            raise SSHException(f"a message for channel {number}, which there never was")

    def _decline(self, message: paramiko.Message) -> None:
        answer = paramiko.Message()
        answer.add_byte(bytes([MSG_UNIMPLEMENTED]))
        answer.add_int(message.seqno)
        self._send_message(answer)

    # ------------------------------------------------------------------------------------------------------------- sending

    def command(self, command: str, stdin: bytes, deadline: Deadline, limit_bytes: int) -> Output | None:
        if len(stdin) > MOST_STDIN_BYTES or not self._may_leave():
            return None
        made = Command(self, next(self._numbers), command, stdin, limit_bytes)
        self._open(made)
        return made.result(deadline)

    def stream(self, command: str, ring: Callable[[], None]) -> CommandStream | None:
        if not self._may_leave():
            return None
        made = CommandStream(self, next(self._numbers), command, ring)
        self._open(made)
        return made

    def _open(self, session: Session) -> None:
        self._sessions[session.number] = session
        if len(self._sessions) > MOST_SESSIONS:
            self.cut()
        try:
            session.open()
            if not self.is_active():  # whoever ended it may have looked before this one was there
                raise EOFError
        except (SSHException, OSError, EOFError) as error:
            session.lost(error)

    def say(self, *messages: paramiko.Message) -> None:
        with self.wire.together() if self.wire.owned else contextlib.nullcontext():  # else the library may wait in it
            for message in messages:
                self._send_user_message(message)

    def begin(self, channel: paramiko.Channel, command: str) -> None:
        """Without waiting until the server says that it runs it: where it does not, the channel closes."""
        if not self.wire.owned:
            super().begin(channel, command)
            return
        request = paramiko.Message()
        request.add_byte(bytes([MSG_CHANNEL_REQUEST]))
        request.add_int(channel.remote_chanid)
        request.add_string("exec")
        request.add_boolean(True)
        request.add_string(command)
        self.talk(channel, lambda: self._send_user_message(request))

    def _send_user_message(self, data: paramiko.Message) -> None:
        """The library waits here for new keys; the reader, who brings them, must not."""
        if self._over:
            return
        if not self.wire.owned:
            super()._send_user_message(data)  # type: ignore[misc]
            return
        with self.clear_to_send_lock:
            if not self.is_active():
                return
            self._held.append(data)
            if self.clear_to_send.is_set():
                self._send_held()
            elif len(self._held) > MOST_HELD:
                self.cut()

    def _new_keys(self) -> None:
        if not self._lengths_are_clear():
            raise SSHException("the new keys hide where a packet ends")
        with self.clear_to_send_lock:
            self._send_held()

    def _send_held(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self._send_message(message)
