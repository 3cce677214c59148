"""An ``HttpTransport`` of azure-core that sends nothing: it keeps each request and answers from a function."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import requests
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest._requests_basic import RestRequestsTransportResponse
from azure_world import Reply, Sent
from requests.structures import CaseInsensitiveDict

FAR_FUTURE_S = 1 << 40


class FakeCredential:
    """Says yes, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.asked += 1
        return AccessToken("marked-token", FAR_FUTURE_S)


class _Raw:
    """What urllib3 would hand to requests."""

    enforce_content_length = True

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, size: int, decode_content: bool = True) -> Iterator[bytes]:
        yield self._data

    def close(self) -> None: ...

    def release_conn(self) -> None: ...


class FakeTransport(HttpTransport):
    def __init__(self, answer: Callable[[Sent], Reply]) -> None:
        self.sent: list[Sent] = []
        self.timeouts: list[tuple[float, float]] = []
        self._answer = answer

    def send(self, request: Any, **options: Any) -> Any:
        content = request.content if hasattr(request, "content") else request.data
        body = json.loads(content) if content else None
        sent = Sent(request.method, request.url, request.headers, body)
        self.sent.append(sent)
        self.timeouts.append((options["connection_timeout"], options["read_timeout"]))
        reply = self._answer(sent)
        if reply.error is not None:
            raise reply.error
        made = RestRequestsTransportResponse(request=request, internal_response=_response(reply), block_size=4096)
        if not options.get("stream"):
            made.read()
        return made

    def open(self) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> FakeTransport:
        return self

    def __exit__(self, *_: object) -> None: ...


def _response(reply: Reply) -> requests.Response:
    made = requests.Response()
    made.status_code = reply.status
    made.reason = "because"
    made.headers = CaseInsensitiveDict({"Content-Type": reply.kind, **reply.headers})
    made.raw = _Raw(reply.raw)
    return made
