"""The client of the queue service against a real HTTP server on loopback: what it sends, and what it makes of the answers."""

from __future__ import annotations

import inspect
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dispatcher.core.looks import Look
from dispatcher.core.messages import QueueError, Records
from dispatcher.core.model import ContainerState
from dispatcher.edge.arvados import ArvadosQueue
from dispatcher.edge.http import Endpoint
from dispatcher.runtime.ports import QueuePort
from tests.edge.queue_server import Answer, Asked, Reply, Running, ok, page, refused, serve

TOKEN_UUID = "zzzzz-gj3su-000000000000000"
SECRET = "3kg6k6lzmp9kj5cpkcoxie963cmvjahbt2fod9zru30k1jqdmi"
TOKEN = f"v2/{TOKEN_UUID}/{SECRET}"
CURRENT = "/arvados/v1/api_client_authorizations/current"
LIST = "/arvados/v1/containers"

_opened: list[ArvadosQueue] = []


@pytest.fixture(autouse=True)
def _close_what_was_opened() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def uuid(number: int) -> str:
    return f"zzzzz-dz642-{number:015d}"


def queued(number: int, priority: int = 1124104624317487) -> dict[str, Any]:
    return {"kind": "arvados#container", "uuid": uuid(number), "state": "Queued", "priority": priority, "locked_by_uuid": None}


def locked(number: int, by: str = TOKEN_UUID) -> dict[str, Any]:
    return queued(number) | {"state": "Locked", "locked_by_uuid": by, "lock_count": 1}


def full(number: int) -> dict[str, Any]:
    return locked(number) | {"runtime_constraints": {"vcpus": 1, "ram": 1 << 28}, "mounts": {}, "scheduling_parameters": {}}


def with_token(answer: Answer) -> Answer:
    """The question for our own token is answered as always; the rest as the test says."""
    return lambda asked: ok({"uuid": TOKEN_UUID, "api_token": SECRET}) if asked.path == CURRENT else answer(asked)


def in_turn(*replies: Reply) -> Answer:
    left = iter(replies)
    return lambda asked: next(left)


def queue(server: Running, **settings: Any) -> ArvadosQueue:
    endpoint = Endpoint(url=server.url, token=TOKEN, server_address="", **{"timeout_s": 10.0, **settings})
    _opened.append(ArvadosQueue(endpoint))
    return _opened[-1]


def lists(mine: Callable[[Asked], Reply], available: Callable[[Asked], Reply]) -> Answer:
    return with_token(lambda asked: mine(asked) if "locked_by_uuid" in asked.fields["filters"] else available(asked))


def nothing(asked: Asked) -> Reply:
    return page()


def numbers(records: Records) -> list[int]:
    return [int(record.uuid[-15:]) for record in records.records]


# ----------------------------------------------------------------------------------------------------------------- asking


def test_a_poll_asks_as_dispatchers_do() -> None:
    """Ours by uuid and counted, the queue by priority and age, a thousand at a time, with no more fields than a poll needs."""
    with serve(lists(nothing, nothing)) as server:
        queue(server).poll(Look())
    current, mine, available = server.asked
    assert (current.method, current.path, current.fields) == ("GET", CURRENT, {})
    assert mine.json("filters") == [["locked_by_uuid", "=", TOKEN_UUID]]
    assert available.json("filters") == [["state", "=", "Queued"], ["priority", ">", "0"]]
    assert (mine.fields["order"], available.json("order")) == ("uuid", ["priority desc", "created_at", "uuid"])
    assert (mine.fields["count"], available.fields["count"]) == ("exact", "none")
    for asked in (mine, available):
        assert (asked.method, asked.path, asked.fields["limit"]) == ("GET", LIST, "1000")
        assert "offset" not in asked.fields
        assert set(asked.json("select")) >= {"uuid", "state", "priority", "created_at"}  # an order's column is needed too
        assert "mounts" not in asked.json("select")


def test_every_call_carries_the_token_and_an_identity_of_its_own() -> None:
    """The token goes into a header, never into the URL; the request id is new each time."""
    with serve(lists(nothing, nothing)) as server:
        queue(server).poll(Look())
    for asked in server.asked:
        assert asked.headers["authorization"] == f"Bearer {TOKEN}"
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        assert re.fullmatch(r"req-[0-9a-z]{20}", asked.headers["x-request-id"])
        assert SECRET not in asked.query + asked.body
    assert len({asked.headers["x-request-id"] for asked in server.asked}) == 3
    assert server.connections == 1


def test_the_token_is_asked_for_once() -> None:
    """Which locks are ours does not change while we run."""
    with serve(lists(nothing, nothing)) as server:
        port = queue(server)
        assert [port.token_uuid(), port.token_uuid()] == [TOKEN_UUID, TOKEN_UUID]
    assert len(server.asked) == 1


def test_a_long_question_travels_in_the_body() -> None:
    """From 1000 bytes on a GET is sent as a POST that says it is one."""
    with serve(lambda asked: page()) as server:
        port = queue(server)
        port.read([uuid(1)])
        port.read([uuid(number) for number in range(100)])
    short, long = server.asked
    assert (short.method, short.headers.get("x-http-method-override"), short.body) == ("GET", None, "")
    assert (long.method, long.headers["x-http-method-override"], long.query) == ("POST", "GET", "")
    assert long.json("filters") == [["uuid", "in", [uuid(number) for number in range(100)]]]
    assert len(short.query) < 1000 <= len(long.body)


# ------------------------------------------------------------------------------------------------------------------ lists


def by_key(pages: dict[str, list[Any]]) -> Answer:
    """Pages by the uuid after which they begin."""
    return lambda asked: page(*pages.get(next((f[2] for f in asked.json("filters") if f[0] == "uuid"), ""), []))


def test_our_containers_are_paged_by_key_until_an_empty_page() -> None:
    """A page shorter than the limit proves nothing: it may have been cut by its size."""
    pages = {"": [locked(1), locked(2)], uuid(2): [locked(3)], uuid(3): [locked(7)]}
    with serve(lists(by_key(pages), nothing)) as server:
        assert numbers(queue(server).poll(Look())) == [1, 2, 3, 7]


def test_the_queue_is_paged_by_what_was_received() -> None:
    """The offset counts records, not pages of a thousand."""
    rows = [queued(number) for number in range(5)]

    def available(asked: Asked) -> Reply:
        offset = int(asked.fields.get("offset", "0"))
        return page(*rows[offset : offset + 2])

    with serve(lists(nothing, available)) as server:
        assert numbers(queue(server).poll(Look())) == [0, 1, 2, 3, 4]
    assert [asked.fields.get("offset") for asked in server.asked[2:]] == [None, "2", "4", "5"]


def test_pages_that_shift_show_each_container_once() -> None:
    """A newcomer at the front pushes the last one of a page onto the next; the later answer about it counts."""
    answers = in_turn(page(queued(1), queued(2, 20)), page(queued(2, 99), queued(3)), page())
    with serve(lists(nothing, answers)) as server:
        records = queue(server).poll(Look())
    assert [(record.uuid, record.priority) for record in records.records][1] == (uuid(2), 99)
    assert numbers(records) == [1, 2, 3]


def test_a_container_in_both_lists_shows_its_later_state() -> None:
    """It was unlocked between the two questions."""
    with serve(lists(in_turn(page(locked(1)), page()), in_turn(page(queued(1)), page()))) as server:
        assert [record.state for record in queue(server).poll(Look()).records] == [ContainerState.QUEUED]


def test_a_list_that_never_ends_is_left() -> None:
    """A service that answers the same page for ever does not keep us for ever."""
    rows = [queued(number) for number in range(20)]
    with serve(lists(lambda asked: page(locked(1)), lambda asked: page(*rows))) as server:
        _opened.append(ArvadosQueue(Endpoint(url=server.url, token=TOKEN), largest_poll=100))
        records = _opened[0].poll(Look())
    assert len(records.records) == 20
    assert len(server.asked) == 1 + 2 + 20
    assert records.rejected == {f"page after {uuid(1)} of our containers": "names no record to go on from"}


def test_bad_records_are_set_aside_and_stop_no_other() -> None:
    """Each is shown under its uuid, or by its place when it has none that can be used."""
    odd = [queued(2) | {"priority": 1e3}, None, queued(3) | {"uuid": "../x"}, queued(4) | {"state": "Paused"}]
    with serve(lists(nothing, in_turn(page(queued(1), *odd, queued(5)), page()))) as server:
        records = queue(server).poll(Look())
    assert numbers(records) == [1, 5]
    assert records.rejected == {
        uuid(2): "priority is not a whole number: 1000.0",
        "record 3 of page 1 of the queue": "the record is not an object: null",
        "record 4 of page 1 of the queue": "uuid is not that of a container: '../x'",
        uuid(4): "state is none that we know: 'Paused'",
    }


def test_a_bad_record_at_the_end_of_a_page_does_not_stop_the_paging() -> None:
    """The next page begins after the last uuid that can be used."""
    pages = {"": [locked(1), locked(2) | {"priority": None}], uuid(2): [locked(3), {"uuid": 5}], uuid(3): [locked(4)]}
    with serve(lists(by_key(pages), nothing)) as server:
        assert numbers(queue(server).poll(Look())) == [1, 3, 4]


def test_the_later_answer_also_decides_whether_it_is_understood() -> None:
    """A container is never both a record and a rejected one."""
    bad = queued(1) | {"priority": None}
    with serve(lists(in_turn(page(bad, locked(2)), page()), in_turn(page(queued(1), bad | {"uuid": uuid(2)}), page()))) as server:
        records = queue(server).poll(Look())
    assert (numbers(records), list(records.rejected)) == ([1], [uuid(2)])


def test_the_next_poll_shows_what_changed() -> None:
    """What is the same is the same value as before; any field that differs is read again."""
    first, second = [queued(1), queued(2), queued(3)], [queued(1), queued(2, 7), queued(3) | {"state": "Paused"}]
    with serve(lists(nothing, in_turn(page(*first), page(), page(*second), page(), page(*first), page()))) as server:
        port = queue(server)
        before, after, again = port.poll(Look()), port.poll(Look()), port.poll(Look())
    assert after.records[0] is before.records[0]
    assert [record.priority for record in after.records] == [before.records[0].priority, 7]
    assert list(after.rejected) == [uuid(3)]
    assert again == before


def test_huge_numbers_spoil_only_their_own_record() -> None:
    """Priorities of real clusters are exact; a number of ten thousand digits is one bad record."""
    body = b'{"items":[%s]}' % b",".join(
        b'{"uuid":"%s","state":"Queued","priority":%s}' % (uuid(number).encode(), priority)
        for number, priority in enumerate([b"1125899906842624001", b"9" * 10_000, b"1e3", b"9223372036854775807"])
    )
    with serve(lists(nothing, in_turn(Reply(body=body), page()))) as server:
        records = queue(server).poll(Look())
    assert [record.priority for record in records.records] == [1125899906842624001, 9223372036854775807]
    assert set(records.rejected) == {uuid(1), uuid(2)}


# ------------------------------------------------------------------------------------------------------------------ reads


def test_a_read_asks_until_all_are_found() -> None:
    """After a short page only the missing ones are asked for, and nothing more once none is missing."""
    with serve(in_turn(page(full(1)), page(full(3), full(2)))) as server:
        assert sorted(numbers(queue(server).read([uuid(1), uuid(2), uuid(3)]))) == [1, 2, 3]
    assert [asked.json("filters")[0][2] for asked in server.asked] == [[uuid(1), uuid(2), uuid(3)], [uuid(2), uuid(3)]]
    assert {"mounts", "runtime_constraints", "container_image"} <= set(server.asked[0].json("select"))


def test_only_an_empty_page_says_that_a_container_does_not_exist() -> None:
    """It is in neither the records nor the rejected ones."""
    with serve(in_turn(page(full(1)), page())) as server:
        records = queue(server).read([uuid(1), uuid(2)])
    assert (numbers(records), records.rejected) == ([1], {})


def test_records_that_were_not_asked_for_prove_no_absence() -> None:
    """A service that ignores the question would otherwise make us drop a container that runs."""
    with serve(lambda asked: page(full(8), {"uuid": None})) as server:
        records = queue(server).read([uuid(1)])
    assert (records.records, list(records.rejected)) == ((), [uuid(1)])


def test_a_read_without_requirements_is_set_aside() -> None:
    """What cannot be sized cannot be placed, and says so."""
    with serve(in_turn(page(locked(1), full(2)))) as server:
        records = queue(server).read([uuid(1), uuid(2), "; reboot"])
    assert numbers(records) == [2]
    assert records.rejected == {
        "; reboot": "is not the uuid of a container",
        uuid(1): "runtime_constraints or mounts is missing",
    }


# ----------------------------------------------------------------------------------------------------------------- writes


def test_lock_and_unlock_are_bare_posts() -> None:
    """The five fields that come back are the record."""
    answer = {"uuid": uuid(1), "locked_by_uuid": TOKEN_UUID, "priority": 5, "state": "Locked", "auth_uuid": "zzzzz-gj3su-1"}
    freed = answer | {"state": "Cancelled", "locked_by_uuid": None}
    with serve(in_turn(ok(answer), ok(freed))) as server:
        port = queue(server)
        assert (port.lock(uuid(1)).state, port.unlock(uuid(1)).state) == (ContainerState.LOCKED, ContainerState.CANCELLED)
    assert [(asked.method, asked.path, asked.body) for asked in server.asked] == [
        ("POST", f"{LIST}/{uuid(1)}/lock", ""),
        ("POST", f"{LIST}/{uuid(1)}/unlock", ""),
    ]


def test_a_cancel_says_why_in_the_same_request() -> None:
    """State and reason go together, and the answer is trimmed to what we read."""
    with serve(in_turn(ok(locked(1) | {"state": "Cancelled"}))) as server:
        status = {"error": "no instance type fits", "errorDetail": "8 GPUs"}
        assert queue(server).cancel(uuid(1), status).state == ContainerState.CANCELLED
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PUT", f"{LIST}/{uuid(1)}")
    assert asked.json("container") == {
        "state": "Cancelled",
        "runtime_status": {"error": "no instance type fits", "errorDetail": "8 GPUs"},
    }
    assert "mounts" not in asked.json("select")


STATUS_REFUSED = "Runtime status cannot be modified in state 'Cancelled' ({}, {\"error\"=>\"x\"}) (req-r3x21t1t0grqoq4epkhs)"


def test_what_another_token_holds_is_cancelled_without_a_reason() -> None:
    """The service lets us end it and not say why."""
    held = full(1) | {"locked_by_uuid": "zzzzz-gj3su-other0000000000"}
    with serve(in_turn(refused(422, STATUS_REFUSED), page(held), ok(queued(1) | {"state": "Cancelled"}))) as server:
        assert queue(server).cancel(uuid(1), {"error": "lost"}).state == ContainerState.CANCELLED
    assert server.asked[-1].json("container") == {"state": "Cancelled"}


@pytest.mark.parametrize("state", ["Complete", "Cancelled"])
def test_what_has_ended_is_not_cancelled_afterwards(state: str) -> None:
    """The same refusal comes for a container that is Complete; a bare cancel would throw its result away."""
    with serve(in_turn(refused(422, STATUS_REFUSED), page(full(1) | {"state": state}))) as server:
        assert queue(server).cancel(uuid(1), {"error": "lost"}).state == state
    assert [asked.method for asked in server.asked] == ["PUT", "GET"]


def test_what_stands_in_a_status_is_read_by_itself() -> None:
    """One small request; nothing there is an empty object."""
    status = {"activity": "sorting", "steps": 3}
    answers = [{"uuid": uuid(1), "runtime_status": status}, {"uuid": uuid(1), "runtime_status": None}]
    with serve(in_turn(*map(ok, answers))) as server:
        assert [queue(server).runtime_status(uuid(1)) for _ in answers] == [status, {}]
    assert (server.asked[0].method, server.asked[0].path) == ("GET", f"{LIST}/{uuid(1)}")
    assert server.asked[0].json("select") == ["uuid", "runtime_status"]


@pytest.mark.parametrize("answer", [{"uuid": uuid(1), "runtime_status": "text"}, {"uuid": uuid(1), "runtime_status": [1]}])
def test_a_status_that_makes_no_sense_is_refused(answer: dict[str, Any]) -> None:
    """What is there would be overwritten unread."""
    with serve(in_turn(ok(answer))) as server, pytest.raises(QueueError, match="runtime_status is no object"):
        queue(server).runtime_status(uuid(1))


def test_a_cancel_always_has_a_reason() -> None:
    """Without one the service would turn a Complete container into a Cancelled one."""
    with serve(in_turn(ok(queued(1) | {"state": "Cancelled"}))) as server:
        queue(server).cancel(uuid(1), {})
    assert server.asked[0].json("container")["runtime_status"]["error"]


@pytest.mark.parametrize("bad", ["999999999", "../users", "", "zzzzz-dz642-" + "x" * 14])
def test_nothing_but_a_uuid_gets_into_a_path(bad: str) -> None:
    """The real service takes a number for some other container."""
    with serve(nothing) as server:
        for act in (queue(server).lock, queue(server).unlock):
            with pytest.raises(QueueError, match="is not the uuid of a container"):
                act(bad)
    assert server.asked == []


@pytest.mark.parametrize("answer", [{}, {"uuid": uuid(1), "state": "Locked"}, locked(2)], ids=["empty", "no priority", "other"])
def test_an_answer_about_something_else_is_no_success(answer: dict[str, Any]) -> None:
    """The core then asks for the record."""
    with serve(in_turn(ok(answer))) as server, pytest.raises(QueueError, match=r"the answer is (not understood|about)"):
        queue(server).lock(uuid(1))


# ----------------------------------------------------------------------------------------------------------------- errors

FAILURES = {
    "rails": (refused(422, "#<ArvadosModel::LockFailedError: cannot lock when Locked> (req-1)"), 422, "cannot lock when Locked"),
    "several": (refused(422, "Auth uuid is readonly (req-1)", "State cannot change"), 422, "readonly (req-1); State cannot"),
    "router": (
        refused(404, "//railsapi.internal/arvados/v1/containers/x: 404 Not Found: Path not found (req-1)"),
        404,
        "404 Not Found: Path not found",
    ),
    "text": (Reply(status=401, body=b'{"errors":"authorization required"}'), 401, "HTTP 401: authorization required"),
    "plain": (Reply(status=401, body=b"authorization required\n", headers={}), 401, "HTTP 401: authorization required"),
    "overload": (Reply(status=503, headers={}), 503, "HTTP 503: no reason given"),
    "proxy": (
        Reply(status=502, body=b"<html><head><style>p {}</style><title>502 Bad Gateway</title></head>\n<p>nginx</p></html>"),
        502,
        "HTTP 502: 502 Bad Gateway nginx",
    ),
    "odd errors": (Reply(status=500, body=b'{"errors":[null,{"a":1}]}'), 500, 'HTTP 500: null; {"a": 1}'),
    "no content": (Reply(status=204), 204, "HTTP 204: no reason given"),
    "not json": (Reply(body=b"<html>log in first</html>"), 200, "no JSON object"),
    "cut": (Reply(body=b'{"uuid":"zzz'), 200, "no JSON object"),
    "list": (Reply(body=b"[]"), 200, "it is a list"),
    "constant": (Reply(body=b'{"priority":NaN}'), 200, "NaN is no JSON"),
    "deep": (Reply(body=b'{"a":' + b"[" * 200_000), 200, "no JSON object"),
    "bytes": (Reply(body=b'{"a":"\xff"}'), 200, "no JSON object"),
    "echo": (Reply(status=400, body=f"bad token {TOKEN} or {SECRET}".encode()), 400, "bad token [token] or [token]"),
    "long": (Reply(status=500, body=b"x" * 1_000_000), 500, "HTTP 500: xxx"),
    "hang up": (Reply(hang_up=True), None, "no answer from http://127.0.0.1:"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_is_told_in_one_short_line(kind: str) -> None:
    """Its status, its inner phrase, no token, whatever stands between us and the service."""
    reply, status, phrase = FAILURES[kind]
    with serve(lambda asked: reply) as server, pytest.raises(QueueError) as caught:
        queue(server).lock(uuid(1))
    failure = caught.value.failure
    assert (failure.status, failure.overloaded) == (status, status == 503)
    assert phrase in failure.text
    assert re.search(rf"POST arvados/v1/containers/{uuid(1)}/lock \(req-[0-9a-z]{{20}}\)", failure.text)
    assert SECRET not in failure.text
    assert len(failure.text) < 1100
    assert failure.text.isprintable()


def test_a_body_that_ends_too_early_is_a_failure() -> None:
    """Half an answer is none."""
    with serve(lambda asked: Reply(body=b'{"uuid":"zz', announce=5000)) as server, pytest.raises(QueueError):
        queue(server).lock(uuid(1))


def test_an_answer_of_more_than_64_mb_is_not_kept() -> None:
    """It is read no further than the limit."""
    megabyte = b" " * 1_000_000
    reply = lambda asked: Reply(announce=66_000_000, pieces=iter([megabyte] * 66))  # noqa: E731
    with serve(reply) as server, pytest.raises(QueueError, match="larger than 64 MB"):
        queue(server).lock(uuid(1))


def trickle(ended: threading.Event) -> Iterator[bytes]:
    while not ended.wait(0.05):
        yield b" "


@pytest.mark.parametrize("slow", ["body", "silence"])
def test_a_slow_answer_ends_at_the_deadline(slow: str) -> None:
    """Byte after byte, each in time, is still too slow as a whole; so is nothing at all."""
    ended = threading.Event()

    def answer(asked: Asked) -> Reply:
        if slow == "silence":
            ended.wait(10)
        return Reply(announce=1_000_000, pieces=trickle(ended))

    with serve(answer) as server:
        try:
            with pytest.raises(QueueError, match=r"no complete answer from .* within 1\.5 s") as caught:
                queue(server, timeout_s=1.5).lock(uuid(1))
        finally:
            ended.set()
    assert caught.value.failure.status is None


def test_nobody_there_is_told_with_the_place() -> None:
    """The operator reads where we tried to connect."""
    with serve(nothing) as server:
        pass
    with pytest.raises(QueueError, match=rf"no answer from http://127\.0\.0\.1:{server.port}: .*refused"):
        queue(server).lock(uuid(1))


def test_a_question_is_asked_again_when_the_connection_was_dead() -> None:
    """A kept connection may be closed by the other side just as we use it."""
    with serve(in_turn(ok({"uuid": TOKEN_UUID}), Reply(hang_up=True), page(full(1)))) as server:
        port = queue(server)
        port.token_uuid()
        assert numbers(port.read([uuid(1)])) == [1]
    assert len(server.asked) == 3


def test_a_write_is_never_sent_twice() -> None:
    """Its outcome is unknown: only the record can tell."""
    with serve(lambda asked: Reply(hang_up=True)) as server, pytest.raises(QueueError):
        queue(server).lock(uuid(1))
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_token_follows_no_redirect(status: int) -> None:
    """Whoever answers cannot send our token elsewhere."""
    with serve(nothing) as elsewhere:
        reply = Reply(status=status, headers={"Location": f"{elsewhere.url}steal?x=1"})
        told = rf"sent on to http://127\.0\.0\.1:{elsewhere.port}, which is not followed"
        with serve(lambda asked: reply) as server, pytest.raises(QueueError, match=told):
            queue(server).token_uuid()
    assert elsewhere.asked == []


def test_an_answer_sets_no_cookie() -> None:
    """Each request stands alone."""
    reply = Reply(body=b'{"items":[]}', headers={"Set-Cookie": "a=b; Path=/"})
    with serve(lambda asked: reply) as server:
        port = queue(server)
        port.read([uuid(1)])
        port.read([uuid(1)])
    assert "cookie" not in server.asked[1].headers


def test_many_threads_share_the_connections() -> None:
    """24 calls at once each get their own answer."""
    gate = threading.Barrier(24)

    def answer(asked: Asked) -> Reply:
        gate.wait(20)
        return ok(locked(int(asked.path.split("/")[-2][-15:])))

    with serve(answer) as server:
        port = queue(server, timeout_s=30.0)
        got: dict[int, str] = {}

        def lock(number: int) -> None:
            got[number] = port.lock(uuid(number)).uuid

        threads = [threading.Thread(target=lock, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {number: uuid(number) for number in range(24)}


# --------------------------------------------------------------------------------------------------------------- start-up


def test_the_start_waits_until_the_service_answers(caplog: pytest.LogCaptureFixture) -> None:
    """Each failed attempt is logged, then the token is known."""
    caplog.set_level(logging.WARNING)
    with serve(in_turn(Reply(status=502), Reply(hang_up=True), Reply(hang_up=True), ok({"uuid": TOKEN_UUID}))) as server:
        assert queue(server).check(threading.Event()) == TOKEN_UUID
    assert [f"attempt {number}" in message for number, message in enumerate(caplog.messages, 1)] == [True, True]


def test_a_token_that_is_refused_is_no_reason_to_wait() -> None:
    """An operator has to mend it."""
    answer = refused(401, "Not logged in (req-1)")
    with serve(lambda asked: answer) as server, pytest.raises(QueueError, match="Not logged in"):
        queue(server).check(threading.Event())
    assert len(server.asked) == 1


def test_the_start_is_given_up_in_time() -> None:
    """By its patience, and at once when we are told to stop."""
    stopped = threading.Event()
    stopped.set()
    with serve(lambda asked: Reply(status=503)) as server:
        for stop, patience_s in ((threading.Event(), 0.0), (stopped, 300.0)):
            with pytest.raises(QueueError, match="HTTP 503"):
                queue(server).check(stop, patience_s)
    assert len(server.asked) == 2


@pytest.mark.parametrize("answer", [{}, {"uuid": None}, {"uuid": "zzzzz-tpzed-000000000000000"}])
def test_an_answer_that_names_no_token_is_refused(answer: dict[str, Any]) -> None:
    """With a wrong token uuid we would take other dispatchers' locks for ours."""
    with serve(lambda asked: ok(answer)) as server, pytest.raises(QueueError, match="names no token"):
        queue(server).token_uuid()


def test_it_is_the_port_that_the_runtime_asks_for() -> None:
    """Every call of the port, with the same arguments."""
    calls = [name for name in vars(QueuePort) if not name.startswith("_")]
    assert len(calls) >= 6
    for name in calls:
        wanted, ours = inspect.signature(getattr(QueuePort, name)), inspect.signature(getattr(ArvadosQueue, name))
        assert ours == wanted, name


def test_the_secret_is_shown_nowhere() -> None:
    """Not in the value's own form either."""
    endpoint = Endpoint(url="https://user:word@queue.example/", token=TOKEN)
    assert SECRET not in repr(endpoint)
    assert "word" not in ArvadosQueue(endpoint).describe()
