"""Defects of the Go dispatcher that must not exist here, each under its number and as the shortest life in which it did harm.

Those that belong to attempts, restarts and unkillable runners stand in the files of that name.
"""

from __future__ import annotations

from dispatcher.core import messages as m
from dispatcher.core.messages import Action, Event
from dispatcher.core.model import ContainerState
from dispatcher.runtime.health import judge
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, idle_instance, offer, settings, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
COMPLETE, CANCELLED = ContainerState.COMPLETE, ContainerState.CANCELLED
KIND = StubKnobs.kind(boot_s=5.0)


def town(*offers, **changes) -> Town:
    made = Town(settings(*offers, **changes), knobs=KIND)
    made.start_dispatcher()
    return made


def test_12_5_nothing_grows_with_the_time_that_it_runs():
    """12.5: upstream adds a subscriber with each pass and never takes one away, so that wake-ups get slower with its age. Here a
    hundred containers on dozens of instances leave nothing behind in the State, and nothing is counted but what stands."""
    here = town(offer("a1", 1), timeout_idle_s=5.0)
    for _ in range(10):
        uuids = [here.submit(wants(), length_s=5.0) for _ in range(10)]
        here.until_states(uuids, COMPLETE)
    here.until_over()
    state, store = here.state, here.leader.store
    kept = (state.containers, state.instances, state.strays, state.holdoffs, state.queue.rejected)
    assert [len(each) for each in kept] == [0] * 5
    assert len(state.buckets) <= 5
    assert len(store.counts(("containers", "queue", "instances", "cloud", "control"))) == 5
    assert state.queue.locks_in_flight == 0
    assert state.cloud.guarded_destroys == ()


class SlowUnlocks(Town):
    """A queue service that takes twenty seconds for each unlock."""

    def answer_delay(self, action: Action, events: list[Event]) -> float:
        return super().answer_delay(action, events) + (20.0 if isinstance(action, m.UnlockContainer) else 0.0)


def test_12_10_unlocks_hold_nobody_up():
    """12.10: upstream unlocks in its scheduling loop, one request after the other. Here twenty of them are on their way, and a
    container starts on the idle instance as fast as ever."""
    here = SlowUnlocks(settings(offer("a1", 1), timeout_idle_s=900.0), knobs=KIND)
    here.start_dispatcher()
    idle_instance(here)
    here.stub.knobs = StubKnobs.kind(boot_s=500.0)
    blocker = here.submit(wants(), length_s=20.0)
    here.until_states([blocker], RUNNING)
    doomed = [here.submit(wants(), length_s=5.0) for _ in range(20)]
    here.until_states(doomed, LOCKED)
    here.until_states([blocker], COMPLETE)
    for uuid in doomed:
        here.queue.set_priority(uuid, 0)
    assert here.run(30.0, until=lambda: here.acts["UnlockContainer"] >= 2)
    wanted, began_s = here.submit(wants(), length_s=5.0, priority=2 << 50), here.clock.now_s
    here.leader.post(m.QueueHinted())
    here.until_states([wanted], RUNNING, COMPLETE, within_s=30.0)
    assert here.clock.now_s - began_s < 2.0
    assert here.acts["UnlockContainer"] < 20


def test_12_20_who_no_longer_leads_begins_nothing_more():
    """12.20: upstream takes its lock once and never looks at it again, so that two may act. Here a dispatcher that hears of its
    loss begins nothing, sends nothing that was on its way, and says who leads."""
    here = town(offer("a1", 1), poll_interval_s=1.0)
    here.submit(wants(), length_s=300.0)
    here.run(3.0)
    old = here.leader
    old.post(m.LeadershipLost(holder="10.0.0.9 pid 77"))
    lost_s = here.clock.now_s
    here.start_dispatcher()
    later = [here.submit(wants(), length_s=5.0) for _ in range(3)]
    here.until_states(later, COMPLETE)
    begun = [message for at_s, who, message in here.journal.lines if who == old.name and at_s > lost_s]
    assert not [message for message in begun if isinstance(message, Action)]
    health = judge(old.store.snapshot(), {"scheduler": 0.0})
    assert (health.ready, health.problem) == (False, "waiting to lead: 10.0.0.9 pid 77")


def test_12_26_a_lock_that_is_refused_is_not_sent_again_and_again():
    """12.26: upstream sends it with each pass until a poll tells why it fails. Here the record is read at once, and decides."""
    here = town(offer("a1", 1), timeout_idle_s=900.0, poll_interval_s=60.0)
    idle_instance(here)
    uuid = here.submit(wants(), length_s=5.0)
    here.leader.post(m.QueueHinted())
    assert here.run(10.0, until=lambda: uuid in here.state.containers and here.container(uuid).fit is not None)
    entry = here.entry(uuid)
    entry.state, entry.locked_by = LOCKED, "zzzzz-gj3su-somebodyelse000"  # between our poll and our lock
    here.run(40.0)
    assert here.acts["LockContainer"] == 2  # one for the first container, one that was refused
    assert entry.locked_by == "zzzzz-gj3su-somebodyelse000"
    assert uuid not in here.state.containers
    assert uuid not in here.queue.starts
