"""The account in which everything happens: subscription, login, group, network, images and the sizes that are sold there.

A test names what it needs to differ; the driver is configured with the same values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One row of the catalogue of sizes."""

    name: str
    family: str
    cores: int
    memory_gb: float
    spot: bool = True
    restricted: str = ""  # a reason such as NotAvailableForSubscription
    zones: tuple[str, ...] = ("1", "2", "3")
    closed_zones: tuple[str, ...] = ()  # in which the subscription may not have it


def _sizes() -> tuple[Size, ...]:
    series = (
        ("Standard_D{}s_v5", "standardDSv5Family", (2, 4, 8, 16, 32), 4.0),
        ("Standard_D{}as_v5", "standardDASv5Family", (2, 4, 8, 16, 32), 4.0),
        ("Standard_E{}s_v5", "standardESv5Family", (2, 4, 8, 16, 32), 8.0),
        ("Standard_F{}s_v2", "standardFSv2Family", (2, 4, 8, 16, 32), 2.0),
    )
    rows = [
        Size(name=name.format(cores), family=family, cores=cores, memory_gb=cores * each_gb)
        for name, family, counts, each_gb in series
        for cores in counts
    ]
    basic = Size(name="Standard_A1_v2", family="standardAv2Family", cores=1, memory_gb=2.0, spot=False)
    gone = Size(name="Standard_NC6", family="standardNCFamily", cores=6, memory_gb=56.0, restricted="NotAvailableForSubscription")
    some = {"zones": ("1", "2"), "closed_zones": ("2",)}
    narrow = Size(name="Standard_M8ms", family="standardMSFamily", cores=8, memory_gb=218.75, **some)
    return (*rows, basic, gone, narrow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """``cores_by_family``, ``regional_cores`` and ``spot_cores`` are quotas; a family that is not named has ``family_cores``."""

    subscription: str = "00000000-1111-2222-3333-444444444444"
    tenant: str = "11111111-2222-3333-4444-555555555555"
    client_id: str = "22222222-3333-4444-5555-666666666666"
    client_secret: str = field(default="fake~secret", repr=False)
    location: str = "eastus"
    group: str = "compute-group"
    network_group: str = "network-group"
    network: str = "vnet"
    subnet: str = "default"
    images: tuple[str, ...] = ("compute-image",)  # managed images of ``group``
    sizes: tuple[Size, ...] = field(default_factory=_sizes)
    cores_by_family: dict[str, int] = field(default_factory=dict)
    family_cores: int = 10_000
    regional_cores: int = 10_000
    spot_cores: int = 10_000

    @property
    def subnet_id(self) -> str:
        network = f"{self.base(self.network_group)}/Microsoft.Network/virtualNetworks/{self.network}"
        return f"{network}/subnets/{self.subnet}"

    def base(self, group: str) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{group}/providers"

    def size(self, name: str) -> Size | None:
        """Names compare without regard to case."""
        return next((size for size in self.sizes if size.name.lower() == name.lower()), None)

    def family_limit(self, family: str) -> int:
        return self.cores_by_family.get(family, self.family_cores)


def sku_record(size: Size, location: str) -> dict[str, Any]:
    """A row of the answer of ``skus``."""
    capabilities = {
        "vCPUs": str(size.cores),
        "vCPUsAvailable": str(size.cores),
        "MemoryGB": f"{size.memory_gb:g}",
        "MaxResourceVolumeMB": str(size.cores * 16384),
        "PremiumIO": "True",
        "LowPriorityCapable": str(size.spot),
        "EphemeralOSDiskSupported": str(size.spot),
        "AcceleratedNetworkingEnabled": str(size.cores > 1),
        "HyperVGenerations": "V1,V2",
        "CpuArchitectureType": "x64",
    }
    restriction = {
        "type": "Location",
        "values": [location],
        "restrictionInfo": {"locations": [location]},
        "reasonCode": size.restricted,
    }
    zonal = {
        "type": "Zone",
        "values": [location],
        "restrictionInfo": {"locations": [location], "zones": list(size.closed_zones)},
        "reasonCode": "NotAvailableForSubscription",
    }
    return {
        "resourceType": "virtualMachines",
        "name": size.name,
        "tier": "Standard",
        "size": size.name.removeprefix("Standard_"),
        "family": size.family,
        "locations": [location],
        "locationInfo": [{"location": location, "zones": list(size.zones), "zoneDetails": []}],
        "capabilities": [{"name": name, "value": value} for name, value in capabilities.items()],
        "restrictions": [*([restriction] if size.restricted else []), *([zonal] if size.closed_zones else [])],
    }


def other_records(location: str) -> list[dict[str, Any]]:
    """What else the table holds: other kinds of resources, and no two rows alike."""
    disks = {"resourceType": "disks", "name": "Premium_LRS", "locations": [location], "capabilities": [], "restrictions": []}
    return [{**disks, "size": size} for size in ("P4", "P6")] + [{**disks, "resourceType": "snapshots", "name": "Standard_LRS"}]
