"""Each incident is done to a World at work, and the verdict names its cause; a World without one is ok or busy."""

from __future__ import annotations

import pytest

from dispatcher.core.model import ContainerState
from dispatcher.core.verdict import Verdict, verdict
from drivers.stub import StubKnobs
from tests.simulation.incidents_told import INCIDENTS, LONG_S, Incident
from tests.simulation.worlds import Town, settings, wants


def judged(town: Town) -> Verdict:
    return verdict(town.state, town.clock.now_s)


def at_work(incident: Incident | None = None) -> Town:
    """Four instances, each with a container that will run on."""
    chosen = settings(*(incident.offers if incident else ()), **(incident.settings if incident else {}))
    kind = {"boot_s": 10.0, "container_s": LONG_S, "max_destroy_s": 5.0, **(incident.knobs if incident else {})}
    town = Town(chosen, knobs=StubKnobs.kind(**kind))
    town.start_dispatcher()
    preemptible = any(offer.preemptible for offer in chosen.instance_types.values())
    uuids = [town.submit(wants(4, preemptible=preemptible), length_s=LONG_S) for _ in range(4)]
    town.until_states(uuids, ContainerState.RUNNING)
    town.run(5.0)
    return town


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.name)
def test_the_verdict_names_the_cause(incident):
    """One sentence, some minutes after it struck."""
    town = at_work(incident)
    incident.strike(town)
    town.run(incident.for_s)
    told = judged(town)
    assert told.cause in incident.causes, f"{told.level}: {told.text}; {[f.cause for f in told.factors]}"
    assert incident.text in told.text
    assert told.level in ("limited", "degraded", "stopped")


def test_a_quiet_world_is_ok():
    """Nothing waits: nothing limits."""
    town = Town(settings(), knobs=StubKnobs.kind(boot_s=10.0, container_s=5.0))
    town.start_dispatcher()
    seen = set()
    for _ in range(20):
        town.run(30.0)
        seen.add(judged(town).level)
    assert seen == {"ok"}


def test_a_world_at_work_is_ok_or_busy_at_every_moment():
    """Work that comes and goes, machines that boot and end: at no moment is anything said to be wrong."""
    town = Town(settings(timeout_idle_s=20.0), knobs=StubKnobs.kind(boot_s=40.0, max_boot_extra_s=20.0, max_destroy_s=15.0))
    town.start_dispatcher()
    seen = {}
    for number in range(25):
        for _ in range(number % 4):
            town.submit(wants(1 + number % 3), length_s=20.0 + 7 * (number % 9))
        town.run(10.0)
        told = judged(town)
        seen[told.level] = told.text
    assert set(seen) == {"ok", "busy"}, seen
