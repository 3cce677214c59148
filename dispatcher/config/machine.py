"""What the configuration asks of the host that it is read on: which addresses are its own, which runner files it has.

The only place that looks; tests hand over a Machine of their own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from dispatcher.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``is_ours(host)``: does this name or address belong to this host? ``is_file(path)``: is there a file that we may read?"""

    is_ours: Callable[[str], bool]
    is_file: Callable[[str], bool]


def this_machine() -> Machine:
    return Machine(is_ours=_is_ours, is_file=_is_file)


def _is_ours(host: str) -> bool:
    """By name, else by trying to bind: only an address of this host can be bound."""
    if host.lower() in ("", "localhost", socket.gethostname().lower(), socket.getfqdn().lower()):
        return True
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(_can_bind(family, address) for family, _, _, _, address in found)


def _can_bind(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
            return True
    except OSError:
        return False


def _is_file(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)
