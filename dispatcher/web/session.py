"""Sessions of the pages: a signed note in a cookie that says who signed in, with which of the two tokens, and until when.

The key of the signature is the token itself, so a session ends when its token changes, and every dispatcher that has the token
knows it. The token is not in it. What signed out is remembered until it would have ended anyway.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any

from itsdangerous import BadData, Signer, URLSafeSerializer

from dispatcher.frozen import dataclass

COOKIE = "cloud_dispatcher_session"
LIFETIME_S = 12 * 3600
SIGNED_OUT = 10_000  # so many are remembered at most
COOKIE_BYTES = 2048
NAME_CHARACTERS = 100

OPERATOR, READER = "operator", "reader"
SIGNED = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """``role``: which token it was opened with. ``until_s``: Unix seconds. ``name``: who they say they are."""

    id: str
    role: str
    name: str
    until_s: float


class Sessions:
    """``tokens``: role → its token; a role without one has no sessions. ``now`` gives Unix seconds."""

    def __init__(self, tokens: Mapping[str, str], now: Callable[[], float]) -> None:
        self._tokens = {role: token for role, token in tokens.items() if token}
        self._now = now
        self._lock = threading.Lock()
        self._over: dict[str, float] = {}  # id of a session that signed out → when it would have ended

    def open(self, role: str, name: str) -> tuple[Session, str]:
        """A new session, and what its cookie holds."""
        until_s = math.floor(self._now()) + LIFETIME_S
        made = Session(id=secrets.token_urlsafe(12), role=role, name=name[:NAME_CHARACTERS], until_s=until_s)
        text = self._serializer(role).dumps([made.role, made.id, made.name, made.until_s])
        return made, text.decode() if isinstance(text, bytes) else text

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie, or None when it is none of ours, or over."""
        if not cookie or len(cookie) > COOKIE_BYTES:
            return None
        found = next((session for role in self._tokens if (session := self._signed_by(role, cookie)) is not None), None)
        if found is None or not self._now() < found.until_s:
            return None
        with self._lock:
            return None if found.id in self._over else found

    def close(self, session: Session) -> None:
        """The cookie is worth nothing from now on, also to somebody who copied it."""
        with self._lock:
            now_s = self._now()
            self._over = {id: until_s for id, until_s in self._over.items() if until_s > now_s}
            while len(self._over) >= SIGNED_OUT:
                del self._over[next(iter(self._over))]
            self._over[session.id] = session.until_s

    def remembered(self) -> int:
        """How many sessions that signed out are held in mind."""
        with self._lock:
            return len(self._over)

    def form_key(self, role: str, about: str) -> str:
        """What a form has to send back, so that no other site's page can make it up. ``about``: whose form it is."""
        return Signer(self._tokens[role], salt="form", **_signer()).get_signature(about).decode()

    def _signed_by(self, role: str, cookie: str) -> Session | None:
        try:
            told, id, name, until_s = self._serializer(role).loads(cookie)
        except (BadData, ValueError, TypeError):
            return None
        return Session(id=id, role=role, name=name, until_s=until_s) if told == role else None

    def _serializer(self, role: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._tokens[role], salt=f"session of {role}", signer_kwargs=_signer())


def _signer() -> dict[str, Any]:
    return dict(SIGNED)
