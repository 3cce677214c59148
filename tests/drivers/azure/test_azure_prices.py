"""Which of Azure's many prices a machine costs, and how they are read: from a file, or page by page without a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure_fake_site import FakeSite
from azure_world import SET_ID, SPOT, TYPE, call, driver_on, parameters

from dispatcher.driver import CloudError, InstanceType, Misconfigured, RateLimited
from drivers.azure import prices, retail
from tests.fake_azure.knobs import Knobs
from tests.fake_azure.retail import price_of
from tests.fake_azure.site import Site

EAST = {"Location": "eastus"}


def row(price: float = 0.096, **changes: Any) -> dict[str, Any]:
    return {
        "currencyCode": "USD", "tierMinimumUnits": 0.0, "retailPrice": price, "armRegionName": "eastus",
        "effectiveStartDate": "2026-01-01T00:00:00Z", "meterName": "D2s v5", "productName": "Virtual Machines Dsv5 Series",
        "skuName": "D2s v5", "serviceName": "Virtual Machines", "unitOfMeasure": "1 Hour", "type": "Consumption",
        "isPrimaryMeterRegion": True, "armSkuName": "Standard_D2s_v5", **changes,
    }  # fmt: skip


NOT_IT: list[dict[str, Any]] = [
    {"productName": "Virtual Machines Dsv5 Series Windows"},
    {"productName": "Dsv5 Series Cloud Services"},
    {"productName": "Dsv5 Series CloudServices"},
    {"productName": "Dsv5 Dedicated Host"},
    {"skuName": "D2s v5 Low Priority"},
    {"meterName": "D2s v5 Low Priority"},
    {"skuName": "D2s v5 Spot"},
    {"meterName": "D2s v5 Spot"},
    {"type": "Reservation"},
    {"type": "DevTestConsumption"},
    {"unitOfMeasure": "1 Month"},
    {"armRegionName": "westus"},
    {"armSkuName": "Standard_D4s_v5"},
    {"serviceName": "Azure App Service"},
    {"tierMinimumUnits": 100.0},
    {"retailPrice": 0},
    {"retailPrice": None},
    {"retailPrice": "0.01"},
    {"retailPrice": True},
]


@pytest.mark.parametrize("changes", NOT_IT)
def test_a_row_that_is_not_what_a_linux_machine_pays_is_left_out(changes: dict[str, Any]) -> None:
    """However cheap it is, and wherever it stands."""
    wrong = row(**{"retailPrice": 0.01, **changes})
    for rows in ([wrong, row()], [row(), wrong]):
        (found,) = prices.prices([TYPE], rows, "eastus")
        assert (found.name, found.per_hour, found.currency) == ("small", 0.096, "USD")
    assert prices.prices([TYPE], [wrong], "eastus") == ()


def test_a_preemptible_type_costs_the_spot_price() -> None:
    """Both in one answer; the case of names does not count."""
    rows = [row(), row(0.02, skuName="D2s v5 Spot", armSkuName="STANDARD_D2S_V5")]
    found = {price.name: price.per_hour for price in prices.prices([TYPE, SPOT], rows, "eastus")}
    assert found == {"small": 0.096, "spot": 0.02}


def test_of_several_rows_the_newest_counts() -> None:
    """And of equally new ones that of the primary meter."""
    newer, old = row(0.1, effectiveStartDate="2026-05-01T00:00:00Z"), row(0.2)
    second = row(0.3, effectiveStartDate="2026-05-01T00:00:00Z", isPrimaryMeterRegion=False)
    for rows in ([newer, old, second], [second, old, newer]):
        assert prices.prices([TYPE], rows, "eastus")[0].per_hour == 0.1


def test_many_sizes_are_asked_for_a_few_at_a_time() -> None:
    """An address has a limit; one with a query of its own is taken as it is."""
    types = [InstanceType(name=f"t{n}", provider_type=f"Standard_D{n}s_v5", vcpus=1, ram_bytes=1) for n in range(30)]
    asked = list(prices.addresses("https://p/api", types, "eastus", "EUR"))
    assert len(asked) == 3
    assert all(len(address) < 2000 for address in asked)
    queries = [parse_qs(urlsplit(address).query) for address in asked]
    assert {query["currencyCode"][0] for query in queries} == {"'EUR'"}
    assert sum(query["$filter"][0].count("armSkuName eq") for query in queries) == 30
    assert list(prices.addresses("https://p/all.json?x=1", types, "eastus", "")) == ["https://p/all.json?x=1"]


# ------------------------------------------------------------------------------------------------------------------- files

FORMS = [{"Items": [row()]}, [{"Items": []}, {"Items": [row()]}], [row()], {"Items": [row(), "x", None]}, [row(), 5]]


@pytest.mark.parametrize("document", FORMS)
def test_a_file_holds_a_page_or_pages_or_rows(document: Any, tmp_path: Path) -> None:
    """It is read each time: what is put there later counts with the next look."""
    file = tmp_path / "prices.json"
    file.write_text("[]")
    driver, sent = driver_on(lambda sent: pytest.fail("nothing is sent"), RetailPrices=str(file), **EAST)
    assert driver.capabilities.prices
    assert driver.prices([TYPE], call()) == ()
    file.write_text(json.dumps(document))
    (found,) = driver.prices([TYPE], call())
    assert (found.per_hour, sent) == (0.096, [])


@pytest.mark.parametrize("content", [None, "no json", "5", '{"rows": []}'])
def test_a_file_that_cannot_be_used_is_named(content: str | None, tmp_path: Path) -> None:
    """With the key, also when it is spoilt later."""
    file = tmp_path / "prices.json"
    file.write_text("[]")
    driver, _ = driver_on(lambda sent: pytest.fail("nothing is sent"), RetailPrices=str(file), **EAST)
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(CloudError, match=r"RetailPrices: .*prices\.json"):
        driver.prices([TYPE], call())


@pytest.mark.parametrize("given", ["http://plain/", "https://user:word@host/", "/no/such/file", "ftp://x", "https://"])
def test_what_is_neither_a_file_nor_a_safe_address_is_refused(given: str) -> None:
    """When the settings are checked."""
    with pytest.raises(Misconfigured) as found:
        parameters(RetailPrices=given)
    assert found.value.path == "RetailPrices"


# ----------------------------------------------------------------------------------------------------------- over a socket


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSite]:
    with FakeSite(tmp_path_factory.mktemp("prices"), Knobs.kind(price_page_size=3)) as made:
        yield made
        assert made.judged() == []


def at(site: FakeSite, **changes: Any) -> Any:
    return site.open(SET_ID, RetailPrices=f"{site.server.url}/api/retail/prices", **changes)


def test_all_pages_are_read_without_a_token(site: FakeSite) -> None:
    """The fake refuses a token there, and a filter that it does not understand; each price is that of the right row."""
    known = {size.name: size for size in Site().sizes}
    names = [name for name, size in known.items() if size.spot]
    types = [InstanceType(name=name, provider_type=name, vcpus=1, ram_bytes=1, preemptible=n % 2 == 1)
             for n, name in enumerate(names)]  # fmt: skip
    found = {price.name: price for price in at(site, RetailPricesCurrency="EUR").prices(types, call())}
    assert set(found) == set(names)
    for offer in types:
        asks = price_of(known[offer.name]) * (0.2 if offer.preemptible else 1.0)
        assert found[offer.name].per_hour == pytest.approx(asks, abs=1e-6)
        assert found[offer.name].currency == "EUR"
    assert site.account.calls["retail prices"] > 10


def test_a_page_that_asks_for_a_pause_is_obeyed(site: FakeSite) -> None:
    """As a limit of this kind of call."""
    before, site.account.knobs = site.account.knobs, Knobs.kind(price_limit_rate=1.0)
    with pytest.raises(RateLimited) as refused:
        at(site).prices([TYPE], call())
    site.account.knobs = before
    assert refused.value.retry_after_s == 60.0


def test_the_table_of_sizes_on_a_real_connection(site: FakeSite) -> None:
    """In pages, between rows of other kinds: what the subscription cannot have is known before anything is asked for."""
    sizes = {"good": "Standard_D2s_v5", "gone": "Standard_NC6", "none": "Standard_X1", "narrow": "Standard_M8ms"}
    types = [InstanceType(name=name, provider_type=size, vcpus=2, ram_bytes=8 << 30) for name, size in sizes.items()]
    found = {fact.name: fact for fact in at(site, Zones=["1", "2", "3"]).type_facts(types, call())}
    assert {name for name, fact in found.items() if fact.unavailable} == {"gone", "none"}
    assert "zone 2, 3" in found["narrow"].warning
    assert (found["good"].vcpus, found["good"].ram_bytes) == (2, 8 << 30)


class Answers:
    """A session whose pages are made up."""

    def __init__(self, *pages: Any) -> None:
        self._pages, self.asked = list(pages), []  # type: ignore[var-annotated]

    def get(self, address: str, **options: Any) -> Any:
        self.asked.append((address, options))
        return Page(self._pages.pop(0))


class Page:
    """A mapping is JSON, bytes are as they are, a number is a status."""

    def __init__(self, content: Any) -> None:
        self.headers: dict[str, str] = {}
        self.status_code = content if isinstance(content, int) else 200
        self._raw = content if isinstance(content, bytes) else json.dumps(content).encode()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def iter_content(self, size: int) -> Iterator[bytes]:
        yield from (self._raw[start : start + size] for start in range(0, len(self._raw), size))


def pages(*answers: Any) -> tuple[retail.Pages, Answers]:
    session = Answers(*answers)
    return retail.Pages(session, True, lambda: 5.0), session  # type: ignore[arg-type]


BAD_PAGES = [
    ([{"Items": [], "NextPageLink": "https://evil.example/x"}], "another host"),
    ([{"Items": [], "NextPageLink": "http://home/x"}], "another host"),
    ([{"Items": [], "NextPageLink": "https://home/a"}], "no end"),
    ([302], "HTTP 302"),
    ([500], "HTTP 500"),
    ([b"<html>"], "no JSON"),
    ([b" " * (retail.MAX_PAGE_BYTES + 1)], "larger than"),
]


@pytest.mark.parametrize(("answers", "why"), BAD_PAGES)
def test_a_page_that_cannot_be_trusted_ends_the_reading(answers: list[Any], why: str) -> None:
    """Redirects are not followed either."""
    reading, session = pages(*answers)
    with pytest.raises(CloudError, match=why):
        list(reading.of("https://home/a"))
    assert all(options["allow_redirects"] is False and options["timeout"] == (5.0, 5.0) for _, options in session.asked)


def test_a_link_with_the_port_is_the_same_host() -> None:
    """As Azure writes its own."""
    reading, session = pages({"NextPageLink": "https://HOME:443/b"}, {"NextPageLink": None})
    assert len(list(reading.of("https://home/a"))) == 2
    assert [address for address, _ in session.asked] == ["https://home/a", "https://HOME:443/b"]
