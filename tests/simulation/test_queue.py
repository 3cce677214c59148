"""The queue service at its worst, in virtual time: overloaded, deep, refusing, gone and back. Nothing is lost, nothing storms."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import accumulate

import pytest

from dispatcher.core import messages as m
from dispatcher.core import window
from dispatcher.core.model import ContainerState, Phase
from dispatcher.core.transitions import locks
from dispatcher.runtime.health import judge
from dispatcher.runtime.narrate import narrate
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, offer, settings, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
COMPLETE, CANCELLED = ContainerState.COMPLETE, ContainerState.CANCELLED


def town(*offers, **changes) -> Town:
    made = Town(settings(*offers, **changes), seed=1)
    made.start_dispatcher()
    return made


# ------------------------------------------------------------------------------------------------------------------ bursts


def test_a_burst_that_had_only_begun_when_it_was_first_seen_is_seen_whole():
    """Events tell of each container once, and the look that follows is a short one: who came meanwhile is not waited for until
    the next look without a cause, ten seconds later.

    Regression: a thousand containers took 35 s in place of 24 in every other run, in which nobody was started for seconds."""
    here = town(offer("z", 64), max_instances=1)
    here.leader.post(m.EventsFlowing(flowing=True))
    here.run(30.0)
    for many in (10, 500):
        for uuid in [here.submit(wants(), length_s=5.0) for _ in range(many)]:
            here.leader.post(m.QueueHinted(container=uuid))
        here.run(0.1)
    here.run(2.0)
    assert len(here.state.containers) == 510
    assert all(container.fit is not None for container in here.state.containers.all())


# --------------------------------------------------------------------------------------------------------------- overload


def forty_running() -> Town:
    """Ten instances of four, full of containers of 30 s, and no end of them in the queue."""
    here = town(offer("b4", 4), max_instances=10, probe_interval_s=5.0)
    for _ in range(800):
        here.submit(wants(), length_s=30.0)
    assert here.run(600.0, until=lambda: len(here.held(Phase.READY)) == 10)
    here.run(60.0)
    return here


def per_half_minute(times: list[float], since_s: float) -> list[int]:
    counts = Counter(int((at_s - since_s) // 30.0) for at_s in times if at_s >= since_s)
    return [counts[slot] for slot in range(6)]


def test_12_12_after_one_503_with_40_running_everything_runs_at_its_full_rate_again():
    """Full rate within two minutes without a further 503, and in every half minute as many starts as exits.

    Regression of 12.12: one 503 took a cluster of 64 back to what ran at that moment, and let it grow by one per boot."""
    here = forty_running()
    before = len([at_s for at_s in here.journal.times(m.StartContainer) if at_s >= here.clock.now_s - 30.0])
    here.queue.knobs.overloads, since_s = 1, here.clock.now_s
    here.run(180.0)
    starts = per_half_minute(here.journal.times(m.StartContainer), since_s)
    exits = per_half_minute([at_s for at_s, _ in here.queue.ended_at], since_s)
    refused = [message for message in here.journal.of(m.ContainerWriteFailed) if message.failure.overloaded]
    assert len(refused) == 1
    unseen = 4  # exits that no probe has seen yet
    assert all(begun >= over - unseen for begun, over in zip(accumulate(starts), accumulate(exits), strict=True)), (starts, exits)
    assert starts[4] + starts[5] >= 2 * (before - unseen), (starts, before)
    assert locks.window(here.state.queue, here.clock.now_s) == locks.LOCK_WINDOW
    here.check()


# ------------------------------------------------------------------------------------------------------------ a deep queue

MANY = 50_000


def most_in_a_minute(times: list[float]) -> int:
    """The most list requests that any sixty seconds saw."""
    return max(bisect_right(times, at_s + 60.0) - index for index, at_s in enumerate(times))


def deep(*offers, top: int = 0, vcpus: int = 1, knobs=None, **changes) -> Town:
    """Fifty thousand wait; ``top`` of them want more than the others and come first."""
    made = Town(settings(*offers, **changes), seed=1, knobs=knobs)
    for _ in range(top):
        made.submit(wants(vcpus), priority=500 << 50, length_s=60.0)
    for _ in range(MANY - top):
        made.submit(wants(), priority=100 << 50, length_s=20.0)
    made.start_dispatcher()
    return made


@pytest.mark.slow
def test_with_50_000_queued_any_minute_sees_at_most_60_list_requests():
    """From the start on, with a fleet that starts and ends a container each second; and no more is read than is needed."""
    here = deep(offer("b4", 4), max_instances=6, probe_interval_s=5.0)
    here.run(150.0)
    assert len(here.journal.of(m.StartContainer)) > 60
    assert most_in_a_minute(here.queue.lists) <= 60
    assert here.state.queue.waiting > MANY - 500
    assert 1000 <= len(here.state.containers) < 2000
    assert window.beyond(here.state) > MANY - 2500
    here.check()


@pytest.mark.slow
def test_with_50_000_queued_who_comes_to_the_top_is_seen_with_the_next_look():
    """Whenever it comes: seen within three seconds, on average within one and a half, and the next to be started."""
    here = deep(offer("b4", 4), max_instances=6, probe_interval_s=5.0)
    here.run(90.0)
    seen_s, began_s = [], here.clock.now_s
    for _ in range(12):
        here.run(7.3)
        uuid, came_s = here.submit(wants(), priority=1000 << 50, length_s=5.0), here.clock.now_s
        assert here.run(3.0, until=lambda uuid=uuid: uuid in here.state.containers)
        seen_s.append(here.clock.now_s - came_s)
    assert sum(seen_s) / len(seen_s) < 1.5, seen_s
    here.until_states([uuid], COMPLETE, within_s=60.0)
    assert most_in_a_minute([at_s for at_s in here.queue.lists if at_s > began_s - 60.0]) <= 60
    here.check()


@pytest.mark.slow
def test_with_50_000_queued_nobody_lower_starves_when_the_top_5_000_cannot_be_placed():
    """Those at the top ask for a type that the cloud has none of: what is below them is read and runs."""
    knobs = StubKnobs.kind(boot_s=10.0, capacity_by_type={"g8": 0})
    here = deep(offer("b4", 4), offer("g8", 8), top=5000, vcpus=8, knobs=knobs, max_instances=4, probe_interval_s=5.0)
    assert here.run(120.0, until=lambda: len(here.queue.running) >= 12), here.what()[:300]
    here.run(60.0)
    assert len(here.queue.ended_at) > 20
    assert most_in_a_minute(here.queue.lists) <= 60
    late = here.submit(wants(), priority=300 << 50, length_s=5.0)  # among those that cannot be placed, and far from the top
    here.until_states([late], RUNNING, COMPLETE, within_s=300.0)
    here.check()


def test_containers_that_fall_out_of_the_window_are_neither_lost_nor_asked_for_again_and_again():
    """Twenty thousand newcomers stand before those that we know: what runs goes on, and nothing storms."""
    here = town(offer("b4", 4), max_instances=2, probe_interval_s=5.0)
    old = [here.submit(wants(), priority=100 << 50, length_s=40.0) for _ in range(1500)]
    here.run(60.0)
    known = set(here.state.containers)
    reads = len(here.journal.of(m.ReadContainers))
    for _ in range(20_000):
        here.submit(wants(), priority=900 << 50, length_s=40.0)
    here.run(60.0)
    gone = {uuid for uuid in known - set(here.state.containers) if not here.entry(uuid).state.final}
    assert gone == set()
    assert len(here.journal.of(m.ReadContainers)) - reads < 30
    assert most_in_a_minute(here.queue.lists) <= 60 + 20  # the bucket of a short queue, and then of a long one
    assert {here.entry(uuid).state for uuid in old} <= {QUEUED, RUNNING, COMPLETE, LOCKED}
    here.check()


# --------------------------------------------------------------------------------------------------------------- patience


def test_max_wait_time_cancels_who_could_not_be_scheduled_and_says_what_it_waited_for():
    """One request, in which the reason stands; the hour in which the API is down is not counted, nor is the cloud's."""
    here = town(offer("b4", 4), max_instances=1, max_wait_s=600.0)
    long = here.submit(wants(4), length_s=100_000.0, priority=2 << 50)
    here.until_states([long], RUNNING)
    waits, came_s = here.submit(wants(), attempts=1), here.clock.now_s
    here.run(300.0)
    here.queue.knobs.down_until_s = here.clock.now_s + 3600.0
    here.run(3600.0 + 200.0)
    assert here.is_state(waits, QUEUED)
    here.until_states([waits], CANCELLED, within_s=200.0)
    assert 4200.0 <= here.clock.now_s - came_s < 4230.0
    (action,) = here.journal.of(m.CancelContainer)
    assert (action.uuid, action.error) == (waits, "the container could not be scheduled within 600 s (MaxWaitTime)")
    assert action.detail == "at the end it waited at position 1: MaxInstances (1) is reached"
    assert waits not in [message.uuid for message in here.journal.of(m.LockContainer)]
    assert here.is_state(long, RUNNING)
    here.check()


# --------------------------------------------------------------------------------------------------------- gone, and back

OUTAGES = [
    (401, "HTTP 401: Not logged in"),
    (422, "HTTP 422: invalid character 'z' looking for beginning of value"),
    (200, "the answer is no JSON object (Expecting value: line 1 column 1 (char 0)): log in first"),
    (502, "HTTP 502: 502 Bad Gateway nginx"),
    (None, "no complete answer within 60 s"),
]


def through_an_outage(status, text, for_s) -> tuple[Town, Told]:
    """What runs runs on and is believed when it ends; nobody is cancelled, unlocked or started twice; and with the first good
    answer everything goes on."""
    here = town(offer("b4", 4), max_instances=2, probe_interval_s=5.0, timeout_idle_s=2 * for_s)
    told = Told(here)
    long, short = here.submit(wants(), length_s=for_s + 1400.0), here.submit(wants(), length_s=60.0)
    here.until_states([long, short], RUNNING)
    here.queue.knobs.down, here.queue.knobs.down_until_s = (status, text), here.clock.now_s + for_s
    meanwhile = [here.submit(wants(), length_s=30.0) for _ in range(20)]
    here.run(for_s - 10.0)
    assert text in here.state.queue.error
    assert any(text in warning for warning in judge(here.state, {"queue-sync": 0.0}).warnings)
    assert {here.entry(uuid).state for uuid in meanwhile} == {QUEUED}
    assert (here.entry(long).state, here.entry(short).state) == (RUNNING, COMPLETE)
    assert here.run(10.0 + 11.0, until=lambda: not here.state.queue.error)  # the next poll comes within ten seconds
    assert len(told.about("the queue can be read again")) == 1
    here.until_states(meanwhile, RUNNING, COMPLETE, within_s=120.0)
    here.until_over(within_s=3600.0 + 3 * for_s)
    assert here.journal.of(m.CancelContainer, m.UnlockContainer) == []
    assert {here.entry(uuid).lock_count for uuid in (long, short, *meanwhile)} == {1}
    assert set(here.queue.starts.values()) == {1}
    return here, told


@pytest.mark.parametrize(("status", "text"), OUTAGES, ids=[str(status) for status, _ in OUTAGES])
def test_minutes_without_the_queue_lose_nothing_whatever_it_answers(status, text):
    """Also when the answer looks like a mistake of ours, or is none."""
    through_an_outage(status, text, for_s=300.0)


def test_an_hour_without_the_queue_loses_nothing_and_ends_at_once():
    """The log says it a dozen times, health all the time, and the queue is not asked more often than each ten seconds."""
    here, told = through_an_outage(503, "HTTP 503: no reason given", for_s=3600.0)
    during = [at_s for at_s in here.journal.times(m.PollQueue) if 60.0 < at_s < 3600.0]
    assert 100 < len(during) < 400
    assert 5 < len(told.about("the queue cannot be read")) < 20


class Told:
    """The sentences of the log."""

    def __init__(self, here: Town) -> None:
        self.texts: list[str] = []
        note = here.note

        def heard(dispatcher, before, after, message):
            note(dispatcher, before, after, message)
            self.texts += [one.text for one in narrate(before, after, message, here.clock.now_s)]

        here.note = heard

    def about(self, words: str) -> list[str]:
        return [text for text in self.texts if text.startswith(words)]


# ------------------------------------------------------------------------------------------------- answers that are unusual


def test_12_26_a_lock_that_is_refused_is_not_tried_again_at_each_pass():
    """Somebody else has locked them: one question each, then the records are read together, and nobody asks again.

    Regression of 12.26: each pass of the scheduler tried the lock again until the next poll."""
    here = town(offer("b4", 4), poll_interval_s=600.0)
    others = [here.submit(wants()) for _ in range(4)]
    mine = here.submit(wants(), priority=1)
    assert here.run(60.0, until=lambda: len(here.state.containers) == 5)
    for uuid in others:
        here.entry(uuid).state, here.entry(uuid).locked_by = LOCKED, "zzzzz-gj3su-anotherdispatch"
    here.until_states([mine], RUNNING)
    here.run(300.0)
    asked = Counter(message.uuid for message in here.journal.of(m.LockContainer))
    assert asked == dict.fromkeys((*others, mine), 1)
    assert sum(uuid in message.uuids for message in here.journal.of(m.ReadContainers) for uuid in others) <= 8
    assert not set(others) & set(here.state.containers)
    here.check()


def test_12_28_a_thousand_small_containers_are_seen_at_once():
    """Not a hundred with each poll.

    Regression of 12.28: a batch drained by windows of a hundred, one each ten seconds."""
    here = town(offer("b4", 4), max_instances=3)
    for _ in range(1000):
        here.submit(wants())
    assert here.run(3.0, until=lambda: len(here.state.containers) == 1000)
    assert here.run(3.0, until=lambda: all(c.fit is not None for c in here.state.containers.all()))


def test_12_9_the_records_of_newcomers_take_one_request_and_no_lock():
    """A hundred new containers are read by one question, outside the lock, while everything else goes on.

    Regression of 12.9: the mounts of each were fetched one after the other, and the queue was locked all the while."""
    here = town(offer("b4", 4), max_instances=3)
    here.run(20.0)
    before, uuids = len(here.journal.of(m.ReadContainers)), [here.submit(wants()) for _ in range(100)]
    assert here.run(15.0, until=lambda: all((c := here.state.containers.get(uuid)) and c.fit for uuid in uuids))
    assert len(here.journal.of(m.ReadContainers)) - before <= 1
    here.check()


def test_12_28_types_are_chosen_again_when_the_configuration_changes():
    """A container that waits for a type without capacity runs on the one that the site adds, without a restart."""
    knobs = StubKnobs.kind(boot_s=10.0, capacity_by_type={"g8": 0})
    here = Town(settings(offer("g8", 8)), seed=1, knobs=knobs)
    here.start_dispatcher()
    uuid = here.submit(wants(8), length_s=5.0)
    here.run(120.0)
    assert here.is_state(uuid, QUEUED)
    assert here.container(uuid).fit.types == ("g8",)
    here.reload(settings(offer("g8", 8), offer("h8", 8)))
    here.until_states([uuid], COMPLETE, within_s=120.0)
    here.until_over()


def test_a_priority_of_0_changes_no_state_and_is_acted_on():
    """The service only sets the number: what waits is let alone, what is locked is unlocked, what runs is stopped."""
    here = town(offer("b4", 4), max_instances=1, probe_interval_s=5.0)
    runs = here.submit(wants(4), length_s=5000.0, priority=3)
    here.until_states([runs], RUNNING)
    waiting = here.submit(wants(4))
    here.run(15.0)
    here.entry(waiting).priority = here.entry(runs).priority = 0
    assert here.run(60.0, until=lambda: waiting not in here.state.containers)
    here.until_states([runs], CANCELLED, within_s=60.0)
    assert here.is_state(waiting, QUEUED)
    boots = here.submit(wants(4), length_s=5.0)
    assert here.run(600.0, until=lambda: here.is_state(boots, LOCKED, RUNNING))
    here.entry(boots).priority = 0
    here.run(120.0)
    assert here.entry(boots).state in (CANCELLED, QUEUED)
    assert here.entry(waiting).lock_count == 0
    here.check()


def test_containers_that_a_list_leaves_out_are_asked_for_and_not_lost():
    """Each list lacks a third of what it should show, for ten minutes: whoever is missing is read by uuid, and nothing ends."""
    here = town(offer("b4", 4), max_instances=3, probe_interval_s=5.0)
    uuids = [here.submit(wants(), length_s=300.0) for _ in range(30)]
    here.queue.knobs.short_poll_rate = 1.0
    here.run(600.0)
    assert here.queue.faults["poll: short"] > 100
    assert sum(here.is_state(uuid, RUNNING, COMPLETE) for uuid in uuids) >= 12
    here.queue.knobs.short_poll_rate = 0.0
    here.until_states(uuids, COMPLETE, within_s=2000.0)
    assert here.journal.of(m.CancelContainer, m.UnlockContainer, m.KillProcess) == []
    assert set(here.queue.starts.values()) == {1}
    here.check()


def test_a_container_that_was_deleted_is_dropped_by_the_answer_about_its_uuid():
    """It is missing from the list, and only then asked for; the empty answer is the proof."""
    here = town(offer("b4", 4), max_instances=1)
    busy, gone = here.submit(wants(4), length_s=900.0, priority=3 << 50), here.submit(wants())
    here.until_states([busy], RUNNING)
    assert gone in here.state.containers
    before = len(here.journal.of(m.ReadContainers))
    del here.queue.entries[gone]
    assert here.run(30.0, until=lambda: gone not in here.state.containers)
    asked = [message.uuids for message in here.journal.of(m.ReadContainers)[before:]]
    assert asked == [(gone,)]
    here.check()
