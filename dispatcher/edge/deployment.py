"""The runner's file on its way to an instance: asked for by its hash, sent compressed, written beside its place and renamed.

The path names the content, as the reference implementation's does, so that a new version never meets an old one and a fleet may
be handed over. Nobody ever sees half a runner, or one that may not be executed.
"""

from __future__ import annotations

import gzip
import hashlib
import shlex
import threading
from dataclasses import field
from pathlib import Path
from typing import Protocol

from dispatcher.core.messages import ProbeProblem
from dispatcher.edge.runner import quoted, sudo
from dispatcher.edge.ssh.remote import Output, RemoteError
from dispatcher.frozen import dataclass

MAX_DEPLOYMENTS = 8  # files on their way at once, over all instances; who finds no room tries again with the next probe
COMPRESSION = 6
NO_GZIP = 93  # the exit status by which our script says that the instance cannot decompress


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerFile:
    """A runner that is put on each instance."""

    content: bytes = field(repr=False)
    directory: str
    md5: str

    @classmethod
    def of(cls, content: bytes, directory: str) -> RunnerFile:
        return cls(content=content, directory=directory, md5=hashlib.md5(content, usedforsecurity=False).hexdigest())

    @property
    def path(self) -> str:
        return f"{self.directory.rstrip('/')}/crunch-run~{self.md5}"


class Send(Protocol):
    """Runs a command on the instance in question with this standard input. Raises RemoteError when it does not come to an end."""

    def __call__(self, command: str, stdin: bytes = b"") -> Output: ...


class Deployment:
    """One file for all instances. Safe from many threads."""

    def __init__(self, file: RunnerFile) -> None:
        self.file = file
        self._room = threading.BoundedSemaphore(MAX_DEPLOYMENTS)
        self._packing = threading.Lock()
        self._packed = b""

    def put(self, user: str, send: Send) -> Output | None:
        """Put it there unless it is. None: it is in place; else what the upload answered, which may have failed. Raises
        RemoteError."""
        found = send(verify_command(self.file.path))
        if is_in_place(self.file.path, self.file.md5, found.stdout, found.stderr):
            return None
        if not self._room.acquire(blocking=False):
            raise RemoteError(ProbeProblem.COMMAND, "the runner waits for its turn to be uploaded", reached=True)
        try:
            answer = send(deploy_command(user, self.file, packed=True), self._compressed())
            if answer.status == NO_GZIP:
                answer = send(deploy_command(user, self.file, packed=False), self.file.content)
            return answer
        finally:
            self._room.release()

    def _compressed(self) -> bytes:
        """Once for all instances, when the first one needs it."""
        with self._packing:
            if not self._packed:
                self._packed = gzip.compress(self.file.content, COMPRESSION, mtime=0)
            return self._packed


def load_runner_file(path: str, directory: str) -> RunnerFile:
    """Raises ValueError."""
    try:
        return RunnerFile.of(Path(path).read_bytes(), directory)
    except OSError as error:
        raise ValueError(f"DeployRunnerBinary {path}: {error.strerror}: name a readable file, or leave it empty") from error


def verify_command(path: str) -> str:
    return f"md5sum {shlex.quote(path)}"


def is_in_place(path: str, md5: str, stdout: bytes, stderr: bytes) -> bool:
    """Only the exact answer of md5sum counts, and only without a complaint."""
    return not stderr and stdout.decode("utf-8", "replace").rstrip("\n") == f"{md5}  {path}"


def deploy_command(user: str, file: RunnerFile, *, packed: bool) -> str:
    """Write standard input beside the place, check it, make it executable, then rename. One line, because a login shell need not
    be a POSIX one."""
    directory = shlex.quote(file.directory)
    script = "; ".join(
        [
            *([f"command -v gzip >/dev/null || exit {NO_GZIP}"] if packed else []),
            "set -e",
            "umask 022",
            f"mkdir -p {directory}",
            f"chmod 0755 {directory}",
            f"new=$(mktemp {shlex.quote(file.directory.rstrip('/') + '/.crunch-run.XXXXXXXX')})",
            "trap 'rm -f \"$new\"' EXIT",
            "trap 'exit 1' HUP INT TERM PIPE",
            ("gzip -dc" if packed else "cat") + ' > "$new"',
            'sum=$(md5sum < "$new")',
            f'test "${{sum%% *}}" = {file.md5} || {{ echo "the runner arrived damaged" >&2; exit 1; }}',
            'chmod 0755 "$new"',
            f'mv -f "$new" {shlex.quote(file.path)}',
        ]
    )
    return f"{sudo(user)}sh -c {quoted(script)}"
