"""``instance``: what it prints, what it asks of dispatchers of ours and of Arvados's, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dispatcher.cli.operate.ends import FAILED, NOT_ALLOWED, NOT_FOUND, OK, UNREACHABLE, USAGE
from dispatcher.core.messages import IdleBehaviorSet, InstanceKillRequested
from dispatcher.core.model import IdleBehavior, Leadership
from dispatcher.web.app import make_app
from dispatcher.web.auth import Door
from tests.cli.operated import STATE, ArvadosDispatcher, Call, House, caller, our_view, served
from tests.web.fakes import TOKEN
from tests.web.test_reading import instance, state, uuid

REASON = ("--reason", "new image", "--actor", "ada@host")


# ----------------------------------------------------------------------------------------------------------------- looking


def test_without_a_terminal_the_list_is_that_of_arvadoss_command(house: House) -> None:
    """Scripts that read its lines go on working; ``-header`` is its word for the headings."""
    lines = house.call("instance", "list", "-header").out.splitlines()
    assert lines[0] == "instance\taddress\tstate\tidle-behavior\tconfig-type\tprovider-type\tprice\trunning-containers"
    assert lines[1] == "vm1\t-\tidle\trun\tsmall\tp1\t0.100000\t-"
    assert lines[2] == "vm2\t-\trunning\trun\tbig\tp2\t1.500000\tzzzzz-dz642-000000000000003"
    assert house.call("instance", "list").out.splitlines() == lines[1:]


def test_a_table_for_people(house: House) -> None:
    """Where it is asked for; the sum stands beside it."""
    ended = house.call("instance", "list", "--format", "table", "--state", "running")
    assert ended.out.splitlines()[1].split() == ["name-2", "running", "run", "big", "1.5", "-", "-", "1", uuid(3)]
    assert ended.err == "1 instance, 1.5 per hour\n"


def test_json_is_what_the_dispatcher_says(house: House) -> None:
    """Every field of it."""
    items = json.loads(house.call("instance", "list", "--json").out)["items"]
    assert [each["instance_name"] for each in items] == ["name-1", "name-2", "name-3"]
    assert json.loads(house.call("instance", "show", "vm3", "--json").out) == items[2]


def test_one_is_shown_by_either_name(house: House) -> None:
    """Ours, or the cloud's."""
    shown = house.call("instance", "show", "name-2").out
    assert house.call("instance", "show", "vm2").out == shown
    assert "runs            zzzzz-dz642-000000000000003\n" in shown


def test_an_instance_that_is_not_there(house: House) -> None:
    """Its end tells a script."""
    ended = house.call("instance", "show", "nonesuch")
    assert (ended.status, ended.err) == (NOT_FOUND, "error: no such instance: nonesuch\n")


def test_who_does_not_lead_knows_nothing(house: House) -> None:
    """An empty list of a dispatcher that waits would read as: no instance is there."""
    house.view.state = replace(STATE, leadership=Leadership(leading=False))
    house.view.judged = our_view(ready=False, problem="waiting to lead: other-host").judged
    ended = house.call("instance", "list")
    assert (ended.status, ended.out) == (UNREACHABLE, "")
    assert "is not ready: waiting to lead: other-host" in ended.err


def test_an_empty_list_of_one_that_is_ready(house: House) -> None:
    """Nothing is there, and that is an answer."""
    house.view.state = state()
    ended = house.call("instance", "list")
    assert (ended.status, ended.out) == (OK, "")


def test_letters_that_steer_terminals_are_not_printed(house: House) -> None:
    """A reason is written by whoever has the token."""
    bad = instance(1, condemned="\x1b[2Jboo\u202e", address="10.0.0.1\x1b[2J")
    house.view.state = state(bad)
    for arguments in (("list",), ("list", "--format", "table"), ("show", "name-1"), ("list", "--json")):
        assert not {"\x1b", "\u202e"} & set(house.call("instance", *arguments).out)
    assert house.call("instance", "show", "none\x07\u202e").err == "error: no such instance: none\ufffd\ufffd\n"


# ------------------------------------------------------------------------------------------------------------------ acting


@pytest.mark.parametrize("verb", ["hold", "drain", "run"])
def test_a_behavior_is_asked_for(verb: str, house: House) -> None:
    """With who and why."""
    ended = house.call("instance", verb, "name-1", "vm2", *REASON)
    assert ended.status == OK
    assert [(event.name, event.behavior, event.actor, event.reason) for event in house.view.posted] == [
        ("name-1", IdleBehavior(verb), "ada@host", "new image"), ("name-2", IdleBehavior(verb), "ada@host", "new image"),
    ]  # fmt: skip
    assert f"note: {verb}: 2 done" in ended.err


def test_who_asks_is_user_and_host(house: House) -> None:
    """Unless they say another name."""
    house.call("instance", "kill", "name-1")
    (event,) = house.view.posted
    assert isinstance(event, InstanceKillRequested)
    assert "@" in event.actor


def test_a_hold_ends(house: House) -> None:
    """By a duration or a time."""
    house.call("instance", "hold", "name-1", "--for", "2h")
    house.call("instance", "hold", "name-1", "--until", "2027-01-15T10:30:00+01:00")
    first, second = house.view.posted
    assert isinstance(first, IdleBehaviorSet)
    assert isinstance(second, IdleBehaviorSet)
    assert (first.until, second.until) == ("2027-01-15T10:00:00Z", "2027-01-15T09:30:00Z")


def test_a_preview_changes_nothing(house: House) -> None:
    """It says what would be done, and to what."""
    ended = house.call("instance", "kill", "--all", "--dry-run", "--json")
    told = json.loads(ended.out)
    assert (told["preview"], [each["outcome"] for each in told["items"]]) == (True, ["would be done"] * 3)
    assert [each["held"] for each in told["items"]] == [False, False, True]
    assert house.view.posted == []


def test_a_selection_needs_a_word_where_nobody_can_be_asked(house: House) -> None:
    """A script that selects has to say that it means it."""
    refused = house.call("instance", "drain", "--state", "idle")
    assert (refused.status, house.view.posted) == (USAGE, [])
    assert "2 instances selected, and nobody is there to be asked: look with --dry-run, then add --yes" in refused.err
    assert house.call("instance", "drain", "--state", "idle", "--behavior", "run", "--yes").status == OK
    assert [event.name for event in house.view.posted] == ["name-1"]


REFUSED = [
    ((), USAGE, "which instances?"),
    (("--all", "name-1"), USAGE, "--all is for all of them"),
    (("name-1", ""), USAGE, "a name or type is empty"),
    (("name-1", "nonesuch"), NOT_FOUND, "no such instance: nonesuch"),
    (("--type", "nonesuch", "--yes"), NOT_FOUND, "no instance matches: nothing was done"),
    (("--state", "nonesuch"), USAGE, "nonesuch"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), REFUSED)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], status: int, words: str, house: House) -> None:
    """As a whole: nothing is done."""
    ended = house.call("instance", "kill", *arguments)
    assert ended.status == status
    assert words in ended.err
    assert house.view.posted == []


def test_a_dispatchers_refusal_is_told(house: House) -> None:
    """In its words, with its place."""
    ended = house.call("instance", "hold", "name-1", "--for", "4000d")
    assert ended.status == FAILED
    assert "http://127.0.0.1" in ended.err
    assert "expires is more than 366 days away" in ended.err


def test_hundreds_go_in_several_requests(house: House) -> None:
    """A request's body is bounded."""
    house.view.state = state(*(instance(number, name=f"compute-{'x' * 70}-{number:04}") for number in range(900)))
    ended = house.call("instance", "drain", "--all", "--yes", "--json")
    assert ended.status == OK
    assert len(json.loads(ended.out)["items"]) == len(house.view.posted) == 900


def test_a_token_that_may_only_read(house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks and does not act, and is told so."""
    with served(make_app(house.view, TOKEN, door=Door(TOKEN, "reader"))) as url:
        call = caller(capsys, monkeypatch, url, token="reader")
        assert call("instance", "list").status == OK
        refused = call("instance", "kill", "name-1")
    assert (refused.status, house.view.posted) == (NOT_ALLOWED, [])
    assert "acts need the ManagementToken" in refused.err


# --------------------------------------------------------------------------------------------------------------- Arvados's


def test_arvadoss_dispatcher_is_asked_for_one_after_the_other(theirs: Call, arvados: ArvadosDispatcher) -> None:
    """It would act on the first of several and say that all is well."""
    ended = theirs("instance", "drain", "vm00001", "vm00002", *REASON)
    assert ended.status == OK
    assert [(act, said["instance_id"], said["reason"]) for act, said in arvados.acts] == [
        ("instances/drain", "vm00001", "new image"), ("instances/drain", "vm00002", "new image"),
    ]  # fmt: skip


def test_arvadoss_dispatcher_is_never_asked_for_a_preview(theirs: Call, arvados: ArvadosDispatcher) -> None:
    """It would do it."""
    ended = theirs("instance", "kill", "--all", "--dry-run")
    assert ended.out.count("would be done") == 3
    assert arvados.acts == []


def test_arvadoss_dispatcher_knows_no_end(theirs: Call, arvados: ArvadosDispatcher) -> None:
    """A hold that was meant for two hours would last for ever."""
    ended = theirs("instance", "hold", "vm00001", "--for", "2h")
    assert (ended.status, arvados.acts) == (USAGE, [])


def test_arvadoss_dispatcher_is_listed_alike(theirs: Call, arvados: ArvadosDispatcher) -> None:
    """What it does not tell is derived or blank; its null for nothing is nothing."""
    assert theirs("instance", "list").out.splitlines()[1].endswith(f"\trunning\trun\ttype1\tp1\t0.100000\t{uuid(3)}")
    assert "vm00001" in theirs("instance", "list", "--format", "table").out
    assert "last busy       2026-11-21T18:44:45.276108117Z" in theirs("instance", "show", "vm00001").out
    arvados.instances = None
    assert (theirs("instance", "list").status, theirs("instance", "list").out) == (OK, "")


def test_one_that_went_meanwhile_is_told(theirs: Call, arvados: ArvadosDispatcher) -> None:
    """Some of it was not done, and the end says so."""
    assert arvados.instances is not None
    arvados.instances[0]["instance"] = ""  # accepted by nobody yet: it has no id to be named by
    ended = theirs("instance", "kill", "--all", "--yes")
    assert (ended.status, ended.out.count("done"), ended.out.count("gone")) == (FAILED, 2, 1)
