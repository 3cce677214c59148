"""The cloud and the money as the page tells them: the pace in force and who set it, what is held off, what it all costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core.maps import Map
from dispatcher.core.model import CallReport, Holdoff, HoldoffKind, IdleBehavior, Phase, Spending
from dispatcher.core.pacing import in_force
from dispatcher.driver import RateLimits
from dispatcher.web.cloud_health import cloud, money
from dispatcher.web.shown import Wall
from tests.core.build import C1, NOW, instance, settings, state

WALL = Wall(0.0)

PACES = [
    ({}, None, "no limit known"),
    ({"max_creates_per_second": 2.0}, 2.0, "the site"),
    ({"cloud_limits": RateLimits(create=0.5, burst=10)}, 0.5, "the driver, which knows its cloud"),
    ({"max_creates_per_second": 2.0, "cloud_limits": RateLimits(create=0.5, burst=10)}, 2.0, "the site"),
    ({"max_creates_per_second": 2.0, "max_cloud_ops_per_second": 1.0}, 1.0, "the site, for all calls together"),
]


@pytest.mark.parametrize(("changes", "rate", "source"), PACES)
def test_the_pace_in_force_and_who_set_it(changes: Any, rate: float | None, source: str) -> None:
    """The slowest that applies; what the site says stands above what the driver knows, as in pacing."""
    assert in_force(state(settings=settings(**changes)), "create") == (rate, source)


def test_calls_are_told_with_what_the_cloud_says_of_them() -> None:
    """How many, how they failed, how many are left; what was said too long ago is left out."""
    shown = replace(state(), reports={"create": CallReport(at_s=NOW - 10, left=12.0, limit=100.0, usage=90.0)})
    told = cloud(shown, NOW, {"Create": {"ok": 7, "quota": 2, "error": 0}}, WALL)["calls"][0]
    assert (told["call"], told["ended_ok"], told["failed"]) == ("create", 7, {"quota": 2})
    assert (told["left"], told["limit"], told["usage"]) == (12.0, 100.0, 90.0)
    assert cloud(shown, NOW + 1000, {}, WALL)["calls"][0]["left"] is None


def test_holdoffs_in_force_are_told_with_their_end() -> None:
    """What has run out is none; who lasts longest comes first."""

    def held(key: str, until_s: float) -> Holdoff:
        return Holdoff(call="create", key=key, kind=HoldoffKind.QUOTA, until_s=until_s, since_s=900.0, strikes=2, reason="no\x07")

    ends = {"*": 1100.0, "type:a": 1200.0, "b": 999.0}
    shown = replace(state(), holdoffs=Map((key, held(key, at_s)) for key, at_s in ends.items()))
    told = cloud(shown, NOW, {}, WALL)["holdoffs"]
    assert [(each["about"], each["until"], each["reason"]) for each in told] == [
        ("type:a", "1970-01-01T00:20:00Z", "no"), ("everything", "1970-01-01T00:18:20Z", "no"),
    ]  # fmt: skip


def test_money_is_told_by_the_hour_and_the_day_with_what_idles() -> None:
    """At 12:00 UTC half of the day is still to come."""
    shown = state(
        instance("i1", Phase.READY, C1, price=1.0), instance("i2", price=0.5),
        instance("i3", price=0.5, idle_behavior=IdleBehavior.HOLD),
        settings=settings(max_price_per_day=100.0),
        spending=Spending(day_began_s=NOW - 12 * 3600, closed=10.0),
    )  # fmt: skip
    told = money(shown, NOW)
    assert (told["per_hour"], told["today"], told["expected_today"]) == (2.0, 10.0, 34.0)
    assert (told["idle_per_hour"], told["kept_per_hour"], told["idle_share"]) == (0.5, 0.5, 0.25)
    assert (told["limit_per_day"], told["limit_per_hour"]) == (100.0, None)
