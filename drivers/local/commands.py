"""How a command that is meant for a machine of its own runs in an instance's folder.

Paths that every machine has once are made relative to the instance's home, where each command starts, and are shown under their
own name in what it prints; ``sudo`` is left out. Everything else is executed as it stands.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from drivers.local.folder import InstanceFolder
from drivers.local.processes import MARKER

SECRET_PATH = "/var/run/arvados-instance-secret"  # noqa: S105  the place, not the secret
PATHS = {
    SECRET_PATH: "./run/arvados-instance-secret",
    "/var/lock/": "./lock/",
    "/tmp/arvados-crunch-run": "./runner",  # noqa: S108  it is replaced here
}
HOME_FOLDERS = ("run", "lock", "tmp")
ANSWERS = {"systemctl is-system-running": b"running\n"}  # the host's own state says nothing about an instance


def localised(text: str) -> str:
    """A command or script with the machine-wide paths in this instance's home."""
    text = text.removeprefix("sudo ")
    for machine_path, home_path in PATHS.items():
        text = text.replace(machine_path, home_path)
    return text


def globalised(output: bytes, command: str) -> bytes:
    """What a command printed, with the paths that it was given."""
    for machine_path, home_path in PATHS.items():
        if machine_path in command:
            output = output.replace(home_path.encode(), machine_path.encode())
    return output


def names_machine_path(command: str) -> bool:
    return any(machine_path in command for machine_path in PATHS)


def environment(folder: InstanceFolder, data_folder: Path) -> dict[str, str]:
    """What every command of this instance gets. Nothing of the environment in which the dispatcher was started."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    return {
        MARKER: str(folder.path),
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": str(folder.home),
        "TMPDIR": str(folder.home / "tmp"),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "CRUNCH_RUN_LOCK_DIR": str(folder.locks),
        "CRUNCH_RUN_DATA_DIR": str(data_folder),
    }
