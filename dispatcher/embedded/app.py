"""From a path to an action and back: the one place that knows HTTP.

Every request is one transaction, authentication included; whatever an action raises as ApiError becomes an answer in the dialect
of the path, and nothing else leaves as more than a 500 with a request id.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, request

from . import actions, discovery, forms, render, tokens
from .act import Act, Settings
from .errors import ApiError, foreign_cluster, not_found
from .resources import CONTAINERS, RESOURCES, Resource
from .rules import Caller
from .store import Store, Transaction
from .values import UUID_PATTERN, now, random_text

log = logging.getLogger(__name__)
PREFIX = "/arvados/v1/"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
REQUEST_ID_LONGEST = 1024
OF_THE_DISK = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)
_LONE_ACTIONS = frozenset({"current"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a path means: the resource, the action's name, and the uuid if there is one."""

    resource: Resource
    action: str
    uuid: str = ""


def create_app(store: Store, settings: Settings, root_token: str) -> Flask:
    app = Flask(__name__)
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = forms.BODY_GREATEST_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = forms.BODY_GREATEST_BYTES
    queue = Queue(store, settings, root_token)
    app.add_url_rule("/", "api", queue.answer, defaults={"path": ""}, methods=METHODS)
    app.add_url_rule("/<path:path>", "api", queue.answer, methods=METHODS)
    return app


class Queue:
    """The queue behind its paths."""

    def __init__(self, store: Store, settings: Settings, root_token: str) -> None:
        self._store = store
        self._settings = settings
        self._root_token = root_token

    def answer(self, path: str) -> Response:
        """Answer one request, whatever it is."""
        request_id = _request_id()
        clean = "/" + re.sub(r"/+", "/", path)
        words = clean.removeprefix(PREFIX).split("/") if clean.startswith(PREFIX) else [clean]
        dialect = RESOURCES[words[0]].dialect if words[0] in RESOURCES else "rails"
        try:
            status, body = 200, self._body(clean, words, dialect)
        except ApiError as error:
            status, body = error.status, render.refused(error, dialect, clean, request_id)
        except UnicodeError:
            status, body = 422, render.refused(ApiError(422, "a text is no valid Unicode"), dialect, clean, request_id)
        except Exception as error:
            if _is_of_the_disk(error):
                log.error("request %s %s failed, the database cannot be used: %s (%s)", request.method, clean, error, request_id)
                status, body = 503, {"errors": [f"the queue's database cannot be used now: {error} ({request_id})"]}
            elif (code := getattr(error, "code", None)) == 413:
                status, body = code, {"errors": [f"request body is larger than {forms.BODY_GREATEST_BYTES} bytes"]}
            else:
                log.exception("request %s %s failed (%s)", request.method, clean, request_id)
                status, body = 500, {"errors": [f"internal error, see the queue's log ({request_id})"]}
        return _response(status, body, request_id)

    def _body(self, path: str, words: list[str], dialect: str) -> Any:
        if request.method == "OPTIONS":
            return None
        if path == discovery.PATH and request.method in ("GET", "HEAD"):
            return discovery.document(request.host_url, self._settings)
        form = forms.read(request, dialect)
        route = _route(form.method, words, self._settings)
        action = actions.ACTIONS[(route.resource.name, route.action)]
        begin: Callable[[], Any] = self._store.write if action.writes else self._store.read
        with begin() as transaction:
            caller = self._caller(transaction, form)
            _check_token(caller, form, path)
            act = Act(transaction=transaction, caller=caller, settings=self._settings, now=now())
            return action.run(act, route.resource, route.uuid, form)

    def _caller(self, transaction: Transaction, form: forms.Form) -> Caller:
        sent = tokens.sent_token(request.headers.get("Authorization", ""), form.values)
        return tokens.authenticate(transaction, self._settings, self._root_token, sent)


def _check_token(caller: Caller, form: forms.Form, path: str) -> None:
    """What every path asks of a request before it does anything."""
    if path != f"{PREFIX}api_client_authorizations/current":
        tokens.check_scopes(caller.token["scopes"], form.method, path)
    if form.problem:
        raise form.problem
    bypass = str(form.values.get("bypass_federation", "")).lower()
    if bypass in ("true", "1") and not caller.is_admin:
        raise ApiError(403, "The bypass_federation parameter is only permitted when current user is admin")


def _route(method: str, words: list[str], settings: Settings) -> Route:
    """The action of a path. Raises ApiError 404 when there is none."""
    resource = RESOURCES.get(words[0])
    if resource is None:
        raise not_found()
    rest = [each for each in words[1:] if each]
    if resource is CONTAINERS and rest:
        _check_cluster(rest[0], settings)
    name = _action_name(method, rest)
    if (resource.name, name) not in actions.ACTIONS:
        raise ApiError(404, "API endpoint not found", bare=True) if resource.dialect == "router" else not_found()
    return Route(resource=resource, action=name, uuid="" if not rest or rest[0] in _LONE_ACTIONS else rest[0])


def _action_name(method: str, rest: list[str]) -> str:
    if not rest:
        return {"GET": "list", "POST": "create"}.get(method, "")
    if len(rest) == 2:
        return f"{method} {rest[1]}"
    if rest[0] in _LONE_ACTIONS:
        return f"{method} {rest[0]}"
    return {"GET": "get", "PUT": "update", "PATCH": "update", "DELETE": "delete"}.get(method, "") if len(rest) == 1 else ""


def _check_cluster(uuid: str, settings: Settings) -> None:
    if UUID_PATTERN.fullmatch(uuid) and not uuid.startswith(f"{settings.cluster_id}-"):
        raise foreign_cluster(uuid[:5], 404)


def _request_id() -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if 0 < len(given) <= REQUEST_ID_LONGEST else f"req-{random_text(20)}"


def _is_of_the_disk(error: Exception) -> bool:
    """No fault of the caller or of ours, and it may be over soon."""
    return isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in OF_THE_DISK


def _response(status: int, body: Any, request_id: str) -> Response:
    text = "" if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    response = Response(text.encode(errors="replace"), status=status, content_type="application/json; charset=utf-8")
    response.headers["X-Request-Id"] = request_id
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
