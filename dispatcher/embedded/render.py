"""Answers, in the two dialects of the real server.

The paths of containers answer with every attribute as it is stored; the other paths answer with sorted keys and, for most empty
texts and numbers, ``""`` and ``0`` in place of null.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from . import normalise
from .errors import ApiError
from .resources import CONTAINER_REQUESTS, TOKENS, USERS, Record, Resource
from .values import etag, status_text

LOCK_ANSWER = ("uuid", "locked_by_uuid", "priority", "state", "auth_uuid")
_NULLABLE = frozenset(
    {"container_uuid", "requesting_container_uuid", "output_uuid", "log_uuid", "output_name", "description", "filters"}
)


def visible(resource: Resource, record: Record) -> Record:
    return {each.name: record[each.name] for each in resource if not each.hidden and each.name in record}


def rails(resource: Resource, record: Record, select: Sequence[str] | None = None, *, in_list: bool = False) -> Record:
    """A record as the paths of containers show it. ``kind`` is in every item of a list, selected or not."""
    shown = visible(resource, record)
    if select is None:
        return {"kind": resource.kind, "etag": etag(shown), **shown}
    extra: Record = {"kind": resource.kind} if in_list or "kind" in select else {}
    if "etag" in select:
        extra["etag"] = etag(shown)
    return extra | {name: shown[name] for name in select if name in shown}


def router(resource: Resource, record: Record, select: Sequence[str] | None = None) -> Record:
    """A record as all other paths show it: ``etag`` and ``kind`` always, an empty ``etag`` unless everything is shown."""
    shown = _SHAPES[resource.name](visible(resource, record))
    shown["kind"] = resource.kind
    shown["etag"] = etag(shown) if select is None or "etag" in select else ""
    kept = set(shown) if select is None else {*select, "kind", "etag"}
    return {name: _without_null(name, shown[name], resource) for name in sorted(kept & set(shown))}


def _without_null(name: str, value: Any, resource: Resource) -> Any:
    attribute = resource.attribute(name)
    if attribute is None or value is not None or name in _NULLABLE or attribute.type == "datetime":
        return value
    return 0 if attribute.type in ("integer", "float") else ""


def _request(record: Record) -> Record:
    result = normalise.read(record)
    if "mounts" in result:
        result["mounts"] = {path: normalise.mount(each) for path, each in sorted(result["mounts"].items())}
    if "runtime_constraints" in result:
        result["runtime_constraints"].pop("cuda", None)
    if result.get("cumulative_cost") is not None and float(result["cumulative_cost"]).is_integer():
        result["cumulative_cost"] = int(result["cumulative_cost"])
    return result | {"runtime_token": ""}


def _user(record: Record) -> Record:
    names = [record.get("first_name") or "", record.get("last_name") or ""]
    derived: Record = {"full_name": " ".join(filter(None, names)), "is_invited": True}
    derived |= {"can_write": True, "can_manage": True, "writable_by": [record.get("owner_uuid"), record.get("uuid")]}
    return {**record, **derived}


def _token(record: Record) -> Record:
    return dict(record)


_SHAPES = {CONTAINER_REQUESTS.name: _request, USERS.name: _user, TOKENS.name: _token}


def listed(resource: Resource, items: list[Record], limit: int, offset: int, available: int | None) -> Record:
    """A page of a list. ``available`` is None when nobody asked for the count."""
    answer: Record = {"kind": f"{resource.kind}List"}
    if resource.dialect == "rails":
        answer |= {"etag": "", "self_link": ""}
    answer |= {"offset": offset, "limit": limit, "items": items}
    return answer if available is None else answer | {"items_available": available}


def refused(error: ApiError, dialect: str, path: str, request_id: str) -> Record:
    """The body of a refused call."""
    if error.bare:
        return {"errors": error.messages}
    texts = [f"{text} ({request_id})" for text in error.messages]
    if dialect == "rails":
        return {"errors": texts, "error_token": f"{int(time.time())}+{secrets.token_hex(4)}"}
    return {"errors": [f"//railsapi.internal{path}: {status_text(error.status)}: {'; '.join(texts)}"]}
