"""Brings the record of a recorded call into the state that the call and its recorded answer tell of.

A part of the calls was left out of the recording, so what they did has to be made up for; what a call itself does is ours alone.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from dispatcher.embedded import normalise
from dispatcher.embedded.resources import CONTAINER_REQUESTS, CONTAINERS, Record
from dispatcher.embedded.values import format_time
from tests.embedded.transcripts import Call, understood
from tests.embedded.world import (
    ACTIVE_USER,
    CLUSTER,
    INSIDE,
    ROOT_TOKEN_UUID,
    SYSTEM_USER,
    TIME,
    World,
    container_secret,
    header_of,
    token_of_container,
)

POINT = 1 << 50
_STATES = "Queued|Locked|Running|Complete|Cancelled"


def mend(world: World, call: Call) -> None:
    """Bring the record of a call into the state that the recording tells of."""
    if len(call.words) < 2:
        return
    if call.resource == "containers":
        _mend_container(world, call)
    elif call.resource == "container_requests":
        _mend_request(world, call)


GOLDEN: Record = {
    "created_at": TIME,
    "modified_at": TIME,
    "modified_by_user_uuid": SYSTEM_USER,
    "owner_uuid": SYSTEM_USER,
    "runtime_user_uuid": ACTIVE_USER,
    "runtime_auth_scopes": ["all"],
    "container_image": "fa3c1a9cb6783f85f2ecda037e07b8c3+167",
    "cwd": "/out",
    "output_path": "/out",
    "environment": {"FOO": "bar"},
    "mounts": {"/out": {"capacity": 1000000, "kind": "tmp"}},
    "runtime_constraints": {"vcpus": 1, "ram": 268435456, "keep_cache_disk": 2147483648},
}


def _mend_container(world: World, call: Call) -> None:
    uuid = call.words[1] if call.words[1] != "current" else f"{CLUSTER}-dz642-{INSIDE.get(call.token, 'x')}"
    if call.status == 404 or not uuid.startswith(f"{CLUSTER}-dz642-"):
        return
    known = world.get("containers", uuid)
    answer = call.answer if isinstance(call.answer, dict) and call.status == 200 else {}
    state = state_before(call, known, answer)
    base = known or CONTAINERS.blank() | GOLDEN
    told = {key: value for key, value in answer.items() if CONTAINERS.attribute(key)}
    record = {**base, **_before(call, state, told), "uuid": uuid, "state": state}
    if call.method != "GET" or "state" not in told or uuid[-15:] in INSIDE.values():
        record |= _times(state, record) | _lock_fields(call, record, state, answer, base) | _values_in_errors(call)
    if call.name.startswith("containers/secret_mounts/"):
        record["secret_mounts"] = {"/secret/x": {"kind": "text", "content": "hush"}}
    if call.name == "containers/auth/runtime_token":
        record |= {"runtime_token": header_of("rt"), "auth_uuid": None}
    world.put("containers", normalise.read(record))
    _mend_token(world, record)
    _mend_reader(world, call, record)


def _times(state: str, record: Record) -> Record:
    has = {"started_at": state in ("Running", "Complete"), "finished_at": state in ("Complete", "Cancelled")}
    return {name: record[name] or TIME for name, wanted in has.items() if wanted}


def _before(call: Call, state: str, told: Record) -> Record:
    """What the answer tells of the record before the call: everything that the call did not write itself."""
    if call.method == "GET":
        return told
    written = {*call.sent("container"), "state", "modified_at", "modified_by_user_uuid", "lock_count"}
    if told.get("state") != state:
        written |= {"finished_at"} if state not in ("Complete", "Cancelled") else set()
        written |= {"started_at"} if state in ("Queued", "Locked") else set()
    if len(call.sent("container")) == 1 and told.get("state") == state == call.sent("container").get("state"):
        written -= {"modified_at", "modified_by_user_uuid"}
    return {key: value for key, value in told.items() if key not in written}


def state_before(call: Call, known: Record | None, answer: Record) -> str:
    """The state in which the container was when the call came."""
    text = json.dumps(call.answer)
    action = call.words[2] if len(call.words) > 2 else ""
    patterns = (
        (call.name, rf"matrix/state/({_STATES})-to"),
        (call.name, rf"matrix/attr/({_STATES})/"),
        (text, rf"State cannot change from ({_STATES}) to"),
        (text, rf"cannot (?:un)?lock when ({_STATES})"),
        (call.name.title(), rf"/({_STATES})-To-"),
    )
    if call.method == "GET" and "state" in answer:
        return str(answer["state"])
    if action in ("lock", "unlock") and call.status == 200:
        return "Queued" if action == "lock" else "Locked"
    for where, pattern in patterns:
        if found := re.search(pattern, where):
            return found.group(1)
    return _state_by_move(call, known, answer)


def _state_by_move(call: Call, known: Record | None, answer: Record) -> str:
    wanted = call.sent("container").get("state")
    now = known["state"] if known else "Queued"
    if "cannot lock when priority" in json.dumps(call.answer):
        return "Queued"
    if call.status == 200 and wanted:
        return {"Locked": "Queued", "Running": "Locked", "Complete": "Running", "Queued": "Locked"}.get(wanted, now)
    if found := re.search(rf"(?:/|-)({_STATES})(?:-|$)", call.name.title()):
        return found.group(1)
    if action_needs_lock(call):
        return now if now in ("Locked", "Running") else "Locked"
    return str(answer.get("state") or now)


def action_needs_lock(call: Call) -> bool:
    return len(call.words) > 2 and call.words[2] in ("auth", "secret_mounts") and call.status == 200


def _lock_fields(call: Call, record: Record, state: str, answer: Record, base: Record) -> Record:
    held = state in ("Locked", "Running")
    suffix = str(record["uuid"])[-15:]
    fields: Record = {"locked_by_uuid": None, "auth_uuid": None}
    if held:
        fields["locked_by_uuid"] = answer.get("locked_by_uuid") or base["locked_by_uuid"] or ROOT_TOKEN_UUID
        fields["auth_uuid"] = answer.get("auth_uuid") or base["auth_uuid"] or f"{CLUSTER}-gj3su-{token_of_container(suffix)}"
    if suffix in INSIDE.values() and held:
        fields["auth_uuid"] = f"{CLUSTER}-gj3su-{token_of_container(suffix)}"
    if "lock_count" in answer:
        locks = state == "Queued" and answer.get("state") == "Locked"
        fields["lock_count"] = answer["lock_count"] - (1 if locks else 0)
    if call.name.endswith("unlock/attempt-10"):
        fields["lock_count"] = 10
    if state == "Queued" and "lock" in call.words:
        fields["priority"] = answer.get("priority") or (0 if "priority<=0" in json.dumps(call.answer) else 1)
    if "via-update-priority-0" in call.name:
        fields["priority"] = 0
    return fields


def _values_in_errors(call: Call) -> Record:
    """An error quotes the old value of what may not change: ``(old, new)``."""
    fields: Record = {}
    sent = call.sent("container") if call.status == 422 else {}
    for name in sent:
        label = name.replace("_", " ").capitalize()
        found = re.search(rf"{label} cannot be modified in state '\w+' \((.*?), ", json.dumps(call.answer).replace('\\"', '"'))
        old = found.group(1) if found else ""
        if re.fullmatch(r"[\d.]+", old) and name != "id":
            fields[name] = understood(old)
        elif old == "nil":
            fields[name] = None
    if "command" in sent and (words := re.search(r'\((\[.*?\]), \[', "".join(call.answer.get("errors", [])))):
        fields["command"] = json.loads(words.group(1))
    return fields


def _mend_token(world: World, record: Record) -> None:
    """The container's own token, with a secret that we know."""
    if not record["auth_uuid"]:
        return
    suffix = str(record["uuid"])[-15:]
    row = {"uuid": record["auth_uuid"], "owner_uuid": record["runtime_user_uuid"] or ACTIVE_USER, "scopes": ["all"]}
    world.put("api_client_authorizations", row | {"api_token": container_secret(suffix), "created_at": TIME, "expires_at": None})


def _mend_reader(world: World, call: Call, record: Record) -> None:
    """The request behind a container: it lets an ordinary user read it, and gives it its priority."""
    uuid, answer = record["uuid"], call.answer if isinstance(call.answer, dict) else {}
    with world.store.read() as transaction:
        found = transaction.find(CONTAINER_REQUESTS, "container_uuid = ?", [uuid], limit=1)
    asks_priority = "update_priority" in call.words
    if call.token in ("root", "root_as_v2", "dispatch2", "admin") and not asks_priority:
        return
    request = found[0] if found else CONTAINER_REQUESTS.blank() | {"uuid": f"{CLUSTER}-xvhdp-{uuid[-15:]}", "modified_at": TIME}
    request |= {"owner_uuid": ACTIVE_USER, "container_uuid": uuid, "state": "Committed", "container_count_max": 1}
    points = -(-int(answer.get("priority") or record["priority"] or 1) // POINT)
    milliseconds = points * POINT - int(answer.get("priority") or record["priority"] or 1)
    made = datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds < 1 << 42 else datetime(2026, 11, 21, tzinfo=UTC)
    world.put("container_requests", request | {"priority": points, "created_at": format_time(made)})


def _mend_request(world: World, call: Call) -> None:
    uuid = call.words[1]
    if call.status == 404:
        return
    answer = call.answer if call.status == 200 else {}
    known = world.get("container_requests", uuid)
    told = {key: value for key, value in answer.items() if CONTAINER_REQUESTS.attribute(key)}
    base = known or CONTAINER_REQUESTS.blank() | {"created_at": TIME, "modified_at": TIME, "container_count_max": 3}
    sent = call.sent("container_request")
    record = {**base, **{key: value for key, value in told.items() if call.method == "GET" or key not in sent}, "uuid": uuid}
    record["owner_uuid"] = told.get("owner_uuid") or base["owner_uuid"] or ACTIVE_USER
    found = re.search(r"State cannot change from (\w+) to|in state '(\w+)'", json.dumps(call.answer))
    if found:
        record["state"] = found.group(1) or found.group(2)
    elif call.method != "GET":
        record["state"] = {"Committed": "Uncommitted", "Final": "Committed"}.get(sent.get("state", ""), "Committed")
    if len(call.words) > 2 and call.status == 200:
        record["container_uuid"] = call.answer["uuid"]
        status = CONTAINERS.blank() | {"uuid": call.answer["uuid"], "state": call.answer["container_state"], "created_at": TIME}
        world.put("containers", status)
    if "committed-container_uuid" in call.name:
        record |= {"container_count": 1, "container_uuid": f"{CLUSTER}-dz642-1bm5zik6yxe1xk4"}
    if "after-container-deleted" in call.name and record["container_uuid"]:
        with world.store.write() as transaction:
            transaction.delete(CONTAINERS, record["container_uuid"])
    elif record["state"] == "Committed" and (container := record["container_uuid"]) and not world.get("containers", container):
        world.put("containers", CONTAINERS.blank() | {"uuid": container, "created_at": TIME, "modified_at": TIME})
    world.put("container_requests", record)
