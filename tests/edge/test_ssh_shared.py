"""The one thread that reads all SSH connections: what it is given, what it keeps, and that no connection holds up another."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest
from fake_ssh import Conduct, answer, fake_ssh
from ssh_support import TIMEOUT_S, eventually, failure
from sshd import make_key, running_sshd

from dispatcher.core.messages import ProbeProblem
from dispatcher.edge.ssh import SSHExecutor, SSHSettings
from dispatcher.edge.ssh import wire as wires
from dispatcher.edge.ssh.keys import load_private_key
from dispatcher.edge.ssh.reader import Reader
from dispatcher.edge.ssh.shared import SharedTransport, open_reader, unfit
from dispatcher.edge.ssh.transport import KeptTransport
from dispatcher.edge.ssh.wire import Wire

OUR_KEY = make_key()
# What a thread of Python keeps in itself without telling, 3.11 to 3.14
OF_THREADS = frozenset(
    "_args _bootstrap _bootstrap_inner _context _daemonic _delete _handle _ident _initialized _invoke_excepthook _is_stopped"
    " _kwargs _name _native_id _os_name _set_ident _set_native_id _set_os_name _set_tstate_lock _started _stderr _stop _target"
    " _tstate_lock _wait_for_tstate_lock".split()
)


@pytest.fixture
def executor() -> Iterator[SSHExecutor]:
    made = SSHExecutor(SSHSettings(private_key=load_private_key(OUR_KEY.private), connect_timeout_s=TIMEOUT_S))
    yield made
    made.stop()


# ------------------------------------------------------------------------------------------------------------- the library


@pytest.fixture
def transport() -> Iterator[SharedTransport]:
    """Logged in, as far as it knows; nobody reads it and nothing is said."""
    ours, theirs = socket.socketpair()
    made = SharedTransport(ours, "vm-1", Reader())
    made.active = True
    made.say = lambda *messages: None  # type: ignore[method-assign]
    made._may_leave = lambda: True  # type: ignore[method-assign]
    yield made
    ours.close()
    theirs.close()


def test_sessions_that_are_never_closed_have_an_end(transport: SharedTransport) -> None:
    """A server that leaves them open fills nobody's memory: its connection is cut, and the last one hears of it."""
    streams = [transport.stream("watch", lambda: None) for _ in range(101)]
    assert [stream.read() for stream in streams if stream is not None] == [b""] * 100 + [None]
    assert not transport.is_active()


@pytest.mark.parametrize(("count", "is_taken"), [(b"\0\0\0\2", True), (b"\xff\xff\xff\xff", False), (b"\1", False)])
def test_extensions_without_number_end_the_connection(transport: SharedTransport, count: bytes, is_taken: bool) -> None:
    """The library would count them for hours, and every connection would stand still meanwhile."""
    transport._may_leave = lambda: False  # type: ignore[method-assign]
    transport._read = lambda: (7, paramiko.Message(count))
    if is_taken:
        assert transport._read_message()[0] == 7
        return
    with pytest.raises(paramiko.SSHException):
        transport._read_message()
    assert not transport.is_active()


def test_this_version_of_the_library_was_tried() -> None:
    """A new one costs a thread for each connection until somebody has run these tests with it and named it in TRIED."""
    assert unfit() == ""


def test_nothing_of_ours_has_the_name_of_something_that_a_thread_keeps() -> None:
    """A transport is a thread: 3.13 began to keep a ``_handle``, and every connection was lost to a method of that name."""
    kept = OF_THREADS | set(vars(threading.Thread()))
    ours = {name for kind in (SharedTransport, KeptTransport) for name in (*vars(kind), *kind.__init__.__code__.co_names)}
    assert ours & kept == set()


@pytest.mark.parametrize(("version", "told"), [("2.11.0", "not one of"), ("6.0.0", "not one of"), ("5.1.9", ""), ("2.12.0", "")])
def test_other_versions_are_left_to_threads(version: str, told: str) -> None:
    """What they do with a packet is not ours to know."""
    assert told in unfit(version)
    assert bool(told) == bool(unfit(version))


def test_a_version_that_lacks_what_we_use_is_left_to_threads() -> None:
    """Distributions patch what they ship."""

    class Patched:
        _send_user_message = _send_message = _send_kex_init = _parse_newkeys = None

    assert "_channel_handler_table" in unfit("5.1.0", Patched)


def test_that_threads_are_needed_is_said_once_and_only_then(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asked for them knows."""
    with caplog.at_level(logging.WARNING):
        assert open_reader(thread_per_connection=True) is None
        assert caplog.text == ""
        assert open_reader(thread_per_connection=False, unfit_because="it is strange") is None
    assert caplog.text.count("it is strange") == 1


# ---------------------------------------------------------------------------------------------------------------- the wire


class Poller:
    """What the reader waits with, as far as a wire sees it."""

    def __init__(self) -> None:
        self.events: list[int] = []

    def register(self, sock: socket.socket, events: int) -> None:
        self.events.append(events)

    modify = register

    def unregister(self, sock: socket.socket) -> None:
        self.events.clear()


@pytest.fixture
def pair() -> Iterator[tuple[Wire, Poller, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    wire, poller = Wire(ours), Poller()
    wire.own(poller)
    yield wire, poller, theirs
    wire.release()
    theirs.close()


def test_what_the_kernel_does_not_take_waits_and_arrives_in_order(pair: tuple[Wire, Poller, socket.socket]) -> None:
    """Nobody waits in ``send``; the reader is asked to go on and told when it is done."""
    wire, poller, theirs = pair
    pieces = [bytes([number]) * 50_000 for number in range(10)]
    assert [wire.send(piece) for piece in pieces] == [50_000] * 10
    assert (wire.full, poller.events[-1]) == (True, wires.IN | wires.OUT)
    received = b""
    while len(received) < 500_000:
        received += theirs.recv(1 << 16)
        wire.flush()
    assert (received == b"".join(pieces), wire.full, poller.events[-1]) == (True, False, wires.IN)


def test_what_is_said_together_leaves_together(pair: tuple[Wire, Poller, socket.socket]) -> None:
    """Also what somebody else says meanwhile, in the order in which it was said; what the kernel does not take waits."""
    wire, poller, theirs = pair
    theirs.setblocking(False)
    with wire.together():
        wire.send(b"one ")
        with wire.together():
            wire.send(b"two ")
        with pytest.raises(BlockingIOError):
            theirs.recv(100)
        wire.send(b"three")
    assert theirs.recv(100) == b"one two three"
    with wire.together():
        wire.send(b"x" * (1 << 21))
    assert poller.events[-1] == wires.IN | wires.OUT
    read = 0
    while read < 1 << 21:
        wire.flush()
        read += len(theirs.recv(1 << 20))
    wire.flush()
    assert poller.events[-1] == wires.IN


def test_what_is_said_together_on_a_dead_connection_is_nobodys_error(pair: tuple[Wire, Poller, socket.socket]) -> None:
    """Whoever reads hears of its end."""
    wire, _, theirs = pair
    theirs.close()
    with wire.together():
        wire.send(b"too late")
    with pytest.raises(EOFError):
        wire.fill()


def test_whoever_makes_us_answer_and_never_reads_is_cut(pair: tuple[Wire, Poller, socket.socket]) -> None:
    """What waits has a limit, and after the cut nothing of it leaves."""
    wire, _, theirs = pair

    def send_without_end() -> None:
        while True:
            wire.send(bytes(1 << 20))

    with pytest.raises(BrokenPipeError):
        send_without_end()
    wire.flush()
    theirs.settimeout(TIMEOUT_S)
    received = sum(len(piece) for piece in iter(lambda: theirs.recv(1 << 16), b""))
    assert received < wires.LARGEST_UNSENT_BYTES / 4


def test_only_whole_packets_are_handed_out(pair: tuple[Wire, Poller, socket.socket]) -> None:
    """With the seal behind them."""
    wire, _, theirs = pair
    packet = struct.pack(">I", 8) + b"contents" + b"seal"
    for position in range(len(packet)):
        assert not wire.holds_packet(4)
        theirs.sendall(packet[position : position + 1])
        wire.fill()
    assert wire.holds_packet(4)
    assert (wire.recv(12) + wire.recv(4), wire.holds_packet(4)) == (packet, False)


def test_a_packet_of_gigabytes_is_not_waited_for(pair: tuple[Wire, Poller, socket.socket]) -> None:
    """It would have to be kept until it is whole."""
    wire, _, theirs = pair
    theirs.sendall(b"\xff" * 8)
    wire.fill()
    with pytest.raises(ValueError, match="4294967295"):
        wire.holds_packet(16)


# -------------------------------------------------------------------------------------------------------------- the reader


class Scripted:
    """A connection that notes what it hears and fails on request."""

    def __init__(self, sock: socket.socket) -> None:
        self.wire = Wire(sock)
        self.heard = b""
        self.ended: list[Exception] = []
        self.gone = threading.Event()

    def take(self) -> None:
        self.wire.fill()
        self.heard += self.wire.recv(1 << 16)
        if b"fault" in self.heard:
            raise KeyError("a bug, or a liar")

    def end(self, error: Exception) -> None:
        self.ended.append(error)
        self.wire.release()
        self.gone.set()


@pytest.fixture
def read() -> Iterator[Callable[[], tuple[Scripted, socket.socket]]]:
    reader, sockets = Reader(), []

    def connect() -> tuple[Scripted, socket.socket]:
        ours, theirs = socket.socketpair()
        sockets.append(theirs)
        connection = Scripted(ours)
        assert reader.adopt(connection)
        return connection, theirs

    yield connect
    reader.stop()
    for sock in sockets:
        sock.close()


def test_a_fault_of_one_connection_ends_that_one_alone(read: Callable[[], tuple[Scripted, socket.socket]]) -> None:
    """Whatever it raises."""
    (bad, to_bad), (good, to_good) = read(), read()
    to_bad.sendall(b"fault")
    assert bad.gone.wait(TIMEOUT_S)
    to_good.sendall(b"still heard")
    assert eventually(lambda: good.heard == b"still heard")
    assert ([type(error) for error in bad.ended], good.ended, bad.wire.fileno()) == ([KeyError], [], -1)


def test_the_end_is_heard_after_the_last_words(read: Callable[[], tuple[Scripted, socket.socket]]) -> None:
    """What came before a close is read."""
    connection, theirs = read()
    theirs.sendall(b"bye")
    theirs.close()
    assert connection.gone.wait(TIMEOUT_S)
    assert (connection.heard, [type(error) for error in connection.ended]) == (b"bye", [EOFError])


def test_a_reader_that_was_stopped_lets_go_of_all_and_takes_no_more() -> None:
    """Also twice, and without ever having had one."""
    reader, unused = Reader(), Reader()
    ours, theirs = socket.socketpair()
    connection, late = Scripted(ours), Scripted(theirs)
    assert reader.adopt(connection)
    reader.stop()
    reader.stop()
    unused.stop()
    assert (connection.gone.is_set(), reader.adopt(late), late.wire.owned) == (True, False, False)
    theirs.close()


# ---------------------------------------------------------------------------------------------------------- with a server


def test_connections_have_no_threads(executor: SSHExecutor) -> None:
    """Each is born on one, which leaves after the login."""
    with fake_ssh() as server:
        for number in range(3):
            executor.run(server.target(f"shared-{number}"), "true", timeout_s=TIMEOUT_S)
        assert eventually(lambda: not any(thread.name.startswith("ssh shared-") for thread in threading.enumerate()))
        assert executor.run(server.target("shared-1"), "true", timeout_s=TIMEOUT_S).status == 0


def test_garbage_after_the_login_ends_the_connection(executor: SSHExecutor) -> None:
    """The command may have run, and the next one gets a new connection."""

    def babble(channel: paramiko.Channel, command: str) -> None:
        if command == "babble":
            channel.get_transport().sock.sendall(b"\xff" * 100)
        else:
            answer()(channel, command)

    with fake_ssh(Conduct(handler=babble)) as server:
        error = failure(lambda: executor.run(server.target(), "babble", timeout_s=TIMEOUT_S))
        assert (error.problem, error.sent) == (ProbeProblem.UNREACHABLE, True)
        assert executor.run(server.target(), "true", timeout_s=TIMEOUT_S).status == 0


def test_a_message_for_a_channel_that_never_was_ends_the_connection(executor: SSHExecutor) -> None:
    """As the library has it."""

    def wrong_channel(channel: paramiko.Channel, command: str) -> None:
        message = paramiko.Message()
        message.add_byte(bytes([97]))  # close
        message.add_int(4711)
        channel.get_transport()._send_message(message)

    with fake_ssh(Conduct(handler=wrong_channel)) as server:
        error = failure(lambda: executor.run(server.target(), "true", timeout_s=TIMEOUT_S))
    assert (error.problem, error.sent) == (ProbeProblem.UNREACHABLE, True)


def test_a_kind_of_message_that_nobody_knows_is_declined(executor: SSHExecutor) -> None:
    """And the connection goes on."""

    def strange(channel: paramiko.Channel, command: str) -> None:
        message = paramiko.Message()
        message.add_byte(bytes([192]))
        channel.get_transport()._send_message(message)
        answer(b"fine")(channel, command)

    with fake_ssh(Conduct(handler=strange)) as server:
        assert executor.run(server.target(), "true", timeout_s=TIMEOUT_S).stdout == b"fine"
        assert server.connections == 1


def test_what_is_said_while_keys_are_exchanged_waits_for_the_new_ones(executor: SSHExecutor) -> None:
    """The server may not be told anything then; and whoever reads must not be the one who waits."""
    with fake_ssh() as server, ThreadPoolExecutor(1) as pool:
        executor.run(server.target(), "true", timeout_s=TIMEOUT_S)
        transport = executor._peers["vm-1"].link.transport  # type: ignore[union-attr]
        assert isinstance(transport, SharedTransport)
        assert eventually(lambda: transport.wire.owned)
        transport.clear_to_send.clear()
        running = pool.submit(executor.run, server.target(), "late", timeout_s=TIMEOUT_S)
        assert eventually(lambda: transport.full)
        assert "late" not in server.said
        server.transports[0].renegotiate_keys()
        assert running.result().status == 0


@pytest.mark.parametrize("options", ["RekeyLimit 64K", "Ciphers aes128-ctr\nMACs hmac-sha2-256"], ids=["re-keys", "hidden"])
def test_servers_that_ask_for_more(tmp_path: Path, options: str) -> None:
    """New keys every 64 kB while four commands send and receive at once; and a cipher that hides where a packet ends, for which
    the connection keeps its thread."""
    with running_sshd(tmp_path, more=options) as server, ThreadPoolExecutor(4) as pool:
        made = SSHExecutor(SSHSettings(private_key=load_private_key(server.login.private)))
        data = bytes(range(256)) * 600
        jobs = [pool.submit(made.run, server.target(), "cat", stdin=data, timeout_s=60) for _ in range(4)]
        assert all(job.result().stdout == data for job in jobs)
        link = made._peers["vm-1"].link
        assert link is not None
        assert isinstance(link.transport, SharedTransport)
        assert (server.logins(), link.transport.wire.owned) == (1, "Rekey" in options)
        made.stop()
