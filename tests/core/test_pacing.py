"""Hold-offs with scope, growth and relief, and token buckets as ceilings."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core import pacing
from dispatcher.core.model import DestroyCause, HoldoffKind, Phase
from dispatcher.core.transitions import legal
from dispatcher.driver import Presence, QuotaReached, RateLimits, Scope
from tests.core.build import NOW, after, instance, listed, offer, settings, state

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
    (HoldoffKind.RATE, [1.0, 2.0, 4.0]),
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


@pytest.mark.parametrize(("named_s", "obeyed_s"), [(0.0, 0.5), (-5.0, 0.5), (1e9, 3600.0)])
def test_a_pause_that_makes_no_sense_is_cut(named_s, obeyed_s):
    """Neither as fast as it refuses, nor for ever."""
    seen = pacing.hold_off(state(), "create", refused(HoldoffKind.RATE, retry_after_s=named_s), "t4", NOW)
    assert pacing.holdoff(seen, "create", "t4", NOW).until_s == NOW + obeyed_s


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


ENDS = [(HoldoffKind.QUOTA, True), (HoldoffKind.CAPACITY, True), (HoldoffKind.RATE, False), (HoldoffKind.DENIED, False)]


@pytest.mark.parametrize(("kind", "ends"), ENDS)
def test_12_13_an_instance_that_is_gone_frees_quota_and_room(kind, ends):
    """And nothing else; no list is waited for, and a new refusal finds its strikes again."""
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
    ({"max_probes_per_second": 40.0}, "probe", 10, 400),
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
    """MaxCloudOpsPerSecond counts them together, and a create leaves one to the others, which are never starved."""
    seen = pacing.take(state(settings=settings(max_cloud_ops_per_second=1.0)), "create", NOW)
    kinds = ("create", "list", "destroy", "set_tags", "poll_create")
    assert [pacing.tokens(seen, kind, NOW) for kind in kinds] == [0.0, 1.0, 1.0, 1.0, 0.0]
    assert pacing.next_token_s(seen, "create", NOW) == NOW + 1.0
    seen = pacing.take(seen, "list", NOW)
    assert pacing.next_token_s(seen, "destroy", NOW) == NOW + 1.0


def test_at_a_very_slow_pace_nothing_is_left_to_others():
    """A call in ten seconds, of which lists alone would take every one: creates come to their turn."""
    seen = pacing.take(state(settings=settings(max_cloud_ops_per_second=0.1)), "list", NOW)
    assert pacing.tokens(seen, "create", NOW) == 1.0


def test_each_kind_of_call_has_a_budget_of_its_own():
    """A site's own limit goes before what the driver knows; both stand beside the one that all share."""
    known = RateLimits(create=5.0, destroy=7.0, burst=3)
    seen = state(settings=settings(cloud_limits=known, max_creates_per_second=2.0, max_destroys_per_second=None))
    kinds = ("create", "destroy", "list")
    assert [pacing.tokens(seen, kind, NOW) for kind in kinds] == [2.0, 3.0, math.inf]
    seen = state(settings=settings(max_creates_per_second=8.0, max_cloud_ops_per_second=3.0, cloud_ops_burst=4))
    assert [pacing.tokens(seen, kind, NOW) for kind in kinds] == [3.0, 4.0, 4.0]


# --------------------------------------------------------------------------------------------------- what the cloud says


def told(call: str = "create", **more) -> m.CallReported:
    return m.CallReported(call=call, **more)


def test_few_calls_that_remain_are_spread_before_the_limit_is_hit():
    """Twelve left: three go at once, then each waits longer than the one before."""
    seen, now, sent = after(state(), told(calls_remaining=12)), NOW, []
    while len(sent) < 12:
        now = max(now, pacing.next_token_s(seen, "create", now))
        assert pacing.tokens(seen, "create", now) >= 1
        seen = pacing.take(seen, "create", now)
        sent.append(now - NOW)
    gaps = [round(later - sooner, 1) for sooner, later in itertools.pairwise(sent)]
    assert gaps[:2] == [0.0, 0.0]
    assert gaps[2:] == sorted(gaps[2:])
    assert sent[-1] > 50.0


def test_where_the_cloud_is_known_to_grant_more_few_calls_go_nearly_as_fast_as_it_does():
    """Ten a second: what was left a second ago has grown by ten, and the last few go a little slower than new ones come.

    Regression: they were spread over half a minute, and a thousand machines took 124 s instead of 82."""
    known = replace(state(), settings=settings(cloud_limits=RateLimits(create=10.0, burst=200)))
    none_left = after(known, told(calls_remaining=0))
    assert pacing.tokens(none_left, "create", NOW + 2.0) == 20 - pacing.FEW_CALLS + 1
    now, sent = NOW, []
    while len(sent) < 50:
        seen = after(none_left, told(calls_remaining=0), now=now)  # each answer says that there are none, and more come
        seen = pacing.take(seen, "create", now)
        now = pacing.next_token_s(seen, "create", now)
        sent.append(now - NOW)
    assert 50 / 10 < sent[-1] < 50 / 9


def test_what_is_still_on_its_way_is_taken_off_what_remains():
    """The answer did not know of the two creates that went out after it was made."""
    two = [instance(name, Phase.CREATING) for name in ("i1", "i2")]
    assert after(state(*two), told(calls_remaining=20)).reports["create"].left == 18


def test_what_was_said_long_ago_slows_nothing():
    """Nobody knows how many calls remain after five minutes; other kinds of calls were never concerned."""
    seen = pacing.take(after(state(), told(calls_remaining=0)), "create", NOW)
    assert pacing.tokens(seen, "create", NOW + 29.0) < 1
    assert pacing.tokens(seen, "create", NOW + 301.0) == math.inf
    assert pacing.tokens(seen, "destroy", NOW) == math.inf


def test_a_pause_that_a_good_answer_asks_for_is_obeyed():
    """For this kind of call, and never shorter than one that is under way."""
    seen = after(state(), told("list", retry_after_s=20.0), told("list", retry_after_s=5.0))
    assert pacing.holdoff(seen, "list", None, NOW + 19.0).kind is HoldoffKind.RATE
    assert pacing.holdoff(seen, "create", "t4", NOW) is None


def test_limit_and_usage_are_kept_and_said():
    """The last ones that an answer named, in the cloud's own unit."""
    seen = after(state(), told(limit=10.0, usage=3.0), told(calls_remaining=50))
    assert pacing.usage(seen, "create") == " (the cloud counts 3 of 10)"
    assert pacing.usage(seen, "destroy") == ""


HELD = [
    # (what failed, the action that is not begun any more)
    (m.DestroyFailed(name="i1", failure=refused(HoldoffKind.RATE, retry_after_s=60.0)), "destroy"),
    (m.DestroyFailed(name="i1", failure=refused(HoldoffKind.DENIED)), "destroy"),
    (m.TagsFailed(name="i1", failure=refused(HoldoffKind.RATE, retry_after_s=60.0)), "set_tags"),
    (m.ListFailed(began_s=NOW, failure=refused(HoldoffKind.RATE, retry_after_s=60.0)), "list"),
    (m.CreatePolled(name="i1", done=False, failure=refused(HoldoffKind.RATE, retry_after_s=60.0)), "poll_create"),
]


@pytest.mark.parametrize(("event", "call"), HELD)
def test_every_kind_of_call_obeys_its_own_hold_off(event, call):
    """What the cloud refuses of one kind waits, also destroys, tags and questions; the others go on."""
    asked = instance("i2", Phase.BOOTING, operation="op", tags={"ArvadosIdleBehavior": "drain"})
    actions = {
        "destroy": m.DestroyInstance(name="i3", cause=DestroyCause.OPERATOR, reason="because"),
        "set_tags": m.SaveTags(name="i2"),
        "list": m.ListInstances(),
        "poll_create": m.PollCreate(name="i2"),
    }
    seen = after(state(instance("i1", Phase.SHUTDOWN), asked, instance("i3")), event)
    assert [name for name, action in actions.items() if legal(seen, action, NOW + 29.0) is not None] == [call]
    assert legal(seen, actions[call], NOW + 61.0) is None


def test_a_failure_of_one_destroy_holds_up_no_other():
    """Only what the cloud says of all of them does."""
    failed = m.DestroyFailed(name="i1", failure=refused(HoldoffKind.ERROR, Scope.REQUEST))
    seen = after(state(instance("i1", Phase.SHUTDOWN)), failed)
    assert pacing.holdoff(seen, "destroy", None, NOW) is None


def test_12_13_a_destroy_that_the_cloud_confirms_frees_quota():
    """The next create need not wait until the instance is gone from a list; refused again, it is no further strike."""
    seen = pacing.hold_off(state(instance("i1", Phase.SHUTDOWN)), "create", refused(), "t4", NOW)
    seen = after(seen, m.DestroyAccepted(name="i1"), now=NOW + 1)
    assert pacing.holdoff(seen, "create", "t4", NOW + 1) is None
    again = pacing.hold_off(seen, "create", refused(), "t4", NOW + 1)
    assert pacing.holdoff(again, "create", "t4", NOW + 1).strikes == 1
    once_more = after(again, m.DestroyAccepted(name="i1"), now=NOW + 2)
    assert pacing.holdoff(once_more, "create", "t4", NOW + 2) is not None


def test_a_create_that_fails_late_for_want_of_quota_is_a_refusal_of_quota():
    """Accepted, then failed: what the list says of it counts as if the call had said so."""
    late = listed("i1", state=Presence.FAILED, failure=QuotaReached("quota exceeded", scope=Scope.GROUP))
    seen = after(state(instance("i1", Phase.BOOTING), settings=TWO), m.InstancesListed(began_s=NOW, instances=(late,)))
    held = pacing.holdoff(seen, "create", "u4", NOW)
    assert (held.kind, held.key) == (HoldoffKind.QUOTA, "group:g")
    assert pacing.holdoff(seen, "create", "v4", NOW) is None
