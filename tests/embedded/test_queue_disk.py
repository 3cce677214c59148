"""A database that cannot be written: callers are told, nothing half written stays, and it goes on as soon as there is room."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dispatcher.embedded.act import Settings
from dispatcher.embedded.app import create_app
from dispatcher.embedded.store import Store, Transaction, transaction_of
from tests.embedded.desk import ROOT_SECRET, WORK

ROOT = {"Authorization": f"Bearer {ROOT_SECRET}"}


class FullStore(Store):
    """Its disk is full as long as ``full`` says so; the error is the real one of a database that may have one page."""

    full = True

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        if self.full:
            with sqlite3.connect(":memory:") as tiny:
                tiny.executescript("PRAGMA max_page_count = 1; CREATE TABLE more (than one page)")
        with super().write() as transaction:
            yield transaction


def test_a_full_disk_is_told_and_is_no_fault_of_the_caller(tmp_path: Path) -> None:
    """503 with the reason: it may be tried again, and then it is done."""
    store = FullStore(tmp_path / "queue.sqlite")
    client = create_app(store, Settings(), ROOT_SECRET).test_client()
    asked = {"path": "/arvados/v1/container_requests", "headers": ROOT, "json": {"container_request": WORK}}
    refused = client.post(**asked)
    assert (refused.status_code, "disk is full" in refused.get_json()["errors"][0]) == (503, True)
    assert client.get("/arvados/v1/containers", headers=ROOT).status_code == 200
    store.full = False
    assert client.post(**asked).status_code == 200
    store.close()


def test_what_fails_at_its_very_end_leaves_a_connection_that_can_be_used() -> None:
    """A commit that is refused, here for a row that nobody made, leaves its transaction open unless somebody ends it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE a (id INTEGER PRIMARY KEY);"
        "CREATE TABLE b (a INTEGER REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    with pytest.raises(sqlite3.IntegrityError), transaction_of(connection, "BEGIN IMMEDIATE"):
        connection.execute("INSERT INTO b VALUES (7)")
    with transaction_of(connection, "BEGIN IMMEDIATE"):
        connection.execute("INSERT INTO a VALUES (7)")
    assert connection.execute("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)").fetchone() == (1, 0)
    connection.close()
