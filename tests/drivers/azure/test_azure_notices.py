"""What a machine is told of its own end: documents as Azure's metadata service gives them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dispatcher.driver import Notice
from drivers.azure.notices import parse


def event(kind: str, *names: str, **more: Any) -> dict[str, Any]:
    known = {"EventId": "1", "ResourceType": "VirtualMachine", "NotBefore": ""}
    return {**known, "EventType": kind, "Resources": list(names), **more}


def said(*events: dict[str, Any]) -> str:
    return json.dumps({"DocumentIncarnation": 1, "Events": list(events)})


ENDS = [
    (said(event("Preempt", "vm-1")), "takes this spot machine back"),
    (said(event("Terminate", "vm-1")), "deletes"),
    (said(event("Redeploy", "vm-1")), "moves"),
    (said(event("Reboot", "VM-1")), "restarts"),
    (said(event("Freeze", "vm-1"), event("Preempt", "vm-0", "vm-1")), "takes this spot machine back"),
    (said(event("Reboot", "vm-1"), event("Preempt", "vm-1")), "takes this spot machine back"),
    (said(event("Preempt", "vm-1", NotBefore="Mon, 19 Sep 2016 18:29:47 GMT", EventSource="Platform")), "18:29:47"),
]


@pytest.mark.parametrize(("text", "word"), ENDS)
def test_an_end_is_told_with_its_reason(text: str, word: str) -> None:
    """The gravest of several, and when."""
    found = parse(text, "vm-1")
    assert isinstance(found, Notice)
    assert word in found.text


WHEN = [("Mon, 19 Sep 2016 18:29:47 GMT", 1474309787.0), ("", None), (None, None), ("soon", None), (5, None)]


@pytest.mark.parametrize(("not_before", "ends_at"), WHEN)
def test_the_time_of_an_end_is_told_when_azure_tells_it(not_before: Any, ends_at: float | None) -> None:
    """An event that has begun has none."""
    found = parse(said(event("Terminate", "vm-1", NotBefore=not_before)), "vm-1")
    assert isinstance(found, Notice)
    assert found.ends_at == ends_at


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "<html></html>", "{}", '{"Events": null}', '{"Events": [3]}', said(),
        said(event("Freeze", "vm-1")),
        said(event("Preempt", "vm-2")), said({"EventType": "Preempt", "Resources": "vm-1"}), said(event("Strange", "vm-1")),
    ],
)  # fmt: skip
def test_anything_else_is_no_end(text: str) -> None:
    """A pause, another machine's end, or words that nobody understands."""
    assert parse(text, "vm-1") == ""
