"""One call to the queue service: parameters in, a JSON object or a QueueError out. It never retries a write.

Success is status 200. Everything else is an error, whose text comes from whichever of the service's dialects it speaks and
never holds the token.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import random
import re
import string
from collections.abc import Mapping
from dataclasses import field
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import requests
import requests.auth
import requests.structures
from urllib3.exceptions import ProtocolError

from dispatcher.core.messages import QueueError, QueueFailure
from dispatcher.edge import transport
from dispatcher.frozen import dataclass

LARGEST_ANSWER = 64_000_000
LARGEST_ERROR = 65_536
LONGEST_QUERY = 1000  # a GET whose parameters reach this is sent as a POST that says so
LONGEST_TEXT = 500
SERVER_ADDRESS = "ARVADOS_SERVER_ADDRESS"  # names the host to connect to instead of the one in the URL

_CHUNK = 65_536
_BASE36 = string.digits + string.ascii_lowercase
_LONGEST_INTEGER = 20  # digits; a longer one is no number of the service and would only cost time


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the queue service is. ``timeout_s`` bounds a whole call, ``connect_timeout_s`` the connecting.

    ``ca_file`` holds the only trusted authorities when given; ``server_address`` replaces the host to connect to."""

    url: str
    token: str = field(repr=False)
    ca_file: str | None = None
    insecure: bool = False
    timeout_s: float = 60.0
    connect_timeout_s: float = 10.0
    server_address: str = field(default_factory=lambda: os.environ.get(SERVER_ADDRESS, ""))

    @property
    def place(self) -> str:
        """The URL without anything secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class Client:
    """Speaks with one endpoint; any number of threads may call at once. Raises QueueError, nothing else."""

    def __init__(self, endpoint: Endpoint, log: logging.Logger) -> None:
        self.endpoint = endpoint
        self._secrets = _secrets(endpoint.token)
        self._proxies = transport.proxies_for(endpoint.url)
        self._session = transport.new_session(
            context=tls_context_for(endpoint),
            verify=not endpoint.insecure,
            server_address=endpoint.server_address,
            proxies=self._proxies,
        )
        self._headers = _HEADERS | {"Authorization": f"Bearer {endpoint.token}"}
        if endpoint.insecure:
            transport.accept_unverified(urlsplit(endpoint.url).hostname or "")
            log.warning("TLS.Insecure: the certificate of %s is not verified; anybody in between can read the token", self.place)

    @property
    def place(self) -> str:
        return self.endpoint.place

    def describe(self) -> str:
        """How the service is reached, for start-up messages and the configuration check."""
        facts = [self.place]
        if self.place.startswith("https:"):
            trusted = transport.trust_store(self.endpoint.ca_file)
            facts.append("TLS not verified" if self.endpoint.insecure else f"TLS verified by {trusted}")
        if self._proxies:
            facts.append("through the proxy " + " or ".join(sorted({_host(proxy) for proxy in self._proxies.values()})))
        elif self.endpoint.server_address:
            facts.append(f"connecting to {self.endpoint.server_address} ({SERVER_ADDRESS})")
        return ", ".join(facts)

    def read(self, path: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A question. It changes nothing, so it is asked once more when a kept connection turns out to be dead."""
        encoded = encode(parameters or {})
        try:
            return self._ask(path, encoded)
        except _ConnectionDropped:
            try:
                return self._ask(path, encoded)
            except _ConnectionDropped as again:
                raise QueueError(again.failure) from again

    def write(self, method: str, path: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A change, sent exactly once: after a lost answer only the record can tell whether it took place."""
        try:
            return self._call(method, path, body=encode(parameters or {}))
        except _ConnectionDropped as dropped:
            raise QueueError(dropped.failure) from dropped

    def close(self) -> None:
        self._session.close()

    def _ask(self, path: str, encoded: str) -> dict[str, Any]:
        if len(encoded) < LONGEST_QUERY:
            return self._call("GET", f"{path}?{encoded}" if encoded else path)
        return self._call("POST", path, body=encoded, headers={"X-Http-Method-Override": "GET"})

    def _call(self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        endpoint, request_id = self.endpoint, new_request_id()
        what = f"{method} {path.partition('?')[0]} ({request_id})"
        try:
            with (
                transport.bounded(endpoint.timeout_s, endpoint.timeout_s),
                self._send(method, path, body, {**(headers or {}), "X-Request-Id": request_id}) as response,
            ):
                return self._answer(what, response)
        except requests.RequestException as error:
            self._unreachable(what, error)
        except TimeoutError as error:
            self._fail(what, f"no complete answer within {endpoint.timeout_s:g} s", cause=error)

    def _send(self, method: str, path: str, body: str, headers: Mapping[str, str]) -> requests.Response:
        """By the adapter itself: what a session does besides, cookies, redirects and the environment, takes as long as the
        sending, and none of it may be: the token goes to nobody but the configured host."""
        endpoint = self.endpoint
        asked = requests.PreparedRequest()
        asked.method, asked.url = method, f"{self._base_url}/{path}"
        asked.headers = requests.structures.CaseInsensitiveDict({**self._headers, **headers})
        if body or method != "GET":
            asked.headers["Content-Length"] = str(len(body))
        asked.body = body or None
        return self._session.get_adapter(asked.url).send(
            asked, stream=True, verify=not endpoint.insecure, proxies=self._proxies,
            timeout=(min(endpoint.connect_timeout_s, endpoint.timeout_s), endpoint.timeout_s),
        )  # fmt: skip

    @functools.cached_property
    def _base_url(self) -> str:
        """As the library writes it. Raises RequestException when it is no address."""
        return str(requests.Request("GET", self.endpoint.url).prepare().url).rstrip("/")

    def _answer(self, what: str, response: requests.Response) -> dict[str, Any]:
        status = response.status_code
        if status != 200:
            body, _ = read_bounded(response, LARGEST_ERROR)
            self._fail(what, refusal(response, body), status)
        body, complete = read_bounded(response, LARGEST_ANSWER)
        if not complete:
            self._fail(what, f"the answer is larger than {LARGEST_ANSWER // 1_000_000} MB", status)
        try:
            return parse_object(body)
        except ValueError as error:
            self._fail(what, f"the answer is no JSON object ({error}): {_excerpt(body)}", status, error)

    def _unreachable(self, what: str, error: requests.RequestException) -> NoReturn:
        text = why_unreachable(self.endpoint, error)
        failure = self._failure(f"{what}: {text}", None)
        dropped = isinstance(error, requests.ConnectionError) and any(isinstance(each, ProtocolError) for each in error.args)
        raise (_ConnectionDropped if dropped else QueueError)(failure) from error

    def _fail(self, what: str, reason: str, status: int | None = None, cause: Exception | None = None) -> NoReturn:
        raise QueueError(self._failure(f"{what}: {reason}", status)) from cause

    def _failure(self, text: str, status: int | None) -> QueueFailure:
        for secret in self._secrets:
            text = text.replace(secret, "[token]")
        return QueueFailure(text=text[: 2 * LONGEST_TEXT], status=status)


class _ConnectionDropped(QueueError):
    """The connection ended before an answer came."""


_HEADERS = {
    "Accept": "application/json",
    "Connection": "keep-alive",
    "Accept-Encoding": "identity",  # what is counted against the limit is what is held in memory
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": "cloud-dispatcher",
}


class Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def tls_context_for(endpoint: Endpoint) -> Any:
    """Reading the whole store takes a moment, so it is left out where no TLS is spoken."""
    try:
        return transport.tls_context(endpoint.ca_file, insecure=endpoint.insecure, trust=endpoint.place.startswith("https:"))
    except OSError as error:
        store = transport.trust_store(endpoint.ca_file)
        text = f"{store}: cannot be read as a list of certificate authorities in PEM form: {error.strerror or error}"
        raise QueueError(QueueFailure(text=text)) from error


# --------------------------------------------------------------------------------------------------------------- requests


def new_request_id() -> str:
    """As the service would make them: they join its log with ours."""
    return "req-" + "".join(random.choices(_BASE36, k=20))


def encode(parameters: Mapping[str, Any]) -> str:
    """One form field for each parameter: texts and numbers plain, the rest as JSON; what is false or None is left out."""
    fields = {name: value for name, value in parameters.items() if value is not None and value is not False}
    return urlencode({name: _field(value) for name, value in fields.items()})


def _field(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


# ---------------------------------------------------------------------------------------------------------------- answers


def parse_object(body: bytes) -> dict[str, Any]:
    """Raises ValueError. Integers stay integers, however large; what is not JSON (NaN) is refused."""
    try:
        value = json.loads(body.decode(), parse_int=_integer, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}")
    return value


def _integer(digits: str) -> int | float:
    """A number of a thousand digits becomes a float, which no field accepts: one bad record spoils no other."""
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def read_bounded(response: requests.Response, limit: int) -> tuple[bytes, bool]:
    """The body, and whether that was all of it."""
    response.raw.enforce_content_length = True  # older versions take half a body for all of it
    chunks, size = [], 0
    for chunk in response.iter_content(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            return b"".join(chunks)[:limit], False
    return b"".join(chunks), True


# ----------------------------------------------------------------------------------------------------------------- errors


def refusal(response: requests.Response, body: bytes) -> str:
    if response.is_redirect or 300 <= response.status_code < 400:
        return f"HTTP {response.status_code}: sent on to {_host(response.headers.get('Location', ''))}, which is not followed"
    return f"HTTP {response.status_code}: {error_text(body)}"


def error_text(body: bytes) -> str:
    """What an error's body says, in one short line. ``errors`` is a list in one dialect and a text in the other; overload
    has an empty body; what stands in between answers in HTML or plain text."""
    try:
        errors = parse_object(body).get("errors")
    except ValueError:
        errors = None
    if isinstance(errors, str) and errors:
        return _one_line(errors)
    if isinstance(errors, list) and errors:
        return _one_line("; ".join(each if isinstance(each, str) else json.dumps(each) for each in errors[:5]))
    return _excerpt(body) or "no reason given"


def _excerpt(body: bytes) -> str:
    text = body[: 8 * LONGEST_TEXT].decode(errors="replace")
    return _one_line(re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE))[:200]


def _one_line(text: str) -> str:
    words = "".join(character if character.isprintable() else " " for character in text).split()
    line = " ".join(words)
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 3] + "..."


def why_unreachable(endpoint: Endpoint, error: requests.RequestException) -> str:
    """In our words: the library's own texts name the whole URL."""
    reason = _one_line(_innermost(error))
    if isinstance(error, requests.exceptions.SSLError):
        mend = "when the certificate comes from the site's own authority, add that to the system's store"
        return f"TLS with {endpoint.place} failed: {reason}; {mend}"
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy does not let us through to {endpoint.place}: {reason}; see HTTPS_PROXY and NO_PROXY"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection to {endpoint.place} within {endpoint.connect_timeout_s:g} s"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in reason:
        return f"no complete answer from {endpoint.place} within {endpoint.timeout_s:g} s"
    return f"no answer from {endpoint.place}: {reason}"


def _innermost(error: BaseException) -> str:
    """The text of the cause at the bottom: requests wraps urllib3, which wraps the socket's error."""
    for _ in range(10):
        inner = next((each for each in (*_reasons(error), *error.args) if isinstance(each, BaseException)), None)
        if inner is None:
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error.args[-1]) if error.args else type(error).__name__


def _reasons(error: BaseException) -> tuple[object, ...]:
    return getattr(error, "reason", None), error.__cause__


def _host(url: str) -> str:
    """Scheme and host of a URL; what else it holds may be secret."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    return f"{parts.scheme + '://' if parts.scheme else ''}{parts.netloc.rpartition('@')[2] or 'an unnamed place'}"


def _secrets(token: str) -> tuple[str, ...]:
    """The forms in which the token could come back in a text; short ones are no secrets and would garble it."""
    parts = token.split("/")
    return tuple(each for each in (token, parts[2] if len(parts) > 2 else "") if len(each) >= 8)
