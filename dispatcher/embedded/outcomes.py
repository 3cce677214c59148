"""What the change of a container means to those who asked for it: costs, logs, retries, and the end of requests.

Called within the transaction of the change, so that a retry exists exactly when the container is cancelled.
"""

from __future__ import annotations

from . import priority, request_rules, rules
from .act import Act
from .resources import CONTAINER_REQUESTS, CONTAINERS, Record
from .values import new_uuid

COLLECTION_INFIX = "4zz18"
_FRESH = (
    "uuid",
    "id",
    "created_at",
    "modified_at",
    "exit_code",
    "finished_at",
    "started_at",
    "locked_by_uuid",
    "auth_uuid",
    "log",
    "output",
    "progress",
    "runtime_status",
    "gateway_address",
    "interactive_session_started",
    "cost",
    "subrequests_cost",
    "lock_count",
    "state",
)


def settle(act: Act, old: Record, new: Record) -> None:
    """Everything that follows from one container's change. Sections 7 and 8 of the queue contract."""
    if new["log"] and new["log"] != old["log"]:
        _name_logs(act, new)
    if old["state"] in rules.HELD and new["state"] not in rules.HELD:
        act.end_token(old["auth_uuid"])
    if new["state"] in rules.FINAL and old["state"] not in rules.FINAL:
        _end_requests(act, old, new)
        _end_children(act, new)
        act.transaction.update(CONTAINERS, new["uuid"], {"secret_mounts": {}})


def _name_logs(act: Act, container: Record) -> None:
    for request in committed_requests(act, container["uuid"]):
        if not request["log_uuid"]:
            act.save_request(request, {**request, "log_uuid": _collection_uuid(act)})


def committed_requests(act: Act, container_uuid: str) -> list[Record]:
    where = "container_uuid = ? AND state = 'Committed'"
    return act.transaction.find(CONTAINER_REQUESTS, where, [container_uuid])


def _collection_uuid(act: Act) -> str:
    """A name for a collection. There is no Keep here, so nothing stands behind it."""
    return new_uuid(act.settings.cluster_id, COLLECTION_INFIX)


def _end_requests(act: Act, old: Record, container: Record) -> None:
    requests = committed_requests(act, container["uuid"])
    retried = [each for each in requests if container["state"] == rules.CANCELLED and _has_attempts_left(each)]
    if retried:
        fresh = _fresh_container(act, old)
        for request in retried:
            _move(act, request, container, fresh)
        priority.refresh(act.transaction, fresh["uuid"])
    for request in requests:
        if request not in retried:
            finalise(act, request, container)


def _has_attempts_left(request: Record) -> bool:
    return bool(request["priority"] > 0 and request["container_count"] < request["container_count_max"])


def _fresh_container(act: Act, old: Record) -> Record:
    """The same work once more, as a container that nobody has touched."""
    fresh = CONTAINERS.blank() | {name: value for name, value in old.items() if name not in _FRESH}
    system = act.settings.system_user_uuid
    return act.insert(CONTAINERS, fresh, by=system, owner=system)


def _move(act: Act, request: Record, spent: Record, fresh: Record) -> None:
    changed = {
        "container_uuid": fresh["uuid"],
        "container_count": request["container_count"] + 1,
        "cumulative_cost": request["cumulative_cost"] + _total_cost(spent),
    }
    act.save_request(request, {**request, **changed})


def _total_cost(container: Record) -> float:
    return float((container["cost"] or 0.0) + (container["subrequests_cost"] or 0.0))


def finalise(act: Act, request: Record, container: Record | None) -> Record:
    """End a request with what its last container left."""
    changed: Record = {"state": request_rules.FINAL}
    if container is not None:
        changed["cumulative_cost"] = request["cumulative_cost"] + _total_cost(container)
        for name in ("log", "output"):
            if container[name] and not request[f"{name}_uuid"]:
                changed[f"{name}_uuid"] = _collection_uuid(act)
    saved = act.save_request(request, {**request, **changed})
    _charge_parent(act, saved)
    return saved


def _charge_parent(act: Act, request: Record) -> None:
    parent = act.transaction.get(CONTAINERS, request["requesting_container_uuid"] or "")
    if parent and parent["state"] not in rules.FINAL and request["cumulative_cost"]:
        cost = (parent["subrequests_cost"] or 0.0) + request["cumulative_cost"]
        act.save_container(parent, {**parent, "subrequests_cost": cost})


def _end_children(act: Act, parent: Record) -> None:
    """What was requested from inside is wanted no more: its requests fall to 0, and end where nothing runs."""
    for request in priority.requested_inside(act.transaction, parent["uuid"]):
        fallen = act.save_request(request, {**request, "priority": 0})
        child = act.transaction.get(CONTAINERS, request["container_uuid"] or "")
        if child is None or child["state"] in (rules.QUEUED, rules.LOCKED):
            finalise(act, fallen, child)
        priority.refresh(act.transaction, request["container_uuid"])
