"""A queue that was killed is back on its own port at once, although connections of the old one still linger there."""

from __future__ import annotations

import socket

from dispatcher.embedded.server import Server


def listen(port: int) -> Server:
    return Server(("127.0.0.1", port), lambda environment, start: [], None)


def test_the_port_of_the_last_time_is_free_at_once():
    """The side that closes first keeps the connection for a minute: here the server, as when it is killed."""
    first = listen(0)
    with socket.create_connection(first.server_address):
        accepted, _ = first.get_request()
        accepted.close()
        first.server_close()
        second = listen(first.server_port)
        assert second.server_port == first.server_port
        second.server_close()
