"""Who an instance is: the host keys that are known for it, and the one proof that makes a new key known.

A known key is compared before authentication and never learnt again. With no known key the machine must show the secret that
only the instance we made can hold; until then nothing else is asked of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping, Sequence

from dispatcher.core.messages import ProbeProblem, Target
from dispatcher.driver import HostKey
from dispatcher.edge.ssh.remote import Output, RemoteError, printable

SECRET_PATH = "/var/run/arvados-instance-secret"  # noqa: S105 (a place, not a secret)

# The signature algorithms to offer for a key of each type: the first contact offers all, in this order.
ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


class HostKeys:
    """The keys that are pinned, by instance name. ``on_pinned`` may store a new one; losing it costs one more proof."""

    def __init__(
        self, pins: Mapping[str, HostKey] | None = None, on_pinned: Callable[[str, HostKey], None] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._pins = dict(pins or {})
        self._on_pinned = on_pinned

    def known(self, target: Target) -> tuple[HostKey, ...]:
        """What the driver vouches for, else what we have pinned; empty on first contact."""
        if target.host_keys:
            return target.host_keys
        with self._lock:
            pinned = self._pins.get(target.name)
        return (pinned,) if pinned else ()

    def pin(self, name: str, key: HostKey) -> None:
        with self._lock:
            self._pins[name] = key
        if self._on_pinned is not None:
            self._on_pinned(name, key)

    def forget(self, name: str) -> None:
        with self._lock:
            self._pins.pop(name, None)


def algorithms_for(known: Sequence[HostKey]) -> tuple[str, ...]:
    """What to offer: with known keys only their types, or the server may show its other key and look like an impostor."""
    types = [key.type for key in known] if known else list(ALGORITHMS)
    offered = tuple(dict.fromkeys(name for kind in types for name in ALGORITHMS.get(kind, ())))
    if not offered:
        text = f"none of its known host keys is of a type that we can check: {', '.join(types)}"
        raise RemoteError(ProbeProblem.HOST_KEY, text)
    return offered


def require_identifiable(target: Target, known: Sequence[HostKey]) -> None:
    """An instance with neither a known key nor a secret can be anybody: it is never spoken to."""
    if not known and not target.secret:
        raise RemoteError(
            ProbeProblem.HOST_KEY,
            f"{target.name} cannot be identified: no host key of it is known and it has no InstanceSecret tag, so it is never"
            " used; destroy it, or let it finish and drain it",
        )


def require_known(target: Target, known: Sequence[HostKey], shown: HostKey) -> None:
    """Compare before authentication."""
    if known and shown not in known:
        expected = ", ".join(fingerprint(key) for key in known)
        raise RemoteError(
            ProbeProblem.HOST_KEY,
            f"{target.name}: another machine answers at {target.address}: its host key is {fingerprint(shown)}, known is"
            f" {expected}; the new key is not learnt: destroy the instance if this was not expected",
        )


def identity_command(user: str) -> str:
    """Prints the secret that the instance's init script wrote, which only root can read."""
    return f"cat {SECRET_PATH}" if user == "root" else f"sudo cat {SECRET_PATH}"


def require_secret(target: Target, answer: Output) -> None:
    """The machine proves that it is the one we made, or is not used."""
    if answer.status != 0:
        raise RemoteError(
            ProbeProblem.HOST_KEY,
            f"{target.name} does not show its secret (yet): {SECRET_PATH} could not be read: exit status {answer.status}:"
            f" {printable(answer.stderr, 200)}",
        )
    if not hmac.compare_digest(answer.stdout, target.secret.encode()):
        raise RemoteError(
            ProbeProblem.HOST_KEY,
            f"{target.name}: the machine at {target.address} is not the one that we made: {SECRET_PATH} differs from its tag",
        )


def fingerprint(key: HostKey) -> str:
    """As ``ssh-keygen -l`` shows it."""
    try:
        digest = hashlib.sha256(base64.b64decode(key.base64, validate=True)).digest()
    except ValueError:
        return f"{key.type} (unreadable)"
    return f"{key.type} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
