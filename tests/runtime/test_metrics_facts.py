"""Facts read off changes of State: each counted once, later, and without trouble for the store that told them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.maps import Map
from dispatcher.core.model import ContainerState, Destroy, DestroyCause, Instance, Phase, ProcessPhase, State
from dispatcher.meters import catalogue as c
from dispatcher.runtime.metrics.facts import SERIES, WAITING, Recorder, boot_outcome
from dispatcher.runtime.store import Store
from tests.core import build
from tests.runtime.states import Clock

CREATING, BOOTING, UNKNOWN, READY, SHUTDOWN = Phase.CREATING, Phase.BOOTING, Phase.UNKNOWN, Phase.READY, Phase.SHUTDOWN


def one(phase: Phase, **more: Any) -> Instance:
    return build.instance("i1", phase, **more)


def going(cause: DestroyCause, **more: Any) -> Instance:
    """Destroyed for this cause before it was ever ready."""
    destroy = Destroy(cause=cause, reason="because", since_s=980.0)
    return one(SHUTDOWN, ready_s=None, destroy=destroy, **more)


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (None, one(CREATING), None),
        (None, one(UNKNOWN), None),
        (None, going(DestroyCause.OPERATOR), "aborted"),  # found while the cloud was deleting it already
        (one(CREATING), one(BOOTING), None),
        (one(CREATING), None, None),  # refused: there never was one
        (one(BOOTING), one(READY), "success"),
        (one(UNKNOWN), one(READY), "success"),
        (one(BOOTING), going(DestroyCause.BOOT_TIMEOUT), "failure"),
        (one(BOOTING), going(DestroyCause.CREATE_FAILED), "failure"),
        (one(BOOTING), going(DestroyCause.DRAINED, broken=True), "failure"),
        (one(BOOTING), going(DestroyCause.DRAINED), "aborted"),
        (one(UNKNOWN), going(DestroyCause.OPERATOR), "aborted"),
        (one(BOOTING), None, "disappeared"),
        (one(UNKNOWN), None, "disappeared"),
        (one(READY), one(SHUTDOWN), None),  # its boot was over
        (one(READY), None, None),
        (going(DestroyCause.BOOT_TIMEOUT), None, None),
    ],
)
def test_a_boot_ends_once(before: Instance | None, after: Instance | None, outcome: str | None) -> None:
    """Success, failure, aborted or disappeared, by the change that ended it."""
    assert boot_outcome(before, after) == outcome


def with_instances(*instances: Instance) -> State:
    return replace(build.state(), instances=Map((each.name, each) for each in instances))


def test_a_change_is_looked_at_later_and_not_by_who_told_it() -> None:
    """Under the store's lock it is only put aside."""
    recorder = Recorder(Clock())
    recorder.hear(with_instances(one(BOOTING)), with_instances(one(READY)), m.ListEnded(began_s=0.0, complete=True))
    assert recorder.waiting() == 1
    assert recorder.board.value(c.BOOT_OUTCOMES, "success") == 0
    recorder.catch_up()
    assert recorder.waiting() == 0
    assert recorder.board.value(c.BOOT_OUTCOMES, "success") == 1


def test_what_changes_no_instance_and_no_container_is_not_even_put_aside() -> None:
    """Nor is the mere beginning of an observation."""
    recorder, state = Recorder(Clock()), build.state(build.instance())
    recorder.hear(state, replace(state, version=9), m.QueueHinted())
    recorder.hear(state, with_instances(one(READY)), m.ProbeInstance(name="i1"))
    assert recorder.waiting() == 0


def test_when_too_many_wait_neighbours_are_merged_and_no_fact_is_lost() -> None:
    """The first State and the last one of a run are kept: a thousand instances that became ready are a thousand."""
    recorder = Recorder(Clock())
    before = with_instances(*(one(BOOTING) for _ in range(1)))
    many = [build.instance(f"n{number}", BOOTING) for number in range(WAITING + 500)]
    state = with_instances(*many)
    recorder.hear(before, state, m.QueueHinted())
    for each in many:
        ready = replace(each, phase=READY, ready_s=1000.0)
        after = replace(state, instances=state.instances.set(each.name, ready))
        recorder.hear(state, after, m.QueueHinted())
        state = after
    assert recorder.waiting() == WAITING
    recorder.catch_up()
    assert recorder.board.value(c.BOOT_OUTCOMES, "success") == len(many)




def test_a_bug_in_counting_is_counted_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The next change is counted as ever."""
    recorder = Recorder(Clock())
    odd = replace(one(READY), destroy="no destroy at all")  # type: ignore[arg-type]
    recorder.hear(with_instances(odd), with_instances(), m.QueueHinted())
    recorder.hear(with_instances(one(BOOTING)), with_instances(one(READY)), m.QueueHinted())
    recorder.catch_up()
    assert recorder.bugs == 1
    assert recorder.board.value(c.BOOT_OUTCOMES, "success") == 1
    assert "could not be counted" in caplog.text


def test_the_store_tells_it_every_change() -> None:
    """As the daemon wires them: an event goes into the store, and the fact is there."""
    clock = Clock()
    recorder = Recorder(clock)
    store = Store(build.state(build.instance("i1", BOOTING, ready_s=None)), clock.monotonic, listener=recorder.hear)
    report = m.ProbeReport(reached=True, booted=True, processes=frozenset())
    clock.now_s = 1000.0
    store.post(m.Probed(name="i1", began_s=999.0, report=report))
    recorder.catch_up()
    assert recorder.board.value(c.BOOT_OUTCOMES, "success") == 1


def test_a_create_that_came_to_nothing_cost_its_time() -> None:
    """Refused after 5 s, and accepted and failed after 30 s: 35 s of failing, by instance type."""
    clock = Clock(now_s=105.0)
    recorder = Recorder(clock)
    recorder.hear(with_instances(one(CREATING)), with_instances(), m.QueueHinted())
    clock.now_s = 130.0
    late = one(BOOTING)
    recorder.hear(with_instances(late), with_instances(replace(late, failure="no capacity after all")), m.QueueHinted())
    recorder.catch_up()
    assert recorder.board.value(c.CREATE_FAILING, "t4") == 35.0


def test_a_start_whose_answer_was_lost_counts_when_a_probe_finds_it() -> None:
    """Uncertain first, running later: one start. What a restart finds running was not started by us."""
    clock = Clock(now_s=1000.0)
    recorder = Recorder(clock)
    there = build.container()
    uncertain = one(READY, processes={build.C1: build.process(build.C1, ProcessPhase.UNCERTAIN)})
    runs = one(READY, processes={build.C1: build.process(build.C1)})
    before = replace(build.state(there), instances=Map([("i1", uncertain)]))
    after = replace(before, instances=Map([("i1", runs)]))
    recorder.hear(before, after, m.QueueHinted())
    recorder.hear(replace(before, instances=Map([("i1", one(READY))])), after, m.QueueHinted())
    recorder.catch_up()
    assert recorder.board.value(c.RUNNABLE_TO_STARTED) == 1


def test_every_series_that_is_read_off_changes_is_in_the_catalogue() -> None:
    """And so in docs/metrics.md."""
    assert set(SERIES) <= set(c.SERIES)


@pytest.mark.parametrize(("failed_attempts", "counted"), [(0, 1), (1, 0)])
def test_only_the_first_lock_tells_how_long_a_container_waited_for_it(failed_attempts: int, counted: int) -> None:
    """After a failed attempt the wait is ours."""
    recorder = Recorder(Clock(now_s=1000.0))
    queued = build.container(failed_attempts=failed_attempts)
    locked = replace(queued, state=ContainerState.LOCKED, ours=True)
    recorder.hear(build.state(queued), build.state(locked), m.QueueHinted())
    recorder.catch_up()
    assert recorder.board.value(c.SEEN_TO_LOCKED) == counted


def test_a_container_is_lost_once() -> None:
    """Whatever else changes about it afterwards."""
    recorder = Recorder(Clock())
    there, lost = build.container(), build.container(lost="it disappeared")
    recorder.hear(build.state(there), build.state(lost), m.QueueHinted())
    recorder.hear(build.state(lost), build.state(replace(lost, priority=7)), m.QueueHinted())
    recorder.catch_up()
    assert recorder.board.value(c.CONTAINERS_LOST) == 1
