"""Resources as the service writes them in JSON: machines, cards, disks, addresses, operations, usages.

Each view is of a time, because lists lag behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fake_azure.model import Card, Disk, Inventory, Machine, Operation, PublicAddress, Resource

if TYPE_CHECKING:
    from tests.fake_azure.account import Account


def _head(resource: Resource, kind: str, location: str, at_s: float) -> dict[str, Any]:
    head: dict[str, Any] = {"id": resource.id, "name": resource.name, "type": kind, "location": location}
    tags = resource.tags_at(at_s)
    return {**head, "tags": tags} if tags else head


def machine_view(account: Account, machine: Machine, at_s: float, *, live: bool = False) -> dict[str, Any]:
    """``live``: with the instance view, as ``$expand`` asks for it."""
    asked = machine.body["properties"]
    properties = {
        **asked,
        "vmId": machine.vm_id,
        "provisioningState": machine.provisioning_state(at_s),
        "timeCreated": machine.created_at,
        "networkProfile": {"networkInterfaces": [_card_link(account, key) for key in machine.card_keys]},
        "storageProfile": {**asked.get("storageProfile", {}), "dataDisks": _data_disks(account, machine)},
    }
    if live:
        properties["instanceView"] = instance_view(machine, at_s)
    view = {**_head(machine, "Microsoft.Compute/virtualMachines", machine.location, at_s), "properties": properties}
    view["etag"] = machine.etag
    for member in ("identity", "zones", "plan"):
        if member in machine.body:
            view[member] = machine.body[member]
    return view


def listed_machine(account: Account, machine: Machine, at_s: float) -> dict[str, Any]:
    """As a list shows it: a machine may be there before its tags are."""
    view = machine_view(account, machine, at_s)
    if at_s < machine.tagged_s:
        account.faults["list: no tags yet"] += 1
        view.pop("tags", None)
    return view


def _card_link(account: Account, key: str) -> dict[str, Any]:
    card = account.inventory.cards.get(key)
    if card is None:
        return {"id": key, "properties": {"primary": True}}
    return {"id": card.id, "properties": {"primary": True, "deleteOption": "Delete" if card.dies_with_it else "Detach"}}


def _data_disks(account: Account, machine: Machine) -> list[dict[str, Any]]:
    wanted = machine.body["properties"].get("storageProfile", {}).get("dataDisks", [])
    made = {disk.name: disk for key in machine.disk_keys if (disk := account.inventory.disks.get(key)) and not disk.os}
    return [_with_id(disk, made[disk["name"]].id) if disk.get("name") in made else disk for disk in wanted]


def _with_id(disk: dict[str, Any], resource_id: str) -> dict[str, Any]:
    return {**disk, "managedDisk": {**disk.get("managedDisk", {}), "id": resource_id}}


def instance_view(machine: Machine, at_s: float) -> dict[str, Any]:
    """Codes of the provisioning and of the power."""
    state = machine.provisioning_state(at_s).lower()
    suffix = f"/{machine.failure.code}" if machine.failure is not None and state == "failed" else ""
    power = "deallocated" if at_s >= machine.deallocated_s else "running" if state == "succeeded" else "starting"
    codes = [f"ProvisioningState/{state}{suffix}", f"PowerState/{power}"]
    statuses = [{"code": code, "level": "Error" if suffix and number == 0 else "Info"} for number, code in enumerate(codes)]
    return {"statuses": statuses}


def card_view(account: Account, card: Card, at_s: float) -> dict[str, Any]:
    owner = card.owner_at(at_s)
    inner: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "privateIPAddress": card.address,
        "privateIPAllocationMethod": "Dynamic",
        "subnet": {"id": card.subnet_id},
        "primary": True,
        "privateIPAddressVersion": "IPv4",
    }
    if card.public_key in account.inventory.addresses:
        inner["publicIPAddress"] = {"id": account.inventory.addresses[card.public_key].id}
    name = "ipconfig"
    configuration = {"name": name, "id": f"{card.id}/ipConfigurations/{name}", "etag": 'W/"1"', "properties": inner}
    properties: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "ipConfigurations": [configuration],
        "primary": True,
        "enableAcceleratedNetworking": card.accelerated,
        "enableIPForwarding": False,
        "nicType": "Standard",
    }
    if owner:
        properties["virtualMachine"] = {"id": owner}
    head = _head(card, "Microsoft.Network/networkInterfaces", account.site.location, at_s)
    return {**head, "etag": 'W/"1"', "properties": properties}


def disk_view(account: Account, disk: Disk, at_s: float) -> dict[str, Any]:
    owner = disk.owner_at(at_s)
    properties = {
        "creationData": {"createOption": "FromImage" if disk.os else "Empty"},
        "diskSizeGB": disk.size_gb,
        "timeCreated": disk.created_at,
        "provisioningState": "Succeeded",
        "diskState": "Attached" if owner else "Unattached",
        "LastOwnershipUpdateTime": disk.created_at if owner else disk.freed_at or disk.created_at,
    }
    view = {**_head(disk, "Microsoft.Compute/disks", account.site.location, at_s), "properties": properties}
    view["sku"] = {"name": disk.storage, "tier": disk.storage.partition("_")[0]}
    if owner:
        view["managedBy"] = owner
    return view


def address_view(account: Account, address: PublicAddress, at_s: float) -> dict[str, Any]:
    owner = address.owner_at(at_s)
    properties: dict[str, Any] = {"provisioningState": "Succeeded", "ipAddress": address.address}
    if owner:
        properties["ipConfiguration"] = {"id": f"{owner}/ipConfigurations/ipconfig"}
    head = _head(address, "Microsoft.Network/publicIPAddresses", account.site.location, at_s)
    return {**head, "etag": 'W/"1"', "properties": properties}


def operation_view(account: Account, operation: Operation, now: float) -> dict[str, Any]:
    status = operation.status(now)
    view: dict[str, Any] = {"name": operation.id, "status": status, "startTime": account.stamp(operation.started_s)}
    if status != "InProgress":
        view["endTime"] = account.stamp(operation.ends_s)
    if status in ("Failed", "Canceled") and operation.failure is not None:
        view["error"] = operation.failure.content()
    return view


def usage_rows(account: Account, now: float) -> list[dict[str, Any]]:
    """Cores used and allowed: in the region, for spot, and for each family."""
    site, inventory = account.site, account.inventory
    rows = [
        _usage("cores", "Total Regional vCPUs", inventory.cores(now, spot=False), site.regional_cores),
        _usage("lowPriorityCores", "Total Regional Low-priority vCPUs", inventory.cores(now, spot=True), site.spot_cores),
        _usage("virtualMachines", "Virtual Machines", _machine_count(inventory, now), 25000),
    ]
    for family in sorted({size.family for size in site.sizes}):
        used = inventory.cores(now, spot=False, family=family)
        rows.append(_usage(family, f"{family} vCPUs", used, site.family_limit(family)))
    return rows


def _machine_count(inventory: Inventory, now: float) -> int:
    return sum(machine.exists(now) for machine in inventory.machines.values())


def _usage(name: str, text: str, used: int, limit: int) -> dict[str, Any]:
    return {"unit": "Count", "currentValue": used, "limit": limit, "name": {"value": name, "localizedValue": text}}
