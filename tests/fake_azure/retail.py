"""The public page of retail prices: every way to pay for each size, in pages, for whoever asks rightly and without a token.

What a client does wrong is kept by the judge, and answered with 400 as there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tests.fake_azure.site import Size

if TYPE_CHECKING:
    from tests.fake_azure.account import Account, Answer

PATH = "/api/retail/prices"
PAGE = 100  # rows; the real page has as many as a thousand
QUERIES = {"api-version": r"2023-01-01-preview", "currencyCode": r"'[A-Z]{3}'", "$filter": r".+", "$skip": r"\d+"}
FIELDS = ("serviceName", "armRegionName", "armSkuName", "priceType")
_TERM = re.compile(r"(\w+) eq '([^']*)'")
_GRAMMAR = re.compile(rf"(?:\(?{_TERM.pattern}\)?(?: (?:and|or) )?)+")
Answered = tuple[int, dict[str, str], Any]


def price_of(size: Size) -> float:
    return round(size.cores * (0.04 + size.memory_gb / size.cores / 1000), 6)


def answer(account: Account, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer | None:
    """None for what is no question about prices."""
    from tests.fake_azure.account import Answer  # here, because accounts speak of everything

    if path != PATH:
        return None
    with account.lock:
        wrong = list(_faults(method, query, headers))
        account.judge.record("retail prices", wrong)
        account.calls["retail prices"] += 1
        if wrong:
            return Answer(status=400, body={"Error": {"Code": "InvalidRequest", "Message": "; ".join(wrong)}})
        if account.happens("retail prices: too many", account.knobs.price_limit_rate):
            return Answer(status=429, headers={"Retry-After": "60"}, body={"Error": {"Code": "TooManyRequests"}})
        return Answer(body=_page(account, query))


def _faults(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[str]:
    if method != "GET":
        yield f"{method} where only GET is served"
    if "authorization" in headers:
        yield "a token was sent to a public page"
    for name, value in query.items():
        if not re.fullmatch(QUERIES.get(name, "(?!)"), value):
            yield f"query {name}={value!r} is not understood"
    given = query.get("$filter", "")
    if not _GRAMMAR.fullmatch(given):
        yield f"$filter {given!r} is not understood"
    for name, _ in _TERM.findall(given):
        if name not in FIELDS:
            yield f"$filter names {name!r}, which is no field"


def _page(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    wanted: dict[str, set[str]] = {}
    for name, value in _TERM.findall(query["$filter"]):
        wanted.setdefault(name, set()).add(value)
    currency = query.get("currencyCode", "'USD'").strip("'")
    rows = [row for size in account.site.sizes for row in _rows(size, account.site.location, currency) if _fits(row, wanted)]
    begin = int(query.get("$skip", "0"))
    end = begin + min(PAGE, account.knobs.price_page_size)
    following = None
    if end < len(rows):  # written with the port, as there
        named = {**{name: value for name, value in query.items() if name != "$skip"}, "$skip": str(end)}
        following = f"{account.base_url}{PATH}?{urlencode(named, quote_via=quote)}"
    return {"BillingCurrency": currency, "Items": rows[begin:end], "NextPageLink": following, "Count": len(rows[begin:end])}


def _fits(row: Mapping[str, Any], wanted: Mapping[str, set[str]]) -> bool:
    """Values are case-sensitive. ``priceType`` is called ``type`` in a row."""
    return all(row["type" if name == "priceType" else name] in values for name, values in wanted.items())


def _rows(size: Size, location: str, currency: str) -> Iterator[dict[str, Any]]:
    """All that is sold under this name, in an order that helps nobody."""
    base, short = price_of(size), size.name.removeprefix("Standard_").replace("_", " ")
    product = f"Virtual Machines {size.family.removesuffix('Family').removeprefix('standard')} Series"
    yield _row(size, location, currency, base * 1.9, short, f"{product} Windows")
    yield _row(size, location, currency, base * 0.4, f"{short} Low Priority", product)
    yield _row(size, location, currency, base * 0.25, f"{short} Spot", f"{product} Windows")
    yield {**_row(size, location, currency, base * 3000, short, product), "type": "Reservation", "reservationTerm": "1 Year"}
    yield _row(size, location, currency, base, short, product)
    if size.spot:
        yield _row(size, location, currency, base * 0.2, f"{short} Spot", product)
    yield _row(size, location, currency, base * 0.5, short, product.replace("Virtual Machines", "CloudServices"))


def _row(size: Size, location: str, currency: str, price: float, sku: str, product: str) -> dict[str, Any]:
    return {
        "currencyCode": currency, "tierMinimumUnits": 0.0, "retailPrice": round(price, 6), "unitPrice": round(price, 6),
        "armRegionName": location, "location": "US East", "effectiveStartDate": "2026-01-01T00:00:00Z", "meterName": sku,
        "productName": product, "skuName": sku, "serviceName": "Virtual Machines", "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour", "type": "Consumption", "isPrimaryMeterRegion": True, "armSkuName": size.name,
    }  # fmt: skip
