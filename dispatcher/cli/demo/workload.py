"""The sample workload: what is asked for, how each piece should end, and how it is found again after any interruption.

A piece is known by its run and its name, which stand in its request; so whatever was killed, nothing is asked for twice.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from dispatcher.cli.demo.folder import Folder, read_json, write
from dispatcher.cli.queue_client import QueueClient, Record, work
from dispatcher.frozen import dataclass

RUN, NAME = "sample_run", "sample_name"  # among a request's properties, and (in capitals) in its container's environment
TRIES = 10  # a container whose instance is killed is tried again
MIB, GIB = 1 << 20, 1 << 30

COMPLETE, CANCELLED, REFUSED = "complete", "cancelled", "refused"
ENDS = (COMPLETE, CANCELLED, REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One container to ask for. ``ends``: complete (with ``exit_code``), cancelled (by us, while it runs) or refused (because
    no instance type suits it)."""

    name: str
    command: tuple[str, ...]
    vcpus: int = 1
    ram_mib: int = 256
    priority: int = 500
    ends: str = COMPLETE
    exit_code: int = 0


def _shell(name: str, script: str, **more: Any) -> Piece:
    return Piece(name=name, command=("/bin/sh", "-c", script), **more)


PRIMES = (
    "import sys; n = int(sys.argv[1]); "
    "print(sum(all(k % d for d in range(2, int(k ** .5) + 1)) for k in range(2, n)), 'primes below', n)"
)


def _python(name: str, code: str, *arguments: str, **more: Any) -> Piece:
    return Piece(name=name, command=("python3", "-c", code, *arguments), **more)


def _sample() -> Iterable[Piece]:
    """About two dozen: short and long, small and large, urgent and not."""
    for number, seconds in enumerate((1, 2, 3, 2, 4, 1), start=1):
        yield _shell(f"count-{number}", f"seq 1 {number}0000 | wc -l; sleep {seconds}", priority=300 + 40 * number)
    for number in range(1, 5):
        yield _python(f"primes-{number}", PRIMES, f"{number}0000", vcpus=2, ram_mib=512, priority=500)
    for number, seconds in enumerate((3, 5, 4, 2), start=1):
        script = f"seq 1 20000 | sort -R | sort -n | tail -1; sleep {seconds}"
        yield _shell(f"sort-{number}", script, vcpus=2, ram_mib=1024, priority=450 + number)
    for number in range(1, 4):
        script = f"head -c {number}000000 /dev/zero | sha256sum | tee checksum.txt; sleep {number}"
        yield _shell(f"checksum-{number}", script, vcpus=4, ram_mib=2048, priority=700)
    yield _shell("urgent", "echo first in the queue; sleep 2", priority=1000)
    yield _shell("patient", "echo last in the queue; sleep 1", priority=1)
    yield _shell("environment", "env | cut -d= -f1 | sort; pwd; sleep 2")
    yield _shell("large-memory", "echo alone on a large one; sleep 3", ram_mib=6144, vcpus=3, priority=600)
    yield _shell("fails", "echo 'the input file is missing' >&2; sleep 1; exit 3", exit_code=3)
    yield _shell("cancelled", "echo until somebody stops me; sleep 900", priority=800, ends=CANCELLED)
    yield _shell("too-large", "echo never", vcpus=64, ram_mib=4096, ends=REFUSED)


SAMPLE: tuple[Piece, ...] = tuple(_sample())


class BadWorkload(Exception):
    """The file of a workload is wrong; the text says where."""


def read_workload(path: Path) -> tuple[Piece, ...]:
    """Pieces from a YAML or JSON list of mappings with the fields of Piece. Raises BadWorkload."""
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadWorkload(f"{path}: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise BadWorkload(f"{path}: has to be a list of containers")
    pieces = tuple(_piece(path, number, row) for number, row in enumerate(rows, start=1))
    names = [piece.name for piece in pieces]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BadWorkload(f"{path}: each name once: {', '.join(sorted(twice))}")
    return pieces


def _piece(path: Path, number: int, row: Any) -> Piece:
    try:
        piece = Piece(**{**row, "command": tuple(str(word) for word in row["command"])})
    except (TypeError, KeyError) as error:
        raise BadWorkload(f"{path}: entry {number}: {error}; a name and a command (a list of words) are needed") from error
    if piece.ends not in ENDS:
        raise BadWorkload(f"{path}: entry {number}: ends: {piece.ends!r} is none of {', '.join(ENDS)}")
    return piece


# --------------------------------------------------------------------------------------------------------------------- run


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One time that a workload is run. ``ended``: it was seen to its end."""

    id: str
    pieces: tuple[Piece, ...]
    ended: bool = False


def unfinished(folder: Folder) -> Run | None:
    """The run of the last time, when it was not seen to its end."""
    stored = read_json(folder.workload)
    if not stored or stored.get("ended"):
        return None
    try:
        pieces = tuple(Piece(**{**row, "command": tuple(row["command"])}) for row in stored["pieces"])
        return Run(id=stored["id"], pieces=pieces)
    except (KeyError, TypeError):
        return None  # another version of the demo wrote it


def new_run(folder: Folder, pieces: tuple[Piece, ...]) -> Run:
    """Remembered before anything is asked for."""
    run = Run(id=secrets.token_hex(6), pieces=pieces)
    save(folder, run)
    return run


def save(folder: Folder, run: Run) -> None:
    write(folder.workload, json.dumps(asdict(run), indent=1))


def submit(run: Run, queue: QueueClient, told: Callable[[], None] = lambda: None) -> int:
    """Ask for whatever was not asked for yet; how many that were. ``told`` is called after each."""
    there = {name_of(request) for request in requests_of(run, queue)}
    missing = [piece for piece in run.pieces if piece.name not in there]
    for piece in missing:
        queue.submit(request_for(run, piece))
        told()
    return len(missing)


def requests_of(run: Run, queue: QueueClient) -> list[Record]:
    return queue.requests([[f"properties.{RUN}", "=", run.id]])


def name_of(request: Record) -> str:
    return str((request.get("properties") or {}).get(NAME, ""))


def request_for(run: Run, piece: Piece) -> Record:
    """The retry of a cancelled container has no request of its own: it is known by its environment."""
    request = work(
        piece.command,
        name=piece.name,
        vcpus=piece.vcpus,
        ram_bytes=piece.ram_mib * MIB,
        priority=piece.priority,
        image="none",
        tries=1 if piece.ends == REFUSED else TRIES,
    )
    marks = {RUN: run.id, NAME: piece.name}
    return {**request, "properties": marks, "environment": {name.upper(): value for name, value in marks.items()}}
