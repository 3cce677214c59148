"""The Azure driver keeps the contract, with the real SDK on a real connection; and under fire it leaves nothing behind."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("azure.mgmt.compute", reason="the Azure SDK is not installed (the extra azure)")

from azure_fake_site import TYPE, FakeSite
from azure_world import RSA, SET_ID, TAGS
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dispatcher.contract import DriverContract, Fault
from dispatcher.contract.suite import TAG_PREFIX, DriverFactory, Provoke
from dispatcher.driver import Call, CloudError, CreateRequest, Denied, InstanceType, Listing, RateLimited
from drivers.azure.driver import AzureDriver
from tests.fake_azure.bodies import machine_body
from tests.fake_azure.client import Client
from tests.fake_azure.knobs import Knobs

PROVOKED: dict[Fault, dict[str, Any]] = {
    Fault.CAPACITY: {"no_capacity": frozenset([TYPE.provider_type])},
    Fault.PACE: {"throttled_rate": 1.0},
    Fault.LOST_ANSWER: {"dropped_after_rate": 1.0},
    Fault.BROKEN_PAGE: {"page_size": 2, "expired_page_rate": 1.0},
    Fault.LEFTOVER: {"orphan_rate": 1.0, "card_reserved_s": 0.0},  # reserved ones: where Azure is unkind, below
    Fault.PACE_OF_ALL: {"throttled_rate": 1.0},
    Fault.SILENCE: {"answer_takes_s": 20.0},
    Fault.NONSENSE: {"html_after_rate": 1.0},
    Fault.LATE_FAILURE: {"late_failure_rate": 1.0},
}


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
        return lambda set_id: site.open(set_id, TAG_PREFIX)

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

    @pytest.fixture
    def secrets(self, site: FakeSite) -> tuple[str, ...]:
        return (site.account.site.client_secret,)

    @pytest.fixture
    def provoke(self, site: FakeSite) -> Provoke:
        @contextlib.contextmanager
        def misbehaving(changes: Mapping[str, Any]) -> Iterator[None]:
            before = site.account.knobs
            site.account.knobs = replace(before, **changes)
            yield
            site.account.knobs = before
            site.clock.pass_time(60.0)

        others = {Fault.QUOTA: no_cores, Fault.LOGIN: secret_expired}
        return lambda fault: others[fault](site) if fault in others else misbehaving(PROVOKED[fault])


@contextlib.contextmanager
def no_cores(site: FakeSite) -> Iterator[None]:
    """The family's quota is full."""
    before = site.account.site
    site.account.site = replace(before, family_cores=0)
    yield
    site.account.site = before


@contextlib.contextmanager
def secret_expired(site: FakeSite) -> Iterator[None]:
    """The token that the driver has is refused, and there is no other."""
    site.account.login.secret_expired = True
    site.account.login.revoke()
    yield
    site.account.login.secret_expired = False
    site.clock.pass_time(60.0)


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


# With Debian's own libraries connections that were cut are left to the collector to close, which Python remarks
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
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


# ------------------------------------------------------------------------------------------------- logins, threads, adoption


@pytest.fixture
def kind_site(tmp_path: Path) -> Iterator[FakeSite]:
    with FakeSite(tmp_path, Knobs.kind()) as site:
        yield site
        assert site.judged() == []


def test_many_threads_share_one_driver_and_one_token(kind_site: FakeSite) -> None:
    """Each machine is made once, and the directory is asked once for all."""
    driver = kind_site.open(SET_ID)
    names = [f"compute-{SET_ID}-threads{number:08d}" for number in range(30)]
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda name: driver.create(asking(kind_site, name, TAGS), Call(timeout_s=60)).id, names))
    assert len(set(made)) == len(names)
    assert sorted(one.name for one in driver.list(Call(timeout_s=60)).instances) == names
    assert sum(kind_site.account.login.asked.values()) == 1


def test_a_token_that_is_refused_is_replaced(kind_site: FakeSite) -> None:
    """One call fails, and the next one logs in anew: the library would keep the bad token for an hour."""
    driver = kind_site.warm(kind_site.open(SET_ID))
    kind_site.account.login.revoke()
    with pytest.raises(Denied):
        driver.list(Call(timeout_s=30))
    assert driver.list(Call(timeout_s=30)).complete


def test_no_secret_shows_in_logs_or_errors(kind_site: FakeSite, caplog: pytest.LogCaptureFixture) -> None:
    """With everything logged that anybody logs, while the login works and while it fails."""
    caplog.set_level(logging.DEBUG)
    driver = kind_site.open(SET_ID)
    driver.create(asking(kind_site, f"compute-{SET_ID}-quiet0000000000", TAGS), Call(timeout_s=30))
    kind_site.account.login.secret_expired = True
    texts = []
    for changes in ({}, {"ClientSecret": "another-marked-secret"}):
        with pytest.raises(Denied) as found:
            kind_site.open(SET_ID, **changes).list(Call(timeout_s=30))
        texts.append(str(found.value))
    said = caplog.text + "".join(texts)
    secrets = [
        kind_site.account.site.client_secret,
        "another-marked-secret",
        "PRIVATE KEY",
        "fake.",
        TAGS["ArvadosInstanceSecret"],
    ]
    assert [secret for secret in secrets if secret in said] == []
    assert all("AADSTS" in text for text in texts)


GO_TAGS = {**TAGS, "ArvadosIdleBehavior": "run", "created-at": "2026-01-02T03:04:05.678Z"}


def test_a_fleet_of_the_go_dispatcher_is_adopted(kind_site: FakeSite) -> None:
    """Its machines are listed as ours and reached as crunch; tags change without losing its own; they are destroyed with all
    that belongs to them."""
    name = f"compute-{SET_ID}-gomade000000000"
    client = Client(kind_site.account)
    assert client.create(name, machine_body(name, kind_site.account.site, tags=GO_TAGS)).status == 201
    driver = kind_site.open(SET_ID)
    (found,) = driver.list(Call(timeout_s=30)).instances
    assert (found.name, found.user, found.host_keys, found.address is not None) == (name, "crunch", (), True)
    assert "created-at" not in found.tags
    driver.set_tags(found.id, {**found.tags, "ArvadosIdleBehavior": "hold"}, Call(timeout_s=30))
    assert client.get("vm", name).body["tags"] == {**GO_TAGS, "ArvadosIdleBehavior": "hold"}
    driver.destroy(found.id, Call(timeout_s=30))
    assert kind_site.account.left() == []


def test_the_go_dispatcher_finds_a_fleet_of_ours(kind_site: FakeSite) -> None:
    """By its names of tags and resources, under the user that its configuration names too."""
    name = f"compute-{SET_ID}-hermade00000000"
    request = replace(asking(kind_site, name, TAGS), created_at="2026-01-02T03:04:05Z")
    kind_site.open(SET_ID, AdminUsername="crunch").create(request, Call(timeout_s=30))
    client = Client(kind_site.account)
    machine = client.get("vm", name).body
    assert {key: machine["tags"][key] for key in TAGS} == TAGS
    assert datetime.fromisoformat(machine["tags"]["created-at"]).year == 2026
    profile = machine["properties"]["osProfile"]
    assert profile["adminUsername"] == "crunch"
    assert profile["linuxConfiguration"]["ssh"]["publicKeys"][0]["keyData"] == RSA
    assert machine["properties"]["storageProfile"]["osDisk"]["name"] == f"{name}-os"
    (card,) = client.page("card").body["value"]
    assert card["name"] == f"{name}-nic"
    assert card["tags"]["created-at"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("skew_s", [86400.0, -86400.0])
def test_a_pause_that_is_told_as_a_date_is_measured_by_azures_own_clock(tmp_path: Path, skew_s: float) -> None:
    """A day of difference between its clock and ours lengthens nothing."""
    with FakeSite(tmp_path, Knobs.kind(throttled_rate=1.0, dated_pause_rate=1.0, clock_skew_s=skew_s)) as site:
        given = Call(timeout_s=30)
        with pytest.raises(RateLimited) as refused:
            site.open(SET_ID).list(given)
    assert refused.value.retry_after_s is not None
    assert 0.0 <= refused.value.retry_after_s <= 2.0
    assert site.account.faults["a pause as a date"] == 1


def certificate(folder: Path) -> Path:
    """A key and what it signed of itself, in one PEM file."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dispatcher")])
    signed = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2120, 1, 1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "login.pem").write_bytes(private + signed.public_bytes(Encoding.PEM))
    return folder / "login.pem"


@pytest.mark.parametrize("method", ["ClientCertificate", "WorkloadIdentity"])
def test_a_login_without_a_secret_works_on_a_real_connection(kind_site: FakeSite, tmp_path: Path, method: str) -> None:
    """By what the certificate's key signs, or by the token that the platform puts into a file."""
    (tmp_path / "token").write_text("an.assertion.of-the-platform")
    how = {
        "ClientCertificate": {"ClientCertificatePath": str(certificate(tmp_path))},
        "WorkloadIdentity": {"FederatedTokenFile": str(tmp_path / "token")},
    }[method]
    driver = kind_site.open(SET_ID, AuthMethod=method, ClientSecret=None, **how)
    assert driver.list(Call(timeout_s=30)).complete
    assert kind_site.account.login.asked == {"granted": 1}
