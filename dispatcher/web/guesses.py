"""Slows down who tries out tokens: so many wrong ones from one address, then one every other second.

Nothing is held up meanwhile, no thread sleeps: too early a try is refused unlooked at, also a right one. The same wrong token
again counts once: a client with an old token is no guesser, and must not shut others out who come from its address.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

AT_ONCE = 20
ONE_IN_S = 2.0
SOURCES = 1000  # the one that guessed longest ago is forgotten
REMEMBERED = 8  # wrong tokens of a source that count no more
LOOPBACK = ("127.0.0.1", "::1", "")


@dataclass(slots=True, eq=False)
class _Source:
    left: float
    at_s: float
    known: list[bytes] = field(default_factory=list, repr=False)


class Guesses:
    """``now`` is monotonic seconds. Wrong tokens are kept as digests under a key that this process alone has."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._key = secrets.token_bytes(32)

    def wait_s(self, source: str) -> float:
        """How long this source has to wait before it is listened to; 0 for almost everybody."""
        with self._lock:
            found = self._sources.get(source)
            if found is None:
                return 0.0
            self._refill(found)
            return 0.0 if found.left >= 1 else (1 - found.left) * ONE_IN_S

    def wrong(self, source: str, token: str) -> bool:
        """Count a wrong token; whether it was this source's last for now."""
        digest = hmac.digest(self._key, token.encode("utf-8", "surrogatepass"), hashlib.sha256)
        with self._lock:
            found = self._sources.setdefault(source, _Source(AT_ONCE, self._now()))
            self._sources.move_to_end(source)
            if len(self._sources) > SOURCES:
                self._sources.popitem(last=False)
            self._refill(found)
            if digest in found.known:
                return False
            found.known = [*found.known, digest][-REMEMBERED:]
            found.left = max(0.0, found.left - 1)
            return found.left < 1

    def _refill(self, found: _Source) -> None:
        now_s = self._now()
        found.left = min(AT_ONCE, found.left + (now_s - found.at_s) / ONE_IN_S)
        found.at_s = now_s


def source(remote: str, forwarded_for: str) -> str:
    """Where a request comes from. A proxy on this host is believed what it says of its client; nobody else is. Neighbours in an
    IPv6 network of 64 bits are one."""
    last = forwarded_for.rpartition(",")[2].strip()
    told = last if remote in LOOPBACK and last else remote
    try:
        address = ipaddress.ip_address(told)
    except ValueError:
        return told[:100]
    return str(ipaddress.ip_network(f"{told}/64", strict=False)) if address.version == 6 else told
