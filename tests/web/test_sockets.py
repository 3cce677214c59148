"""systemd's sockets: whether they are ours, and whether they are where we are looked for."""

from __future__ import annotations

import os
import socket

import pytest

from dispatcher.web.sockets import handed_over, serves


@pytest.mark.parametrize(
    ("given", "wanted", "reached"),
    [
        ((("127.0.0.1", 9006),), ("127.0.0.1", 9006), True),
        ((("127.0.0.1", 9006),), ("localhost", 9006), True),
        ((("0.0.0.0", 9006),), ("192.0.2.7", 9006), True),
        ((("127.0.0.1", 9006),), ("192.0.2.7", 9006), False),
        ((("127.0.0.1", 9006),), ("127.0.0.1", 9007), False),
        ((("192.0.2.1", 80), ("127.0.0.1", 9006)), ("127.0.0.1", 9006), True),
        ((("/run/cloud-dispatcher.sock", 0),), ("192.0.2.7", 9006), True),
        ((("127.0.0.1", 9006),), ("name.invalid", 9006), False),
    ],
)
def test_whether_a_socket_is_where_we_are_looked_for(given, wanted, reached):
    """A port that differs is told, a name for the same address is not."""
    assert serves(given, wanted) is reached


def test_without_systemd_there_are_none():
    """Nor when the variables were meant for another process."""
    assert handed_over({}, os.getpid()) == ()
    assert handed_over({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, os.getpid()) == ()


def test_they_are_looked_at_and_left_open(free_third_descriptor):
    """gunicorn takes them afterwards."""
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    assert handed_over(environment, os.getpid()) == (free_third_descriptor.getsockname(),)
    assert handed_over(environment, os.getpid()) == (free_third_descriptor.getsockname(),)


@pytest.fixture
def free_third_descriptor():
    """A listener as descriptor 3; what was there comes back afterwards."""
    try:
        kept = os.dup(3)
    except OSError:
        kept = None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if listener.fileno() != 3:
            os.dup2(listener.fileno(), 3)
        yield listener
    if kept is not None:
        os.dup2(kept, 3)
        os.close(kept)
