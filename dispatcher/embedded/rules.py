"""The state machine of a container: who may move it where, and which attributes may change on the way.

Pure: a record, the wanted changes and the caller go in, a new record or the reasons why not come out. Numbers of sections are
those of the queue contract: states and attributes stand in the two tables below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import ApiError, denied, lock_failed, raised
from .resources import CONTAINERS, Record
from .values import humanize, inspect

QUEUED, LOCKED, RUNNING, COMPLETE, CANCELLED = "Queued", "Locked", "Running", "Complete", "Cancelled"
FINAL = frozenset({COMPLETE, CANCELLED})
HELD = frozenset({LOCKED, RUNNING})

MOVES: dict[str, frozenset[str]] = {
    QUEUED: frozenset({LOCKED, CANCELLED}),
    LOCKED: frozenset({QUEUED, RUNNING, CANCELLED}),
    RUNNING: frozenset({COMPLETE, CANCELLED}),
    COMPLETE: frozenset({CANCELLED}),
    CANCELLED: frozenset(),
}

PROGRESS = frozenset(
    {"runtime_status", "progress", "cost", "subrequests_cost", "log", "output", "output_properties", "exit_code"}
)
# (state before, state after) → what may change; a missing row is nothing.
WRITABLE: dict[tuple[str, str], frozenset[str]] = {
    (QUEUED, QUEUED): frozenset({"priority"}),
    (LOCKED, QUEUED): frozenset({"priority"}),
    (QUEUED, LOCKED): frozenset({"priority", "runtime_status", "log", "lock_count"}),
    (LOCKED, LOCKED): frozenset({"priority", "runtime_status", "log", "lock_count"}),
    (LOCKED, RUNNING): PROGRESS | {"priority", "gateway_address", "interactive_session_started", "started_at"},
    (RUNNING, RUNNING): PROGRESS | {"priority", "gateway_address", "interactive_session_started"},
    (RUNNING, COMPLETE): PROGRESS | {"finished_at"},
    (RUNNING, CANCELLED): PROGRESS | {"finished_at"},
    (QUEUED, CANCELLED): frozenset({"finished_at", "log", "runtime_status", "cost"}),
    (LOCKED, CANCELLED): frozenset({"finished_at", "log", "runtime_status", "cost"}),
}
_TIME_OF_STATE = {RUNNING: "started_at", COMPLETE: "finished_at", CANCELLED: "finished_at"}
_STATUS_TEXTS = ("error", "errorDetail", "warning", "warningDetail", "activity", "preemptionNotice")
_BLANK: Record = {"command": [], "container_image": None, "output_path": None, "cwd": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: the user, the token, and the container that the token belongs to, if any."""

    user: Record
    token: Record
    container_uuid: str | None = None

    @property
    def is_admin(self) -> bool:
        return bool(self.user["is_admin"])

    @property
    def is_active(self) -> bool:
        return bool(self.user["is_active"])

    @property
    def user_uuid(self) -> str:
        return str(self.user["uuid"])

    @property
    def token_uuid(self) -> str:
        return str(self.token["uuid"])

    def is_inside(self, container: Record) -> bool:
        """Whether this is the container's own process."""
        return self.container_uuid is not None and self.container_uuid == container["uuid"]


def check_lock(container: Record) -> None:
    if container["state"] != QUEUED:
        raise lock_failed(f"cannot lock when {container['state']}")
    if (container["priority"] or 0) <= 0:
        raise lock_failed("cannot lock when priority<=0")


def check_unlock(container: Record, caller: Caller) -> None:
    if container["state"] != LOCKED:
        raise raised("ArvadosModel::InvalidStateTransitionError", f"cannot unlock when {container['state']}")
    _check_holder(container, caller)


def locked(container: Record, caller: Caller) -> Record:
    """The container in the caller's hand. Its new token is the store's to make."""
    return {
        **container,
        "state": LOCKED,
        "lock_count": container["lock_count"] + 1,
        "locked_by_uuid": caller.token_uuid,
    }


def unlocked(container: Record, attempts_max: int) -> Record:
    """The container back in the queue, or Cancelled when it has been started in vain too often."""
    free = {**container, "locked_by_uuid": None, "auth_uuid": None}
    if container["lock_count"] >= attempts_max:
        return {**free, "state": CANCELLED, "runtime_status": {"error": _too_many_attempts(container["lock_count"])}}
    return {**free, "state": QUEUED, "runtime_status": {}}


def _too_many_attempts(count: int) -> str:
    return (
        "Failed to start container.  Cancelled after exceeding "
        f"'Containers.MaxDispatchAttempts' (lock_count={count})"
    )


def updated(old: Record, wanted: Record, caller: Caller, now: str, attempts_max: int) -> Record:
    """The record after an update. Raises ApiError with every reason why it may not be so."""
    if not _may_write(old, caller):
        raise denied()
    new = {**old, **wanted}
    locks = old["state"] == QUEUED and new["state"] == LOCKED
    unlocks = old["state"] == LOCKED and new["state"] == QUEUED
    if locks:
        check_lock(old)
    if unlocks:
        _check_holder(new, caller)
    _stamp(old, new, now)
    if reasons := problems(old, new, caller):
        raise ApiError(422, reasons)
    if locks:
        return locked(new, caller)
    if unlocks:
        return unlocked(new, attempts_max)
    return {**new, "locked_by_uuid": None, "auth_uuid": None} if new["state"] in FINAL else new


def _may_write(old: Record, caller: Caller) -> bool:
    return caller.is_admin or (old["state"] == RUNNING and caller.is_inside(old))


def _check_holder(new: Record, caller: Caller) -> None:
    if new["locked_by_uuid"] != caller.token_uuid:
        raise denied("locked by a different token")


def _stamp(old: Record, new: Record, now: str) -> None:
    """Write the time of a new state, unless the client told one or the state was left before it."""
    name = _TIME_OF_STATE.get(new["state"] or "")
    if name and new["state"] != old["state"] and new[name] is None:
        new[name] = now


def problems(old: Record, new: Record, caller: Caller) -> list[str]:
    """Every reason why this change is refused, as plain sentences; none when it may be."""
    reasons = _value_problems(new) if new["state"] in MOVES else []
    if new["state"] != old["state"] and new["state"] not in MOVES[old["state"]]:
        reasons.append(f"State cannot change from {old['state']} to {new['state'] or ''}")
    if new["state"] in MOVES:
        reasons += _refused_attributes(old, new, caller)
        reasons += _lock_problems(old, new, caller)
    return reasons


def _value_problems(new: Record) -> list[str]:
    reasons = priority_problems(new["priority"])
    status = new["runtime_status"]
    wrong = [key for key in _STATUS_TEXTS if key in status and not isinstance(status[key], str)]
    return reasons + [f"Runtime status '{key}' value must be a string" for key in wrong]


def priority_problems(priority: Any, greatest: int | None = None) -> list[str]:
    if priority is None:
        return ["Priority is not a number"]
    if priority < 0:
        return ["Priority must be greater than or equal to 0"]
    if greatest is not None and priority > greatest:
        return [f"Priority must be less than or equal to {greatest}"]
    return []


def writable(old: Record, new: Record, caller: Caller) -> frozenset[str]:
    """What this caller may change on this move. Section 4: attributes by state, then by who calls."""
    allowed = WRITABLE.get((old["state"], new["state"]), frozenset())
    if new["state"] == RUNNING and old["state"] not in HELD:
        allowed = WRITABLE[(LOCKED, RUNNING)]
    if old["state"] == RUNNING and caller.is_inside(old):
        return (allowed | {"finished_at"}) - {"log", "priority"}
    if new["locked_by_uuid"] and new["locked_by_uuid"] != caller.token_uuid:
        return allowed - PROGRESS
    return allowed


def _refused_attributes(old: Record, new: Record, caller: Caller) -> list[str]:
    allowed = writable(old, new, caller) | {"state"}
    names = sorted(name for name in new if name not in allowed and new[name] != old.get(name))
    if "interactive_session_started" in allowed and old["interactive_session_started"]:
        names += [] if new["interactive_session_started"] else ["interactive_session_started"]
    return [refusal(CONTAINERS, name, old.get(name), new[name], new["state"]) for name in names]


def refusal(resource: Any, name: str, old: Any, new: Any, state: str) -> str:
    """The sentence for an attribute that may not change now."""
    attribute = resource.attribute(name)
    is_time = attribute is not None and attribute.type == "datetime"
    return f"{humanize(name)} cannot be modified in state '{state}' ({inspect(old, is_time)}, {inspect(new, is_time)})"


def _lock_problems(old: Record, new: Record, caller: Caller) -> list[str]:
    """The lock fields may be sent, but only with the values that the server would write."""
    expected = (old["locked_by_uuid"] or caller.token_uuid) if new["state"] in HELD else None
    reasons = []
    if new["locked_by_uuid"] not in (old["locked_by_uuid"], expected):
        reasons.append(f"Locked by uuid can only change to {expected or ''}")
    if new["auth_uuid"] != old["auth_uuid"]:
        reasons.append("Auth uuid is readonly")
    return reasons


def created(record: Record) -> list[str]:
    """Why a container may not be made as it is."""
    reasons = [f"{humanize(name)} can't be blank" for name, blank in _BLANK.items() if record[name] in (blank, "", None)]
    if record["state"] != QUEUED:
        reasons.append(f"State cannot change from  to {record['state'] or ''}")
    return reasons + _value_problems(record)
