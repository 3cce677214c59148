"""The state machine and the tables of attributes, against facts about the real server that are written down here."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.embedded import rules
from dispatcher.embedded.errors import ApiError
from dispatcher.embedded.resources import CONTAINERS, TOKENS, USERS, Record
from dispatcher.embedded.rules import Caller
from tests.embedded.desk import Desk

STATES = ("Queued", "Locked", "Running", "Complete", "Cancelled")
ALLOWED = {
    ("Queued", "Locked"),
    ("Queued", "Cancelled"),
    ("Locked", "Queued"),
    ("Locked", "Running"),
    ("Locked", "Cancelled"),
    ("Running", "Complete"),
    ("Running", "Cancelled"),
    ("Complete", "Cancelled"),
} | {(state, state) for state in STATES}
NOW = "2026-01-02T03:04:05.000000000Z"

# For each attribute a new value, and the states in which the holder of the lock may write it while the state stays.
WRITABLE: dict[str, tuple[Any, str]] = {
    "priority": (77, "Queued Locked Running"),
    "runtime_status": ({"activity": "a"}, "Locked Running"),
    "log": ("fa7aeb5140e2848d39b416daeef4ffc5+45", "Locked Running"),
    "lock_count": (42, "Locked"),
    "progress": (0.5, "Running"),
    "cost": (1.25, "Running"),
    "subrequests_cost": (2.5, "Running"),
    "output": ("1f4b0bc7583c2a7f9102c395f4ffc5e3+45", "Running"),
    "output_properties": ({"a": "b"}, "Running"),
    "exit_code": (3, "Running"),
    "gateway_address": ("1.2.3.4:5", "Running"),
    "interactive_session_started": (True, "Running"),
    "started_at": ("2020-01-01T00:00:00.000000000Z", ""),
    "finished_at": ("2020-01-01T00:00:00.000000000Z", ""),
    "locked_by_uuid": ("zzzzz-gj3su-jrriu629zljsnuf", ""),
    "auth_uuid": ("zzzzz-gj3su-jrriu629zljsnuf", ""),
    "command": (["x"], ""),
    "cwd": ("/x", ""),
    "environment": ({"A": "B"}, ""),
    "container_image": ("x", ""),
    "mounts": ({}, ""),
    "output_path": ("/x", ""),
    "output_glob": (["*"], ""),
    "runtime_constraints": ({"vcpus": 9}, ""),
    "scheduling_parameters": ({"max_run_time": 5}, ""),
    "owner_uuid": ("zzzzz-tpzed-xurymjxw79nv3jz", ""),
    "uuid": ("zzzzz-dz642-aaaaaaaaaaaaaaa", ""),
    "runtime_user_uuid": ("zzzzz-tpzed-xurymjxw79nv3jz", ""),
    "runtime_auth_scopes": (["x"], ""),
    "secret_mounts": ({"/x": {"kind": "text", "content": "y"}}, ""),
    "runtime_token": ("x", ""),
    "service": (True, ""),
    "published_ports": ({"80": {}}, ""),
    "output_storage_classes": (["x"], ""),
}
# What another administrator than the holder of the lock may not write.
HOLDERS_ONLY = {"runtime_status", "progress", "cost", "subrequests_cost", "log", "output", "output_properties", "exit_code"}
# What may be written together with the move to a final state.
WITH_THE_END = {
    ("Queued", "Cancelled"): {"finished_at", "log", "runtime_status", "cost"},
    ("Locked", "Cancelled"): {"finished_at", "log", "runtime_status", "cost"},
    ("Running", "Cancelled"): HOLDERS_ONLY | {"finished_at"},
    ("Running", "Complete"): HOLDERS_ONLY | {"finished_at"},
}


def caller(token: str = "zzzzz-gj3su-holderholderhol", *, admin: bool = True, inside: str | None = None) -> Caller:
    user = USERS.blank() | {"uuid": "zzzzz-tpzed-somebodysomebod", "is_admin": admin}
    return Caller(user=user, token=TOKENS.blank() | {"uuid": token}, container_uuid=inside)


def container(state: str) -> Record:
    held = state in ("Locked", "Running")
    over = state in ("Complete", "Cancelled")
    return CONTAINERS.blank() | {
        "uuid": "zzzzz-dz642-containercontai",
        "state": state,
        "priority": 1,
        "mounts": {"/out": {"kind": "tmp"}},
        "locked_by_uuid": caller().token_uuid if held else None,
        "auth_uuid": "zzzzz-gj3su-insideinsideins" if held else None,
        "started_at": NOW if state in ("Running", "Complete") else None,
        "finished_at": NOW if over else None,
    }


def reasons(old: Record, wanted: Record, who: Caller | None = None) -> list[str]:
    """Why an update is refused; nothing when it is taken."""
    try:
        rules.updated(old, wanted, who or caller(), NOW, 10)
    except ApiError as error:
        return error.messages
    return []


@pytest.mark.parametrize("new", [*STATES, "Bogus", None])
@pytest.mark.parametrize("old", STATES)
def test_a_container_moves_along_the_allowed_edges_only(old: str, new: str | None) -> None:
    """Of all pairs of states only the known edges, and staying, are taken; the others say from where to where."""
    found = reasons(container(old), {"state": new})
    if (old, new) in ALLOWED:
        assert found == []
    else:
        assert found[0] == f"State cannot change from {old} to {new or ''}"


@pytest.mark.parametrize("old", ["Queued", "Locked"])
def test_a_forbidden_end_names_the_time_as_well(old: str) -> None:
    """The server stamps the end before it refuses it, and then refuses the stamp too."""
    assert [text.split("(")[0] for text in reasons(container(old), {"state": "Complete"})] == [
        f"State cannot change from {old} to Complete",
        "Finished at cannot be modified in state 'Complete' ",
    ]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", sorted(WRITABLE))
def test_an_attribute_changes_in_its_states_only(name: str, state: str) -> None:
    """The holder of the lock writes an attribute where the table says so, and nowhere else."""
    value, states = WRITABLE[name]
    found = reasons(container(state), {name: value})
    if state in states.split():
        assert found == []
    else:
        assert f" cannot be modified in state '{state}' (" in found[0]


@pytest.mark.parametrize("name", sorted(WRITABLE))
def test_another_administrator_cannot_write_what_belongs_to_the_holder(name: str) -> None:
    """Without the lock, an administrator may stop a container and set its priority, and tell nothing about its run."""
    value, states = WRITABLE[name]
    found = reasons(container("Running"), {name: value}, caller("zzzzz-gj3su-otherotherother"))
    assert (found == []) == ("Running" in states.split() and name not in HOLDERS_ONLY)


@pytest.mark.parametrize("move", sorted(WITH_THE_END))
@pytest.mark.parametrize("name", ["finished_at", *sorted(HOLDERS_ONLY)])
def test_an_end_takes_its_results_along(move: tuple[str, str], name: str) -> None:
    """Results are written in the same update as the end, as far as there can be any."""
    found = reasons(container(move[0]), {"state": move[1], name: WRITABLE[name][0]})
    assert (found == []) == (name in WITH_THE_END[move])


@pytest.mark.parametrize("name", ["priority", "log"])
def test_the_process_inside_writes_neither_priority_nor_log(name: str) -> None:
    """A container's own token tells of the run and nothing else."""
    old = container("Running")
    who = caller("zzzzz-gj3su-insideinsideins", admin=False, inside=old["uuid"])
    assert reasons(old, {"progress": 0.5}, who) == []
    assert "cannot be modified in state 'Running'" in reasons(old, {name: WRITABLE[name][0]}, who)[0]


@pytest.mark.parametrize("state", ["Queued", "Locked", "Complete"])
def test_the_process_inside_writes_only_while_it_runs(state: str) -> None:
    """Before and after, a container's own token may change nothing."""
    old = container(state)
    assert "PermissionDenied" in reasons(old, {"progress": 0.5}, caller(admin=False, inside=old["uuid"]))[0]


@pytest.mark.parametrize("state", ["Locked", "Running", "Complete", "Cancelled"])
def test_only_a_queued_container_is_locked(state: str) -> None:
    """A lock is taken from the queue; it is not idempotent."""
    with pytest.raises(ApiError, match=f"cannot lock when {state}"):
        rules.check_lock(container(state))


def test_a_container_that_nobody_wants_is_not_locked() -> None:
    """Priority 0 means that nothing shall be started."""
    with pytest.raises(ApiError, match="cannot lock when priority<=0"):
        rules.check_lock(container("Queued") | {"priority": 0})


@pytest.mark.parametrize("state", ["Queued", "Running", "Complete", "Cancelled"])
def test_only_a_locked_container_is_unlocked(state: str) -> None:
    """A running container does not go back to the queue."""
    with pytest.raises(ApiError, match=f"cannot unlock when {state}"):
        rules.check_unlock(container(state), caller())


def test_only_the_holder_unlocks() -> None:
    """Another token, even of an administrator, is told 403."""
    with pytest.raises(ApiError, match="locked by a different token") as raised:
        rules.check_unlock(container("Locked"), caller("zzzzz-gj3su-otherotherother"))
    assert raised.value.status == 403


def test_an_unlock_forgets_what_was_told_of_the_attempt() -> None:
    """Back in the queue, the container says nothing of the last try and belongs to nobody."""
    free = rules.unlocked(container("Locked") | {"runtime_status": {"warning": "w"}, "lock_count": 9}, 10)
    assert (free["state"], free["runtime_status"], free["locked_by_uuid"], free["auth_uuid"]) == ("Queued", {}, None, None)


def test_too_many_attempts_end_in_cancelled() -> None:
    """The unlock that meets the limit cancels, and says why."""
    ended = rules.unlocked(container("Locked") | {"lock_count": 10}, 10)
    assert ended["state"] == "Cancelled"
    assert "'Containers.MaxDispatchAttempts' (lock_count=10)" in ended["runtime_status"]["error"]


@pytest.mark.parametrize("key", ["error", "errorDetail", "warning", "warningDetail", "activity", "preemptionNotice"])
def test_known_keys_of_the_status_are_texts(key: str) -> None:
    """Any other key of runtime_status may hold anything."""
    found = reasons(container("Running"), {"runtime_status": {key: {"a": 1}}})
    assert found == [f"Runtime status '{key}' value must be a string"]
    assert reasons(container("Running"), {"runtime_status": {"custom": {"a": 1}}}) == []


def test_a_session_is_never_unopened() -> None:
    """interactive_session_started goes true once and stays."""
    old = container("Running") | {"interactive_session_started": True}
    assert "Interactive session started cannot be modified" in reasons(old, {"interactive_session_started": False})[0]


@pytest.mark.parametrize("name", ["etag", "kind", "href", "nonesuch"])
def test_what_is_no_attribute_is_refused(desk: Desk, name: str) -> None:
    """A whole record cannot be sent back: kind and etag are no attributes."""
    uuid = desk.ask()["container_uuid"]
    status, text = desk.refused("root", "PUT", f"containers/{uuid}", {"container": {name: "x"}})
    assert status == 422
    assert f"unknown attribute '{name}' for Container." in text


def test_times_of_the_server_are_ignored_in_an_update(desk: Desk) -> None:
    """created_at and modified_at may be sent, and change nothing."""
    before = desk.container(desk.ask()["container_uuid"])
    after = desk.put(before["uuid"], created_at="2020-01-01T00:00:00Z", modified_at="2020-01-01T00:00:00Z")
    assert after == before
