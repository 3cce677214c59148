"""What exists in the account: machines, network cards, disks, addresses and operations, each with the times of its life.

Plain values with times as attributes: nothing here reads a clock, and what a list shows is a question about a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.fake_azure.errors import Refused
from tests.fake_azure.site import Size

NEVER = math.inf


@dataclass(slots=True, kw_only=True, eq=False)
class Resource:
    """Anything with an id. Ids compare without regard to case."""

    id: str
    name: str
    group: str
    created_s: float
    created_at: str
    gone_s: float = NEVER
    tag_history: list[tuple[float, Mapping[str, str]]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.id.lower()

    def exists(self, at_s: float) -> bool:
        return self.created_s <= at_s < self.gone_s

    def tags_at(self, at_s: float) -> dict[str, str]:
        """As they were at a time; those of the creation before it."""
        if not self.tag_history:
            return {}
        known = [tags for changed_s, tags in self.tag_history if changed_s <= at_s]
        return dict(known[-1] if known else self.tag_history[0][1])

    def retag(self, now: float, tags: Mapping[str, str]) -> None:
        self.tag_history = [*self.tag_history[-9:], (now, dict(tags))]


@dataclass(slots=True, kw_only=True, eq=False)
class Machine(Resource):
    """A virtual machine. ``body`` is what the create asked for, without its secrets."""

    location: str
    body: dict[str, Any]
    size: Size
    vm_id: str
    spot: bool = False
    zone: str = ""
    tagged_s: float = -math.inf  # from then on lists know its tags
    ready_s: float = NEVER
    flaps_s: float = NEVER  # from then on it counts as failed although it works
    failed_s: float = NEVER
    failure: Refused | None = None
    deleting_s: float = NEVER
    deallocated_s: float = NEVER
    revision: int = 1
    card_keys: tuple[str, ...] = ()
    disk_keys: tuple[str, ...] = ()
    create_operation: str = ""
    delete_operation: str = ""

    def provisioning_state(self, at_s: float) -> str:
        if at_s >= self.deleting_s:
            return "Deleting"
        if at_s >= self.failed_s:
            return "Failed"
        if at_s >= self.flaps_s:
            return "Failed"
        return "Succeeded" if at_s >= self.ready_s else "Creating"

    @property
    def etag(self) -> str:
        return f'"{self.revision}"'


@dataclass(slots=True, kw_only=True, eq=False)
class Attached(Resource):
    """What belongs to a machine until ``freed_s``. ``dies_with_it``: its deleteOption is Delete."""

    owner_id: str = ""
    dies_with_it: bool = False
    freed_s: float = NEVER
    freed_at: str = ""

    def owner_at(self, at_s: float) -> str:
        return self.owner_id if at_s < self.freed_s else ""


@dataclass(slots=True, kw_only=True, eq=False)
class Card(Attached):
    """A network card; ``reserved_until_s``: nobody but its machine may have it, nor delete it."""

    address: str
    subnet_id: str
    accelerated: bool = False
    reserved_until_s: float = -math.inf
    public_key: str = ""  # the key of its public address


@dataclass(slots=True, kw_only=True, eq=False)
class Disk(Attached):
    size_gb: int
    storage: str
    os: bool
    zone: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class PublicAddress(Attached):
    address: str


@dataclass(slots=True, kw_only=True, eq=False)
class Operation:
    """Work that was accepted. ``failure`` counts from ``ends_s`` on."""

    id: str
    target: str
    started_s: float
    ends_s: float
    failure: Refused | None = None
    canceled: bool = False

    def status(self, now: float) -> str:
        if now < self.ends_s:
            return "InProgress"
        if self.canceled:
            return "Canceled"
        return "Failed" if self.failure is not None else "Succeeded"


AnyResource = TypeVar("AnyResource", bound=Resource)


@dataclass(slots=True)
class Inventory:
    """All of it, by key. What is gone is kept for a while, because lists lag."""

    machines: dict[str, Machine] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    addresses: dict[str, PublicAddress] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)

    def shelves(self) -> tuple[dict[str, Any], ...]:
        return (self.machines, self.cards, self.disks, self.addresses)

    def forget(self, before_s: float) -> None:
        """Drop what was gone before a time, and what had ended long before it."""
        for shelf in self.shelves():
            for key in [key for key, resource in shelf.items() if resource.gone_s < before_s]:
                del shelf[key]
        for key in [key for key, operation in self.operations.items() if operation.ends_s < before_s - 3600]:
            del self.operations[key]

    def left(self, now: float) -> list[str]:
        """The ids of everything that exists: what a test wants to be empty in the end."""
        return sorted(resource.id for shelf in self.shelves() for resource in shelf.values() if resource.exists(now))

    def cores(self, now: float, *, spot: bool, family: str | None = None) -> int:
        """How many count against a quota; a machine counts until it is gone."""
        return sum(
            machine.size.cores
            for machine in self.machines.values()
            if machine.exists(now) and machine.spot == spot and family in (None, machine.size.family)
        )


def existing(shelf: Mapping[str, AnyResource], at_s: float, group: str | None = None) -> Iterator[AnyResource]:
    """What a look at a time shows, in the order of names; of one resource group or of all."""
    for _, resource in sorted(shelf.items()):
        if resource.exists(at_s) and (group is None or resource.group.lower() == group.lower()):
            yield resource


def living(shelf: Mapping[str, AnyResource], key: str, now: float) -> AnyResource | None:
    resource = shelf.get(key.lower())
    return resource if resource is not None and resource.exists(now) else None
