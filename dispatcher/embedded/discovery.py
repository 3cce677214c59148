"""The discovery document, made from the table of resources and the table of actions.

Clients that read it, the Arvados Python client among them, find every call that this queue answers and none that it does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import actions, forms, listing
from .act import Settings
from .resources import RESOURCES, Record, Resource

PATH = "/discovery/v1/apis/arvados/v1/rest"
_WRITE_SCOPE = "https://api.arvados.org/auth/arvados"
_READ_SCOPE = "https://api.arvados.org/auth/arvados.readonly"
_LONE = frozenset({"current"})


def _parameter(kind: str, text: str, default: str | None = None) -> Record:
    extra = {} if default is None else {"default": default}
    return {"type": kind, "required": False, "description": text, "location": "query", **extra}


_SELECT = {"select": _parameter("array", "Names of the attributes to return.")}
_LIST = {
    "filters": _parameter("array", "Conditions of the form [attribute, operator, operand]; all must hold."),
    "where": _parameter("object", "Attributes and the values that they must have."),
    "order": _parameter("array", "Attributes to sort by, each with an optional direction."),
    **_SELECT,
    "distinct": _parameter("boolean", "Return equal items once.", "false"),
    "limit": _parameter("integer", "How many items to return at most.", str(listing.LIMIT_DEFAULT)),
    "offset": _parameter("integer", "How many items to leave out at the beginning.", "0"),
    "count": _parameter("string", "Whether items_available is counted: exact or none.", "exact"),
    "cluster_id": _parameter("string", "Accepted and ignored: there is one cluster."),
    "bypass_federation": _parameter("boolean", "Accepted from administrators: there is one cluster.", "false"),
}
_CREATE = {
    **_SELECT,
    "ensure_unique_name": _parameter("boolean", "Accepted and ignored.", "false"),
    "cluster_id": _parameter("string", "Accepted and ignored: there is one cluster."),
}
_PLAIN: dict[str, tuple[str, dict[str, Record], str]] = {
    "list": ("GET", _LIST, "A list of {model} records."),
    "create": ("POST", _CREATE, "Make a new {model}."),
    "get": ("GET", _SELECT, "One {model}."),
    "update": ("PUT", _SELECT, "Change the attributes of a {model}."),
    "delete": ("DELETE", {}, "Delete a {model}."),
}


def document(root_url: str, settings: Settings) -> Record:
    """The whole document. ``root_url`` is the address at which the client asked."""
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "arvados:v1",
        "name": "arvados",
        "version": "v1",
        "revision": "20250402",
        "title": "Arvados API",
        "description": "The part of the Arvados API that the embedded queue of Cloud Dispatcher answers.",
        "documentationLink": "https://doc.arvados.org/api/index.html",
        "generatedAt": "2025-04-02T00:00:00Z",
        "protocol": "rest",
        **_addresses(root_url),
        **_limits(settings),
        "parameters": {"alt": {"type": "string", "default": "json", "enum": ["json"], "location": "query"}},
        "auth": {"oauth2": {"scopes": {_WRITE_SCOPE: {"description": "Everything"}, _READ_SCOPE: {"description": "Reading"}}}},
        "schemas": dict(_schemas()),
        "resources": {each.name: {"methods": dict(_methods(each))} for each in RESOURCES.values()},
    }


def _addresses(root_url: str) -> Record:
    return {
        "baseUrl": f"{root_url}arvados/v1/",
        "basePath": "/arvados/v1/",
        "rootUrl": root_url,
        "servicePath": "arvados/v1/",
        "batchPath": "batch",
        "websocketUrl": "",
        "workbenchUrl": "",
        "workbench2Url": "",
        "keepWebServiceUrl": "",
    }


def _limits(settings: Settings) -> Record:
    return {
        "uuidPrefix": settings.cluster_id,
        "source_version": "unknown",
        "sourceVersion": "unknown",
        "packageVersion": "unknown",
        "defaultCollectionReplication": 2,
        "defaultTrashLifetime": 0,
        "blobSignatureTtl": 0,
        "maxRequestSize": forms.BODY_GREATEST_BYTES,
        "maxItemsPerResponse": listing.LIMIT_GREATEST,
        "dockerImageFormats": ["v2"],
        "crunchLogUpdatePeriod": 0,
        "crunchLogUpdateSize": 0,
        "remoteHosts": {},
        "remoteHostsViaDNS": False,
    }


def _schemas() -> Iterable[tuple[str, Record]]:
    for resource in RESOURCES.values():
        yield f"{resource.model}List", _list_schema(resource)
        yield resource.model, _schema(resource)


def _schema(resource: Resource) -> Record:
    properties = {"etag": {"type": "string", "description": "Different when the content is different."}}
    properties |= {each.name: {"type": each.type, "description": each.description} for each in resource if not each.hidden}
    return {
        "id": resource.model,
        "description": resource.description,
        "type": "object",
        "uuidPrefix": resource.infix,
        "properties": properties,
    }


def _list_schema(resource: Resource) -> Record:
    kind = f"{resource.kind}List"
    return {
        "id": f"{resource.model}List",
        "description": f"A list of {resource.model} records.",
        "type": "object",
        "properties": {
            "kind": {"type": "string", "description": f"Always {kind}.", "default": kind},
            "etag": {"type": "string", "description": "Empty."},
            "items": {"type": "array", "description": "The records.", "items": {"$ref": resource.model}},
        },
    }


def _methods(resource: Resource) -> Iterable[tuple[str, Record]]:
    for owner, name in actions.ACTIONS:
        if owner == resource.name:
            verb, _, member = name.partition(" ")
            yield (member, _member_method(resource, verb, member)) if member else (name, _plain_method(resource, name))


def _plain_method(resource: Resource, name: str) -> Record:
    verb, parameters, text = _PLAIN[name]
    has_uuid = name not in ("list", "create")
    schema = f"{resource.model}List" if name == "list" else resource.model
    method = _method(resource, name, verb, has_uuid, schema, text.format(model=resource.model))
    method["parameters"].update(parameters)
    if name in ("create", "update"):
        method["request"] = {"required": True, "properties": {resource.singular: {"$ref": resource.model}}}
    return method


def _member_method(resource: Resource, verb: str, member: str) -> Record:
    has_uuid = member not in _LONE
    return _method(resource, member, verb, has_uuid, resource.model, f"{member.replace('_', ' ').capitalize()}.")


def _method(resource: Resource, name: str, verb: str, has_uuid: bool, schema: str, text: str) -> dict[str, Any]:
    path = resource.name + ("/{uuid}" if has_uuid else "")
    if name not in _PLAIN:
        path = f"{path}/{name}"
    uuid = {"type": "string", "description": f"The uuid of the {resource.model}.", "required": True, "location": "path"}
    return {
        "id": f"arvados.{resource.name}.{name}",
        "path": path,
        "httpMethod": verb,
        "description": text,
        "parameters": {"uuid": uuid} if has_uuid else {},
        "response": {"$ref": schema},
        "scopes": [_WRITE_SCOPE, _READ_SCOPE] if verb == "GET" else [_WRITE_SCOPE],
    }
