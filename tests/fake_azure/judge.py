"""Judges every request as Azure would, and remembers what was wrong: route, api-version, query, headers, body.

A violation is a bug of the client. The fake answers it with 400, and a test asserts in the end that there was none.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fake_azure import microsoft, rules, table
from tests.fake_azure.sdk_models import sdk_shape
from tests.fake_azure.shapes import Shape, mismatches

MAX_VIOLATIONS = 1000
COMPUTE_VERSIONS = ("2024-03-01", "2024-07-01", "2024-11-01", "2025-04-01")
DISK_VERSIONS = ("2023-10-02", "2024-03-02")
NETWORK_VERSIONS = ("2023-11-01", "2024-01-01", "2024-03-01", "2024-05-01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of the service: its route, the versions that serve it, its queries (a pattern for the value of each) and body."""

    name: str
    method: str
    path: str  # below /subscriptions/{subscription}; {group}, {location} and {name} stand for one segment
    versions: tuple[str, ...]
    queries: Mapping[str, str] = field(default_factory=dict)
    body: Shape | None = None
    model: str = ""  # of the SDK, and of Microsoft's description

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile("/" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path), re.IGNORECASE)


_GROUP = "resourceGroups/{group}/providers"
_VMS = f"{_GROUP}/Microsoft.Compute/virtualMachines"
_ACTS = ("start", "restart", "powerOff", "deallocate", "redeploy", "simulateEviction")
_RUNNING = "(operations|DiskOperations)"
_FORCE = {"forceDeletion": "true|false"}
_EXPAND = {"$expand": "instanceView|userData"}
_PAGE = {"$skiptoken": ".+"}


def _network(kind: str, singular: str, plural: str) -> Iterator[Operation]:
    base = f"{_GROUP}/Microsoft.Network/{kind}"
    everywhere = f"providers/Microsoft.Network/{kind}"
    yield Operation(name=f"list {plural}", method="GET", path=base, versions=NETWORK_VERSIONS, queries=_PAGE)
    yield Operation(name=f"list all {plural}", method="GET", path=everywhere, versions=NETWORK_VERSIONS, queries=_PAGE)
    for method, verb in (("GET", "get"), ("DELETE", "delete")):
        yield Operation(name=f"{verb} {singular}", method=method, path=f"{base}/{{name}}", versions=NETWORK_VERSIONS)


def _disks() -> Iterator[Operation]:
    base = f"{_GROUP}/Microsoft.Compute/disks"
    yield Operation(name="list disks", method="GET", path=base, versions=DISK_VERSIONS, queries=_PAGE)
    everywhere = "providers/Microsoft.Compute/disks"
    yield Operation(name="list all disks", method="GET", path=everywhere, versions=DISK_VERSIONS, queries=_PAGE)
    for method, verb in (("GET", "get"), ("DELETE", "delete")):
        yield Operation(name=f"{verb} disk", method=method, path=f"{base}/{{name}}", versions=DISK_VERSIONS)


def _machines() -> Iterator[Operation]:
    """Reads, writes and acts on machines."""

    def machine(name: str, method: str, path: str, queries: Mapping[str, str] | None = None, **more: Any) -> Operation:
        return Operation(name=name, method=method, path=path, versions=COMPUTE_VERSIONS, queries=queries or {}, **more)

    yield machine("create vm", "PUT", f"{_VMS}/{{name}}", body=table.CREATE, model="VirtualMachine")
    yield machine("update vm", "PATCH", f"{_VMS}/{{name}}", body=table.UPDATE, model="VirtualMachineUpdate")
    yield machine("get vm", "GET", f"{_VMS}/{{name}}", _EXPAND)
    yield machine("view vm", "GET", f"{_VMS}/{{name}}/instanceView")
    yield machine("delete vm", "DELETE", f"{_VMS}/{{name}}", _FORCE)
    yield machine("list vms", "GET", _VMS, {**_PAGE, "$filter": ".+", "$expand": "instanceView"})
    every = {**_PAGE, "$filter": ".+", "$expand": "instanceView", "statusOnly": "true|false"}
    yield machine("list all vms", "GET", "providers/Microsoft.Compute/virtualMachines", every)
    for act in _ACTS:
        yield machine(f"{act} vm", "POST", f"{_VMS}/{{name}}/{act}", {"skipShutdown": "true|false", "hibernate": "true|false"})
    place = "providers/Microsoft.Compute/locations/{location}"
    yield machine("list usages", "GET", f"{place}/usages")
    yield machine("list vms of a location", "GET", f"{place}/virtualMachines", _PAGE)
    yield machine("get image", "GET", f"{_GROUP}/Microsoft.Compute/images/{{name}}", {"$expand": ".+"})
    asked = {"p": ".+", "monitor": "true", "t": ".+", "c": ".+"}
    versions = (*COMPUTE_VERSIONS, *DISK_VERSIONS, *NETWORK_VERSIONS)
    for provider in ("Compute", "Network"):
        path = f"providers/Microsoft.{provider}/locations/{{location}}/{_RUNNING}/{{name}}"
        yield Operation(name="get operation", method="GET", path=path, versions=versions, queries=asked)


def _others() -> Iterator[Operation]:
    gallery = f"{_GROUP}/Microsoft.Compute/galleries/{{gallery}}/images/{{image}}/versions/{{name}}"
    galleries = ("2023-07-03", "2024-03-03")
    yield Operation(name="get gallery version", method="GET", path=gallery, versions=galleries, queries={"$expand": ".+"})
    skus = {"$filter": r"location eq '[a-z0-9]+'", "includeExtendedLocations": "true|false", **_PAGE}
    yield Operation(
        name="list skus", method="GET", path="providers/Microsoft.Compute/skus", versions=("2021-07-01",), queries=skus
    )
    tags = f"{_VMS}/{{name}}/providers/Microsoft.Resources/tags/default"
    versions = ("2021-04-01", "2022-09-01")
    yield Operation(name="merge tags", method="PATCH", path=tags, versions=versions, body=table.MERGE_TAGS)
    yield Operation(name="get group", method="GET", path="resourceGroups/{name}", versions=versions)


OPERATIONS: tuple[Operation, ...] = (
    *_machines(),
    *_network("networkInterfaces", "network card", "network cards"),
    *_network("publicIPAddresses", "address", "addresses"),
    *_disks(),
    *_others(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call as it came in, without the subscription: ``path`` begins behind it. Names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True, slots=True)
class Violation:
    """What a client did wrong, and in which operation."""

    operation: str
    text: str


def find_operation(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """The operation and the parts of its path; None when the service has no such route."""
    for operation in OPERATIONS:
        found = operation.pattern.fullmatch(path) if operation.method == method else None
        if found is not None:
            return operation, found.groupdict()
    return None


class Judge:
    """``judge`` returns what is wrong with a request, and keeps it."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._lock = threading.Lock()

    def judge(self, operation: Operation, parts: Mapping[str, str], request: Request) -> list[str]:
        texts = list(faults_of(operation, parts, request))
        self.record(operation.name, texts)
        return texts

    def record(self, operation: str, texts: list[str]) -> None:
        with self._lock:
            room = MAX_VIOLATIONS - len(self.violations)
            self.violations += [Violation(operation, text) for text in texts[:room]]


def faults_of(operation: Operation, parts: Mapping[str, str], request: Request) -> Iterator[str]:
    """Everything wrong with a request, by all opinions that are at hand."""
    version = request.query.get("api-version", "")
    if version not in operation.versions:
        yield f"api-version {version!r} is none of {', '.join(operation.versions)}"
    for name, value in request.query.items():
        if name != "api-version" and not re.fullmatch(operation.queries.get(name, "(?!)"), value):
            yield f"query {name}={value!r} is not understood"
    yield from _name_faults(operation, parts)
    if operation.body is None:
        if request.body is not None:
            yield "a body where none is expected"
    else:
        yield from _body_faults(operation, request, version)


def _name_faults(operation: Operation, parts: Mapping[str, str]) -> Iterator[str]:
    if operation.name == "create vm" and not rules.MACHINE_NAME.fullmatch(parts["name"]):
        yield f"{parts['name']!r} is no name for a machine"


def _body_faults(operation: Operation, request: Request, version: str) -> Iterator[str]:
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        yield f"content-type {request.headers.get('content-type')!r} instead of application/json"
    texts = [text for shape in opinions(operation, version) for text in mismatches(shape, request.body, version)]
    yield from dict.fromkeys(texts)
    if not texts and operation.name == "create vm":
        yield from rules.create_faults(request.body, version)
    if not texts and operation.name == "update vm":
        yield from rules.tag_faults(request.body.get("tags", {}))


def opinions(operation: Operation, version: str) -> Iterator[Shape]:
    """Our table, the SDK's model, and Microsoft's description of this very version where it lies beside the repository."""
    if operation.body is not None:
        yield operation.body
    if operation.model and (model := sdk_shape(operation.model)) is not None:
        yield model
    if operation.model and microsoft.is_present() and version == "2024-07-01":
        yield microsoft.shape_at(microsoft.MACHINES, f"definitions/{operation.model}")
    if operation.name == "create vm" and microsoft.is_present() and version == "2025-04-01":
        yield microsoft.template_shape()
