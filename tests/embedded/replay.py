"""Replays recorded calls: in the order of the recording, on one database that is mended where a recorded step is missing.

A part of the calls was left out of the recording. So before each call the records that it needs are brought into the state that
the call and its recorded answer tell of, if they are not in it already; what the call itself does is ours alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dispatcher.embedded import normalise
from dispatcher.embedded.act import Settings
from dispatcher.embedded.app import create_app
from dispatcher.embedded.resources import CONTAINER_REQUESTS, CONTAINERS, RESOURCES, TOKENS, USERS, Record
from dispatcher.embedded.store import Store
from dispatcher.embedded.values import format_time
from tests.embedded.transcripts import Call, differences, understood

ROOT_SECRET, CLUSTER = "rootsecret", "zzzzz"
ROOT_TOKEN_UUID = f"{CLUSTER}-gj3su-000000000000000"
SYSTEM_USER, ACTIVE_USER = f"{CLUSTER}-tpzed-000000000000000", f"{CLUSTER}-tpzed-xurymjxw79nv3jz"
SUFFIX_OF_NOTHING = f"{CLUSTER}-dz642-xxxxxxxxxxxxxxx"
# Tokens by the names that the recordings use: (uuid, user, scopes). Uuids that no answer tells are made up.
TOKEN_ROWS: dict[str, tuple[str, str, list[str]]] = {
    "admin": ("027z32aux8dg2s1", "d9tiejq69daie8f", ["all"]),
    "dispatch2": ("jrriu629zljsnuf", "000000000000000", ["all"]),
    "active": ("077z32aux8dg2s1", "xurymjxw79nv3jz", ["all"]),
    "active_readonly": ("readonlyreadonl", "xurymjxw79nv3jz", ["GET /"]),
    "expired": ("expiredexpirede", "xurymjxw79nv3jz", ["all"]),
    "spectator": ("spectatorspecta", "spectatorspecta", ["all"]),
    "inactive": ("inactiveinactiv", "inactiveinactiv", ["all"]),
    "rt": ("ei0rmtgned6gwqo", "xurymjxw79nv3jz", ["all"]),
}
INSIDE = {"ctr": "u8pkjp6v74a6ajc", "ctr_suffixed": "u8pkjp6v74a6ajc", "ctr2": "wg1n0mup3o07sfo"}
TIME = "2026-11-21T17:00:00.000000000Z"
POINT = 1 << 50
_STATES = "Queued|Locked|Running|Complete|Cancelled"


def secret(name: str) -> str:
    return f"secretof{name.split('_')[0] if name.startswith(('ctr', 'active_s')) or name == 'admin_v1' else name}"


def header_of(name: str) -> str:
    """The text that stands behind a recorded token's name."""
    if name in ("root", "root_as_v2"):
        return ROOT_SECRET if name == "root" else f"v2/{ROOT_TOKEN_UUID}/{ROOT_SECRET}"
    if name in ("admin_v1",):
        return secret("admin")
    if name in INSIDE:
        suffix = f"/{CLUSTER}-dz642-{INSIDE[name]}" if name == "ctr_suffixed" else ""
        return f"v2/{CLUSTER}-gj3su-{token_of_container(INSIDE[name])}/{container_secret(INSIDE[name])}{suffix}"
    if name == "active_salted":
        salted = hmac.new(secret("active").encode(), CLUSTER.encode(), hashlib.sha1).hexdigest()
        return f"v2/{CLUSTER}-gj3su-{TOKEN_ROWS['active'][0]}/{salted}"
    if name == "active_suffixed":
        return f"{header_of('active')}/{SUFFIX_OF_NOTHING}"
    if name not in TOKEN_ROWS:
        return f"v2/{CLUSTER}-gj3su-{hashlib.md5(name.encode()).hexdigest()[:15]}/gone"
    return f"v2/{CLUSTER}-gj3su-{TOKEN_ROWS[name][0]}/{secret(name)}"


def token_of_container(suffix: str) -> str:
    return "ax66svl22ohbdft" if suffix == INSIDE["ctr"] else hashlib.md5(suffix.encode()).hexdigest()[:15]


def container_secret(suffix: str) -> str:
    return f"inside{suffix}"


class World:
    """A queue in this process, and what the recording has told of its records so far."""

    def __init__(self, folder: Path, calls: list[Call]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store = Store(folder / "queue.sqlite")
        self.client = create_app(self.store, Settings(cluster_id=CLUSTER), ROOT_SECRET).test_client()
        self._seed_accounts(calls)

    def close(self) -> None:
        self.store.close()

    def _seed_accounts(self, calls: list[Call]) -> None:
        recorded = {c.answer["uuid"]: c.answer for c in calls if c.resource == "users" and c.status == 200 and "uuid" in c.answer}
        users = {SYSTEM_USER, *(f"{CLUSTER}-tpzed-{row[1]}" for row in TOKEN_ROWS.values())}
        with self.store.write() as transaction:
            for uuid in users:
                known = {key: value for key, value in recorded.get(uuid, {}).items() if USERS.attribute(key)}
                made = {"uuid": uuid, "created_at": TIME, "is_active": "inactive" not in uuid}
                transaction.insert(USERS, USERS.blank() | made | known)
            for name, (uuid, user, scopes) in TOKEN_ROWS.items():
                row = {"uuid": f"{CLUSTER}-gj3su-{uuid}", "owner_uuid": f"{CLUSTER}-tpzed-{user}", "scopes": scopes}
                ends = {"expired": "2016-01-01T00:00:00.000000000Z", "rt": None}.get(name, "2038-01-01T00:00:00.000000000Z")
                more = {"api_token": secret(name), "expires_at": ends, "created_at": TIME}
                transaction.insert(TOKENS, TOKENS.blank() | row | more)

    def put(self, resource_name: str, record: Record) -> None:
        """Make a record exactly so."""
        resource = RESOURCES[resource_name]
        known = {key: value for key, value in record.items() if resource.attribute(key)}
        if resource is CONTAINER_REQUESTS and "mounts" in known:
            known["mounts"] = _given(known["mounts"])
        with self.store.write() as transaction:
            old = transaction.get(resource, record["uuid"])
            if old is None:
                transaction.insert(resource, resource.blank() | known)
            else:
                transaction.update(resource, record["uuid"], known)

    def get(self, resource_name: str, uuid: str) -> Record | None:
        with self.store.read() as transaction:
            return transaction.get(RESOURCES[resource_name], uuid)

    def rename(self, resource_name: str, ours: str, recorded: str) -> None:
        """Give a record that we made the name that it has in the recording."""
        columns = {"containers": "container_uuid", "container_requests": ""}
        with self.store.write() as transaction:
            transaction.delete(RESOURCES[resource_name], recorded)
            transaction.update(RESOURCES[resource_name], ours, {"uuid": recorded})
            if columns.get(resource_name):
                for request in transaction.find(CONTAINER_REQUESTS, "container_uuid = ?", [ours]):
                    transaction.update(CONTAINER_REQUESTS, request["uuid"], {"container_uuid": recorded})

    def send(self, call: Call) -> tuple[int, Any]:
        """Make the recorded call on our queue."""
        headers = {key: _with_tokens(value) for key, value in call.headers.items()}
        body, kind = call.body, headers.pop("Content-Type", None)
        data: Any = None
        if isinstance(body, dict) and "$form" in body:
            data = {key: _with_tokens(str(value)) for key, value in body["$form"].items()}
        elif isinstance(body, dict) and "$raw" in body:
            data = body["$raw"]
        elif body is not None:
            data = _with_tokens(json.dumps(body))
        response = self.client.open(
            call.path, method=call.method, query_string=_with_tokens(call.query), headers=headers, data=data, content_type=kind
        )
        text = response.get_data(as_text=True)
        return response.status_code, json.loads(text) if text else ""


def _given(mounts: Record) -> Record:
    """Requests show their mounts with every key; kept are those that were given."""
    return {path: {key: each for key, each in mount.items() if each not in (None, "", False)} for path, mount in mounts.items()}


def _with_tokens(text: str) -> str:
    plain = text.replace("%3Ctoken%3A", "<token:").replace("%3E", ">") if "%3Ctoken" in text else text
    return re.sub(r"<token:(\w+)>", lambda found: header_of(found.group(1)), plain).replace("<runtime_token>", "x")


# ------------------------------------------------------------------------------------------------- mending what is missing


def replay(world: World, call: Call) -> list[str]:
    """Make one call; what differs from the recording, in words."""
    if call.is_list:
        return []
    kept = None
    if call.status == 200 and call.method in ("GET", "HEAD") and len(call.words) >= 2:
        kept = differences(call, *world.send(call))
        if not kept:
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
