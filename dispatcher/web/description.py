"""The management API and the pages in the form of OpenAPI 3.1: what every address takes and answers.

A table of routes; the tests compare it with the application, both ways, and hold every answer against it.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response, jsonify

from dispatcher.web import auth, session
from dispatcher.web.operator import PREFIX
from dispatcher.web.schemas import BEHAVIOR, SCHEMAS, STATE, TEXT, Schema, many, one_of, ref
from dispatcher.web.schemas_overview import OVERVIEW_SCHEMAS

PATH = "/openapi.json"
VERSION = "1"
JSON, PLAIN, HTML = "application/json", "text/plain", "text/html"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

ABOUT = """\
The paths, parameters and answers of the Arvados dispatcher, and more. Everything but the sign-in page wants a token: the
cluster's ManagementToken for everything, our ReadOnlyToken for what only reads. More keys may come to an answer; none goes away.
"""


def answer(text: str, schema: Schema | None = None, kind: str = JSON) -> Schema:
    return {"description": text, "content": {kind: {"schema": schema or TEXT}}}


def empty(text: str) -> Schema:
    return {"description": text}


def redirect(text: str) -> Schema:
    return {"description": text, "headers": {"Location": {"schema": {"type": "string"}}}}


def either(*answers: Schema) -> Schema:
    """One status that different reasons share: their words, and all their kinds of content."""
    content = {kind: body for each in answers for kind, body in each["content"].items()}
    return {"description": " Or: ".join(each["description"] for each in answers), "content": content}


NO_TOKEN = answer("There is no token in the request. Browsers are sent to the sign-in page.", kind=PLAIN)
FORBIDDEN = answer("The token is wrong, or may only read, or the request comes from a page of another site.", kind=PLAIN)
TOO_OFTEN = {
    **answer("Too many wrong tokens came from this address.", kind=PLAIN),
    "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
}  # fmt: skip
ERRORS = ref("Errors")
WRONG = answer("A parameter is missing, empty, misspelt or makes no sense; nothing was done.", ERRORS)
UNKNOWN_SIZE = answer("The body has no Content-Length.", ERRORS)
TOO_LARGE = answer("The body is too large.", ERRORS)
NOT_LEADING = answer("Another dispatcher leads, or this one has just begun and does not know its instances.", ERRORS)
GUARDED: Schema = {"401": NO_TOKEN, "403": FORBIDDEN, "411": UNKNOWN_SIZE, "413": TOO_LARGE, "429": TOO_OFTEN}
SIGN_IN = redirect("To the sign-in page: a browser has no session.")


# ------------------------------------------------------------------------------------------------------------ parameters


def several(description: str, schema: Schema = TEXT) -> Schema:
    return {**many(schema), "description": description}


REASON = {**TEXT, "description": "Why. It stands in the audit log; at most 256 characters are kept."}
ACTOR = {**TEXT, "description": "Who; without it, who signed in, else the caller's address."}
EXPIRES = {**TEXT, "description": "For hold and drain: a duration (2h, 1d12h) or a time with its zone. Then it goes back to run."}
PREVIEW = {**one_of("true", "1", "yes", "false", "0", "no"), "description": "Change nothing, show what would be done."}
FORM_KEY = {**TEXT, "description": "The key of a session's forms: needed when a session acts; or the header X-Form-Key."}
SELECTORS: dict[str, Schema] = {
    "instance_type": several("Instances of these types."),
    "state": several("Instances in these states; what shuts down only when it is named.", STATE),
    "idle_behavior": several("Instances with these behaviours.", BEHAVIOR),
}
INSTANCE_ID = several("The cloud's ids of instances, or our own names: all of them, or nothing is done.")
OF_INSTANCES: dict[str, Schema] = {
    "instance_id": INSTANCE_ID, **SELECTORS, "preview": PREVIEW, "reason": REASON, "actor": ACTOR, "expires": EXPIRES,
    auth.FORM_KEY: FORM_KEY, "select": {**TEXT, "description": "Clients of Arvados send it; it has no effect."},
}  # fmt: skip
UUID = {**TEXT, "description": "The container."}
OF_CONTAINERS: dict[str, Schema] = {
    "container_uuid": UUID, "preview": PREVIEW, "reason": REASON, "actor": ACTOR, auth.FORM_KEY: FORM_KEY,
}  # fmt: skip
OF_ACTS: dict[str, Schema] = {
    "act": {**one_of("hold", "drain", "run", "kill"), "description": "What; containers can be killed, and nothing else."},
    "instance_id": INSTANCE_ID, **SELECTORS, "container_uuid": several("Containers to be killed."),
}  # fmt: skip
OF_CONFIRMS: dict[str, Schema] = {
    **OF_ACTS, "step": {**one_of("confirm"), "description": "Do it; without it the effect is shown."}, "reason": REASON,
    "actor": ACTOR, "expires": EXPIRES, "mark": {**TEXT, "description": "Of the form: what carries the same is done once."},
    "seen": several("The running containers that were shown: a kill leaves instances alone that run others."),
    auth.FORM_KEY: FORM_KEY,
}  # fmt: skip
OF_SIGN_IN: dict[str, Schema] = {
    "token": {**TEXT, "format": "password"}, "name": {**TEXT, "description": "For the audit log."},
    "next": {**TEXT, "description": "Where to go then, on this site."},
}  # fmt: skip


def in_query(fields: dict[str, Schema], *required: str) -> list[Schema]:
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema,
         **({"description": schema["description"]} if "description" in schema else {})}
        for name, schema in fields.items()
    ]  # fmt: skip


def in_path(name: str, schema: Schema = TEXT) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def form(fields: dict[str, Schema], *required: str) -> Schema:
    schema: Schema = {"type": "object", "properties": fields, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return {"content": {kind: {"schema": schema} for kind in FORMS}, "required": bool(required)}


# ---------------------------------------------------------------------------------------------------------------- routes


def reads(summary: str, ok: Schema, *parameters: Schema, **more: Schema) -> Schema:
    return {"summary": summary, "parameters": list(parameters), "responses": {"200": ok, **GUARDED, **more}}


def acts(summary: str, fields: dict[str, Schema], ok: Schema, *parameters: Schema) -> Schema:
    """Parameters stand in the query or in the form, or some here and some there."""
    missing = either(answer("What is named is not there; nothing was done.", ERRORS), answer("No such act.", kind=PLAIN))
    return {
        "summary": summary, "parameters": [*parameters, *in_query(fields)], "requestBody": form(fields),
        "responses": {"200": ok, "400": WRONG, "404": missing, "503": NOT_LEADING, **GUARDED},
    }  # fmt: skip


def page(summary: str, *parameters: Schema, body: Schema | None = None, **more: Schema) -> Schema:
    shown = answer("The page.", kind=HTML)
    refusals = {
        status: either(told, shown) for status, told in GUARDED.items() if status not in ("429",)
    }  # what is wrong is told on a page
    made: Schema = {"summary": summary, "parameters": list(parameters),
                    "responses": {"200": shown, "303": SIGN_IN, "429": TOO_OFTEN, **refusals, **more}}  # fmt: skip
    return {**made, "requestBody": body} if body else made


PROBLEM = answer("What is wrong, on a page; nothing was done.", kind=HTML)
ON_PAGE: Schema = {"400": PROBLEM, "404": PROBLEM, "503": PROBLEM}
DID = either(
    answer("What each instance was when the act reached it.", ref("Act")),
    answer("One instance and no parameter of ours: nothing, as in the Arvados dispatcher.", kind=PLAIN),
)
KILLED = either(
    answer("Where it ran, for who accepts JSON, and for a preview.", ref("ContainerKill")), answer("Nothing.", kind=PLAIN)
)
UNHEALTHY = answer("It cannot work now; `error` says why.", ref("Health"))
NO_CONTAINER = answer("There is no such container, or another dispatcher leads.", ERRORS)
(WHICH,) = in_query({"container_uuid": UUID}, "container_uuid")
MARK = {"id": {**TEXT, "description": "The mark of the form."}}
ACT = in_path("act", one_of("hold", "drain", "run", "kill"))

GONE: Schema = {"404": answer("It is not there, and nothing is remembered of it.", kind=HTML)}
KNOWN: Schema = {"304": empty("Whoever asks has it already, by its entity tag.")}
SINCE: dict[str, Schema] = {"since": {**TEXT, "description": "The tag of what the page has."}}
OF_FLEET: dict[str, Schema] = {
    "type": {**TEXT, "description": "Instances of this type."}, "state": {**TEXT, "description": "In this state, or creating."},
    "behavior": {**TEXT, "description": "With this behaviour."}, "page": {**TEXT, "description": "From 1."},
}  # fmt: skip
OF_DECISIONS: dict[str, Schema] = {
    "about": {**TEXT, "description": "A container's uuid, or an instance's name or id."},
    "level": {**TEXT, "description": "warning: without what is only worth knowing."},
}
ASSET = answer("A part of our pages.", kind="text/css")
DIGEST: dict[str, Schema] = {"v": {**TEXT, "description": "The digest of the file: with it, it may be kept for ever."}}

PATHS: dict[str, Schema] = {
    "/": {"get": page("The operator's page")},
    "/overview.json": {"get": reads("All that it shows", answer("", ref("Overview")), **KNOWN)},
    "/changes": {"get": reads("What a page lacks", answer("", ref("Changes")), *in_query(SINCE), **KNOWN)},
    "/fleet": {"get": page("The fleet, page by page", *in_query(OF_FLEET))},
    "/decisions": {"get": page("What was decided and done", *in_query(OF_DECISIONS))},
    "/instance/{name}": {"get": page("One instance, by our name or the cloud's id", in_path("name"), **GONE, **KNOWN)},
    "/container/{uuid}": {"get": page("One container", in_path("uuid"), **GONE, **KNOWN)},
    "/static/{name}": {
        "get": {
            "summary": "Style, script and picture of our pages", "security": [],
            "parameters": [in_path("name", one_of("page.css", "page.js", "icon.svg")), *in_query(DIGEST)],
            "responses": {
                "200": either(ASSET, answer("", kind="text/javascript"), answer("", kind="image/svg+xml")),
                "404": answer("No such file.", kind=PLAIN), **KNOWN, **GUARDED,
            },
        }
    },
    PREFIX + "/containers": {"get": reads("All containers, as they are served", answer("", ref("Containers")))},
    PREFIX + "/container": {"get": reads("One container", answer("", ref("Container")), WHICH, **{"404": NO_CONTAINER})},
    PREFIX + "/instances": {"get": reads("All instances", answer("", ref("Instances")))},
    PREFIX + "/instances/{act}": {"post": acts("Hold, drain, run (release) or kill instances", OF_INSTANCES, DID, ACT)},
    PREFIX + "/containers/kill": {"post": acts("Kill a container that runs", OF_CONTAINERS, KILLED)},
    "/_health/ping": {"get": reads("Whether it is healthy", answer("", ref("Health")), **{"503": UNHEALTHY})},
    "/_inspect/requests": {"get": reads("The requests that are being answered, the oldest first", answer("", ref("Requests")))},
    "/metrics": {"get": reads("Metrics for Prometheus", answer("", kind=PLAIN))},
    "/metrics.json": {"get": reads("The same as JSON", answer("", ref("Metrics")))},
    PATH: {"get": reads("This description", answer("", {"type": "object"}))},
    "/act": {
        "get": page("What an act would do", *in_query(OF_ACTS), **ON_PAGE),
        "post": page("The same from a form; with step=confirm it is done", body=form(OF_CONFIRMS), **ON_PAGE),
    },
    "/act/done": {"get": page("What came of an act", *in_query(MARK, "id"), **ON_PAGE)},
    "/sign-in": {
        "get": page("The form for the token", *in_query({"next": OF_SIGN_IN["next"]})),
        "post": {**page("Open a session", body=form(OF_SIGN_IN, "token")), "security": []},
    },
    "/sign-out": {"post": {**page("End the session"), "security": []}},
}
PATHS["/sign-in"]["get"]["security"] = []
PATHS["/sign-in"]["post"]["responses"]["429"] = either(TOO_OFTEN, answer("The same on the page.", kind=HTML))

SECURITY: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The place for a token."},
    "basic": {"type": "http", "scheme": "basic", "description": "Any user; the password is the token."},
    "session": {"type": "apiKey", "in": "cookie", "name": session.COOKIE, "description": "Made by /sign-in."},
    "cookie": {"type": "apiKey", "in": "cookie", "name": auth.COOKIE, "description": "The token in URL-safe base64."},
    "query": {"type": "apiKey", "in": "query", "name": "api_token", "description": "It shows in logs of proxies: better not."},
}


def document() -> Schema:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cloud Dispatcher", "version": VERSION, "description": ABOUT, "license": {"name": "Apache-2.0"}},
        "paths": PATHS,
        "components": {"schemas": {**SCHEMAS, **OVERVIEW_SCHEMAS}, "securitySchemes": SECURITY},
        "security": [{name: []} for name in SECURITY],
    }


def text() -> str:
    """docs/openapi.json."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def blueprint() -> Blueprint:
    made = Blueprint("description", __name__)
    told: dict[str, Any] = document()

    @made.get(PATH)
    def description() -> Response:
        return jsonify(told)

    return made
