"""What the service's user may read, found out by root, who may read everything and would notice nothing.

Where there is no such user, as without the Debian package, or for anybody but root, nothing is said.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterable

from dispatcher.config.files import group_name, permission_mend, user_name

USER = "_cloud-dispatcher"
LOOK_TIMEOUT_S = 10.0


def closed_files(paths: Iterable[str | os.PathLike[str]], user: str = USER) -> list[tuple[str, str]]:
    """Those of ``paths`` that are there and that the user may not read, each with what is wrong and the mend."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return []
    if os.geteuid() != 0:
        return []
    there = [os.fspath(path) for path in paths if os.path.exists(path)]
    return [(path, _mend(path, user)) for path in there if not _may_read(path, found)]


def _may_read(path: str, user: pwd.struct_passwd) -> bool:
    """As that user, with all its groups."""
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    try:
        done = subprocess.run(
            ["test", "-r", path], check=False, timeout=LOOK_TIMEOUT_S, stdin=subprocess.DEVNULL, cwd="/",
            user=user.pw_uid, group=user.pw_gid, extra_groups=groups,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return True  # nothing is known, and the service says it when it starts
    return done.returncode == 0


def _mend(path: str, user: str) -> str:
    found = os.stat(path)
    return permission_mend(user, user_name(found.st_uid), group_name(found.st_gid), found.st_mode)
