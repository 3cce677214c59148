"""A queue in this process with the accounts of the recording, on which recorded calls are made.

Names of tokens in the recording stand for texts that are made up here; users and uuids are the recorded ones.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

from dispatcher.embedded.act import Settings
from dispatcher.embedded.app import create_app
from dispatcher.embedded.resources import CONTAINER_REQUESTS, RESOURCES, TOKENS, USERS, Record
from dispatcher.embedded.store import Store
from tests.embedded.transcripts import Call

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


def secret(name: str) -> str:
    return f"secretof{name}"


def header_of(name: str) -> str:
    """The text that stands behind a recorded token's name."""
    if name in ("root", "root_as_v2"):
        return ROOT_SECRET if name == "root" else f"v2/{ROOT_TOKEN_UUID}/{ROOT_SECRET}"
    if name == "admin_v1":
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
