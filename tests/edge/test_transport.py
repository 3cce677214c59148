"""How the queue service is reached: TLS that is verified, proxies that are honoured, and a token that is given to nobody else."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dispatcher.core.messages import QueueError
from dispatcher.edge.arvados import ArvadosQueue
from dispatcher.edge.http import Endpoint
from dispatcher.edge.transport import is_never_proxied, proxies_for, tls_context
from tests.edge.queue_server import Asked, Certificates, Reply, certificates, ok, serve

TOKEN_UUID = "zzzzz-gj3su-000000000000000"
TOKEN = f"v2/{TOKEN_UUID}/3kg6k6lzmp9kj5cpkcoxie963cmvjahbt2fod9zru30k1jqdmi"
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")

_opened: list[ArvadosQueue] = []


@pytest.fixture(autouse=True)
def _close_what_was_opened() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def current(asked: Asked) -> Reply:
    return ok({"uuid": TOKEN_UUID})


def queue(url: str, **settings: Any) -> ArvadosQueue:
    _opened.append(ArvadosQueue(Endpoint(url=url, token=TOKEN, **{"server_address": "", "timeout_s": 10.0, **settings})))
    return _opened[-1]


@pytest.fixture(autouse=True)
def _no_proxies_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"), "queue.example", "127.0.0.1", "::1")


# -------------------------------------------------------------------------------------------------------------------- TLS


def test_a_certificate_of_a_named_authority_is_trusted(ours: Certificates) -> None:
    """Also one that names an address, and one by an authority without the newest identifiers."""
    with serve(current, ours.context) as server:
        port = queue(server.url, ca_file=str(ours.authority))
        assert port.token_uuid() == TOKEN_UUID
        assert port.describe() == f"https://127.0.0.1:{server.port}, TLS verified by {ours.authority}"


def test_an_unknown_authority_is_refused_before_the_token_is_sent(ours: Certificates) -> None:
    """The system's store is what counts, and the error says how to mend it."""
    with serve(current, ours.context) as server, pytest.raises(QueueError) as caught:
        queue(server.url).token_uuid()
    assert "certificate verify failed" in str(caught.value).lower()
    assert "add that to the system's store" in str(caught.value)
    assert server.asked == []


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    """Whoever has a certificate of the same authority is not yet the queue service."""
    other = certificates(tmp_path, "other.example")
    with serve(current, other.context) as server, pytest.raises(QueueError, match="TLS with"):
        queue(server.url, ca_file=str(other.authority)).token_uuid()
    assert server.asked == []


@pytest.mark.filterwarnings("error")
def test_insecure_is_warned_of_at_each_start_and_not_at_each_call(ours: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    """Warnings are errors here: a call that warned would fail."""
    caplog.set_level(logging.WARNING)
    with serve(current, ours.context) as server:
        for _ in range(2):
            assert queue(server.url, insecure=True).token_uuid() == TOKEN_UUID
    assert len([message for message in caplog.messages if "TLS.Insecure" in message]) == 2


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_cannot_be_read_is_told_with_its_place(tmp_path: Path, content: str | None) -> None:
    """At the start, not at the first call."""
    path = tmp_path / "authority.pem"
    if content:
        path.write_text(content)
    with pytest.raises(QueueError, match=rf"^{path}: cannot be read as a list of certificate authorities in PEM form"):
        queue("https://queue.example/", ca_file=str(path))


def test_the_store_is_the_systems_own(monkeypatch: pytest.MonkeyPatch, ours: Certificates) -> None:
    """Variables that other programs read for their own stores change nothing."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ours.authority))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(ours.authority))
    with serve(current, ours.context) as server, pytest.raises(QueueError, match="TLS with"):
        queue(server.url).token_uuid()


def test_old_versions_of_tls_are_not_spoken() -> None:
    """The context is not weakened by what we set on it."""
    context = tls_context(None, insecure=False)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_server_that_never_ends_its_handshake_ends_at_the_deadline() -> None:
    """It accepts the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(QueueError, match="within"):
        queue(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.5).token_uuid()


# --------------------------------------------------------------------------------------------------------------- the name


def test_the_address_of_the_server_may_differ_from_its_name(ours: Certificates) -> None:
    """Only the connection goes elsewhere: port, Host header and the name in the certificate stay."""
    with serve(current, ours.context) as server:
        url = f"https://queue.example:{server.port}/"
        port = queue(url, ca_file=str(ours.authority), server_address="127.0.0.1")
        assert port.token_uuid() == TOKEN_UUID
        assert port.describe().endswith("connecting to 127.0.0.1 (ARVADOS_SERVER_ADDRESS)")
    assert server.asked[0].headers["host"] == f"queue.example:{server.port}"


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that other clients of the service read too."""
    monkeypatch.setenv("ARVADOS_SERVER_ADDRESS", "127.0.0.1")
    with serve(current) as server:
        _opened.append(ArvadosQueue(Endpoint(url=f"http://queue.example:{server.port}/", token=TOKEN)))
        assert _opened[0].token_uuid() == TOKEN_UUID


def test_version_6_addresses(ours: Certificates) -> None:
    """With TLS, and the address in the certificate."""
    try:
        with serve(current, ours.context, host="::1") as server:
            assert queue(server.url, ca_file=str(ours.authority)).token_uuid() == TOKEN_UUID
    except OSError as error:
        pytest.skip(f"this host has no IPv6 loopback: {error}")


def test_a_netrc_file_does_not_replace_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What stands there is meant for other programs."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with serve(current) as server:
        queue(server.url).token_uuid()
    assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


# ---------------------------------------------------------------------------------------------------------------- proxies


class _Proxy(BaseHTTPRequestHandler):
    """Tunnels every CONNECT to one port of this host, whatever it names."""

    def do_CONNECT(self) -> None:
        self.server.wanted.append(self.path)  # type: ignore[attr-defined]
        if self.server.refuses:  # type: ignore[attr-defined]
            self.send_error(407)
            return
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(("127.0.0.1", self.server.inner_port)) as inner:  # type: ignore[attr-defined]
            self._copy(inner)
        self.close_connection = True

    def _copy(self, inner: socket.socket) -> None:
        other = {self.connection: inner, inner: self.connection}
        while True:
            for ready in select.select(list(other), [], [], 10)[0]:
                data = ready.recv(65536)
                if not data:
                    return
                other[ready].sendall(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read what was wanted, not a log."""


@contextlib.contextmanager
def proxy(inner_port: int, *, refuses: bool = False) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    server.daemon_threads, server.block_on_close = True, False
    server.inner_port, server.refuses, server.wanted = inner_port, refuses, []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_proxy_only_passes_bytes_on(monkeypatch: pytest.MonkeyPatch, ours: Certificates) -> None:
    """It is asked for a tunnel by name, TLS is verified through it, and its password is not shown."""
    with serve(current, ours.context) as server, proxy(server.port) as between:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter22@127.0.0.1:{between.server_port}")
        port = queue("https://queue.example:8443/", ca_file=str(ours.authority))
        assert port.token_uuid() == TOKEN_UUID
        assert port.describe().endswith(f"through the proxy http://127.0.0.1:{between.server_port}")
        assert between.wanted == ["queue.example:8443"]
        with pytest.raises(QueueError, match="TLS with"):
            queue("https://other.example:8443/", ca_file=str(ours.authority)).token_uuid()


def test_a_proxy_that_refuses_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator looks at the proxy, not at the service; the proxy's password is not in the text."""
    with proxy(0, refuses=True) as between:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter22@127.0.0.1:{between.server_port}")
        with pytest.raises(QueueError, match=r"the proxy does not let us through .*407.*; see HTTPS_PROXY") as caught:
            queue("https://queue.example/").token_uuid()
    assert "hunter22" not in str(caught.value)


def test_a_host_named_as_an_exception_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY names hosts and domains."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", ".inside.example,10.1.2.3")
    assert proxies_for("https://queue.outside.example/") == {"https": "http://proxy.example:3128"}
    assert proxies_for("https://queue.inside.example/") == {}
    assert proxies_for("https://10.1.2.3:8443/") == {}


@pytest.mark.parametrize(
    "url",
    ["https://localhost:8443", "https://127.0.0.1/", "https://127.9.9.9/", "https://[::1]:1/", "http://169.254.169.254/metadata"],
)
def test_this_host_and_the_metadata_service_are_never_proxied(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Even when nobody wrote NO_PROXY."""
    for name in PROXY_VARIABLES[:3]:
        monkeypatch.setenv(name, "http://proxy.example:3128")
    assert proxies_for(url) == {}
    assert proxies_for("https://queue.example/") != {}


@pytest.mark.parametrize(
    ("host", "never"),
    [
        ("localhost", True),
        ("x.localhost", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:169.254.169.254", True),
        ("169.254.169.253", False),
        ("10.0.0.1", False),
        ("2001:db8::1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_which_hosts_are_never_proxied(host: str, never: bool) -> None:
    """By name and by address, also a version 4 address inside a version 6 one."""
    assert is_never_proxied(host) is never
