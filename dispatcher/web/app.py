"""The management API: reads a snapshot, shows it in the form of the Arvados dispatcher, and posts what operators ask.

No request waits for anything, and every one passes the token check first, also those for addresses that do not exist.
"""

from __future__ import annotations

import re
import secrets

from flask import Blueprint, Flask, Response, g, jsonify, request

from dispatcher.core.why import why
from dispatcher.web import acts, auth, description, errors, health, inspect, metrics, operator, page, sign_in, upstream
from dispatcher.web.auth import Door
from dispatcher.web.requests import Requests
from dispatcher.web.view import View

BODY_BYTES = 64 * 1024
PAGE_BODY_BYTES = 400 * 1024  # of a form that names every instance of a large fleet
REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # with less, browsers send Origin: null with our own forms
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def make_app(view: View, management_token: str, requests: Requests | None = None, *, door: Door | None = None) -> Flask:
    """The WSGI application over a view of the dispatcher. An empty token closes it altogether. ``requests`` measures them;
    ``door`` stands in for one that the management token alone opens."""
    app = Flask("dispatcher.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = PAGE_BODY_BYTES
    requests = requests or Requests()
    door = door or Door(management_token)
    guard(app, door)
    inspect.install(app, requests)
    errors.install(app)
    app.register_blueprint(reading(view))
    desk = operator.Desk(view)
    app.register_blueprint(operator.blueprint(desk))
    app.register_blueprint(acts.blueprint(view, desk))
    app.register_blueprint(sign_in.blueprint(view, door))
    page.install(app, view)
    app.register_blueprint(health.blueprint(view))
    app.register_blueprint(metrics.blueprint(view.metrics, requests))
    app.register_blueprint(inspect.blueprint(requests))
    app.register_blueprint(description.blueprint())
    app.wsgi_app = requests.around(app.wsgi_app)  # type: ignore[method-assign,assignment]
    return app


def guard(app: Flask, door: Door) -> None:
    """What holds for every request: an id, the token, a bounded body; and for every answer: the security headers."""

    @app.before_request
    def check() -> Response | None:
        sent = request.headers.get("X-Request-Id", "")
        g.request_id = sent if REQUEST_ID.fullmatch(sent) else "req-" + secrets.token_hex(10)
        return door.refusal(request)

    @app.before_request
    def measure() -> None:
        if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
            raise errors.Refused(411, "send the body with its Content-Length")
        most = PAGE_BODY_BYTES if request.path == acts.PATH else BODY_BYTES
        if (request.content_length or 0) > most:
            raise errors.Refused(413, f"the body is larger than {most} bytes")

    @app.before_request
    def protect() -> Response | None:
        return auth.refused_act(request, auth.viewer())

    @app.context_processor
    def who() -> dict[str, auth.Viewer]:
        return {"viewer": auth.viewer()}

    @app.after_request
    def label(response: Response) -> Response:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["X-Request-Id"] = g.get("request_id", "")
        return response


def reading(view: View) -> Blueprint:
    """Containers and instances. Who does not lead has none: what it held may be long over, and who leads is asked as well."""
    made = Blueprint("reading", __name__, url_prefix=operator.PREFIX)

    @made.get("/containers")
    def containers() -> Response:
        state = view.snapshot()
        return jsonify(items=upstream.containers(state, view.statuses(), view.utc) if state.leadership.leading else [])

    @made.get("/container")
    def container() -> Response:
        state, uuid = view.snapshot(), request.args.get("container_uuid", "")
        found = state.containers.get(uuid)
        if found is None or not state.leadership.leading:
            raise errors.Refused(404, "container not found")
        told = upstream.entry(state, found, view.statuses().get(uuid, ""), view.utc)
        return jsonify(told | {"why": upstream.explained(why(state, uuid, view.monotonic()), view.utc)})

    @made.get("/instances")
    def instances() -> Response:
        state = view.snapshot()
        return jsonify(items=upstream.instances(state, view.utc) if state.leadership.leading else [])

    return made
