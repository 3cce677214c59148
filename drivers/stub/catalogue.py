"""What the stub cloud says of instance types: prices that move, and types that it does not have, or only says so.

Both are asked for with the types as they are configured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dispatcher.driver import InstanceType, Price, TypeFacts
from drivers.stub.refusals import quota_group

if TYPE_CHECKING:
    from drivers.stub.cloud import StubCloud


def prices(cloud: StubCloud, types: Sequence[InstanceType]) -> tuple[Price, ...]:
    most, price_of = cloud.knobs.max_price_change, cloud.knobs.price_of
    asks = {offer.name: price_of.get(offer.name, offer.price) * (1 + cloud.random.uniform(-most, most)) for offer in types}
    return tuple(Price(name=name, per_hour=per_hour) for name, per_hour in asks.items())


def facts(cloud: StubCloud, types: Sequence[InstanceType]) -> tuple[TypeFacts, ...]:
    return tuple(_facts(cloud, offer) for offer in types)


def _facts(cloud: StubCloud, offer: InstanceType) -> TypeFacts:
    why = "it is not sold here" if offer.name in cloud.knobs.unoffered else ""
    if not why and cloud.random.random() < cloud.knobs.falsely_unoffered_rate:
        cloud.faults["types: falsely not offered"] += 1
        why = "it is not sold here today"
    return TypeFacts(
        name=offer.name, vcpus=offer.vcpus, ram_bytes=offer.ram_bytes, unavailable=why, quota_group=quota_group(offer)
    )
