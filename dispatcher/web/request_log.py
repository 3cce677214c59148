"""The log of requests: a line when one begins and a line when its answer has gone, in the fields of the Arvados dispatcher.

It stands outside the application, so that every request is logged under the id that its answer carries. No token is logged,
wherever in the request it stands: of a query the values of tokens are blanked, and headers and bodies are not logged at all.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from dispatcher.web.blank import TEXT_CHARACTERS, blanked_query
from dispatcher.web.exchange import Answer

REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
QUIET_PATHS = ("/_health/ping", "/metrics", "/metrics.json")  # asked for every few seconds by machines
ERROR_BYTES = 1000  # of an answer that says no, so much is logged

log = logging.getLogger("dispatcher.web.requests")

Environ = dict[str, Any]


class RequestLog:
    """WSGI middleware. ``now`` is monotonic seconds."""

    def __init__(self, application: Any, *, now: Callable[[], float] = time.monotonic) -> None:
        self._application, self._now = application, now

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ["HTTP_X_REQUEST_ID"] = request_id(environ)
        exchange = _Exchange(environ, self._now)
        try:
            answer = self._application(environ, exchange.starting(start_response))
        except BaseException:
            exchange.end()
            raise
        return Answer(answer, exchange.end, exchange.passes)


def request_id(environ: Environ) -> str:
    """What the client sent, if it is fit to be repeated; else a fresh one."""
    sent = str(environ.get("HTTP_X_REQUEST_ID", ""))
    return sent if REQUEST_ID.fullmatch(sent) else "req-" + secrets.token_hex(10)


def request_fields(environ: Environ) -> dict[str, object]:
    address, port = str(environ.get("REMOTE_ADDR", "")), environ.get("REMOTE_PORT")
    host = f"[{address}]" if ":" in address else address
    length = str(environ.get("CONTENT_LENGTH") or "0")
    return {
        "RequestID": environ["HTTP_X_REQUEST_ID"],
        "remoteAddr": f"{host}:{port}" if address and port else address,
        "reqForwardedFor": str(environ.get("HTTP_X_FORWARDED_FOR", ""))[:TEXT_CHARACTERS],
        "reqMethod": environ.get("REQUEST_METHOD", ""),
        "reqHost": str(environ.get("HTTP_HOST", ""))[:TEXT_CHARACTERS],
        "reqPath": str(environ.get("PATH_INFO", "")).removeprefix("/")[:TEXT_CHARACTERS],
        "reqQuery": blanked_query(str(environ.get("QUERY_STRING", ""))),
        "reqBytes": int(length) if length.isdigit() else 0,
    }


class _Exchange:
    """One request and its answer."""

    def __init__(self, environ: Environ, now: Callable[[], float]) -> None:
        self._now, self._began_s = now, now()
        self._fields = request_fields(environ)
        self._quiet = environ.get("PATH_INFO") in QUIET_PATHS
        self._status = "500 Internal Server Error"
        self._status_s: float | None = None
        self._bytes = 0
        self._error = b""
        log.log(logging.DEBUG if self._quiet else logging.INFO, "request", extra=self._fields)

    def starting(self, start_response: Any) -> Callable[..., Any]:
        def start(status: str, *rest: Any, **more: Any) -> Any:
            self._status, self._status_s = status, self._now()
            return start_response(status, *rest, **more)

        return start

    def passes(self, part: bytes) -> bytes:
        self._bytes += len(part)
        if self._status >= "400":
            self._error += part[: ERROR_BYTES - len(self._error)]
        return part

    def end(self) -> None:
        ended_s = self._now()
        status_s = self._status_s if self._status_s is not None else ended_s
        code, _, reason = self._status.partition(" ")
        answer: dict[str, object] = {
            "respStatusCode": int(code) if code.isdigit() else 0,
            "respStatus": reason,
            "respBytes": self._bytes,
            "timeTotal": round(ended_s - self._began_s, 6),
            "timeToStatus": round(status_s - self._began_s, 6),
            "timeWriteBody": round(ended_s - status_s, 6),
        }
        if self._error:
            answer["respBody"] = self._error.decode("utf-8", "replace")
        level = logging.DEBUG if self._quiet and code == "200" else logging.INFO
        log.log(level, "response", extra={**self._fields, **answer})
