"""Suspects: each kind is found by the fact that makes it one, and told with who and since when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core.maps import Map
from dispatcher.core.model import (
    Destroy,
    DestroyCause,
    IdleBehavior,
    Instance,
    KnownLeftover,
    OperatorNote,
    Phase,
    ProcessPhase,
)
from dispatcher.driver import Leftover
from dispatcher.web.shown import Wall, utc_text
from dispatcher.web.suspects import NAMED, suspects
from tests.core.build import C1, NOW, instance, kill, process, state

WALL = Wall(1_800_000_000.0)


def found(*things: Instance, boots: Any = None) -> list[tuple[str, str]]:
    return [(each["kind"], each["instance"]) for each in suspects(state(*things), NOW, boots or {}, WALL)]


def hold(hours: float, **more: Any) -> Instance:
    at = utc_text(round(WALL.offset_s + NOW - hours * 3600))
    note = OperatorNote(actor="max", reason="later", at=at, **more)
    return instance("i1", idle_behavior=IdleBehavior.HOLD, operator=note)


def destroy(since_s: float, attempts: int = 1) -> Destroy:
    return Destroy(cause=DestroyCause.IDLE, reason="idle", since_s=since_s, attempts=attempts)


TABLE = [
    (instance("i1"), None),
    (instance("i1", Phase.SHUTDOWN), None),
    (instance("i1", Phase.SHUTDOWN, destroy=destroy(NOW - 600)), "stuck destroy"),
    (instance("i1", Phase.SHUTDOWN, destroy=destroy(NOW - 20, attempts=9)), "stuck destroy"),
    (instance("i1", answered_s=900.0, reached_s=900.0), "no probe"),
    (instance("i1", Phase.BOOTING), "slow boot"),
    (instance("i1", Phase.BOOTING, phase_since_s=990.0), None),
    (instance("i1", Phase.CREATING, create_unknown=True, creating=False), "unknown create"),
    (instance("i1", condemned="its image is broken"), "given up"),
    (instance("i1", processes={C1: process(C1, kill=kill(unkillable=True))}), "unkillable"),
    (hold(0.5), None),
    (hold(30), "forgotten hold"),
    (hold(30, until="2030-01-01T00:00:00Z"), None),
    (instance("i1", idle_behavior=IdleBehavior.HOLD), "forgotten hold"),
]


@pytest.mark.parametrize(("one", "kind"), TABLE)
def test_each_kind_is_found(one: Instance, kind: str | None) -> None:
    """And what is as it should be is no suspect."""
    kinds = {each for each, _ in found(one) if each != "stray"}
    assert kinds == ({kind} if kind else set())


def test_a_hold_that_was_forgotten_says_who_and_when() -> None:
    """And why, in their own words."""
    told = suspects(state(hold(30)), NOW, {}, WALL)[0]
    assert told["text"] == "held by max, without an end: later"
    assert told["since"] == utc_text(round(WALL.offset_s + NOW - 30 * 3600))


def test_leftovers_strays_and_bad_records_are_suspects() -> None:
    """Whatever costs or runs without being known."""
    shown = state(instance("i1", processes={C1: process(C1, ProcessPhase.RUNNING)}))
    disk = Leftover(id="d1", kind="disk")
    shown = replace(
        shown, cloud=replace(shown.cloud, leftovers={"d1": KnownLeftover(leftover=disk, first_s=100.0, error="locked")}),
        queue=replace(shown.queue, rejected=Map([("zzzzz-dz642-bad000000000000", "no state")])),
    )  # fmt: skip
    told = {each["kind"]: each for each in suspects(shown, NOW, {}, WALL)}
    assert set(told) == {"leftover", "stray", "bad record"}
    assert told["leftover"]["text"] == "disk d1 is used by no instance, and cannot be deleted: locked"
    assert (told["stray"]["container"], told["stray"]["instance"]) == (C1, "i1")


def test_of_each_kind_so_many_are_named_and_the_others_counted() -> None:
    """A thousand of one kind do not hide the others."""
    many = [instance(f"i{number}", condemned="broken") for number in range(NAMED + 5)]
    told = suspects(state(*many), NOW, {}, WALL)
    assert (len(told), told[-1]["text"]) == (NAMED + 1, "and 5 more")


def test_boots_that_failed_lately_are_told_by_type() -> None:
    """A type that always boots is none."""
    boots = {"small": {"success": 5, "failure": 0}, "large": {"success": 1, "failure": 2, "disappeared": 1}}
    told = suspects(state(), NOW, boots, WALL)
    assert [each["text"] for each in told] == ["large: 3 of 4 boots failed in the last hour"]
