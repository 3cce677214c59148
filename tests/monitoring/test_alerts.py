"""Each alert tells of its incident within two evaluations, and of no other one; the series are those of a World that has it."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dispatcher.core import messages as m
from tests.monitoring.incidents import INCIDENTS, STRIKE_S, Incident, site
from tests.monitoring.prometheus import EVALUATION_S, RULES, fires, never, promtool, rules, silent
from tests.needs import needs_command


def deadline_s(incident: Incident) -> float:
    """The second evaluation after the evidence can be there."""
    return (math.floor((STRIKE_S + incident.patience_s) / EVALUATION_S) + 2) * EVALUATION_S


def marked() -> list[Any]:
    """Those whose evidence takes long are slow."""
    slow = [pytest.mark.slow]
    return [pytest.param(name, marks=slow if each.patience_s > 600.0 else []) for name, each in INCIDENTS.items()]


@pytest.mark.parametrize("name", marked())
def test_an_incident_is_told_by_its_alert_within_two_evaluations(name: str, tmp_path: Path) -> None:
    """Before it there is none, and meanwhile no other one that would send people the wrong way."""
    incident = INCIDENTS[name]
    here, due_s = site(incident), deadline_s(incident)
    here.scraper.run(STRIKE_S)
    incident.strike(here)
    here.scraper.run(due_s + EVALUATION_S - STRIKE_S)
    questions = [
        silent(STRIKE_S, STRIKE_S),
        fires(incident.alert, due_s),
        silent(due_s + EVALUATION_S / 2, due_s, but=(incident.alert, *incident.beside)),
    ]
    assert promtool(tmp_path, here.scraper, questions) == ""


def test_a_former_leader_that_only_watches_alarms_nobody(tmp_path: Path) -> None:
    """What it knew grows old, and is none of its business any more."""
    here = site(INCIDENTS["our own network fails"])
    here.scraper.run(STRIKE_S)
    former = here.world.leader
    here.scraper.hosts = {former.name: "b"}
    here.world.start_dispatcher()
    former.post(m.LeadershipLost(holder="the host a"))
    here.scraper.run(400.0)
    assert promtool(tmp_path, here.scraper, [silent(STRIKE_S + 400.0, STRIKE_S + 400.0)]) == ""


def test_the_check_of_long_times_sees_an_incident(tmp_path: Path) -> None:
    """The one by which a week is found quiet."""
    here = site(INCIDENTS["the API is dead"])
    here.scraper.run(120.0)
    INCIDENTS["the API is dead"].strike(here)
    here.scraper.run(240.0)
    asked = [question for rule in rules().values() for question in never(rule, 360.0)]
    found = promtool(tmp_path, here.scraper, asked, load=False)
    assert "queue_poll_age_seconds" in found


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    """Syntax, templates and names."""
    command = needs_command("promtool", package="prometheus", service="prometheus")
    done = subprocess.run([command, "check", "rules", str(RULES)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_an_incident() -> None:
    """An alert that was never seen to fire may never do so."""
    assert set(rules()) == {incident.alert for incident in INCIDENTS.values()}
