"""Who calls: from a token in a request to a user, and what the token may be used for.

Every way in which a token can be wrong gives the same answer. The system's root token is no row of the database: it is compared
with the secret of the data folder.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from . import rules
from .act import Settings
from .errors import ApiError, not_logged_in
from .resources import CONTAINERS, TOKENS, USERS, Record
from .rules import Caller
from .store import Transaction
from .values import now

_SCHEMES = ("Bearer ", "OAuth2 ")
_PARAMETERS = ("api_token", "oauth_token")


def sent_token(authorization: str, parameters: Mapping[str, Any]) -> str:
    """The token of a request, from its header or else its parameters; empty when there is none."""
    for scheme in _SCHEMES:
        if authorization.startswith(scheme):
            return authorization[len(scheme) :].strip()
    return next((str(parameters[name]).strip() for name in _PARAMETERS if parameters.get(name)), "")


def authenticate(transaction: Transaction, settings: Settings, root_token: str, sent: str) -> Caller:
    """The caller. Raises ApiError 401 for a token that is missing, unknown, wrong, or at its end."""
    parts = sent.split("/")
    is_long = len(parts) in (3, 4) and parts[0] == "v2"
    secret = parts[2] if is_long else sent
    if not secret or (len(parts) > 1 and not is_long):
        raise not_logged_in()
    if _same(secret, root_token) and (not is_long or parts[1] == settings.system_token_uuid):
        return _root_caller(transaction, settings, root_token)
    token = _row(transaction, settings, parts[1] if is_long else None, secret)
    suffix = parts[3] if len(parts) == 4 else None
    return _caller(transaction, token, _own_container(transaction, token, secret, suffix))


def _root_caller(transaction: Transaction, settings: Settings, root_token: str) -> Caller:
    user = transaction.get(USERS, settings.system_user_uuid)
    token = TOKENS.blank() | {
        "uuid": settings.system_token_uuid,
        "owner_uuid": settings.system_user_uuid,
        "api_token": root_token,
    }
    return Caller(user=user or USERS.blank(), token=token)


def _row(transaction: Transaction, settings: Settings, uuid: str | None, secret: str) -> Record:
    """The token's row, when its secret fits and its time is not over."""
    where, parameters = ("uuid = ?", [uuid]) if uuid else ("api_token = ?", [secret])
    token = next(iter(transaction.find(TOKENS, where, parameters, limit=1)), None)
    if token is None or (token["expires_at"] or "9") <= now():
        raise not_logged_in()
    known = token["api_token"]
    if not _same(secret, known) and not (uuid and _same(secret, salted(known, settings.cluster_id))):
        raise not_logged_in()
    return token


def salted(secret: str, cluster_id: str) -> str:
    """The form in which a secret is told to one cluster only."""
    return hmac.new(secret.encode(), cluster_id.encode(), hashlib.sha1).hexdigest()


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())


def _own_container(transaction: Transaction, token: Record, secret: str, suffix: str | None) -> str | None:
    """The container that the token belongs to: by its own uuid, or named behind the secret."""
    named = transaction.get(CONTAINERS, suffix) if suffix else None
    if named is not None:
        if named["state"] not in rules.HELD or not _belongs(token, named):
            raise not_logged_in()
        return str(named["uuid"])
    where = "auth_uuid = ? AND state IN ('Locked', 'Running')"
    own = transaction.find(CONTAINERS, where, [token["uuid"]], limit=1)
    return str(own[0]["uuid"]) if own else None


def _belongs(token: Record, container: Record) -> bool:
    given = container["runtime_token"] or ""
    return container["auth_uuid"] == token["uuid"] or token["uuid"] in given.split("/")


def _caller(transaction: Transaction, token: Record, container_uuid: str | None) -> Caller:
    user = transaction.get(USERS, token["owner_uuid"])
    if user is None:
        raise not_logged_in()
    return Caller(user=user, token=token, container_uuid=container_uuid)


def check_scopes(scopes: list[str], method: str, path: str) -> None:
    """A scope is ``all``, or a method and a path: exact, or a prefix when it ends with a slash. Raises ApiError 403."""
    wanted = f"{method} {path}"
    if not any(each in ("all", wanted) or (each.endswith("/") and wanted.startswith(each)) for each in scopes):
        raise ApiError(403, "Forbidden")
