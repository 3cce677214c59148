"""A full quota in virtual time: told by lists, so that no create is sent that must fail."""

from __future__ import annotations

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, offer, settings, wants

DONE = ContainerState.COMPLETE
ONE = settings(offer("a2", 2), timeout_idle_s=20.0, sync_interval_s=30.0, max_running_containers_per_instance=1)


def run(*, tells: bool) -> Town:
    """Room for one instance, and two containers of ten minutes."""
    town = Town(ONE, knobs=StubKnobs.kind(boot_s=5.0, quota_instances=1, tells_usages=tells))
    town.start_dispatcher()
    uuids = [town.submit(wants(), length_s=600.0) for _ in range(2)]
    town.until_states(uuids[:1], ContainerState.RUNNING)
    town.until_states(uuids, DONE, within_s=3600.0)
    town.until_over()
    return town


def test_a_full_quota_that_is_told_saves_the_creates_that_must_fail() -> None:
    """They end as soon, and with fewer refusals; without usages the pause between refusals grows instead."""
    told, untold = run(tells=True), run(tells=False)
    refused = [len(town.journal.of(m.CreateFailed)) for town in (told, untold)]
    assert refused[0] < refused[1]
    assert told.clock.now_s <= untold.clock.now_s + 60.0
