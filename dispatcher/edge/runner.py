"""The container runner's command lines, and what it prints: pure text in both directions.

Every line is the one that the runner of the reference implementation takes, so that either dispatcher finds the other's
containers. What cannot be understood is set aside and shown, never taken for a process.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from dispatcher.frozen import dataclass

UUID = re.compile(r"[a-z0-9]{5}-[a-z0-9]{5}-[a-z0-9]{15}")
MAX_NOTES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Where the runner is and how it is called. ``command`` is a path, or words that a shell splits. ``broken_node_hook``: a
    command of the instance that the runner calls when it finds the instance unfit; empty: it only says so in its list."""

    command: str = "crunch-run"
    runtime_engine: str = "docker"
    broken_node_hook: str = ""
    arguments: Sequence[str] = ()

    def list_command(self, user: str) -> str:
        return f"{sudo(user)}{self.command} --list"

    def start_command(self, user: str, uuid: str) -> str:
        """The configuration follows on standard input, since command lines can be read by everybody on the instance."""
        hook = [f"--broken-node-hook={self.broken_node_hook}"] if self.broken_node_hook else []
        words = [f"--runtime-engine={self.runtime_engine}", *hook, *self.arguments, uuid]
        return f"{sudo(user)}{self.command} --detach --stdin-config {' '.join(map(quoted, words))}"

    def kill_command(self, user: str, uuid: str, signal: int) -> str:
        return f"{sudo(user)}{self.command} --kill {signal} {shlex.quote(uuid)}"


def sudo(user: str) -> str:
    return "" if user == "root" else "sudo "


def quoted(word: str) -> str:
    """Always in single quotes, also where a shell would not need them."""
    return "'" + word.replace("'", "'\\''") + "'"


def boot_command(configured: str) -> str:
    """An empty boot probe asks for nothing but an answer."""
    return configured.strip() or "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The runner's list. ``stale``: the process is gone but something still holds its lock. ``notes``: lines that nobody
    understood, bounded."""

    processes: frozenset[str] = frozenset()
    stale: frozenset[str] = frozenset()
    broken: bool = False
    notes: tuple[str, ...] = ()


def parse_list(stdout: bytes, cluster_id: str) -> Listed:
    """Other clusters' containers on the same host are left out. A line of ours in a form that we do not know counts as a
    process too: what may run must not be taken for gone."""
    processes, stale, notes = set(), set(), []
    broken = False
    for line in stdout.decode("utf-8", "replace").splitlines():
        match line.split():
            case []:
                continue
            case ["broken"]:
                broken = True
            case [uuid, "stale"] if uuid.startswith(f"{cluster_id}-"):
                stale.add(uuid)
            case [uuid, *rest] if uuid.startswith(f"{cluster_id}-"):
                processes.add(uuid)
                notes += [line] if rest else []
            case [uuid, *_] if not UUID.fullmatch(uuid):
                notes.append(line)
    return Listed(
        processes=frozenset(processes),
        stale=frozenset(stale - processes),
        broken=broken,
        notes=tuple(notes[:MAX_NOTES]),
    )
