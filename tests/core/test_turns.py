"""Whose instance type is asked for first, case by case."""

from __future__ import annotations

import pytest

from dispatcher.core import messages as m
from dispatcher.core import pacing, schedule, turns
from dispatcher.core.model import HoldoffKind, Phase
from dispatcher.core.values import replace
from dispatcher.driver import Scope
from tests.core.build import C1, C2, NOW, after, container, instance, offer, settings, state, wants

MENU = settings(
    offer("a4"), offer("b8", 8, price=2.0), offer("c8", 8, price=9.0), quota_groups={"a4": "g", "b8": "g", "c8": "h"}
)


def refusal(scope: Scope, kind: HoldoffKind = HoldoffKind.QUOTA) -> m.CloudFailure:
    return m.CloudFailure(text="no more", kind=kind, scope=scope)


def held(scope: Scope, type_name: str, ago_s: float, kind: HoldoffKind = HoldoffKind.QUOTA):
    """Refused so long ago; the pause of 30 s is over."""
    return pacing.hold_off(state(settings=MENU), "create", refusal(scope, kind), type_name, NOW - ago_s)


def proved(before, *types: str):
    """The cloud has just accepted one of each of these types."""
    cloud = before.cloud
    for type_name in types:
        cloud = replace(cloud, accepted=cloud.accepted.set(type_name, NOW - 1))
    return replace(before, cloud=cloud)


CASES = [
    # (what the cloud said, types ahead → since when, whom a4 waits for)
    (state(settings=MENU), {}, ""),
    (state(settings=MENU), {"a4": NOW}, ""),  # its own type: whoever gets it, the first is served
    (state(settings=MENU), {"b8": NOW}, "b8"),  # nobody knows the quota
    (state(settings=MENU), {"b8": NOW - 2.5}, ""),  # and order costs two seconds
    (proved(state(settings=MENU), "b8"), {"b8": NOW}, ""),
    (proved(held(Scope.EVERYTHING, "c8", 60.0), "b8"), {"b8": NOW - 60.0}, "b8"),  # refused: however long it takes
    (proved(held(Scope.GROUP, "b8", 60.0), "b8"), {"b8": NOW - 60.0}, "b8"),  # a group that both are of
    (proved(held(Scope.GROUP, "b8", 60.0), "c8"), {"c8": NOW - 60.0}, ""),  # another group
    (proved(held(Scope.EVERYTHING, "c8", 700.0), "b8"), {"b8": NOW - 60.0}, ""),  # long ago
    (proved(held(Scope.EVERYTHING, "c8", 60.0, HoldoffKind.RATE), "b8"), {"b8": NOW - 60.0}, ""),  # a pace is no quota
]


@pytest.mark.parametrize(("before", "ahead", "first"), CASES)
def test_who_is_waited_for(before, ahead, first):
    """The first answer of a type that nobody has tried, and every answer when quota is short."""
    assert turns.waits_for(before, "a4", ahead, NOW) == first


def test_the_less_urgent_is_asked_for_when_the_first_answer_is_there():
    """In the pass that follows it; meanwhile the more urgent type alone is asked for."""
    big, small = container(C1, requirements=wants(8), priority=9), container(C2)
    before = state(big, small, settings=MENU)
    names = iter(["n1", "n2"])
    first = schedule.plan(before, NOW, lambda: (next(names), "s"))
    assert [action.instance_type for action in first] == ["b8"]
    asked = after(before, *first)
    assert schedule.plan(asked, NOW + 0.5, lambda: ("n2", "s")) == []
    seen = after(asked, m.InstanceCreated(name="n1", id="x"), now=NOW + 0.6)
    planned = schedule.plan(seen, NOW + 0.6, lambda: ("n2", "s"))
    assert [action.instance_type for action in planned if isinstance(action, m.CreateInstance)] == ["a4"]


def test_the_more_urgent_waits_for_nobody():
    """A create of a less urgent container that is on its way holds up no other type."""
    small = instance("i1", Phase.CREATING, type="a4", create_changed_s=NOW)
    before = state(container(C1, requirements=wants(8), priority=9), container(C2), small, settings=MENU)
    planned = schedule.plan(before, NOW, lambda: ("n1", "s"))
    assert [action.instance_type for action in planned] == ["b8"]


def test_the_scheduler_looks_again_when_the_two_seconds_are_over():
    """By the clock: no event tells that an answer did not come."""
    creating = instance("i1", Phase.CREATING, create_changed_s=NOW - 0.5)
    assert turns.due_s(state(creating), NOW) == [NOW + 1.5]
    assert turns.due_s(state(creating), NOW + 5.0) == []
