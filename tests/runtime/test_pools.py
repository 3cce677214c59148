"""Lanes: bounded, in order, no job behind a busy thread without need, and nothing that a job does ends a lane."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import CataloguePart, DestroyCause
from dispatcher.core.transitions import INTENTS, WITHOUT_EFFECT
from dispatcher.runtime.pools import LANES, MOST_HUNG, WITH_EFFECT, Lane, Lanes, lane_of
from tests.runtime.states import instance, leading, uuid

PATIENCE_S = 30.0


class Gate:
    """A job that waits until it is let through."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)


def ended(lane: Lane) -> bool:
    lane.close()
    return lane.join(lambda: PATIENCE_S)


class Crowd:
    """Jobs that meet: how many there are at once."""

    def __init__(self) -> None:
        self.lock, self.now, self.most = threading.Lock(), 0, 0
        self.came, self.go = threading.Semaphore(0), threading.Event()

    def __call__(self) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.came.release()
        assert self.go.wait(PATIENCE_S)
        with self.lock:
            self.now -= 1


# -------------------------------------------------------------------------------------------------------------------- lane


def test_a_lane_runs_no_more_than_its_size() -> None:
    """However many jobs there are; and as many as it may."""
    lane, crowd = Lane("trial", 3), Crowd()
    for _ in range(10):
        lane.submit(crowd)
    for _ in range(3):
        assert crowd.came.acquire(timeout=PATIENCE_S)
    assert lane.waiting() == 7
    crowd.go.set()
    for _ in range(7):
        assert crowd.came.acquire(timeout=PATIENCE_S)
    assert ended(lane)
    assert crowd.most == 3


def test_jobs_run_in_order() -> None:
    """First come, first served."""
    lane, done, order = Lane("trial", 1), threading.Event(), list[int]()
    for number in range(50):
        lane.submit(lambda number=number: order.append(number))  # type: ignore[misc]
    lane.submit(done.set)
    assert done.wait(PATIENCE_S)
    assert order == list(range(50))
    assert ended(lane)


def test_no_job_waits_behind_a_busy_thread_while_another_may_start() -> None:
    """Also when the busy one was idle a moment ago."""
    for _ in range(200):
        lane, gate, done = Lane("trial", 2), Gate(), threading.Event()
        lane.submit(lambda: None)
        lane.submit(gate)
        lane.submit(done.set)
        assert done.wait(PATIENCE_S)
        gate.opened.set()
        assert ended(lane)


def test_idle_threads_are_used_again() -> None:
    """One after the other needs a few threads, not one each."""
    lane, threads = Lane("trial", 1000), set[str]()
    for _ in range(300):
        done = threading.Event()

        def job(done: threading.Event = done) -> None:
            threads.add(threading.current_thread().name)
            done.set()

        lane.submit(job)
        assert done.wait(PATIENCE_S)
    assert len(threads) < 100
    assert ended(lane)


def fail() -> None:
    raise ValueError("a bug")


def leave() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("bug", [fail, leave])
def test_a_bug_of_a_job_does_not_end_its_lane(bug: Callable[[], None], caplog: pytest.LogCaptureFixture) -> None:
    """Not even one that would end a thread without a word."""
    lane, done = Lane("trial", 1), threading.Event()
    lane.submit(bug)
    lane.submit(done.set)
    assert done.wait(PATIENCE_S)
    assert "lane trial: a bug" in caplog.text
    assert ended(lane)


# --------------------------------------------------------------------------------------------------------------------- end


def test_a_close_drops_what_waits_and_lets_end_what_runs() -> None:
    """And nothing is taken any more."""
    lane, gate, ran = Lane("trial", 1), Gate(), list[int]()
    lane.submit(gate)
    lane.submit(lambda: ran.append(1))
    assert gate.reached.wait(PATIENCE_S)
    lane.close()
    lane.submit(lambda: ran.append(2))
    assert not lane.join(lambda: 0.0)
    gate.opened.set()
    assert lane.join(lambda: PATIENCE_S)
    assert ran == []
    assert lane.waiting() == 0


def test_a_close_may_meet_jobs_that_are_just_taken() -> None:
    """Threads and the close reach for the same jobs: no one is in the other's way."""
    for _ in range(50):
        lane = Lane("trial", 4)
        for _ in range(40):
            lane.submit(lambda: None)
        assert ended(lane)


def test_a_lane_that_never_had_a_job_ends_at_once() -> None:
    """It has no thread."""
    assert ended(Lane("trial", 2))


# -------------------------------------------------------------------------------------------------------------------- hung


def test_a_thread_that_hangs_is_replaced_until_it_comes_back() -> None:
    """Jobs that wait are taken at once; afterwards the lane is as narrow as before."""
    lane, gate, done = Lane("trial", 1), Gate(), threading.Event()
    lane.submit(gate)
    assert gate.reached.wait(PATIENCE_S)
    lane.submit(done.set)
    lane.widen()
    assert done.wait(PATIENCE_S)
    gate.opened.set()
    lane.narrow()
    crowd = Crowd()
    crowd.go.set()
    for _ in range(20):
        lane.submit(crowd)
    for _ in range(20):
        assert crowd.came.acquire(timeout=PATIENCE_S)
    assert crowd.most <= 2  # the one that came back may still have taken one
    assert ended(lane)


def test_threads_that_hang_do_not_grow_in_number_without_end() -> None:
    """A driver whose every call hangs must not take the host with it: then the jobs wait."""
    lane, crowd = Lane("trial", 1), Crowd()
    for _ in range(10):
        lane.submit(crowd)
        lane.widen()
    for _ in range(1 + MOST_HUNG):
        assert crowd.came.acquire(timeout=PATIENCE_S)
    assert lane.waiting() == 10 - (1 + MOST_HUNG)
    crowd.go.set()
    assert ended(lane)
    assert crowd.most == 1 + MOST_HUNG


# ------------------------------------------------------------------------------------------------------------------- lanes

PROBE = m.ProbeInstance(name="i1")
LANE_OF: list[tuple[m.Action, str]] = [
    (m.PollQueue(), "poll"),
    (m.ReadContainers(uuids=(uuid(1),)), "details"),
    (m.LockContainer(uuid=uuid(1), instance="i1"), "locks"),
    (m.UnlockContainer(uuid=uuid(1), reason="r"), "writes"),
    (m.CancelContainer(uuid=uuid(1), error="e"), "writes"),
    (m.ListInstances(), "list"),
    (m.ReadCatalogue(part=CataloguePart.TYPES), "catalogue"),
    (m.CreateInstance(name="i1", instance_type="small", secret="s"), "create"),
    (m.PollCreate(name="i1"), "create"),
    (m.DestroyInstance(name="i1", cause=DestroyCause.IDLE, reason="r"), "destroy"),
    (m.RemoveInstance(name="i1"), "destroy"),
    (m.SaveTags(name="i1"), "tags"),
    (m.DeleteLeftover(id="d1"), "leftovers"),
    (PROBE, "probe"),
    (m.StartContainer(uuid=uuid(1), instance="i1"), "start"),
    (m.KillProcess(name="i1", uuid=uuid(1), signal=15, reason="r"), "start"),
    (m.FetchOutput(name="i1", uuid=uuid(1)), "output"),
]


@pytest.mark.parametrize(("action", "lane"), LANE_OF, ids=lambda value: type(value).__name__)
def test_each_act_has_its_lane(action: m.Action, lane: str) -> None:
    """So that no kind of act waits behind another."""
    assert lane_of(action, leading(instance())) == lane
    assert lane in LANES


def test_every_act_that_is_performed_has_a_lane() -> None:
    """The table above misses none."""
    performed = set(INTENTS) - set(WITHOUT_EFFECT)
    assert {type(action) for action, _ in LANE_OF} == performed


@pytest.mark.parametrize(("failures", "lane"), [(0, "probe"), (2, "probe"), (3, "failing probe"), (50, "failing probe")])
def test_instances_that_fail_keep_to_their_own_lane(failures: int, lane: str) -> None:
    """An outage of many delays no healthy one."""
    assert lane_of(PROBE, leading(instance(probe_failures=failures))) == lane


def test_lanes_with_an_effect_are_waited_for_at_a_stop() -> None:
    """What only asks can be asked again: polls, reads, lists, the catalogue, probes and outputs."""
    assert set(LANES) - set(WITH_EFFECT) == {"poll", "details", "list", "catalogue", "probe", "failing probe", "output"}


class Busy:
    """Lanes whose every act waits at its gate."""

    def __init__(self) -> None:
        self.state = leading(instance())
        self.gates: dict[int, Gate] = {}
        self.performed: list[tuple[m.Action, int]] = []
        self.lanes = Lanes(self._perform, lambda: self.state)

    def _perform(self, action: m.Action, term: int) -> None:
        self.performed.append((action, term))
        self.gates[id(action)]()

    def dispatch(self, action: m.Action) -> Gate:
        gate = self.gates[id(action)] = Gate()
        self.lanes.dispatch(action, 1)
        return gate

    def end(self) -> bool:
        for gate in self.gates.values():
            gate.opened.set()
        self.lanes.close()
        return self.lanes.join(lambda: PATIENCE_S)


def test_an_act_that_is_given_up_frees_its_lane() -> None:
    """The poll's lane has one thread; the next poll does not wait for one that hangs."""
    busy = Busy()
    first, second = m.PollQueue(), m.PollQueue()
    assert busy.dispatch(first).reached.wait(PATIENCE_S)
    waiting = busy.dispatch(second)
    assert busy.lanes.waiting()["poll"] == 1
    busy.lanes.give_up(first)
    assert waiting.reached.wait(PATIENCE_S)
    assert busy.end()
    assert busy.performed == [(first, 1), (second, 1)]


def test_an_act_that_comes_back_gives_its_thread_back() -> None:
    """Else each late answer would leave the lane wider."""
    busy = Busy()
    for _ in range(3):
        late = m.PollQueue()
        gate = busy.dispatch(late)
        assert gate.reached.wait(PATIENCE_S)
        busy.lanes.give_up(late)
        gate.opened.set()
        next_one = busy.dispatch(m.PollQueue())
        assert next_one.reached.wait(PATIENCE_S)
        next_one.opened.set()
    crowd = [busy.dispatch(m.PollQueue()) for _ in range(4)]
    assert crowd[0].reached.wait(PATIENCE_S)
    for _ in range(20):  # time enough for threads that should not be there
        other = busy.dispatch(m.ListInstances())
        assert other.reached.wait(PATIENCE_S)
        other.opened.set()
    assert busy.lanes.waiting()["poll"] == 3
    assert busy.end()


def test_it_is_the_lane_in_which_the_act_runs_that_gets_a_thread() -> None:
    """Whatever lane it would have by now."""
    busy = Busy()
    hanging = [busy.dispatch(m.ProbeInstance(name="i1")) for _ in range(LANES["probe"])]
    assert all(gate.reached.wait(PATIENCE_S) for gate in hanging)
    last = busy.dispatch(PROBE)
    busy.state = leading(instance(probe_failures=9))
    busy.lanes.give_up(busy.performed[0][0])
    assert last.reached.wait(PATIENCE_S)
    assert busy.end()


def test_an_act_that_has_ended_cannot_be_given_up() -> None:
    """Its lane stays as it is."""
    busy = Busy()
    action = m.PollQueue()
    busy.dispatch(action).opened.set()
    blocked = busy.dispatch(m.PollQueue())
    assert blocked.reached.wait(PATIENCE_S)
    busy.lanes.give_up(action)
    third = busy.dispatch(m.PollQueue())
    assert busy.lanes.waiting()["poll"] == 1
    blocked.opened.set()
    assert third.reached.wait(PATIENCE_S)
    assert busy.end()


def test_lanes_may_be_waited_for_by_name() -> None:
    """A list that hangs holds up nobody who waits for writes."""
    busy = Busy()
    assert busy.dispatch(m.ListInstances()).reached.wait(PATIENCE_S)
    busy.lanes.close()
    assert busy.lanes.join(lambda: PATIENCE_S, WITH_EFFECT)
    assert not busy.lanes.join(lambda: 0.0)
    assert busy.end()
