"""What operators ask becomes an event, once the thing that it names was found; and a line of the audit log."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from dispatcher.core.messages import ContainerKillRequested, Event, IdleBehaviorSet, InstanceKillRequested
from dispatcher.core.model import CloudView, IdleBehavior, Leadership, Phase, State
from dispatcher.web.app import BODY_BYTES, make_app
from tests.web.fakes import TOKEN, FakeView
from tests.web.test_reading import AUTH, container, instance, process, state, uuid

AZURE_ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm7"
ACTOR = "127.0.0.1"
AT = "2027-01-15T08:00:00Z"
HOLD, DRAIN, RUN = IdleBehavior.HOLD, IdleBehavior.DRAIN, IdleBehavior.RUN
STATE = state(
    instance(1),
    instance(7, id=AZURE_ID, processes={uuid(3): process(3)}),
    instance(8, id=None, phase=Phase.CREATING),
    container(1),
    container(2, instance="name-1"),
)


def send(path: str, view: FakeView, **more: Any) -> TestResponse:
    headers = {**AUTH, **more.pop("headers", {})}
    return make_app(view, TOKEN).test_client().post("/arvados/v1/dispatch" + path, headers=headers, **more)


def post(path: str, given: State = STATE, **more: Any) -> tuple[TestResponse, list[Event]]:
    view = FakeView(state=given)
    return send(path, view, **more), view.posted


# ---------------------------------------------------------------------------------------------------------- as upstream has it


@pytest.mark.parametrize("behavior", list(IdleBehavior))
def test_an_idle_behavior_is_posted(behavior: IdleBehavior) -> None:
    """With who asked, when and why; the answer is empty, as upstream's."""
    answer, posted = post(f"/instances/{behavior.value}?instance_id=vm1&reason=maintenance")
    expected = IdleBehaviorSet(name="name-1", behavior=behavior, actor=ACTOR, reason="maintenance", at=AT)
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


def test_a_container_that_runs_can_be_killed() -> None:
    """It has a process on an instance, whether the queue knows it or not."""
    answer, posted = post(f"/containers/kill?container_uuid={uuid(3)}&reason=trying&actor=ada@host")
    assert posted == [ContainerKillRequested(uuid=uuid(3), reason="trying", actor="ada@host")]
    assert (answer.status_code, answer.data) == (200, b"")


REFUSED = [
    ("/instances/hold", 400, "instance_id parameter not provided"),
    ("/instances/kill", 400, "instance_id parameter not provided"),
    ("/instances/kill?instance_id=", 400, "instance_id parameter not provided"),
    ("/containers/kill", 400, "container_uuid parameter not provided"),
    ("/instances/drain?instance_id=nonesuch", 404, "requested instance does not exist"),
    ("/instances/kill?instance_id=nonesuch", 404, "instance not found"),
    (f"/containers/kill?container_uuid={uuid(1)}", 404, "container not found"),
    (f"/containers/kill?container_uuid={uuid(2)}", 404, "container not found"),  # it only has a place there
    (f"/containers/kill?container_uuid={uuid(9)}", 404, "container not found"),
    (f"/containers/kill?container_uuid={uuid(3)}&container_uuid={uuid(1)}", 400, "container_uuid can be given once only"),
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


def test_a_body_that_is_too_large_is_refused() -> None:
    """Nobody needs more for a reason."""
    answer, posted = post("/instances/kill?instance_id=vm1", data=b"x" * (BODY_BYTES + 1))
    assert (answer.status_code, posted) == (413, [])


def test_a_body_of_unknown_size_is_refused() -> None:
    """It could be endless."""
    answer, posted = post("/instances/kill?instance_id=vm1", headers={"Transfer-Encoding": "chunked"})
    assert (answer.status_code, posted) == (411, [])


def test_who_does_not_lead_takes_no_orders() -> None:
    """They would be forgotten with its next term: 503 names who leads."""
    given = replace(STATE, leadership=Leadership(holder="host-b"))
    for path in ("/instances/hold?instance_id=vm1", f"/containers/kill?container_uuid={uuid(3)}"):
        answer, posted = post(path, given)
        assert (answer.status_code, posted) == (503, [])
        assert "host-b" in answer.json["errors"][0]


def test_before_the_first_list_nobody_knows_what_there_is() -> None:
    """A selector would hit nothing and say so with 200, and an instance that exists would be 404: 503 until it is known."""
    given = replace(STATE, cloud=CloudView())
    for path in ("/instances/hold?instance_id=vm1", "/instances/hold?state=idle", f"/containers/kill?container_uuid={uuid(3)}"):
        answer, posted = post(path, given)
        assert (answer.status_code, posted) == (503, [])


# ------------------------------------------------------------------------------------------------------------ who, and how long


def test_the_actor_is_who_the_caller_says() -> None:
    """The token is shared, so a name can only be told; the address is in the audit log beside it."""
    _, posted = post("/instances/hold", data={"instance_id": "vm1", "actor": "ada@host"})
    assert [event.actor for event in posted if isinstance(event, IdleBehaviorSet)] == ["ada@host"]


ENDS = [
    ("2h", "2027-01-15T10:00:00Z", 7200.0),
    ("1d12h", "2027-01-16T20:00:00Z", 129600.0),
    ("1.5m", "2027-01-15T08:01:30Z", 90.0),
    ("2027-01-15T09:00:00Z", "2027-01-15T09:00:00Z", 3600.0),
    ("2027-01-15T10:00:00+01:00", "2027-01-15T09:00:00Z", 3600.0),
]


@pytest.mark.parametrize(("given", "until", "until_s"), ENDS)
@pytest.mark.parametrize("behavior", [HOLD, DRAIN])
def test_a_hold_or_drain_can_be_for_a_time(behavior: IdleBehavior, given: str, until: str, until_s: float) -> None:
    """A duration or a time, kept in UTC and on our clock; the answer tells what was understood."""
    answer, posted = post(f"/instances/{behavior.value}", query_string={"instance_id": "vm1", "expires": given})
    assert posted == [IdleBehaviorSet(name="name-1", behavior=behavior, actor=ACTOR, at=AT, until=until, until_s=until_s)]
    assert (answer.status_code, answer.json["until"]) == (200, until)


NO_END = [
    ("run", "2h", "expires is for hold and drain"),
    ("kill", "2h", "expires is for hold and drain"),
    ("hold", "soon", "has to be a duration"),
    ("hold", "2", "has to be a duration"),
    ("hold", "-2h", "has to be a duration"),
    ("hold", "", "parameter not provided"),
    ("hold", "0s", "is in the past"),
    ("hold", "2027-01-15T07:59:59Z", "is in the past"),
    ("hold", "2027-01-15T09:00:00", "has to be a duration"),  # of which time zone?
    ("hold", "2027-13-15T09:00:00Z", "has to be a duration"),
    ("hold", "367d", "more than 366 days"),
    ("hold", "9" * 400 + "h", "more than 366 days"),
]


@pytest.mark.parametrize(("act", "given", "text"), NO_END)
def test_an_end_that_makes_no_sense_is_refused(act: str, given: str, text: str) -> None:
    """Better than a hold that never ends, or a drain that ends at once."""
    answer, posted = post(f"/instances/{act}", query_string={"instance_id": "vm1", "expires": given})
    assert (answer.status_code, posted) == (400, [])
    assert text in answer.json["errors"][0]


# ----------------------------------------------------------------------------------------------------------------- selectors

FLEET = state(
    instance(1),
    instance(2, processes={uuid(2): process(2)}),
    instance(3, type="big", idle_behavior=HOLD, processes={uuid(3): process(3), uuid(4): process(4)}),
    instance(4, type="big", phase=Phase.BOOTING),
    instance(5, phase=Phase.SHUTDOWN),
    instance(6, phase=Phase.UNKNOWN, idle_behavior=DRAIN),
)
SELECTED = [
    ("instance_type=small", [1, 2, 6]),
    ("instance_type=small&instance_type=big", [1, 2, 3, 4, 6]),
    ("state=idle", [1]),
    ("state=idle&state=running", [1, 2, 3]),
    ("state=running&instance_type=big", [3]),
    ("state=booting&instance_type=small", []),
    ("state=shutdown", [5]),
    ("idle_behavior=hold&idle_behavior=drain", [3, 6]),
    ("instance_id=vm1&instance_id=vm3&instance_id=name-1", [1, 3]),
    ("instance_id=vm1&instance_id=vm3&state=running", [3]),
]


def numbers(told: Sequence[dict[str, Any]]) -> list[int]:
    return [int(item["instance_name"].rpartition("-")[2]) for item in told]


@pytest.mark.parametrize(("query", "expected"), SELECTED)
@pytest.mark.parametrize("act", ["hold", "drain", "run", "kill"])
def test_selectors_find_many(act: str, query: str, expected: list[int]) -> None:
    """Values of one are alternatives, different ones all have to match; what shuts down has to be asked for."""
    answer, posted = post(f"/instances/{act}?{query}", FLEET)
    assert answer.status_code == 200
    assert numbers(answer.json["items"]) == expected
    assert [event.name for event in posted] == [f"name-{number}" for number in expected]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("query", "expected"), SELECTED)
def test_a_preview_changes_nothing(query: str, expected: list[int]) -> None:
    """It shows what would be done, and is no act: the audit log has no line of it."""
    view = FakeView(state=FLEET)
    answer = send(f"/instances/kill?{query}&preview=true", view)
    assert (numbers(answer.json["items"]), answer.json["preview"]) == (expected, True)
    assert {item["outcome"] for item in answer.json["items"]} <= {"would be done"}
    assert (view.posted, view.acts, view.state) == ([], [], FLEET)


def test_the_answer_tells_what_each_instance_was() -> None:
    """Its state, its behaviour before and what runs there: what an operator wants to know before a kill."""
    answer, _ = post("/instances/kill?instance_type=big", FLEET)
    assert answer.json == {
        "act": "kill", "preview": False, "until": "",
        "items": [
            {
                "instance": "vm3", "instance_name": "name-3", "arvados_instance_type": "big", "worker_state": "running",
                "idle_behavior": "hold", "held": True, "running_container_uuids": [uuid(3), uuid(4)], "outcome": "done",
            },
            {
                "instance": "vm4", "instance_name": "name-4", "arvados_instance_type": "big", "worker_state": "booting",
                "idle_behavior": "run", "held": False, "running_container_uuids": [], "outcome": "done",
            },
        ],
    }  # fmt: skip


def test_12_28_a_kill_of_a_held_instance_says_that_it_was_held() -> None:
    """Also when one instance is named, where the answer is empty otherwise: upstream kills it and says nothing."""
    answer, posted = post("/instances/kill?instance_id=vm3", FLEET)
    assert [item["held"] for item in answer.json["items"]] == [True]
    assert len(posted) == 1


UNCLEAR = [
    ("state=idel", "unknown state idel: it can be booting, unknown, shutdown, idle, running"),
    ("instance_type=bgi", "unknown instance_type bgi: it can be big, small"),
    ("idle_behavior=stop", "unknown idle_behavior stop: it can be run, hold, drain"),
    ("state=", "state parameter not provided"),
    ("state=idle&instance_type=", "instance_type parameter not provided"),
    ("state=idle&instance_typ=big", "unknown parameter: instance_typ"),
    ("instance_type=big&preview=perhaps", "preview has to be true or false"),
    ("preview=true", "instance_id parameter not provided"),
]


@pytest.mark.parametrize(("query", "text"), UNCLEAR)
def test_what_is_not_clear_is_refused(query: str, text: str) -> None:
    """A misspelt or empty selector would otherwise select everything, or nothing without a word."""
    answer, posted = post(f"/instances/kill?{query}", FLEET)
    assert (answer.status_code, answer.json, posted) == (400, {"errors": [text]}, [])


def test_when_one_of_many_is_unknown_nothing_is_done() -> None:
    """The list was probably a mistake; the answer names what is unknown."""
    answer, posted = post("/instances/drain?instance_id=vm1&instance_id=vm88&instance_id=vm99", FLEET)
    assert (answer.status_code, posted) == (404, [])
    assert answer.json["errors"] == ["requested instance does not exist, nothing was done: vm88, vm99"]


def test_a_client_that_wants_json_gets_it() -> None:
    """Also for a plain act on one instance."""
    answer, _ = post("/instances/drain?instance_id=vm2", FLEET, headers={"Accept": "application/json"})
    assert numbers(answer.json["items"]) == [2]


def test_upstreams_clients_may_send_what_they_always_send() -> None:
    """The Go client adds ``select`` when it ignores the answer."""
    assert post('/instances/run?instance_id=vm1&select=["uuid"]&whatever=1', FLEET)[0].status_code == 200


# ------------------------------------------------------------------------------------------------------------- at the same time


@dataclass
class Restless(FakeView):
    """A dispatcher whose instances change after each look at them: ``later`` is what the next looks show."""

    later: tuple[State, ...] = ()

    def snapshot(self) -> State:
        seen = self.state
        if self.later:
            self.state, *rest = self.later
            self.later = tuple(rest)
        return seen


def test_an_instance_that_vanishes_meanwhile_is_not_found() -> None:
    """Selected, and gone when the act reached it: 404, as if it had gone before."""
    answer = send("/instances/hold?instance_id=vm1", Restless(state=FLEET, later=(state(),)))
    assert (answer.status_code, answer.json) == (404, {"errors": ["requested instance does not exist"]})


def test_among_many_the_one_that_vanished_is_marked() -> None:
    """The others are done."""
    without = state(*[i for i in FLEET.instances.values() if i.name != "name-1"])
    view = Restless(state=FLEET, later=(without,))
    answer = send("/instances/hold?instance_type=small", view)
    assert [item["outcome"] for item in answer.json["items"]] == ["gone", "done", "done"]
    assert len(view.posted) == 2


def test_a_selected_instance_that_got_work_meanwhile_is_left_alone() -> None:
    """Kill what is idle must not kill what has just begun to run."""
    busy = state(*[replace(i, processes={uuid(9): process(9)}) if i.name == "name-1" else i for i in FLEET.instances.values()])
    view = Restless(state=FLEET, later=(busy,))
    answer = send("/instances/kill?state=idle", view)
    assert [item["outcome"] for item in answer.json["items"]] == ["changed meanwhile, left alone"]
    assert view.posted == []


def test_two_operators_one_after_the_other() -> None:
    """The second is told what the first left behind, and the last word counts."""
    view = FakeView(state=FLEET)
    send("/instances/hold?instance_id=vm1&actor=ada", view)
    answer = send("/instances/drain?instance_id=vm1&actor=bob", view, headers={"Accept": "application/json"})
    assert [item["idle_behavior"] for item in answer.json["items"]] == ["hold"]
    chosen = view.state.instances["name-1"]
    assert (chosen.idle_behavior, chosen.operator.actor) == (DRAIN, "bob")


@dataclass
class Slow(FakeView):
    """Between what an act has seen and what it changes, there is time for others."""

    def post(self, event: Event) -> None:
        threading.Event().wait(0.002)
        super().post(event)


def test_many_operators_at_once_come_one_after_the_other() -> None:
    """What each answer says was before is what the act before it had left: nobody is told of a state that was never there."""
    view = Slow(state=FLEET)
    app = make_app(view, TOKEN)
    acts = ["hold", "drain", "run"] * 8

    def ask(act: str) -> None:
        app.test_client().post("/arvados/v1/dispatch/instances/" + act, headers=AUTH, data={"instance_id": "vm1"})

    threads = [threading.Thread(target=ask, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(act["Act"]) for act in view.acts) == sorted(acts)
    assert [act["IdleBehavior"] for act in view.acts] == ["run", *(act["Act"] for act in view.acts[:-1])]


# ------------------------------------------------------------------------------------------------------------------- audit


def audited(path: str, given: State = FLEET, **more: Any) -> list[dict[str, Any]]:
    view = FakeView(state=given)
    send(path, view, **more)
    return [dict(act) for act in view.acts]


def test_every_act_is_written_down() -> None:
    """Who, what, when (the line has its time), why, from where, what it was, and what came of it."""
    headers = {"X-Request-Id": "req-1", "X-Forwarded-For": "10.9.8.7"}
    assert audited("/instances/kill?instance_id=vm3&reason=smoke&actor=ada@host", headers=headers) == [
        {
            "Act": "kill", "Actor": "ada@host", "Reason": "smoke", "Status": 200, "RemoteAddr": "127.0.0.1",
            "ForwardedFor": "10.9.8.7", "RequestID": "req-1", "Until": "", "Instance": "vm3", "InstanceName": "name-3",
            "InstanceType": "big", "State": "running", "IdleBehavior": "hold", "Held": True,
            "RunningContainers": [uuid(3), uuid(4)], "Outcome": "done",
        }
    ]  # fmt: skip


def test_an_act_on_many_is_a_line_for_each() -> None:
    """So that each instance's history is found by its id."""
    assert [act["Instance"] for act in audited("/instances/drain?instance_type=small&expires=2h")] == ["vm1", "vm2", "vm6"]
    assert {act["Until"] for act in audited("/instances/drain?state=idle&expires=2h")} == {"2027-01-15T10:00:00Z"}


def test_the_kill_of_a_container_is_written_down() -> None:
    """With the instance on which it ran, and whether that is held."""
    (act,) = audited(f"/containers/kill?container_uuid={uuid(3)}&reason=loops")
    assert {key: act[key] for key in ("Act", "ContainerUUID", "Instance", "Held", "Reason", "Status", "Actor")} == {
        "Act": "kill container", "ContainerUUID": uuid(3), "Instance": "vm3", "Held": True, "Reason": "loops", "Status": 200,
        "Actor": ACTOR,
    }  # fmt: skip


def test_a_refusal_is_written_down_too() -> None:
    """With what was asked, and never with the token."""
    (act,) = audited(f"/instances/kill?instance_id=vm88&api_token={TOKEN}")
    assert (act["Act"], act["Status"], act["Error"], act["Asked"]) == (
        "kill", 404, "instance not found", ["instance_id=vm88"],
    )  # fmt: skip
    assert TOKEN not in str(act)


def test_a_preview_that_is_refused_is_no_act_either() -> None:
    """Nothing would have been done."""
    assert audited("/instances/kill?state=idel&preview=true") == []


def test_strangers_are_not_written_down_as_operators() -> None:
    """Without the token nothing is asked of anything: the request log has them."""
    assert audited("/instances/kill?instance_id=vm1", headers={"Authorization": "Bearer wrong"}) == []


def test_a_release_is_without_an_end() -> None:
    """The event of a run carries none."""
    _, posted = post("/instances/run?instance_id=vm3", FLEET)
    assert [event.until_s for event in posted if isinstance(event, IdleBehaviorSet)] == [math.inf]
    assert [event.behavior for event in posted if isinstance(event, IdleBehaviorSet)] == [RUN]
