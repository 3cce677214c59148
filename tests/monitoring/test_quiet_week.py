"""A quiet week: ordinary work by day, little by night, and the small mishaps of every week. No alert may fire, else nobody
looks at alerts any more.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import IdleBehavior
from dispatcher.simulation.queue import QueueKnobs
from dispatcher.simulation.world import World
from drivers.stub import StubKnobs
from tests.monitoring.incidents import usual
from tests.monitoring.prometheus import Scraper, never, promtool, rules
from tests.simulation.worlds import wants

HOUR_S, DAY_S = 3600.0, 86400.0
DAYS = 7
SCRAPE_S = 120.0  # coarse, so that a week is affordable
ORDINARY = StubKnobs.kind(
    boot_s=40.0, max_boot_extra_s=30.0, address_s=2.0, list_lag_s=3.0, tags_lag_s=5.0, max_destroy_s=40.0, detach_s=1.0,
    prepare_s=2.0, create_error_rate=0.01, list_error_rate=0.004, destroy_error_rate=0.02, lost_answer_rate=0.005,
    partial_list_rate=0.004, runner_crash_rate=0.01, late_failure_rate=0.005, leftover_rate=0.02, max_term_s=5.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """What goes wrong now and then is what this is about."""
    log = logging.getLogger("dispatcher")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


def week() -> Scraper:
    chosen = usual(max_instances=20, timeout_idle_s=300.0, poll_interval_s=30.0, probe_interval_s=60.0, sync_interval_s=120.0)
    world = World(chosen, seed=11, knobs=ORDINARY, heartbeat_s=30.0)
    world.queue.knobs = QueueKnobs(error_rate=0.002, lost_answer_rate=0.002)
    world.instances.knobs.slow_login_s = 8.0  # cloud-init puts the key in its place a little later than sshd is up
    world.instances.knobs.lost_probe_rate = 0.002
    world.start_dispatcher()
    _plan(world, random.Random("week"))
    return Scraper(world, step_s=SCRAPE_S)


def _plan(world: World, chance: random.Random) -> None:
    for day in range(DAYS):
        begin_s = day * DAY_S
        for _ in range(3 if day in (5, 6) else 14):  # bursts of work by day
            at_s = begin_s + chance.gauss(13.0, 2.5) * HOUR_S
            for _ in range(chance.randint(1, 6)):
                vcpus, length_s = chance.choice((1, 1, 2, 4)), chance.uniform(60.0, 1500.0)
                world.later(max(0.0, at_s), lambda v=vcpus, s=length_s: world.submit(wants(v), length_s=s))
        world.later(begin_s + 10.2 * HOUR_S, lambda: _hold(world, 3.0 * HOUR_S))
        world.later(begin_s + 14.1 * HOUR_S, lambda: _lose_one(world))
        world.later(begin_s + 15.3 * HOUR_S, lambda: _cancel_one(world))
    world.later(1.5 * DAY_S, world.restart)  # an upgrade
    world.later(3.6 * DAY_S, lambda: world.reload(world.settings))
    world.later(4.5 * DAY_S, lambda: setattr(world.queue.knobs, "down_until_s", world.clock.now_s + 25.0))


def _hold(world: World, for_s: float) -> None:
    """Somebody looks at an instance for a while."""
    names = list(world.state.instances)
    if names:
        chosen = m.IdleBehaviorSet(name=names[0], behavior=IdleBehavior.HOLD, actor="ada", until_s=world.clock.now_s + for_s)
        world.leader.post(chosen)


def _lose_one(world: World) -> None:
    existing = world.stub.existing()
    if existing:
        world.stub.lose(existing[0].id)


def _cancel_one(world: World) -> None:
    opened = world.queue.open_entries()
    if opened:
        world.queue.set_priority(opened[0].uuid, 0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_alert_fires_in_a_quiet_week(tmp_path: Path) -> None:
    """Single failures, one lost machine a day, holds of hours, an upgrade and a reload are no incidents."""
    scraper = week()
    scraper.run(DAYS * DAY_S)
    world = scraper.world
    assert world.acts["StartContainer"] > 100
    assert sum(world.stub.faults.values()) > 50, "it was too quiet to prove anything"
    assert world.violations.found == []
    asked = [question for rule in rules().values() for question in never(rule, DAYS * DAY_S)]
    assert promtool(tmp_path, scraper, asked, load=False) == ""


def test_what_is_scraped_is_all_that_the_rules_ask_for() -> None:
    """A metric that is never there would let a week pass quietly. Who waits is counted only while somebody does."""
    scraper = week()
    scraper.run(120.0)
    told = {name for name, _ in scraper.series}
    assert scraper.wanted - told <= {"arvados_dispatchcloud_containers_waiting"}
