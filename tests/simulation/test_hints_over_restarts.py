"""Hints over a restart, in virtual time: with them nothing begins anew, without them nothing goes wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core import spending
from dispatcher.core.model import ContainerState, Phase
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, idle_instance, offer, settings, wants

RUNNING, COMPLETE = ContainerState.RUNNING, ContainerState.COMPLETE


def town(*offers, knobs: StubKnobs | None = None, **changes) -> Town:
    here = Town(settings(*offers, **changes), knobs=knobs)
    here.start_dispatcher()
    return here


def test_12_27_a_restart_keeps_the_hold_off_for_quota():
    """The cloud refused ten seconds ago: whoever starts now does not ask it again at once."""
    here = town(offer("a1", 1), knobs=StubKnobs.kind(quota_instances=0))
    here.submit(wants())
    assert here.run(10.0, until=lambda: bool(here.journal.of(m.CreateFailed)))
    here.run(10.0)
    here.restart()
    asked = here.stub.calls["create"]
    here.run(12.0)
    assert here.stub.calls["create"] == asked
    here.stub.knobs = StubKnobs.kind()
    here.until_over()


def test_12_27_a_restart_keeps_the_idle_clock():
    """Idle for 40 of 60 s before the restart: gone some 20 s after it, and not after another minute."""
    here = town(timeout_idle_s=60.0)
    idle_instance(here)
    here.run(40.0)
    here.restart()
    restarted_s = here.clock.now_s
    here.until_over()
    assert 5.0 < here.journal.times(m.DestroyInstance)[0] - restarted_s < 35.0


def test_12_27_a_restart_gives_no_boot_time_anew():
    """An instance that lists its processes and never passes its boot probe has TimeoutBooting once, over every restart."""
    here = town(timeout_booting_s=300.0, knobs=StubKnobs.kind(boot_s=10.0))
    here.submit(wants(), length_s=1.0)
    assert here.run(60.0, until=lambda: bool(here.held(Phase.BOOTING)))
    first = here.held()[0].name
    here.machine(first).booted_at_s = 1e9
    began_s = here.clock.now_s
    for _ in range(3):
        here.run(80.0)
        here.restart()
    assert here.run(300.0, until=lambda: first in [gone.name for gone in here.journal.of(m.DestroyInstance)])
    assert here.clock.now_s - began_s < 400.0
    here.until_over()


def test_12_27_equals_keep_their_order_over_a_restart():
    """Who waited first runs first, whatever their uuids are."""
    here = town(offer("a1", 1), max_instances=1, knobs=StubKnobs.kind(boot_s=5.0))
    busy = here.submit(wants(), length_s=100.0, priority=9)
    here.until_states([busy], RUNNING)
    late = here.submit(wants(), length_s=10.0, priority=0)
    early = here.submit(wants(), length_s=10.0)
    here.run(20.0)
    here.queue.entries[late] = replace(here.queue.entries[late], priority=1 << 50, state=ContainerState.QUEUED)
    here.run(20.0)
    here.restart()
    here.until_states([early], COMPLETE)
    assert not here.is_state(late, COMPLETE)
    here.until_over()



def test_money_is_counted_to_the_cent_over_restarts():
    """Three restarts, instances that come and go: what we think and what the cloud counts differ by seconds of an instance."""
    here = town(offer("a1", 1, price=36.0), timeout_idle_s=20.0)
    machines: dict[str, object] = {}

    def look() -> None:
        machines.update((machine.id, machine) for machine in here.stub.instances.values())
        here.later(0.5, look)

    look()
    for number in range(12):
        here.later(number * 60.0, lambda: here.submit(wants(), length_s=100.0))
    for restart_s in (130.0, 333.0, 600.0):
        here.later(restart_s, here.restart)
    here.run(900.0)
    truth = sum(min(machine.gone_at_s, here.clock.now_s) - machine.created_s for machine in machines.values()) * 36.0 / 3600.0
    assert truth > 10.0
    assert spending.today(here.state, here.clock.now_s) == pytest.approx(truth, rel=0.05)


def test_a_day_that_is_spent_stays_spent_over_a_restart():
    """Nobody gets the day's money twice by a crash; at midnight there is new money."""
    here = town(offer("a1", 1, price=36.0), max_price_per_day=1.0, timeout_idle_s=10.0)
    first = here.submit(wants(), length_s=150.0)
    here.until_states([first], COMPLETE)
    here.until_over()
    waiting = here.submit(wants(), length_s=10.0)
    here.run(30.0)
    here.restart()
    here.run(600.0)
    assert "MaxPricePerDay (1) is spent" in here.why(waiting)
    assert len(here.journal.of(m.InstanceCreated)) == 1
    here.until_over(within_s=2 * 86400.0)
    assert here.is_state(waiting, COMPLETE)


def test_running_work_goes_on_beyond_every_limit():
    """The limit is passed while a container runs: it ends by itself, and its instance goes when it is idle."""
    here = town(offer("a1", 1, price=36.0), max_price_per_day=0.5)
    uuid = here.submit(wants(), length_s=600.0)
    here.until_states([uuid], COMPLETE, within_s=900.0)
    assert here.queue.starts[uuid] == 1
    assert spending.today(here.state, here.clock.now_s) > 5.0
    here.until_over()


SPOILS = [None, "", "{", '{"version":1}', "null", "[]", '{"version":1,"instance_set":"x","written_at":0}']


@pytest.mark.parametrize("text", SPOILS)
def test_a_restart_without_good_hints_is_an_ordinary_start(text):
    """Nothing is lost, started twice or destroyed wrongly."""
    here = town()
    uuids = [here.submit(wants(), length_s=60.0) for _ in range(5)]
    here.until_states(uuids[:1], RUNNING)
    here.hints.text = text
    here.restart()
    here.until_over()
    assert {here.entry(uuid).state for uuid in uuids} == {COMPLETE}
    assert {here.queue.starts[uuid] for uuid in uuids} == {1}


def test_an_image_is_known_again_after_a_restart():
    """By the tag of its instance: containers of another image do not get there, those of its own do."""
    here = town(offer("b4", 4), image_id="site", allowed_images=("gpu-*",), timeout_idle_s=300.0)
    first = here.submit(wants(image_id="gpu-1"), length_s=60.0)
    here.until_states([first], RUNNING)
    here.restart()
    same, plain = here.submit(wants(image_id="gpu-1"), length_s=30.0), here.submit(wants(), length_s=30.0)
    bad = here.submit(wants(image_id="evil"), length_s=30.0, attempts=1)
    here.until_states([same, plain], RUNNING)
    assert here.container(same).instance == here.container(first).instance != here.container(plain).instance
    here.until_states([bad], ContainerState.CANCELLED)
    assert "not one that AllowedImages permits" in here.entry(bad).reason
    assert {machine.image_id for machine in here.stub.existing()} == {"gpu-1", "site"}
    here.until_over()
