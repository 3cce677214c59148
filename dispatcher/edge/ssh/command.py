"""One command over one channel, without the library's channel: the thread that reads all connections opens it, sends, gathers and
closes, and whoever asked is woken once, when it is over.

All that is said on the channel is said in that one thread, but for the opening: so nothing is ever said behind a close, and a
command that was given up before it left never leaves.
"""

from __future__ import annotations

import threading
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
STDERR = 1  # RFC 4254, section 5.2


class Says(Protocol):
    """Sends messages without ever waiting; those that are said together leave together."""

    def say(self, *messages: paramiko.Message) -> None: ...


def message(kind: int, number: int | None = None) -> paramiko.Message:
    made = paramiko.Message()
    made.add_byte(bytes([kind]))
    if number is not None:
        made.add_int(number)
    return made


class Command:
    """``number``: of our side of the channel. The window that we grant is larger than what is kept: nobody ever waits for us."""

    def __init__(self, connection: Says, number: int, command: str, stdin: bytes, limit_bytes: int) -> None:
        self._connection, self.number = connection, number
        self._command, self._unsent, self._limit_bytes = command, stdin, limit_bytes
        self._remote: int | None = None  # the other side's number, once it is open
        self._window = self._packet_bytes = 0
        self._status: int | None = None
        self._stdout, self._stderr = bytearray(), bytearray()
        self._eof_said = self._close_said = False
        self._failure: RemoteError | None = None
        self._lock = threading.Lock()
        self._given_up = self._left = self._ended = False
        self._over = threading.Lock()  # let go of when it is over
        self._over.acquire()

    # -- whoever asked

    def open(self) -> None:
        made = message(MSG_CHANNEL_OPEN)
        made.add_string("session")
        made.add_int(self.number)
        made.add_int(self._limit_bytes + PACKET_BYTES)
        made.add_int(PACKET_BYTES)
        self._connection.say(made)

    def result(self, deadline: Deadline) -> Output:
        """What came of it. Raises RemoteError, with ``sent`` as far as it came."""
        if not self._over.acquire(timeout=deadline.left_s):
            with self._lock:
                self._given_up = True
                left = self._left
            raise deadline.missed("command", reached=True, sent=True) if left else deadline.missed("opening an SSH session")
        if self._failure is not None:
            raise self._failure
        if self._status is None:
            raise RemoteError(ProbeProblem.COMMAND, "the command ended without an exit status", reached=True, sent=True)
        return Output(status=self._status, stdout=bytes(self._stdout), stderr=bytes(self._stderr))

    # -- the reader's thread, and for ``lost`` any

    def lost(self, error: BaseException) -> None:
        """The connection is at its end, if it is not over already."""
        with self._lock:
            self._given_up, left = True, self._left
        doing = "connection lost while a command ran" if left else "connection lost"
        self._end(RemoteError(ProbeProblem.UNREACHABLE, f"{doing}: {describe(error)}", reached=left, sent=left))

    def take(self, kind: int, said: paramiko.Message) -> bool:
        """A message for this channel; whether it was the last. Raises SSHException when it makes no sense."""
        if (self._remote is None) is not (kind in (MSG_CHANNEL_OPEN_SUCCESS, MSG_CHANNEL_OPEN_FAILURE)):
            raise SSHException(f"a packet of kind {kind} for a channel that is {'not ' if self._remote is None else ''}open")
        if kind == MSG_CHANNEL_OPEN_SUCCESS:
            self._opened(said)
        elif kind == MSG_CHANNEL_OPEN_FAILURE:
            self._declined(said)
            return True
        elif kind == MSG_CHANNEL_WINDOW_ADJUST:
            self._window += said.get_int()
            self._connection.say(*self._rest())
        elif kind == MSG_CHANNEL_DATA:
            self._keep(self._stdout, said.get_binary())
        elif kind == MSG_CHANNEL_EXTENDED_DATA:
            self._keep(self._stderr if said.get_int() == STDERR else bytearray(), said.get_binary())
        elif kind == MSG_CHANNEL_REQUEST:
            self._told(said)
        elif kind == MSG_CHANNEL_FAILURE:
            self._give_up(RemoteError(ProbeProblem.COMMAND, "the SSH server does not run it", reached=True, sent=True))
        elif kind == MSG_CHANNEL_CLOSE:
            self._connection.say(*self._close())
            self._end(None)
            return True
        return False  # the end of the output, and that the command runs, tell nothing that matters

    def _opened(self, said: paramiko.Message) -> None:
        self._remote, self._window, self._packet_bytes = said.get_int(), said.get_int(), said.get_int()
        with self._lock:
            self._left = not self._given_up
        if not self._left:
            self._connection.say(*self._close())
            return
        wanted = message(MSG_CHANNEL_REQUEST, self._remote)
        wanted.add_string("exec")
        wanted.add_boolean(True)
        wanted.add_string(self._command)
        self._connection.say(wanted, *self._rest())

    def _declined(self, said: paramiko.Message) -> None:
        code, why = said.get_int(), said.get_text()
        text = f"the SSH server refuses another session: {why or 'it does not say why'} (reason {code})"
        self._end(RemoteError(ProbeProblem.COMMAND, text, reached=True))

    def _rest(self) -> list[paramiko.Message]:
        """What may be sent of the input now, and that it ends."""
        made: list[paramiko.Message] = []
        if self._close_said or self._eof_said:
            return made
        while self._unsent and (size := min(len(self._unsent), self._window, self._packet_bytes)) > 0:
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            self._window -= size
            made.append(message(MSG_CHANNEL_DATA, self._remote))
            made[-1].add_string(piece)
        if not self._unsent:
            self._eof_said = True
            made.append(message(MSG_CHANNEL_EOF, self._remote))
        return made

    def _keep(self, output: bytearray, data: bytes) -> None:
        if self._close_said:
            return
        output += data
        if len(self._stdout) + len(self._stderr) > self._limit_bytes:
            text = f"the command printed more than {self._limit_bytes} bytes"
            self._give_up(RemoteError(ProbeProblem.COMMAND, text, reached=True, sent=True))

    def _told(self, said: paramiko.Message) -> None:
        name, wants_reply = said.get_text(), said.get_boolean()
        if name == "exit-status":
            self._status = said.get_int()
        if wants_reply and not self._close_said:
            self._connection.say(message(MSG_CHANNEL_FAILURE, self._remote))

    def _give_up(self, failure: RemoteError) -> None:
        """It is over for whoever asked; the channel is kept until the other side has closed it too."""
        self._connection.say(*self._close())
        self._stdout, self._stderr = bytearray(), bytearray()
        self._end(failure)

    def _close(self) -> list[paramiko.Message]:
        first, self._close_said = not self._close_said, True
        return [message(MSG_CHANNEL_CLOSE, self._remote)] if first else []

    def _end(self, failure: RemoteError | None) -> None:
        with self._lock:
            first, self._ended = not self._ended, True
        if first:
            self._failure = failure
            self._over.release()
