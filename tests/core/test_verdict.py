"""The verdict: one sentence about the whole, and what it rests on."""

from __future__ import annotations

import pytest

from dispatcher.core.factors import LEVELS, RANKS, in_order
from dispatcher.core.maps import Map
from dispatcher.core.model import ContainerState, HoldoffKind, Phase
from dispatcher.core.paces import Holdoff
from dispatcher.core.verdict import Factor, verdict
from dispatcher.core.why import groups
from tests.core.build import C1, C2, NOW, container, instance, offer, settings, state, wants


def judged(*things, troubles=(), **changes):
    return verdict(state(*things, **changes), NOW, troubles)


def test_an_empty_house_is_ok():
    """Nothing waits, nothing runs, nothing is wrong."""
    told = judged()
    assert (told.level, told.cause, told.factors) == ("ok", "idle", ())


def test_work_alone_is_ok():
    """Whoever runs and keeps nobody waiting has no limit."""
    told = judged(container(state=ContainerState.RUNNING), instance("i1", Phase.READY, C1))
    assert (told.level, told.cause) == ("ok", "running")
    assert told.text == "1 container runs and nobody waits"


def test_who_waits_for_a_boot_makes_it_busy():
    """Instances take their time: that is no limit."""
    told = judged(container(), instance("i1", Phase.BOOTING, phase_since_s=NOW - 10))
    assert (told.level, told.cause) == ("busy", "locking")


def quota(text="quota of 2 instances reached", key="*", kind=HoldoffKind.QUOTA):
    made = Holdoff(call="create", key=key, kind=kind, until_s=NOW + 30, since_s=NOW - 10, strikes=1, reason=text)
    return Map([(f"create {key}", made)])


CORES = (
    "Operation could not be completed as it results in exceeding approved standardDSv5Family Cores quota. Additional details - "
    "Deployment Model: Resource Manager, Location: westeurope, Current Limit: 10, Current Usage: 8, Additional Required: 4"
)


def test_a_quota_limits_and_is_named_with_its_numbers():
    """Which quota, where, and how much of it is used."""
    told = judged(container(), container(C2), holdoffs=quota(CORES))
    assert (told.level, told.cause) == ("limited", "quota")
    assert "2 containers wait: the quota of standardDSv5Family in westeurope (8 of 10 used) is used up" in told.text


def test_what_the_process_met_itself_is_a_factor_like_others():
    """A disk that is full stops nothing, and is said when nothing worse is."""
    full = Factor(cause="disk-full", text="the audit log cannot be written", level="degraded")
    assert judged(troubles=[full]).cause == "disk-full"
    worse = judged(troubles=[full], leadership={"leading": False, "holder": "another host"})
    assert (worse.level, worse.cause) == ("stopped", "not-leading")
    assert [f.cause for f in worse.factors] == ["not-leading", "disk-full"]


def test_a_container_that_fits_nowhere_is_no_limit_of_the_others():
    """Only when nobody else waits is it what there is to say."""
    assert judged(container(requirements=wants(1000))).cause == "unsatisfiable"
    told = judged(container(requirements=wants(1000)), container(C2), instance("i1", Phase.BOOTING, phase_since_s=NOW - 10))
    assert told.level == "busy"
    assert [f.cause for f in told.factors] == ["unsatisfiable"]


def test_factors_stand_in_order_and_once():
    """The worst first; of equals the root; of one cause the worst."""
    one, two, three = (
        Factor(cause="max-instances", text="a", level="limited"),
        Factor(cause="stuck-destroys", text="b"),
        Factor(cause="stuck-destroys", text="c", level="busy"),
    )
    assert in_order([one, three, two]) == (two, one)


@pytest.mark.parametrize("cause", RANKS)
def test_causes_are_stable_words(cause):
    """Alerts and scripts rest on them."""
    assert cause == cause.lower()
    assert " " not in cause
    assert RANKS.count(cause) == 1


def test_levels_go_from_good_to_bad():
    """Whoever compares them compares their places."""
    assert LEVELS == ("ok", "busy", "limited", "degraded", "stopped")


def test_groups_hold_everybody_who_waits_once():
    """Those who wait for the same stand together, whatever differs in their sentences."""
    uuids = [f"zzzzz-dz642-{number:015d}" for number in range(7)]
    chosen = settings(offer("t4"), max_instances=1)
    boots = instance("i1", Phase.BOOTING, phase_since_s=NOW - 10)
    before = state(*(container(uuid, requirements=wants(4)) for uuid in uuids), boots, settings=chosen)
    found = groups(before, NOW)
    assert [(g.cause, g.count) for g in found] == [("max-instances", 6), ("locking", 1)]
    assert found[0].uuids == tuple(uuids[1:6])
