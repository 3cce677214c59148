"""Where the local driver keeps everything: one data folder, in which an instance is a folder that somebody holds a lock on.

The lock is taken before the folder can be seen and is handed to the instance's process, so "alive" is what the kernel says, not
what a file says. Files appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class InstanceFolder:
    """The files of one instance. ``home`` is all that its commands see."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def locks(self) -> Path:
        """Where its runner keeps its lock files."""
        return self.home / "lock"

    @property
    def facts(self) -> Path:
        return self.path / "instance.json"

    @property
    def tags(self) -> Path:
        return self.path / "tags.json"

    @property
    def address(self) -> Path:
        return self.path / "address"

    @property
    def host_key(self) -> Path:
        return self.path / "host_key"

    @property
    def authorized_keys(self) -> Path:
        return self.path / "authorized_keys"

    @property
    def init_script(self) -> Path:
        return self.path / "init.sh"

    @property
    def alive(self) -> Path:
        """Locked as long as the instance lives; holds its pid."""
        return self.path / "alive"

    @property
    def deleting(self) -> Path:
        return self.path / "deleting"

    @property
    def log(self) -> Path:
        return self.path / "log"

    def is_alive(self) -> bool:
        """Whether a process holds the lock."""
        try:
            with self.alive.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (FileNotFoundError, NotADirectoryError):
            return False  # whatever else goes wrong proves no death: it is raised
        return False

    def pid(self) -> int | None:
        """The instance's process; None while it starts."""
        text = read_text(self.alive)
        return int(text) if text.isdigit() else None

    def read_tags(self) -> dict[str, str]:
        """Empty when the instance is gone meanwhile. Raises OSError when nobody can say whose it is."""
        text = read_text(self.tags)
        try:
            value = json.loads(text or "{}")
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise OSError(f"{self.tags} cannot be understood: write the tags of {self.id} into it again")
        return value


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The whole: ``instances`` (alive or being buried), ``containers`` (their output, kept), ``logs`` (of instances gone)."""

    path: Path

    @property
    def instances(self) -> Path:
        return self.path / "instances"

    @property
    def containers(self) -> Path:
        return self.path / "containers"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def instance(self, instance_id: str) -> InstanceFolder | None:
        """None when there can be no instance of this id."""
        if not SAFE_NAME.fullmatch(instance_id):
            return None
        folder = InstanceFolder(self.instances / instance_id)
        try:
            return folder if stat.S_ISDIR(folder.path.stat().st_mode) else None
        except FileNotFoundError:
            return None

    def all_instances(self) -> list[InstanceFolder]:
        """Raises OSError when it cannot be read: that is not the same as empty."""
        try:
            paths = sorted(self.instances.iterdir())
        except FileNotFoundError:
            return []
        return [InstanceFolder(path) for path in paths if SAFE_NAME.fullmatch(path.name)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one creates or buries at a time, in whatever process."""
        for folder in (self.instances, self.containers, self.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.path / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def remove(self, folder: InstanceFolder, kept_logs: int, kept_outputs: int) -> None:
        """Take a dead instance's folder away; its log and what containers wrote remain, the newest of them."""
        with contextlib.suppress(OSError):
            folder.log.replace(self.logs / f"{folder.id}.log")
        grave = folder.path.with_name(f".gone-{folder.id}")
        shutil.rmtree(grave, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            folder.path.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)
        keep_newest(self.logs, kept_logs, set())
        keep_newest(self.containers, kept_outputs, self._containers_in_use())

    def _containers_in_use(self) -> set[str]:
        """Those for which some instance has a lock file, ``crunch-run-UUID.lock``."""
        locks = [path.stem for folder in self.all_instances() for path in folder.locks.glob("crunch-run-*.lock")]
        return {stem.removeprefix("crunch-run-") for stem in locks}


def keep_newest(folder: Path, count: int, in_use: set[str]) -> None:
    """Remove the oldest entries of a folder beyond ``count``, except those in use."""
    entries = sorted(folder.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)
    for path in [path for path in entries[count:] if path.name not in in_use]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Whole or not at all, for us alone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def read_text(path: Path) -> str:
    """Empty when it is not there (yet)."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True))


def read_json(path: Path) -> dict[str, Any]:
    """Empty when it is not there or cannot be understood."""
    try:
        value = json.loads(read_text(path) or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
