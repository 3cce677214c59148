"""What the cloud says of the configured instance types: when it is asked, and what somebody should be told of it.

``InstanceTypes`` of the file stays the rule; what differs from it is a warning. Only what the cloud does not offer at all is not
asked for, and only with ``PricesFromCloud`` do its prices count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from dispatcher.core import pacing
from dispatcher.core.messages import Action, ReadCatalogue
from dispatcher.core.model import CataloguePart, State
from dispatcher.core.settings import Settings
from dispatcher.core.transitions.legal import legal
from dispatcher.driver import InstanceType, Price, TypeFacts

WORTH_TELLING = 0.05  # of a price: a smaller difference is a matter of rounding and of currencies
GIB = 1 << 30


# ------------------------------------------------------------------------------------------------------------ when to ask


def period_s(settings: Settings, part: CataloguePart) -> float:
    """Infinite where the driver tells nothing of this."""
    told_every_s = settings.prices_period_s if part is CataloguePart.PRICES else settings.types_period_s
    return told_every_s or math.inf


def part_due_s(state: State, part: CataloguePart, now: float) -> float:
    """At once, then after each period; after a failure when its hold-off is over."""
    asked, every_s = state.cloud.catalogue.asked[part], period_s(state.settings, part)
    if asked.asking or not math.isfinite(every_s) or not state.settings.instance_types:
        return math.inf
    held = pacing.holdoff(state, part.value, None, now)
    return max(asked.told_s + every_s, held.until_s if held is not None else now, pacing.next_token_s(state, part.value, now))


def plan(state: State, now: float) -> list[Action]:
    due = [ReadCatalogue(part=part) for part in CataloguePart if part_due_s(state, part, now) <= now]
    return [action for action in due if legal(state, action, now) is None]


def due_s(state: State, now: float) -> float:
    return min(part_due_s(state, part, now) for part in CataloguePart)


# ------------------------------------------------------------------------------------------------------------ what to say


def warnings(state: State) -> tuple[str, ...]:
    """In the order of the file: what cannot be had, what has less than the file says, what costs something else."""
    catalogue, settings = state.cloud.catalogue, state.settings
    found: list[str] = []
    for offer in settings.instance_types.values():
        facts, price = catalogue.facts.get(offer.name), catalogue.prices.get(offer.name)
        found += _of_facts(offer, facts) if facts is not None else ()
        found += _of_price(settings, offer, price) if price is not None else ()
    return tuple(found)


def _of_facts(offer: InstanceType, facts: TypeFacts) -> Iterator[str]:
    name = f"instance type {offer.name} ({offer.provider_type})"
    if facts.unavailable:
        yield f"{name} cannot be created, and is not asked for: {facts.unavailable}"
    if facts.vcpus is not None and offer.vcpus > facts.vcpus:
        yield f"{name} has {facts.vcpus} VCPUs and not {offer.vcpus}, as InstanceTypes says: containers get less than they asked"
    if facts.ram_bytes is not None and offer.ram_bytes > facts.ram_bytes:
        has, said = f"{facts.ram_bytes / GIB:.4g} GiB", f"{offer.ram_bytes / GIB:.4g} GiB"
        yield f"{name} has {has} RAM and not {said}, as InstanceTypes says: containers may run out of it"
    if facts.warning:
        yield f"{name}: {facts.warning}"


def _of_price(settings: Settings, offer: InstanceType, price: Price) -> Iterator[str]:
    in_file = settings.prices_in_file.get(offer.name, offer.price)
    if abs(price.per_hour - in_file) <= WORTH_TELLING * max(price.per_hour, in_file):
        return
    asks = f"{price.per_hour:.6g}{' ' if price.currency else ''}{price.currency} per hour"
    rule = "the cloud's counts (PricesFromCloud)" if settings.prices_from_cloud else "the file's counts"
    yield f"instance type {offer.name}: the cloud asks {asks}, Price in InstanceTypes is {in_file:.6g}; {rule}"
