"""The order in which containers are wanted.

A container's priority is the greatest that its live requests give it: a request of a user counts 2^50 for each point, less the
time at which it was made, so that older ones come first among equals; a request made inside a container counts as much as that
container.
"""

from __future__ import annotations

from . import rules
from .resources import CONTAINER_REQUESTS, CONTAINERS, Record
from .store import Transaction
from .values import milliseconds

POINT = 1 << 50
GREATEST = 1000


def of_request(request: Record, parent_priority: int) -> int:
    """What one live request gives to its container."""
    if request["requesting_container_uuid"]:
        return parent_priority
    return int(request["priority"]) * POINT - milliseconds(request["created_at"])


def refresh(transaction: Transaction, container_uuid: str | None) -> None:
    """Write the priority of a container, and of the containers requested from inside it, where it changed.

    ``modified_at`` stays: nobody changed the container.
    """
    waiting = [container_uuid]
    while waiting:
        container = transaction.get(CONTAINERS, waiting.pop() or "")
        if container is None or container["state"] in rules.FINAL:
            continue
        priority = computed(transaction, container["uuid"])
        if priority != container["priority"]:
            transaction.update(CONTAINERS, container["uuid"], {"priority": priority})
            waiting += [each["container_uuid"] for each in requested_inside(transaction, container["uuid"])]


def computed(transaction: Transaction, container_uuid: str) -> int:
    """The priority that the live requests of a container give it now; 0 without any."""
    given = [of_request(each, _parent_priority(transaction, each)) for each in live_requests(transaction, container_uuid)]
    return max(given, default=0)


def live_requests(transaction: Transaction, container_uuid: str) -> list[Record]:
    where = "container_uuid = ? AND state = 'Committed' AND priority > 0"
    return transaction.find(CONTAINER_REQUESTS, where, [container_uuid])


def requested_inside(transaction: Transaction, container_uuid: str) -> list[Record]:
    where = "requesting_container_uuid = ? AND state = 'Committed'"
    return transaction.find(CONTAINER_REQUESTS, where, [container_uuid])


def _parent_priority(transaction: Transaction, request: Record) -> int:
    parent = transaction.get(CONTAINERS, request["requesting_container_uuid"] or "")
    return int(parent["priority"]) if parent else 0
