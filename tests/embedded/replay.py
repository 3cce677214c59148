"""Makes recorded calls again, in the order of the recording, on one database that is mended where a recorded step is missing.

Lists are answered from a database of their own that holds the recorded items and nothing else.
"""

from __future__ import annotations

from typing import Any

from dispatcher.embedded.resources import CONTAINER_REQUESTS, CONTAINERS, RESOURCES, Record
from tests.embedded.mending import mend
from tests.embedded.transcripts import Call, differences
from tests.embedded.world import ACTIVE_USER, CLUSTER, TIME, TOKEN_ROWS, World


def replay(world: World, call: Call) -> list[str]:
    """Make one call; what differs from the recording, in words."""
    reads = call.status == 200 and call.method in ("GET", "HEAD")
    if reads and not differences(call, *world.send(call)):
        return []
    mend(world, call)
    status, answer = world.send(call)
    found = differences(call, status, answer)
    if not found and call.method != "GET":
        _adopt(world, call, answer)
    return found


def _adopt(world: World, call: Call, answer: Any) -> None:
    """Use the recorded names from now on for what a call made."""
    kept = call.status == 200 and call.resource in ("containers", "container_requests") and isinstance(call.answer, dict)
    if not kept or call.method == "DELETE":
        return
    if call.method == "POST" and len(call.words) == 1:
        world.rename(call.resource, answer["uuid"], call.answer["uuid"])
    if call.resource == "container_requests" and answer.get("container_uuid"):
        world.rename("containers", answer["container_uuid"], call.answer["container_uuid"])
    if "uuid" in call.answer and len(call.words) < 3:
        world.put(call.resource, {key: value for key, value in call.answer.items() if key != "auth_uuid"})


# ----------------------------------------------------------------------------------------------------------------- lists


def replay_list(world: World, call: Call) -> list[str]:
    """Answer a recorded list from a database that holds the recorded items and nothing else."""
    resource = RESOURCES[call.resource]
    with world.store.write() as transaction:
        for each in (CONTAINERS, CONTAINER_REQUESTS):
            for row in transaction.find(each, columns=["uuid"]):
                transaction.delete(each, row["uuid"])
    items = call.answer.get("items", []) if isinstance(call.answer, dict) else []
    if resource in (CONTAINERS, CONTAINER_REQUESTS):
        for number, item in enumerate([*_skipped(call, items), *items]):
            _put_item(world, call, item, number, len(items))
    return differences(call, *world.send(call))


def _skipped(call: Call, items: list[Record]) -> list[Record]:
    """Records that come before those of a page with an offset."""
    infix = RESOURCES[call.resource].infix
    offset = int(call.parameters.get("offset", 0)) if items else 0
    first = items[0] if items else {}
    return [
        {**first, "uuid": f"{CLUSTER}-{infix}-{number:015d}", "priority": first.get("priority", 0) + 1}
        for number in range(offset)
    ]


def _put_item(world: World, call: Call, item: Record, number: int, total: int) -> None:
    implied = _implied(call, item)
    made = {"uuid": f"{CLUSTER}-{RESOURCES[call.resource].infix}-{total - number:015d}"}
    record = {"created_at": TIME, "modified_at": TIME, **made, **implied, **item}
    record.setdefault("owner_uuid", ACTIVE_USER)
    world.put(call.resource, record)
    if call.resource == "containers" and call.token not in ("root", "admin", "dispatch2"):
        owner = f"{CLUSTER}-tpzed-{TOKEN_ROWS[call.token][1]}"
        row = {"uuid": f"{CLUSTER}-xvhdp-{number:015d}", "owner_uuid": owner, "container_uuid": record["uuid"]}
        world.put("container_requests", row)
    if call.resource == "container_requests" and item.get("container_uuid"):
        container = {"uuid": item["container_uuid"], "created_at": TIME, "state": "Queued", "priority": 1}
        world.put("containers", container)


def _implied(call: Call, item: Record) -> Record:
    """What the filters tell of an item beyond what was selected."""
    implied: Record = {}
    for name, operator, operand in [each for each in call.parameters.get("filters", []) if isinstance(each, list)]:
        value = operand[0] if isinstance(operand, list) and operand else operand
        if operator in ("=", "in") and isinstance(name, str) and name.isidentifier():
            implied[name] = value
        elif operator == ">" and name not in item:
            implied[name] = int(value) + 1 if str(value).isdigit() else value
    return implied
