"""A small HTTP/1.1 server for one WSGI application: a thread for each connection, connections kept open, TLS if wanted.

A client that says nothing, or says it too slowly, costs one thread until a time limit; the number of connections is limited, and
the body of a request is always read to its end, so that the next request on the connection begins where it should.
"""

from __future__ import annotations

import io
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

from . import events
from .forms import BODY_GREATEST_BYTES

log = logging.getLogger(__name__)
CONNECTIONS_GREATEST = 256
IDLE_TIMEOUT_S = 120.0
HANDSHAKE_TIMEOUT_S = 10.0

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who hears of changes. ``may_hear``: whether a token, as it stands in a query, sees everything."""

    announcer: events.Announcer
    may_hear: Callable[[str], bool]


class Server(ThreadingHTTPServer):
    """Listens as soon as it is made. ``serve_forever`` answers until ``shutdown``."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], application: Application, context: ssl.SSLContext | None,
        listeners: Listeners | None = None,
    ) -> None:  # fmt: skip
        self.application = application
        self.listeners = listeners
        self.context = context
        self._slots = threading.BoundedSemaphore(CONNECTIONS_GREATEST)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a killed one linger on its port
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(timeout=IDLE_TIMEOUT_S):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(self._secured(request), client_address)
        except OSError as error:
            log.debug("connection from %s ended: %s", client_address, error)
            self.shutdown_request(request)
        finally:
            self._slots.release()

    def _secured(self, request: socket.socket) -> socket.socket:
        """The connection after the handshake, which runs here and not in the thread that accepts."""
        if self.context is None:
            return request
        request.settimeout(HANDSHAKE_TIMEOUT_S)
        return self.context.wrap_socket(request, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("connection from %s ended", client_address, exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """One connection: request after request until the client, or the time limit, ends it."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def _handle(self) -> None:
        if self.server.listeners is not None and self.path.partition("?")[0] == events.PATH:
            self._listen(self.server.listeners)
            return
        body = self._read_body()
        if body is None:
            return
        answer: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            answer.update(status=status, headers=headers)

        chunks = self.server.application(self._environment(body), start_response)
        content = b"".join(chunks)
        close = getattr(chunks, "close", None)
        if close:
            close()
        self._send(answer["status"], answer["headers"], content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle

    def _listen(self, listeners: Listeners) -> None:
        """The connection becomes a WebSocket, until its end."""
        self.close_connection = True
        token = parse_qs(self.path.partition("?")[2]).get("api_token", [""])[0]
        key = self.headers.get("Sec-WebSocket-Key", "")
        if not key or self.headers.get("Upgrade", "").lower() != "websocket":
            self._refuse(426, "this is a WebSocket")
            return
        listeners.announcer.serve(self.connection, key, self.connection.sendall, told=listeners.may_hear(token))

    def _read_body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0").strip()
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower() or not length.isdigit():
            self._refuse(411, "send the body with a Content-Length")
            return None
        if int(length) > BODY_GREATEST_BYTES:
            self._refuse(413, f"the body is larger than {BODY_GREATEST_BYTES} bytes")
            return None
        return self.rfile.read(int(length))

    def _refuse(self, status: int, text: str) -> None:
        self.close_connection = True
        self._send(f"{status} Refused", [("Content-Type", "application/json")], b'{"errors":["%s"]}' % text.encode())

    def _environment(self, body: bytes) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        environment: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": self.server.server_name,
            "SERVER_PORT": str(self.server.server_port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": str(self.client_address[0]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if self.server.context else "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            environment.setdefault(f"HTTP_{name.upper().replace('-', '_')}", value)
        return environment

    def _send(self, status: str, headers: list[tuple[str, str]], content: bytes) -> None:
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s " + format, self.address_string(), *args)
