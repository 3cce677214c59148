"""Tells systemd how the service stands: one datagram per message, nothing when there is no systemd.

A message that cannot be sent is dropped: the service manager's ear is no reason to fail. Whoever outlived the first process of
the service says nothing any more: what it said would be taken for the word of the next one.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

from dispatcher.frozen import dataclass

SEND_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceManager:
    """``address`` is the value of $NOTIFY_SOCKET; ``watchdog_s`` the longest silence that is allowed, 0 for none. ``first``: the
    process for which, and for whose children, we speak; 0 for whoever asks."""

    address: str = ""
    watchdog_s: float = 0.0
    first: int = 0

    def tell(self, **facts: str) -> None:
        """``tell(READY="1", STATUS="…")``"""
        if not self.address or self.first not in (0, os.getpid(), os.getppid()):
            return
        text = "\n".join(f"{name}={value}" for name, value in facts.items())
        path = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.settimeout(SEND_TIMEOUT_S)
            ear.connect(path)
            ear.send(text.encode("utf-8"))


def service_manager(environment: Mapping[str, str]) -> ServiceManager:
    """What the environment says of systemd. To be called in the first process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    return ServiceManager(
        address=environment.get("NOTIFY_SOCKET", ""),
        first=os.getpid(),
        watchdog_s=int(microseconds) / 1e6 if microseconds.isdigit() else 0.0,
    )
