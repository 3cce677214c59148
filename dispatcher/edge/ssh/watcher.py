"""The watcher: one remote command per instance that says the moment a runner ends. A line of it is a hint to probe, no proof.

The command reads uuids, waits for each with a shared lock on the runner's lock file, which it opens for reading and never
creates, and prints the uuid when the runner lets go of it. One thread here listens to all instances. Where the command cannot
run, probes at their interval are enough.
"""

from __future__ import annotations

import contextlib
import queue
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from dispatcher.edge.runner import sudo
from dispatcher.edge.ssh.transport import KeptTransport

# The lock is held by flock alone, and for no longer than its own exit takes: the runner's list would call it stale otherwise. A
# process group of its own, so that the end of its input ends everything that waits.
SCRIPT = """\
d=${CRUNCH_RUN_LOCK_DIR:-/var/lock}
while read -r u; do
( flock -s 9 9<"$d/crunch-run-$u.lock" && echo "$u" ) 2>/dev/null </dev/null &
done
kill 0"""
UUID = re.compile(r"[a-z0-9]{5}-dz642-[a-z0-9]{15}")
LARGEST_READ = 65_536
LONGEST_LINE = 200
MOST_HINTS = 3  # of one uuid: whoever goes on running after that many is left to the probes
OPENED_AGAIN_S = 600.0  # where it ended at once, flock or the shell is missing
LASTED_S = 5.0


def watch_command(user: str) -> str:
    return f"{sudo(user)}setsid -w sh -c {shlex.quote(SCRIPT)}"


class Stream(Protocol):
    """A remote command that goes on. ``read`` gives what is there, nothing included, and None at its end, of which
    ``ended_itself`` says that it was no cut; none of it blocks."""

    @property
    def ended_itself(self) -> bool: ...
    def send(self, data: bytes) -> bool: ...
    def read(self) -> bytes | None: ...
    def close(self) -> None: ...


Open = Callable[[Callable[[], None]], Stream | None]
"""Opens the command, or gives None where that fails. What it is given is called, from any thread, whenever there is something to
read."""


class Watcher:
    """One instance's. All of it under the lock of ``Watchers``."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.opening = False
        self.opened_s = -OPENED_AGAIN_S
        self.not_before_s = 0.0
        self.waits: set[str] = set()  # it waits for these
        self.hints: dict[str, int] = {}
        self.unread = b""


class Watchers:
    """``hinted(name)`` is called from one thread when something may have ended on an instance."""

    def __init__(self, hinted: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._hinted, self._now = hinted, now
        self._lock = threading.Lock()
        self._watchers: dict[str, Watcher] = {}
        self._rung: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def expect(self, name: str, uuids: Iterable[str], open_stream: Open, *, all_of_them: bool = True) -> None:
        """These run there, or with ``all_of_them`` these and no others. Opens the command when there is none; a failure is no
        error to anybody."""
        wanted = {uuid for uuid in uuids if UUID.fullmatch(uuid)}
        with self._lock:
            watcher = self._watchers.setdefault(name, Watcher())
            if all_of_them:
                watcher.waits &= wanted
                watcher.hints = {uuid: count for uuid, count in watcher.hints.items() if uuid in wanted}
            new = {uuid for uuid in wanted - watcher.waits if watcher.hints.get(uuid, 0) < MOST_HINTS}
            if not new or self._stopped or watcher.opening or (watcher.stream is None and self._now() < watcher.not_before_s):
                return
            watcher.opening = watcher.stream is None
            stream = watcher.stream
        if stream is None:
            stream, new = self._opened(name, watcher, open_stream), wanted
        if stream is not None:
            with self._lock:
                watcher.waits |= new  # before it is said: the answer may come at once
            if not stream.send("".join(f"{uuid}\n" for uuid in sorted(new)).encode()):
                with self._lock:
                    watcher.waits -= new

    def _opened(self, name: str, watcher: Watcher, open_stream: Open) -> Stream | None:
        stream: Stream | None = None
        try:
            stream = open_stream(lambda: self._rung.put(name))
        finally:
            with self._lock:
                watcher.opening, watcher.opened_s = False, self._now()
                watcher.not_before_s = 0.0 if stream is not None else self._now() + OPENED_AGAIN_S
                watcher.stream, watcher.waits, watcher.unread = stream, set(), b""
                self._start()
                unwanted = self._stopped or self._watchers.get(name) is not watcher
        if stream is not None and unwanted:  # given up meanwhile
            stream.close()
            return None
        self._rung.put(name)  # it may have ended before it stood here, and rings only once
        return stream

    def drop(self, name: str) -> None:
        with self._lock:
            watcher = self._watchers.pop(name, None)
        if watcher is not None and watcher.stream is not None:
            watcher.stream.close()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            watchers, self._watchers = list(self._watchers.values()), {}
            thread = self._thread
        for watcher in watchers:
            if watcher.stream is not None:
                watcher.stream.close()
        self._rung.put(None)
        if thread is not None:
            thread.join(5.0)

    # -- the one thread

    def _start(self) -> None:
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._listen, name="ssh-watcher", daemon=True)
            self._thread.start()

    def _listen(self) -> None:
        while (name := self._rung.get()) is not None:
            with contextlib.suppress(Exception):  # a hint that is lost costs a moment
                if self._hear(name):
                    self._hinted(name)

    def _hear(self, name: str) -> bool:
        """Whether something may have ended there."""
        with self._lock:
            watcher = self._watchers.get(name)
            if watcher is None or watcher.stream is None:
                return False
            stream, data = watcher.stream, watcher.stream.read()
            if data is not None:
                return self._told(watcher, data)
            self._ended(watcher)
        stream.close()  # some servers wait for it
        return False

    def _told(self, watcher: Watcher, data: bytes) -> bool:
        """Under the lock."""
        *lines, watcher.unread = (watcher.unread + data).split(b"\n")
        watcher.unread = watcher.unread[:LONGEST_LINE]
        told = {line.decode("ascii", "replace").strip() for line in lines} & watcher.waits
        watcher.waits -= told
        for uuid in told:
            watcher.hints[uuid] = watcher.hints.get(uuid, 0) + 1
        return bool(told)

    def _ended(self, watcher: Watcher) -> None:
        """The next probe opens it again; later where the command did not even last a moment."""
        stream, watcher.stream, watcher.waits = watcher.stream, None, set()
        if stream is not None and stream.ended_itself and self._now() < watcher.opened_s + LASTED_S:
            watcher.not_before_s = self._now() + OPENED_AGAIN_S


class ChannelStream:
    """A stream on a channel of the SSH library, whose own thread rings when data or the end has come."""

    def __init__(self, transport: KeptTransport, channel: Any, ring: Callable[[], None]) -> None:
        self._transport, self._channel = transport, channel
        for pipe in (channel.in_buffer, channel.in_stderr_buffer):
            pipe.set_event(_Ring(ring))

    def send(self, data: bytes) -> bool:
        """All of it or, when the other side does not read, nothing more on this channel."""
        try:
            if self._channel.closed or not self._channel.send_ready():
                return False
            return self._transport.talk(self._channel, lambda: int(self._channel.send(data))) == len(data)
        except (OSError, EOFError):
            return False

    def read(self) -> bytes | None:
        while self._channel.recv_stderr_ready():
            self._channel.recv_stderr(LARGEST_READ)
        if self._channel.recv_ready():
            return bytes(self._channel.recv(LARGEST_READ))
        return None if self._channel.closed or self._channel.eof_received else b""

    @property
    def ended_itself(self) -> bool:
        return bool(self._channel.eof_received)

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._channel.close()


class _Ring:
    """Stands where the library expects an event."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.set = ring

    def clear(self) -> None:
        return
