"""A queue service in memory: the few calls that a dispatcher makes, answered within a millisecond, and its events.

It keeps the rules on which timing depends (who may lock what, what a list shows) and checks nothing else: the embedded queue is
the one that is true to the protocol.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

TOKEN_UUID = "zzzzz-gj3su-000000000000000"
GIB = 1 << 30

Record = dict[str, Any]
Told = Callable[[str, Record], None]
COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b, ">": lambda a, b: a > b, "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "in": lambda a, b: a in b, "!=": lambda a, b: a != b,
}  # fmt: skip


class Refused(Exception):
    """What the service answers 422 to."""


class Queue:
    """``told(event_type, record)`` hears of every change that the real service announces."""

    def __init__(self, told: Told = lambda kind, record: None) -> None:
        self._lock = threading.Lock()
        self._told = told
        self._count = 0
        self.records: dict[str, Record] = {}
        self.requests = 0
        self.seen: list[tuple[float, str, str]] = []  # when, what, which container

    def submit(self, number: int, seconds: float, vcpus: int = 1) -> list[str]:
        """So many new containers, each of which runs for so long."""
        made = []
        for _ in range(number):
            with self._lock:
                self._count += 1
                uuid = f"zzzzz-dz642-{self._count:015d}"
                self.records[uuid] = {
                    "uuid": uuid, "state": "Queued", "priority": 1 << 50, "locked_by_uuid": None, "lock_count": 0,
                    "created_at": f"2026-01-01T00:00:00.{self._count % 1_000_000:06d}Z", "gateway_address": None,
                    "runtime_constraints": {"vcpus": vcpus, "ram": GIB, "keep_cache_ram": 0, "keep_cache_disk": 0},
                    "scheduling_parameters": {}, "container_image": "none", "mounts": {}, "seconds": seconds,
                }  # fmt: skip
                self.seen.append((time.monotonic(), "queued", uuid))
            self._told("create", self.records[uuid])
            made.append(uuid)
        return made

    def list(self, question: Mapping[str, str]) -> dict[str, Any]:
        filters = json.loads(question.get("filters", "[]"))
        with self._lock:
            found = [record for record in self.records.values() if all(_passes(record, each) for each in filters)]
        _sort(found, question.get("order", ""))
        offset, limit = int(question.get("offset", 0)), min(1000, int(question.get("limit", 100)))
        fields = json.loads(question.get("select", "[]"))
        items = [{name: record.get(name) for name in fields} for record in found[offset : offset + limit]]
        return {"items": items, **({"items_available": len(found)} if question.get("count") != "none" else {})}

    def write(self, uuid: str, verb: str, fields: Mapping[str, Any]) -> Record:
        with self._lock:
            record = self.records[uuid]
            state = {"lock": "Locked", "unlock": "Queued"}.get(verb) or str(fields.get("state", record["state"]))
            if verb == "lock" and record["state"] != "Queued":
                raise Refused(f"cannot lock when {record['state']}")
            record["state"] = state
            if verb:
                record["locked_by_uuid"] = TOKEN_UUID if verb == "lock" else None
                record["lock_count"] += verb == "lock"
                self.seen.append((time.monotonic(), verb, uuid))
            answer = {name: record[name] for name in ("uuid", "state", "priority", "locked_by_uuid")}
        self._told("update", record)
        return answer

    def move(self, uuid: str, state: str) -> bool:
        """What a runner writes; False when the record is not in the state before."""
        with self._lock:
            record = self.records[uuid]
            if record["state"] != {"Running": "Locked", "Complete": "Running"}[state]:
                self.seen.append((time.monotonic(), f"wrong {state}", uuid))
                return False
            record["state"] = state
            self.seen.append((time.monotonic(), state.lower(), uuid))
        self._told("update", record)
        return True


def _passes(record: Record, wanted: list[Any]) -> bool:
    name, operator, value = wanted
    have = record[name]
    return have is not None and COMPARE[operator](have, int(value) if isinstance(have, int) and operator != "in" else value)


def _sort(found: list[Record], order: str) -> None:
    names = json.loads(order) if order.startswith("[") else [order] if order else []
    for name in reversed(names):
        field, _, direction = name.partition(" ")
        found.sort(key=lambda record: record[field], reverse=direction == "desc")
