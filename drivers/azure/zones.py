"""In which availability zone the next machine is asked for: spread by its name, the ones that refused lately last.

What is remembered is an order of preference: every zone is still tried but those that Azure's own table says lack the size.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urldefrag, urlencode

MAX_REMEMBERED = 1000


@dataclass(slots=True)
class Zones:
    """``offered`` is what the site listed; none means that Azure chooses."""

    offered: Sequence[str]
    _refused: dict[tuple[str, str], int] = field(default_factory=dict)
    _lacking: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def know(self, lacking: Mapping[str, frozenset[str]]) -> None:
        """Size in lower case → the zones that do not have it, as Azure's table says; replaces what was known."""
        self._lacking = lacking

    def in_order(self, vm_size: str, name: str) -> tuple[str | None, ...]:
        """The zones to try for this machine, never empty."""
        if not self.offered:
            return (None,)
        lacking = self._lacking.get(vm_size.lower(), frozenset())
        zones = [zone for zone in self.offered if zone not in lacking] or list(self.offered)
        first = zlib.crc32(name.encode()) % len(zones)
        turned = [*zones[first:], *zones[:first]]
        return tuple(sorted(turned, key=lambda zone: self._refused.get((vm_size, zone), 0)))

    def refused(self, vm_size: str, zone: str | None) -> None:
        """This zone had no room for this size: the others come first until they refuse as often."""
        if zone is None or (len(self._refused) >= MAX_REMEMBERED and (vm_size, zone) not in self._refused):
            return
        self._refused[vm_size, zone] = self._refused.get((vm_size, zone), 0) + 1

    def granted(self, vm_size: str, zone: str | None) -> None:
        self._refused.pop((vm_size, zone or ""), None)


def handle(url: str, vm_size: str, zone: str | None) -> str:
    """The operation's address, with what has to be known when it fails."""
    return f"{urldefrag(url).url}#{urlencode({'size': vm_size, 'zone': zone or ''})}"


def unpack(operation: str) -> tuple[str, str, str | None]:
    """(address, size, zone) of a handle."""
    url, fragment = urldefrag(operation)
    known = parse_qs(fragment)
    return url, known.get("size", [""])[0], known.get("zone", [""])[0] or None
