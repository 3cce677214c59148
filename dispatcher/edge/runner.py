"""The container runner's command lines, and what it prints: pure text in both directions.

Every line is the one that the runner of the reference implementation takes, so that either dispatcher finds the other's
containers. What cannot be understood is set aside and shown, never taken for a process.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

UUID = re.compile(r"[a-z0-9]{5}-[a-z0-9]{5}-[a-z0-9]{15}")
MAX_NOTES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Where the runner is and how it is called. ``command`` is a path, or words that a shell splits."""

    command: str = "crunch-run"
    runtime_engine: str = "docker"
    arguments: Sequence[str] = ()

    def list_command(self, user: str) -> str:
        return f"{sudo(user)}{self.command} --list"

    def start_command(self, user: str, uuid: str) -> str:
        """The configuration follows on standard input, since command lines can be read by everybody on the instance."""
        words = [f"--runtime-engine={self.runtime_engine}", *self.arguments, uuid]
        return f"{sudo(user)}{self.command} --detach --stdin-config {' '.join(map(quoted, words))}"

    def kill_command(self, user: str, uuid: str, signal: int) -> str:
        return f"{sudo(user)}{self.command} --kill {signal} {shlex.quote(uuid)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerFile:
    """A runner that is put on each instance. The path names its content, so that a new version never meets an old one."""

    content: bytes = field(repr=False)
    directory: str
    md5: str

    @classmethod
    def of(cls, content: bytes, directory: str) -> RunnerFile:
        return cls(content=content, directory=directory, md5=hashlib.md5(content, usedforsecurity=False).hexdigest())

    @property
    def path(self) -> str:
        return f"{self.directory.rstrip('/')}/crunch-run~{self.md5}"


def sudo(user: str) -> str:
    return "" if user == "root" else "sudo "


def quoted(word: str) -> str:
    """Always in single quotes, also where a shell would not need them."""
    return "'" + word.replace("'", "'\\''") + "'"


def boot_command(configured: str) -> str:
    """An empty boot probe asks for nothing but an answer."""
    return configured.strip() or "true"


def verify_command(path: str) -> str:
    return f"md5sum {shlex.quote(path)}"


def is_in_place(path: str, md5: str, stdout: bytes, stderr: bytes) -> bool:
    """Only the exact answer of md5sum counts, and only without a complaint."""
    return not stderr and stdout.decode("utf-8", "replace").rstrip("\n") == f"{md5}  {path}"


def deploy_command(user: str, directory: str, path: str, md5: str) -> str:
    """Write standard input beside the place, check it, then rename: nobody ever sees half a runner. One line, because a login
    shell need not be a POSIX one."""
    script = "; ".join(
        [
            "set -e",
            "umask 022",
            f"mkdir -p {shlex.quote(directory)}",
            f"chmod 0755 {shlex.quote(directory)}",
            f"new=$(mktemp {shlex.quote(directory + '/.crunch-run.XXXXXXXX')})",
            "trap 'rm -f \"$new\"' EXIT",
            "trap 'exit 1' HUP INT TERM",
            'cat > "$new"',
            'sum=$(md5sum < "$new")',
            f'test "${{sum%% *}}" = {md5} || {{ echo "the runner arrived damaged" >&2; exit 1; }}',
            'chmod 0755 "$new"',
            f'mv -f "$new" {shlex.quote(path)}',
        ]
    )
    return f"{sudo(user)}sh -c {quoted(script)}"


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
