"""A loop: plan, commit, hand on, wait. A bug of one planner is survived, counted and kept from the others."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import Leadership, State
from dispatcher.runtime.loop import (
    AFTER_BUG_S,
    BORED_S,
    HEARTBEAT_S,
    LONGER,
    REST_S,
    TOGETHER,
    Due,
    Loop,
    LoopSpec,
    Planner,
    next_rest_s,
    rest_after_s,
)
from dispatcher.runtime.loops import loops
from dispatcher.runtime.store import PlannerBug, Store
from dispatcher.runtime.topics import TOPICS
from tests.runtime.states import Clock, instance, leading

PATIENCE_S = 30.0
PROBE = m.ProbeInstance(name="i1")
CONDEMN = m.CondemnInstance(name="i1", reason="broken")


def never(state: State, now: float) -> float:
    return math.inf


def always(*actions: m.Action) -> Planner:
    return lambda state, now: list(actions)


def broken(state: State, now: float) -> list[m.Action]:
    raise LookupError("a container without a name")


class House:
    """A store and one loop on it; what it hands on is kept."""

    def __init__(self, *planners: Planner, state: State | None = None, due: Due = never, strict: bool = False) -> None:
        self.clock = Clock()
        self.store = Store(state or leading(instance()), self.clock.monotonic, strict=strict)
        self.handed: list[tuple[m.Action, int]] = []
        spec = LoopSpec(name="trial", planners=planners, topics=TOPICS, due=due)
        self.loop = Loop(spec, self.store, self.clock, lambda action, term: self.handed.append((action, term)))


# -------------------------------------------------------------------------------------------------------------------- turn


def test_a_turn_plans_commits_and_hands_on() -> None:
    """With the intent recorded first, and the term in which it was planned."""
    house = House(always(PROBE))
    assert house.loop.turn() == 1
    assert house.handed == [(PROBE, 1)]
    assert house.store.snapshot().instances["i1"].probing


def test_the_first_of_many_do_not_wait_for_the_last() -> None:
    """A cloud is asked for the first instances while the intents of the rest are being recorded."""
    fleet = [replace(instance(), name=f"i{number}") for number in range(2 * TOGETHER + 1)]
    house = House(always(*(m.ProbeInstance(name=one.name) for one in fleet)), state=leading(*fleet))
    begun: list[int] = []
    house.loop._dispatch = lambda action, term: begun.append(sum(i.probing for i in house.store.snapshot().instances.values()))
    assert house.loop.turn() == len(fleet)
    assert begun == [TOGETHER] * TOGETHER + [2 * TOGETHER] * TOGETHER + [len(fleet)]


def test_what_is_done_once_it_is_recorded_is_not_handed_on() -> None:
    """There is nothing to perform."""
    house = House(always(CONDEMN, PROBE))
    assert house.loop.turn() == 2
    assert house.handed == [(PROBE, 1)]
    assert house.store.snapshot().instances["i1"].condemned == "broken"


def test_each_planner_sees_what_the_one_before_it_began() -> None:
    """A fresh snapshot for each."""
    seen: list[bool] = []

    def look(state: State, now: float) -> list[m.Action]:
        seen.append(state.instances["i1"].probing)
        return []

    House(always(PROBE), look).loop.turn()
    assert seen == [True]


def test_a_plan_of_an_earlier_term_is_not_performed_in_this_one() -> None:
    """It is handed on with the term that it was made in; who performs it compares."""
    house = House()
    seen = house.store.snapshot()
    house.store.post(m.LeadershipLost())
    house.store.post(m.LeadershipGained())
    house.loop.finish(seen, [m.PollQueue(), PROBE])  # the instance is not known in the new term, the queue always is
    assert house.store.snapshot().leadership.term == 2
    assert house.handed == [(m.PollQueue(), 1)]


def test_a_planner_with_a_bug_stops_none_that_come_after_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback, counted, and shown."""
    house = House(broken, always(PROBE))
    assert house.loop.turn() == 1
    assert house.handed == [(PROBE, 1)]
    assert (house.loop.bugs, house.loop.last_bug) == (1, "LookupError: a container without a name")
    assert "Traceback" in caplog.text


def test_a_turn_is_a_sign_of_life() -> None:
    """Also one in which nothing is to do."""
    house = House(always())
    house.clock.now_s = 250.0
    assert house.loop.turn() == 0
    assert (house.loop.beat_s, house.loop.turns) == (250.0, 1)


def test_a_plan_that_was_never_legal_ends_a_strict_run() -> None:
    """Only where the store is strict: in tests and in the simulation."""
    with pytest.raises(PlannerBug):
        House(always(m.ProbeInstance(name="nobody")), strict=True).loop.turn()


# --------------------------------------------------------------------------------------------------------------------- due

DUE: list[tuple[str, float, int, float]] = [
    ("soon", 102.0, 0, 102.0),
    ("nothing is due", math.inf, 0, 100.0 + HEARTBEAT_S),
    ("far", 1000.0, 1, 100.0 + HEARTBEAT_S),
    ("now, and it began something", 100.0, 1, 100.0),
    ("now, and it could begin nothing", 100.0, 0, 100.0 + BORED_S),
    ("long ago, and it could begin nothing", 5.0, 0, 100.0 + BORED_S),
]


@pytest.mark.parametrize(("name", "due_s", "begun", "expected"), DUE, ids=lambda value: str(value))
def test_when_a_loop_looks_again(name: str, due_s: float, begun: int, expected: float) -> None:
    """Never later than its next heartbeat, and never in a busy circle."""
    assert House(due=lambda state, now: due_s).loop.due_s(begun) == expected


def test_who_does_not_lead_only_shows_that_it_lives() -> None:
    """Whatever seems due."""
    state = replace(leading(), leadership=Leadership(leading=False))
    assert House(state=state, due=lambda state, now: 0.0).loop.due_s(1) == 100.0 + HEARTBEAT_S


# --------------------------------------------------------------------------------------------------------------------- run


class Running:
    """A loop on its own thread, in real time. ``turned`` is set by each turn."""

    def __init__(self, planner: Callable[[], None], due: Due = never) -> None:
        self.house = House(self._plan, due=due)
        self.planner = planner
        self.turned = threading.Event()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.house.loop.run, args=(self.stop,), daemon=True)
        self.thread.start()

    def _plan(self, state: State, now: float) -> list[m.Action]:
        self.turned.set()
        self.planner()
        return []

    def turns(self) -> bool:
        done = self.turned.wait(PATIENCE_S)
        self.turned.clear()
        return done

    def end(self) -> None:
        self.stop.set()
        self.house.store.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


def test_a_change_of_its_topics_wakes_it_and_a_stop_ends_it() -> None:
    """At once: its clock stands still, so nothing is ever due."""
    running = Running(lambda: None)
    assert running.turns()
    for _ in range(3):
        running.house.store.post(m.ContainerKillRequested(uuid="nobody", reason="says nothing"))
        running.house.clock.now_s += 1.0
        running.house.store.post(m.QueueHinted())
        assert running.turns()
    running.end()


def test_it_goes_on_after_a_bug() -> None:
    """After a rest, so that a bug that is always there does not fill the log."""

    def fail() -> None:
        raise ValueError("always")

    assert AFTER_BUG_S >= 1.0
    running = Running(fail, due=lambda state, now: now)
    assert running.turns()
    running.house.clock.now_s += 1.0
    running.house.store.post(m.QueueHinted())
    assert running.turns()
    running.end()
    assert running.house.loop.bugs >= 2


def test_a_due_time_that_cannot_be_told_does_not_end_the_loop() -> None:
    """It is a bug like any other."""

    def no_idea(state: State, now: float) -> float:
        raise ValueError("no idea")

    running = Running(lambda: None, due=no_idea)
    assert running.turns()
    running.house.clock.now_s += 1.0
    running.house.store.post(m.QueueHinted())
    assert running.turns()
    running.end()


# --------------------------------------------------------------------------------------------------------------- the table

TABLE = loops(lambda: ("name", "secret"))


def test_there_are_five_loops() -> None:
    """By their names, which health and logs show."""
    assert [spec.name for spec in TABLE] == ["queue-sync", "scheduler", "next-step", "lifecycle", "prober"]


@pytest.mark.parametrize("spec", TABLE, ids=lambda spec: spec.name)
def test_each_loop_can_look_at_an_empty_house(spec: LoopSpec) -> None:
    """Before anything is known: leading and not; and its topics are ones that exist."""
    assert set(spec.topics) <= set(TOPICS)
    for state in (State(), leading()):
        due_s = spec.due(state, 100.0)
        assert due_s > -math.inf or not state.leadership.leading
        for planner in spec.planners:
            planner(state, 100.0)


RESTS = [
    # (the last rest, for how long nothing happened after it, the longest of this loop, the next rest)
    (REST_S, 1.0, 0.05, REST_S),
    (REST_S, 0.0, 0.05, REST_S * LONGER),
    (0.04, 0.0, 0.05, 0.05),
    (0.05, 0.001, 0.05, 0.05),
    (0.05, REST_S, 0.05, REST_S),  # a pause: the next news are looked at at once
    (REST_S, 0.0, REST_S, REST_S),  # who is in a hurry never rests longer
]


@pytest.mark.parametrize(("rest_s", "quiet_s", "longest_s", "expected_s"), RESTS)
def test_who_is_never_left_in_peace_rests_longer(rest_s: float, quiet_s: float, longest_s: float, expected_s: float) -> None:
    """Up to the longest of its row, and only as long as news never cease."""
    assert next_rest_s(rest_s, quiet_s, longest_s) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    ("worked_s", "took_s", "parts", "expected_s"),
    [
        (0.002, 0.002, 2.0, 0.004),
        (0.002, 0.002, 10.0, 0.02),
        (0.1, 0.1, 10.0, 0.3),
        (1.0, 1.0, 10.0, 2.0),
        (1.0, 1.0, 2.0, 2.0),
        (0.1, 3.0, 5.0, 0.3),  # it stood in line for the lock
    ],
)
def test_a_rest_is_so_many_parts_of_the_work(worked_s: float, took_s: float, parts: float, expected_s: float) -> None:
    """Twice at least, more where nobody is in a hurry, but not for long."""
    assert rest_after_s(worked_s, took_s, parts) == pytest.approx(expected_s)


def test_to_have_waited_is_not_rested_for() -> None:
    """A plan that stood in line for seconds is followed by the next one, which somebody waits for."""
    rests: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(timeout or 0.0)
            self.set()
            return True

    class Clock:
        now_s = 0.0

        def monotonic(self) -> float:
            return self.now_s

    clock = Clock()

    def stands_in_line(state: State, now: float) -> list[m.Action]:
        clock.now_s += 4.0
        return []

    store = Store(leading(), clock.monotonic)
    store.stop()
    spec = LoopSpec(name="trial", planners=(stands_in_line,), topics=("control",), due=never, rest_parts=5.0)
    Loop(spec, store, clock, lambda action, term: None, spent=lambda: 0.01).run(Stop())
    assert rests == [pytest.approx(0.3)]


def test_the_loop_that_starts_containers_never_rests_longer() -> None:
    """A container waits for it; whoever keeps the house may see many news at once."""
    specs = loops(lambda: ("name", "secret"))
    longest, parts = {spec.name: spec.longest_rest_s for spec in specs}, {spec.name: spec.rest_parts for spec in specs}
    assert min(parts, key=parts.__getitem__) == "next-step"
    assert min(longest, key=longest.__getitem__) == "next-step"
    assert longest["next-step"] == REST_S
    assert max(longest.values()) <= 0.1
