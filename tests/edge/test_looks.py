"""Looks at the queue against a real HTTP server on loopback: which requests a look costs, and what it may conclude from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from dispatcher.core.looks import PEEK, Cursor, Look, place
from dispatcher.core.messages import QueueError, Sight
from dispatcher.core.model import ContainerState
from dispatcher.edge.arvados import ArvadosQueue
from dispatcher.edge.http import Endpoint
from tests.edge.queue_server import Asked, Reply, Running, ok, refused, serve

OURS = "zzzzz-gj3su-000000000000000"
TOKEN = f"v2/{OURS}/3kg6k6lzmp9kj5cpkcoxie963cmvjahbt2fod9zru30k1jqdmi"
CURRENT = "/arvados/v1/api_client_authorizations/current"
BORN = "2026-11-21T17:00:00.000000000Z"


def uuid(number: int) -> str:
    return f"zzzzz-dz642-{number:015d}"


def waits(number: int, priority: int) -> dict[str, Any]:
    return {"uuid": uuid(number), "state": "Queued", "priority": priority, "locked_by_uuid": None, "created_at": BORN}


def held(number: int, state: str = "Running") -> dict[str, Any]:
    return waits(number, 9) | {"state": state, "locked_by_uuid": OURS, "lock_count": 1}


class Service:
    """Lists as the real one answers them: filtered, in order, in pages of at most ``most``, counted when asked to."""

    def __init__(self, *rows: dict[str, Any], most: int = 1000) -> None:
        self.rows, self.most = list(rows), most
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == CURRENT:
            return ok({"uuid": OURS})
        found = [row for row in self.rows if all(self._passes(row, *each) for each in asked.json("filters"))]
        by_uuid = asked.fields.get("order") == "uuid"
        found.sort(key=lambda row: row["uuid"] if by_uuid else (-row["priority"], row["created_at"], row["uuid"]))
        offset, limit = int(asked.fields.get("offset", "0")), min(self.most, int(asked.fields["limit"]))
        answer: dict[str, Any] = {"items": found[offset : offset + limit], "offset": offset, "limit": limit}
        if asked.fields["count"] == "exact":
            answer["items_available"] = len(found)
        self.meanwhile()
        return ok(answer)

    @staticmethod
    def _passes(row: dict[str, Any], name: str, operator: str, wanted: Any) -> bool:
        value = row[name]
        wanted = int(wanted) if name == "priority" else wanted
        return {"=": lambda: value == wanted, ">": lambda: value > wanted, "<=": lambda: value <= wanted}[operator]()


@contextmanager
def looking(service: Service) -> Iterator[tuple[ArvadosQueue, Running]]:
    with serve(service) as server:
        endpoint = Endpoint(url=server.url, token=TOKEN, server_address="", timeout_s=10.0)
        with closing(ArvadosQueue(endpoint)) as port:
            port.token_uuid()
            server.asked.clear()
            yield port, server


def numbers(sight: Sight) -> list[int]:
    return [int(record.uuid[-15:]) for record in sight.records]


def test_a_look_at_the_top_is_one_request() -> None:
    """A hundred of those that wait, in their order, and where to go on."""
    service = Service(*(waits(number, 1000 - number // 10) for number in range(500)))
    with looking(service) as (port, server):
        sight = port.poll(Look(own=False, size=PEEK))
    assert numbers(sight) == list(range(PEEK))
    assert (len(server.asked), sight.span.lists, sight.span.ended, sight.span.waiting) == (1, 1, False, None)
    assert sight.span.last == place(991, BORN, uuid(99))
    assert sight.span.after == Cursor(priority=991, passed=10)


def test_the_count_that_comes_with_a_page_proves_its_end() -> None:
    """What we hold and a short queue are two requests, each with its count, and no further page has to be empty."""
    with looking(Service(held(1), held(2), waits(3, 5))) as (port, server):
        sight = port.poll(Look(exact=True))
    assert numbers(sight) == [1, 2, 3]
    assert [asked.fields["count"] for asked in server.asked] == ["exact", "exact"]
    assert (sight.span.ended, sight.span.waiting, sight.span.lists) == (True, 1, 2)


@pytest.mark.parametrize("most", [1000, 3])
def test_without_a_count_only_an_empty_page_ends_the_queue(most: int) -> None:
    """A page that is shorter than asked for may have been cut: by the site's own limit, or by its size."""
    with looking(Service(*(waits(number, 5) for number in range(7)), most=most)) as (port, server):
        sight = port.poll(Look(own=False))
    assert numbers(sight) == list(range(7))
    assert sight.span.ended
    assert len(server.asked) == sight.span.lists == (2 if most == 1000 else 4)


def test_all_that_we_hold_is_listed_however_the_service_cuts_its_pages() -> None:
    """The count says that more is to come; the next page begins after the last uuid."""
    with looking(Service(*(held(number) for number in range(7)), most=3)) as (port, server):
        sight = port.poll(Look(size=0))
    assert numbers(sight) == list(range(7))
    assert len(server.asked) == sight.span.lists == 3


def test_how_many_wait_is_asked_without_a_record() -> None:
    """``limit=0``, by itself."""
    with looking(Service(*(waits(number, 5) for number in range(150)))) as (port, server):
        sight = port.poll(Look(own=False, size=PEEK, count=True))
    assert (sight.span.waiting, sight.span.lists, server.asked[1].fields["limit"]) == (150, 2, "0")


def test_a_walk_goes_on_below_where_it_was_whatever_left_above() -> None:
    """By priority and the number passed of that priority: fifty above were started meanwhile, and nobody is left out."""
    service = Service(*(waits(number, 900 if number < 60 else 500) for number in range(200)))
    with looking(service) as (port, _server):
        first = port.poll(Look(own=False, size=PEEK))
        del service.rows[:50]
        second = port.poll(Look(own=False, size=PEEK, after=first.span.after))
        third = port.poll(Look(own=False, size=PEEK, after=second.span.after))
    assert first.span.after == Cursor(priority=500, passed=40)
    assert [numbers(each) for each in (first, second, third)] == [list(range(100)), list(range(100, 200)), []]
    assert second.span.first == place(500, BORN, uuid(100))
    assert second.span.after == Cursor(priority=500, passed=140)
    assert third.span.ended


def test_a_look_in_full_tells_what_they_ask_for() -> None:
    """One answer instead of a question for each hundred; who says nothing of it is set aside."""
    size = {"runtime_constraints": {"vcpus": 2, "ram": 1 << 30}, "mounts": {}, "scheduling_parameters": {}}
    with looking(Service(held(1) | size, waits(2, 5) | size, waits(3, 5))) as (port, server):
        sight = port.poll(Look(full=True, exact=True))
    assert [record.requirements.vcpus for record in sight.records if record.requirements] == [2, 2]
    assert sight.rejected == {uuid(3): "runtime_constraints or mounts is missing"}
    assert all("mounts" in asked.json("select") for asked in server.asked)


def test_who_moves_between_the_lists_shows_its_later_state() -> None:
    """What we hold is asked for first: one that is unlocked in between is shown as Queued, and one that is locked in between by
    nobody else than us, who knows of it."""
    service = Service(held(1, "Locked"))
    service.meanwhile = lambda: service.rows.__setitem__(0, waits(1, 5))
    with looking(service) as (port, _server):
        (record,) = port.poll(Look(exact=True)).records
    assert record.state is ContainerState.QUEUED


def test_a_page_of_garbage_says_where_nothing() -> None:
    """Nothing was understood, so nothing is missing from it and there is no way to go on."""
    with looking(Service(*(waits(number, 5) | {"created_at": 5} for number in range(150)))) as (port, _server):
        sight = port.poll(Look(own=False, size=PEEK))
    assert (sight.records, len(sight.rejected), sight.span.last, sight.span.after) == ((), PEEK, None, None)
    assert not sight.span.covers(place(9, BORN, uuid(1)))


def test_half_a_look_is_none() -> None:
    """When the second list fails, the first is not taken for all."""
    service = Service(held(1), waits(2, 5))

    def answer(asked: Asked) -> Reply:
        return refused(503) if "Queued" in asked.fields.get("filters", "") else service(asked)

    with (
        serve(answer) as server,
        closing(ArvadosQueue(Endpoint(url=server.url, token=TOKEN, server_address=""))) as port,
        pytest.raises(QueueError) as caught,
    ):
        port.poll(Look())
    assert caught.value.failure.status == 503


def test_a_count_that_makes_no_sense_is_no_proof() -> None:
    """Then only an empty page ends the list."""
    pages = {"": [held(1)], uuid(1): []}

    def answer(asked: Asked) -> Reply:
        if asked.path == CURRENT:
            return ok({"uuid": OURS})
        after = next((each[2] for each in asked.json("filters") if each[0] == "uuid"), "")
        return Reply(body=json.dumps({"items": pages[after], "items_available": "many"}).encode())

    with serve(answer) as server, closing(ArvadosQueue(Endpoint(url=server.url, token=TOKEN, server_address=""))) as port:
        assert numbers(port.poll(Look(size=0))) == [1]
    assert len(server.asked) == 3


BAD_ANSWERS = {
    "401": (refused(401, "Not logged in (req-1)"), 401, "HTTP 401: Not logged in"),
    "422": (refused(422, "#<ArgumentError: Could not parse filters> (req-1)"), 422, "Could not parse filters"),
    "503": (Reply(status=503, headers={}), 503, "HTTP 503: no reason given"),
    "page of a proxy": (Reply(status=502, body=b"<html><title>502 Bad Gateway</title></html>"), 502, "502 Bad Gateway"),
    "page with 200": (Reply(body=b"<html>log in first</html>"), 200, "no JSON object"),
    "garbage": (Reply(body=b"\xff\x00\x17"), 200, "no JSON object"),
    "half a page": (Reply(body=b'{"items":[{"uuid":"zzzzz-dz642-0', announce=5000), None, "no answer"),
    "no items": (ok({"kind": "arvados#containerList"}), 200, "the answer holds no list of items"),
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_after_a_bad_answer_the_next_good_one_is_believed_at_once(kind: str) -> None:
    """A look fails as a whole, with a short reason and no token in it, and leaves no trace in the next one."""
    bad, status, words = BAD_ANSWERS[kind]
    service, broken = Service(held(1), waits(2, 5)), [False]

    def answer(asked: Asked) -> Reply:
        return bad if broken[0] and asked.path != CURRENT else service(asked)

    with serve(answer) as server, closing(ArvadosQueue(Endpoint(url=server.url, token=TOKEN, server_address=""))) as port:
        before = port.poll(Look(exact=True))
        broken[0] = True
        with pytest.raises(QueueError) as caught:
            port.poll(Look(exact=True))
        broken[0] = False
        assert port.poll(Look(exact=True)) == before
    assert caught.value.failure.status == status
    assert words in caught.value.failure.text
    assert TOKEN[-20:] not in caught.value.failure.text
    assert len(caught.value.failure.text) < 400
