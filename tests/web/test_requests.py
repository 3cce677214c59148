"""Requests as the web layer measures them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher.web.app import make_app
from dispatcher.web.requests import Requests, Waits
from tests.core import build
from tests.web.exposition import Page, read
from tests.web.fakes import TOKEN, FakeView

AUTH = {"Authorization": f"Bearer {TOKEN}"}


class Ticks:
    """A clock that each look moves by a second."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def page(requests: Requests) -> Page:
    return read(make_app(FakeView(), TOKEN, requests).test_client().get("/metrics", headers=AUTH).text)


@pytest.mark.parametrize(
    ("method", "path", "headers", "code", "called"),
    [
        ("GET", "/arvados/v1/dispatch/instances", AUTH, "200", "get"),
        ("GET", "/arvados/v1/dispatch/instances", {}, "401", "get"),
        ("POST", "/arvados/v1/dispatch/instances/hold", AUTH, "400", "post"),
        ("GET", "/nonesuch", AUTH, "404", "get"),
        ("BREW", "/nonesuch", AUTH, "404", "unknown"),
    ],
)
def test_a_request_is_timed_by_code_and_method(method: str, path: str, headers: dict[str, str], code: str, called: str) -> None:
    """Each once, in both summaries. Methods that nobody has defined are one: clients do not choose labels."""
    requests = Requests(Waits(), now=Ticks())
    client = make_app(FakeView(state=build.state(build.instance())), TOKEN, requests).test_client()
    client.open(path, method=method, headers=headers).close()
    told = page(requests)
    assert told.value("request_duration_seconds_count", code=code, method=called) == 1
    assert told.value("time_to_status_seconds_count", code=code, method=called) == 1
    assert told.value("request_duration_seconds_sum", code=code, method=called) == 2.0
    assert told.value("time_to_status_seconds_sum", code=code, method=called) == 1.0


def test_an_application_that_raises_counts_as_500() -> None:
    """Whoever stands around it answers; the request is over all the same."""
    requests = Requests(Waits())

    def broken(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        requests.around(broken)({"REQUEST_METHOD": "GET", "PATH_INFO": "/x"}, None)
    told = page(requests)
    assert told.value("request_duration_seconds_count", code="500", method="get") == 1
    assert told.value("arvados_concurrent_requests", queue="api") == 0


@contextlib.contextmanager
def in_progress(requests: Requests, **environ: Any) -> Iterator[None]:
    """A request whose answer has begun and not ended."""
    answer = requests.around(lambda environ, start_response: [b"x"])(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/x", **environ}, lambda status, headers: None
    )
    try:
        yield
    finally:
        answer.close()  # type: ignore[attr-defined]


def test_a_request_in_progress_has_an_age() -> None:
    """And none when it is over. A scrape does not count itself."""
    requests = Requests(Waits(), now=Ticks())
    with in_progress(requests):
        told = page(requests)
        assert told.value("arvados_concurrent_requests", queue="api") == 1
        assert told.value("arvados_max_active_request_age_seconds") > 0
        assert told.value("arvados_max_abandoned_request_age_seconds") == 0
    told = page(requests)
    assert told.value("arvados_concurrent_requests", queue="api") == 0
    assert told.value("arvados_max_active_request_age_seconds") == 0


def test_a_client_that_hung_up_is_seen_by_the_next_scrape() -> None:
    """Its request is abandoned from then on; nothing is read from the connection for that."""
    requests = Requests(Waits(), now=Ticks())
    ours, theirs = socket.socketpair()
    with ours, in_progress(requests, **{"gunicorn.socket": ours}):
        theirs.sendall(b"more")
        assert page(requests).value("arvados_max_abandoned_request_age_seconds") == 0
        theirs.close()
        page(requests)
        assert page(requests).value("arvados_max_abandoned_request_age_seconds") > 0
        assert ours.recv(10) == b"more"


def test_the_wait_for_a_thread_is_told_with_the_request_that_waited() -> None:
    """Told once, by the thread that took it; who waits is in the queue meanwhile."""
    waits = Waits()
    requests = Requests(waits, threads=3)
    connection, other = object(), object()
    waits.begin(connection)
    waits.begin(other)
    assert page(requests).value("arvados_queued_requests", queue="api", priority="normal") == 2
    waits.end(connection)
    told = page(requests)
    assert told.value("arvados_queued_requests", queue="api", priority="normal") == 1
    assert told.value("arvados_queue_delay_seconds_count", queue="api", priority="normal") >= 1
    assert (told.value("arvados_max_concurrent_requests", queue="api"), waits.of_this_thread()) == (3, 0.0)


def test_requests_from_many_threads_are_all_counted() -> None:
    """None is lost and none stays."""
    requests = Requests(Waits())
    client = make_app(FakeView(), TOKEN, requests)

    def ask() -> None:
        for _ in range(20):
            client.test_client().get("/nonesuch", headers=AUTH).close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = page(requests)
    assert told.value("request_duration_seconds_count", code="404", method="get") == 80
    assert told.value("arvados_concurrent_requests", queue="api") == 0
