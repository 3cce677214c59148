"""Where the service's files are, and writing those that are missing: each by a rename, with the mode and owner that it needs.

What is there is kept. A secret is root's alone; what the service reads is its group's.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Callable
from pathlib import Path

from dispatcher.cli.service_user import USER
from dispatcher.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """All below one ``root``."""

    cluster_config: Path
    config: Path
    settings: Path
    credentials: Path
    state: Path
    logs: Path
    service_unit: Path
    socket_unit: Path

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.jsonl"


def standard_places(root: Path) -> Places:
    own, units = root / "etc/cloud-dispatcher", root / "etc/systemd/system"
    return Places(
        cluster_config=root / "etc/arvados/config.yml",
        config=own / "config.yml",
        settings=own / "settings.yml",
        credentials=own / "credentials",
        state=root / "var/lib/cloud-dispatcher",
        logs=root / "var/log/cloud-dispatcher",
        service_unit=units / "cloud-dispatcher.service.d/setup.conf",
        socket_unit=units / "cloud-dispatcher.socket.d/setup.conf",
    )


class Writer:
    """``tell`` gets a line for each file. ``changed_units``: systemd has to read its units again."""

    def __init__(self, places: Places, tell: Callable[[str], None]) -> None:
        self._places, self._tell = places, tell
        self.changed_units = False
        try:
            self._user = pwd.getpwnam(USER) if os.geteuid() == 0 else None
        except KeyError:  # not installed as a package
            self._user = None

    def folders(self) -> None:
        self._folder(self._places.config.parent, 0o755)
        self._folder(self._places.credentials, 0o700)
        self.own(self._folder(self._places.state, 0o700))
        self.own(self._folder(self._places.logs, 0o750))

    def _folder(self, path: Path, mode: int) -> Path:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
        return path

    def own(self, path: Path) -> None:
        """Give it to the service's user, with everything below."""
        if self._user is not None:
            for each in (path, *path.rglob("*")):
                os.chown(each, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)

    def write(self, path: Path, text: str) -> None:
        """A file that the service may read."""
        if path.exists():
            self._tell(f"kept {path}")
            return
        self._put(path, text, 0o640, group=self._user.pw_gid if self._user is not None else -1)
        self._tell(f"wrote {path}")

    def secret(self, key: str, text: str) -> None:
        """The value of ``key``, for root alone: systemd hands a copy to the service."""
        path = self._places.credentials / key
        if path.exists():
            self._tell(f"kept {path}")
            return
        self._put(path, text, 0o600)
        self._tell(f"wrote {path}")

    def write_unit(self, path: Path, text: str) -> None:
        """Ours alone: written anew when it says something else."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        self._put(path, text, 0o644)
        self._tell(f"wrote {path}")
        self.changed_units = True

    def remove_unit(self, path: Path) -> None:
        if path.exists():
            path.unlink()
            self._tell(f"removed {path}")
            self.changed_units = True

    def _put(self, path: Path, text: str, mode: int, group: int = -1) -> None:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), -1, group)
            os.fchmod(file.fileno(), mode)
            file.write(text)
        os.replace(name, path)
