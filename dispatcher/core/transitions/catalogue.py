"""The catalogue: the cloud was asked for prices or for the facts of instance types, and what follows from its answer.

What it does not offer is held off until the look after the next; prices and quota groups are laid over those of the file. An
answer counts only for types that are still configured as they were when it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.core import pacing
from dispatcher.core.messages import CatalogueFailed, CatalogueRead, ReadCatalogue
from dispatcher.core.model import Asked, Catalogue, CataloguePart, Holdoff, HoldoffKind, State
from dispatcher.core.settings import Settings
from dispatcher.core.transitions.room import Reason
from dispatcher.core.values import replace
from dispatcher.driver import InstanceType

GRACE_S = 60.0  # a look may come late


def begin_read(state: State, action: ReadCatalogue, now: float) -> State:
    asked = state.cloud.catalogue.asked[action.part]
    return _put(pacing.take(state, action.part.value, now), action.part, replace(asked, asking=True))


def readable(state: State, action: ReadCatalogue, now: float) -> Reason:
    """Why it may not be asked for now, or None."""
    if not _period_s(state.settings, action.part):
        return "the driver tells nothing of this"
    if state.cloud.catalogue.asked[action.part].asking:
        return "it is being asked for"
    paused = pacing.holdoff(state, action.part.value, None, now) is not None
    return "the cloud asked for a pause" if paused or pacing.tokens(state, action.part.value, now) < 1 else None


def failed(state: State, event: CatalogueFailed, now: float) -> State:
    """What was told before stands; what it forbids ends by itself."""
    state = pacing.hold_off(state, event.part.value, event.failure, None, now)
    asked = state.cloud.catalogue.asked[event.part]
    return _put(state, event.part, replace(asked, asking=False, error=event.failure.text))


def told(state: State, event: CatalogueRead, now: float) -> State:
    """All of one part: what it leaves out is not known any more."""
    state = pacing.forgive(state, event.part.value, None, now)
    same = [_same(state, offer) for offer in event.types]
    now_all = len(event.types) == len(state.settings.instance_types) and all(same)
    state = _put(state, event.part, Asked(told_s=now) if now_all else Asked())  # else at once again
    names = {offer.name for offer, stays in zip(event.types, same, strict=True) if stays}
    if event.part is CataloguePart.PRICES:
        prices = {price.name: price for price in event.prices if price.name in names}
        return _with(state, replace(state.cloud.catalogue, prices=prices))
    facts = {fact.name: fact for fact in event.facts if fact.name in names}
    return _hold_off(_with(state, replace(state.cloud.catalogue, facts=facts)), now)


def _same(state: State, offer: InstanceType) -> bool:
    """Whether this type still means the same machine."""
    known = state.instance_type(offer.name)
    return known is not None and replace(known, price=offer.price) == offer


def _put(state: State, part: CataloguePart, asked: Asked) -> State:
    catalogue = state.cloud.catalogue
    return _with(state, replace(catalogue, asked={**catalogue.asked, part: asked}))


def _with(state: State, catalogue: Catalogue) -> State:
    return replace(state, cloud=replace(state.cloud, catalogue=catalogue))


def _period_s(settings: Settings, part: CataloguePart) -> float:
    return settings.prices_period_s if part is CataloguePart.PRICES else settings.types_period_s


# --------------------------------------------------------------------------------------------------------------- hold-offs


def _hold_off(state: State, now: float) -> State:
    """Each type that is not offered; one that is offered again is held off no more."""
    changed = dict(_changes(state, now))
    return replace(state, holdoffs=state.holdoffs.update(changed.items())) if changed else state


def _changes(state: State, now: float) -> Iterator[tuple[str, Holdoff]]:
    facts, until_s = state.cloud.catalogue.facts, now + 2 * state.settings.types_period_s + GRACE_S
    for type_name in state.settings.instance_types:
        name = f"create offer:{type_name}"
        before, fact = state.holdoffs.get(name), facts.get(type_name)
        if fact is not None and fact.unavailable:
            since_s = before.since_s if before is not None and before.until_s > now else now
            yield name, Holdoff(
                call="create", key=f"offer:{type_name}", kind=HoldoffKind.UNAVAILABLE, until_s=until_s, since_s=since_s,
                strikes=1, reason=fact.unavailable,
            )  # fmt: skip
        elif before is not None and before.until_s > now:
            yield name, replace(before, until_s=now)


# ---------------------------------------------------------------------------------------------------------------- settings


def as_in_file(settings: Settings) -> tuple[InstanceType, ...]:
    """The instance types with the prices of the file, whatever the cloud asks."""
    prices = settings.prices_in_file
    return tuple(replace(offer, price=prices.get(offer.name, offer.price)) for offer in settings.instance_types.values())


def in_force(settings: Settings, catalogue: Catalogue) -> Settings:
    """The settings with what the cloud said laid over them; the same object when that changes nothing."""
    in_file = {offer.name: offer for offer in as_in_file(settings)}
    told = {name: price.per_hour for name, price in catalogue.prices.items() if name in in_file and settings.prices_from_cloud}
    groups = {name: fact.quota_group for name, fact in catalogue.facts.items() if fact.quota_group}
    laid = replace(
        settings,
        instance_types={name: replace(offer, price=told.get(name, offer.price)) for name, offer in in_file.items()},
        prices_in_file={name: in_file[name].price for name in told},
        quota_groups={**settings.quota_groups, **groups},
    )
    return settings if laid == settings else laid


def forget_changed(state: State, settings: Settings, now: float) -> State:
    """Before new settings count: what was said of a type that is another machine now, or gone, is forgotten, and all is asked
    for at once."""
    kept = {name for name, offer in settings.instance_types.items() if _same(state, offer)}
    if kept == set(settings.instance_types) == set(state.settings.instance_types):
        return state
    catalogue = state.cloud.catalogue
    anew = {part: replace(asked, told_s=Asked().told_s) for part, asked in catalogue.asked.items()}
    prices = {name: price for name, price in catalogue.prices.items() if name in kept}
    facts = {name: fact for name, fact in catalogue.facts.items() if name in kept}
    ended = [
        (name, replace(held, until_s=now))
        for name, held in state.holdoffs.items()
        if held.kind is HoldoffKind.UNAVAILABLE and held.key.removeprefix("offer:") not in kept and held.until_s > now
    ]
    state = replace(state, holdoffs=state.holdoffs.update(ended)) if ended else state
    return _with(state, Catalogue(prices=prices, facts=facts, asked=anew))
