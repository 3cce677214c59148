"""The table of actions: which path does what, and whether it writes.

Each action takes the act, the resource, the uuid of the path and the form, and returns the body of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import cast, containers, listing, render, requests
from .act import Act
from .errors import ApiError, denied, foreign_cluster, not_found
from .forms import Form, attributes
from .resources import CONTAINER_REQUESTS, CONTAINERS, TOKENS, USERS, Record, Resource
from .values import UUID_PATTERN

Run = Callable[[Act, Resource, str, Form], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that can be asked for. Reads run beside each other, writes one after the other."""

    run: Run
    writes: bool = False


def _selected(resource: Resource, record: Record, form: Form) -> Record:
    """One record as its path shows it, cut to the selection."""
    select = listing.selection(resource, form.values.get("select"))
    shape = render.rails if resource.dialect == "rails" else render.router
    return shape(resource, record, select)


# -------------------------------------------------------------------------------------------------------------- lists


def _list(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    _check_list_parameters(act, resource, form)
    query = listing.understood(resource, form.values)
    visible, parameters = _readable(act, resource)
    where, values = f"{visible} AND {query.where}", [*parameters, *query.parameters]
    items = [] if not query.limit else _page(act, resource, query, where, values)
    available = act.transaction.count(resource, where, values) if query.counts else None
    return render.listed(resource, items, query.limit, query.offset, available)


def _page(act: Act, resource: Resource, query: listing.Query, where: str, values: list[Any]) -> list[Record]:
    whole = query.select is None or "etag" in query.select
    columns = None if whole else [name for name in query.select or () if resource.attribute(name)]
    limits = {} if query.distinct else {"limit": query.limit, "offset": query.offset}
    found = act.transaction.find(resource, where, values, order=query.order, columns=columns, **limits)
    if resource.dialect == "rails":
        items = [render.rails(resource, each, query.select, in_list=True) for each in found]
    else:
        items = [render.router(resource, each, query.select) for each in found]
    return _distinct(items)[query.offset :][: query.limit] if query.distinct else items


def _distinct(items: list[Record]) -> list[Record]:
    return list({json.dumps(each, sort_keys=True): each for each in items}.values())


def _readable(act: Act, resource: Resource) -> tuple[str, list[Any]]:
    if resource is CONTAINERS:
        return containers.readable(act)
    if resource is CONTAINER_REQUESTS:
        return requests.readable(act)
    if act.caller.is_admin:
        return "1", []
    return ("uuid = ?" if resource is USERS else "owner_uuid = ?"), [act.caller.user_uuid]


def _check_list_parameters(act: Act, resource: Resource, form: Form) -> None:
    """What the real server's front door refuses by itself, before the list is understood."""
    given = form.values.get("filters")
    if resource.dialect == "router":
        _check_router_list(form, given)
    elif isinstance(given, str) and given:
        _check_rails_filters(act, _parsed_filters(given))


def _parsed_filters(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ApiError(400, f"invalid character '{text[:1]}' looking for beginning of value", bare=True) from None


def _check_rails_filters(act: Act, filters: Any) -> None:
    kinds = {dict: "object", str: "string", bool: "bool", int: "number", float: "number"}
    if type(filters) in kinds:
        kind = kinds[type(filters)]
        raise ApiError(400, f"json: cannot unmarshal {kind} into Go value of type [][]interface {{}}", bare=True)
    for each in filters or ():
        if type(each) in kinds:
            kind = kinds[type(each)]
            raise ApiError(400, f"json: cannot unmarshal {kind} into Go value of type []interface {{}}", bare=True)
        _check_clusters(act, each)


def _check_clusters(act: Act, each: list[Any]) -> None:
    own = f"{act.settings.cluster_id}-"
    operands = each[2] if len(each) == 3 and each[0] == "uuid" and isinstance(each[2], list) else []
    for uuid in operands:
        if isinstance(uuid, str) and UUID_PATTERN.fullmatch(uuid) and not uuid.startswith(own):
            raise foreign_cluster(uuid[:5], 502)


def _check_router_list(form: Form, filters: Any) -> None:
    if isinstance(filters, str) and filters:
        try:
            parsed = json.loads(filters)
        except ValueError:
            parsed = filters
        if not isinstance(parsed, list):
            kind = "object" if isinstance(parsed, dict) else "string"
            text = f"transcode: json: cannot unmarshal {kind} into Go struct field ListOptions.filters of type []arvados.Filter"
            raise ApiError(500, text, bare=True)
    for name in ("limit", "offset"):
        text = str(form.values.get(name, "0")).strip()
        if not text.removeprefix("-").isdigit():
            raise ApiError(500, f'strconv.ParseInt: parsing "{text}": invalid syntax', bare=True)
        if text.startswith("-"):
            reason = f"GET //railsapi.internal giving up after 1 attempt(s): {name}={text}: context canceled"
            raise ApiError(500, reason, bare=True)


# --------------------------------------------------------------------------------------------------------- containers


def _lock_answer(record: Record) -> Record:
    return {name: record[name] for name in render.LOCK_ANSWER}


def _create_container(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, containers.create(act, attributes(resource, form)), form)


def _get_container(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, containers.find(act, uuid), form)


def _update_container(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, containers.update(act, uuid, attributes(resource, form)), form)


def _delete_container(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return render.rails(resource, containers.delete(act, uuid))


def _lock(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _lock_answer(containers.lock(act, uuid))


def _unlock(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _lock_answer(containers.unlock(act, uuid))


def _update_priority(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return render.rails(resource, containers.update_priority(act, uuid))


def _auth(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return render.rails(TOKENS, containers.auth(act, uuid))


def _secret_mounts(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return containers.secret_mounts(act, uuid)


def _current_container(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, containers.current(act), form)


# ----------------------------------------------------------------------------------------------------------- requests


def _create_request(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, requests.create(act, attributes(resource, form)), form)


def _get_request(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, requests.find(act, uuid), form)


def _update_request(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, requests.update(act, uuid, attributes(resource, form)), form)


def _delete_request(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return render.router(resource, requests.delete(act, uuid))


def _container_status(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    requests.find(act, uuid)
    return {"kind": "arvados#containerStatus", **containers.status_of_request(act, uuid)}


# --------------------------------------------------------------------------------------------------- users and tokens


def _get_plain(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, _find_plain(act, resource, uuid), form)


def _find_plain(act: Act, resource: Resource, uuid: str) -> Record:
    where, parameters = _readable(act, resource)
    found = act.transaction.find(resource, f"uuid = ? AND {where}", [uuid, *parameters], limit=1)
    if not found:
        raise not_found()
    return found[0]


def _current_user(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, act.caller.user, form)


def _current_token(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    return _selected(resource, {**act.caller.token, "created_at": None}, form)


def _create_token(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    record = resource.blank() | cast.changes(resource, attributes(resource, form))
    owner = record["owner_uuid"] or act.caller.user_uuid
    if not act.caller.is_active or (owner != act.caller.user_uuid and not act.caller.is_admin):
        raise denied()
    token = act.new_token(owner, record["scopes"])
    if record["expires_at"]:
        act.transaction.update(TOKENS, token["uuid"], {"expires_at": record["expires_at"]})
        token["expires_at"] = record["expires_at"]
    return _selected(resource, token, form)


def _delete_token(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    token = _find_plain(act, resource, uuid)
    act.transaction.delete(resource, uuid)
    return render.router(resource, token)


def _create_user(act: Act, resource: Resource, uuid: str, form: Form) -> Any:
    if not act.caller.is_admin:
        raise denied()
    record = resource.blank() | cast.changes(resource, attributes(resource, form))
    act.insert(resource, record, by=act.caller.user_uuid, owner=act.settings.system_user_uuid)
    return _selected(resource, record, form)


_CONTAINER_ACTIONS: dict[str, Action] = {
    "list": Action(run=_list),
    "create": Action(run=_create_container, writes=True),
    "get": Action(run=_get_container),
    "update": Action(run=_update_container, writes=True),
    "delete": Action(run=_delete_container, writes=True),
    "POST lock": Action(run=_lock, writes=True),
    "POST unlock": Action(run=_unlock, writes=True),
    "POST update_priority": Action(run=_update_priority, writes=True),
    "GET auth": Action(run=_auth),
    "GET secret_mounts": Action(run=_secret_mounts),
    "GET current": Action(run=_current_container),
}
_REQUEST_ACTIONS: dict[str, Action] = {
    "list": Action(run=_list),
    "create": Action(run=_create_request, writes=True),
    "get": Action(run=_get_request),
    "update": Action(run=_update_request, writes=True),
    "delete": Action(run=_delete_request, writes=True),
    "GET container_status": Action(run=_container_status),
}
_USER_ACTIONS: dict[str, Action] = {
    "list": Action(run=_list),
    "create": Action(run=_create_user, writes=True),
    "get": Action(run=_get_plain),
    "GET current": Action(run=_current_user),
}
_TOKEN_ACTIONS: dict[str, Action] = {
    "list": Action(run=_list),
    "create": Action(run=_create_token, writes=True),
    "get": Action(run=_get_plain),
    "delete": Action(run=_delete_token, writes=True),
    "GET current": Action(run=_current_token),
}
ACTIONS: dict[tuple[str, str], Action] = {
    (resource.name, name): action
    for resource, table in (
        (CONTAINERS, _CONTAINER_ACTIONS),
        (CONTAINER_REQUESTS, _REQUEST_ACTIONS),
        (USERS, _USER_ACTIONS),
        (TOKENS, _TOKEN_ACTIONS),
    )
    for name, action in table.items()
}
