"""``container``, ``status`` and ``watch``: what they print, of dispatchers of ours and of Arvados's, and how they end."""

from __future__ import annotations

import json

import pytest

from dispatcher.cli.operate.ends import NOT_FOUND, OK
from dispatcher.cli.operate.place import TOKEN_VARIABLE
from dispatcher.cli.operate.standing import CRITICAL, UNKNOWN, WARNING
from dispatcher.core.messages import ContainerKillRequested
from tests.cli.operated import HUGE_PRIORITY, ArvadosDispatcher, Call, House, our_view
from tests.web.test_reading import uuid


def uuids(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[1:]]


# -------------------------------------------------------------------------------------------------------------- containers


def test_containers_come_as_they_are_served(house: House) -> None:
    """Priorities are whole, whatever their size."""
    out = house.call("container", "list").out
    assert uuids(out) == [uuid(3), uuid(4), uuid(5)]
    assert str(HUGE_PRIORITY) in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--waiting",), [4, 5]), (("--state", "running"), [3]), (("--instance", "name-2"), [3]), (("--instance", "vm1"), []),
        (("--waiting", "--limit", "1"), [4]),
    ],
)  # fmt: skip
def test_containers_are_selected(arguments: tuple[str, ...], expected: list[int], house: House) -> None:
    """By state, by place, or by waiting for one."""
    assert uuids(house.call("container", "list", *arguments).out) == [uuid(number) for number in expected]


def test_containers_as_json(house: House) -> None:
    """As the dispatcher tells them."""
    items = json.loads(house.call("container", "list", "--waiting", "--json").out)["items"]
    assert [each["container"]["priority"] for each in items] == [HUGE_PRIORITY, 500]
    assert json.loads(house.call("container", "show", uuid(4), "--json").out)["container"] == items[0]["container"]


def test_one_container_is_shown(house: House) -> None:
    """With the instance that it runs on."""
    assert "runs on     name-2\n" in house.call("container", "show", uuid(3)).out


def test_why_is_what_the_dispatcher_itself_says(house: House) -> None:
    """What it waits for, and each change that would let it begin."""
    told = json.loads(house.call("container", "why", uuid(4), "--json").out)["why"]
    ended = house.call("container", "why", uuid(4))
    assert ended.status == OK
    assert all(sentence in ended.out for sentence in (told["waits_for"], *(each["text"] for each in told["changes"])))


@pytest.mark.parametrize("command", ["show", "why"])
def test_a_container_that_nobody_knows(command: str, house: House) -> None:
    """What that can mean is said."""
    ended = house.call("container", command, uuid(9))
    assert (ended.status, f"no dispatcher knows the container {uuid(9)}: it has ended" in ended.err) == (NOT_FOUND, True)


def test_a_container_is_killed(house: House) -> None:
    """With who and why."""
    assert house.call("container", "kill", uuid(3), "--reason", "it loops", "--actor", "ada@host").status == OK
    assert house.view.posted == [ContainerKillRequested(uuid=uuid(3), reason="it loops", actor="ada@host")]


def test_a_kill_can_be_looked_at_first(house: House) -> None:
    """Nothing is asked for."""
    told = json.loads(house.call("container", "kill", uuid(3), "--dry-run", "--json").out)
    assert (told["preview"], told["items"][0]["instance_name"], house.view.posted) == (True, "name-2", [])


def test_what_runs_nowhere_cannot_be_killed(house: House) -> None:
    """One of them is enough to do nothing."""
    ended = house.call("container", "kill", uuid(3), uuid(4))
    assert (ended.status, house.view.posted) == (NOT_FOUND, [])
    assert f"on no instance, nothing was done: {uuid(4)}" in ended.err


def test_containers_of_arvadoss_dispatcher(theirs: Call, arvados: ArvadosDispatcher) -> None:
    """It tells less, and that is shown."""
    assert uuids(theirs("container", "list").out) == [uuid(3), uuid(4), uuid(5)]
    assert "Waiting in queue at position 1." in theirs("container", "why", uuid(4)).out
    assert theirs("container", "why", uuid(9)).status == NOT_FOUND
    assert theirs("container", "kill", uuid(3), "--dry-run").status == OK
    assert arvados.acts == []
    assert theirs("container", "kill", uuid(3), "--reason", "it loops").status == OK
    assert [(act, said["container_uuid"], said["reason"]) for act, said in arvados.acts] == [
        ("containers/kill", uuid(3), "it loops")
    ]


# ------------------------------------------------------------------------------------------------------------------ status


def test_the_status_of_arvadoss_dispatcher(theirs: Call) -> None:
    """Put together from its health and its lists."""
    ended = theirs("status")
    assert ended.status == OK
    assert ended.out.splitlines()[0] == "BUSY: 2 containers waiting for a place"
    told = json.loads(theirs("status", "--json").out)
    assert (told["level"], told["waiting"], told["instances"]["booting"]) == ("busy", 2, 1)


def test_the_status_of_ours_is_its_overview(house: House) -> None:
    """The very one that the page shows: verdict, steps of the queue, fleet."""
    told = json.loads(house.call("status", "--json").out)
    assert (told["text"], told["level"]) == (told["overview"]["verdict"]["text"], told["overview"]["verdict"]["level"])
    assert sum(told["instances"].values()) == told["overview"]["fleet"]["count"] == 3
    assert {"queued", "running"} <= {step["name"] for step in told["steps"]}


def test_a_check_without_a_dispatcher_is_critical(house: House) -> None:
    """Nobody dispatches."""
    ended = house.call("status", "--check", "--url", "http://127.0.0.1:1")
    assert ended.status == CRITICAL
    assert ended.out.startswith("CRITICAL: no answer from http://127.0.0.1:1: Connection refused")


def test_one_that_is_not_ready_is_never_well(house: House) -> None:
    """Whatever its verdict says."""
    house.view.judged = our_view(ready=False, problem="waiting to lead: other-host").judged
    ended = house.call("status", "--check")
    assert (ended.status, "not ready: waiting to lead: other-host" in ended.out) == (WARNING, True)


@pytest.mark.parametrize("arguments", [("--nonesuch",), ("--url", "nonesense")])
def test_a_check_that_was_called_wrongly_is_no_outage(arguments: tuple[str, ...], house: House) -> None:
    """The usual 2 would read as critical."""
    assert house.call("status", *arguments).status == UNKNOWN


def test_a_check_with_a_wrong_token_is_no_outage(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it say anything about the dispatcher."""
    monkeypatch.setenv(TOKEN_VARIABLE, "wrong")
    assert house.call("status", "--check").status == UNKNOWN


# ------------------------------------------------------------------------------------------------------------------- watch


def test_without_a_terminal_each_change_is_a_line(theirs: Call) -> None:
    """What stays the same is not repeated, and nothing moves the cursor."""
    out = theirs("watch", "--interval", "0.2", "--count", "3").out
    assert out.count("\n") == 1
    assert "busy: 2 containers waiting for a place; containers: 1 queued, 1 locked, 1 running; instances: 1 booting" in out
    assert "\x1b" not in out


def test_a_watch_as_json(theirs: Call) -> None:
    """A line for each change, for programs."""
    assert json.loads(theirs("watch", "--count", "1", "--json").out)["waiting"] == 2


HELPED = [
    *(("instance", each) for each in ("list", "show", "hold", "drain", "run", "kill")),
    *(("container", each) for each in ("list", "show", "why", "kill")),
    ("status",), ("watch",),
]  # fmt: skip


@pytest.mark.parametrize("command", HELPED)
def test_every_command_helps_with_an_example(command: tuple[str, ...], house: House) -> None:
    """And says how it ends."""
    out = house.call(*command, "--help").out
    assert f"\n    cloud-dispatcher {' '.join(command)}" in out
    assert "\n  Exit status" in out
    assert command == ("watch",) or "--json" in out
