"""What can be done with a container request: ask, commit, change, cancel, delete.

Committing makes the container within the same transaction, so a committed request always has one.
"""

from __future__ import annotations

from typing import Any

from . import cast, normalise, outcomes, priority, request_rules, rules
from .act import Act
from .containers import token_uuid_of
from .errors import ApiError, denied, not_found, raised
from .request_rules import COMMITTED, FINAL
from .resources import CONTAINER_REQUESTS, CONTAINERS, TOKENS, Record

_SAME_WORK = (
    "command",
    "cwd",
    "environment",
    "output_path",
    "output_glob",
    "container_image",
    "mounts",
    "runtime_constraints",
    "secret_mounts",
    "runtime_user_uuid",
    "runtime_auth_scopes",
)


def readable(act: Act) -> tuple[str, list[Any]]:
    """The SQL condition of the requests that the caller may see, and its parameters."""
    return ("1", []) if act.caller.is_admin else ("owner_uuid = ?", [act.caller.user_uuid])


def find(act: Act, uuid: str) -> Record:
    where, parameters = readable(act)
    found = act.transaction.find(CONTAINER_REQUESTS, f"uuid = ? AND {where}", [uuid, *parameters], limit=1)
    if not found:
        raise not_found()
    return found[0]


def create(act: Act, sent: Record) -> Record:
    wanted = cast.changes(CONTAINER_REQUESTS, sent)
    request = CONTAINER_REQUESTS.blank() | {"container_count_max": act.settings.max_retry_attempts}
    request |= {name: value for name, value in wanted.items() if value is not None}
    request |= {"requesting_container_uuid": None, "container_count": 0, "cumulative_cost": 0.0, "container_uuid": None}
    owner = request["owner_uuid"] or act.caller.user_uuid
    _inherit(act, request)
    _check_new(act, request)
    _check_owner(act, owner)
    act.insert(CONTAINER_REQUESTS, request, by=act.caller.user_uuid, owner=owner)
    return _commit(act, request) if request["state"] == COMMITTED else request


def _inherit(act: Act, request: Record) -> None:
    """A request made from inside a container is as urgent as that container's own."""
    if normalise.is_supervisor(request["command"]):
        request["scheduling_parameters"] = {**request["scheduling_parameters"], "supervisor": True}
    parent = act.caller.container_uuid
    if parent and act.transaction.get(CONTAINERS, parent):
        request["requesting_container_uuid"] = parent
        own = [each["priority"] for each in outcomes.committed_requests(act, parent)]
        request["priority"] = max(own, default=0)


def _check_new(act: Act, request: Record) -> None:
    if request["state"] == COMMITTED:
        _check_resolvable(act, request)
    reasons = request_rules.problems(None, request) + _image_problems(act, {}, request["runtime_constraints"])
    if reasons:
        raise ApiError(422, reasons)
    if request["runtime_token"] and _token_of(act, request) is None:
        raise ApiError(422, "Runtime token failed validation")


def _image_problems(act: Act, old: Record, new: Record) -> list[str]:
    return request_rules.image_problems(old.get("image_id"), new.get("image_id"), act.caller.is_admin)


def _check_resolvable(act: Act, request: Record) -> None:
    """An inactive user can read no image; nobody can read a collection, since there are none."""
    if not act.caller.is_active:
        raise _unresolvable(f'docker image "{request["container_image"]}" not found')
    mounts = [each for each in request["mounts"].values() if isinstance(each, dict)]
    for uuid in request_rules.unknown_collections(mounts):
        raise _unresolvable(f'cannot mount collection "{uuid}": not found')


def _unresolvable(text: str) -> ApiError:
    return raised("ArvadosModel::UnresolvableContainerError", text)


def _check_owner(act: Act, owner: str) -> None:
    if not act.caller.is_active or (owner != act.caller.user_uuid and not act.caller.is_admin):
        raise denied()


def _token_of(act: Act, request: Record) -> Record | None:
    return act.transaction.get(TOKENS, token_uuid_of(request["runtime_token"]) or "")


def _commit(act: Act, request: Record) -> Record:
    """Give the request its container: an equal one that may be shared, or a new one."""
    wanted = normalise.container_of(request) | _rights(act, request)
    container = _equal_container(act, wanted) if request["use_existing"] else None
    if container is None:
        system = act.settings.system_user_uuid
        container = act.insert(CONTAINERS, wanted, by=system, owner=system)
    changed = {"container_uuid": container["uuid"], "container_count": 1}
    saved = act.save_request(request, {**request, **changed}, by=act.caller.user_uuid)
    if container["state"] in rules.FINAL:
        return outcomes.finalise(act, saved, container)
    priority.refresh(act.transaction, container["uuid"])
    return saved


def _rights(act: Act, request: Record) -> Record:
    token = _token_of(act, request) if request["runtime_token"] else None
    if token:
        return {"runtime_user_uuid": token["owner_uuid"], "runtime_auth_scopes": token["scopes"]}
    return {"runtime_user_uuid": act.caller.user_uuid, "runtime_auth_scopes": ["all"]}


def _equal_container(act: Act, wanted: Record) -> Record | None:
    """A container that does the same work for the same user, the one that is furthest."""
    where = (
        "cwd = ? AND output_path = ? AND container_image = ? AND runtime_user_uuid = ? AND (state IN ('Queued', 'Locked',"
        " 'Running') OR (state = 'Complete' AND exit_code = 0 AND output IS NOT NULL AND log IS NOT NULL))"
    )
    parameters = [wanted[name] for name in ("cwd", "output_path", "container_image", "runtime_user_uuid")]
    order = "instr('Queued Locked Running Complete', state) DESC, priority DESC, id"
    candidates = act.transaction.find(CONTAINERS, where, parameters, order=order, limit=1000)
    return next((each for each in candidates if _is_same_work(each, wanted)), None)


def _is_same_work(container: Record, wanted: Record) -> bool:
    return "error" not in container["runtime_status"] and all(container[name] == wanted[name] for name in _SAME_WORK)


def update(act: Act, uuid: str, sent: Record) -> Record:
    old = find(act, uuid)
    _check_owner(act, old["owner_uuid"])
    new = normalise_change(old, cast.changes(CONTAINER_REQUESTS, sent))
    _check_change(act, old, new)
    saved = act.save_request(old, new, by=act.caller.user_uuid)
    if old["state"] != COMMITTED and saved["state"] == COMMITTED:
        return _commit(act, saved)
    return _after_change(act, old, saved)


def normalise_change(old: Record, wanted: Record) -> Record:
    """The new record; nested keys are compared as they are read, defaults filled in."""
    shown = normalise.read({**old, **wanted})
    known = normalise.read(old)
    same = {name: old[name] for name in ("runtime_constraints", "scheduling_parameters") if shown[name] == known[name]}
    return {**old, **wanted, **same}


def _check_change(act: Act, old: Record, new: Record) -> None:
    if new["state"] == COMMITTED and old["state"] != COMMITTED:
        _check_resolvable(act, new)
    reasons = request_rules.problems(old["state"], new)
    reasons += _image_problems(act, old["runtime_constraints"], new["runtime_constraints"])
    reasons += request_rules.change_problems(normalise.read(old), normalise.read(new))
    if reasons:
        raise ApiError(422, reasons)


def _after_change(act: Act, old: Record, new: Record) -> Record:
    """What follows from the change of a committed request: it may have lost its container, or its urgency."""
    if new["state"] == COMMITTED and old["container_uuid"] and not new["container_uuid"]:
        new = act.save_request(new, {**new, "container_count": new["container_count"] + 1}, by=act.caller.user_uuid)
    has_container = act.transaction.get(CONTAINERS, new["container_uuid"] or "") is not None
    if new["state"] == COMMITTED and not has_container:
        new = act.save_request(new, {**new, "state": FINAL}, by=act.caller.user_uuid)
    priority.refresh(act.transaction, old["container_uuid"])
    return new


def delete(act: Act, uuid: str) -> Record:
    request = find(act, uuid)
    _check_owner(act, request["owner_uuid"])
    act.transaction.delete(CONTAINER_REQUESTS, uuid)
    priority.refresh(act.transaction, request["container_uuid"])
    return request
