"""Gauges of one State each: what the flows in virtual time cannot hold still."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.maps import Map
from dispatcher.core.model import (
    NEVER,
    ContainerState,
    Holdoff,
    HoldoffKind,
    IdleBehavior,
    KnownLeftover,
    Leadership,
    OperatorNote,
    Phase,
    State,
)
from dispatcher.driver import Leftover
from dispatcher.runtime.metrics.gauges import gauges
from tests.core import build

NOW_S, WALL_S = 1000.0, 1_800_000_000.0
CREATED_AT = "2027-01-15T07:59:00Z"  # a minute before WALL_S


def told(state: State, name: str, /, **labels: str) -> float:
    families = {family.name: family for family in gauges(state, NOW_S, WALL_S)}
    return next(s.value for s in families[f"arvados_dispatchcloud_{name}"].samples if s.labels == labels)


def holdoff(kind: HoldoffKind, until_s: float, key: str = "*") -> Map[Holdoff]:
    held = Holdoff(call="create", key=key, kind=kind, until_s=until_s, since_s=900.0, strikes=1, reason="no")
    return Map([(f"create {key}", held)])


@pytest.mark.parametrize(
    ("kind", "until_s", "at_quota"),
    [(HoldoffKind.QUOTA, 1060.0, 1), (HoldoffKind.QUOTA, 999.0, 0), (HoldoffKind.CAPACITY, 1060.0, 0)],
)
def test_at_quota_is_a_quota_in_force(kind: HoldoffKind, until_s: float, at_quota: int) -> None:
    """Neither one that has run out, nor a lack of capacity."""
    state = build.state(holdoffs=holdoff(kind, until_s))
    assert told(state, "at_quota") == at_quota
    assert told(state, "holdoffs", call="create", kind=kind.value) == (until_s > NOW_S)
    assert told(state, "holdoff_remaining_seconds", call="create") == max(0.0, until_s - NOW_S)


@pytest.mark.parametrize(
    ("kind", "key", "shut_out"),
    [
        (HoldoffKind.QUOTA, "*", 2),
        (HoldoffKind.QUOTA, "type:t4", 2),
        (HoldoffKind.CAPACITY, "type:t4", 0),
        (HoldoffKind.RATE, "*", 0),
    ],
)
def test_who_is_shut_out_waits_for_a_quota(kind: HoldoffKind, key: str, shut_out: int) -> None:
    """A lack of capacity and a pace are other reasons to wait."""
    waiting = (build.container(build.C1), build.container(build.C2))
    assert told(build.state(*waiting, holdoffs=holdoff(kind, 1060.0, key)), "containers_not_allocated_over_quota") == shut_out


@pytest.mark.parametrize(
    ("phase", "bound", "allocated"),
    [
        (Phase.CREATING, False, 1),
        (Phase.BOOTING, False, 1),
        (Phase.BOOTING, True, 1),
        (Phase.READY, False, 0),
        (Phase.READY, True, 0),
    ],
)
def test_a_place_on_an_instance_that_is_not_ready_is_allocated(phase: Phase, bound: bool, allocated: int) -> None:
    """Whether it is bound to it already, or will be as soon as the cloud has accepted it."""
    more: dict[str, Any] = {"state": ContainerState.LOCKED, "instance": "i1"} if bound else {}
    state = build.state(build.container(**more), build.instance("i1", phase))
    assert told(state, "containers_allocated_not_started") == allocated


@pytest.mark.parametrize(
    ("more", "waits_s"),
    [
        ({"created_at": CREATED_AT}, 60.0),
        ({}, 100.0),  # nobody said when it was made: since it was first seen
        ({"created_at": "some day"}, 100.0),
        ({"created_at": CREATED_AT, "priority": 0}, 0.0),
        ({"created_at": CREATED_AT, "state": ContainerState.RUNNING}, 0.0),
    ],
)
def test_the_longest_wait_is_of_who_is_wanted_and_not_started(more: dict[str, Any], waits_s: float) -> None:
    """From its creation until a runner of it is there."""
    assert told(build.state(build.container(**more)), "containers_longest_wait_time_seconds") == waits_s


@pytest.mark.parametrize(
    ("phase", "behavior", "runs", "category"),
    [
        (Phase.CREATING, IdleBehavior.RUN, False, "booting"),
        (Phase.BOOTING, IdleBehavior.RUN, False, "booting"),
        (Phase.BOOTING, IdleBehavior.HOLD, False, "hold"),
        (Phase.UNKNOWN, IdleBehavior.RUN, False, "unknown"),
        (Phase.UNKNOWN, IdleBehavior.RUN, True, "inuse"),
        (Phase.READY, IdleBehavior.RUN, False, "idle"),
        (Phase.READY, IdleBehavior.DRAIN, False, "idle"),
        (Phase.READY, IdleBehavior.HOLD, False, "hold"),
        (Phase.READY, IdleBehavior.HOLD, True, "inuse"),
        (Phase.SHUTDOWN, IdleBehavior.RUN, False, "idle"),
        (Phase.SHUTDOWN, IdleBehavior.HOLD, False, "hold"),
        (Phase.SHUTDOWN, IdleBehavior.RUN, True, "inuse"),
    ],
)
def test_an_instance_has_one_category(phase: Phase, behavior: IdleBehavior, runs: bool, category: str) -> None:
    """In use, on hold, booting, unknown, idle: the first that applies."""
    running = (build.C1,) if runs else ()
    one = build.instance("i1", phase, *running, idle_behavior=behavior)
    state = replace(build.state(), instances=Map([("i1", one)]))
    assert told(state, "instances_total", category=category, instance_type="t4") == 1
    assert told(state, "instances_price", category=category) == 1.0


def test_what_the_cloud_says_of_its_limits_is_shown() -> None:
    """As the last answer said; nothing is made up where no answer says anything."""
    state = build.after(build.state(), m.CallReported(call="create", calls_remaining=7, limit=10.0, usage=3.0))
    names = ("cloud_calls_left", "cloud_quota_limit", "cloud_quota_usage")
    assert [told(state, name, call="create") for name in names] == [7.0, 10.0, 3.0]
    assert all(math.isnan(told(state, name, call="destroy")) for name in names)


def test_what_was_spent_today_is_shown() -> None:
    """Of what runs, up to this moment."""
    state = build.state(build.instance(price=36.0, paid_since_s=NOW_S - 100.0))
    assert told(state, "spent_today") == pytest.approx(1.0)


@pytest.mark.parametrize(("at", "seconds"), [("2027-01-15T07:59:00Z", 60.0), ("", 900.0), ("not a time", 900.0)])
def test_the_longest_hold_counts_from_when_it_was_chosen(at: str, seconds: float) -> None:
    """As its note says; where none does, since we know the instance."""
    held = build.instance(idle_behavior=IdleBehavior.HOLD, operator=OperatorNote(actor="ada", at=at))
    assert told(build.state(held), "instances_held_longest_seconds") == seconds
    assert told(build.state(build.instance()), "instances_held_longest_seconds") == 0.0


@pytest.mark.parametrize(
    ("phase", "state", "seconds"),
    [(Phase.BOOTING, "booting", 500.0), (Phase.UNKNOWN, "unknown", 500.0), (Phase.SHUTDOWN, "shutdown", 20.0)],
)
def test_what_ought_to_pass_is_shown_with_its_age(phase: Phase, state: str, seconds: float) -> None:
    """A shutdown counts from the decision; an instance that works is in no state that ought to pass."""
    assert told(build.state(build.instance("i1", phase)), "instances_longest_in_state_seconds", state=state) == seconds
    assert told(build.state(build.instance()), "instances_longest_in_state_seconds", state=state) == 0.0


@pytest.mark.parametrize("name", ["cloud_list_age_seconds", "queue_poll_age_seconds"])
def test_how_long_nothing_was_seen_counts_for_who_leads(name: str) -> None:
    """Also when nothing was ever seen; a dispatcher that only waits to lead looks at nothing."""
    seen = build.state()
    never = replace(seen, queue=replace(seen.queue, polled_s=NEVER), cloud=replace(seen.cloud, listed_s=NEVER))
    assert (told(seen, name), told(never, name)) == (10.0, NOW_S)
    assert told(replace(never, leadership=Leadership(leading=False, since_s=0.0)), name) == 0.0


def test_suspects_are_counted() -> None:
    """What the destroy guard keeps, runners that cannot be killed, leftovers, and records that nobody understands."""
    leftover = KnownLeftover(leftover=Leftover("nic", "nic"), first_s=400.0)
    cloud = {"guarded_destroys": (990.0,) * 5, "leftovers": {"nic": leftover}}
    gone_dark = build.instance("i1", silent_s=9999.0)
    kill = build.kill(signal=9, kill_since_s=100.0)
    stubborn = build.instance("i2", processes={build.C1: build.process(build.C1, kill=kill)})
    state = build.state(gone_dark, stubborn, cloud=cloud, queue={"rejected": Map([("c", "no")])})
    names = ("instances_guarded", "runners_unkillable", "leftovers", "leftovers_longest_seconds", "queue_records_rejected")
    assert [told(state, name) for name in names] == [2, 1, 1, 600.0, 1]
    calm = build.state(gone_dark, stubborn)
    assert told(calm, "instances_guarded") == 0


def test_the_limits_of_money_are_shown() -> None:
    """So that an alert can compare them with what is spent."""
    state = build.state(settings=build.settings(max_price_per_day=7.0))
    assert (told(state, "price_limit", per="day"), told(state, "price_limit", per="hour")) == (7.0, 0.0)
    assert told(state, "wall_clock_timestamp_seconds") == WALL_S
