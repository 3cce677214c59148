"""Money: what instances cost, by the hour and today, and what the site's limits say to the next one.

Pure accounting, price × time: an instance counts from its create call until it is gone. Only creates obey; nothing here ends
what runs. Prices are in the unit of ``Price``, per hour; a day is one of UTC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dispatcher.core.messages import DayTold
from dispatcher.core.model import NEVER, Instance, Spending, State
from dispatcher.core.values import replace

DAY_S = 86400.0
HOUR_S = 3600.0
DUST = 1e-9  # sums of prices are not exact


# ------------------------------------------------------------------------------------------------------------- accounting


def day_began_s(state: State, now: float) -> float:
    """When today began; ``NEVER`` while nobody has told."""
    told_s = state.spending.day_began_s
    return told_s if told_s == NEVER else told_s + math.floor((now - told_s) / DAY_S) * DAY_S


def per_hour(state: State) -> float:
    """What all instances cost together, those included that are only asked for."""
    return state.instances.once(_prices)


def _prices(instances: Sequence[Instance]) -> float:
    return math.fsum(i.price for i in instances)


def today(state: State, now: float) -> float:
    """What has been spent since midnight, up to now."""
    began_s = day_began_s(state, now)
    price, since = state.instances.once(_since, began_s)
    return closed(state, began_s) + max(0.0, price * now - since) / HOUR_S


def _since(instances: Sequence[Instance], began_s: float) -> tuple[float, float]:
    """The prices of what runs, and the same times since when each counts today."""
    counted = [(i.price, max(i.paid_since_s, began_s)) for i in instances if math.isfinite(i.paid_since_s)]
    return math.fsum(price for price, _ in counted), math.fsum(price * since_s for price, since_s in counted)


def closed(state: State, began_s: float) -> float:
    """What instances that are gone have cost since midnight."""
    return state.spending.closed if began_s == state.spending.day_began_s else 0.0


def dearest(state: State) -> float:
    """Of the types that are configured."""
    return max((offer.price for offer in state.settings.instance_types.values()), default=0.0)


def price_of(state: State, type_name: str, otherwise: float = 0.0) -> float:
    offer = state.instance_type(type_name)
    return offer.price if offer is not None else otherwise


def price_of_instance(state: State, instance: Instance) -> float:
    """By the hour. A type that is no longer configured has its last price: it goes on costing."""
    return price_of(state, instance.type, instance.price)


# ---------------------------------------------------------------------------------------------------------------- changes


def close(state: State, instances: Sequence[Instance], now: float) -> State:
    """These count no longer: what they cost today is kept. One that the cloud never had cost nothing."""
    began_s = day_began_s(state, now)
    counted = [i for i in instances if i.id is not None and i.price and math.isfinite(i.paid_since_s)]
    if not counted:
        return state
    cost = math.fsum(i.price * max(0.0, now - max(i.paid_since_s, began_s)) for i in counted) / HOUR_S
    return replace(state, spending=Spending(day_began_s=began_s, closed=closed(state, began_s) + cost))


def day_told(state: State, event: DayTold, now: float) -> State:
    """When the UTC day began, by the wall clock. A clock that is put a little forward or back moves midnight and forgets
    nothing; only a later day begins at nothing."""
    began_s = day_began_s(state, now)
    midnight_s = event.midnight_s + math.floor((now - event.midnight_s) / DAY_S) * DAY_S
    if began_s != NEVER and abs(midnight_s - began_s) < 1.0:
        return state
    later = began_s != NEVER and midnight_s >= began_s + DAY_S / 2
    return replace(state, spending=Spending(day_began_s=midnight_s, closed=0.0 if later else closed(state, began_s)))


# ----------------------------------------------------------------------------------------------------------------- limits


def over_hour(state: State, type_name: str) -> bool:
    """Whether one more of this type would cost more by the hour than the site allows."""
    most = state.settings.max_price_per_hour
    return bool(most) and per_hour(state) + price_of(state, type_name) > most + DUST


def over_day(state: State, now: float) -> bool:
    most = state.settings.max_price_per_day
    return bool(most) and today(state, now) >= most - DUST


def why_not(state: State, type_name: str, more: float, now: float) -> str:
    """Why no instance of this type may be asked for; empty when money is no reason. ``more``: what is about to be asked for
    besides, per hour."""
    settings = state.settings
    if over_day(state, now):
        return f"MaxPricePerDay ({settings.max_price_per_day:g}) is spent: {today(state, now):.2f} since 0:00 UTC"
    price, most = price_of(state, type_name), settings.max_price_per_hour
    if most and per_hour(state) + more + price > most + DUST:
        now_costs = per_hour(state) + more
        return f"MaxPricePerHour ({most:g}) leaves no room for {type_name} ({price:g}): instances cost {now_costs:g} per hour"
    return ""


def soft_limit(state: State, now: float) -> str:
    """Which limit is used up to its soft share, in words; empty when none is."""
    settings = state.settings
    share = settings.spending_soft_share
    if share <= 0:
        return ""
    day, hour = settings.max_price_per_day, settings.max_price_per_hour
    if day and today(state, now) >= share * day - DUST:
        return f"{today(state, now):.2f} of MaxPricePerDay ({day:g}) are spent since 0:00 UTC"
    if hour and per_hour(state) >= share * hour - DUST:
        return f"instances cost {per_hour(state):g} of MaxPricePerHour ({hour:g})"
    return ""


def alarm(state: State, now: float) -> str:
    """What an operator should know of the money."""
    if over_day(state, now):
        most = state.settings.max_price_per_day
        return f"no instance is created until 0:00 UTC: MaxPricePerDay ({most:g}) is spent ({today(state, now):.2f})"
    soft = soft_limit(state, now)
    return f"no instance is created for supervisors: {soft}" if soft else ""
