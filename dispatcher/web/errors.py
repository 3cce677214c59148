"""How the web says no: JSON with a list of errors, as clients of Arvados expect it.

Whatever Flask itself refuses (an unknown address, a wrong method) is plain text, as upstream's router answers.
"""

from __future__ import annotations

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

INTERNAL = "internal error: the dispatcher's log tells more under this request's X-Request-Id"

PLAIN = {404: "404 page not found\n", 405: "Method Not Allowed\n"}


class Refused(Exception):
    """The request cannot be done; ``text`` says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def install(app: Flask) -> None:
    @app.errorhandler(Refused)
    def refused(error: Refused) -> tuple[Response, int]:
        return jsonify(errors=[error.text]), error.status

    @app.errorhandler(HTTPException)
    def routed(error: HTTPException) -> Response | tuple[Response, int]:
        status = error.code or 500
        if status in PLAIN:
            made = Response(PLAIN[status], status, mimetype="text/plain")
            made.headers.extend({k: v for k, v in error.get_headers() if k == "Allow"})
            return made
        return jsonify(errors=[error.description or error.name]), status

    @app.errorhandler(Exception)
    def failed(error: Exception) -> tuple[Response, int]:
        app.logger.error("a request failed", exc_info=error)
        return jsonify(errors=[INTERNAL]), 500
