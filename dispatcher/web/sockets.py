"""The listening sockets that systemd handed over: where they listen, and whether that is where we are looked for.

They are only looked at; gunicorn takes them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

FIRST = 3  # by sd_listen_fds(3)
ANY = {"0.0.0.0", "::"}  # noqa: S104  names of all addresses, not a place to listen

Place = tuple[str, int]
"""Host and port; of a unix socket its path and 0."""


def handed_over(environment: Mapping[str, str], pid: int) -> tuple[Place, ...]:
    """Empty when there are none, or when they are meant for another process."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(pid) or not count.isdigit():
        return ()
    return tuple(place for number in range(FIRST, FIRST + int(count)) if (place := _place(number)) is not None)


def _place(number: int) -> Place | None:
    try:
        with socket.socket(fileno=os.dup(number)) as listener:
            name = listener.getsockname()
    except OSError:
        return None
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else (os.fsdecode(name), 0)


def serves(given: tuple[Place, ...], wanted: Place) -> bool:
    """Whether who calls ``wanted`` reaches one of them. Behind a unix socket is a proxy that knows where it is called."""
    return any(port == 0 or (port == wanted[1] and (host in ANY or host in _addresses(wanted))) for host, port in given)


def _addresses(wanted: Place) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(*wanted, type=socket.SOCK_STREAM)} | {wanted[0]}
    except OSError:
        return {wanted[0]}
