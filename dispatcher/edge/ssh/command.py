"""Commands without a channel of the library: the thread that reads all connections takes in what is said on their channels,
and answers there.

A ``Command`` runs to its end, and whoever asked is woken once, when it is over; a ``CommandStream`` goes on beside all others.
Each channel has a lock: nothing is ever said behind a close, and what was given up before it left never leaves.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import paramiko
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_OPEN_SUCCESS,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from paramiko.ssh_exception import SSHException

from dispatcher.core.messages import ProbeProblem
from dispatcher.edge.ssh.remote import Deadline, Output, RemoteError
from dispatcher.edge.ssh.transport import describe

KINDS = range(MSG_CHANNEL_OPEN_SUCCESS, MSG_CHANNEL_FAILURE + 1)  # of messages that name one of our channels first
MOST_STDIN_BYTES = 1 << 15  # what is longer is sent by a thread that may wait
PACKET_BYTES = 1 << 15
LEAST_PACKET_BYTES = 4096  # whatever the other side says; the library has it so too
STDERR = 1  # RFC 4254, section 5.2
STREAM_WINDOW_BYTES = 1 << 16
BROKEN = (SSHException, OSError, EOFError)  # what it may be to say something; the reader brings the loss
MOST_UNSENT_BYTES = 1 << 20  # of a stream whose other side does not read


class Says(Protocol):
    """Sends messages without ever waiting; those that are said together leave together."""

    def say(self, *messages: paramiko.Message) -> None: ...


def message(kind: int, number: int | None = None) -> paramiko.Message:
    made = paramiko.Message()
    made.add_byte(bytes([kind]))
    if number is not None:
        made.add_int(number)
    return made


def whole(said: paramiko.Message) -> bytes:
    """The text that comes next. The library makes up what is missing. Raises SSHException."""
    length = said.get_int()
    if length > len(said.get_remainder()):
        raise SSHException("a message ends in the middle of a text")
    return bytes(said.get_bytes(length))


class Session(ABC):
    """A channel with one command on it. ``number``: of our side; ``window_bytes``: so much may the other side say unasked."""

    def __init__(self, connection: Says, number: int, command: str, stdin: bytes, window_bytes: int) -> None:
        self._connection, self.number = connection, number
        self._command, self._unsent, self._window_bytes = command, stdin, window_bytes
        self._remote: int | None = None  # the other side's number, once it is open
        self._window = self._packet_bytes = 0
        self._status: int | None = None
        self._close_said = self._given_up = self._left = self._ended = False
        self._lock = threading.RLock()

    def open(self) -> None:
        made = message(MSG_CHANNEL_OPEN)
        made.add_string("session")
        made.add_int(self.number)
        made.add_int(self._window_bytes)
        made.add_int(PACKET_BYTES)
        self._connection.say(made)

    def lost(self, error: BaseException) -> None:
        """The connection is at its end, if it is not over already; from any thread."""
        with self._lock:
            self._given_up, left = True, self._left
            doing = "connection lost while a command ran" if left else "connection lost"
            self._end(RemoteError(ProbeProblem.UNREACHABLE, f"{doing}: {describe(error)}", reached=left, sent=left))

    def take(self, kind: int, said: paramiko.Message) -> bool:
        """A message for this channel; whether it was the last. Raises SSHException when it makes no sense."""
        with self._lock:
            if (self._remote is None) is not (kind in (MSG_CHANNEL_OPEN_SUCCESS, MSG_CHANNEL_OPEN_FAILURE)):
                raise SSHException(f"a packet of kind {kind} for a channel that is {'not ' if self._remote is None else ''}open")
            return self._take(kind, said)

    # -- what each kind makes of it, under the lock

    @abstractmethod
    def _heard(self, data: bytes, kept_apart: int | None) -> None:
        """A piece of the output, or of a part that is ``kept_apart``."""

    def _heard_all(self) -> None:
        """The output is at its end."""
        return

    @abstractmethod
    def _finish(self, failure: RemoteError | None) -> None:
        """It is over; called once."""

    # -- under the lock

    def _take(self, kind: int, said: paramiko.Message) -> bool:
        if kind == MSG_CHANNEL_OPEN_SUCCESS:
            self._opened(said)
        elif kind == MSG_CHANNEL_OPEN_FAILURE:
            self._declined(said)
            return True
        elif kind == MSG_CHANNEL_WINDOW_ADJUST:
            self._window += said.get_int()
            self._connection.say(*self._rest())
        elif kind == MSG_CHANNEL_DATA:
            self._heard(whole(said), None)
        elif kind == MSG_CHANNEL_EXTENDED_DATA:
            kept_apart = said.get_int()
            self._heard(whole(said), kept_apart)
        elif kind == MSG_CHANNEL_EOF:
            self._heard_all()
        elif kind == MSG_CHANNEL_REQUEST:
            self._told(said)
        elif kind == MSG_CHANNEL_FAILURE:
            self._give_up(RemoteError(ProbeProblem.COMMAND, "the SSH server does not run it", reached=True, sent=True))
        elif kind == MSG_CHANNEL_CLOSE:
            self._connection.say(*self._close())
            self._end(None)
            return True
        return False  # that the command runs tells nothing that matters

    def _rest(self) -> list[paramiko.Message]:
        """What may be sent of the input now."""
        made: list[paramiko.Message] = []
        while not self._close_said and self._unsent and (size := min(len(self._unsent), self._window, self._packet_bytes)) > 0:
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            self._window -= size
            made.append(message(MSG_CHANNEL_DATA, self._remote))
            made[-1].add_string(piece)
        return made

    def _opened(self, said: paramiko.Message) -> None:
        self._remote, self._window = said.get_int(), said.get_int()
        self._packet_bytes = max(LEAST_PACKET_BYTES, said.get_int())
        if self._given_up:
            self._connection.say(*self._close())
            return
        self._left = True
        wanted = message(MSG_CHANNEL_REQUEST, self._remote)
        wanted.add_string("exec")
        wanted.add_boolean(True)
        wanted.add_string(self._command)
        self._connection.say(wanted, *self._rest())

    def _declined(self, said: paramiko.Message) -> None:
        code, why = said.get_int(), said.get_text()
        text = f"the SSH server refuses another session: {why or 'it does not say why'} (reason {code})"
        self._end(RemoteError(ProbeProblem.COMMAND, text, reached=True))

    def _told(self, said: paramiko.Message) -> None:
        name, wants_reply = whole(said), said.get_boolean()
        if name == b"exit-status":
            if len(said.get_remainder()) < 4:
                raise SSHException("an exit status is missing")
            self._status = said.get_int()
        if wants_reply and not self._close_said:
            self._connection.say(message(MSG_CHANNEL_FAILURE, self._remote))

    def _give_up(self, failure: RemoteError | None) -> None:
        """It is over for whoever asked; the channel is kept until the other side has closed it too."""
        self._given_up = True
        try:
            if self._remote is not None:
                self._connection.say(*self._close())
        finally:
            self._end(failure)

    def _close(self) -> list[paramiko.Message]:
        first, self._close_said = not self._close_said, True
        return [message(MSG_CHANNEL_CLOSE, self._remote)] if first else []

    def _end(self, failure: RemoteError | None) -> None:
        first, self._ended = not self._ended, True
        if first:
            self._given_up, self._unsent, self._command = True, b"", ""  # tokens are kept no longer than they must
            self._finish(failure)


class Command(Session):
    """One that runs to its end. The window is larger than what is kept: nobody ever waits for us."""

    def __init__(self, connection: Says, number: int, command: str, stdin: bytes, limit_bytes: int) -> None:
        super().__init__(connection, number, command, stdin, limit_bytes + PACKET_BYTES)
        self._limit_bytes = limit_bytes
        self._stdout, self._stderr = bytearray(), bytearray()
        self._eof_said = False
        self._failure: RemoteError | None = None
        self._over = threading.Lock()  # let go of when it is over
        self._over.acquire()

    def result(self, deadline: Deadline) -> Output:
        """What came of it. Raises RemoteError, with ``sent`` as far as it came."""
        if not self._over.acquire(timeout=deadline.left_s):
            with self._lock:
                self._given_up, left = True, self._left
            raise deadline.missed("command", reached=True, sent=True) if left else deadline.missed("opening an SSH session")
        if self._failure is not None:
            raise self._failure
        if self._status is None:
            raise RemoteError(ProbeProblem.COMMAND, "the command ended without an exit status", reached=True, sent=True)
        return Output(status=self._status, stdout=bytes(self._stdout), stderr=bytes(self._stderr))

    def _rest(self) -> list[paramiko.Message]:
        """And that it ends, once, after the last of it."""
        made = super()._rest()
        if not self._unsent and not self._eof_said and not self._close_said:
            self._eof_said = True
            made.append(message(MSG_CHANNEL_EOF, self._remote))
        return made

    def _heard(self, data: bytes, kept_apart: int | None) -> None:
        if self._close_said or kept_apart not in (None, STDERR):
            return
        output = self._stdout if kept_apart is None else self._stderr
        output += data
        if len(self._stdout) + len(self._stderr) > self._limit_bytes:
            text = f"the command printed more than {self._limit_bytes} bytes"
            self._give_up(RemoteError(ProbeProblem.COMMAND, text, reached=True, sent=True))
            self._stdout, self._stderr = bytearray(), bytearray()

    def _finish(self, failure: RemoteError | None) -> None:
        self._failure = failure
        self._over.release()


class CommandStream(Session):
    """One that goes on, a ``watcher.Stream``. ``ring``, which must not block, is called when there is something to read."""

    def __init__(self, connection: Says, number: int, command: str, ring: Callable[[], None]) -> None:
        super().__init__(connection, number, command, b"", STREAM_WINDOW_BYTES)
        self._ring = ring
        self._output = bytearray()
        self.ended_itself = False

    def send(self, data: bytes) -> bool:
        with self._lock:
            if self._ended or self._given_up or len(self._unsent) + len(data) > MOST_UNSENT_BYTES:
                return False
            self._unsent += data
            try:
                self._connection.say(*(self._rest() if self._remote is not None else ()))
            except BROKEN:
                return False
            return True

    def read(self) -> bytes | None:
        with self._lock:
            output, self._output = bytes(self._output), bytearray()
            if output:
                with contextlib.suppress(*BROKEN):
                    self._grant(len(output))
                return output
            return None if self._ended or self.ended_itself else b""

    def close(self) -> None:
        with self._lock, contextlib.suppress(*BROKEN):
            self._give_up(None)

    def _grant(self, count: int) -> None:
        if not self._close_said:
            more = message(MSG_CHANNEL_WINDOW_ADJUST, self._remote)
            more.add_int(count)
            self._connection.say(more)

    def _heard(self, data: bytes, kept_apart: int | None) -> None:
        if self._close_said:
            return
        if kept_apart is not None:
            self._grant(len(data))
            return
        self._output += data
        if len(self._output) > STREAM_WINDOW_BYTES:
            raise SSHException("more was sent than there was a window for")
        if data:
            self._ring()

    def _heard_all(self) -> None:
        first, self.ended_itself = not self.ended_itself, True
        if first:
            self._ring()

    def _finish(self, failure: RemoteError | None) -> None:
        if failure is not None and failure.problem is ProbeProblem.COMMAND:
            self.ended_itself = True  # it cannot be had there, so that nobody asks again at once
        self._ring()
