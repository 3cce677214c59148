"""What Azure's table of sizes makes unavailable, and what it says that a size really is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from azure_world import SCRATCH, SPOT, TYPE, Reply, Sent, call, driver_on, parameters, request

from dispatcher.driver import CloudError, InstanceType, TypeFacts
from drivers.azure.sizes import facts, sizes_of

EAST = {"Location": "eastus"}
GIB = 1 << 30


def row(**changes: Any) -> dict[str, Any]:
    """Standard_D2s_v5 in eastus; a capability that is None is not named."""
    named = [name for name in changes if name[:1].isupper() or name.startswith("vCPUs")]
    capabilities = {"vCPUs": "2", "MemoryGB": "8", **{name: changes.pop(name) for name in named}}
    return {
        "resourceType": "virtualMachines",
        "name": "Standard_D2s_v5",
        "family": "standardDSv5Family",
        "locations": ["EastUS"],
        "locationInfo": [{"location": "EastUS", "zones": ["1", "2", "3"]}],
        "capabilities": [{"name": name, "value": value} for name, value in capabilities.items() if value is not None],
        "restrictions": [],
        **changes,
    }


def closed(kind: str, zones: tuple[str, ...] = (), reason: str = "NotAvailableForSubscription", where: str = "eastus") -> Any:
    info = {"locations": [where], "zones": list(zones)}
    return {"type": kind, "values": [where], "restrictionInfo": info, "reasonCode": reason}


def fact(of: dict[str, Any], offer: InstanceType = TYPE, **given: Any) -> TypeFacts:
    (found,) = facts([offer], sizes_of([of], "eastus"), parameters(**EAST, **given), lambda offer: "")
    return found


UNAVAILABLE = [
    (row(), TYPE, {}, ""),
    (row(name="Standard_Other"), TYPE, {}, "Azure has no size Standard_D2s_v5 in eastus; mend ProviderType or Location"),
    (row(locations=["westus"]), TYPE, {}, "Azure has no size Standard_D2s_v5 in eastus; mend ProviderType or Location"),
    (row(resourceType="disks"), TYPE, {}, "Azure has no size Standard_D2s_v5 in eastus; mend ProviderType or Location"),
    (
        row(restrictions=[closed("Location")]), TYPE, {},
        "Azure does not offer Standard_D2s_v5 to this subscription in eastus (NotAvailableForSubscription)",
    ),
    (
        row(restrictions=[closed("Location", reason="QuotaId")]), TYPE, {},
        "Azure does not offer Standard_D2s_v5 to this subscription in eastus (QuotaId)",
    ),
    (row(restrictions=[closed("Location", where="westus")]), TYPE, {}, ""),
    (row(restrictions=[closed("Zone", ("1", "2", "3"))]), TYPE, {}, ""),  # without Zones none of them is asked for
    (
        row(restrictions=[closed("Zone", ("1", "2"))]), TYPE, {"Zones": ["1", "2"]},
        "Azure offers Standard_D2s_v5 in none of the Zones 1, 2 of eastus",
    ),
    (row(restrictions=[closed("Zone", ("1",))]), TYPE, {"Zones": ["1", "2"]}, ""),
    (row(restrictions=[closed("Zone", ("1", "2"), where="westus")]), TYPE, {"Zones": ["1", "2"]}, ""),
    (row(locationInfo=[]), TYPE, {"Zones": ["1"]}, "Azure offers Standard_D2s_v5 in none of the Zones 1 of eastus"),
    (row(LowPriorityCapable="False"), SPOT, {}, "Standard_D2s_v5 cannot be had as a spot machine (Preemptible)"),
    (row(LowPriorityCapable="False"), TYPE, {}, ""),
    (row(LowPriorityCapable="True"), SPOT, {}, ""),
    (row(), SPOT, {}, ""),
    (
        row(EphemeralOSDiskSupported="False"), TYPE, {"EphemeralOSDisk": True},
        "Standard_D2s_v5 cannot be had with EphemeralOSDisk",
    ),
    (row(EphemeralOSDiskSupported="False"), TYPE, {}, ""),
    (
        row(EncryptionAtHostSupported="False"), TYPE, {"EncryptionAtHost": True},
        "Standard_D2s_v5 cannot be had with EncryptionAtHost",
    ),
    (
        row(AcceleratedNetworkingEnabled="False"), TYPE, {"AcceleratedNetworking": True},
        "Standard_D2s_v5 cannot be had with AcceleratedNetworking",
    ),
    (row(AcceleratedNetworkingEnabled="False"), TYPE, {"AcceleratedNetworking": False}, ""),
    (
        row(PremiumIO="False"), TYPE, {"OSDiskType": "Premium_LRS"},
        "Standard_D2s_v5 cannot be had with premium disks (OSDiskType, ScratchDiskType)",
    ),
    (row(PremiumIO="False"), TYPE, {"ScratchDiskType": "Premium_LRS"}, ""),
    (
        row(PremiumIO="False"), SCRATCH, {"ScratchDiskType": "Premium_LRS"},
        "Standard_D2s_v5 cannot be had with premium disks (OSDiskType, ScratchDiskType)",
    ),
    (
        row(TrustedLaunchDisabled="True"), TYPE, {"SecurityType": "TrustedLaunch"},
        "Standard_D2s_v5 cannot be had with SecurityType TrustedLaunch",
    ),
    (row(MaxDataDiskCount="0"), SCRATCH, {}, "Standard_D2s_v5 cannot be had with a data disk (AddedScratch)"),
]  # fmt: skip


@pytest.mark.parametrize(("of", "offer", "given", "why"), UNAVAILABLE)
def test_what_a_create_must_fail_for(of: dict[str, Any], offer: InstanceType, given: dict[str, Any], why: str) -> None:
    """Only what the table says, and only what this site asks of its machines."""
    assert fact(of, offer, **given).unavailable == why


IS = [
    ({}, (2, 8 * GIB)),
    ({"vCPUsAvailable": "1"}, (1, 8 * GIB)),  # a size with fewer processors than its family
    ({"MemoryGB": "218.75"}, (2, int(218.75 * GIB))),
    ({"vCPUs": "many", "MemoryGB": "much"}, (None, None)),
    ({"vCPUs": None, "MemoryGB": None}, (None, None)),
    ({"vCPUs": "²"}, (None, 8 * GIB)),
]


@pytest.mark.parametrize(("capabilities", "is_"), IS)
def test_what_a_size_really_is(capabilities: dict[str, Any], is_: tuple[Any, Any]) -> None:
    """Memory is told in powers of two; what cannot be read is not known."""
    found = fact(row(**capabilities))
    assert (found.vcpus, found.ram_bytes) == is_


def test_the_family_of_the_table_is_the_quota_group() -> None:
    """Unless the site names one, or all spot machines share theirs; as the list of usages calls it."""
    table = sizes_of([row(family="Standard DSv5 Family")], "eastus")
    given = parameters(**EAST)
    assert facts([TYPE], table, given, lambda offer: "")[0].quota_group == "standarddsv5family"
    assert facts([TYPE], table, given, lambda offer: "mine")[0].quota_group == "mine"


# ------------------------------------------------------------------------------------------------------------- the driver


def table(*rows: Any, link: str = "") -> Reply:
    return Reply(200, {"value": list(rows), **({"nextLink": link} if link else {})})


def on(*replies: Reply, **given: Any) -> Any:
    """A driver whose transport answers the table of sizes page by page, and creates as they come."""
    left = list(replies)

    def answer(sent: Sent) -> Reply:
        if sent.path.endswith("/skus"):
            return left.pop(0)
        return Reply(201, {"id": "x"})

    return driver_on(answer, **EAST, **given)


def test_the_table_is_asked_for_by_region_and_read_to_its_end() -> None:
    """Its rows have no ids: two of one name are not one row."""
    driver, sent = on(
        table(row(resourceType="disks"), link="https://arm.example/subscriptions/s/providers/Microsoft.Compute/skus?p=2"),
        table(row(locations=["westus"], restrictions=[closed("Location")]), row()),
    )
    (found,) = driver.type_facts([TYPE], call())
    assert (found.name, found.unavailable, found.quota_group) == ("small", "", "standarddsv5family")
    assert "api-version=2021-07-01&$filter=location%20eq%20'eastus'" in sent[0].url
    assert driver.type_facts([], call()) == ()


@pytest.mark.parametrize("replies", [[table()], [table(row(), link="https://arm.example/x"), Reply(410)], [Reply(500)]])
def test_half_a_table_says_nothing(replies: list[Reply]) -> None:
    """What it lacks would count as not offered."""
    driver, _ = driver_on(lambda sent: replies.pop(0), **EAST)
    with pytest.raises(CloudError):
        driver.type_facts([TYPE], call())


def test_a_zone_without_the_size_is_not_asked() -> None:
    """Once the table is known; when all lack it the site's list counts, since a create is then held off elsewhere."""
    driver, sent = on(table(row(restrictions=[closed("Zone", ("1", "3"))])), Zones=["1", "2", "3"])
    (found,) = driver.type_facts([TYPE], call())
    assert found.warning == "it is not offered in zone 1, 3, where none is asked for"
    for number in range(5):
        driver.create(replace(request(), name=f"compute-zzzzz-set-abcdefghij0123{number}"), call())
    assert {tuple(one.body["zones"]) for one in sent[1:]} == {("2",)}


def test_a_site_may_do_without_the_table() -> None:
    """Then nothing is declared, and nobody asks."""
    assert on(SizeTable=False)[0].capabilities.type_facts is False
    assert on()[0].capabilities.type_facts is True
