"""What can be done with a container: find, lock, unlock, change, delete, and ask for its token and secrets.

Every function takes the act and the uuid, decides by ``rules`` and writes within the act's transaction.
"""

from __future__ import annotations

from typing import Any

from . import cast, outcomes, priority, rules
from .act import Act
from .errors import ApiError, denied, not_found
from .resources import CONTAINER_REQUESTS, CONTAINERS, TOKENS, Record

READABLE = (
    "uuid IN (SELECT container_uuid FROM container_requests WHERE owner_uuid = ?)"
    " OR (auth_uuid = ? AND state IN ('Locked', 'Running'))"
)


def readable(act: Act) -> tuple[str, list[Any]]:
    """The SQL condition of the containers that the caller may see, and its parameters."""
    if act.caller.is_admin:
        return "1", []
    return f"({READABLE})", [act.caller.user_uuid, act.caller.token_uuid]


def find(act: Act, uuid: str) -> Record:
    """The container, if the caller may see it. Raises ApiError 404."""
    where, parameters = readable(act)
    found = act.transaction.find(CONTAINERS, f"uuid = ? AND {where}", [uuid, *parameters], limit=1)
    if not found:
        raise not_found()
    return found[0]


def create(act: Act, sent: Record) -> Record:
    """A container made by hand, by an administrator."""
    if not act.caller.is_admin:
        raise denied()
    record = CONTAINERS.blank() | cast.changes(CONTAINERS, sent)
    if reasons := rules.created(record):
        raise ApiError(422, reasons)
    system = act.settings.system_user_uuid
    return act.insert(CONTAINERS, record, by=system, owner=system)


def update(act: Act, uuid: str, sent: Record) -> Record:
    old = find(act, uuid)
    wanted = cast.changes(CONTAINERS, sent)
    new = rules.updated(old, wanted, act.caller, act.now, act.settings.max_dispatch_attempts)
    return _save(act, old, new)


def lock(act: Act, uuid: str) -> Record:
    old = _find_for_dispatcher(act, uuid)
    rules.check_lock(old)
    return _save(act, old, rules.locked(old, act.caller))


def unlock(act: Act, uuid: str) -> Record:
    old = _find_for_dispatcher(act, uuid)
    rules.check_unlock(old, act.caller)
    return _save(act, old, rules.unlocked(old, act.settings.max_dispatch_attempts))


def _find_for_dispatcher(act: Act, uuid: str) -> Record:
    container = find(act, uuid)
    if not act.caller.is_admin:
        raise denied()
    return container


def _save(act: Act, old: Record, new: Record) -> Record:
    if old["state"] == rules.QUEUED and new["state"] == rules.LOCKED and not new["runtime_token"]:
        new = {**new, "auth_uuid": _container_token(act, new)["uuid"]}
    saved = act.save_container(old, new, by=act.caller.user_uuid)
    outcomes.settle(act, old, saved)
    return saved


def _container_token(act: Act, container: Record) -> Record:
    """The token that the container will use: of the user who asked for it."""
    asked = outcomes.committed_requests(act, container["uuid"])
    owner = container["runtime_user_uuid"] or (asked[0]["owner_uuid"] if asked else act.caller.user_uuid)
    return act.new_token(owner, container["runtime_auth_scopes"] or ["all"])


def delete(act: Act, uuid: str) -> Record:
    container = _find_for_dispatcher(act, uuid)
    act.end_token(container["auth_uuid"])
    act.transaction.delete(CONTAINERS, uuid)
    return container


def update_priority(act: Act, uuid: str) -> Record:
    priority.refresh(act.transaction, find(act, uuid)["uuid"])
    return find(act, uuid)


def auth(act: Act, uuid: str) -> Record:
    """The token that the container uses, for the holder of the lock only."""
    container = find(act, uuid)
    if container["locked_by_uuid"] != act.caller.token_uuid:
        raise denied("Not locked by your token")
    token_uuid = container["auth_uuid"] or token_uuid_of(container["runtime_token"])
    token = act.transaction.get(TOKENS, token_uuid or "")
    if token is None:
        raise not_found()
    return token


def token_uuid_of(token: str | None) -> str | None:
    """The uuid inside a token of the form ``v2/UUID/SECRET``."""
    parts = (token or "").split("/")
    return parts[1] if len(parts) >= 3 and parts[0] == "v2" else None


def secret_mounts(act: Act, uuid: str) -> Record:
    container = find(act, uuid)
    if not act.caller.is_inside(container) or container["state"] not in rules.HELD:
        raise ApiError(403, "Token is not associated with this container.")
    return {"secret_mounts": container["secret_mounts"]}


def current(act: Act) -> Record:
    """The container to which the caller's token belongs."""
    container = act.transaction.get(CONTAINERS, act.caller.container_uuid or "")
    if container is None:
        raise ApiError(404, "Token is not associated with a container.")
    return container


def status_of_request(act: Act, request_uuid: str) -> Record:
    """In one word and one sentence, how far a request's container is."""
    where, parameters = "uuid = ?", [request_uuid]
    request = next(iter(act.transaction.find(CONTAINER_REQUESTS, where, parameters, limit=1)), None)
    if request is None:
        raise not_found()
    container = act.transaction.get(CONTAINERS, request["container_uuid"] or "")
    if container is None:
        return {"container_state": "", "scheduling_status": "No container is assigned.", "uuid": ""}
    waits = container["state"] in (rules.QUEUED, rules.LOCKED)
    return {
        "container_state": container["state"],
        "scheduling_status": "Waiting in queue." if waits else "",
        "uuid": container["uuid"],
    }
