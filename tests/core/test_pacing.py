"""Hold-offs with scope, growth and relief, and token buckets as ceilings."""

from __future__ import annotations

import math

import pytest

from dispatcher.core import messages as m
from dispatcher.core import pacing
from dispatcher.core.model import HoldoffKind, Phase
from dispatcher.driver import RateLimits, Scope
from tests.core.build import NOW, after, instance, offer, settings, state

TWO = settings(offer("t4"), offer("u4"), offer("v4"), quota_groups={"t4": "g", "u4": "g", "v4": "h"})


def refused(kind=HoldoffKind.QUOTA, scope=Scope.EVERYTHING, retry_after_s=None) -> m.CloudFailure:
    return m.CloudFailure(text="no", kind=kind, scope=scope, retry_after_s=retry_after_s)


SCOPES = [
    # (scope of a refusal of t4, types that are held off then)
    (Scope.REQUEST, {"t4"}),
    (Scope.TYPE, {"t4"}),
    (Scope.GROUP, {"t4", "u4"}),
    (Scope.EVERYTHING, {"t4", "u4", "v4"}),
]


@pytest.mark.parametrize(("scope", "held"), SCOPES)
def test_a_refusal_reaches_as_far_as_the_driver_says(scope, held):
    """One type, its quota group, or everything; other kinds of calls go on."""
    seen = pacing.hold_off(state(settings=TWO), "create", refused(scope=scope), "t4", NOW)
    assert {name for name in TWO.instance_types if pacing.holdoff(seen, "create", name, NOW)} == held
    assert pacing.holdoff(seen, "destroy", "t4", NOW) is None


PAUSES = [
    (HoldoffKind.QUOTA, [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]),
    (HoldoffKind.CAPACITY, [30.0, 60.0, 120.0]),
    (HoldoffKind.RATE, [5.0, 10.0, 20.0]),
    (HoldoffKind.ERROR, [5.0, 10.0, 20.0]),
    (HoldoffKind.DENIED, [30.0, 60.0, 120.0]),
]


@pytest.mark.parametrize(("kind", "pauses"), PAUSES)
def test_a_pause_doubles_each_time_and_ends(kind, pauses):
    """Each refusal after a pause makes the next one longer, up to ten minutes."""
    seen, now, found = state(), NOW, []
    for _ in pauses:
        seen = pacing.hold_off(seen, "create", refused(kind), "t4", now)
        held = pacing.holdoff(seen, "create", "t4", now)
        found.append(held.until_s - now)
        now = held.until_s
        assert pacing.holdoff(seen, "create", "t4", now) is None
    assert found == pauses


def test_a_burst_of_refusals_is_one_refusal():
    """Twenty calls that were on their way together learnt the same thing."""
    seen = state()
    for number in range(20):
        seen = pacing.hold_off(seen, "create", refused(), "t4", NOW + number / 100)
    assert pacing.holdoff(seen, "create", "t4", NOW + 1).strikes == 1


def test_the_clouds_own_pause_is_obeyed():
    """It knows better."""
    seen = pacing.hold_off(state(), "create", refused(HoldoffKind.RATE, retry_after_s=77.0), "t4", NOW)
    assert pacing.holdoff(seen, "create", "t4", NOW).until_s == NOW + 77.0


def test_a_refusal_long_after_the_last_one_is_a_first_one():
    """Ten minutes of peace forget what was."""
    seen = pacing.hold_off(state(), "create", refused(), "t4", NOW)
    seen = pacing.hold_off(seen, "create", refused(), "t4", NOW + 30.0 + 601.0)
    assert pacing.holdoff(seen, "create", "t4", NOW + 632.0).strikes == 1


def test_success_forgives_what_has_run_out():
    """A create that worked: the next refusal is a first one."""
    seen = pacing.hold_off(state(instance(phase=Phase.CREATING)), "create", refused(), "t4", NOW)
    made = m.InstanceCreated(name="i1", id="x")
    assert "create *" in after(seen, made, now=NOW + 1).holdoffs
    assert "create *" not in after(seen, made, now=NOW + 31).holdoffs


@pytest.mark.parametrize(("kind", "ends"), [(HoldoffKind.QUOTA, True), (HoldoffKind.CAPACITY, False), (HoldoffKind.RATE, False)])
def test_an_instance_that_is_gone_frees_quota(kind, ends):
    """And nothing else; a new refusal finds its strikes again."""
    seen = pacing.hold_off(state(instance(misses=(991.0, 992.0))), "create", refused(kind), "t4", NOW)
    seen = after(seen, m.RemoveInstance(name="i1"))
    assert (pacing.holdoff(seen, "create", "t4", NOW) is None) is ends


def test_a_refused_create_frees_no_quota():
    """What never was in the cloud took none: or creates would run hot as fast as they are refused."""
    seen = after(state(instance(phase=Phase.CREATING)), m.CreateFailed(name="i1", failure=refused()))
    assert pacing.holdoff(seen, "create", "t4", NOW).until_s == NOW + 30.0


# ---------------------------------------------------------------------------------------------------------------- buckets


RATES = [
    # (settings, kind, how many at once, how many in the ten seconds after that)
    ({"max_cloud_ops_per_second": 2.0}, "create", 1, 20),
    ({"max_cloud_ops_per_second": 0.0}, "create", math.inf, None),
    ({"cloud_limits": RateLimits(create=0.5, burst=3)}, "create", 3, 5),
    ({"cloud_limits": RateLimits(create=0.5, burst=3)}, "list", math.inf, None),
    ({"max_probes_per_second": 40.0}, "probe", 2, 400),
    ({"max_probes_per_second": 1.0}, "probe", 1, 10),
    ({}, "probe", math.inf, None),
]


@pytest.mark.parametrize(("changes", "kind", "at_once", "after_ten"), RATES)
def test_rates_are_ceilings(changes, kind, at_once, after_ten):
    """Never more in any second than the site or the cloud allows, with the burst on top."""
    seen = state(settings=settings(**changes))
    assert pacing.tokens(seen, kind, NOW) == at_once
    if after_ten is None:
        return
    taken, now = 0, NOW
    while now < NOW + 10.0:
        if pacing.tokens(seen, kind, now) >= 1:
            seen, taken = pacing.take(seen, kind, now), taken + 1
        now += 0.005
    assert taken - at_once <= after_ten


def test_all_calls_of_the_cloud_share_the_sites_rate():
    """MaxCloudOpsPerSecond counts them together."""
    seen = pacing.take(state(settings=settings(max_cloud_ops_per_second=1.0)), "create", NOW)
    assert [pacing.tokens(seen, kind, NOW) for kind in ("list", "destroy", "set_tags")] == [0.0, 0.0, 0.0]
    assert pacing.next_token_s(seen, "list", NOW) == NOW + 1.0
