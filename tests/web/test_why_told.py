"""Why a container waits, in the answer about it: beside upstream's keys, and free of what only we understand."""

from __future__ import annotations

import json

from dispatcher.core.maps import Map
from dispatcher.core.model import ContainerState, HoldoffKind, Phase
from dispatcher.core.paces import Holdoff
from dispatcher.web.app import make_app
from tests.core.build import C1, C2, container, instance, offer, settings, state, wants
from tests.web.fakes import NOW_S, TOKEN, FakeView

AUTH = {"Authorization": f"Bearer {TOKEN}"}
PATH = "/arvados/v1/dispatch/container?container_uuid="


def asked(shown, uuid=C1):
    answer = make_app(FakeView(state=shown), TOKEN).test_client().get(PATH + uuid, headers=AUTH)
    assert answer.status_code == 200
    return answer.get_json()


def test_a_container_that_waits_says_why_and_what_would_have_to_change():
    """For people and for machines; upstream's keys stand as ever."""
    menu = settings(offer("t4"), offer("t8", 8, price=1.8), max_instances=1)
    runs = container(C2, ContainerState.RUNNING, requirements=wants(4))
    told = asked(state(container(requirements=wants(4)), runs, instance("i1", Phase.READY, C2), settings=menu))
    assert told["scheduling_status"] == ""  # the view that the test hands in has none
    assert told["why"]["cause"] == "max-instances"
    assert told["why"]["waits_for"] == "MaxInstances (1) is reached"
    assert told["why"]["since"].endswith("Z")
    assert [each["type"] for each in told["why"]["considered"]] == ["t4", "t8"]
    assert {"text": "fits if `MaxInstances` ≥ 2", "kind": "settings", "key": "MaxInstances", "value": 2} in told["why"]["changes"]


def test_a_time_is_told_as_a_date():
    """Our own clock means nothing to anybody else."""
    held = Holdoff(call="create", key="*", kind=HoldoffKind.RATE, until_s=NOW_S + 30, since_s=NOW_S, strikes=1, reason="slower")
    told = asked(state(container(), holdoffs=Map([("create *", held)])))
    [change] = [each for each in told["why"]["changes"] if each["kind"] == "time"]
    assert change["value"].startswith("2027-01-15T08:00:30")


def test_who_runs_waits_for_nothing():
    """And says so with null; every answer is plain JSON, without numbers that JSON has not."""
    runs = container(C2, ContainerState.RUNNING)
    assert asked(state(runs, instance("i1", Phase.READY, C2)), C2)["why"] is None
    json.dumps(asked(state(container(priority=0)))["why"], allow_nan=False)
