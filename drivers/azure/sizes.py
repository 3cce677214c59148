"""Azure's table of sizes (Resource SKUs) as facts of the contract: what this subscription can have, and what it really is. Pure.

Only what the table says makes a size unavailable; a capability that it does not name forbids nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dispatcher.driver import InstanceType, TypeFacts
from drivers.azure import quotas
from drivers.azure.answers import JSON, parts, text
from drivers.azure.parameters import Parameters

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Something that a site asks of its machines, and the capability without which the create is refused."""

    capability: str
    lacking: str
    wanted: Callable[[InstanceType, Parameters], bool]
    words: str


def _premium(offer: InstanceType, parameters: Parameters) -> bool:
    scratch = parameters.scratch_disk_type if offer.added_scratch_bytes else ""
    os_disk = "" if parameters.ephemeral_os_disk else parameters.os_disk_type
    return any(kind.lower().startswith("premium") for kind in (os_disk, scratch))


DEMANDS = (
    Demand(
        capability="LowPriorityCapable", lacking="false", words="as a spot machine (Preemptible)",
        wanted=lambda offer, parameters: offer.preemptible,
    ),
    Demand(
        capability="EphemeralOSDiskSupported", lacking="false", words="with EphemeralOSDisk",
        wanted=lambda offer, parameters: bool(parameters.ephemeral_os_disk),
    ),
    Demand(
        capability="EncryptionAtHostSupported", lacking="false", words="with EncryptionAtHost",
        wanted=lambda offer, parameters: parameters.encryption_at_host,
    ),
    Demand(
        capability="AcceleratedNetworkingEnabled", lacking="false", words="with AcceleratedNetworking",
        wanted=lambda offer, parameters: parameters.accelerated_networking is True,
    ),
    Demand(capability="PremiumIO", lacking="false", words="with premium disks (OSDiskType, ScratchDiskType)", wanted=_premium),
    Demand(
        capability="TrustedLaunchDisabled", lacking="true", words="with SecurityType TrustedLaunch",
        wanted=lambda offer, parameters: parameters.security_type == "TrustedLaunch",
    ),
    Demand(
        capability="MaxDataDiskCount", lacking="0", words="with a data disk (AddedScratch)",
        wanted=lambda offer, parameters: offer.added_scratch_bytes > 0,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A row of the table for one region. ``restricted``: why the subscription cannot have it there; ``zones``: where it can."""

    name: str
    family: str
    capabilities: Mapping[str, str]
    restricted: str
    zones: frozenset[str]


# -------------------------------------------------------------------------------------------------------------- the table


def sizes_of(rows: Iterable[JSON], location: str) -> dict[str, Size]:
    """Size in lower case → its row; rows of other resources and regions are left out."""
    found = [row for row in rows if text(row.get("resourceType")).lower() == "virtualmachines" and _is_in(row, location)]
    return {text(row.get("name")).lower(): _size(row, location) for row in found if text(row.get("name"))}


def _is_in(row: JSON, location: str) -> bool:
    return location in _words(row.get("locations"))


def _words(value: object) -> list[str]:
    return [one.lower() for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _size(row: JSON, location: str) -> Size:
    capabilities = {text(one.get("name")): text(one.get("value")) for one in parts(row, "capabilities")}
    restrictions = parts(row, "restrictions")
    here = [one for one in parts(row, "locationInfo") if text(one.get("location")).lower() == location]
    offered = {zone for one in here for zone in _words(one.get("zones"))}
    closed = {zone for one in restrictions if _kind(one) == "zone" for zone in _zones(one, location)}
    refused = [one for one in restrictions if _kind(one) == "location" and location in _locations(one)]
    return Size(
        name=text(row.get("name")), family=text(row.get("family")), capabilities=capabilities,
        restricted=text(refused[0].get("reasonCode")) or "restricted" if refused else "", zones=frozenset(offered - closed),
    )  # fmt: skip


def _kind(restriction: JSON) -> str:
    return text(restriction.get("type")).lower()


def _locations(restriction: JSON) -> list[str]:
    info = restriction.get("restrictionInfo")
    named = _words(info.get("locations")) if isinstance(info, Mapping) else []
    return named or _words(restriction.get("values"))


def _zones(restriction: JSON, location: str) -> list[str]:
    info = restriction.get("restrictionInfo")
    if location not in _locations(restriction) or not isinstance(info, Mapping):
        return []
    return _words(info.get("zones"))


# -------------------------------------------------------------------------------------------------------------- the facts


def facts(
    types: Sequence[InstanceType], sizes: Mapping[str, Size], parameters: Parameters, named_group: Callable[[InstanceType], str]
) -> tuple[TypeFacts, ...]:
    """``named_group``: the quota group that the site or the price class names, empty when the table may."""
    return tuple(_facts(offer, sizes.get(offer.provider_type.lower()), parameters, named_group(offer)) for offer in types)


def _facts(offer: InstanceType, size: Size | None, parameters: Parameters, group: str) -> TypeFacts:
    if size is None:
        where = f"Azure has no size {offer.provider_type} in {parameters.location}; mend ProviderType or Location"
        return TypeFacts(name=offer.name, unavailable=where)
    return TypeFacts(
        name=offer.name,
        vcpus=_whole(size.capabilities, "vCPUsAvailable", "vCPUs"),
        ram_bytes=_bytes(size.capabilities.get("MemoryGB", "")),
        unavailable=next(_objections(offer, size, parameters), ""),
        warning=_zones_warning(size, parameters),
        quota_group=group or quotas.plain(size.family),
    )


def _objections(offer: InstanceType, size: Size, parameters: Parameters) -> Iterator[str]:
    """Why a create of it must fail."""
    if size.restricted:
        yield f"Azure does not offer {size.name} to this subscription in {parameters.location} ({size.restricted})"
    if parameters.zones and not size.zones & set(parameters.zones):
        yield f"Azure offers {size.name} in none of the Zones {', '.join(parameters.zones)} of {parameters.location}"
    for demand in DEMANDS:
        has = size.capabilities.get(demand.capability, "").strip().lower()
        if has == demand.lacking and demand.wanted(offer, parameters):
            yield f"{size.name} cannot be had {demand.words}"


def lacking_zones(size: Size, parameters: Parameters) -> frozenset[str]:
    """Of the zones that the site lists, those without this size."""
    return frozenset(parameters.zones) - size.zones


def _zones_warning(size: Size, parameters: Parameters) -> str:
    lacking = lacking_zones(size, parameters)
    if not lacking or not size.zones & set(parameters.zones):
        return ""
    return f"it is not offered in zone {', '.join(sorted(lacking))}, where none is asked for"


def _whole(capabilities: Mapping[str, str], *names: str) -> int | None:
    given = next((capabilities[name] for name in names if name in capabilities), "")
    return int(given) if given.isascii() and given.isdigit() else None


def _bytes(gigabytes: str) -> int | None:
    """Azure's gigabytes of memory are powers of two."""
    try:
        amount = float(gigabytes)
    except ValueError:
        return None
    return int(amount * GIB) if 0 < amount < 1e9 else None
