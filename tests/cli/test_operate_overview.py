"""The overview of a dispatcher of ours, as ``status`` and ``watch`` show it: asked for once, and again only when it changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request

from dispatcher.cli.operate.dispatchers import Dispatchers
from dispatcher.cli.operate.overview import from_overview
from dispatcher.cli.operate.place import Place
from dispatcher.cli.operate.source import Source
from dispatcher.cli.operate.standing import CRITICAL, OK, UNKNOWN, WARNING
from dispatcher.cli.operate.status import lines
from tests.cli.operated import Call, caller, served
from tests.web.fakes import TOKEN

OVERVIEW: dict[str, Any] = {
    "version": "0.1.0", "at": "2027-01-15T08:10:00Z", "cluster": "zzzzz",
    "verdict": {
        "level": "limited", "cause": "quota", "text": "quota of Standard_D is reached",
        "factors": [
            {"cause": "quota", "text": "quota of Standard_D is reached", "level": "limited", "containers": 7, "since": ""},
            {"cause": "list-failing", "text": "the cloud cannot be listed", "level": "limited", "containers": 0, "since": ""},
        ],
    },
    "funnel": {
        "steps": [
            {"step": "queued", "meaning": "no place yet", "count": 7, "oldest_since": "2027-01-15T08:00:00Z", "oldest": "u"},
            {"step": "running", "meaning": "its runner works", "count": 2, "oldest_since": "2027-01-15T08:09:00Z", "oldest": "u"},
        ],
        "unread": 0, "unwanted": 0,
    },
    "waiting": [{"cause": "quota", "text": "quota", "count": 7, "oldest_since": "2027-01-15T08:00:00Z", "containers": ["u"]}],
    "fleet": {
        "count": 600, "whole": False,
        "groups": [
            {"type": "a", "state": "running", "behavior": "run", "count": 590, "price": 59.0},
            {"type": "b", "state": "running", "behavior": "hold", "count": 10, "price": 1.0},
        ],
        "shown": [
            {
                "name": "compute-1", "id": "i-1", "type": "a", "state": "running", "behavior": "hold",
                "since": "2027-01-15T07:10:00Z", "price": 0.1, "container_count": 2, "problem": "",
                "choice": {"actor": "ada", "reason": "looking at its disk"},
            }
        ],
    },
    "cloud": {
        "holdoffs": [{"call": "create", "about": "Standard_D", "kind": "quota", "reason": "QuotaExceeded", "until": ""}],
        "error": "", "alarm": "",
    },
    "money": {"per_hour": 60.0, "today": 12.5, "limit_per_day": 100.0, "idle_share": 0.25},
    "suspects": [{"kind": "forgotten hold", "text": "held by ada", "since": "", "instance": "compute-1", "container": ""}],
    "decisions": [{"number": 2, "at": "", "text": "the newer"}, {"number": 1, "at": "", "text": "the older"}],
}  # fmt: skip


def shown(overview: dict[str, Any]) -> list[str]:
    return ["".join(span.text for span in line) for line in lines(from_overview("http://h", overview, 0.0))]


def test_an_overview_is_shown_in_the_order_in_which_one_asks() -> None:
    """The verdict, the queue with ages, the instances, money, what waits, and what else there is to know."""
    assert shown(OVERVIEW) == [
        "LIMITED: quota of Standard_D is reached",
        "containers  7 queued (10m00s), 2 running (1m00s)",
        "instances   600 running",
        "price       60 per hour, 12.5 of 100 today, 25% idle",
        "waiting     7 (10m00s): quota",
        "note        the cloud cannot be listed",
        "note        create of Standard_D is held off until --:--:--: QuotaExceeded",
        "note        forgotten hold: compute-1: held by ada",
        "told by     http://h",
    ]


def test_a_cell_and_the_newest_decisions() -> None:
    """A cell's age is that of the dispatcher's clock; the newest decision stands last."""
    told = from_overview("http://h", OVERVIEW, 0.0)
    assert (told.fleet[0].age_s, told.fleet[0].runs, told.fleet[0].note) == (3600.0, 2, "looking at its disk")
    assert told.decisions == ["--:--:-- the older", "--:--:-- the newer"]


@pytest.mark.parametrize(
    ("level", "status"),
    [("ok", OK), ("busy", OK), ("limited", WARNING), ("degraded", WARNING), ("stopped", CRITICAL), ("new-word", UNKNOWN)],
)
def test_the_verdict_is_the_end_of_a_check(level: str, status: int) -> None:
    """A level that is not known here is not taken for health."""
    assert from_overview("http://h", {**OVERVIEW, "verdict": {"level": level, "text": "t"}}, 0.0).exit == status


@pytest.mark.parametrize("name", sorted(OVERVIEW))
@pytest.mark.parametrize("strange", [None, [], "text", 7, [None, 7, {}], {"steps": 7}])
def test_what_is_strange_is_left_out(name: str, strange: object) -> None:
    """A newer dispatcher may say things in another way: the rest is shown."""
    assert shown({**OVERVIEW, name: strange})[-1] == "told by     http://h"


class Overviewed:
    """A dispatcher with an overview whose entity tag is its text. ``sent``: how often it went over the wire as a whole."""

    def __init__(self) -> None:
        self.overview, self.sent, self.health = dict(OVERVIEW), 0, "OK"
        self.warnings: list[str] = []

    def app(self) -> Flask:
        made = Flask("overviewed", static_folder=None)
        made.add_url_rule("/_health/ping", "health", self.judged)
        made.add_url_rule("/overview.json", "overview", self.told)
        return made

    def judged(self) -> tuple[Response, int]:
        return jsonify(health=self.health, warnings=self.warnings), 200 if self.health == "OK" else 503

    def told(self) -> Response:
        answer = jsonify(self.overview)
        answer.add_etag()
        if request.headers.get("If-None-Match") == answer.headers["ETag"]:
            return Response(status=304)
        self.sent += 1
        return answer


@pytest.fixture
def ours() -> Overviewed:
    return Overviewed()


@pytest.fixture
def url(ours: Overviewed) -> Iterator[str]:
    with served(ours.app()) as found:
        yield found


@pytest.fixture
def call(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return caller(capsys, monkeypatch, url)


def test_status_shows_the_overview(call: Call) -> None:
    """And ends with its level; JSON holds it whole."""
    ended = call("status")
    assert (ended.status, ended.out.splitlines()[0]) == (WARNING, "LIMITED: quota of Standard_D is reached")
    assert json.loads(call("status", "--json").out)["overview"] == OVERVIEW
    assert call("status", "--check").out == "WARNING: quota of Standard_D is reached | waiting=7 instances=600 price=60\n"


def test_what_health_warns_of_is_noted_once(ours: Overviewed, call: Call) -> None:
    """The verdict says what limits; a setting that waits for a restart limits nothing, and has to be seen."""
    waits = "changed in the files, and of effect from the next start on: AuditLog"
    ours.warnings = ["quota of Standard_D is reached", "the cloud cannot be listed", waits]
    notes = [line for line in call("status").out.splitlines() if line.startswith("note")]
    assert notes[:2] == [f"note        {waits}", "note        the cloud cannot be listed"]


def test_what_has_not_changed_is_not_sent_again(url: str, ours: Overviewed) -> None:
    """Its entity tag is shown instead."""
    source = Source(Dispatchers(Place(urls=(url,), token=TOKEN)))
    first = source.now()
    assert (source.now(), ours.sent) == (first, 1)
    ours.overview["verdict"] = {"level": "ok", "text": "nothing waits"}
    assert (source.now().level, ours.sent) == ("ok", 2)


def test_the_one_that_leads_is_asked(url: str, ours: Overviewed) -> None:
    """Not the first that answers; when none leads, one of them says why."""
    ours.health = "ERROR"
    leader = Overviewed()
    leader.overview["verdict"] = {"level": "ok", "text": "it leads"}
    with served(leader.app()) as second:
        place = Place(urls=("http://127.0.0.1:1", url, second), token=TOKEN)
        assert Source(Dispatchers(place)).now().text == "it leads"
        leader.health = "ERROR"
        assert Source(Dispatchers(place)).now().text == "quota of Standard_D is reached"
