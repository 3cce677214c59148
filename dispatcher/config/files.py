"""Reading the files that a configuration names. Whatever keeps one from being read is told with its mend."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
import time

from dispatcher.config.model import Source

MAX_BYTES = 4 << 20


class Unreadable(Exception):
    """A file could not be had; the text says why and what to do."""


def read_text(path: str) -> str:
    """The file's text, at most MAX_BYTES of UTF-8. Raises Unreadable."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except PermissionError:
        raise Unreadable(_closed(path)) from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or 'this is no file name'}") from None
    if len(content) > MAX_BYTES:
        raise Unreadable(f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Unreadable(f"is not UTF-8 text: see line {line}") from None


def source_of(path: str) -> Source:
    """Which text the file holds now, for those who watch that a change has come into force."""
    try:
        with open(path, "rb") as file:
            written_s = os.fstat(file.fileno()).st_mtime
            digest = hashlib.sha256(file.read(MAX_BYTES)).hexdigest()
    except OSError:
        return Source(loaded_s=time.time())
    return Source(sha256=digest, written_s=written_s, loaded_s=time.time())


def _closed(path: str) -> str:
    user = user_name(os.geteuid())
    try:
        found = os.stat(path)
    except OSError:
        return f"user {user} may not enter one of its folders: let {user} in, for example by a group that may"
    return permission_mend(user, user_name(found.st_uid), group_name(found.st_gid), found.st_mode)


def permission_mend(user: str, owner: str, group: str, mode: int) -> str:
    """What is wrong and the command that mends it."""
    text = f"user {user} may not read it (owner {owner}, group {group}, mode {stat.S_IMODE(mode):04o})"
    if group == "root":  # nobody else should be in that group
        return f"{text}: give it to a group that {user} is in, and let that read it (chgrp {user} FILE; chmod g+r FILE)"
    if not mode & stat.S_IRGRP:
        return f"{text}: let its group read it (chmod g+r) and {user} be in the group {group}"
    return f"{text}: add {user} to the group (usermod --append --groups {group} {user}) and start the program again"


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def open_to_others(path: str) -> bool:
    """Whether users outside the file's group can read it."""
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:
        return False
