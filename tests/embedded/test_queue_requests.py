"""What a container request may say, and what becomes of it: containers, priorities, retries, costs, children, the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dispatcher.embedded import priority, values
from tests.embedded.desk import WORK, Desk

POINT = 1 << 50

# What makes a committed request invalid, and the phrase that says so.
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"command": []}, "Command can't be blank"),
    ({"command": "echo"}, "unexpected character"),
    ({"container_image": ""}, "Container image can't be blank"),
    ({"output_path": ""}, "Output path can't be blank"),
    ({"output_path": "/elsewhere"}, "Output path must be a mount target"),
    ({"priority": 1001}, "Priority must be less than or equal to 1000"),
    ({"priority": -1}, "Priority must be greater than or equal to 0"),
    ({"state": "Final"}, "State cannot change from  to Final"),
    ({"environment": {"A": 1}}, "Environment [A]: incompatible value type: string required"),
    ({"mounts": {"/out": {"kind": "git_tree"}}}, 'Mounts [/out][kind]: unsupported value "git_tree"'),
    ({"mounts": {"/out": {"kind": "tmp", "path": "x"}}}, "Mounts [/out][path]: parameter is not supported for a tmp mount"),
    ({"runtime_constraints": {"vcpus": 0, "ram": 1}}, "Runtime constraints [vcpus]=0 must be a positive integer"),
    ({"runtime_constraints": {"vcpus": 1.5, "ram": 1}}, "Runtime constraints [vcpus]=1.5 must be a positive integer"),
    ({"runtime_constraints": {"vcpus": 1}}, "[ram]=0 must be a positive integer"),
    ({"runtime_constraints": {"vcpus": 1, "ram": 1, "foo": 1}}, 'Runtime constraints contains unexpected keys ["foo"]'),
    (
        {"runtime_constraints": {"vcpus": 1, "ram": 1, "gpu": {"device_count": 1}}},
        "Runtime constraints [gpu.driver_version]=\"\" must be a string in format 'X.Y'",
    ),
    ({"scheduling_parameters": {"partitions": "p1"}}, "Scheduling parameters partitions must be an array of strings"),
    ({"scheduling_parameters": {"max_run_time": -1}}, "Scheduling parameters max_run_time must be positive integer"),
    ({"scheduling_parameters": {"foo": 1}}, 'Scheduling parameters contains unexpected keys ["foo"]'),
    ({"nonesuch": 1}, "unknown attribute 'nonesuch' for ContainerRequest."),
    (
        {"mounts": {**WORK["mounts"], "/in": {"kind": "collection", "uuid": "zzzzz-4zz18-a"}}},
        'cannot mount collection "zzzzz-4zz18-a": not found',
    ),
]


@pytest.mark.parametrize(("change", "phrase"), INVALID)
def test_an_invalid_request_is_refused_with_its_reason(desk: Desk, change: dict[str, Any], phrase: str) -> None:
    """Each rule says in its own words what is wrong, with 422 and in the dialect of the router."""
    status, text = desk.refused("user", "POST", "container_requests", {"container_request": {**WORK, **change}})
    assert status == 422
    assert phrase in text
    assert text.startswith("//railsapi.internal/arvados/v1/container_requests: 422 Unprocessable Content: ")


def test_a_request_without_anything_names_all_that_is_missing(desk: Desk) -> None:
    """One string holds every reason."""
    _, text = desk.refused("user", "POST", "container_requests")
    for name in ("Command", "Container image", "Output path"):
        assert f"{name} can't be blank" in text


def test_committing_makes_the_container(desk: Desk) -> None:
    """The container does what the request says, with every default filled in."""
    request = desk.ask(environment={"FOO": "bar"}, runtime_constraints={"vcpus": 1, "ram": 268435456}, cwd="/out")
    container = desk.container(request["container_uuid"])
    assert (request["container_count"], request["container_count_max"]) == (1, 3)
    assert (container["state"], container["lock_count"], container["environment"]) == ("Queued", 0, {"FOO": "bar"})
    assert container["mounts"] == {"/out": {"capacity": 1, "kind": "tmp"}}
    assert container["runtime_constraints"]["keep_cache_disk"] == 2 << 30
    assert request["runtime_constraints"]["keep_cache_disk"] == 0
    assert container["runtime_user_uuid"] == request["owner_uuid"]


def test_an_uncommitted_request_waits(desk: Desk) -> None:
    """Nothing is made before the commit, and the commit makes it."""
    request = desk.ask(state="Uncommitted")
    assert (request["container_uuid"], request["container_count"]) == (None, 0)
    path = f"container_requests/{request['uuid']}"
    committed = desk.done("user", "PATCH", path, {"container_request": {"state": "Committed", "priority": 3}})
    assert desk.container(committed["container_uuid"])["priority"] > 2 * POINT


def test_a_committed_request_keeps_its_work(desk: Desk) -> None:
    """After the commit only urgency, attempts, names and notes change."""
    path = f"container_requests/{desk.ask()['uuid']}"
    for change in ({"scheduling_parameters": {"max_run_time": 9}}, {"command": ["x"]}, {"use_existing": True}):
        status, text = desk.refused("user", "PATCH", path, {"container_request": change})
        assert status == 422
        assert "cannot be modified in state 'Committed'" in text
    assert desk.done("user", "PATCH", path, {"container_request": {"name": "n", "properties": {"a": 1}}})["name"] == "n"
    assert "State cannot change from Committed to Uncommitted" in desk.refused(
        "user", "PATCH", path, {"container_request": {"state": "Uncommitted"}}
    )[1]


def test_the_old_form_of_accelerators_is_translated(desk: Desk) -> None:
    """cuda becomes gpu in both records, and stays visible in the container."""
    cuda = {"device_count": 1, "driver_version": "11.0", "hardware_capability": "8.0"}
    request = desk.ask(runtime_constraints={"vcpus": 1, "ram": 1, "cuda": cuda})
    constraints = desk.container(request["container_uuid"])["runtime_constraints"]
    expected = {"device_count": 1, "driver_version": "11.0", "hardware_target": ["8.0"], "stack": "cuda", "vram": 0}
    assert request["runtime_constraints"]["gpu"] == constraints["gpu"] == expected
    assert constraints["cuda"] == cuda


def test_a_workflow_runner_is_a_supervisor(desk: Desk) -> None:
    """The command alone tells."""
    request = desk.ask(command=["arvados-cwl-runner", "--api=containers"])
    assert desk.container(request["container_uuid"])["scheduling_parameters"]["supervisor"] is True


def test_an_image_becomes_something_like_a_hash(desk: Desk) -> None:
    """A portable data hash stays; any other name becomes one of the same form."""
    known = "fa3c1a9cb6783f85f2ecda037e07b8c3+167"
    assert desk.container(desk.ask(container_image=known)["container_uuid"])["container_image"] == known
    assert values.PORTABLE_DATA_HASH.fullmatch(desk.container(desk.ask()["container_uuid"])["container_image"])


# -------------------------------------------------------------------------------------------------------------- priority


def test_priority_follows_the_formula(desk: Desk) -> None:
    """2^50 for each point, less the milliseconds at which the request was made."""
    request = desk.ask(priority=500)
    expected = 500 * POINT - values.milliseconds(request["created_at"])
    assert desk.container(request["container_uuid"])["priority"] == expected


def test_priority_follows_the_request_at_once_and_moves_nothing_else(desk: Desk) -> None:
    """Neither the state nor modified_at changes, whatever the state is."""
    for state in ("Queued", "Locked", "Running"):
        request = desk.ask()
        desk.bring(request["container_uuid"], state)
        before = desk.container(request["container_uuid"])
        desk.done("user", "PUT", f"container_requests/{request['uuid']}", {"container_request": {"priority": 0}})
        after = desk.container(request["container_uuid"])
        assert {name for name in after if after[name] != before[name]} == {"priority", "etag"}
        assert after["priority"] == 0


def test_a_shared_container_has_the_greatest_priority(desk: Desk) -> None:
    """Two requests share an equal container; when one falls, the other counts."""
    first, second = desk.ask(use_existing=True, priority=10), desk.ask(use_existing=True, priority=900)
    uuid = first["container_uuid"]
    assert second["container_uuid"] == uuid
    assert desk.container(uuid)["priority"] // POINT == 899
    desk.done("user", "PUT", f"container_requests/{second['uuid']}", {"container_request": {"priority": 0}})
    assert desk.container(uuid)["priority"] // POINT == 9


def test_a_priority_written_by_hand_lasts_until_the_next_computation(desk: Desk) -> None:
    """update_priority brings the requests' own number back; anybody who can read the container may call it."""
    request = desk.ask()
    uuid = request["container_uuid"]
    before = desk.container(uuid)["priority"]
    assert desk.put(uuid, priority=5)["priority"] == 5
    assert desk.done("user", "POST", f"containers/{uuid}/update_priority")["priority"] == before
    assert priority.GREATEST == 1000


def test_a_deleted_request_leaves_its_container_unwanted(desk: Desk) -> None:
    """The container stays Queued at priority 0."""
    request = desk.ask()
    desk.done("user", "DELETE", f"container_requests/{request['uuid']}")
    container = desk.container(request["container_uuid"])
    assert (container["state"], container["priority"]) == ("Queued", 0)


def test_a_request_ended_by_its_owner_leaves_its_container_unwanted(desk: Desk) -> None:
    """Final while Queued: the container stays, at priority 0."""
    request = desk.ask(priority=1000)
    desk.done("user", "PUT", f"container_requests/{request['uuid']}", {"container_request": {"state": "Final"}})
    container = desk.container(request["container_uuid"])
    assert (container["state"], container["priority"]) == ("Queued", 0)


# ------------------------------------------------------------------------------------------------------- ends and retries


def end_complete(desk: Desk, uuid: str) -> None:
    desk.bring(uuid, "Running")
    desk.put(uuid, state="Complete", exit_code=137)


def end_cancelled(desk: Desk, uuid: str) -> None:
    desk.put(uuid, state="Cancelled")


@pytest.mark.parametrize(("finish", "state", "count"), [(end_complete, "Final", 1), (end_cancelled, "Committed", 2)])
def test_only_a_cancelled_container_is_tried_again(
    desk: Desk, finish: Callable[[Desk, str], None], state: str, count: int
) -> None:
    """Complete is the end, whatever the exit code; Cancelled gives a fresh container while attempts are left."""
    request = desk.ask()
    finish(desk, request["container_uuid"])
    after = desk.request(request["uuid"])
    assert (after["state"], after["container_count"]) == (state, count)
    assert (after["container_uuid"] != request["container_uuid"]) == (count == 2)


def test_a_retry_is_the_same_work_from_the_beginning(desk: Desk) -> None:
    """Equal but for its identity and its history; the priority is the same number."""
    request = desk.ask(environment={"A": "B"})
    old = request["container_uuid"]
    desk.bring(old, "Running")
    before = desk.container(old)
    desk.put(old, state="Cancelled", runtime_status={"error": "node failure"}, cost=0.5)
    fresh = desk.container(desk.request(request["uuid"])["container_uuid"])
    for name in ("command", "environment", "priority", "runtime_user_uuid", "mounts"):
        assert fresh[name] == before[name], name
    assert (fresh["state"], fresh["lock_count"], fresh["runtime_status"], fresh["cost"]) == ("Queued", 0, {}, 0.0)
    assert desk.refused("user", "GET", f"containers/{old}")[0] == 404
    assert desk.request(request["uuid"])["cumulative_cost"] == 0.5


def test_attempts_are_counted_to_the_end(desk: Desk) -> None:
    """Three containers, then the request is Final with the cost of all."""
    request = desk.ask()
    for _ in range(3):
        uuid = desk.request(request["uuid"])["container_uuid"]
        desk.bring(uuid, "Running")
        desk.put(uuid, state="Cancelled", cost=0.5)
    after = desk.request(request["uuid"])
    assert (after["state"], after["container_count"], after["cumulative_cost"]) == ("Final", 3, 1.5)


def test_a_cancelled_wish_is_not_tried_again(desk: Desk) -> None:
    """At priority 0 the request ends with its container."""
    request = desk.ask()
    desk.bring(request["container_uuid"], "Running")
    desk.done("user", "PUT", f"container_requests/{request['uuid']}", {"container_request": {"priority": 0}})
    desk.put(request["container_uuid"], state="Cancelled")
    after = desk.request(request["uuid"])
    assert (after["state"], after["container_count"]) == ("Final", 1)


def test_ten_failed_starts_cancel_the_container_and_the_retry_begins_anew(desk: Desk) -> None:
    """The tenth unlock answers Cancelled; a request with attempts left gets a container with lock_count 0."""
    request = desk.ask()
    uuid = request["container_uuid"]
    states = []
    for _ in range(10):
        desk.lock(uuid)
        states.append(desk.done("root", "POST", f"containers/{uuid}/unlock")["state"])
    assert states == ["Queued"] * 9 + ["Cancelled"]
    ended = desk.container(uuid)
    assert (ended["lock_count"], ended["finished_at"]) == (10, None)
    assert desk.container(desk.request(request["uuid"])["container_uuid"])["lock_count"] == 0


def test_results_are_named_in_the_request(desk: Desk) -> None:
    """The log as soon as it is told, the output at the end; costs are summed."""
    request = desk.ask()
    uuid = request["container_uuid"]
    desk.bring(uuid, "Running")
    desk.put(uuid, log="fa7aeb5140e2848d39b416daeef4ffc5+45")
    running = desk.request(request["uuid"])
    assert running["log_uuid"].startswith("zzzzz-4zz18-")
    desk.put(uuid, state="Complete", output="1f4b0bc7583c2a7f9102c395f4ffc5e3+45", cost=0.25, subrequests_cost=1.5, exit_code=0)
    after = desk.request(request["uuid"])
    assert (after["state"], after["cumulative_cost"], after["log_uuid"]) == ("Final", 1.75, running["log_uuid"])
    assert after["output_uuid"].startswith("zzzzz-4zz18-")


def test_a_deleted_container_ends_its_request_when_it_is_touched(desk: Desk) -> None:
    """Until then the request stays Committed and points at nothing."""
    request = desk.ask()
    desk.done("root", "DELETE", f"containers/{request['container_uuid']}")
    assert desk.request(request["uuid"])["state"] == "Committed"
    path = f"container_requests/{request['uuid']}"
    assert desk.done("user", "PUT", path, {"container_request": {"priority": 2}})["state"] == "Final"


# ----------------------------------------------------------------------------------------------------------- from inside


def child_of(desk: Desk, parent: dict[str, Any]) -> dict[str, Any]:
    """A request made with the token of a running container."""
    desk.bring(parent["container_uuid"], "Running")
    return dict(desk.ask(desk.inside(parent["container_uuid"]), priority=7, command=["echo", "child"]))


def test_a_request_from_inside_is_as_urgent_as_its_parent(desk: Desk) -> None:
    """The given priority is replaced by the parent request's, and the containers' numbers are equal."""
    parent = desk.ask(priority=500)
    child = child_of(desk, parent)
    assert (child["priority"], child["requesting_container_uuid"]) == (500, parent["container_uuid"])
    assert desk.container(child["container_uuid"])["priority"] == desk.container(parent["container_uuid"])["priority"]


def test_a_child_loses_its_urgency_with_its_parent(desk: Desk) -> None:
    """When the parent is cancelled by its owner, what it asked for is unwanted too."""
    parent = desk.ask(priority=500)
    child = child_of(desk, parent)
    desk.done("user", "PUT", f"container_requests/{parent['uuid']}", {"container_request": {"priority": 0}})
    assert desk.container(child["container_uuid"])["priority"] == 0


@pytest.mark.parametrize(("state", "expected"), [("Queued", "Final"), ("Locked", "Final"), ("Running", "Committed")])
def test_the_end_of_a_parent_ends_what_has_not_begun(desk: Desk, state: str, expected: str) -> None:
    """Children that wait end; one that runs is left for the dispatcher to stop, at priority 0."""
    parent = desk.ask()
    child = child_of(desk, parent)
    desk.bring(child["container_uuid"], state)
    desk.put(parent["container_uuid"], state="Complete", exit_code=0)
    after, container = desk.request(child["uuid"]), desk.container(child["container_uuid"])
    assert (after["priority"], after["state"]) == (0, expected)
    assert (container["priority"], container["state"]) == (0, state)


def test_what_a_child_costs_is_charged_to_its_parent(desk: Desk) -> None:
    """The parent's subrequests_cost grows when a child ends."""
    parent = desk.ask()
    child = child_of(desk, parent)
    desk.bring(child["container_uuid"], "Running")
    desk.put(child["container_uuid"], state="Complete", cost=0.25, exit_code=0)
    assert desk.container(parent["container_uuid"])["subrequests_cost"] == 0.25


# ---------------------------------------------------------------------------------------------------------- who may what


def test_a_stranger_sees_nothing_of_it(desk: Desk) -> None:
    """Neither request nor container exists for somebody else."""
    request = desk.ask()
    for path in (f"container_requests/{request['uuid']}", f"containers/{request['container_uuid']}"):
        assert desk.refused("stranger", "GET", path)[0] == 404
    assert desk.done("stranger", "GET", "containers")["items"] == []
    assert desk.done("stranger", "GET", "container_requests")["items"] == []


@pytest.mark.parametrize(("method", "action"), [("POST", "/lock"), ("POST", "/unlock"), ("PUT", ""), ("DELETE", "")])
def test_the_owner_of_a_request_does_not_dispatch(desk: Desk, method: str, action: str) -> None:
    """Whoever can read a container and is no administrator gets 403."""
    uuid = desk.ask()["container_uuid"]
    status, text = desk.refused("user", method, f"containers/{uuid}{action}", {"container": {"state": "Cancelled"}})
    assert status == 403
    assert "PermissionDeniedError" in text


def test_an_inactive_user_asks_for_nothing(desk: Desk) -> None:
    """He can read no image, so his request cannot be resolved."""
    status, text = desk.refused("idle", "POST", "container_requests", {"container_request": WORK})
    assert status == 422
    assert 'docker image "image" not found' in text
    uncommitted = {"container_request": {**WORK, "state": "Uncommitted"}}
    assert desk.refused("idle", "POST", "container_requests", uncommitted)[0] == 403


def test_status_of_a_request_is_told_in_words(desk: Desk) -> None:
    """Waiting as long as nothing runs."""
    request = desk.ask()
    path = f"container_requests/{request['uuid']}/container_status"
    assert desk.done("user", "GET", path)["scheduling_status"] == "Waiting in queue."
    desk.bring(request["container_uuid"], "Running")
    assert desk.done("user", "GET", path) == {
        "kind": "arvados#containerStatus",
        "container_state": "Running",
        "scheduling_status": "",
        "uuid": request["container_uuid"],
    }


# ------------------------------------------------------------------------------------------------- an image of the instance


def test_an_administrator_may_choose_the_image_of_the_instance(desk: Desk) -> None:
    """The container asks for it as well, and whoever asks for the same work on another image gets another container."""
    constraints = {**WORK["runtime_constraints"], "image_id": "gpu-12"}
    asked = desk.ask("root", runtime_constraints=constraints)
    assert desk.container(asked["container_uuid"])["runtime_constraints"]["image_id"] == "gpu-12"
    same = desk.ask("root", runtime_constraints=constraints, use_existing=True)
    other = desk.ask("root", runtime_constraints={**constraints, "image_id": "gpu-13"}, use_existing=True)
    assert same["container_uuid"] == asked["container_uuid"] != other["container_uuid"]
    assert "image_id" not in desk.container(desk.ask()["container_uuid"])["runtime_constraints"]


def test_nobody_else_may_choose_an_image(desk: Desk) -> None:
    """To an ordinary user the key is as unknown as any other; what an administrator chose may stay."""
    constraints = {**WORK["runtime_constraints"], "image_id": "gpu-12"}
    body = {"container_request": {**WORK, "runtime_constraints": constraints}}
    status, text = desk.refused("user", "POST", "container_requests", body)
    assert (status, 'Runtime constraints contains unexpected keys ["image_id"]' in text) == (422, True)
    mine = desk.ask("user", state="Uncommitted")
    change = {"container_request": {"runtime_constraints": constraints}}
    assert desk.refused("user", "PUT", f"container_requests/{mine['uuid']}", change)[0] == 422
    desk.done("root", "PUT", f"container_requests/{mine['uuid']}", change)
    kept = desk.done("user", "PUT", f"container_requests/{mine['uuid']}", {"container_request": {"state": "Committed"}})
    assert desk.container(kept["container_uuid"])["runtime_constraints"]["image_id"] == "gpu-12"


@pytest.mark.parametrize("value", ["", 7, ["a"], "x" * 257, "two\nlines"])
def test_an_image_is_a_short_text(desk: Desk, value: Any) -> None:
    """Whatever else an administrator sends is refused with its reason."""
    body = {"container_request": {**WORK, "runtime_constraints": {**WORK["runtime_constraints"], "image_id": value}}}
    status, text = desk.refused("root", "POST", "container_requests", body)
    assert status == 422
    assert "[image_id]=" in text
