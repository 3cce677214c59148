"""A command without a channel of the library, message by message: what is said when, and what its caller is told."""

from __future__ import annotations

from collections.abc import Sequence

import paramiko
import pytest
from paramiko.ssh_exception import SSHException

from dispatcher.core.messages import ProbeProblem
from dispatcher.edge.ssh.command import (
    MOST_UNSENT_BYTES,
    PACKET_BYTES,
    STREAM_WINDOW_BYTES,
    Command,
    CommandStream,
    Session,
    message,
)
from dispatcher.edge.ssh.remote import Deadline, Output, RemoteError

# RFC 4254, section 9
OPEN, OPENED, DECLINED, WINDOW, DATA, MORE, EOF, CLOSE, REQUEST, SUCCESS, FAILURE = range(90, 101)
OURS, THEIRS = 7, 3
NAMES = {OPEN: "open", REQUEST: "exec", DATA: "data", EOF: "eof", CLOSE: "close", FAILURE: "failure", WINDOW: "window"}
Part = int | str | bytes | bool


class Line:
    """Takes down what is said, in order; what is said together is one entry."""

    def __init__(self) -> None:
        self.said: list[list[str]] = []
        self.data = b""
        self.granted = 0

    def say(self, *messages: paramiko.Message) -> None:
        if messages:
            self.said.append([self._name(each) for each in messages])

    def _name(self, sent: paramiko.Message) -> str:
        sent.rewind()
        kind = sent.get_byte()[0]
        if kind == DATA:
            assert sent.get_int() == THEIRS
            self.data += sent.get_binary()
        if kind == WINDOW:
            assert sent.get_int() == THEIRS
            self.granted += sent.get_int()
        return NAMES[kind]


def heard(*parts: Part) -> paramiko.Message:
    """A message of the other side, without its kind and our number, which its reader has taken off."""
    made = paramiko.Message()
    for part in parts:
        if isinstance(part, bool):
            made.add_boolean(part)
        elif isinstance(part, int):
            made.add_int(part)
        else:
            made.add_string(part)
    made.rewind()
    return made


STATUS = (REQUEST, heard("exit-status", False, 5))


def opened(window: int = 1 << 20, packet: int = 1 << 15) -> tuple[int, paramiko.Message]:
    return OPENED, heard(THEIRS, window, packet)


def made(line: Line, stdin: bytes = b"", limit_bytes: int = 100) -> Command:
    command = Command(line, OURS, "runner --list", stdin, limit_bytes)
    command.open()
    return command


def told(command: Session, *messages: tuple[int, paramiko.Message]) -> list[bool]:
    answers = []
    for kind, said in messages:
        said.rewind()
        answers.append(command.take(kind, said))
    return answers


def outcome(command: Command) -> Output | tuple[ProbeProblem, bool, bool, str]:
    try:
        return command.result(Deadline(0.0))
    except RemoteError as error:
        return error.problem, error.reached, error.sent, error.text


def test_a_command_runs_to_its_end():
    """All that is said first leaves together; its caller hears when the other side has closed, and not before."""
    line = Line()
    command = made(line, b"input")
    output = [(SUCCESS, heard()), (DATA, heard(b"on")), (MORE, heard(1, b"!")), (DATA, heard(b"e")), (MORE, heard(2, b"?"))]
    assert told(command, opened(), *output, (EOF, heard()), STATUS) == [False] * 8
    assert line.said == [["open"], ["exec", "data", "eof"]]
    assert told(command, (CLOSE, heard())) == [True]
    assert outcome(command) == Output(status=5, stdout=b"one", stderr=b"!")
    assert (line.data, line.said[2:]) == (b"input", [["close"]])


def test_input_goes_as_the_other_side_makes_room():
    """In pieces that it takes, and its end is said once, after the last."""
    line = Line()
    command = made(line, bytes(range(256)) * 40)
    told(command, opened(window=5000, packet=4096), (WINDOW, heard(4097)), (WINDOW, heard(1)), (WINDOW, heard(9000)))
    assert line.said[1:] == [["exec", "data", "data"], ["data", "data"], ["data"], ["data", "eof"]]
    assert line.data == bytes(range(256)) * 40


def test_a_server_that_wants_single_bytes_gets_packets():
    """Else it would keep the one who reads all connections at work."""
    line = Line()
    told(made(line, bytes(8192)), opened(packet=1))
    assert line.said[1:] == [["exec", "data", "data", "eof"]]


TORN = [(DATA, b"\0\0\3\xe8ab"), (MORE, b"\0\0\0\1\0\0\0\5ab"), (REQUEST, b"\0\0\0\x0bexit-status\0")]


@pytest.mark.parametrize(("kind", "content"), TORN)
def test_half_a_message_is_no_answer(kind, content):
    """The library makes up what is missing: an exit status of 0, an output of zeros."""
    command = made(Line())
    told(command, opened())
    with pytest.raises(SSHException):
        told(command, (kind, paramiko.Message(content)))


def test_what_was_to_be_sent_is_kept_no_longer_than_the_command_runs():
    """The other side may never close the channel, and tokens travel that way."""
    command = made(Line(), b"token")
    told(command, opened(window=2), (FAILURE, heard()))
    assert (command._unsent, command._command) == (b"", "")


def test_who_does_not_wait_for_more_input_is_told_no_more():
    """What comes behind our close belongs to no channel: servers end the whole connection for it."""
    line = Line()
    command = made(line, b"abc")
    assert told(command, opened(window=1), STATUS, (CLOSE, heard())) == [False, False, True]
    assert line.said[1:] == [["exec", "data"], ["close"]]


def test_given_up_before_it_left_it_never_leaves():
    """Its caller was told that nothing was sent, and may send it elsewhere: a channel that opens late is closed again."""
    line = Line()
    command = made(line, b"token")
    assert outcome(command)[:3] == (ProbeProblem.TIMEOUT, False, False)  # type: ignore[index]
    assert told(command, opened(), STATUS, (CLOSE, heard())) == [False, False, True]
    assert line.said == [["open"], ["close"]]


def test_given_up_later_it_may_have_run():
    """Nobody can call it back."""
    command = made(Line())
    told(command, opened())
    assert outcome(command)[:3] == (ProbeProblem.TIMEOUT, True, True)  # type: ignore[index]


def test_too_much_output_is_an_error_at_once():
    """And no more of it is kept; the number stays taken until the other side has closed too."""
    line = Line()
    command = made(line, limit_bytes=4)
    told(command, opened(), (DATA, heard(b"abc")), (MORE, heard(1, b"de")))
    assert outcome(command) == (ProbeProblem.COMMAND, True, True, "the command printed more than 4 bytes")
    assert told(command, (DATA, heard(b"f" * 99)), (WINDOW, heard(1)), STATUS, (CLOSE, heard())) == [False, False, False, True]
    assert line.said[2:] == [["close"]]


def test_the_window_takes_more_than_the_limit():
    """Else a server would wait for room where it has to be told that it is too much."""
    sent: list[paramiko.Message] = []

    class Keeps:
        def say(self, *messages: paramiko.Message) -> None:
            sent.extend(messages)

    Command(Keeps(), OURS, "list", b"", 1000).open()
    sent[0].rewind()
    sent[0].get_byte()
    assert [sent[0].get_text(), sent[0].get_int(), sent[0].get_int()] == ["session", OURS, 1000 + PACKET_BYTES]


ENDS: list[tuple[Sequence[tuple[int, paramiko.Message]], tuple[ProbeProblem, bool, bool, str]]] = [
    (
        [(DECLINED, heard(1, "too many sessions", ""))],
        (ProbeProblem.COMMAND, True, False, "the SSH server refuses another session: too many sessions (reason 1)"),
    ),
    ([opened(), (FAILURE, heard())], (ProbeProblem.COMMAND, True, True, "the SSH server does not run it")),
    (
        [opened(), (REQUEST, heard("exit-signal", False, "KILL")), (CLOSE, heard())],
        (ProbeProblem.COMMAND, True, True, "the command ended without an exit status"),
    ),
]


@pytest.mark.parametrize(("messages", "expected"), ENDS)
def test_an_end_that_is_no_answer(messages, expected):
    """Each says how far the command came."""
    command = made(Line())
    told(command, *messages)
    assert outcome(command) == expected


LOST = [([], False, False), ([opened()], True, True), ([opened(), STATUS], True, True)]


@pytest.mark.parametrize(("messages", "reached", "sent"), LOST)
def test_a_connection_that_is_lost_is_never_an_answer(messages, reached, sent):
    """An exit status alone does not say that the output is whole."""
    command = made(Line())
    told(command, *messages)
    command.lost(EOFError())
    found = outcome(command)
    assert found[:3] == (ProbeProblem.UNREACHABLE, reached, sent)  # type: ignore[index]
    assert "connection lost" in found[3]  # type: ignore[index]


def test_what_was_lost_before_it_left_never_leaves():
    """Whoever cuts a connection does not wait for its reader, who may still have the answer to the opening before him."""
    line = Line()
    command = made(line)
    command.lost(EOFError())
    told(command, opened())
    assert line.said == [["open"], ["close"]]


def test_what_is_known_is_not_forgotten_when_the_connection_ends_later():
    """The answer was whole."""
    command = made(Line())
    told(command, opened(), STATUS, (CLOSE, heard()))
    command.lost(EOFError())
    assert outcome(command) == Output(status=5, stdout=b"", stderr=b"")


MEANINGLESS = [[(DATA, heard(b"x"))], [(CLOSE, heard())], [opened(), opened()], [opened(), (DECLINED, heard(1, "", ""))]]


@pytest.mark.parametrize("messages", MEANINGLESS)
def test_messages_out_of_order_end_the_connection(messages):
    """A channel that opens twice would run the command twice."""
    with pytest.raises(SSHException, match="for a channel that is"):
        told(made(Line()), *messages)


def test_a_request_of_the_other_side_is_answered():
    """We grant none; after our close nothing is said."""
    line = Line()
    command = made(line)
    told(command, opened(), (REQUEST, heard("keepalive@openssh.com", True)), (FAILURE, heard()))
    told(command, (REQUEST, heard("keepalive@openssh.com", True)))
    assert line.said[2:] == [["failure"], ["close"]]


def test_a_message_names_its_kind_and_its_channel():
    """As the protocol has them: one byte, four bytes."""
    assert message(CLOSE, 258).asbytes() == bytes([97, 0, 0, 1, 2])


# ------------------------------------------------------------------------------------------------------ one that goes on


class Ringing:
    """A stream, and how often it rang."""

    def __init__(self) -> None:
        self.line, self.rings = Line(), 0
        self.stream = CommandStream(self.line, OURS, "watch", self._ring)
        self.stream.open()

    def _ring(self) -> None:
        self.rings += 1


@pytest.fixture
def ringing() -> Ringing:
    return Ringing()


def test_a_stream_is_spoken_to_before_it_is_open_and_later(ringing):
    """What was said too early leaves with the command; its input never ends by itself."""
    assert ringing.stream.send(b"one ")
    assert ringing.line.said == [["open"]]
    told(ringing.stream, opened(window=8))
    assert [ringing.stream.send(b"two "), ringing.stream.send(b"three")] == [True, True]
    told(ringing.stream, (WINDOW, heard(100)))
    assert (ringing.line.said[1:], ringing.line.data) == ([["exec", "data"], ["data"], ["data"]], b"one two three")


def test_a_stream_rings_for_what_it_says_and_for_its_end(ringing):
    """What was read is granted anew; errors are not kept, but take no room either."""
    told(ringing.stream, opened())
    assert (ringing.stream.read(), ringing.rings) == (b"", 0)
    told(ringing.stream, (DATA, heard(b"uuid\n")), (MORE, heard(1, b"complaint")))
    assert (ringing.rings, ringing.line.granted) == (1, 9)
    assert (ringing.stream.read(), ringing.line.granted) == (b"uuid\n", 14)
    told(ringing.stream, (DATA, heard(b"last")), (EOF, heard()))
    assert (ringing.rings, ringing.stream.read(), ringing.stream.read(), ringing.stream.ended_itself) == (3, b"last", None, True)


@pytest.mark.parametrize(
    ("messages", "itself"),
    [
        ([(DECLINED, heard(1, "too many", ""))], True),
        ([opened(), (FAILURE, heard())], True),
        ([opened(), (CLOSE, heard())], False),
    ],
)
def test_a_stream_that_cannot_be_had_there_says_so(ringing, messages, itself):
    """Nobody asks for it again at once."""
    told(ringing.stream, *messages)
    assert (ringing.rings, ringing.stream.read(), ringing.stream.ended_itself) == (1, None, itself)
    assert not ringing.stream.send(b"more")


def test_a_stream_whose_connection_is_lost_has_not_ended_itself(ringing):
    """The next probe opens it again."""
    told(ringing.stream, opened())
    ringing.stream.lost(EOFError())
    assert (ringing.rings, ringing.stream.read(), ringing.stream.ended_itself) == (1, None, False)
    assert not ringing.stream.send(b"more")


def test_a_stream_that_was_closed_is_told_no_more(ringing):
    """Before it is open it never begins."""
    early = Ringing()
    early.stream.close()
    told(early.stream, opened(), (CLOSE, heard()))
    assert early.line.said == [["open"], ["close"]]
    told(ringing.stream, opened())
    ringing.stream.close()
    told(ringing.stream, (DATA, heard(b"x")), (MORE, heard(1, b"x")), (WINDOW, heard(5)), (EOF, heard()))
    told(ringing.stream, (CLOSE, heard()))
    assert not ringing.stream.send(b"more")
    assert (ringing.stream.read(), ringing.line.said[2:]) == (None, [["close"]])


class Broken(Line):
    """What the library makes of a socket that is gone."""

    def say(self, *messages: paramiko.Message) -> None:
        if self.said:
            raise EOFError
        super().say(*messages)


def test_a_connection_that_breaks_is_nobodys_error(ringing):
    """Neither of whoever started a container nor of whoever stops: the reader brings the loss."""
    ringing.line.__class__ = Broken
    ringing.line.said.clear()
    told(ringing.stream, opened(), (DATA, heard(b"uuid")))
    assert (ringing.stream.send(b"more"), ringing.stream.read()) == (False, b"uuid")
    ringing.stream.close()
    assert ringing.stream.read() is None


def test_a_stream_that_says_nothing_rings_not(ringing):
    """However often it does."""
    told(ringing.stream, opened(), (DATA, heard(b"")), (EOF, heard()), (EOF, heard()))
    assert ringing.rings == 1


def test_a_stream_that_says_more_than_it_may_ends_the_connection(ringing):
    """Nobody's memory is filled that way."""
    told(ringing.stream, opened(), (DATA, heard(bytes(STREAM_WINDOW_BYTES))))
    with pytest.raises(SSHException, match="window"):
        told(ringing.stream, (DATA, heard(b"x")))


def test_a_stream_that_nobody_reads_is_not_written_to_for_ever(ringing):
    """What waits has a limit."""
    told(ringing.stream, opened(window=0))
    assert [ringing.stream.send(bytes(MOST_UNSENT_BYTES)), ringing.stream.send(b"x")] == [True, False]
