"""What runs on this host, read from ``/proc``, and how a tree of processes is ended so that none escapes.

A tree is frozen before it is killed: what is stopped starts nothing, so the second look finds everything.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MARKER = "CLOUD_DISPATCHER_INSTANCE"  # environment variable of everything that an instance starts; its value is the folder
MAX_ROUNDS = 100
PROCESS_END_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as ``/proc`` shows it; ``started`` is in clock ticks since boot and tells a pid used twice apart."""

    pid: int
    parent: int
    zombie: bool
    started: int


def look(pid: int) -> Seen | None:
    """One process; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    words = text[text.rindex(b")") + 2 :].split()
    return Seen(pid, int(words[1]), words[0] in (b"Z", b"X"), int(words[19]))


def look_around() -> dict[int, Seen]:
    """Every process of this host."""
    seen = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in seen if process is not None}


def descendants(roots: Iterable[int], around: dict[int, Seen]) -> set[int]:
    """The children of some processes, and theirs. Zombies are dead and left out."""
    found: set[int] = set()
    frontier = set(roots)
    while frontier:
        frontier = {process.pid for process in around.values() if process.parent in frontier} - found
        found |= frontier
    return {pid for pid in found if not around[pid].zombie}


def marked(folder: str) -> set[int]:
    """Living processes that were started by the instance of this folder, whoever their parent is now."""
    wanted = f"{MARKER}={folder}".encode()
    around = look_around()
    return {pid for pid, process in around.items() if not process.zombie and wanted in _environment(pid)}


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:  # not ours to read, or gone
        return []


def kill_below(root: int) -> None:
    """End everything below a process, but not itself."""
    _kill_all(lambda: descendants([root], look_around()))


def kill_marked(folder: str) -> None:
    """End what an instance left behind, with everything below it."""

    def leftovers() -> set[int]:
        roots = marked(folder)
        return (roots | descendants(roots, look_around())) - {os.getpid()}

    _kill_all(leftovers)


def _kill_all(find: Callable[[], set[int]]) -> None:
    """Freeze until a look finds nobody new, then kill; again while somebody is left."""
    for _ in range(MAX_ROUNDS):
        frozen: set[int] = set()
        while new := find() - frozen:
            for pid in new:
                send(pid, signal.SIGSTOP)
            frozen |= new
        if not frozen:
            return
        handles = [handle for pid in frozen if (handle := open_handle(pid)) is not None]
        for pid in frozen:
            send(pid, signal.SIGKILL)
        for handle in handles:
            wait_for_end(handle, PROCESS_END_TIMEOUT_S)
            os.close(handle)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def open_handle(pid: int) -> int | None:
    """A descriptor that stands for this very process, also when its number is used again."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def wait_for_end(handle: int, timeout_s: float) -> bool:
    """Whether the process of a handle ended in time."""
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(max(0.0, timeout_s) * 1000))
