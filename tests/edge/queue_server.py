"""A real HTTP(S) server on loopback that answers as a test tells it to, also badly: cut, slow, endless or not at all.

It keeps what it was asked, so that a test can compare the bytes a client really sent.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came over the wire."""

    method: str
    path: str
    fields: dict[str, str]
    query: str
    body: str
    headers: dict[str, str]
    connection: int

    def json(self, name: str) -> Any:
        return json.loads(self.fields[name])


@dataclass(frozen=True, kw_only=True)
class Reply:
    """``announce`` is a false Content-Length; ``pieces`` are sent one after the other, each followed by ``pause``, until the
    client is gone; ``hang_up`` closes the connection without a word."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json; charset=utf-8"})
    announce: int | None = None
    pieces: Iterator[bytes] | None = None
    hang_up: bool = False


def ok(value: Any) -> Reply:
    return Reply(body=json.dumps(value).encode())


def page(*items: Any) -> Reply:
    return ok({"kind": "arvados#containerList", "etag": "", "self_link": "", "offset": 0, "limit": 1000, "items": list(items)})


def refused(status: int, *errors: str) -> Reply:
    return Reply(status=status, body=json.dumps({"errors": list(errors), "error_token": "1795282328+d4391442"}).encode())


Answer = Callable[[Asked], Reply]


@dataclass
class Running:
    url: str
    port: int
    asked: list[Asked] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len({each.connection for each in self.asked})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    server: _Server

    def _serve(self) -> None:
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        fields = {name: values[0] for name, values in parse_qs(f"{target.query}&{body}", keep_blank_values=True).items()}
        asked = Asked(
            method=self.command,
            path=target.path,
            fields=fields,
            query=target.query,
            body=body,
            headers={name.lower(): value for name, value in self.headers.items()},
            connection=self.client_address[1],
        )
        self.server.running.asked.append(asked)
        self._reply(self.server.answer(asked))

    do_GET = do_POST = do_PUT = _serve

    def _reply(self, reply: Reply) -> None:
        if reply.hang_up:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        length = len(reply.body) if reply.announce is None else reply.announce
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(reply.body)
        for piece in reply.pieces or ():
            self.wfile.write(piece)
            self.wfile.flush()
        if reply.announce is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read what was asked, not a log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    answer: Answer
    running: Running
    context: ssl.SSLContext | None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(10)
        with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as secured:
            secured.do_handshake()
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what many of these tests are about."""


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def serve(answer: Answer, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Running]:
    server = (_Server6 if ":" in host else _Server)((host, 0), _Handler)
    scheme, shown = "https" if context else "http", f"[{host}]" if ":" in host else host
    server.answer, server.context = answer, context
    server.running = Running(url=f"{scheme}://{shown}:{server.server_port}/", port=server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="queue-server")
    thread.start()
    try:
        yield server.running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ----------------------------------------------------------------------------------------------------------- certificates


@dataclass(frozen=True)
class Certificates:
    """An authority of our own and a server certificate by it."""

    authority: Path
    context: ssl.SSLContext


def certificates(folder: Path, *names: str) -> Certificates:
    """``names`` are host names and addresses for which the certificate is good."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("Test authority", "Test authority", authority_key.public_key(), authority_key, ca=True)
    leaf = _certificate(names[0], "Test authority", key.public_key(), authority_key, names=names)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return Certificates(folder / "authority.pem", context)


def _certificate(
    subject: str, issuer: str, key: Any, signer: Any, *, names: tuple[str, ...] = (), ca: bool = False
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
