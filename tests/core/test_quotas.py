"""What a cloud counts as full is not asked for: each type that would not fit, until the next look or until an instance goes."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.core import cadence, pacing
from dispatcher.core import messages as m
from dispatcher.core.model import Holdoff, HoldoffKind, State
from dispatcher.core.quotas import HOLD_S, LOOK_S
from dispatcher.core.transitions import legal
from dispatcher.driver import Usage
from tests.core.build import NOW, after, container, instance, offer, settings, state

SMALL, BIG, SPOT = offer("small", 2), offer("big", 16), offer("spot", 2, preemptible=True)
GROUPS = {"small": "d", "big": "d", "spot": "s"}


def site(*things: Any, **cloud: Any) -> State:
    chosen = settings(SMALL, BIG, SPOT, quota_groups=GROUPS, tells_usages=True)
    return state(*things, settings=chosen, cloud={"list_due_s": NOW, **cloud})


def usage(group: str, used: float, limit: float) -> Usage:
    return Usage(group=group, used=used, limit=limit)


def told(*usages: Usage) -> m.ListEnded:
    return m.ListEnded(began_s=NOW, complete=True, usages=usages)


CASES: list[tuple[list[Usage], set[str]]] = [
    ([], set()),
    ([usage("d", 0, 100)], set()),
    ([usage("d", 90, 100)], {"big"}),
    ([usage("d", 84, 100)], set()),
    ([usage("d", 99, 100)], {"small", "big"}),
    ([usage("d", 0, 0)], {"small", "big"}),
    ([usage("s", 10, 10)], {"spot"}),
    ([usage("", 100, 100)], {"small", "big"}),
    ([usage("another", 10, 10)], set()),
]


@pytest.mark.parametrize(("usages", "full"), CASES)
def test_what_would_not_fit_is_not_asked_for(usages: list[Usage], full: set[str]) -> None:
    """By its group, and all that are not preemptible together."""
    here = after(site(), told(*usages))
    held = {name for name in GROUPS if pacing.holdoff(here, "create", name, NOW) is not None}
    assert held == full
    for name in full:
        reason = legal(here, m.CreateInstance(name="new", instance_type=name, secret="s"), NOW)
        assert reason is not None
        assert reason.startswith("quota: the cloud counts")


def test_it_ends_by_itself_when_an_instance_goes_and_when_there_is_room() -> None:
    """The numbers are old by then, or better ones are there."""
    here = after(site(instance(type="small")), told(usage("d", 100, 100)))
    assert pacing.holdoff(here, "create", "small", NOW + LOOK_S + 1) is not None
    assert pacing.holdoff(here, "create", "small", NOW + HOLD_S) is None
    assert pacing.holdoff(pacing.relieve(here, "small", NOW), "create", "small", NOW) is None
    assert pacing.holdoff(after(here, told(usage("d", 0, 100))), "create", "small", NOW) is None


def test_a_longer_refusal_stands() -> None:
    """The cloud itself has said no."""
    refused = Holdoff(
        call="create", key="type:small", kind=HoldoffKind.CAPACITY, until_s=NOW + 600, since_s=NOW, strikes=4, reason="none"
    )
    before = site()
    before = after(before, told())
    before = State(**{**{name: getattr(before, name) for name in State.__dataclass_fields__},
                      "holdoffs": before.holdoffs.set("create type:small", refused)})  # fmt: skip
    assert after(before, told(usage("d", 100, 100))).holdoffs["create type:small"] is refused


ASKS = [
    ((container(),), {}, True),
    ((container(),), {"usages_told_s": NOW - LOOK_S + 1}, False),
    ((container(),), {"usages_told_s": NOW - LOOK_S}, True),
    ((), {}, False),
]


@pytest.mark.parametrize(("things", "cloud", "asks"), ASKS)
def test_they_are_asked_for_while_somebody_may_need_an_instance(things: Any, cloud: dict[str, float], asks: bool) -> None:
    """Once a minute."""
    assert cadence.plan_lists(site(*things, **cloud), NOW) == [m.ListInstances(usages=asks)]


def test_a_driver_that_tells_none_is_not_asked() -> None:
    """And a list that was not asked says nothing."""
    assert cadence.plan_lists(state(container(), cloud={"list_due_s": NOW}), NOW) == [m.ListInstances()]
    assert after(site(), m.ListEnded(began_s=NOW, complete=True)).cloud.usages_told_s == site().cloud.usages_told_s
