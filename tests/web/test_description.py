"""The description of the API tells of every route, parameter and key that there is, and of nothing else."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core.maps import Map
from dispatcher.web import acts, app, operator, page, parameters, sign_in
from dispatcher.web.app import make_app
from dispatcher.web.description import document
from tests.web.fakes import TOKEN, FakeHealth, FakeView
from tests.web.test_app import AUTH
from tests.web.test_operator import FLEET as MANY
from tests.web.test_reading import container, uuid

DOCUMENT = document()
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
OPERATIONS = [
    (path, method, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
]  # fmt: skip
IDS = [f"{method} {path}" for path, method, _ in OPERATIONS]


def template(rule: str) -> str:
    """A route of Flask as a path of the description."""
    return re.sub(r"<(?:[^:<>]+:)?(\w+)>", r"{\1}", rule)


def routes() -> set[tuple[str, str]]:
    rules = make_app(FakeView(), TOKEN).url_map.iter_rules()
    return {(template(rule.rule), method.lower()) for rule in rules for method in (rule.methods or set()) & METHODS}


def test_every_route_is_described_and_nothing_else() -> None:
    """Both ways: what is not told is not found, and what is told is there."""
    assert {(path, method) for path, method, _ in OPERATIONS} == routes()


def named(operation: dict[str, Any]) -> set[str]:
    """The parameters of an operation, wherever they stand."""
    told = {parameter["name"] for parameter in operation["parameters"]}
    forms = operation.get("requestBody", {}).get("content", {}).values()
    return told | {name for body in forms for name in body["schema"]["properties"]}


@pytest.mark.parametrize(("path", "known"), [
    ("/arvados/v1/dispatch/instances/{act}", set(parameters.KNOWN) - {"api_token"}),
    ("/arvados/v1/dispatch/containers/kill", {"container_uuid", "reason", "actor", "preview", "form_key"}),
    ("/act", {"act", "container_uuid", "mark", "seen", "step"} | set(parameters.KNOWN) - {"api_token", "select", "preview"}),
])  # fmt: skip
def test_every_parameter_is_described(path: str, known: set[str]) -> None:
    """The table of what a request may say is the one of the code; the token has its place elsewhere."""
    assert named(DOCUMENT["paths"][path]["post"]) - {"act"} == known - {"act"}


def test_every_word_that_the_code_reads_is_described() -> None:
    """A parameter that somebody adds is found by its name in the source."""
    read = re.compile(r"""(?:several|one|_flag|_end|(?:values|form|args)\.get(?:list)?)\(\s*"(\w+)\"""")
    rooms = (acts, app, operator, page, parameters, sign_in)
    words = {word for module in rooms for word in read.findall(inspect.getsource(module))}
    assert len(words) > 10
    assert words - {name for _, _, operation in OPERATIONS for name in named(operation)} == set()


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
def test_every_route_wants_a_token_but_those_that_say_so(path: str, method: str, operation: dict[str, Any]) -> None:
    """401 without one; what is open shows nothing of the cluster."""
    answer = make_app(FakeView(state=MANY), TOKEN).test_client().open(path.replace("{act}", "hold"), method=method.upper())
    assert (answer.status_code == 401) is (operation.get("security") != [])
    assert "vm1" not in answer.text


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
def test_every_operation_is_told_in_words(path: str, method: str, operation: dict[str, Any]) -> None:
    """A summary, and a description of each parameter but those in the path."""
    assert operation["summary"]
    assert [p["name"] for p in operation["parameters"] if p["in"] == "query" and not p.get("description")] == []


# ------------------------------------------------------------------------------------------------------------- keys of answers


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return DOCUMENT["components"]["schemas"][name] if name else schema


def strange(value: Any, schema: dict[str, Any], where: str = "") -> Iterator[str]:
    """Keys that the schema does not tell of, and those that it tells of and that are missing."""
    schema = resolved(schema)
    if "oneOf" in schema:
        fit = [each for each in schema["oneOf"] if (each.get("type") == "null") is (value is None)]
        schema = resolved(fit[0])
    if isinstance(value, dict):
        known = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        yield from (f"{where}.{key}: missing" for key in schema.get("required", ()) if key not in value)
        for key, each in value.items():
            if key in known or extra:
                yield from strange(each, known.get(key, extra), f"{where}.{key}")
            else:
                yield f"{where}.{key}: not described"
    elif isinstance(value, list):
        for each in value:
            yield from strange(each, schema["items"], where + "[]")


ASKED = [
    ("/arvados/v1/dispatch/containers", "get", {}),
    ("/arvados/v1/dispatch/instances", "get", {}),
    ("/arvados/v1/dispatch/container", "get", {"container_uuid": uuid(1)}),
    ("/arvados/v1/dispatch/instances/{act}", "post", {"state": "idle"}),
    ("/arvados/v1/dispatch/containers/kill", "post", {"container_uuid": uuid(3), "preview": "true"}),
    ("/_health/ping", "get", {}),
    ("/overview.json", "get", {}),
    ("/changes", "get", {"since": "nonesuch"}),
    ("/_inspect/requests", "get", {}),
    ("/metrics.json", "get", {}),
]


@pytest.mark.parametrize(("path", "method", "query"), ASKED, ids=[path for path, _, _ in ASKED])
def test_every_key_of_an_answer_is_described(path: str, method: str, query: dict[str, str]) -> None:
    """And each that is said to be always there is there."""
    held = replace(MANY, containers=Map([(uuid(1), container(1))]))
    view = FakeView(state=held, judged=FakeHealth(ready=True, warnings=("w",)))
    answer = make_app(view, TOKEN).test_client().open(
        path.replace("{act}", "drain"), method=method.upper(), query_string=query, headers=AUTH
    )
    assert answer.status_code == 200
    schema = DOCUMENT["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    assert list(strange(answer.json, schema)) == []


def test_the_description_is_served() -> None:
    """To who may read."""
    answer = make_app(FakeView(), TOKEN).test_client().get("/openapi.json", headers=AUTH)
    assert answer.json == DOCUMENT
