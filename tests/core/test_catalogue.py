"""What the cloud says of instance types: asked for in time, what it does not offer is not asked for, the file stays the rule."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.core import catalogue, pacing, schedule
from dispatcher.core import messages as m
from dispatcher.core.model import Asked, Catalogue, CataloguePart, HoldoffKind, State
from dispatcher.core.spending import per_hour
from dispatcher.core.transitions import legal
from dispatcher.driver import InstanceType, Price, TypeFacts
from tests.core.build import GIB, NOW, after, container, instance, offer, settings, state

PRICES, TYPES = CataloguePart
SMALL, BIG = offer("small", 2, 1.0), offer("big", 4, 1.4)
HOUR_S, DAY_S = 3600.0, 86400.0


def site(*things: Any, offers: tuple[InstanceType, ...] = (SMALL, BIG), **changes: Any) -> State:
    return state(*things, settings=settings(*offers, **{"prices_period_s": DAY_S, "types_period_s": HOUR_S, **changes}))


def asked(before: State, part: CataloguePart) -> State:
    return after(before, m.ReadCatalogue(part=part))


def facts(*said: TypeFacts, types: tuple[InstanceType, ...] = (SMALL, BIG)) -> m.CatalogueRead:
    return m.CatalogueRead(part=TYPES, types=types, facts=said)


def prices(*, types: tuple[InstanceType, ...] = (SMALL, BIG), **said: float) -> m.CatalogueRead:
    found = tuple(Price(name=name, per_hour=price, currency="USD") for name, price in said.items())
    return m.CatalogueRead(part=PRICES, types=types, prices=found)


def gone(name: str = "small") -> TypeFacts:
    return TypeFacts(name=name, unavailable="not sold here")


# ------------------------------------------------------------------------------------------------------------ when to ask


def test_both_are_asked_for_at_once_and_again_after_their_period() -> None:
    """While one is on its way it is not asked for again."""
    here = site()
    assert catalogue.plan(here, NOW) == [m.ReadCatalogue(part=PRICES), m.ReadCatalogue(part=TYPES)]
    here = asked(asked(here, PRICES), TYPES)
    assert catalogue.plan(here, NOW) == []
    here = after(here, prices(small=1.0), facts())
    assert catalogue.plan(here, NOW + HOUR_S - 1) == []
    assert catalogue.due_s(here, NOW) == NOW + HOUR_S
    assert catalogue.plan(here, NOW + HOUR_S) == [m.ReadCatalogue(part=TYPES)]


@pytest.mark.parametrize("here", [state(), site(offers=()), site(prices_period_s=0.0, types_period_s=0.0)])
def test_nobody_asks_a_driver_that_tells_nothing(here: State) -> None:
    """Nor about no types at all; and an answer that nobody asked for is refused."""
    if here.settings.types_period_s == 0:
        assert catalogue.plan(here, NOW) == []
        assert legal(here, m.ReadCatalogue(part=TYPES), NOW) == "the driver tells nothing of this"


def test_after_a_failure_it_is_asked_again_after_a_pause_that_grows() -> None:
    """What was told before stands, and the other part is not held up."""
    here = after(asked(site(), TYPES), facts(gone()))
    failure = m.CloudFailure(text="502")
    pauses = []
    now = NOW + HOUR_S
    for _ in range(3):
        here = after(here, m.ReadCatalogue(part=TYPES), now=now)
        here = after(here, m.CatalogueFailed(part=TYPES, failure=failure), now=now)
        later = catalogue.part_due_s(here, TYPES, now)
        pauses.append(later - now)
        now = later
    assert pauses == [5.0, 10.0, 20.0]
    assert here.cloud.catalogue.facts["small"].unavailable
    assert here.cloud.catalogue.asked[TYPES].error == "502"
    assert catalogue.part_due_s(here, PRICES, now) == now


def test_a_pause_that_the_cloud_asks_for_is_obeyed() -> None:
    """As for every other kind of call."""
    failure = m.CloudFailure(text="429", kind=HoldoffKind.RATE, retry_after_s=77.0)
    here = after(asked(site(), TYPES), m.CatalogueFailed(part=TYPES, failure=failure))
    assert catalogue.part_due_s(here, TYPES, NOW) == NOW + 77.0
    assert legal(here, m.ReadCatalogue(part=TYPES), NOW + 1) == "the cloud asked for a pause"


# --------------------------------------------------------------------------------------------------------- what is not sold


def test_what_the_cloud_does_not_offer_is_not_asked_for_and_another_type_is() -> None:
    """In the same pass, with the reason; nothing is sent that must fail."""
    here = after(site(container()), facts(gone()))
    (create,) = schedule.plan(here, NOW, lambda: ("new", "s"))
    assert isinstance(create, m.CreateInstance)
    assert create.instance_type == "big"
    reason = legal(here, m.CreateInstance(name="n", instance_type="small", secret="s"), NOW)
    assert reason == "not offered: not sold here"
    neither = after(site(container()), facts(gone(), gone("big")))
    assert schedule.plan(neither, NOW, lambda: ("new", "s")) == []
    assert "not sold here" in schedule.decide(neither, NOW).waits[container().uuid]


def test_it_is_offered_again_with_the_next_look_and_at_the_latest_after_two() -> None:
    """An answer that never comes again forbids nothing for ever; an instance that goes changes nothing of it."""
    here = after(site(instance(type="big")), facts(gone()))
    held = pacing.holdoff(here, "create", "small", NOW)
    assert held is not None
    assert held.kind is HoldoffKind.UNAVAILABLE
    assert pacing.holdoff(pacing.relieve(here, "small", NOW), "create", "small", NOW) is held
    assert pacing.holdoff(here, "create", "small", NOW + 2 * HOUR_S + 61) is None
    assert pacing.holdoff(after(here, facts()), "create", "small", NOW) is None
    assert pacing.holdoff(here, "create", "big", NOW) is None


def test_an_answer_counts_only_for_a_type_that_still_means_the_same_machine() -> None:
    """The settings were loaded anew while it was on its way: what changed is asked for again, at once."""
    other = offer("small", 2, 1.0, preemptible=True)
    here = after(asked(site(), TYPES), m.SettingsLoaded(settings=site(offers=(other, BIG)).settings), facts(gone(), gone("big")))
    assert pacing.holdoff(here, "create", "small", NOW) is None
    assert pacing.holdoff(here, "create", "big", NOW) is not None
    assert m.ReadCatalogue(part=TYPES) in catalogue.plan(here, NOW)


def test_a_reload_forgets_what_was_said_of_types_that_changed() -> None:
    """And keeps the rest; one that only costs something else is the same machine."""
    before = after(site(), facts(gone(), gone("big")), prices(small=1.0, big=1.4))
    dearer = after(before, m.SettingsLoaded(settings=site(offers=(offer("small", 2, 9.0), BIG)).settings))
    assert dearer.cloud.catalogue == before.cloud.catalogue
    changed = after(before, m.SettingsLoaded(settings=site(offers=(offer("small", 3, 1.0), BIG)).settings))
    assert set(changed.cloud.catalogue.facts) == {"big"} == set(changed.cloud.catalogue.prices)
    assert pacing.holdoff(changed, "create", "small", NOW) is None
    assert pacing.holdoff(changed, "create", "big", NOW) is not None
    assert len(catalogue.plan(changed, NOW)) == 2


def test_the_clouds_own_quota_group_counts() -> None:
    """A full group is then the right one."""
    here = after(site(quota_groups={"small": "guess", "big": "guess"}), facts(TypeFacts(name="small", quota_group="real")))
    assert here.settings.quota_groups == {"small": "real", "big": "guess"}


# ------------------------------------------------------------------------------------------------------------------ prices


def test_the_file_is_the_rule_and_a_difference_is_a_warning() -> None:
    """Under five in a hundred nobody is told."""
    here = after(site(container()), prices(small=2.0, big=1.42))
    assert here.settings.instance_types["small"].price == 1.0
    (warning,) = catalogue.warnings(here)
    assert warning == "instance type small: the cloud asks 2 USD per hour, Price in InstanceTypes is 1; the file's counts"
    assert here.containers[container().uuid].fit.types[0] == "small"  # type: ignore[union-attr]


def test_with_the_clouds_prices_choice_limits_and_accounts_follow_them() -> None:
    """And go back to the file's when the cloud names none any more, or the key is taken back."""
    here = after(site(container(), instance(type="small", price=1.0), prices_from_cloud=True), prices(small=2.0))
    assert here.settings.instance_types["small"].price == 2.0
    assert here.settings.prices_in_file == {"small": 1.0}
    assert here.containers[container().uuid].fit.types == ("big", "small")  # type: ignore[union-attr]
    assert per_hour(here) == 2.0
    assert "Price in InstanceTypes is 1; the cloud's counts" in catalogue.warnings(here)[0]
    loaded = after(here, m.SettingsLoaded(settings=site(prices_from_cloud=True).settings))
    assert loaded.settings.instance_types["small"].price == 2.0
    assert after(here, prices()).settings.instance_types["small"].price == 1.0
    assert after(here, m.SettingsLoaded(settings=site().settings)).settings.instance_types["small"].price == 1.0


# ---------------------------------------------------------------------------------------------------------------- warnings

WARNED = [
    (TypeFacts(name="small", vcpus=2, ram_bytes=8 * GIB), None),
    (TypeFacts(name="small", vcpus=8, ram_bytes=64 * GIB), None),
    (TypeFacts(name="small", vcpus=1), "has 1 VCPUs and not 2, as InstanceTypes says"),
    (TypeFacts(name="small", ram_bytes=7 * GIB), "has 7 GiB RAM and not 8 GiB, as InstanceTypes says"),
    (gone(), "cannot be created, and is not asked for: not sold here"),
    (TypeFacts(name="small", warning="zone 3 does not have it"), "small (small): zone 3 does not have it"),
    (TypeFacts(name="unknown", unavailable="x"), None),
]


@pytest.mark.parametrize(("fact", "warned"), WARNED)
def test_what_differs_from_the_file_is_said(fact: TypeFacts, warned: str | None) -> None:
    """More than the file says is a present."""
    said = catalogue.warnings(after(site(), facts(fact)))
    assert len(said) == (warned is not None)
    assert all(warned is None or warned in text for text in said)


def test_a_new_term_keeps_what_was_said() -> None:
    """It is about the cloud and not about us."""
    here = after(site(), facts(gone()), m.LeadershipGained())
    assert here.cloud.catalogue.facts
    assert here.cloud.catalogue != Catalogue()
    assert here.cloud.catalogue.asked[TYPES] == Asked(told_s=NOW)
