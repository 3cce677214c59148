"""The account behind a real TLS socket: HTTP in, requests as values to the account, answers out or a broken connection.

HTTP/1.1 with kept connections; each connection has a thread, and its handshake happens there.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from dispatcher.embedded.tls import ensure_certificate, server_context
from tests.fake_azure import retail
from tests.fake_azure.account import PREFIX, Account, Answer
from tests.fake_azure.judge import Request

MAX_BODY_BYTES = 4 << 20
IDLE_S = 60.0
TICK_S = 0.1


class AzureServer:
    """``with AzureServer(account, folder) as server``: listens on 127.0.0.1, answers to ``https://localhost:PORT``."""

    def __init__(self, account: Account, folder: Path, port: int = 0) -> None:
        self.account = account
        folder.mkdir(parents=True, exist_ok=True)
        self.ca_file, key = ensure_certificate(folder, "localhost")
        self._http = _Server(("127.0.0.1", port), _Handler)
        self._http.account = account
        self._http.context = server_context(self.ca_file, key)
        self.port: int = self._http.server_address[1]
        self.url = account.base_url = f"https://localhost:{self.port}"
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, name="fake azure", daemon=True),
            threading.Thread(target=self._tick, name="fake azure clock", daemon=True),
        ]

    def __enter__(self) -> AzureServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._http.shutdown()
        self._http.server_close()
        self._http.cut_connections()
        for thread in self._threads:
            thread.join()

    def _tick(self) -> None:
        """Machines that are gone stop answering, whether or not somebody asks."""
        while not self._closed.wait(TICK_S):
            self.account.settle()

    def description(self) -> dict[str, str]:
        """What a driver has to be told."""
        site = self.account.site
        return {
            "endpoint": self.url,
            "authority": self.url,
            "ca_file": str(self.ca_file),
            "subscription": site.subscription,
            "tenant": site.tenant,
            "client_id": site.client_id,
            "client_secret": site.client_secret,
            "location": site.location,
            "resource_group": site.group,
            "network_resource_group": site.network_group,
            "network": site.network,
            "subnet": site.subnet,
            "image": site.images[0],
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    account: Account
    context: ssl.SSLContext

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(IDLE_S)
        wrapped = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._connections.add(wrapped)
        return wrapped, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours."""

    def cut_connections(self) -> None:
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            _cut(connection)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves in one piece
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.do_handshake()  # type: ignore[attr-defined]
            super().handle()

    def log_message(self, format: str, *arguments: Any) -> None:
        return None

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if size > MAX_BODY_BYTES:
            self.close_connection = True
            return
        given = self.rfile.read(size)
        answer = _answer(self.server.account, self.command, self.path, self._lowered_headers(), given)
        if answer.takes_s:
            threading.Event().wait(answer.takes_s)
        if answer.cut:
            self.close_connection = True
            _cut(self.connection)
            return
        self._send(answer)

    do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = do_HEAD = _serve

    def _lowered_headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def date_time_string(self, timestamp: float | None = None) -> str:
        """By the service's own clock."""
        return formatdate(time.time() + self.server.account.knobs.clock_skew_s, usegmt=True)

    def _send(self, answer: Answer) -> None:
        raw = answer.body if isinstance(answer.body, bytes) else b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        told = _dated(self.server.account, answer.headers)
        headers = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(raw)), **told}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)
        self.wfile.flush()


def _dated(account: Account, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Sometimes a pause is told as a date, by the service's own clock."""
    pause = headers.get("Retry-After", "")
    with account.lock:
        dated = pause.isdigit() and account.happens("a pause as a date", account.knobs.dated_pause_rate)
    until_s = time.time() + account.knobs.clock_skew_s + int(pause or 0) if dated else 0.0
    return {**headers, "Retry-After": formatdate(until_s, usegmt=True)} if dated else headers


def _answer(account: Account, method: str, target: str, headers: dict[str, str], given: bytes) -> Answer:
    parts = urlsplit(target)
    path, query = unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True))
    if (priced := retail.answer(account, method, path, query, headers)) is not None:
        return priced
    if not path.lower().startswith(PREFIX):
        form = dict(parse_qsl(given.decode("utf-8", "replace")))
        found = account.login.answer(method, path, form, account.base_url)
        return Answer(status=404) if found is None else Answer(status=found[0], body=found[1])
    body = _read_json(given)
    return account.answer(Request(method=method, path=path, query=query, headers=headers, body=body))


def _read_json(given: bytes) -> Any:
    """None for no body; a text, which no shape admits, for what is no JSON."""
    try:
        return json.loads(given) if given else None
    except ValueError:
        return "no JSON"
