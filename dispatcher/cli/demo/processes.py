"""The demo's processes, found in ``/proc`` by the data folder that stands in their environment: no file of pids can lie.

Each is a session of its own, so that neither Ctrl-C nor the end of the demo reaches it by accident.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import dispatcher
from dispatcher.frozen import dataclass

FOLDER, PART = "CLOUD_DISPATCHER_DEMO", "CLOUD_DISPATCHER_DEMO_PART"
# Whoever has one of these with a path in the data folder was started by us, by an instance, or by a container.
MARKS = tuple(name.encode() for name in (FOLDER, "CLOUD_DISPATCHER_INSTANCE", "CONTAINER_ROOT"))
NOT_INHERITED = ("ARVADOS_", "NOTIFY_SOCKET", "GUNICORN_")
PR_SET_CHILD_SUBREAPER = 36
ROUNDS = 50
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Seen:
    """``started``: clock ticks since boot, by which a number used twice is told apart."""

    pid: int
    parent: int
    dead: bool
    started: int


def look(pid: int) -> Seen | None:
    """One process; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    words = text[text.rindex(b")") + 2 :].split()
    return Seen(pid, int(words[1]), words[0] in (b"Z", b"X"), int(words[19]))


def look_around() -> dict[int, Seen]:
    seen = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {each.pid: each for each in seen if each is not None and not each.dead}


def is_alive(process: Seen) -> bool:
    now = look(process.pid)
    return now is not None and not now.dead and now.started == process.started


def of_part(folder: Path, part: str) -> Seen | None:
    """The first process of a part (``queue`` or ``dispatcher``)."""
    wanted = {f"{FOLDER}={folder}".encode(), f"{PART}={part}".encode()}
    found = {pid: seen for pid, seen in look_around().items() if wanted <= set(_environment(pid))}
    return next((seen for seen in found.values() if seen.parent not in found), None)


def of_folder(folder: Path) -> set[int]:
    """Everything that was started from this folder, with everything below it; never ourselves or whoever started us."""
    around = look_around()
    place = os.fsencode(folder)
    found = {pid for pid in around if any(_is_mark(each, place) for each in _environment(pid))}
    frontier = found
    while frontier:
        frontier = {seen.pid for seen in around.values() if seen.parent in frontier} - found
        found = found | frontier
    return found - {os.getpid()}


def _is_mark(variable: bytes, place: bytes) -> bool:
    name, _, value = variable.partition(b"=")
    return name in MARKS and (value == place or value.startswith(place + b"/"))


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # not ours to read, or gone
        return []


# ------------------------------------------------------------------------------------------------------------------- start


def start(folder: Path, part: str, module: str, arguments: Sequence[str], log: Path) -> Seen:
    """A process in a session of its own, that nobody waits for: ``Reaper`` takes its remains away."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    code = str(Path(dispatcher.__file__).resolve().parent.parent) if dispatcher.__file__ else ""
    marks = {FOLDER: str(folder), PART: part, "SPT_NOENV": "1"}  # the last: a changed title must not eat the marks
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**inherited, **marks, "PYTHONPATH": os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))},
            start_new_session=True,
        )
    process.returncode = 0
    return look(process.pid) or Seen(process.pid, os.getpid(), True, 0)


class Reaper:
    """Adopts what our processes leave behind, and takes the remains of the dead away."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._ends: dict[int, int] = {}

    def reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                self._ends[pid] = status

    def how(self, process: Seen) -> str:
        """How a process ended, as far as we know."""
        status = self._ends.get(process.pid)
        if status is None:
            return "ended"
        if os.WIFSIGNALED(status):
            return f"was killed (signal {os.WTERMSIG(status)})"
        return f"ended with status {os.waitstatus_to_exitcode(status)}"


# --------------------------------------------------------------------------------------------------------------------- end


def end(process: Seen, patience_s: float) -> None:
    """Ask it to end; when it has not by then, end it with everything that is in its session."""
    send(process.pid, signal.SIGTERM)
    if not wait_until(lambda: not is_alive(process), patience_s):
        kill([process.pid, *below(process.pid)])
        wait_until(lambda: not is_alive(process), patience_s)


def below(pid: int) -> set[int]:
    around, found, frontier = look_around(), set[int](), {pid}
    while frontier:
        frontier = {seen.pid for seen in around.values() if seen.parent in frontier} - found
        found |= frontier
    return found


def end_all(folder: Path) -> set[int]:
    """End what is left, so that none escapes: what is stopped starts nothing. Returns what could not be ended."""
    for _ in range(ROUNDS):
        frozen: set[int] = set()
        while new := of_folder(folder) - frozen:
            for pid in new:
                send(pid, signal.SIGSTOP)
            frozen |= new
        if not frozen:
            break
        kill(frozen)
        time.sleep(LOOK_S)
    return of_folder(folder)


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def wait_until(done: Callable[[], bool], patience_s: float) -> bool:
    """Whether it came true in time."""
    deadline_s = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(LOOK_S)
    return True
