"""Nothing is said on a channel after our own close of it: a server ends the whole connection for that."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dispatcher.edge.ssh.transport import KeptTransport

CLOSED, OPEN = SimpleNamespace(chanid=5), SimpleNamespace(chanid=6)


@pytest.fixture
def transport() -> Iterator[KeptTransport]:
    """Not begun: what its thread would read is handed to it here."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield KeptTransport(ours, "i1")


def test_what_the_other_side_has_closed_is_told_nothing(transport: KeptTransport) -> None:
    """Its close is answered at once, and then there is no such channel there any more; the others are talked on as before."""
    said: list[str] = []
    transport._take_close(CLOSED.chanid)
    assert transport.talk(CLOSED, lambda: said.append("end of input")) is None  # type: ignore[arg-type]
    assert transport.talk(OPEN, lambda: said.append("input") or 5) == 5  # type: ignore[arg-type, func-returns-value]
    assert said == ["input"]


def test_a_close_is_taken_when_whoever_talks_has_said_it(transport: KeptTransport) -> None:
    """Regression: the end of the input of a quick command was made before the close and went out behind the answer to it. With
    the connection ended seven other commands, whose outcomes nobody knew."""
    talks, may_end, order = threading.Event(), threading.Event(), []

    def say() -> None:
        talks.set()
        may_end.wait(30)
        order.append("said")

    def close() -> None:
        talks.wait(30)
        may_end.set()
        transport._take_close(CLOSED.chanid)
        order.append("closed")

    threads = [threading.Thread(target=lambda: transport.talk(CLOSED, say)), threading.Thread(target=close)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert order == ["said", "closed"]


def test_nobody_who_talks_for_ever_keeps_a_close_from_being_taken(transport: KeptTransport) -> None:
    """He may wait for new keys, which only the one who takes it brings."""
    ended = threading.Event()
    talker = threading.Thread(target=lambda: transport.talk(OPEN, lambda: ended.wait(30)))  # type: ignore[arg-type]
    talker.start()
    transport._take_close(CLOSED.chanid)
    ended.set()
    talker.join(30)
    assert transport.closed_by_peer == {CLOSED.chanid}
