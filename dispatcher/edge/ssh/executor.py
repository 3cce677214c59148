"""The SSH executor: one kept connection per instance, one channel per command, a deadline on everything.

The connection is opened on first use and shared; its machine is identified before it gets anything but the question who it
is. A command's connection that stalls is cut, never waited for.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import field

import paramiko

from dispatcher.core.messages import ProbeProblem, Target
from dispatcher.driver import HostKey
from dispatcher.edge.ssh.address import Endpoint, open_tcp, parse_address
from dispatcher.edge.ssh.channel import close_channel, open_channel, run_command
from dispatcher.edge.ssh.hostkeys import (
    HostKeys,
    algorithms_for,
    identity_command,
    require_identifiable,
    require_known,
    require_secret,
)
from dispatcher.edge.ssh.remote import Deadline, Output, RemoteError
from dispatcher.edge.ssh.shared import make_transport, open_reader
from dispatcher.edge.ssh.transport import KeptTransport, abandon, describe, log_in, quiet_library, shake_hands
from dispatcher.edge.ssh.watchdog import Watchdog
from dispatcher.edge.ssh.watcher import ChannelStream, Stream
from dispatcher.frozen import dataclass

MAX_COMMANDS_PER_CONNECTION = 4  # an OpenSSH server allows 10 sessions; the rest is left to the watcher and to operators
MAX_HANDSHAKES = 16  # they cost the most processor time; a real server takes 40 ms and more for one, and 1,000 may stand in line
SECRET_LIMIT_BYTES = 4096
STREAM_TIMEOUT_S = 10.0  # until it is accepted
STOP_PATIENCE_S = 2.0  # for all connections together to close after they were cut


@dataclass(frozen=True, slots=True, kw_only=True)
class SSHSettings:
    """``default_port`` counts where an address names none; ``output_limit_bytes`` bounds stdout and stderr together;
    ``thread_per_connection`` does without the one reader of all connections."""

    private_key: paramiko.PKey = field(repr=False)
    default_port: int = 22
    connect_timeout_s: float = 30.0
    output_limit_bytes: int = 1 << 20
    thread_per_connection: bool = False


class Slots:
    """At most so many commands at once, the urgent ones first."""

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._count = self._free = count
        self._urgent_waiting = 0

    @contextlib.contextmanager
    def held(self, *, urgent: bool, deadline: Deadline) -> Iterator[None]:
        if not self._take(urgent, deadline):
            raise deadline.missed("waiting for earlier commands on this instance", reached=False)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _take(self, urgent: bool, deadline: Deadline) -> bool:
        with self._changed:
            self._urgent_waiting += urgent
            try:
                ready = self._changed.wait_for(lambda: self._open_to(urgent), deadline.left_s)
            finally:
                self._urgent_waiting -= urgent
                self._changed.notify_all()
            self._free -= ready
            return ready

    @property
    def all_free(self) -> bool:
        return self._free == self._count

    def _open_to(self, urgent: bool) -> bool:
        return self._free > 0 and (urgent or self._urgent_waiting == 0)


@dataclass(slots=True, kw_only=True)
class Link:
    """An open connection whose machine is proved to be the right one."""

    transport: KeptTransport
    endpoint: Endpoint
    user: str
    host_key: HostKey
    slots: Slots = field(default_factory=lambda: Slots(MAX_COMMANDS_PER_CONNECTION))
    retired: bool = False  # takes no new command, and its end is no loss

    def serves(self, endpoint: Endpoint, target: Target) -> bool:
        """False when the cloud reports another address, user or key: the old connection is to another place."""
        same_place = self.endpoint == endpoint and self.user == target.user
        return same_place and (not target.host_keys or self.host_key in target.host_keys)

    @property
    def alive(self) -> bool:
        return not self.retired and self.transport.is_active()

    def cut(self) -> None:
        self.retired = True
        self.transport.cut()


class Peer:
    """An instance by name: its connection, and the one dial that is in progress."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.link: Link | None = None
        self.dial: Future[Link] | None = None
        self.forgotten = False


class SSHExecutor:
    """``dispatcher.edge.ssh.remote.Executor``. ``on_connection_lost(name)`` is called, from one thread, when a kept connection
    breaks that we did not cut: it must not call back."""

    def __init__(
        self,
        settings: SSHSettings,
        *,
        host_keys: HostKeys | None = None,
        on_connection_lost: Callable[[str], None] | None = None,
    ) -> None:
        quiet_library()
        self._settings = settings
        self._host_keys = host_keys or HostKeys()
        self._on_connection_lost = on_connection_lost
        self._teller = ThreadPoolExecutor(1, "ssh-losses")  # who reads all connections must not wait until it is heard
        self._handshakes = threading.BoundedSemaphore(MAX_HANDSHAKES)
        self._watchdog = Watchdog()
        self._reader = open_reader(thread_per_connection=settings.thread_per_connection)
        self._lock = threading.Lock()
        self._peers: dict[str, Peer] = {}
        self._stopped = False

    def run(
        self,
        target: Target,
        command: str,
        *,
        timeout_s: float,
        stdin: bytes = b"",
        urgent: bool = False,
        connect_timeout_s: float | None = None,
    ) -> Output:
        patience_s = min(connect_timeout_s or self._settings.connect_timeout_s, self._settings.connect_timeout_s)
        link, kept = self._connected(target, patience_s)
        try:
            return self._run_on(link, command, stdin, Deadline(timeout_s), urgent=urgent)
        except RemoteError as error:
            if not kept or error.sent or error.problem is ProbeProblem.TIMEOUT:
                raise
        # A kept connection that turns out to be dead or full, before anything was sent: one new one.
        self._retire(target.name, link)
        link, _ = self._connected(target, patience_s)
        return self._run_on(link, command, stdin, Deadline(timeout_s), urgent=urgent)

    def stream(self, target: Target, command: str, ring: Callable[[], None]) -> Stream:
        """A command that goes on beside all others, on the kept connection. Raises RemoteError."""
        link, _ = self._connected(target, self._settings.connect_timeout_s)
        stream: Stream | None = link.transport.stream(command, ring)
        return stream if stream is not None else self._stream_on_channel(link, command, ring)

    def _stream_on_channel(self, link: Link, command: str, ring: Callable[[], None]) -> Stream:
        deadline = Deadline(STREAM_TIMEOUT_S)
        with self._watchdog.guard(deadline, link.cut):
            channel = open_channel(link.transport, deadline)
            try:
                stream = ChannelStream(link.transport, channel, ring)
                channel.settimeout(0.0)
                channel.exec_command(command)
            except (paramiko.SSHException, OSError, EOFError) as error:
                close_channel(channel)
                raise RemoteError(ProbeProblem.COMMAND, f"the watcher did not start: {describe(error)}", reached=True) from error
        return stream

    def disconnect(self, name: str) -> None:
        with self._lock:
            peer = self._peers.get(name)
        if peer is not None:
            _drop_link(peer)

    def forget(self, name: str) -> None:
        with self._lock:
            peer = self._peers.pop(name, None)
        if peer is not None:
            peer.forgotten = True
            _drop_link(peer)
        self._host_keys.forget(name)

    def stop(self) -> None:
        """Cut every connection and open none any more. Commands that run end with an error."""
        with self._lock:
            self._stopped = True
            peers, self._peers = list(self._peers.values()), {}
        links = [link for peer in peers if (link := _give_up(peer)) is not None]
        for link in links:
            link.cut()
        until = Deadline(STOP_PATIENCE_S)
        for link in links:
            link.transport.ended.wait(until.left_s)
        if self._reader is not None:
            self._reader.stop()
        self._teller.shutdown(wait=False, cancel_futures=True)
        self._watchdog.stop()

    # ------------------------------------------------------------------------------------------------------- commands

    def _run_on(self, link: Link, command: str, stdin: bytes, deadline: Deadline, *, urgent: bool) -> Output:
        try:
            with link.slots.held(urgent=urgent, deadline=deadline):
                return self._converse(link, command, stdin, deadline, self._settings.output_limit_bytes)
        finally:
            if link.retired and link.slots.all_free:
                link.cut()

    def _retire(self, name: str, link: Link) -> None:
        """No new command on this connection; those that still run on it may end."""
        peer = self._peer(name)
        with peer.lock:
            if peer.link is link:
                peer.link = None
        link.retired = True
        if link.slots.all_free:
            link.cut()

    def _converse(self, link: Link, command: str, stdin: bytes, deadline: Deadline, limit_bytes: int) -> Output:
        try:
            output = link.transport.command(command, stdin, deadline, limit_bytes)
        except RemoteError as error:
            if error.problem is ProbeProblem.TIMEOUT:
                link.cut()  # a machine that hangs would keep the session for ever
            raise
        return self._converse_long(link, command, stdin, deadline, limit_bytes) if output is None else output

    def _converse_long(self, link: Link, command: str, stdin: bytes, deadline: Deadline, limit_bytes: int) -> Output:
        """With a channel of the library, in this thread, guarded because the library waits without a bound."""
        channel: paramiko.Channel | None = None

        def cut() -> None:
            link.cut()
            if channel is not None:
                channel.event.set()  # exec_command may have begun to wait after the transport's last wake-up

        with self._watchdog.guard(deadline, cut):
            try:
                channel = open_channel(link.transport, deadline)
                return run_command(link.transport, channel, command, stdin, deadline, limit_bytes)
            except RemoteError as error:
                if error.problem is ProbeProblem.TIMEOUT:
                    link.cut()
                raise
            finally:
                if channel is not None:
                    close_channel(channel)

    # ------------------------------------------------------------------------------------------------------ connecting

    def _connected(self, target: Target, patience_s: float) -> tuple[Link, bool]:
        """A live connection to the right machine, and whether it had been there before."""
        endpoint = self._endpoint(target)
        deadline = Deadline(patience_s)
        peer = self._peer(target.name)
        with peer.lock:
            stale, peer.link = peer.link, None
            if stale is not None and stale.alive and stale.serves(endpoint, target):
                peer.link = stale
                return stale, True
            dial, mine = (peer.dial, False) if peer.dial else (Future[Link](), True)
            peer.dial = dial
        if stale is not None:
            stale.cut()
        if mine:
            self._dial(peer, dial, endpoint, target, deadline)
        return _dialled(dial, endpoint, target, deadline), False

    def _endpoint(self, target: Target) -> Endpoint:
        if not target.address:
            raise RemoteError(ProbeProblem.NO_ADDRESS, f"{target.name} has no address yet")
        try:
            return parse_address(target.address, self._settings.default_port)
        except ValueError as error:
            raise RemoteError(ProbeProblem.NO_ADDRESS, f"{target.name}: {error}") from error

    def _peer(self, name: str) -> Peer:
        with self._lock:
            if self._stopped:
                raise RemoteError(ProbeProblem.UNREACHABLE, "the dispatcher stops")
            return self._peers.setdefault(name, Peer())

    def _dial(self, peer: Peer, dial: Future[Link], endpoint: Endpoint, target: Target, deadline: Deadline) -> None:
        """Dial, and let everybody who waits for it have what came of it."""
        link, failure = None, RemoteError(ProbeProblem.UNREACHABLE, "connecting failed for a reason that is a bug of ours")
        try:
            link = self._open(endpoint, target, deadline)
        except RemoteError as error:
            failure = error
        finally:
            with peer.lock:
                if link is not None and peer.forgotten:
                    link.cut()
                    link, failure = None, RemoteError(ProbeProblem.UNREACHABLE, f"{target.name} was given up while connecting")
                peer.link, peer.dial = link, None
            if link is not None:
                dial.set_result(link)
            else:
                dial.set_exception(failure)

    def _open(self, endpoint: Endpoint, target: Target, deadline: Deadline) -> Link:
        known = self._host_keys.known(target)
        require_identifiable(target, known)
        algorithms = algorithms_for(known)
        sock = open_tcp(endpoint, deadline)
        if not self._handshakes.acquire(timeout=deadline.left_s):
            sock.close()
            raise deadline.missed("waiting for other SSH handshakes")
        try:
            transport = make_transport(sock, target.name, self._reader)
            host_key = shake_hands(transport, algorithms, deadline)
            link = Link(transport=transport, endpoint=endpoint, user=target.user, host_key=host_key)
            return self._admit(link, target, known, deadline)
        finally:
            self._handshakes.release()

    def _admit(self, link: Link, target: Target, known: tuple[HostKey, ...], deadline: Deadline) -> Link:
        """Compare, then log in, then (first contact) ask who it is, then pin: in this order, or not at all."""
        try:
            require_known(target, known, link.host_key)
            log_in(link.transport, target.user, self._settings.private_key, deadline)
            if not known:
                answer = self._converse(link, identity_command(target.user), b"", deadline, SECRET_LIMIT_BYTES)
                require_secret(target, answer)
                self._host_keys.pin(target.name, link.host_key)
        except BaseException:
            link.retired = True
            abandon(link.transport)
            raise
        link.transport.idle()
        link.transport.on_end = lambda: self._ended(target.name, link)
        return link

    def _ended(self, name: str, link: Link) -> None:
        if not link.retired and self._on_connection_lost is not None:
            with contextlib.suppress(RuntimeError):  # we stop
                self._teller.submit(self._on_connection_lost, name)


def _dialled(dial: Future[Link], endpoint: Endpoint, target: Target, deadline: Deadline) -> Link:
    try:
        link = dial.result(timeout=deadline.left_s + 1)
    except NotInTime:
        raise deadline.missed("connecting") from None
    if not link.serves(endpoint, target):
        raise RemoteError(ProbeProblem.UNREACHABLE, f"the address of {target.name} changed while it was connected to")
    return link


def _give_up(peer: Peer) -> Link | None:
    """From now on a dial that is in progress comes to nothing; the connection that it had."""
    peer.forgotten = True
    with peer.lock:
        link, peer.link = peer.link, None
    return link


def _drop_link(peer: Peer) -> None:
    with peer.lock:
        link, peer.link = peer.link, None
    if link is not None:
        link.cut()
        link.transport.ended.wait(5)  # whoever reads closes the socket: only then has nothing unsent survived
