"""The Azure driver keeps the contract, with the real SDK on a real connection; and under fire it leaves nothing behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("azure.mgmt.compute", reason="the Azure SDK is not installed (the extra azure)")

from azure_fake_site import TYPE, FakeSite
from azure_world import RSA, SET_ID, TAGS

from dispatcher.contract import DriverContract
from dispatcher.contract.suite import TAG_PREFIX, DriverFactory
from dispatcher.driver import Call, CloudError, CreateRequest, InstanceType, Listing
from drivers.azure.driver import AzureDriver
from tests.fake_azure.knobs import Knobs


class TestAzure(DriverContract):
    """Lists lag, deletes take their time, and time passes only while somebody waits."""

    test_host_keys_are_those_of_the_instance = None  # the list tells them

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[FakeSite]:
        with FakeSite(tmp_path, Knobs.kind(create_takes_s=5.0, max_delete_s=20.0, list_lag_s=4.0, card_lag_s=3.0)) as site:
            yield site
            assert site.judged() == []

    @pytest.fixture
    def driver_factory(self, site: FakeSite) -> DriverFactory:
        return lambda set_id: site.warm(site.open(set_id, TAG_PREFIX))

    @pytest.fixture
    def instance_type(self) -> InstanceType:
        return TYPE

    @pytest.fixture
    def image_id(self, site: FakeSite) -> str:
        return site.image

    @pytest.fixture
    def pause(self, site: FakeSite) -> Callable[[float], None]:
        return site.clock.pass_time

    @pytest.fixture
    def patience_s(self) -> float:
        return 120.0


# ------------------------------------------------------------------------------------------------------------- under fire

UNKIND = replace(Knobs(), max_slow_s=0.01, page_size=3)
MAX_ROUNDS = 300


def asking(site: FakeSite, name: str, tags: Mapping[str, str]) -> CreateRequest:
    return CreateRequest(name=name, instance_type=TYPE, image_id=site.image, tags=tags, init_script="#!/bin/sh\n", public_key=RSA)


class Fleet:
    """A caller as patient as the core: what is not known is found out, what failed is tried again later."""

    def __init__(self, site: FakeSite, driver: AzureDriver, seed: int) -> None:
        self.site, self.driver = site, driver
        self.random = random.Random(seed)
        self.asked: dict[str, str | None] = {}  # name → id, None while nobody knows
        self.seen: dict[str, float] = {}  # leftover → when it was first listed

    def round(self, *, create: bool) -> Listing | None:
        if create:
            self._create(f"compute-{SET_ID}-" + "".join(self.random.choice("abcdefgh01234567") for _ in range(15)))
        for name in [name for name, known in self.asked.items() if known is None]:
            self._create(name)
        self.site.clock.pass_time(self.random.uniform(1.0, 5.0))
        listing = self._list()
        for instance in listing.instances if listing is not None else ():
            if not create or self.random.random() < 0.3:
                self._attempt(lambda instance=instance: self.driver.destroy(instance.id, Call(timeout_s=30)))  # type: ignore[misc]
        self._tidy(listing)
        return listing

    def _create(self, name: str) -> None:
        try:
            created = self.driver.create(asking(self.site, name, TAGS), Call(timeout_s=30))
        except CloudError as error:
            if error.outcome_unknown:
                self.asked[name] = None
            else:
                self.asked.pop(name, None)
            return
        self.asked[name] = created.id

    def _list(self) -> Listing | None:
        try:
            return self.driver.list(Call(timeout_s=30))
        except CloudError:
            return None

    def _tidy(self, listing: Listing | None) -> None:
        """Two sightings in complete lists, and the age that the driver declares."""
        if listing is None or not listing.complete:
            return
        now = self.site.clock()
        self.seen = {left.id: self.seen.get(left.id, now) for left in listing.leftovers}
        for left in listing.leftovers:
            if now - self.seen[left.id] > self.driver.capabilities.leftover_age_s:
                self._attempt(lambda left=left: self.driver.delete_leftover(left, Call(timeout_s=30)))  # type: ignore[misc]

    def _attempt(self, act: Callable[[], None]) -> None:
        try:
            act()
        except CloudError:
            return


@pytest.mark.parametrize("seed", range(2))
def test_under_fire_nothing_is_left_and_nobody_elses_is_touched(tmp_path: Path, seed: int) -> None:
    """Throttled, refused, cut off, answered by strangers, paged badly, left with orphans: in the end all of ours is gone, all of
    the other set is there, and no request was one that Azure would not understand."""
    with FakeSite(tmp_path, UNKIND, seed) as site:
        site.account.knobs = Knobs.kind()
        tags = {**TAGS, "ArvadosInstanceSetID": "other-set"}
        site.open("other-set").create(asking(site, "compute-other-set-abcdefghij01234", tags), Call(timeout_s=30))
        before = set(site.account.left())
        site.account.knobs = UNKIND
        fleet = Fleet(site, site.open(SET_ID), seed)
        for _ in range(25):
            fleet.round(create=True)
        assert len(site.account.faults) >= 10
        for _ in range(MAX_ROUNDS):
            fleet.round(create=False)
            if set(site.account.left()) == before and None not in fleet.asked.values():
                break
        assert set(site.account.left()) == before
        assert site.judged() == []
