"""The one table of resources and attributes; the database, the checks, the answers and the discovery document are made from it.

An attribute's ``type`` is the word of the discovery document. ``hidden`` attributes are never returned, selected or filtered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]
OBJECT_TYPES = frozenset({"Hash", "Array", "jsonb"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute. ``subproperties`` tells whether filters may name keys inside it."""

    name: str
    type: str = "string"
    default: Any = None
    hidden: bool = False
    filterable: bool = True
    subproperties: bool = False
    description: str = ""

    @property
    def is_object(self) -> bool:
        return self.type in OBJECT_TYPES

    @property
    def empty(self) -> Any:
        """What null stands for in this attribute."""
        return {"Hash": {}, "jsonb": {}, "Array": []}.get(self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of record. ``dialect`` says whose answers its paths give: ``rails`` or ``router``."""

    name: str
    model: str
    singular: str
    infix: str
    dialect: str
    description: str
    attributes: tuple[Attribute, ...]
    by_name: dict[str, Attribute] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.by_name.update({each.name: each for each in self.attributes})

    @property
    def kind(self) -> str:
        return f"arvados#{self.model[0].lower()}{self.model[1:]}"

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self.attributes)

    def attribute(self, name: str) -> Attribute | None:
        return self.by_name.get(name)

    def visible(self) -> list[str]:
        return [each.name for each in self.attributes if not each.hidden]

    def blank(self) -> Record:
        """A record of nothing but defaults."""
        record = {each.name: each.empty if each.default is None else each.default for each in self.attributes}
        return {name: value.copy() if isinstance(value, dict | list) else value for name, value in record.items()}


def _text(name: str, description: str, **more: Any) -> Attribute:
    return Attribute(name=name, description=description, **more)


def _hash(name: str, description: str, **more: Any) -> Attribute:
    return Attribute(name=name, type="Hash", description=description, **more)


def _array(name: str, description: str, **more: Any) -> Attribute:
    return Attribute(name=name, type="Array", description=description, **more)


def _time(name: str, description: str) -> Attribute:
    return Attribute(name=name, type="datetime", description=description)


def _integer(name: str, description: str, default: int | None = 0) -> Attribute:
    return Attribute(name=name, type="integer", default=default, description=description)


def _flag(name: str, description: str, default: bool = False) -> Attribute:
    return Attribute(name=name, type="boolean", default=default, description=description)


def _number(name: str, description: str, default: float | None = 0.0) -> Attribute:
    return Attribute(name=name, type="float", default=default, description=description)


_IDENTITY = (
    _text("uuid", "The identity of this record."),
    _text("owner_uuid", "The user that owns this record."),
    _time("created_at", "When this record was made."),
    _text("modified_by_user_uuid", "The user that changed this record last."),
    _time("modified_at", "When this record was changed last."),
)

_WORK = {
    "command": _array("command", "The words of the command."),
    "container_image": _text("container_image", "The image; kept as a name, never fetched."),
    "cwd": _text("cwd", "The working directory of the command.", default="."),
    "environment": _hash("environment", "The environment variables of the command."),
    "mounts": _hash("mounts", "What stands at which path of the container."),
    "output_path": _text("output_path", "The path below which the command leaves its results."),
    "output_glob": _array("output_glob", "Patterns of the results to keep."),
    "runtime_constraints": _hash("runtime_constraints", "Processors, memory and accelerators that the command needs."),
    "scheduling_parameters": _hash("scheduling_parameters", "Partitions, longest run time, and whether it may be preempted."),
    "output_storage_classes": _array(
        "output_storage_classes", "Storage classes of the results.", default=["default"], subproperties=True
    ),
    "output_properties": _hash("output_properties", "Properties of the results.", subproperties=True),
    "secret_mounts": _hash("secret_mounts", "Mounts whose content is told to nobody but the container.", hidden=True),
    "runtime_token": _text("runtime_token", "The token that the container shall use.", hidden=True),
    "service": _flag("service", "Whether this runs until it is stopped."),
    "published_ports": Attribute(name="published_ports", type="jsonb", description="Ports that speak HTTP.", subproperties=True),
}

CONTAINERS = Resource(
    name="containers",
    model="Container",
    singular="container",
    infix="dz642",
    dialect="rails",
    description="Work that has been or should be dispatched, with its results.",
    attributes=(
        *_IDENTITY,
        _WORK["command"],
        _WORK["container_image"],
        _WORK["cwd"],
        _WORK["environment"],
        _integer("exit_code", "The exit code of the command.", default=None),
        _time("finished_at", "When the container ended."),
        _text("locked_by_uuid", "The token that holds the lock."),
        _text("log", "The portable data hash of the logs."),
        _WORK["mounts"],
        _text("output", "The portable data hash of the results."),
        _WORK["output_path"],
        _WORK["output_glob"],
        _integer("priority", "Zero: to be stopped. Greater numbers first; up to 64 bits."),
        _number("progress", "From 0.0 to 1.0, as far as the container tells.", default=None),
        _WORK["runtime_constraints"],
        _hash("runtime_status", "What the runner tells of the run.", subproperties=True),
        _time("started_at", "When the command was started."),
        _text("state", "Queued, Locked, Running, Complete or Cancelled.", default="Queued"),
        _text("auth_uuid", "The token that the container uses."),
        _WORK["scheduling_parameters"],
        _text("runtime_user_uuid", "The user whose rights the container has."),
        _array("runtime_auth_scopes", "The scopes of the container's token.", subproperties=True),
        _integer("lock_count", "How often this container has been locked."),
        _text("gateway_address", "Where the runner listens, as HOST:PORT.", filterable=False),
        _flag("interactive_session_started", "Whether somebody opened a shell in the running container."),
        _WORK["output_storage_classes"],
        _WORK["output_properties"],
        _number("cost", "What the run of this container cost."),
        _number("subrequests_cost", "What the requests made from inside cost."),
        _WORK["service"],
        _WORK["published_ports"],
        _WORK["secret_mounts"],
        _WORK["runtime_token"],
    ),
)

CONTAINER_REQUESTS = Resource(
    name="container_requests",
    model="ContainerRequest",
    singular="container_request",
    infix="xvhdp",
    dialect="router",
    description="Somebody's wish that a container be run.",
    attributes=(
        *_IDENTITY,
        _text("name", "The name of this request."),
        _text("description", "A longer description.", type="text"),
        _hash("properties", "Any properties.", subproperties=True),
        _text("state", "Uncommitted, Committed or Final.", default="Uncommitted"),
        _text("requesting_container_uuid", "The container from inside which this was requested."),
        _text("container_uuid", "The container that does the work."),
        _integer("container_count_max", "How many containers may be tried.", default=None),
        _WORK["mounts"],
        _WORK["runtime_constraints"],
        _WORK["container_image"],
        _WORK["environment"],
        _WORK["cwd"],
        _WORK["command"],
        _WORK["output_path"],
        _integer("priority", "From 0 to 1000; 0 cancels."),
        _time("expires_at", "When this request is no longer wanted."),
        _text("filters", "Unused.", type="text"),
        _integer("container_count", "How many containers have been tried."),
        _flag("use_existing", "Whether an equal container may be shared.", default=True),
        _WORK["scheduling_parameters"],
        _text("output_uuid", "The collection of the results."),
        _text("log_uuid", "The collection of the logs."),
        _text("output_name", "The name for the results."),
        _integer("output_ttl", "Seconds that the results are kept; 0: for ever."),
        _WORK["output_storage_classes"],
        _WORK["output_properties"],
        _number("cumulative_cost", "What all containers of this request cost."),
        _WORK["output_glob"],
        _WORK["service"],
        _WORK["published_ports"],
        _WORK["secret_mounts"],
        _WORK["runtime_token"],
    ),
)

USERS = Resource(
    name="users",
    model="User",
    singular="user",
    infix="tpzed",
    dialect="router",
    description="Somebody who may use this queue.",
    attributes=(
        *_IDENTITY,
        _text("email", "The address of this user.", default=""),
        _text("first_name", "The first name.", default=""),
        _text("last_name", "The last name.", default=""),
        _text("identity_url", "Where this user's identity comes from.", default=""),
        _flag("is_admin", "Whether this user may do everything."),
        _hash("prefs", "Preferences.", subproperties=True),
        _flag("is_active", "Whether this user may do anything but read.", default=True),
        _text("username", "The short name.", default=""),
    ),
)

TOKENS = Resource(
    name="api_client_authorizations",
    model="ApiClientAuthorization",
    singular="api_client_authorization",
    infix="gj3su",
    dialect="router",
    description="A token.",
    attributes=(
        *_IDENTITY,
        _text("api_token", "The secret of this token."),
        _text("created_by_ip_address", "Where this token was made."),
        _time("expires_at", "When this token ends."),
        _time("last_used_at", "When this token was used last."),
        _text("last_used_by_ip_address", "Where this token was used last."),
        _array("scopes", "What this token may do.", default=["all"], subproperties=True),
    ),
)

RESOURCES = {each.name: each for each in (CONTAINERS, CONTAINER_REQUESTS, USERS, TOKENS)}
