"""From the request to the tag of the VM and back, over restarts: the production web, core and store in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from dispatcher.core.model import ContainerState
from dispatcher.runtime.story import Story
from dispatcher.runtime.view import LiveView
from dispatcher.web.app import make_app
from tests.simulation.worlds import Town, idle_instance, settings, wants
from tests.web.fakes import TOKEN

AUTH = {"Authorization": f"Bearer {TOKEN}"}
ROOT = "/arvados/v1/dispatch"


def open_door(here: Town) -> FlaskClient:
    """The web in front of whoever leads."""
    view = LiveView(
        snapshot=lambda: here.state, post=lambda event: here.leader.post(event), clock=here.clock, story=Story(here.clock),
        ages_s=lambda: {"prober": 0.0},
    )  # fmt: skip
    return make_app(view, TOKEN).test_client()


def act(client: FlaskClient, path: str, **given: str) -> Any:
    answer = client.post(ROOT + path, data=given, headers=AUTH)
    assert answer.status_code == 200
    return answer.json if answer.data else None


def shown(client: FlaskClient) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(ROOT + "/instances", headers=AUTH).json["items"]
    return items


def town(**changes: float) -> Town:
    here = Town(settings(**changes))
    here.start_dispatcher()
    return here


@pytest.mark.parametrize("behavior", ["hold", "drain"])
def test_behavior_actor_reason_and_end_persist_over_a_restart(behavior: str) -> None:
    """Asked for by HTTP, kept in the VM's tags, shown by the next process."""
    here = town()
    client = open_door(here)
    uuid = here.submit(wants(), length_s=3000.0)
    here.until_states([uuid], ContainerState.RUNNING)
    (before,) = shown(client)
    act(
        client, f"/instances/{behavior}", instance_id=before["instance"], actor="ada@host", reason="kernel\nupdate", expires="2h"
    )
    here.run(5.0)
    (asked,) = shown(client)
    here.restart()
    here.run(60.0)
    (found,) = shown(client)
    ours = ("idle_behavior", *(f"idle_behavior_{part}" for part in ("actor", "reason", "since", "until")))
    assert [found[key] for key in ours] == [asked[key] for key in ours]
    assert [found[key] for key in ours[:3]] == [behavior, "ada@host", "kernel update"]
    assert found["running_container_uuids"] == [uuid]
    assert before["last_container_uuid"] == found["last_container_uuid"] == uuid  # from its start on, as upstream shows it


def test_a_drain_is_cancelled_by_run() -> None:
    """The instance works on, also after the next start."""
    here = town()
    client = open_door(here)
    uuid = here.submit(wants(), length_s=100.0)
    here.until_states([uuid], ContainerState.RUNNING)
    act(client, "/instances/drain", state="running", reason="mistake")
    act(client, "/instances/run", idle_behavior="drain")
    here.run(5.0)
    here.restart()
    here.run(30.0)
    assert [(view["idle_behavior"], view["idle_behavior_reason"]) for view in shown(client)] == [("run", "")]
    here.until_over()


def told(answer: Any) -> list[tuple[str, bool, str]]:
    return [(item["instance_name"], item["held"], item["outcome"]) for item in answer["items"]]


def test_12_28_a_kill_by_selector_ends_held_instances_and_says_so() -> None:
    """Preview first: nothing happens; then the kill, whose answer names what was held. Upstream kills it without a word."""
    here = town(timeout_idle_s=30.0)
    client = open_door(here)
    name = idle_instance(here).name
    act(client, "/instances/hold", state="idle", actor="ada", reason="look at it")
    here.run(600.0)
    preview = act(client, "/instances/kill", idle_behavior="hold", preview="true")
    here.run(60.0)
    assert told(preview) == [(name, True, "would be done")]
    assert [machine.name for machine in here.stub.existing()] == [name]
    killed = act(client, "/instances/kill", idle_behavior="hold", reason="done")
    assert told(killed) == [(name, True, "done")]
    here.until_over(within_s=120.0)


def test_12_28_the_kill_of_a_container_is_repeated_until_it_is_gone() -> None:
    """TERM, again and again; a second request changes nothing; when it has ended it runs nowhere, which is 404."""
    here = town()
    client = open_door(here)
    uuid = here.submit(wants(), length_s=3000.0, attempts=1)
    here.until_states([uuid], ContainerState.RUNNING)
    act(client, "/containers/kill", container_uuid=uuid, reason="it loops", actor="ada@host")
    act(client, "/containers/kill", container_uuid=uuid)
    here.until_states([uuid], ContainerState.CANCELLED, ContainerState.COMPLETE)
    assert here.run(60.0, until=lambda: not any(i.processes for i in here.state.instances.all()))
    assert client.post(f"{ROOT}/containers/kill", data={"container_uuid": uuid}, headers=AUTH).status_code == 404
    here.until_over()
