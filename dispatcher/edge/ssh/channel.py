"""One command over one channel: standard output and standard error are drained together, standard input goes in window-sized
pieces, and the output has a limit.

The library's ``exec_command`` waits without a bound: the caller guards it with the watchdog, which cuts the transport.
"""

from __future__ import annotations

import contextlib
import threading
from typing import cast

import paramiko

from dispatcher.core.messages import ProbeProblem
from dispatcher.edge.ssh.remote import Deadline, Output, RemoteError
from dispatcher.edge.ssh.transport import KeptTransport, describe

PIECE_BYTES = 32 * 1024
MUCH = 8  # pieces: a quarter of the window at most, so that the other side never waits for us
WINDOW_POLL_S = 0.02  # nobody tells us when the send window opens again


def open_channel(transport: KeptTransport, deadline: Deadline) -> paramiko.Channel:
    """Nothing of the command has left yet when this fails: ``sent`` is False."""
    try:
        channel: paramiko.Channel = transport.open_session(timeout=deadline.left_s + 1)
        return channel
    except (paramiko.SSHException, OSError, EOFError) as error:
        if deadline.passed:
            raise deadline.missed("opening an SSH session") from error
        if not transport.is_active():
            raise RemoteError(ProbeProblem.UNREACHABLE, f"connection lost: {describe(error)}") from error
        raise RemoteError(ProbeProblem.COMMAND, f"the SSH server refuses another session: {error}", reached=True) from error


def close_channel(channel: paramiko.Channel) -> None:
    """Whatever became of it; on a dead connection there is nobody to tell."""
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
        channel.close()


def run_command(
    transport: KeptTransport, channel: paramiko.Channel, command: str, stdin: bytes, deadline: Deadline, limit_bytes: int
) -> Output:
    """Run to the end: the exit status came and the other side closed. Raises RemoteError with ``sent``."""
    conversation = _Conversation(transport, channel, stdin, limit_bytes)
    try:
        channel.settimeout(0.0)
        transport.begin(channel, command)
        conversation.hold(deadline)
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise _broken_off(transport, error, deadline) from error
    _require_whole(transport, channel, deadline)
    transport.channels_seen.pop(channel.chanid, None)  # grows for ever otherwise; both sides have closed, so none will ask
    return conversation.output()


def _broken_off(transport: KeptTransport, error: Exception, deadline: Deadline) -> RemoteError:
    if deadline.passed:  # then it was the watchdog that cut
        return deadline.missed("command", reached=True, sent=True)
    if isinstance(error, paramiko.SSHException) and transport.is_active():
        return RemoteError(ProbeProblem.COMMAND, f"the SSH server refused the command: {error}", reached=True, sent=True)
    text = f"connection lost while a command ran: {describe(error)}"
    return RemoteError(ProbeProblem.UNREACHABLE, text, reached=True, sent=True)


def _require_whole(transport: KeptTransport, channel: paramiko.Channel, deadline: Deadline) -> None:
    """A channel also closes when the connection dies, and no exit status reads as -1: neither is an answer."""
    closed_by_peer = channel.chanid in transport.closed_by_peer
    transport.closed_by_peer.discard(channel.chanid)
    if not closed_by_peer:
        error = paramiko.SSHException("it does not run it") if transport.is_active() else EOFError()
        raise _broken_off(transport, error, deadline)
    if channel.exit_status < 0:
        raise RemoteError(ProbeProblem.COMMAND, "the command ended without an exit status", reached=True, sent=True)


class _Bell:
    """An event that two pipes may ring. A pipe clears it when *it* is empty, which says nothing about the other. Most answers
    come in two or three pieces: whoever waits for one is woken at its end, or when much has come."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._event = threading.Event()
        self._pieces = 0

    def set(self) -> None:
        self._pieces += 1
        if self._channel.closed or self._pieces % MUCH == 0:
            self._event.set()

    def clear(self) -> None:
        pass

    def wait(self, timeout_s: float) -> None:
        self._event.wait(timeout_s)
        self._event.clear()


class _Conversation:
    """What goes in and what came out."""

    def __init__(self, transport: KeptTransport, channel: paramiko.Channel, stdin: bytes, limit_bytes: int) -> None:
        self._transport, self._channel = transport, channel
        self._unsent = stdin
        self._sent_bytes = 0
        self._eof_sent = False
        self._limit_bytes = limit_bytes
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._bell = _Bell(channel)
        for pipe in (channel.in_buffer, channel.in_stderr_buffer):
            pipe.set_event(cast(threading.Event, self._bell))

    def hold(self, deadline: Deadline) -> None:
        """Until the channel is closed; what came before the close is read."""
        while True:
            closed = self._channel.closed  # asked first: what arrived before the close is drained below
            self._drain()
            if closed:
                return
            self._send()
            if deadline.passed:
                raise deadline.missed("command", reached=True, sent=True)
            self._bell.wait(deadline.left_s if self._eof_sent else min(WINDOW_POLL_S, deadline.left_s))

    def output(self) -> Output:
        return Output(status=self._channel.exit_status, stdout=bytes(self._stdout), stderr=bytes(self._stderr))

    def _drain(self) -> None:
        while self._channel.recv_ready():
            self._keep(self._stdout, self._channel.recv(PIECE_BYTES))
        while self._channel.recv_stderr_ready():
            self._keep(self._stderr, self._channel.recv_stderr(PIECE_BYTES))

    def _keep(self, buffer: bytearray, data: bytes) -> None:
        buffer += data
        if len(self._stdout) + len(self._stderr) > self._limit_bytes:
            text = f"the command printed more than {self._limit_bytes} bytes"
            raise RemoteError(ProbeProblem.COMMAND, text, reached=True, sent=True)

    def _send(self) -> None:
        """All that fits now. A command may end without reading: then there is nobody to send to, and that is no error."""
        with contextlib.suppress(OSError):
            while self._sent_bytes < len(self._unsent) and self._may_send():
                sent = self._transport.talk(self._channel, self._send_piece)
                if sent is None:
                    return
                self._sent_bytes += sent
            if self._sent_bytes == len(self._unsent) and not self._eof_sent:
                self._transport.talk(self._channel, self._channel.shutdown_write)
                self._eof_sent = True

    def _send_piece(self) -> int:
        return int(self._channel.send(self._unsent[self._sent_bytes : self._sent_bytes + PIECE_BYTES]))

    def _may_send(self) -> bool:
        return self._channel.send_ready() and not self._channel.closed and not self._transport.full
