"""The status line: off by default, one line when it is due, and what it says."""

from __future__ import annotations

from dataclasses import replace

from states import Clock, container, instance, leading

from dispatcher.core.maps import Map
from dispatcher.core.model import (
    ContainerState,
    Holdoff,
    HoldoffKind,
    IdleBehavior,
    Phase,
    Process,
    ProcessPhase,
    QueueView,
    State,
)
from dispatcher.runtime.status import StatusLine, standing, status

PROCESS = Process(uuid="u", phase=ProcessPhase.RUNNING, since_s=1.0, changed_s=1.0)
HELD = Holdoff(call="create", key="type:small", kind=HoldoffKind.QUOTA, until_s=200.0, since_s=1.0, strikes=1, reason="no")
BUSY = leading(
    container(1),
    container(2, priority=0),
    container(3, state=ContainerState.RUNNING, instance="i1"),
    instance("i1", processes={"u": PROCESS}),
    instance("i2"),
    instance("i3", idle_behavior=IdleBehavior.HOLD),
    instance("i4", phase=Phase.BOOTING, ready_s=None),
    holdoffs=Map([("a", HELD), ("b", replace(HELD, until_s=50.0))]),
)


def every(interval_s: float, state: State = BUSY) -> State:
    return replace(state, settings=replace(state.settings, status_interval_s=interval_s))


def test_what_it_says() -> None:
    """Counts by state, who waits, what is held off now, and the price of everything that exists."""
    told = status(BUSY, 100.0)
    assert told.text == (
        "status: containers: 2 Queued, 1 Running, 1 waiting for a place; instances: 1 booting, 1 hold, 1 idle, 1 running;"
        " held off: create type:small (quota); price per hour: 0.4"
    )
    assert told.fields == {
        "Containers": {"Queued": 2, "Running": 1}, "Waiting": 1, "Holdoffs": ["create type:small (quota)"],
        "Instances": {"booting": 1, "hold": 1, "idle": 1, "running": 1}, "WaitingBeyond": 0, "PricePerHour": 0.4,
    }  # fmt: skip


def test_nothing_to_tell_is_a_line_too() -> None:
    """An empty house says that it is empty."""
    told = status(leading(), 1.0)
    assert told.text.startswith("status: containers: none, 0 waiting for a place; instances: none; held off: nothing;")


def told_at(state: State, *times_s: float) -> list[float]:
    clock = Clock()
    line = StatusLine(lambda: state, clock.monotonic)
    found = []
    for at_s in times_s:
        clock.now_s = at_s
        found += [at_s] * len(line.due())
    return found


def test_it_comes_once_in_each_interval() -> None:
    """The first after a whole one."""
    assert told_at(every(60.0), 100.5, 159.0, 160.0, 161.0, 219.0, 220.5) == [160.0, 220.5]


def test_it_is_off_by_default_and_while_another_leads() -> None:
    """Who waits to lead knows nothing."""
    assert told_at(every(0.0), 160.0, 1000.0) == []
    assert told_at(replace(every(60.0), leadership=State().leadership), 160.0) == []


def test_it_says_how_many_wait_beyond_what_is_read() -> None:
    """As of the last count of the whole queue."""
    told = status(State(queue=QueueView(waiting=50_000)), 0.0)
    assert "0 waiting for a place, 50000 more not read yet" in told.text
    assert told.fields["WaitingBeyond"] == 50_000


def test_how_it_stands_is_what_it_waits_for_or_else_the_counts() -> None:
    """Whoever asks systemd is told first what is in the way."""
    assert standing(BUSY, {}, 100.0) == "starting: no loop runs yet"
    assert standing(BUSY, {"prober": 90.0}, 100.0) == "no sign of life from prober (90 s)"
    waiting = standing(leading(), {"prober": 1.0}, 100.0)
    assert waiting.startswith(("waiting for", "containers: "))
