"""The requests that are being answered at this moment: what to look at when the service seems to hang.

Kept from the token check to the end of the answer, so that strangers never stand in it.
"""

from __future__ import annotations

from flask import Blueprint, Flask, Response, g, jsonify, request

from dispatcher.web.auth import NOBODY, viewer
from dispatcher.web.blank import blanked_query
from dispatcher.web.requests import Requests


def install(app: Flask, requests: Requests) -> None:
    """After whatever refuses strangers."""

    @app.before_request
    def enter() -> None:
        if viewer() is NOBODY:
            return
        told = {
            "RequestID": g.get("request_id", ""),
            "remoteAddr": request.remote_addr or "",
            "reqMethod": request.method,
            "reqPath": request.path,
            "reqQuery": blanked_query(request.query_string.decode("utf-8", "replace")),
        }
        requests.admitted(request.environ, told)

    @app.teardown_request
    def leave(error: BaseException | None) -> None:
        requests.admitted(request.environ, None)


def blueprint(requests: Requests) -> Blueprint:
    made = Blueprint("inspect", __name__)

    @made.get("/_inspect/requests")
    def shown() -> Response:
        return jsonify(requests.shown())

    return made
