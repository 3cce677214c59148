"""The description put to the proof: schemathesis asks what it allows and what it forbids, and judges every answer.

Its cases come from a fixed seed. It looks for inner errors, and for statuses, kinds of content and keys that are not described.
That every route wants a token is proved without it, in ``test_description``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from needs import needs_module

from dispatcher.web.app import make_app
from dispatcher.web.description import document
from tests.web.fakes import TOKEN, FakeHealth, FakeView
from tests.web.test_operator import FLEET
from tests.web.test_reading import container, state, uuid

SEED, EXAMPLES = 20260101, 12
THERE = {
    "instance_id": ["name-1", "vm2", "vm3", "nonesuch", "\u202eвм \x00"],
    "container_uuid": [uuid(1), uuid(3), uuid(9), "nonesuch"],
    "instance_type": ["small", "big", "nonesuch"], "expires": ["2h", "1d12h", "2027-02-01T08:00:00+01:00", "soon", "0s"],
}  # fmt: skip


def tailored(described: dict[str, Any]) -> dict[str, Any]:
    """Stricter and nearer: no answer may hold a key that is not told of, and half of what is named is there."""
    made = copy.deepcopy(described)
    for node in nodes(made["components"]["schemas"]):
        if "properties" in node:
            node.setdefault("additionalProperties", False)
    for node in nodes(made["paths"]):
        for name, words in THERE.items():
            if node.get("in") == "query" and node.get("name") == name:
                node["schema"] = nearer(node["schema"], words)
            if isinstance(node.get("properties"), dict) and name in node["properties"]:
                node["properties"][name] = nearer(node["properties"][name], words)
    return made


def nearer(schema: dict[str, Any], words: list[str]) -> dict[str, Any]:
    told = {"type": "string", "enum": words}
    return {"type": "array", "items": told, "minItems": 1, "maxItems": 3} if schema["type"] == "array" else told


def nodes(node: Any) -> Iterable[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for each in list(node.values()):
            yield from nodes(each)
    elif isinstance(node, list):
        for each in node:
            yield from nodes(each)


def fleet() -> FakeView:
    held = state(*FLEET.instances.values(), container(1), container(3, instance="name-3"), container(9))
    return FakeView(state=held, judged=FakeHealth(warnings=("one",)))


def application() -> Callable[..., Any]:
    """Ours, with the tailored description beside it. Each request meets the same dispatcher: acts leave nothing behind."""
    view = fleet()
    served, first = make_app(view, TOKEN), view.state
    described = json.dumps(tailored(document())).encode()

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/tailored.json":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [described]
        view.state, view.posted, view.acts = first, [], []
        return served.wsgi_app(environ, start_response)

    return call


@dataclass
class Found:
    """What a run met."""

    cases: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)


def run(headers: dict[str, str]) -> Found:
    """All phases but the one that follows links, of which there are none."""
    schemathesis: Any = needs_module("schemathesis", package="schemathesis")
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema

    schema = schemathesis.openapi.from_wsgi("/tailored.json", application(), config=SchemathesisConfig(seed=SEED))
    settings = schema.config
    settings.headers, settings.continue_on_failure = headers, True
    settings.generation.max_examples, settings.generation.deterministic, settings.generation.database = EXAMPLES, True, "none"
    settings.phases.stateful.enabled = False
    settings.checks.ignored_auth.enabled = False  # it cannot be used on a WSGI application
    settings.checks.positive_data_acceptance.enabled = False  # what is well written may still mean nothing: 400
    found = Found()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            note(found, event.recorder)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            found.errors.append(str(vars(event) if hasattr(event, "__dict__") else getattr(event, "value", event)))
    return found


def note(found: Found, recorder: Any) -> None:
    found.cases += len(recorder.cases)
    found.asked |= {case.value.operation.label for case in recorder.cases.values()}
    for case, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                where = recorder.cases[case].value.operation.label
                what = f"{where}: {check.name}: {check.failure_info.failure}"
                found.failures.setdefault(what[:300], check.failure_info.code_sample)


@pytest.mark.slow
def test_every_answer_is_one_that_is_described() -> None:
    """To requests that are allowed and to those that are not, in all kinds of content, with the management token."""
    found = run({"Authorization": f"Bearer {TOKEN}", "Accept-Encoding": "identity"})  # nobody unzips what no server sent
    assert found.errors == []
    assert found.failures == {}
    assert found.asked == {f"{method.upper()} {path}" for path, item in document()["paths"].items() for method in item}
    assert found.cases > 300
