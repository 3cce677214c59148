"""The cloud's catalogue in virtual time: types that it does not have cost no request, and its prices may count."""

from __future__ import annotations

from typing import Any

from dispatcher.core import messages as m
from dispatcher.core.catalogue import warnings
from dispatcher.core.model import CataloguePart, ContainerState
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, offer, settings, wants

DONE = ContainerState.COMPLETE
TWO = settings(offer("a2", 2, 0.2), offer("b2", 2, 0.25), timeout_idle_s=20.0)


def town(**knobs: Any) -> Town:
    made = Town(TWO, knobs=StubKnobs.kind(boot_s=5.0, **knobs))
    made.start_dispatcher()
    return made


def creates(here: Town) -> list[str]:
    return [act.instance_type for act in here.journal.of(m.CreateInstance)]


def test_a_type_that_the_cloud_does_not_have_costs_no_request() -> None:
    """Told, the next one is taken at once; untold, each try is refused."""
    told, untold = town(tells_types=True, unoffered=frozenset(("a2",))), town(unoffered=frozenset(("a2",)))
    for here in (told, untold):
        here.until_states([here.submit(wants(), length_s=5.0)], DONE)
        here.until_over()
    assert creates(told) == ["b2"]
    assert not told.stub.faults["create: not offered"]
    assert untold.stub.faults["create: not offered"]
    assert [text for text in warnings(told.state) if "a2" in text and "not sold here" in text]


def test_when_nothing_else_fits_it_waits_and_says_why_until_the_cloud_has_it() -> None:
    """The look after next finds it offered, and the container runs."""
    here = town(tells_types=True, unoffered=frozenset(("a2", "b2")))
    uuid = here.submit(wants(), length_s=5.0)
    here.run(200.0)
    assert creates(here) == []
    assert "not offered: it is not sold here" in here.why(uuid)
    assert here.entry(uuid).lock_count == 0
    here.stub.knobs = StubKnobs.kind(boot_s=5.0)
    here.until_states([uuid], DONE)
    here.until_over()


def test_a_catalogue_that_lies_or_fails_holds_nobody_up_for_long() -> None:
    """It falsely says that a type is gone, then cannot be read any more: what it said runs out."""
    here = town(tells_types=True, falsely_unoffered_rate=1.0)
    uuid = here.submit(wants(), length_s=5.0)
    here.run(30.0)
    assert creates(here) == []
    here.stub.knobs = StubKnobs.kind(boot_s=5.0, catalogue_error_rate=1.0)
    here.until_states([uuid], DONE, within_s=400.0)
    here.until_over()
    assert here.journal.of(m.CatalogueFailed)


def test_the_clouds_prices_count_only_when_the_site_says_so() -> None:
    """The type that is cheaper in the file is dearer there."""
    for from_cloud, chosen in ((False, "a2"), (True, "b2")):
        menu = settings(offer("a2", 2, 0.2), offer("b2", 2, 0.25), prices_from_cloud=from_cloud)
        here = Town(menu, knobs=StubKnobs.kind(boot_s=5.0, tells_prices=True, price_of={"a2": 0.3}))
        here.start_dispatcher()
        here.until_states([here.submit(wants(), length_s=5.0)], DONE)
        here.until_over()
        assert creates(here) == [chosen]
        assert len(warnings(here.state)) == 1
        assert {event.part for event in here.journal.of(m.CatalogueRead)} == {CataloguePart.PRICES}
