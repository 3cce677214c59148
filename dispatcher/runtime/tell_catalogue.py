"""What changed about the catalogue, in sentences: each thing that an operator should mend, once. Pure: two States in.

Prices that count are told too, since money limits rest on them.
"""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.core.catalogue import warnings
from dispatcher.core.model import CataloguePart, State
from dispatcher.runtime.told import WARNING, Kind, Told


def catalogue_news(before: State, after: State) -> Iterator[Told]:
    if before.cloud.catalogue is after.cloud.catalogue and before.settings is after.settings:
        return
    known, now_known = warnings(before), warnings(after)
    for text in now_known:
        if text not in known:
            yield Told(text=text, kind=Kind.CLOUD, level=WARNING)
    for text in known:
        if text not in now_known:
            yield Told(text=f"over, or said anew: {text}", kind=Kind.CLOUD)
    yield from _prices(before, after)
    yield from _asked(before, after)


def _prices(before: State, after: State) -> Iterator[Told]:
    """Where the cloud's prices count and one is another than before."""
    if not after.settings.prices_from_cloud:
        return
    for name, offer in after.settings.instance_types.items():
        old = before.instance_type(name)
        if old is not None and old.price != offer.price:
            yield Told(text=f"instance type {name} costs {offer.price:.6g} per hour now, not {old.price:.6g}", kind=Kind.CLOUD)


def _asked(before: State, after: State) -> Iterator[Told]:
    for part in CataloguePart:
        old, new = before.cloud.catalogue.asked[part], after.cloud.catalogue.asked[part]
        if new.error and new.error != old.error:
            text = f"the cloud's {part.value} cannot be read, what was read before stands: {new.error}"
            yield Told(text=text, kind=Kind.CLOUD, level=WARNING, fields={"error": new.error})
        elif old.error and not new.error:
            yield Told(text=f"the cloud's {part.value} can be read again", kind=Kind.CLOUD)
