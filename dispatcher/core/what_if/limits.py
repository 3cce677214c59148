"""If a limit of the site were another one: how many, how dear, how many supervisors."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dispatcher.core import limits, sizing, spending
from dispatcher.core.model import Container, State
from dispatcher.core.values import replace
from dispatcher.core.what_if import Change, Trial, creates, ended, refitted, with_settings


def instances(state: State, container: Container, now: float) -> Iterator[Trial]:
    """As many instances as those who are served before it need, and one for itself."""
    settings = state.settings
    for key, field in (("MaxInstances", "max_instances"), ("InitialQuotaEstimate", "initial_quota_estimate")):
        if getattr(settings, field) <= 0:
            continue
        wanted = len(state.instances) + len(creates(with_settings(state, **{field: 0}), now))
        if wanted > getattr(settings, field):
            change = Change(text=f"fits if `{key}` ≥ {wanted}", kind="settings", key=key, value=wanted)
            yield Trial(change=change, state=with_settings(state, **{field: wanted}))


def money(state: State, container: Container, now: float) -> Iterator[Trial]:
    settings = state.settings
    if settings.max_price_per_hour:
        more = sum(spending.price_of(state, a.instance_type) for a in creates(with_settings(state, max_price_per_hour=0.0), now))
        wanted = _up(spending.per_hour(state) + more, 4)
        if wanted > settings.max_price_per_hour:
            change = Change(text=f"fits if `MaxPricePerHour` ≥ {wanted:g}", kind="settings", key="MaxPricePerHour", value=wanted)
            yield Trial(change=change, state=with_settings(state, max_price_per_hour=wanted))
    if settings.max_price_per_day and spending.over_day(state, now):
        yield from _day(state, now)
    if spending.soft_limit(state, now) and container.requirements is not None and container.requirements.supervisor:
        text = "fits if `SpendingSoftShare` is 0, so that nothing is kept back from supervisors"
        change = Change(text=text, kind="settings", key="SpendingSoftShare", value=0)
        yield Trial(change=change, state=with_settings(state, spending_soft_share=0.0))


def _day(state: State, now: float) -> Iterator[Trial]:
    wanted = _up(spending.today(state, now) + 0.01, 2)
    change = Change(text=f"fits if `MaxPricePerDay` ≥ {wanted:g}", kind="settings", key="MaxPricePerDay", value=wanted)
    yield Trial(change=change, state=with_settings(state, max_price_per_day=wanted))
    midnight_s = spending.day_began_s(state, now) + spending.DAY_S
    if math.isfinite(midnight_s):
        change = Change(text="a new day begins at 0:00 UTC", kind="time", key="MaxPricePerDay", value=midnight_s)
        yield Trial(change=change, state=state, at_s=midnight_s + 0.001)


def supervisors(state: State, container: Container, now: float) -> Iterator[Trial]:
    """A larger share for them, or the end of one."""
    if container.requirements is None or not container.requirements.supervisor or limits.supervisor_limit(state) is None:
        return
    those = [c for c in state.containers.all() if c.requirements is not None and c.requirements.supervisor]
    cap, seated = limits.container_cap(state) or 1, [c for c in those if c.instance is not None]
    share = _up(min(1.0, len(those) / cap), 3)
    if share > state.settings.supervisor_fraction:
        change = Change(text=f"fits if `SupervisorFraction` ≥ {share:g}", kind="settings", key="SupervisorFraction", value=share)
        yield Trial(change=change, state=with_settings(state, supervisor_fraction=share))
    if seated:
        left = len(those) - (limits.supervisor_limit(state) or 0)
        change = Change(text=f"{left} of the supervisors that run end", kind="container", key="supervisors", value=left)
        after = state
        for other in seated[:left]:
            after = ended(after, other)
        yield Trial(change=change, state=after)


def dearer(state: State, container: Container, now: float) -> Iterator[Trial]:
    """A type that suits and that MaximumPriceFactor leaves out."""
    asks, fit = container.requirements, container.fit
    if asks is None or fit is None or fit.problem or not fit.types:
        return
    everything = sizing.fit(asks, replace(state.settings, maximum_price_factor=math.inf))
    lowest = min(state.settings.instance_types[name].price for name in fit.types)
    left_out = [state.settings.instance_types[name].price for name in everything.types if name not in fit.types]
    factors = [_up(price / lowest, 2) for price in left_out if lowest > 0]
    for factor in sorted(set(factors))[:2]:
        changed = refitted(state, container, maximum_price_factor=factor)
        text = f"fits if `MaximumPriceFactor` ≥ {factor:g}"
        change = Change(text=text, kind="settings", key="MaximumPriceFactor", value=factor)
        yield Trial(change=change, state=changed)


def together(state: State, container: Container, now: float) -> Iterator[Trial]:
    """More containers on one instance."""
    most = state.settings.max_running_containers_per_instance
    if most:
        key, wanted = "MaxRunningContainersPerInstance", most + 1
        change = Change(text=f"fits if `{key}` ≥ {wanted}", kind="settings", key=key, value=wanted)
        yield Trial(change=change, state=with_settings(state, max_running_containers_per_instance=wanted))


def _up(number: float, digits: int) -> float:
    scale = 10.0**digits
    return math.ceil(round(number * scale, 6)) / scale
