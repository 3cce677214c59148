"""Hints from an event service on a real socket: which changes become hints, and that the socket may fail at any time."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.edge.events import Events, EventService, Hint, hint_of
from tests.embedded.live import LiveQueue, until

# Where nobody listens yet, the library of Debian 12 leaves its socket to the interpreter, which closes it and says so.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def swept() -> Iterator[None]:
    """It says so here, and not in whatever test comes after these."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


CONTAINER, REQUEST = "zzzzz-dz642-000000000000001", "zzzzz-xvhdp-000000000000001"
NEW, ALL = Hint(container=CONTAINER), Hint()

# kind of the event, object, its state afterwards → the hint
HINTS: list[tuple[str, str, str | None, Hint | None]] = [
    ("create", CONTAINER, "Queued", NEW),
    ("update", CONTAINER, "Queued", NEW),
    ("update", CONTAINER, "Cancelled", NEW),
    ("update", CONTAINER, "Complete", Hint(container=CONTAINER, ended=True)),
    ("update", CONTAINER, None, NEW),
    ("delete", CONTAINER, None, NEW),
    ("update", CONTAINER, "Locked", None),
    ("update", CONTAINER, "Running", None),
    ("update", REQUEST, "Committed", ALL),
    ("create", REQUEST, "Committed", Hint(container=REQUEST)),
    ("update", REQUEST, None, ALL),
    ("update", REQUEST, "Final", None),
    ("create", REQUEST, "Uncommitted", None),
    ("create", "zzzzz-4zz18-000000000000001", None, None),
]


@pytest.mark.parametrize(("kind", "uuid", "state", "hint"), HINTS)
def test_what_becomes_a_hint(kind, uuid, state, hint):
    """What we and our runners wrote, and what no container waits for, wakes nobody."""
    said = {"event_type": kind, "object_uuid": uuid, "properties": {"new_attributes": {"state": state}}}
    assert hint_of(said) == hint


@pytest.mark.parametrize("said", [{}, {"object_uuid": 7}, {"object_uuid": CONTAINER, "properties": []}])
def test_an_odd_event_is_a_hint_at_most(said):
    """And no error."""
    assert hint_of(said) in (None, NEW)


class Heard:
    """Two events on their way to the store, kept instead."""

    def __init__(self, url: str, token: str, certificate: str | None = None) -> None:
        self.hints: list[Hint] = []
        self.flowing: list[bool] = []
        self.stop = threading.Event()
        service = EventService(url=url, token=token, ca_file=certificate)
        self.events = Events(service, hinted=self.hints.append, flowing=self.flowing.append, stop=self.stop)
        self.thread = threading.Thread(target=self.events.run, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.stop.set()
        self.thread.join(20.0)
        assert not self.thread.is_alive()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[LiveQueue]:
    served = LiveQueue(tmp_path)
    served.start()
    yield served
    served.stop()


def events_url(queue: LiveQueue) -> str:
    return str(queue.description["events_url"])


def test_a_change_of_the_queue_is_heard(queue):
    """Over TLS: the subscription, then a submission, then a lock, which is our own echo; at last the service goes and comes."""
    heard = Heard(events_url(queue), queue.root_token, queue.description["certificate"])
    try:
        until(lambda: heard.flowing == [True], "the subscription was answered")
        assert heard.hints == [ALL]  # what happened before anybody listened
        uuid = queue.queued()
        until(lambda: Hint(container=uuid) in heard.hints, f"the new container in {heard.hints}")
        before = len(heard.hints)
        queue.done("POST", f"containers/{uuid}/lock")
        other = queue.queued()
        until(lambda: Hint(container=other) in heard.hints, "the next one")
        assert Hint(container=uuid) not in heard.hints[before:]
        queue.stop()
        until(lambda: heard.flowing[-1:] == [False], "the end of the socket")
        queue.start()
        until(lambda: heard.flowing == [True, False, True], "it was connected again")
    finally:
        heard.close()


def test_a_token_that_sees_nothing_hears_nothing(queue):
    """The handshake is accepted all the same."""
    heard = Heard(events_url(queue), "v2/zzzzz-gj3su-999999999999999/nobodys", queue.description["certificate"])
    try:
        until(lambda: heard.flowing == [True], "the subscription was answered")
        queue.queued()
        time.sleep(0.3)
        assert heard.hints == [ALL]
    finally:
        heard.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_no_event_service_is_told_once_and_tried_again(answer, caplog):
    """Nothing but speed depends on it, so one warning is enough; the token stands in none."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        calls: list[int] = []

        def serve_all() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    calls.append(1)
                    connection.sendall(answer)

        threading.Thread(target=serve_all, daemon=True).start()
        heard = Heard(f"ws://127.0.0.1:{listener.getsockname()[1]}/websocket", "v2/zzzzz-gj3su-000000000000000/topsecrettoken")
        try:
            until(lambda: len(calls) >= 2, "it was tried again")
        finally:
            heard.close()
            listener.shutdown(socket.SHUT_RDWR)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1
    assert "topsecret" not in json.dumps(told)
    assert True not in heard.flowing


