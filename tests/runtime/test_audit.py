"""The audit log: one bounded line for each act, in the ordinary log always, in a file of its own when one is named."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.maps import Map
from dispatcher.core.model import DestroyCause, IdleBehavior, Instance, OperatorNote, Phase, State
from dispatcher.runtime import audit
from dispatcher.runtime.logs import set_up
from dispatcher.runtime.story import Story, Teller
from tests.runtime.test_story import Clock

SECRET = "verysecretmanagementtoken"
NOTE = OperatorNote(actor="ada@host", reason="kernel", at="2027-01-15T08:00:00Z", until="2027-01-15T10:00:00Z", until_s=90.0)
HELD = Instance(
    name="i1", id="vm1", type="small", phase=Phase.READY, phase_since_s=0.0, appeared_s=0.0, idle_behavior=IdleBehavior.HOLD,
    operator=NOTE,
)  # fmt: skip


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """The loggers, put back as they were."""
    known = [logging.getLogger(), audit.log, logging.getLogger(audit.NAME_OF_DECISIONS)]
    before = [(logger.handlers[:], logger.level) for logger in known]
    yield
    for logger, (handlers, level) in zip(known, before, strict=True):
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers[:], logger.level = handlers, level


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_act_is_a_line_of_the_ordinary_log() -> None:
    """Also when that one tells warnings only: who did what is no chatter."""
    stream = io.StringIO()
    set_up(level="warning", cluster_id="zzzzz", stream=stream)
    audit.record({"Act": "kill", "Actor": "ada@host", "Held": True})
    (line,) = lines(stream.getvalue())
    assert {key: line[key] for key in ("msg", "Act", "Actor", "Held", "ClusterID")} == {
        "msg": "operator act", "Act": "kill", "Actor": "ada@host", "Held": True, "ClusterID": "zzzzz",
    }  # fmt: skip


def test_a_named_file_gets_the_acts_and_nothing_else(tmp_path: Path) -> None:
    """As JSON whatever the form of the ordinary log, without secrets, not readable by strangers, and never cut off by a start."""
    path = tmp_path / "audit.jsonl"
    for number in range(2):
        set_up(form="text", stream=io.StringIO(), secrets=[SECRET], audit_file=str(path))
        logging.getLogger("toy").error("something else")
        audit.record({"Act": "drain", "Reason": f"see ?api_token={SECRET}", "Status": number})
    written = path.read_text(encoding="utf-8")
    assert [line["Status"] for line in lines(written)] == [0, 1]
    assert SECRET not in written
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_was_rotated_away_is_opened_anew(tmp_path: Path) -> None:
    """logrotate needs no signal."""
    path = tmp_path / "audit.jsonl"
    set_up(stream=io.StringIO(), audit_file=str(path))
    audit.record({"Act": "hold"})
    path.rename(tmp_path / "audit.jsonl.1")
    audit.record({"Act": "run"})
    assert [line["Act"] for line in lines(path.read_text(encoding="utf-8"))] == ["run"]


def test_an_audit_log_that_cannot_be_written_any_more_is_told_in_one_line_and_fails_no_act(tmp_path: Path) -> None:
    """Regression: a traceback stood between the lines of the log; a folder that was rotated away failed the request."""
    folder, shown = tmp_path / "audit", io.StringIO()
    folder.mkdir()
    set_up(stream=shown, audit_file=str(folder / "audit.jsonl"))
    folder.rename(tmp_path / "away")
    audit.record({"Act": "hold"})
    lines = [json.loads(line) for line in shown.getvalue().splitlines()]
    assert [line["msg"].split(":")[0] for line in lines] == ["AuditLog", "operator act"]


def test_a_file_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    """A site that asks for an audit log must not run without one unknowingly."""
    with pytest.raises(FileNotFoundError):
        set_up(stream=io.StringIO(), audit_file=str(tmp_path / "nowhere" / "audit.jsonl"))


DECISION = {"Kind": "decision", "Act": "destroy", "Actor": "dispatcher", "Reason": "idle"}


def test_a_decision_stands_in_the_named_file_alone(tmp_path: Path) -> None:
    """The ordinary log tells it in words already."""
    path, shown = tmp_path / "audit.jsonl", io.StringIO()
    set_up(stream=shown, audit_file=str(path))
    audit.record(DECISION)
    (line,) = lines(path.read_text(encoding="utf-8"))
    assert (line["msg"], line["Act"], line["Actor"]) == ("decision", "destroy", "dispatcher")
    assert shown.getvalue() == ""


def test_a_full_disk_stops_nothing_and_loses_nothing() -> None:
    """Every write to /dev/full fails as on a full disk: it is said once and counted, and all entries are in the ordinary log."""
    shown = io.StringIO()
    set_up(stream=shown, audit_file="/dev/full", secrets=[SECRET])
    for number in range(3):
        audit.record({**DECISION, "Reason": f"{number} {SECRET}"})
    audit.record({"Act": "hold"})
    told = [line["msg"].partition(":")[0] for line in lines(shown.getvalue())]
    assert sorted(told) == ["AuditLog", "decision", "decision", "decision", "operator act"]
    assert SECRET not in shown.getvalue()
    (file,) = audit.files()
    assert (file.failures, file.problem) == (4, "AuditLog: /dev/full cannot be written: No space left on device")


def test_when_there_is_room_again_it_is_said_and_no_longer_shown(tmp_path: Path) -> None:
    """The number of what is missing stays: it is a counter."""
    folder, shown = tmp_path / "audit", io.StringIO()
    folder.mkdir()
    set_up(stream=shown, audit_file=str(folder / "audit.jsonl"))
    folder.rename(tmp_path / "away")
    audit.record(DECISION)
    folder.mkdir()
    audit.record(DECISION)
    (file,) = audit.files()
    assert (file.failures, file.problem) == (1, "")
    assert "1 entries are missing" in lines(shown.getvalue())[-1]["msg"]


def test_a_line_that_a_full_disk_cut_off_spoils_no_other(tmp_path: Path) -> None:
    """What comes after it begins on a line of its own."""
    path = tmp_path / "audit.jsonl"
    path.write_text('{"Act": "des', encoding="utf-8")
    set_up(stream=io.StringIO(), audit_file=str(path))
    audit.record(DECISION)
    cut_off, whole = path.read_text(encoding="utf-8").splitlines()
    assert (cut_off, json.loads(whole)["Act"]) == ('{"Act": "des', "destroy")


def test_a_line_is_bounded_and_has_no_control_characters() -> None:
    """What callers send ends on terminals."""
    stream = io.StringIO()
    set_up(stream=stream)
    audit.record({"Reason": "x\n\x1b[2J" * 1000, "RunningContainers": [f"c{number}" for number in range(1000)]})
    (line,) = lines(stream.getvalue())
    assert len(line["Reason"]) == audit.FIELD_CHARACTERS
    assert line["Reason"].isprintable()
    assert line["RunningContainers"][-2:] == ["c99", "and 900 more"]


def test_decisions_are_told_with_the_time_at_which_they_were_made() -> None:
    """Also when so much waits to be told that sentences are left out."""
    acts: list[Mapping[str, object]] = []
    teller = Teller(Story(Clock()), Clock(), tell=lambda told: None, waiting=1, audit_log=acts.append)
    before = State(instances=Map([("i1", HELD)]))
    teller.hear(before, before, m.ConnectionLost(name="i1"))
    teller.hear(before, before, m.DestroyInstance(name="i1", cause=DestroyCause.UNRESPONSIVE, reason="silent"))
    teller.tell()
    (act,) = acts
    assert (act["Act"], act["Cause"], act["Reason"], act["InstanceName"]) == ("destroy", "unresponsive", "silent", "i1")
    assert str(act["At"]).endswith("Z")


def test_the_end_of_a_hold_is_an_act_too() -> None:
    """Nobody asked for it at that moment: the line names who chose it, and until when; and it is never left out."""
    acts: list[Mapping[str, object]] = []
    teller = Teller(Story(Clock()), Clock(), tell=lambda told: None, waiting=1, audit_log=acts.append)  # and it is told last
    before = State(instances=Map([("i1", HELD)]))
    teller.hear(before, before, m.IdleBehaviorSet(name="i1", behavior=IdleBehavior.HOLD))
    teller.hear(before, before, m.ExpireIdleBehavior(name="i1"))
    teller.tell()
    assert acts == [
        {
            "Act": "expire", "Actor": "ada@host", "Reason": "kernel", "Until": "2027-01-15T10:00:00Z", "Instance": "vm1",
            "InstanceName": "i1", "InstanceType": "small", "State": "ready", "IdleBehavior": "hold", "Held": True,
            "Outcome": "run",
        }
    ]  # fmt: skip
