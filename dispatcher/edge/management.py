"""A client of one dispatcher's management API, ours or Arvados's: one bounded request, its answer as data.

What the dispatcher refuses is an answer; only silence raises. The token travels in a header and stands in no text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests

from dispatcher.core.messages import QueueError
from dispatcher.edge import http, transport
from dispatcher.frozen import dataclass

LARGEST_ANSWER = 256_000_000
UNIX = "unix:"

Form = Sequence[tuple[str, str]]


class Unreachable(Exception):
    """Nobody answered there, or not to the end; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``body`` is None when it was no JSON object; ``error`` says what a refusal said; ``tag`` is the entity tag."""

    status: int
    body: dict[str, Any] | None = None
    error: str = ""
    tag: str = ""

    @property
    def good(self) -> bool:
        return self.status == 200


def endpoint_of(url: str, token: str, *, ca_file: str | None, insecure: bool, timeout_s: float) -> http.Endpoint:
    """``url`` is http, https, or ``unix:`` and the absolute path of a socket."""
    path = url.removeprefix(UNIX) if url.startswith(UNIX) else ""
    return http.Endpoint(
        url="http://localhost" if path else url, token=token, ca_file=ca_file, insecure=insecure, timeout_s=timeout_s,
        connect_timeout_s=min(5.0, timeout_s), server_address=path,
    )  # fmt: skip


class ManagementClient:
    """Speaks with one dispatcher; any number of threads may call at once. Raises Unreachable, nothing else."""

    def __init__(self, endpoint: http.Endpoint) -> None:
        self._endpoint = endpoint
        self.place = UNIX + endpoint.server_address if endpoint.server_address else endpoint.place
        try:
            context = http.tls_context_for(endpoint)
        except QueueError as error:
            raise Unreachable(str(error)) from error
        self._session = transport.new_session(
            context=context, verify=not endpoint.insecure, server_address=endpoint.server_address,
            proxies=transport.proxies_for(endpoint.url),
        )  # fmt: skip
        self._session.auth = http.Bearer(endpoint.token)
        if endpoint.insecure:
            transport.accept_unverified(urlsplit(endpoint.url).hostname or "")

    def get(self, path: str, parameters: Mapping[str, str] | None = None, *, tag: str = "") -> Answer:
        """``tag``: of the answer that is known already; status 304 says that it is still right."""
        return self._call("GET", path, params=parameters, headers={"If-None-Match": tag} if tag else {})

    def post(self, path: str, form: Form) -> Answer:
        """Sent exactly once."""
        return self._call("POST", path, data=list(form))

    def close(self) -> None:
        self._session.close()

    def _call(self, method: str, path: str, **said: Any) -> Answer:
        endpoint = self._endpoint
        headers = {**_HEADERS, **said.pop("headers", {}), "X-Request-Id": http.new_request_id()}
        try:
            with (
                transport.bounded(endpoint.timeout_s, endpoint.timeout_s),
                self._session.request(
                    method, f"{endpoint.url}/{path}", headers=headers, allow_redirects=False, stream=True,
                    timeout=(endpoint.connect_timeout_s, endpoint.timeout_s), **said,
                ) as response,
            ):
                return self._answer(response)
        except requests.RequestException as error:
            raise Unreachable(self._placed(http.why_unreachable(endpoint, error))) from error
        except TimeoutError as error:
            raise Unreachable(f"no complete answer from {self.place} within {endpoint.timeout_s:g} s") from error

    def _answer(self, response: requests.Response) -> Answer:
        body, complete = http.read_bounded(response, LARGEST_ANSWER)
        if not complete:
            raise Unreachable(f"the answer of {self.place} is larger than {LARGEST_ANSWER // 1_000_000} MB")
        try:
            found = http.parse_object(body)
        except ValueError:
            found = None
        return Answer(
            status=response.status_code, body=found, tag=response.headers.get("ETag", ""),
            error="" if response.status_code in (200, 304) else http.refusal(response, body),
        )  # fmt: skip

    def _placed(self, text: str) -> str:
        return text.replace(self._endpoint.place, self.place)


_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, identity", "User-Agent": "cloud-dispatcher"}
