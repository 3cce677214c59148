"""What operators ask becomes an event, once the thing that it names was found."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from dispatcher.core.messages import ContainerKillRequested, Event, IdleBehaviorSet, InstanceKillRequested
from dispatcher.core.model import IdleBehavior, Phase, State
from dispatcher.web.app import BODY_BYTES, make_app
from tests.web.fakes import TOKEN, FakeView
from tests.web.test_reading import AUTH, container, instance, process, state, uuid

AZURE_ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm7"
ACTOR = "management API from 127.0.0.1"
STATE = state(
    instance(1),
    instance(7, id=AZURE_ID, processes={uuid(3): process(3)}),
    instance(8, id=None, phase=Phase.CREATING),
    container(1),
    container(2, instance="name-1"),
)


def post(path: str, given: State = STATE, **more: object) -> tuple[TestResponse, list[Event]]:
    view = FakeView(state=given)
    answer = make_app(view, TOKEN).test_client().post("/arvados/v1/dispatch" + path, headers=AUTH, **more)
    return answer, view.posted


@pytest.mark.parametrize("behavior", list(IdleBehavior))
def test_an_idle_behavior_is_posted(behavior: IdleBehavior) -> None:
    """With who asked, when and why; the answer is empty, as upstream's."""
    answer, posted = post(f"/instances/{behavior.value}?instance_id=vm1&reason=maintenance")
    expected = IdleBehaviorSet(
        name="name-1", behavior=behavior, actor=ACTOR, reason="maintenance", at="2027-01-15T08:00:00Z"
    )
    assert (answer.status_code, answer.data, posted) == (200, b"", [expected])


FOUND = [
    {"query_string": {"instance_id": AZURE_ID}},
    {"data": {"instance_id": AZURE_ID}},
    {"query_string": {"instance_id": "name-7"}},
]


@pytest.mark.parametrize("sent", FOUND)
def test_an_instance_is_named_by_query_or_form(sent: dict[str, object]) -> None:
    """Ids of Azure hold slashes, so they are never part of the path; our own name is understood too."""
    _, posted = post("/instances/kill", **sent)
    assert posted == [InstanceKillRequested(name="name-7", reason="killed by an operator", actor=ACTOR)]


@pytest.mark.parametrize("number", [2, 3])
def test_a_container_with_a_place_can_be_killed(number: int) -> None:
    """Bound to an instance or running on one."""
    _, posted = post(f"/containers/kill?container_uuid={uuid(number)}&reason=trying")
    assert posted == [ContainerKillRequested(uuid=uuid(number), reason="trying", actor=ACTOR)]


REFUSED = [
    ("/instances/hold", 400, "instance_id parameter not provided"),
    ("/instances/kill", 400, "instance_id parameter not provided"),
    ("/containers/kill", 400, "container_uuid parameter not provided"),
    ("/instances/drain?instance_id=nonesuch", 404, "requested instance does not exist"),
    ("/instances/kill?instance_id=nonesuch", 404, "instance not found"),
    (f"/containers/kill?container_uuid={uuid(1)}", 404, "container not found"),
    (f"/containers/kill?container_uuid={uuid(9)}", 404, "container not found"),
]


@pytest.mark.parametrize(("path", "status", "text"), REFUSED)
def test_what_cannot_be_found_is_refused(path: str, status: int, text: str) -> None:
    """A missing parameter is 400, an unknown thing 404, and nothing is posted."""
    answer, posted = post(path)
    assert (answer.status_code, answer.json, posted) == (status, {"errors": [text]}, [])


def test_reading_never_changes_anything() -> None:
    """Hold, drain, run and kill are POST alone."""
    answer = make_app(FakeView(state=STATE), TOKEN).test_client().get(
        "/arvados/v1/dispatch/instances/hold?instance_id=vm1", headers=AUTH
    )
    assert (answer.status_code, answer.text) == (405, "Method Not Allowed\n")
    assert "POST" in answer.headers["Allow"]


def test_a_reason_is_bounded() -> None:
    """It ends in a tag of the VM and in pages."""
    _, posted = post("/instances/kill?instance_id=vm1", data={"reason": "r" * 5000})
    assert [len(event.reason) for event in posted if isinstance(event, InstanceKillRequested)] == [500]


def test_a_body_that_is_too_large_is_refused() -> None:
    """Nobody needs more for a reason."""
    answer, posted = post("/instances/kill?instance_id=vm1", data=b"x" * (BODY_BYTES + 1))
    assert (answer.status_code, posted) == (413, [])


def test_a_body_of_unknown_size_is_refused() -> None:
    """It could be endless."""
    view = FakeView(state=STATE)
    answer = make_app(view, TOKEN).test_client().post(
        "/arvados/v1/dispatch/instances/kill?instance_id=vm1", headers={**AUTH, "Transfer-Encoding": "chunked"}
    )
    assert (answer.status_code, view.posted) == (411, [])
