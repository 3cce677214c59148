"""Money: what is counted, for how long, and who obeys."""

from __future__ import annotations

import math

import pytest

from dispatcher.core import lifecycle, reconcile, schedule, spending
from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, DestroyCause, IdleBehavior, Phase
from dispatcher.core.transitions import legal
from tests.core.build import C1, C2, NOW, after, container, instance, offer, settings, state, wants

HOUR = 3600.0
MIDNIGHT = NOW - 10 * HOUR
TWO = (offer("t4", price=1.0), offer("u4", price=3.0))


def paid(name: str = "i1", since_s: float = NOW, price: float = 1.0, **more):
    return instance(name, price=price, paid_since_s=since_s, **more)


def told(*things, **changes):
    return after(state(*things, settings=settings(*TWO, **changes)), m.DayTold(midnight_s=MIDNIGHT))


def create(type_name: str = "t4") -> m.CreateInstance:
    return m.CreateInstance(name="n1", instance_type=type_name, secret="s")


# ------------------------------------------------------------------------------------------------------------- accounting


def test_an_instance_costs_from_its_create_call_until_it_is_gone():
    """Price times time, also while it boots, idles, and is being destroyed."""
    seen = after(told(), create("u4"), m.InstanceCreated(name="n1", id="x"))
    assert spending.per_hour(seen) == 3.0
    assert spending.today(seen, NOW + HOUR / 2) == pytest.approx(1.5)
    kill = m.DestroyInstance(name="n1", cause=DestroyCause.OPERATOR, reason="because")
    seen = after(seen, kill, m.DestroyAccepted(name="n1"), now=NOW + HOUR)
    missed = m.InstancesMissed(began_s=NOW + 2 * HOUR - 1, names=("n1",))
    seen = after(seen, missed, m.RemoveInstance(name="n1"), now=NOW + 2 * HOUR)
    assert spending.per_hour(seen) == 0.0
    assert spending.today(seen, NOW + 5 * HOUR) == pytest.approx(6.0)


def test_a_create_that_was_refused_costs_nothing():
    """It counts while nobody knows, and is taken back with the refusal."""
    seen = after(told(), create())
    assert spending.per_hour(seen) == 1.0
    seen = after(seen, m.CreateFailed(name="n1", failure=m.CloudFailure(text="no")), now=NOW + HOUR)
    assert (spending.per_hour(seen), spending.today(seen, NOW + HOUR)) == (0.0, 0.0)


def test_a_day_begins_at_midnight_utc_with_nothing():
    """What runs over midnight costs the new day from midnight on; nobody needs to tell each day anew."""
    seen = told(paid(since_s=MIDNIGHT))
    assert spending.today(seen, NOW) == pytest.approx(10.0)
    assert spending.today(seen, MIDNIGHT + 24 * HOUR - 1) == pytest.approx(24.0, abs=0.01)
    assert spending.today(seen, MIDNIGHT + 25 * HOUR) == pytest.approx(1.0)
    assert spending.today(seen, MIDNIGHT + 49 * HOUR) == pytest.approx(1.0)


def test_what_ended_yesterday_is_no_cost_of_today():
    """Also when nobody told of the new day."""
    seen = spending.close(told(), [paid(since_s=NOW - HOUR)], NOW)
    assert spending.today(seen, NOW) == pytest.approx(1.0)
    assert spending.today(seen, MIDNIGHT + 25 * HOUR) == 0.0
    later = spending.close(seen, [paid(since_s=MIDNIGHT + 23 * HOUR)], MIDNIGHT + 26 * HOUR)
    assert spending.today(later, MIDNIGHT + 26 * HOUR) == pytest.approx(2.0)


CLOCKS = [
    # (the wall clock moves midnight by, what is left of the 5 that were spent)
    (0.2, 5.0),
    (300.0, 5.0),
    (-300.0, 5.0),
    (-86400.0, 5.0),
    (86400.0, 5.0),
    (36000.0 - 60.0, 5.0),  # put forward by hours: rather counted twice than forgotten
]


@pytest.mark.parametrize(("by_s", "spent"), CLOCKS)
def test_a_wall_clock_that_is_put_right_forgets_nothing(by_s, spent):
    """It moves midnight, and what was spent stays spent."""
    seen = spending.close(told(), [paid(since_s=NOW - 5 * HOUR)], NOW)
    seen = after(seen, m.DayTold(midnight_s=MIDNIGHT + by_s))
    assert spending.today(seen, NOW) == pytest.approx(spent)


def test_a_clock_that_was_slow_reaches_midnight_at_once():
    """Put forward from 23:00 to 1:00: a new day, which begins at nothing."""
    late_s = MIDNIGHT + 23 * HOUR
    seen = spending.close(told(), [paid(since_s=NOW - 5 * HOUR)], NOW)
    seen = after(seen, m.DayTold(midnight_s=late_s - HOUR), now=late_s)
    assert spending.today(seen, late_s) == 0.0


def test_who_does_not_lead_counts_no_money():
    """Another dispatcher does, and what was counted until then is kept for when we lead again."""
    seen = after(told(paid(since_s=NOW - HOUR)), m.LeadershipLost(holder="other"))
    seen = after(seen, m.LeadershipGained(), now=NOW + 3 * HOUR)
    assert spending.today(seen, NOW + 3 * HOUR) == pytest.approx(1.0)


def test_another_price_counts_from_now_on():
    """A reload changes what instances cost by the hour."""
    seen = told(paid(since_s=NOW))
    seen = after(seen, m.SettingsLoaded(settings=settings(offer("t4", price=5.0))))
    assert spending.per_hour(seen) == 5.0


# ----------------------------------------------------------------------------------------------------------------- limits


HOURS = [
    # (what the instances cost, the limit, the types that may be asked for)
    (0.0, 0.0, ["t4", "u4"]),
    (1.0, 4.0, ["t4", "u4"]),
    (2.0, 4.0, ["t4"]),
    (3.5, 4.0, []),
    (9.0, 4.0, []),  # the limit was made lower: nobody is destroyed for it
]


@pytest.mark.parametrize(("costs", "most", "types"), HOURS)
def test_a_create_that_would_pass_the_price_of_an_hour_is_refused(costs, most, types):
    """And a cheaper one that fits under it is not."""
    seen = told(paid(price=costs), max_price_per_hour=most)
    assert [name for name in ("t4", "u4") if legal(seen, create(name), NOW) is None] == types
    assert [name for name in ("t4", "u4") if not spending.why_not(seen, name, 0.0, NOW)] == types


def test_no_create_begins_once_the_day_is_spent_and_again_at_midnight():
    """What runs goes on, and costs."""
    seen = told(paid(since_s=MIDNIGHT), max_price_per_day=12.0)
    assert legal(seen, create(), NOW + 1.9 * HOUR) is None
    assert legal(seen, create(), NOW + 2.1 * HOUR) == "MaxPricePerDay is spent"
    assert legal(seen, create(), MIDNIGHT + 24 * HOUR + 1) is None
    assert "until 0:00 UTC" in spending.alarm(seen, NOW + 2.1 * HOUR)


def test_a_create_without_a_known_outcome_is_asked_about_whatever_it_costs():
    """It is counted already, and the same name makes no second one."""
    lost = instance("n1", Phase.CREATING, creating=False, create_unknown=True, price=1.0, paid_since_s=MIDNIGHT)
    seen = told(lost, max_price_per_day=1.0, max_price_per_hour=1.0, create_is_idempotent=True)
    assert legal(seen, create(), NOW) is None


def waits(*things, **changes) -> dict[str, str]:
    return schedule.decide(told(*things, **changes), NOW, lambda: ("n1", "s")).waits


def test_who_waits_for_money_is_told():
    """The limit, what is spent, and until when."""
    held = paid(price=1.5, since_s=MIDNIGHT, idle_behavior=IdleBehavior.HOLD)
    assert "MaxPricePerHour (2) leaves no room for t4 (1)" in waits(container(), held, max_price_per_hour=2.0)[C1]
    assert "MaxPricePerDay (5) is spent: 15.00 since 0:00 UTC" in waits(container(), held, max_price_per_day=5.0)[C1]


def test_a_cheaper_type_is_bought_when_the_dearer_one_is_too_dear():
    """The limit by the hour is about each type."""
    chosen = settings(offer("a4", price=3.0), offer("b4", vcpus=8, price=2.9), max_price_per_hour=2.95, maximum_price_factor=9.0)
    decided = schedule.decide(state(container(), settings=chosen), NOW, lambda: ("n1", "s"))
    assert [action.instance_type for action in decided.actions] == ["b4"]


def test_a_pass_asks_for_no_more_than_the_hour_allows():
    """What it is about to ask for counts."""
    names = iter(["n1", "n2"])
    both = [container(uuid, requirements=wants(4)) for uuid in (C1, C2)]
    before = state(*both, settings=settings(offer("t4", price=2.0), max_price_per_hour=3.0))
    decided = schedule.decide(before, NOW, lambda: (next(names), "s"))
    assert len(decided.actions) == 1
    assert "instances cost 2 per hour" in decided.waits[C2]


def test_from_the_soft_share_on_supervisors_get_no_new_instance():
    """They only begin more work; what has begun still gets instances, and supervisors still get room that is there."""
    soft = {"max_price_per_hour": 10.0, "spending_soft_share": 0.5}
    busy = paid("i9", price=6.0, idle_behavior=IdleBehavior.HOLD)
    boss = container(C1, requirements=wants(supervisor=True))
    assert "no instance is created for supervisors" in waits(boss, busy, **soft)[C1]
    assert "on its way" in waits(container(C2), busy, **soft)[C2]
    planned = schedule.plan(told(boss, busy, paid("i2"), **soft), NOW, lambda: ("n1", "s"))
    assert planned == [m.LockContainer(uuid=C1, instance="i2")]


def test_limits_end_nothing_that_runs():
    """Far beyond every limit: no kill, no cancel, no destroy."""
    running = container(state=ContainerState.RUNNING)
    seen = told(running, paid("i1", MIDNIGHT, 99.0, processes=instance("i1", Phase.READY, C1).processes),
                max_price_per_day=1.0, max_price_per_hour=1.0)  # fmt: skip
    assert [*reconcile.plan(seen, NOW), *lifecycle.plan(seen, NOW), *schedule.plan(seen, NOW, lambda: ("n1", "s"))] == []


def test_nobody_told_of_a_day_and_nothing_breaks():
    """Before the first word of the wall clock everything since the start counts as today."""
    seen = state(paid(since_s=NOW - HOUR))
    assert spending.today(seen, NOW) == pytest.approx(1.0)
    assert spending.today(state(paid(since_s=math.inf)), NOW) == 0.0
