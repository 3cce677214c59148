"""The demo's data folder: where everything stands, and the lock that lets one demo at a time use it.

The folder is all that is remembered. Whatever was killed, the next demo finds its work, its ports and its keys here.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from dispatcher.frozen import dataclass

LEAST_FREE_BYTES = 64 << 20
LOCK_PATIENCE_S = 1.0


class Unusable(Exception):
    """The folder cannot be used; the text says why and what to do."""


class InUse(Exception):
    """Another demo holds the folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        self.pid = pid
        super().__init__(f"a demo already runs in {folder}" + (f" (process {pid})" if pid else ""))


@dataclass(frozen=True, slots=True)
class Folder:
    """``path`` is absolute and without symbolic links."""

    path: Path

    @property
    def queue(self) -> Path:
        return self.path / "queue"

    @property
    def local(self) -> Path:
        """What the local driver keeps."""
        return self.path / "local"

    @property
    def outputs(self) -> Path:
        """A folder for each container."""
        return self.local / "containers"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def config(self) -> Path:
        return self.path / "config.yml"

    @property
    def settings(self) -> Path:
        return self.path / "settings.yml"

    @property
    def private_key(self) -> Path:
        return self.path / "ssh_key"

    @property
    def facts(self) -> Path:
        """What the configuration was written from."""
        return self.path / "facts.json"

    @property
    def workload(self) -> Path:
        return self.path / "workload.json"

    @property
    def lock(self) -> Path:
        return self.path / "demo.lock"

    def log(self, part: str) -> Path:
        return self.path / f"{part}.log"


def prepare(path: Path) -> Folder:
    """The folder, made if it is missing. Raises Unusable."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Folder(path.resolve())
        folder.state.mkdir(exist_ok=True, mode=0o700)
        write(folder.path / ".writable", "")
        free = os.statvfs(folder.path)
    except OSError as error:
        raise Unusable(f"the data folder {path} cannot be used: {error.strerror}; choose another one with --data") from error
    if free.f_bavail * free.f_frsize < LEAST_FREE_BYTES:
        raise Unusable(f"the disk of {path} is nearly full: free {LEAST_FREE_BYTES >> 20} MiB, or name another with --data")
    return folder


class Lock:
    """Held by the demo that uses the folder. The kernel frees it however the demo ends."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._file = folder.lock.open("a+")

    def take(self, patience_s: float = LOCK_PATIENCE_S) -> None:
        """Raises InUse."""
        deadline_s = time.monotonic() + patience_s
        while not self._try():
            if time.monotonic() > deadline_s:
                raise InUse(self._folder.path, self._holder())
            time.sleep(0.1)
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def take_again(self) -> None:
        """After a release. Raises InUse also when somebody else had it meanwhile and let it go."""
        last = self._holder()
        if last != os.getpid():
            raise InUse(self._folder.path, last)
        self.take()

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> int | None:
        text = self._folder.lock.read_text().strip()
        return int(text) if text.isdecimal() else None


def write(path: Path, text: str) -> None:
    """Whole or not at all, for us alone."""
    temporary = path.with_name(f".{path.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Empty when it is not there or cannot be understood."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
