"""Texts, moments, tables and choices of the operators' commands: values in, values out."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.cli.operate import instances, table
from dispatcher.cli.operate.acts import Act, question
from dispatcher.cli.operate.dispatchers import Found
from dispatcher.cli.operate.ends import NOT_FOUND, USAGE, Ended
from dispatcher.cli.operate.instances import Chosen
from dispatcher.cli.operate.moments import actor, end_of
from dispatcher.cli.operate.reasons import reasons
from dispatcher.cli.operate.scene import change_line, fleet_lines, scene
from dispatcher.cli.operate.standing import CRITICAL, OK, WARNING, Cell, Group, Standing, Step, put_together
from dispatcher.cli.operate.status import check_line
from dispatcher.cli.operate.table import Column
from dispatcher.cli.terminal import Line
from dispatcher.cli.words import fitted, padded, printable, seconds, span, width_of
from dispatcher.edge.management import ManagementClient, endpoint_of
from tests.cli.operated import CONTAINERS, INSTANCES

NOW_S = datetime(2026, 11, 21, 19, 0, 0, tzinfo=UTC).timestamp()


def text(line: Line) -> str:
    return "".join(span.text for span in line)


# ------------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("value_s", "shown"),
    [(None, ""), (0, "0s"), (59.9, "59s"), (187, "3m07s"), (7500, "2h05m"), (356_400, "4d03h"), (-3, "0s")],
)
def test_ages_are_short(value_s: float | None, shown: str) -> None:
    """Two units at most, whatever their size."""
    assert span(value_s) == shown


@pytest.mark.parametrize(
    ("told", "expected_s"),
    [("2026-11-21T19:00:00Z", NOW_S), ("2026-11-21T19:00:00.276108117Z", NOW_S + 0.276108), ("2026-11-21T20:00:00+01:00", NOW_S),
     ("0001-01-01T00:00:00Z", None), ("", None), ("soon", None), (None, None)],
)  # fmt: skip
def test_times_of_the_api(told: object, expected_s: float | None) -> None:
    """With nanoseconds, as Go writes them; its zero time is none."""
    assert seconds(told) == (pytest.approx(expected_s) if expected_s is not None else None)


def test_nothing_from_outside_steers_the_terminal() -> None:
    """Neither escape sequences nor letters that turn the direction of writing."""
    assert printable("a\x1b[2Jb\u202ec\nd") == "a\ufffd[2Jb\ufffdc\ufffdd"


def test_widths_are_those_of_the_terminal() -> None:
    """Wide letters take two columns, marks on letters none."""
    assert [width_of(each) for each in ("abc", "漢字", "e\u0301")] == [3, 4, 1]
    assert fitted("漢字漢字漢字", 8) == "漢字..."
    assert fitted("abcdef", 2) == ".."
    assert padded("漢", 4) == "漢  "


# ----------------------------------------------------------------------------------------------------------------- moments


def test_an_end_is_a_duration_or_a_time() -> None:
    """A time without a zone is the local one, a time of day the next one."""
    assert end_of("1d12h", None, NOW_S) == "1d12h"
    assert end_of(None, None, NOW_S) == ""
    assert end_of(None, "2026-11-22T08:00:00+02:00", NOW_S) == "2026-11-22T06:00:00Z"
    local = datetime.fromtimestamp(NOW_S + 7200)
    assert end_of(None, local.isoformat(), NOW_S) == "2026-11-21T21:00:00Z"
    passed = datetime.fromtimestamp(NOW_S - 3600).strftime("%H:%M")
    assert end_of(None, passed, NOW_S) == "2026-11-22T18:00:00Z"


@pytest.mark.parametrize(
    ("lasts", "until", "words"),
    [("2h", "18:30", "one thing"), ("soon", None, "duration"), ("", None, "duration"), (None, "25:00", "a time like"),
     (None, "", "a time like"), (None, "2020-01-01T00:00:00Z", "in the past")],
)  # fmt: skip
def test_an_end_that_means_nothing(lasts: str | None, until: str | None, words: str) -> None:
    """Refused here, before anything is asked of a dispatcher."""
    with pytest.raises(Ended, match=words) as ended:
        end_of(lasts, until, NOW_S)
    assert ended.value.exit_code == USAGE


def test_the_operator_is_who_sits_there() -> None:
    """Behind sudo too: root is nobody's name."""
    assert actor({"SUDO_USER": "ada"}).startswith("ada@")
    assert len(actor({"SUDO_USER": "a" * 500})) == 256


# ------------------------------------------------------------------------------------------------------------------ tables

COLUMNS = (
    Column(title="NAME", of=lambda row: row["name"]),
    Column(title="PRIORITY", of=lambda row: row["priority"], right=True, drop=1),
    Column(title="WHY", of=lambda row: row["why"], cut=True, drop=3),
    Column(title="MORE", of=lambda row: "more", drop=2),
)
ROWS = [{"name": "zzzzz-dz642-000000000000001", "priority": 1_100_000_000_000_000_007, "why": "because it is so"}] * 2


@pytest.mark.parametrize(
    ("width", "head"),
    [
        (None, "NAME                                    PRIORITY  WHY               MORE"),
        (72, "NAME                                    PRIORITY  WHY               MORE"),
        (71, "NAME                                    PRIORITY  MORE"),
        (50, "NAME                                    PRIORITY"),
        (20, "NAME"),
    ],
)
def test_a_table_gets_narrow_by_whole_columns(width: int | None, head: str) -> None:
    """What matters least goes first; what identifies a thing is whole in any width."""
    made = table.lines(COLUMNS, ROWS, width)
    assert text(made[0]) == head
    assert text(made[1]).startswith("zzzzz-dz642-000000000000001")
    assert "PRIORITY" not in head or "1100000000000000007" in text(made[1])


def test_sentences_are_cut_before_columns_go() -> None:
    """But not below sixteen columns."""
    rows = [{"name": "n", "priority": 1, "why": "a sentence that goes on and on"}]
    assert "a sentence that...  more" in text(table.lines(COLUMNS, rows, 40)[1])


def test_no_row_is_no_table() -> None:
    """Headings over nothing say nothing."""
    assert table.lines(COLUMNS, [], 80) == []


# ---------------------------------------------------------------------------------------------------------------- choosing

CLIENT = ManagementClient(endpoint_of("http://127.0.0.1:1", "x", ca_file=None, insecure=False, timeout_s=1))


def found(records: list[dict[str, Any]] = INSTANCES) -> list[Found]:
    return [Found(client=CLIENT, record=record) for record in records]


def chosen(**said: Any) -> list[str]:
    return [each.record["instance"] for each in Chosen(**said).of(found())]


def test_selectors_narrow_and_values_widen() -> None:
    """What shuts down is meant only when it is named, or asked for by that state."""
    assert chosen(everything=True) == ["vm00001", "vm00002", "vm00003"]
    assert chosen(states=("idle", "booting")) == ["vm00001", "vm00003"]
    assert chosen(states=("idle", "booting"), behaviours=("run",)) == ["vm00003"]
    assert chosen(types=("other",)) == []
    assert chosen(names=("vm00004",)) == ["vm00004"]
    assert chosen(states=("shutdown",)) == ["vm00004"]


TOO_WIDE = [
    {}, {"names": ("",)}, {"types": ("",)}, {"everything": True, "names": ("a",)}, {"everything": True, "states": ("idle",)},
]  # fmt: skip


@pytest.mark.parametrize("said", TOO_WIDE)
def test_a_choice_that_could_mean_more_than_was_thought_of(said: dict[str, Any]) -> None:
    """A shell variable that was not set must never widen an act."""
    with pytest.raises(Ended) as ended:
        Chosen(**said).check()
    assert ended.value.exit_code == USAGE


def test_names_that_are_nobodys() -> None:
    """All that are unknown are told at once, and nothing is done."""
    with pytest.raises(Ended, match=r"no such instance: a, b$") as ended:
        chosen(names=("vm00001", "a", "b"))
    assert ended.value.exit_code == NOT_FOUND


def test_the_question_names_what_is_lost() -> None:
    """A kill of what is held, or runs, says so."""
    assert question(found()[:1], Act(verb="kill")) == "kill 1 instance, on which nothing runs, 1 of them held?"
    assert question(found()[:3], Act(verb="kill")) == "kill 3 instances, with 1 running container, 1 of them held?"
    assert question(found()[:2], Act(verb="hold", expires="2h")) == "hold 2 instances until 2h?"


def test_what_runs_is_derived_where_it_is_not_told() -> None:
    """Arvados's release 3.2.1 runs one container per instance and names only the last."""
    assert [instances.runs(record) for record in INSTANCES] == [[], [CONTAINERS[0]["container"]["uuid"]], [], []]
    assert instances.runs({"running_container_uuids": None}) == []


def test_a_line_as_arvadoss_command_prints_it() -> None:
    """Tabs between, a dash for what is blank, the price with six digits."""
    assert instances.upstream_line(INSTANCES[2]) == "vm00003\t127.0.0.1:45953\tbooting\trun\ttype1\tp1\t0.100000\t-"
    assert instances.upstream_line({"instance": "a\tb"}) == "a\ufffdb\t-\t-\t-\t-\t-\t0.000000\t-"


# ---------------------------------------------------------------------------------------------------------------- standing


def standing(health: dict[str, Any], **more: Any) -> Standing:
    return put_together("http://h", health, INSTANCES, CONTAINERS, NOW_S, **more)


def test_a_standing_without_an_overview() -> None:
    """From health and the lists: waiting containers by reason, words that differ in a number are one."""
    told = standing({"health": "OK"})
    assert (told.level, told.exit, told.waiting) == ("busy", OK, 2)
    assert [(step.name, step.count) for step in told.steps] == [("queued", 1), ("locked", 1), ("running", 1)]
    assert [(group.count, group.text[:31]) for group in told.groups] == [(2, "Waiting in queue at position 1.")]
    assert told.instances() == {"booting": 1, "idle": 1, "running": 1, "shutdown": 1}
    assert told.price == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("health", "level", "status"),
    [({"health": "OK", "warnings": ["w"]}, "degraded", WARNING), ({"health": "ERROR", "error": "e"}, "stopped", CRITICAL)],
)
def test_health_makes_the_verdict(health: dict[str, Any], level: str, status: int) -> None:
    """Nothing is guessed beyond what it says."""
    assert (standing(health).level, standing(health).exit) == (level, status)


def test_a_check_is_one_line_with_numbers() -> None:
    """A bar or a line end in a text would begin something else."""
    told = Standing(level="limited", text="a | b\nc", waiting=3, fleet=(Cell(name="i", state="idle"),), price=1.5)
    assert check_line(told) == "WARNING: a / b\ufffdc | waiting=3 instances=1 price=1.5"


FLEET = tuple(Cell(name=f"instance-{n:03}", state="idle", age_s=float(n)) for n in range(100))
SIGHT = Standing(
    level="limited", text="MaxInstances is reached", steps=(Step(name="queued", count=2, oldest_s=90),), fleet=FLEET,
    groups=(Group(text="MaxInstances (4) is reached", count=2),), decisions=("created one", "destroyed one"),
)  # fmt: skip


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 12), (200, 60), (33, 6), (80, 3)])
def test_a_view_fits_the_terminal(columns: int, rows: int) -> None:
    """The verdict first; who has not changed for the longest comes before the others."""
    lines = [text(each) for each in scene(SIGHT, columns, rows)]
    assert len(lines) <= rows
    assert lines[0] == "LIMITED: MaxInstances is reached"
    if rows >= 12:
        assert any(each.startswith("instance-099") for each in lines)
        assert any("more: cloud-dispatcher instance list" in each for each in lines)


def test_a_verdict_is_never_cut() -> None:
    """It goes on in the next line."""
    told = replace(SIGHT, text="21 containers wait: raise MaxInstances to run more at once (MaxInstances (4) is reached)")
    assert [text(each) for each in scene(told, 60, 12)[:2]] == [
        "LIMITED: 21 containers wait: raise MaxInstances to run more", "  at once (MaxInstances (4) is reached)",
    ]  # fmt: skip


def test_names_lose_what_they_share_when_it_gets_narrow() -> None:
    """Else nothing but names would stand in the view."""
    fleet = [Cell(name=f"compute-{'0' * 32}-{end}", state="idle", age_s=1.0) for end in ("abc", "xyz")]
    assert [text(each).split()[:2] for each in fleet_lines(fleet, 40, 9)[1:]] == [["...abc", "idle"], ["...xyz", "idle"]]
    assert text(fleet_lines(fleet, 120, 9)[1]).startswith(fleet[0].name)
    assert text(fleet_lines(fleet[:1], 40, 9)[1]).startswith("...abc")
    seen = replace(SIGHT, fleet=fleet, decisions=(f"instance {fleet[0].name} has booted after 12 s",))
    assert text(scene(seen, 60, 20)[-1]) == "instance ...abc has booted after 12 s"


def test_a_view_says_that_nobody_answers() -> None:
    """And shows what was seen last."""
    lines = [text(each) for each in scene(SIGHT, 80, 24, trouble="Connection refused", silent_s=12)]
    assert lines[:2] == ["no answer for 12s: Connection refused", "LIMITED: MaxInstances is reached"]


def test_a_change_is_one_line() -> None:
    """For a log, where there is no terminal."""
    told = "limited: MaxInstances is reached; containers: 2 queued; instances: 100 idle; 0 per hour"
    assert change_line(SIGHT) == told


def test_the_clock_of_the_zone_is_used() -> None:
    """A time of day is that of the wall, here with the hour east of Greenwich."""
    assert end_of(None, time.strftime("%H:%M", time.localtime(NOW_S + 3600)), NOW_S) == "2026-11-21T20:00:00Z"


# --------------------------------------------------------------------------------------------------------------------- why

WHY = {
    "waits_for": "the quota of Standard_D is reached", "cause": "quota", "since": "2026-11-21T18:50:00Z",
    "considered": [
        {"type": "small", "price": 0.1, "why_not": "too small: 2 of 4 VCPUs"}, {"type": "big", "price": 1.5, "why_not": "quota"},
    ],
    "changes": [{"text": "2 more cores of quota for Standard_D", "kind": "quota", "key": "Standard_D", "value": 2}],
}  # fmt: skip


def test_why_tells_what_was_considered_and_what_would_have_to_change() -> None:
    """In the words of the dispatcher, in the order of a question."""
    assert [text(each).rstrip() for each in reasons({**CONTAINERS[1], "why": WHY}, 80, NOW_S)] == [
        "zzzzz-dz642-000000000000004 Locked",
        "the quota of Standard_D is reached",
        "since 2026-11-21T18:50:00Z (10m00s ago)",
        "",
        "considered, cheapest first",
        "TYPE   PRICE  WHY NOT",
        "small    0.1  too small: 2 of 4 VCPUs",
        "big      1.5  quota",
        "",
        "what would have to change",
        "  2 more cores of quota for Standard_D",
    ]


@pytest.mark.parametrize("told", [None, "text", {}, {"considered": "text", "changes": [7]}, {"waits_for": None, "since": "soon"}])
def test_a_why_that_says_less_is_shown_as_far_as_it_goes(told: object) -> None:
    """An older dispatcher has none, a newer one may say it in another way."""
    assert text(reasons({**CONTAINERS[1], "why": told}, 80, NOW_S)[1]).startswith("Waiting in queue at position 1.")
