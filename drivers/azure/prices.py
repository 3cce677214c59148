"""Azure's retail prices as prices of the contract: which of many rows is the one that a Linux machine pays. Pure.

A size has a row for each way to pay: on demand, spot, low priority, reserved, with Windows, for cloud services. What cannot be
told apart for sure is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote, urlencode, urlsplit

from dispatcher.driver import InstanceType, Price
from drivers.azure.answers import JSON, parts, text

API_VERSION = "2023-01-01-preview"
SIZES_AT_ONCE = 12  # in one filter: the address of a request has a limit
_OTHER_PRODUCTS = re.compile(r"windows|cloud ?services|dedicated host", re.IGNORECASE)
_LOW_PRIORITY = re.compile(r"\blow priority\b", re.IGNORECASE)
_SPOT = re.compile(r"\bspot\b", re.IGNORECASE)


# --------------------------------------------------------------------------------------------------------------- requests


def addresses(base: str, types: Sequence[InstanceType], location: str, currency: str) -> Iterator[str]:
    """What to ask for: the sizes a few at a time. An address that has a query of its own is taken as it is."""
    if urlsplit(base).query:
        yield base
        return
    sizes = sorted({offer.provider_type for offer in types})
    for start in range(0, len(sizes), SIZES_AT_ONCE):
        filter_ = _filter(sizes[start : start + SIZES_AT_ONCE], location)
        money = {"currencyCode": f"'{currency}'"} if currency else {}
        query = urlencode({"api-version": API_VERSION, **money, "$filter": filter_}, quote_via=quote, safe="$'")
        yield f"{base}?{query}"


def _filter(sizes: Sequence[str], location: str) -> str:
    named = " or ".join(f"armSkuName eq '{size}'" for size in sizes)
    return f"serviceName eq 'Virtual Machines' and armRegionName eq '{location}' and priceType eq 'Consumption' and ({named})"


# ---------------------------------------------------------------------------------------------------------------- answers


def items_of(document: object) -> list[JSON] | None:
    """The rows of a page, of a list of pages, or a list of rows; None when it is none of these."""
    if isinstance(document, Mapping):
        return parts(document, "Items") if isinstance(document.get("Items"), list) else None
    if not isinstance(document, list):
        return None
    found = [items_of(one) if isinstance(one, Mapping) and "Items" in one else [one] for one in document]
    return [row for rows in found for row in rows or () if isinstance(row, Mapping)]


def prices(types: Sequence[InstanceType], rows: Iterable[JSON], location: str) -> tuple[Price, ...]:
    """Of several rows for one machine the one that began last, and of those the primary meter's."""
    best: dict[tuple[str, bool], JSON] = {}
    for row in rows:
        if not _counts(row, location):
            continue
        key = (text(row.get("armSkuName")).lower(), _is(_SPOT, row))
        if key not in best or _rank(row) > _rank(best[key]):
            best[key] = row
    found = ((offer, best.get((offer.provider_type.lower(), offer.preemptible))) for offer in types)
    return tuple(_price(offer, row) for offer, row in found if row is not None)


def _counts(row: JSON, location: str) -> bool:
    """A Linux machine by the hour, in this region, without a contract."""
    return (
        text(row.get("armRegionName")).lower() == location
        and text(row.get("type")).lower() in ("", "consumption")
        and text(row.get("serviceName")).lower() in ("", "virtual machines")
        and text(row.get("unitOfMeasure")).lower() in ("1 hour", "1 hours", "1/hour")
        and not row.get("tierMinimumUnits")
        and not _OTHER_PRODUCTS.search(text(row.get("productName")))
        and not _is(_LOW_PRIORITY, row)
        and _amount(row) is not None
    )


def _is(words: re.Pattern[str], row: JSON) -> bool:
    return any(words.search(text(row.get(name))) for name in ("skuName", "meterName"))


def _amount(row: JSON) -> float | None:
    amount = row.get("retailPrice")
    return float(amount) if isinstance(amount, int | float) and not isinstance(amount, bool) and amount > 0 else None


def _rank(row: JSON) -> tuple[str, bool]:
    return text(row.get("effectiveStartDate")), row.get("isPrimaryMeterRegion") is True


def _price(offer: InstanceType, row: JSON) -> Price:
    return Price(name=offer.name, per_hour=_amount(row) or 0.0, currency=text(row.get("currencyCode")))
