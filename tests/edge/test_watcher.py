"""The watcher: on a real OpenSSH server with real locks, and its bookkeeping on a scripted stream."""

from __future__ import annotations

import fcntl
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from instance_support import RUNNER, UUID, access
from sshd import SSHD, running_sshd

from dispatcher.edge.instances import SSHInstances, connect_instances
from dispatcher.edge.ssh import watcher
from dispatcher.edge.ssh.watcher import Watchers
from tests.embedded.live import until
from tests.processes import pids, proc_file

PATIENCE_S = 60.0
SETSID = """\
#!/bin/sh
export CRUNCH_RUN_LOCK_DIR={folder}/locks
exec /usr/bin/setsid "$@"
"""


def uuid(number: int) -> str:
    return f"{UUID[:-3]}{number:03d}"


class Locks:
    """The lock files of runners on one instance, held by this process as theirs would be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "locks"
        self.folder.mkdir()
        self._held: dict[str, IO[str]] = {}

    def path(self, name: str) -> Path:
        return self.folder / f"crunch-run-{name}.lock"

    def hold(self, name: str) -> None:
        file = self.path(name).open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        self._held[name] = file

    def release(self, name: str) -> None:
        self._held.pop(name).close()

    def is_free(self, name: str) -> bool:
        """What the runner's own list asks: does anybody hold it, be it for reading?"""
        with self.path(name).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SSHD]:
    folder = tmp_path / "vm"
    folder.mkdir()
    with running_sshd(folder) as running:
        running.install("crunch-run", RUNNER)
        running.install("setsid", SETSID.format(folder=folder))
        (folder / "booted").touch()
        yield running


@pytest.fixture
def locks(server: SSHD) -> Locks:
    return Locks(server.folder)


@pytest.fixture
def hints() -> queue.SimpleQueue[str]:
    return queue.SimpleQueue()


@pytest.fixture
def instances(server: SSHD, hints: queue.SimpleQueue[str]) -> Iterator[SSHInstances]:
    port = connect_instances(access(server), on_hint=hints.put)
    yield port
    port.stop()


def runs(server: SSHD, *names: str) -> None:
    (server.folder / "list.txt").write_text("".join(f"{name}\n" for name in names))


def waiters(server: SSHD) -> list[int]:
    """Every process that still looks at this instance's locks."""
    mark = f"CRUNCH_RUN_LOCK_DIR={server.folder}".encode()
    return [pid for pid in pids() if mark in proc_file(pid, "environ")]


def test_sixteen_containers_and_everything_else_get_through(server, locks, hints, instances):
    """One session for all of them, so that probes go on beside; the end of each is a hint, and its lock is free at once."""
    names = [uuid(number) for number in range(16)]
    for name in names:
        locks.hold(name)
    runs(server, *names)
    assert instances.probe(server.target(), boot=True).processes == frozenset(names)
    until(lambda: len(waiters(server)) >= 16, "all are waited for", PATIENCE_S)
    for name in names:
        locks.release(name)
        assert hints.get(timeout=PATIENCE_S) == "vm-1"
        until(lambda name=name: locks.is_free(name), "nobody holds it any more", PATIENCE_S)
        assert instances.probe(server.target(), boot=False).reached
    assert server.logins() == 1
    assert sorted(path.name for path in locks.folder.iterdir()) == sorted(locks.path(name).name for name in names)


def test_a_cut_leaves_no_process_behind_and_the_next_probe_watches_again(server, locks, hints, instances):
    """Whatever cut the connection."""
    locks.hold(UUID)
    runs(server, UUID)
    instances.probe(server.target(), boot=True)
    until(lambda: len(waiters(server)) >= 2, "it is waited for", PATIENCE_S)
    instances._executor.disconnect("vm-1")
    until(lambda: not waiters(server), "nobody is left", PATIENCE_S)
    until(lambda: instances.probe(server.target(), boot=False) and len(waiters(server)) >= 2, "it is watched again", PATIENCE_S)
    locks.release(UUID)
    assert hints.get(timeout=PATIENCE_S) == "vm-1"


def test_no_lock_file_is_made_and_where_there_is_none_nothing_is_said(server, locks, hints, instances):
    """A runner that keeps its locks elsewhere is left to the probes."""
    runs(server, UUID)
    instances.probe(server.target(), boot=True)
    locks.hold(uuid(7))
    runs(server, UUID, uuid(7))
    instances.probe(server.target(), boot=False)
    locks.release(uuid(7))
    assert hints.get(timeout=PATIENCE_S) == "vm-1"
    assert hints.empty()
    assert not locks.path(UUID).exists()


def test_an_instance_that_cannot_watch_is_probed_as_always(server, hints, instances):
    """Without setsid or flock the command ends at once, and it is not opened again with each probe."""
    server.install("setsid", f"#!/bin/sh\necho once >>{server.folder}/opened\nexit 127\n")
    runs(server, UUID)
    for _ in range(4):
        assert instances.probe(server.target(), boot=False).processes == frozenset({UUID})
        until(lambda: (server.folder / "opened").exists(), "it was tried", PATIENCE_S)
    until(lambda: instances._watch.watchers._watchers["vm-1"].stream is None, "its end was heard", PATIENCE_S)
    assert instances.probe(server.target(), boot=False).reached
    assert (server.folder / "opened").read_text() == "once\n"
    assert hints.empty()


# -------------------------------------------------------------------------------------------------------------- bookkeeping


class Scripted:
    """A stream that says what a test wants it to say."""

    def __init__(self) -> None:
        self.sent = b""
        self.said: list[bytes | None] = []
        self.closed = False
        self.ended_itself = True
        self.opened = 0
        self.ring: Callable[[], None] = lambda: None

    def open(self, ring: Callable[[], None]) -> Scripted:
        self.opened += 1
        self.ring, self.sent = ring, b""
        return self

    def say(self, data: bytes | None) -> None:
        self.said.append(data)
        self.ring()

    def send(self, data: bytes) -> bool:
        self.sent += data
        return True

    def read(self) -> bytes | None:
        return self.said.pop(0) if self.said else b""

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def watched(hints: queue.SimpleQueue[str]) -> Iterator[tuple[Watchers, list[float]]]:
    now = [0.0]
    made = Watchers(hints.put, now=lambda: now[0])
    yield made, now
    made.stop()


def test_only_what_is_waited_for_is_a_hint(watched, hints):
    """Lines may come in pieces; what an instance makes up is nothing."""
    watchers, _ = watched
    stream = Scripted()
    watchers.expect("i1", [uuid(1), uuid(2), "no uuid; rm -rf /"], stream.open)
    assert stream.sent == f"{uuid(1)}\n{uuid(2)}\n".encode()
    stream.say(b"yyyyy-dz642-000000000000000\n" + b"x" * 100_000 + b"\n" + uuid(1).encode()[:9])
    stream.say(uuid(1).encode()[9:] + b"\n")
    assert hints.get(timeout=PATIENCE_S) == "i1"
    assert hints.empty()


def test_who_goes_on_running_after_some_hints_is_left_to_the_probes(watched, hints):
    """A watcher that is wrong about a container must not have its instance probed without end."""
    watchers, _ = watched
    stream = Scripted()
    for _ in range(watcher.MOST_HINTS):
        watchers.expect("i1", [uuid(1)], stream.open)
        stream.say(f"{uuid(1)}\n".encode())
        assert hints.get(timeout=PATIENCE_S) == "i1"
    stream.sent = b""
    watchers.expect("i1", [uuid(1)], stream.open)
    assert stream.sent == b""
    watchers.expect("i1", [], stream.open)
    watchers.expect("i1", [uuid(1)], stream.open)  # it came back after it had been gone
    assert stream.sent == f"{uuid(1)}\n".encode()


def test_a_started_container_is_added_and_one_that_is_gone_forgotten(watched):
    """A list tells of all; a start only of one more."""
    watchers, _ = watched
    stream = Scripted()
    watchers.expect("i1", [uuid(1)], stream.open)
    watchers.expect("i1", [uuid(2)], stream.open, all_of_them=False)
    assert stream.sent == f"{uuid(1)}\n{uuid(2)}\n".encode()
    watchers.expect("i1", [uuid(2)], stream.open)
    watchers.expect("i1", [uuid(1), uuid(2)], stream.open)
    assert stream.sent.count(uuid(1).encode()) == 2
    assert stream.opened == 1


def test_an_early_end_is_followed_by_a_long_pause_and_a_late_one_by_none(watched, hints):
    """Who ends at once will do so again."""
    watchers, now = watched
    stream = Scripted()

    def ends(after_s: float) -> None:
        now[0] += after_s
        stream.say(None)
        until(lambda: watchers._watchers["i1"].stream is None, "the end was heard", PATIENCE_S)
        watchers.expect("i1", [uuid(1)], stream.open)

    watchers.expect("i1", [uuid(1)], stream.open)
    ends(after_s=100.0)
    assert stream.opened == 2
    ends(after_s=1.0)
    assert stream.opened == 2
    now[0] += watcher.OPENED_AGAIN_S
    watchers.expect("i1", [uuid(1)], stream.open)
    assert stream.opened == 3
    stream.ended_itself = False
    ends(after_s=1.0)
    assert stream.opened == 4  # a cut says nothing about the command


def test_a_stream_that_ended_before_anybody_held_it_is_not_kept(hints):
    """It rings once, and nobody who heard that knew it yet."""
    watchers, opened = Watchers(hints.put), []

    class Dead(Scripted):
        def read(self) -> bytes | None:
            return None

        def send(self, data: bytes) -> bool:
            return False

    def open_dead(ring: Callable[[], None]) -> Scripted:
        ring()
        until(watchers._rung.empty, "whoever listens has heard it")
        opened.append(Dead())
        opened[-1].ended_itself = False
        return opened[-1]

    watchers.expect("vm-0", [uuid(1)], Scripted().open)  # from here on somebody listens
    watchers.expect("vm-1", [uuid(1)], open_dead)
    until(lambda: opened[0].closed, "the dead one is let go")
    watchers.expect("vm-1", [uuid(1)], open_dead)
    assert len(opened) == 2
    watchers.stop()


def test_an_answer_may_come_before_the_question_is_sent(hints):
    """A runner that has ended already is told of at once."""
    watchers = Watchers(hints.put)

    class Quick(Scripted):
        def send(self, data: bytes) -> bool:
            self.say(data)
            until(lambda: not self.said, "the answer was taken")
            return True

    stream = Quick()
    watchers.expect("vm-1", [uuid(1)], stream.open)
    assert hints.get(timeout=PATIENCE_S) == "vm-1"
    watchers.stop()


def test_an_instance_that_is_gone_is_let_go(watched):
    """And so are all, at the end."""
    watchers, _ = watched
    streams = [Scripted(), Scripted()]
    for name, stream in zip(("i1", "i2"), streams, strict=True):
        watchers.expect(name, [uuid(1)], stream.open)
    watchers.drop("i1")
    assert [stream.closed for stream in streams] == [True, False]
    watchers.stop()
    assert streams[1].closed
    late = Scripted()
    watchers.expect("i3", [uuid(1)], late.open)
    assert late.opened == 0


