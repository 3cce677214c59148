"""The requests that are being answered at this moment: what to look at when the service seems to hang.

Kept from the token check to the end of the answer, so that strangers never stand in it.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from flask import Blueprint, Flask, Response, g, jsonify, request

from dispatcher.web.access import blanked


class Active:
    """Request → what it asked and since when. Bounded by the number of threads that answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, tuple[float, dict[str, Any]]] = {}

    def install(self, app: Flask) -> None:
        """After whatever refuses strangers."""

        @app.before_request
        def enter() -> None:
            told = {
                "RequestID": g.get("request_id", ""),
                "remoteAddr": request.remote_addr or "",
                "reqMethod": request.method,
                "reqPath": request.path,
                "reqQuery": blanked(request.query_string.decode("utf-8", "replace")),
            }
            with self._lock:
                self._known[threading.get_ident()] = (time.monotonic(), told)

        @app.teardown_request
        def leave(error: BaseException | None) -> None:
            with self._lock:
                self._known.pop(threading.get_ident(), None)

    def shown(self) -> list[dict[str, Any]]:
        """The oldest first."""
        with self._lock:
            known = sorted(self._known.values(), key=lambda pair: pair[0])
        now_s = time.monotonic()
        return [{**told, "elapsed_s": round(now_s - began_s, 3)} for began_s, told in known]


def blueprint(active: Active) -> Blueprint:
    made = Blueprint("inspect", __name__)

    @made.get("/_inspect/requests")
    def requests() -> Response:
        return jsonify(active.shown())

    return made
