"""The store: one lock, small slices, nobody who waits is forgotten, and one bad act keeps none of the others."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import HoldoffKind, State
from dispatcher.runtime.store import REFUSALS_KEPT, PlannerBug, Store
from tests.runtime.states import Clock, instance, leading, uuid

PATIENCE_S = 20.0
LONG_S = 600.0  # who waits for so long was forgotten


def store(state: State, clock: Clock | None = None, **more: Any) -> Store:
    return Store(state, (clock or Clock(step_s=1.0)).monotonic, **more)


def probes(*numbers: int) -> list[m.Action]:
    return [m.ProbeInstance(name=f"i{number}") for number in numbers]


class Unheard(m.Action):
    """An action that the core does not know: a bug wherever it goes."""


# ------------------------------------------------------------------------------------------------------------------ waiting


def test_no_change_is_missed_by_who_waits() -> None:
    """Many threads post while one waits for each change: it is woken by the changes, never by the end of its time."""
    shared = store(leading())
    begun = threading.Event()

    def wait_for_all() -> None:
        counts = shared.counts(("queue",))
        while counts != (400,):
            begun.set()
            shared.wait(("queue",), counts, LONG_S)
            counts = shared.counts(("queue",))

    waiter = threading.Thread(target=wait_for_all, daemon=True)
    waiter.start()
    assert begun.wait(PATIENCE_S)
    posters = [
        threading.Thread(target=lambda: [shared.post(m.QueueHinted()) for _ in range(100)], daemon=True) for _ in range(4)
    ]
    for poster in posters:
        poster.start()
    for poster in posters:
        poster.join(PATIENCE_S)
    waiter.join(PATIENCE_S)
    assert not waiter.is_alive(), "it still waits"


def test_what_changed_before_the_wait_ends_it_at_once() -> None:
    """The counts are taken before the look, so a change during the look is not lost."""
    shared = store(leading())
    counts = shared.counts(("queue",))
    shared.post(m.QueueHinted())
    assert shared.wait(("queue",), counts, PATIENCE_S)


TOPICS = [(("queue",), True), (("instances", "queue"), True), (("instances", "cloud"), False), ((), False)]


@pytest.mark.parametrize(("topics", "woken"), TOPICS)
def test_only_its_own_topics_wake_a_waiter(topics: tuple[str, ...], woken: bool) -> None:
    """A change of the queue concerns who named the queue."""
    shared = store(leading())
    counts = shared.counts(topics)
    shared.post(m.QueueHinted())
    assert shared.wait(topics, counts, 0.0) is woken


def test_a_stop_wakes_everybody() -> None:
    """Whatever they wait for, and however long they would have."""
    shared = store(leading())
    woken: list[bool] = []
    waiters = [
        threading.Thread(target=lambda: woken.append(shared.wait(("queue",), (0,), LONG_S)), daemon=True) for _ in range(5)
    ]
    for waiter in waiters:
        waiter.start()
    shared.stop()
    for waiter in waiters:
        waiter.join(PATIENCE_S)
    assert woken == [False] * 5
    assert not shared.wait(("queue",), (0,), LONG_S)


# ----------------------------------------------------------------------------------------------------------------- listener


@dataclass
class Heard:
    """A listener that takes note."""

    changes: list[tuple[State, State, Any]] = field(default_factory=list)

    def __call__(self, before: State, after: State, message: Any) -> None:
        self.changes.append((before, after, message))


def test_the_listener_hears_every_change_in_order() -> None:
    """From many threads: each change begins where the one before it ended."""
    heard = Heard()
    shared = store(leading(), listener=heard)
    threads = [threading.Thread(target=lambda: [shared.post(m.QueueHinted()) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(heard.changes) == 200
    assert all(first[1] is second[0] for first, second in itertools.pairwise(heard.changes))
    assert heard.changes[-1][1] is shared.snapshot()


def test_what_says_nothing_new_is_not_told() -> None:
    """An event about somebody who is gone changes nothing: same State, no topic, no word."""
    heard = Heard()
    shared = store(leading(), listener=heard)
    before = shared.snapshot()
    shared.post(m.ContainerKillRequested(uuid=uuid(1), reason="r"))
    assert shared.snapshot() is before
    assert heard.changes == []


def test_acts_and_events_are_told_alike() -> None:
    """The intent, then what came of it."""
    heard = Heard()
    shared = store(leading(instance()), listener=heard)
    seen = shared.snapshot()
    shared.commit(probes(1), seen)
    report = m.ProbeReport(reached=True, processes=frozenset())
    shared.post(m.Probed(name="i1", began_s=1.0, report=report))
    assert [type(change[2]) for change in heard.changes] == [m.ProbeInstance, m.Probed]


# ------------------------------------------------------------------------------------------------------------------ commits


def test_a_commit_records_the_intent() -> None:
    """What is accepted is under way in State before anybody performs it."""
    shared = store(leading(instance("i1"), instance("i2")))
    accepted = shared.commit(probes(1, 2), shared.snapshot())
    assert accepted == probes(1, 2)
    assert all(each.probing for each in shared.snapshot().instances.all())


def test_what_is_no_longer_legal_is_left_to_the_next_plan() -> None:
    """Somebody was quicker: that is no bug, and the others are accepted."""
    shared = store(leading(instance("i1"), instance("i2")), strict=True)
    seen = shared.snapshot()
    shared.commit(probes(1), seen)
    assert shared.commit(probes(1, 2), seen) == probes(2)
    assert shared.planner_bugs == 0
    assert dict(shared.refusals) == {"ProbeInstance: a probe is on its way": 1}


def test_a_plan_that_was_never_legal_is_counted() -> None:
    """In production it is a number, with the reason; the others are accepted."""
    shared = store(leading(instance("i1")))
    assert shared.commit(probes(9, 1), shared.snapshot()) == probes(1)
    assert (shared.planner_bugs, shared.last_bug) == (1, "ProbeInstance: it has no address")


def test_a_plan_that_was_never_legal_fails_a_strict_store() -> None:
    """In tests and in the simulation it ends the run."""
    shared = store(leading(instance("i1")), strict=True)
    with pytest.raises(PlannerBug, match="it has no address"):
        shared.commit(probes(9), shared.snapshot())


def test_a_bug_at_the_start_of_one_act_keeps_none_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """What was accepted before it has to be performed: its intent is recorded."""
    shared = store(leading(instance("i1"), instance("i2")))
    first, last = probes(1, 2)
    assert shared.commit([first, Unheard(), last], shared.snapshot()) == [first, last]
    assert (shared.planner_bugs, shared.last_bug) == (1, "Unheard: KeyError")
    assert "a bug at the start of Unheard" in caplog.text


def test_a_bug_at_the_start_of_an_act_fails_a_strict_store() -> None:
    """As a plan does that was never legal."""
    shared = store(leading(), strict=True)
    with pytest.raises(KeyError):
        shared.commit([Unheard()], shared.snapshot())


def test_reasons_without_end_are_not_kept_without_end() -> None:
    """A cloud names each request by a number of its own; nothing grows with the number of requests."""
    shared = store(leading())
    create = m.CreateInstance(name="new", instance_type="small", secret="s")
    for number in range(REFUSALS_KEPT + 50):
        failure = m.CloudFailure(text=f"request {number} refused", kind=HoldoffKind.QUOTA, retry_after_s=600.0)
        shared.post(m.CreateFailed(name="other", failure=failure))
        assert shared.commit([create], shared.snapshot()) == []
    assert len(shared.refusals) == REFUSALS_KEPT + 1
    assert shared.refusals["CreateInstance: for other reasons"] == 50


# ------------------------------------------------------------------------------------------------------------------- slices


@dataclass
class Spent:
    """Thread time that goes on with each look: one act fills a slice."""

    at_s: float = 0.0

    def __call__(self) -> float:
        self.at_s += 0.0015
        return self.at_s


def lands_in_the_middle() -> bool:
    """Whether an event that is posted while a commit of many acts goes on is taken in before its end."""
    heard = Heard()
    begun = threading.Event()

    def listener(before: State, after: State, message: Any) -> None:
        heard(before, after, message)
        begun.set()

    shared = store(leading(*(instance(f"i{number}") for number in range(500))), listener=listener, spent=Spent())

    def interrupt() -> None:
        begun.wait(PATIENCE_S)
        shared.post(m.QueueHinted())

    other = threading.Thread(target=interrupt)
    other.start()
    assert len(shared.commit(probes(*range(500)), shared.snapshot())) == 500
    other.join(PATIENCE_S)
    return not isinstance(heard.changes[-1][2], m.QueueHinted)


def test_a_long_commit_lets_others_in_between_its_slices() -> None:
    """Whether the system runs the other thread in time is chance, so it may try; under one lock it would never happen."""
    assert any(lands_in_the_middle() for _ in range(20))


def test_the_longest_time_under_the_lock_is_that_of_a_slice() -> None:
    """Not of a whole commit: that is what the slices are for."""
    shared = store(leading(*(instance(f"i{number}") for number in range(50))), spent=Spent())
    shared.commit(probes(*range(50)), shared.snapshot())
    assert 0 < shared.longest_s < 0.01
