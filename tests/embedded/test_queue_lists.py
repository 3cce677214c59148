"""Lists: filters, order, selection, pages and counts, and how each is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher.embedded.resources import CONTAINERS
from tests.embedded.desk import Desk

BIG = 1125898111560282091
# uuid ending → what differs from the defaults.
ROWS: dict[str, dict[str, Any]] = {
    "a": {"state": "Queued", "priority": BIG, "modified_at": "2026-01-01T00:00:00.000000000Z"},
    "b": {"state": "Queued", "priority": BIG - 1, "modified_at": "2026-01-02T00:00:00.000000000Z"},
    "c": {"state": "Locked", "priority": 5, "locked_by_uuid": "zzzzz-gj3su-000000000000000", "lock_count": 7},
    "d": {"state": "Running", "priority": 0, "runtime_status": {"error": "boom", "n": 5}, "cwd": "/tmp", "progress": 0.5},
    "e": {"state": "Complete", "priority": 1, "exit_code": 3, "output_properties": {"type": "log"}},
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("lists"))
    with desk.store.write() as transaction:
        for name, row in ROWS.items():
            record = CONTAINERS.blank() | {"uuid": uuid(name), "created_at": "2026-01-01T00:00:00.000000000Z"} | row
            transaction.insert(CONTAINERS, record)
    yield desk
    desk.close()


def uuid(name: str) -> str:
    return f"zzzzz-dz642-{name:0>15}"


def names(desk: Desk, **parameters: Any) -> str:
    """The endings of the uuids of a list, in its order."""
    items = desk.done("root", "GET", "containers", **{"select": ["uuid", "priority", "modified_at"], **parameters})["items"]
    return "".join(item["uuid"][-1] for item in items)


FILTERS: list[tuple[list[Any], str]] = [
    ([["state", "=", "Queued"]], "ab"),
    ([["state", "!=", "Queued"]], "cde"),
    ([["state", "in", ["Queued", "Locked"]]], "abc"),
    ([["state", "not in", ["Queued", "Locked"]]], "de"),
    ([["state", "in", []]], ""),
    ([["state", "=", "Queued"], ["priority", ">", "0"]], "ab"),
    ([["priority", ">", BIG - 1]], "a"),
    ([["priority", "=", str(BIG)]], "a"),
    ([["priority", "<=", 1]], "de"),
    ([["locked_by_uuid", "=", None]], "abde"),
    ([["locked_by_uuid", "!=", None]], "c"),
    ([["locked_by_uuid", "!=", "zzzzz-gj3su-000000000000000"]], "abde"),
    ([["locked_by_uuid", "in", [None, "zzzzz-gj3su-000000000000000"]]], "abcde"),
    ([["exit_code", "not in", [3]]], "abcd"),
    ([["uuid", "like", "zzzzz-dz642-%a"]], "a"),
    ([["uuid", "ilike", "ZZZZZ-%A"]], "a"),
    ([["uuid", "like", "ZZZZZ-%A"]], ""),
    ([["uuid", "not like", "%a"]], "bcde"),
    ([["uuid", "is_a", "arvados#container"]], "abcde"),
    ([["uuid", "is_a", "arvados#group"]], ""),
    ([["uuid", ">", uuid("c")]], "de"),
    ([["runtime_status.error", "exists", True]], "d"),
    ([["runtime_status.error", "exists", False]], "abce"),
    ([["runtime_status", "exists", "error"]], "d"),
    ([["runtime_status.error", "=", "boom"]], "d"),
    ([["runtime_status.n", "=", 5]], "d"),
    ([["runtime_status.error", "!=", "boom"]], "abce"),
    ([["output_properties", "contains", {"type": "log"}]], "e"),
    ([["output_storage_classes", "contains", "default"]], "abcde"),
    ([["(lock_count < priority)", "=", True]], "abe"),
    ([[["state", "cwd"], "=", "/tmp"]], "d"),
    ([["any", "ilike", "%RUNNING%"]], "d"),
    ([["modified_at", ">", "2026-01-01T12:00:00Z"]], "b"),
    ([["interactive_session_started", "=", False]], "abcde"),
    ([["progress", ">=", "0.5"]], "d"),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
def test_a_filter_finds_its_rows(listed: Desk, filters: list[Any], expected: str) -> None:
    """Null is different from every value, numbers may be texts, 64 bits count exactly."""
    assert names(listed, filters=filters, order=["uuid"]) == expected


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("containers", {"filters": [["nonesuch", "=", "x"]]}, 422, "Invalid attribute 'nonesuch' in filter"),
    ("containers", {"filters": [["secret_mounts", "like", "%"]]}, 422, "Invalid attribute 'secret_mounts' in filter"),
    ("containers", {"filters": [["runtime_token", "=", "x"]]}, 422, "Invalid attribute 'runtime_token' in filter"),
    ("containers", {"filters": [["gateway_address", "=", "x"]]}, 422, "Invalid attribute 'gateway_address' in filter"),
    ("containers", {"filters": [["scheduling_parameters.preemptible", "=", True]]}, 422, "subproperty"),
    ("containers", {"filters": [["uuid", "~", "x"]]}, 422, "Invalid operator '~'"),
    ("containers", {"filters": [["state", "in", "Queued"]]}, 422, "Invalid operand type 'String' for 'in' operator"),
    ("containers", {"filters": [["priority", "=", "abc"]]}, 422, "invalid input syntax for type bigint"),
    ("containers", {"filters": [["uuid", "="]]}, 422, "Invalid element in filters array"),
    ("containers", {"filters": "zz"}, 400, "invalid character 'z' looking for beginning of value"),
    ("containers", {"filters": '{"a":1}'}, 400, "cannot unmarshal object into Go value of type [][]interface {}"),
    ("containers", {"filters": '["uuid"]'}, 400, "cannot unmarshal string into Go value of type []interface {}"),
    ("containers", {"filters": [["uuid", "in", ["aaaaa-dz642-queuedcontainer"]]]}, 502, "no proxy available for cluster aaaaa"),
    ("containers", {"select": []}, 422, "Attribute selection list cannot be empty"),
    ("containers", {"select": ["nonesuch"]}, 422, "Invalid attribute 'nonesuch' of Container in select parameter"),
    ("containers", {"select": ["secret_mounts"]}, 422, "Invalid attribute 'secret_mounts' of Container"),
    ("containers", {"select": "uuid"}, 422, 'Could not parse "select" param as an array'),
    ("containers", {"limit": "-1"}, 422, "Invalid value for limit parameter"),
    ("containers", {"limit": "abc"}, 422, "Invalid value for limit parameter"),
    ("containers", {"offset": "-1"}, 422, "Invalid value for offset parameter"),
    ("containers", {"count": "some"}, 422, "count"),
    ("container_requests", {"filters": "zz"}, 500, "transcode: json: cannot unmarshal string"),
    ("container_requests", {"limit": "-1"}, 500, "context canceled"),
    ("container_requests", {"limit": "abc"}, 500, "strconv.ParseInt"),
    ("container_requests", {"select": ["nonesuch"]}, 422, "Invalid attribute 'nonesuch' of ContainerRequest"),
    ("container_requests", {"filters": [["nonesuch", "=", 1]]}, 422, "Invalid attribute 'nonesuch' in filter"),
]


@pytest.mark.parametrize(("path", "parameters", "status", "phrase"), REFUSED)
def test_a_list_that_makes_no_sense_is_refused(
    listed: Desk, path: str, parameters: dict[str, Any], status: int, phrase: str
) -> None:
    """Each mistake has its status and its phrase."""
    found, text = listed.refused("root", "GET", path, **parameters)
    assert found == status
    assert phrase in text


ORDERS: list[tuple[Any, str]] = [
    (["priority desc"], "abced"),
    (["priority asc"], "decba"),
    ("priority desc,uuid", "abced"),
    (["containers.priority desc"], "abced"),
    (["nonesuch desc"], "edcba"),
    (["priority sideways"], "edcba"),
    (["modified_at"], "abedc"),
    (None, "edcba"),
]


@pytest.mark.parametrize(("order", "expected"), ORDERS)
def test_rows_come_in_order(listed: Desk, order: Any, expected: str) -> None:
    """What is unknown is ignored; without an order, the newest change first and rows that were never changed before them."""
    select = ["uuid", "priority", "modified_at"] if order else ["uuid"]
    assert names(listed, select=select, **({"order": order} if order else {})) == expected


def test_an_order_that_is_not_selected_does_not_count(listed: Desk) -> None:
    """The column is dropped without a word."""
    assert names(listed, select=["uuid"], order=["priority desc"]) == "edcba"


def test_pages_and_counts(listed: Desk) -> None:
    """Limit and offset cut; the count is of all; count=none leaves it out; a great limit is cut."""
    page = listed.done("root", "GET", "containers", limit=2, offset=1, order=["uuid"], select=["uuid"])
    assert [item["uuid"][-1] for item in page["items"]] == ["b", "c"]
    assert (page["limit"], page["offset"], page["items_available"]) == (2, 1, 5)
    assert set(page) == {"kind", "etag", "self_link", "offset", "limit", "items", "items_available"}
    empty = listed.done("root", "GET", "containers", limit=0, count="none")
    assert (empty["items"], "items_available" in empty) == ([], False)
    assert listed.done("root", "GET", "containers", limit=100000, select=["uuid"])["limit"] == 1000


def test_a_selection_cuts_and_keeps_the_kind(listed: Desk) -> None:
    """In a list the kind is always there; in a single answer it is not."""
    items = listed.done("root", "GET", "containers", select=["uuid"], limit=1)["items"]
    assert set(items[0]) == {"kind", "uuid"}
    assert set(listed.done("root", "GET", f"containers/{uuid('a')}", select=["uuid"])) == {"uuid"}


def test_equal_items_come_once_when_asked(listed: Desk) -> None:
    """distinct looks at what was selected."""
    items = listed.done("root", "GET", "containers", select=["state"], distinct="true")["items"]
    assert sorted(item["state"] for item in items) == ["Complete", "Locked", "Queued", "Running"]


def test_the_old_where_still_filters(listed: Desk) -> None:
    """An object of attributes and values."""
    assert names(listed, where={"state": "Queued"}, order=["uuid"]) == "ab"


def test_requests_are_found_by_their_container(desk: Desk) -> None:
    """A filter may name the attributes of the container behind a request."""
    waiting, running = desk.ask(), desk.ask()
    desk.bring(running["container_uuid"], "Running")
    found = desk.done("user", "GET", "container_requests", filters=[["container.state", "=", "Running"]])
    assert [item["uuid"] for item in found["items"]] == [running["uuid"]] != [waiting["uuid"]]
    assert set(found) == {"items", "items_available", "kind", "limit", "offset"}
