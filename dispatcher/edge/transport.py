"""How bytes reach the queue service: a bounded pool of kept connections, whose TLS, proxies and deadlines are decided here.

No call outlives its deadline, however slowly its answer trickles in: each receive waits no longer than what is left of it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.cookies
import requests.utils
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, InsecureRequestWarning, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

SYSTEM_STORE = "/etc/ssl/certs/ca-certificates.crt"
METADATA_ADDRESS = ipaddress.ip_address("169.254.169.254")
KEPT_CONNECTIONS = 24  # as many as there are lanes that speak to the queue service, and a few


def new_session(*, context: ssl.SSLContext, verify: bool, server_address: str, proxies: dict[str, str]) -> requests.Session:
    """A session that takes nothing from the environment by itself: no .netrc, no other trust store, no further proxies."""
    session = requests.Session()
    session.trust_env = False
    session.proxies.update(proxies)
    session.verify = verify
    session.cookies.set_policy(_NoCookies())
    adapter = _Adapter(context, verify, "" if proxies else server_address)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[name-defined, misc]
    """Answers set no state: each request stands alone."""

    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False


# -------------------------------------------------------------------------------------------------------------------- TLS


def trust_store(ca_file: str | None) -> str:
    """The file whose authorities are trusted: the one named, else the system's store, else the one that comes with Python."""
    return ca_file or (SYSTEM_STORE if os.path.exists(SYSTEM_STORE) else requests.utils.DEFAULT_CA_BUNDLE_PATH)


def tls_context(ca_file: str | None, *, insecure: bool, trust: bool = True) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one) when the store cannot be read. Without ``trust`` nobody is trusted."""
    context: ssl.SSLContext = create_urllib3_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # older libraries leave it to the system
    # Python 3.13 refuses authorities that lack identifiers which no other client asks for; sites run their own.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.sslsocket_class = _BoundedTLS
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust:
        context.load_verify_locations(cafile=trust_store(ca_file))
    return context


def accept_unverified(host: str) -> None:
    """Silence the warning of each call to this one host; that TLS is not verified is said once at the start instead."""
    message = re.escape(f"Unverified HTTPS request is being made to host '{host}'")
    warnings.filterwarnings("ignore", message=message, category=InsecureRequestWarning)


def plain_tls_context(ca_file: str | None, *, insecure: bool) -> ssl.SSLContext:
    """The same trust, for a socket whose user sets its own deadlines. Raises OSError."""
    context = tls_context(ca_file, insecure=insecure)
    context.sslsocket_class = ssl.SSLSocket
    return context


# ---------------------------------------------------------------------------------------------------------------- proxies


def is_never_proxied(host: str) -> bool:
    """This host itself and the cloud's metadata service cannot be meant by a proxy of the site."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback) or mapped == METADATA_ADDRESS


def proxies_for(url: str) -> dict[str, str]:
    """The proxies that ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` name for this URL."""
    if is_never_proxied(urlsplit(url).hostname or ""):
        return {}
    found = requests.utils.get_environ_proxies(url)
    return {scheme: found[scheme] for scheme in ("http", "https", "all") if found.get(scheme)}


# -------------------------------------------------------------------------------------------------------------- deadlines


class _Limits(threading.local):
    """What the call of this thread may still take: ``until_s`` on the monotonic clock, ``pause_s`` for a single receive."""

    until_s = float("inf")
    pause_s = 60.0


_limits = _Limits()


@contextlib.contextmanager
def bounded(timeout_s: float, pause_s: float) -> Iterator[None]:
    """Everything that this thread receives inside ends by the deadline, with TimeoutError."""
    _limits.until_s, _limits.pause_s = time.monotonic() + timeout_s, pause_s
    try:
        yield
    finally:
        _limits.until_s, _limits.pause_s = float("inf"), 60.0


def _patience_s() -> float:
    left_s = _limits.until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the deadline of the call has passed")
    return min(left_s, _limits.pause_s)


class _BoundedSocket(socket.socket):
    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.settimeout(_patience_s())
        return super().recv_into(*arguments, **options)


class _BoundedTLS(ssl.SSLSocket):
    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.settimeout(_patience_s())
        return super().recv_into(*arguments, **options)


# ------------------------------------------------------------------------------------------------------------ connections


class _Adapter(requests.adapters.HTTPAdapter):
    """No automatic retries, our TLS context, our sockets."""

    def __init__(self, context: ssl.SSLContext, verify: bool, server_address: str) -> None:
        self._context = context
        self._verify = verify
        self._pools = _pools(server_address)
        super().__init__(pool_connections=2, pool_maxsize=KEPT_CONNECTIONS, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """The context holds the authorities already: reading them again for each connection costs tens of milliseconds."""
        conn.cert_reqs = "CERT_REQUIRED" if self._verify else "CERT_NONE"


def _pools(server_address: str) -> dict[str, Any]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _dial(self, server_address)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _dial(self, server_address)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _dial(connection: Any, server_address: str) -> socket.socket:
    """Connect to where the URL says, or to ``server_address`` instead; port, Host header and TLS name stay those of the URL."""
    host = (server_address or connection.host).strip("[]")
    try:
        plain = _unix(host, connection.timeout) if host.startswith("/") else _tcp(host, connection)
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, f"no connection within {connection.timeout:g} s") from error
    except OSError as error:
        where = host if host.startswith("/") else f"{host} port {connection.port}"
        raise NewConnectionError(connection, f"no connection to {where}: {error}") from error
    bounded_socket = _BoundedSocket(fileno=plain.detach())
    bounded_socket.settimeout(connection.timeout)
    return bounded_socket


def _tcp(host: str, connection: Any) -> socket.socket:
    plain = socket.create_connection((host, connection.port), connection.timeout)
    for option in connection.socket_options or ():
        plain.setsockopt(*option)
    return plain


def _unix(path: str, timeout_s: float | None) -> socket.socket:
    """A socket of this host, named by its absolute path instead of a host."""
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        plain.settimeout(timeout_s)
        plain.connect(path)
    except OSError:
        plain.close()
        raise
    return plain
