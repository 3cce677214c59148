"""The database: one SQLite file in which every request is one transaction.

Write-ahead logging makes a kill at any moment harmless: what was answered is kept, what was not is gone as a whole. One writer
at a time, in the order of arrival; readers see the last committed state and wait for nobody.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import events, normalise
from .resources import CONTAINER_REQUESTS, CONTAINERS, RESOURCES, Attribute, Record, Resource

READERS_KEPT = 8
BUSY_TIMEOUT_S = 30.0
UNANNOUNCED = frozenset({"priority", "modified_at"})  # the service changes a container's priority within its database
_COLUMN_TYPES = {"integer": "INTEGER", "float": "REAL", "boolean": "INTEGER"}
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS containers_by_state ON containers (state, priority)",
    "CREATE INDEX IF NOT EXISTS containers_by_lock ON containers (locked_by_uuid)",
    "CREATE INDEX IF NOT EXISTS containers_by_change ON containers (modified_at, uuid)",
    "CREATE INDEX IF NOT EXISTS containers_by_auth ON containers (auth_uuid)",
    "CREATE INDEX IF NOT EXISTS requests_by_container ON container_requests (container_uuid)",
    "CREATE INDEX IF NOT EXISTS requests_by_parent ON container_requests (requesting_container_uuid)",
    "CREATE INDEX IF NOT EXISTS requests_by_owner ON container_requests (owner_uuid)",
    "CREATE INDEX IF NOT EXISTS tokens_by_secret ON api_client_authorizations (api_token)",
)


class Transaction:
    """Reads and writes within one transaction. Records are plain dictionaries with every attribute, and ``id``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.touched: dict[tuple[str, str], str] = {}  # what is announced in the end: resource and uuid → create or update

    def get(self, resource: Resource, uuid: str) -> Record | None:
        return next(iter(self.find(resource, "uuid = ?", [uuid], limit=1)), None)

    def find(
        self,
        resource: Resource,
        where: str = "1",
        parameters: Sequence[Any] = (),
        *,
        order: str = "id",
        limit: int = -1,
        offset: int = 0,
        columns: Sequence[str] | None = None,
    ) -> list[Record]:
        """Records that match an SQL condition made by our own code; parameters carry everything a client sent."""
        names = ["id", *(columns if columns is not None else (each.name for each in resource))]
        chosen = ", ".join(f'{resource.name}."{name}"' for name in dict.fromkeys(names))
        sql = f"SELECT {chosen} FROM {resource.name} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608
        rows = self._connection.execute(sql, [*parameters, limit, offset])
        return [_decoded(resource, row) for row in rows]

    def count(self, resource: Resource, where: str, parameters: Sequence[Any]) -> int:
        sql = f"SELECT count(*) FROM {resource.name} WHERE {where}"  # noqa: S608
        return int(self._connection.execute(sql, parameters).fetchone()[0])

    def insert(self, resource: Resource, record: Record) -> None:
        names = [each.name for each in resource]
        marks = ", ".join("?" for _ in names)
        columns = ", ".join(f'"{name}"' for name in names)
        sql = f"INSERT INTO {resource.name} ({columns}) VALUES ({marks})"  # noqa: S608
        cursor = self._connection.execute(sql, [_encoded(each, record[each.name]) for each in resource])
        record["id"] = cursor.lastrowid
        self.touched[resource.name, record["uuid"]] = "create"

    def update(self, resource: Resource, uuid: str, changed: Record) -> None:
        """Write the given attributes of one record."""
        attributes = [each for each in resource if each.name in changed]
        if attributes:
            assignments = ", ".join(f'"{each.name}" = ?' for each in attributes)
            values = [_encoded(each, changed[each.name]) for each in attributes]
            sql = f"UPDATE {resource.name} SET {assignments} WHERE uuid = ?"  # noqa: S608
            self._connection.execute(sql, [*values, uuid])
            if resource is not CONTAINERS or set(changed) - UNANNOUNCED:
                self.touched.setdefault((resource.name, uuid), "update")

    def delete(self, resource: Resource, uuid: str) -> None:
        self._connection.execute(f"DELETE FROM {resource.name} WHERE uuid = ?", [uuid])  # noqa: S608


class Store:
    """The file and its connections. Safe to use from any number of threads."""

    def __init__(self, path: Path, announcer: events.Announcer | None = None) -> None:
        self._path = path
        self.announcer = announcer or events.Announcer()
        self._writer_lock = threading.Lock()
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(READERS_KEPT)
        self._writer = self._connect()
        self._writer.execute("PRAGMA journal_mode = WAL")
        for statement in _schema():
            self._writer.execute(statement)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA case_sensitive_like = ON")
        return connection

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One write transaction: kept as a whole when the block ends, gone as a whole when it raises. What changed is announced
        once it can be read."""
        with self._writer_lock:
            with transaction_of(self._writer, "BEGIN IMMEDIATE") as transaction:
                yield transaction
                told = list(_announcements(transaction))
            for event in told:
                self.announcer.announce(event)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A view of one committed state."""
        connection = self._borrowed()
        try:
            with transaction_of(connection, "BEGIN") as transaction:
                yield transaction
        finally:
            self._give_back(connection)

    def _borrowed(self) -> sqlite3.Connection:
        try:
            return self._readers.get_nowait()
        except queue.Empty:
            return self._connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        try:
            self._readers.put_nowait(connection)
        except queue.Full:
            connection.close()

    def close(self) -> None:
        self._writer.close()
        while not self._readers.empty():
            self._readers.get_nowait().close()


@contextmanager
def transaction_of(connection: sqlite3.Connection, begin: str) -> Iterator[Transaction]:
    """All or nothing, and the connection can be used again afterwards."""
    connection.execute(begin)
    try:
        yield Transaction(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # what fails at the end, as on a full disk, may have ended it or not
            connection.execute("ROLLBACK")
        raise


def _announcements(transaction: Transaction) -> Iterator[events.Event]:
    for (name, uuid), kind in transaction.touched.items():
        resource = RESOURCES[name]
        if resource in (CONTAINERS, CONTAINER_REQUESTS):
            record = next(iter(transaction.find(resource, "uuid = ?", [uuid], limit=1, columns=["state"])), {})
            yield events.event(kind, resource.singular, uuid, record.get("state"))


def _schema() -> Iterable[str]:
    for resource in RESOURCES.values():
        columns = ", ".join(f'"{each.name}" {_COLUMN_TYPES.get(each.type, "TEXT")}' for each in resource)
        yield f"CREATE TABLE IF NOT EXISTS {resource.name} (id INTEGER PRIMARY KEY, {columns}, UNIQUE (uuid))"
    yield from _INDEXES


def _encoded(attribute: Attribute, value: Any) -> Any:
    if attribute.is_object:
        return json.dumps(attribute.empty if value is None else value, ensure_ascii=False)
    return int(value) if isinstance(value, bool) else value


def _decoded(resource: Resource, row: sqlite3.Row) -> Record:
    record: Record = {"id": row["id"]}
    for name in row.keys():  # noqa: SIM118 - iterating a Row gives its values
        if attribute := resource.attribute(name):
            record[name] = _decoded_value(attribute, row[name])
    return normalise.read(record) if resource is CONTAINERS else record


def _decoded_value(attribute: Attribute, value: Any) -> Any:
    if attribute.is_object:
        return json.loads(value) if value else attribute.empty
    if attribute.type == "boolean":
        return None if value is None else bool(value)
    return value
