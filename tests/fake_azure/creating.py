"""How a machine comes to be: what speaks against it, what is made for it, and whether it will fail after all.

Called with the lock of the account held. Chances are drawn from the account's own random, so that a seed tells them all.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.fake_azure import errors
from tests.fake_azure.errors import ArmError, Refused
from tests.fake_azure.model import Card, Disk, Machine, PublicAddress, living
from tests.fake_azure.site import Size

if TYPE_CHECKING:
    from tests.fake_azure.account import Account

SECRETS = ("customData", "adminPassword")


def create_machine(account: Account, group: str, name: str, body: Mapping[str, Any], now: float) -> Machine:
    """Everything is there at once, or an ArmError says why not."""
    properties = body["properties"]
    size = _check_references(account, body, properties)
    _check_spot(account, properties, size)
    _check_quota(account, properties, size, now)
    _check_capacity(account, body, size)
    if account.happens("create: conflict", account.knobs.conflict_rate):
        raise ArmError(errors.another_operation(name))
    machine = _new_machine(account, group, name, body, size, now)
    disks = _plan_disks(account, machine, properties, now)
    _fail_at_once(account, machine, properties, now)
    machine.card_keys = tuple(_make_cards(account, machine, properties, now))
    machine.disk_keys = tuple(disk.key for disk in disks)
    account.inventory.disks.update({disk.key: disk for disk in disks})
    _draw_fate(account, machine, now)
    account.inventory.machines[machine.key] = machine
    return machine


# --------------------------------------------------------------------------------------------------------------- checks


def _check_references(account: Account, body: Mapping[str, Any], properties: Mapping[str, Any]) -> Size:
    site = account.site
    if body["location"].replace(" ", "").lower() != site.location:
        message = f"The provided location '{body['location']}' is not available for resource type 'virtualMachines'."
        raise ArmError(Refused(status=400, code="LocationNotAvailableForResourceType", message=message))
    size = site.size(properties["hardwareProfile"]["vmSize"])
    if size is None:
        raise ArmError(errors.unknown_size(properties["hardwareProfile"]["vmSize"]))
    image = properties.get("storageProfile", {}).get("imageReference", {}).get("id", "")
    if "/Microsoft.Compute/images/" in image and image.rsplit("/", 1)[-1] not in site.images:
        raise ArmError(errors.no_image(image))
    for card in properties["networkProfile"].get("networkInterfaceConfigurations", []):
        for each in card["properties"]["ipConfigurations"]:
            subnet = each.get("properties", {}).get("subnet", {}).get("id", "")
            if subnet.lower() != site.subnet_id.lower():
                raise ArmError(errors.no_subnet(subnet))
    return size


def _check_spot(account: Account, properties: Mapping[str, Any], size: Size) -> None:
    if not _is_spot(properties):
        return
    if not size.spot:
        raise ArmError(errors.spot_not_supported(size.name))
    price = properties.get("billingProfile", {}).get("maxPrice", -1)
    if 0 < price < account.knobs.spot_price:
        raise ArmError(errors.spot_price_too_high(size.name))


def _is_spot(properties: Mapping[str, Any]) -> bool:
    return properties.get("priority") in ("Spot", "Low")


def _check_quota(account: Account, properties: Mapping[str, Any], size: Size, now: float) -> None:
    refused = quota_refusal(account, size, spot=_is_spot(properties), now=now)
    if refused is not None:
        account.faults["create: quota"] += 1
        raise ArmError(refused)


def quota_refusal(account: Account, size: Size, *, spot: bool, now: float) -> Refused | None:
    """Spot machines have one quota of their own; the others count for their family and for the region."""
    site, inventory = account.site, account.inventory
    limits = [("LowPriorityCores", site.spot_cores, inventory.cores(now, spot=True))]
    if not spot:
        of_family = inventory.cores(now, spot=False, family=size.family)
        limits = [
            (f"{size.family} Cores", site.family_limit(size.family), of_family),
            ("Total Regional Cores", site.regional_cores, inventory.cores(now, spot=False)),
        ]
    for what, limit, usage in limits:
        if usage + size.cores > limit:
            return errors.cores_exceeded(what, site.location, limit, usage, size.cores)
    return None


def _check_capacity(account: Account, body: Mapping[str, Any], size: Size) -> None:
    zone = next(iter(body.get("zones", [])), "")
    if size.restricted or size.name in account.knobs.no_capacity:
        account.faults["create: sku not available"] += 1
        raise ArmError(errors.sku_not_available(size.name, account.site.location))
    if zone and zone not in {*size.zones} - {*size.closed_zones}:
        account.faults["create: not in the zone"] += 1
        raise ArmError(errors.sku_not_available(size.name, account.site.location))
    if zone and account.knobs.no_capacity_in_zone.get(zone) == size.name:
        account.faults["create: no capacity in the zone"] += 1
        raise ArmError(errors.zonal_allocation_failed(size.name, zone))


# --------------------------------------------------------------------------------------------------------------- making


def _new_machine(account: Account, group: str, name: str, body: Mapping[str, Any], size: Size, now: float) -> Machine:
    kept = copy.deepcopy(dict(body))
    for secret in SECRETS:
        kept["properties"].get("osProfile", {}).pop(secret, None)
    return Machine(
        id=f"{account.site.base(group)}/Microsoft.Compute/virtualMachines/{name}",
        name=name,
        group=group,
        created_s=now,
        created_at=account.stamp(now),
        location=body["location"],
        body=kept,
        size=size,
        spot=_is_spot(body["properties"]),
        zone=next(iter(body.get("zones", [])), ""),
        vm_id=str(uuid.UUID(int=account.random.getrandbits(128))),
        tag_history=[(now, dict(body.get("tags", {})))],
    )


def _fail_at_once(account: Account, machine: Machine, properties: Mapping[str, Any], now: float) -> None:
    """Refused for want of capacity; every other time the network card has been made already and stays."""
    if not account.happens("create: refused at once", account.knobs.sync_failure_rate):
        return
    if account.random.random() < 0.5:
        account.faults["create: card left behind"] += 1
        for key in _make_cards(account, machine, properties, now):
            _release_card(account, account.inventory.cards[key], now)
    raise ArmError(_no_capacity(account, machine))


def _release_card(account: Account, card: Card, at_s: float) -> None:
    card.freed_s, card.freed_at = at_s, account.stamp(at_s)
    card.reserved_until_s = at_s + account.knobs.card_reserved_s


def _no_capacity(account: Account, machine: Machine) -> Refused:
    size = machine.size.name
    zonal = bool(machine.zone)
    choices = [errors.sku_not_available(size, account.site.location), errors.overconstrained(size, zonal)]
    choices.append(errors.zonal_allocation_failed(size, machine.zone) if zonal else errors.allocation_failed(size))
    return account.random.choice(choices)


def _make_cards(account: Account, machine: Machine, properties: Mapping[str, Any], now: float) -> list[str]:
    network, made = properties["networkProfile"], []
    for wanted in network.get("networkInterfaceConfigurations", []):
        made.append(_make_card(account, machine, wanted, now))
    for given in network.get("networkInterfaces", []):
        card = living(account.inventory.cards, given["id"], now)
        if card is None:
            raise ArmError(errors.no_subnet(given["id"]))
        card.owner_id, card.freed_s = machine.id, float("inf")
        card.dies_with_it = given.get("properties", {}).get("deleteOption") == "Delete"
        made.append(card.key)
    return made


def _make_card(account: Account, machine: Machine, wanted: Mapping[str, Any], now: float) -> str:
    name = wanted["name"]
    if account.random.random() < account.knobs.suffixed_card_rate:
        name = f"{name[:70]}-{account.random.getrandbits(32):08x}"
    resource_id = f"{account.site.base(machine.group)}/Microsoft.Network/networkInterfaces/{name}"
    _check_card_is_free(account, machine, resource_id, now)
    settings, inner = wanted["properties"], wanted["properties"]["ipConfigurations"][0].get("properties", {})
    card = Card(
        id=resource_id,
        name=name,
        group=machine.group,
        created_s=now,
        created_at=account.stamp(now),
        owner_id=machine.id,
        dies_with_it=settings.get("deleteOption") == "Delete",
        address=account.new_address(machine),
        subnet_id=inner["subnet"]["id"],
        accelerated=bool(settings.get("enableAcceleratedNetworking")),
        tag_history=[(now, dict(wanted.get("tags", {})))],
    )
    if "publicIPAddressConfiguration" in inner:
        card.public_key = _make_public_address(account, machine, inner["publicIPAddressConfiguration"], card, now)
    account.inventory.cards[card.key] = card
    return card.key


def _check_card_is_free(account: Account, machine: Machine, resource_id: str, now: float) -> None:
    other = living(account.inventory.cards, resource_id, now)
    if other is None:
        return
    if other.owner_at(now):
        raise ArmError(errors.card_in_use(resource_id, other.owner_id))
    if now < other.reserved_until_s and other.owner_id.lower() != machine.key:
        raise ArmError(errors.card_reserved(resource_id, other.owner_id, round(account.knobs.card_reserved_s)))


def _make_public_address(account: Account, machine: Machine, wanted: Mapping[str, Any], card: Card, now: float) -> str:
    made = PublicAddress(
        id=f"{account.site.base(machine.group)}/Microsoft.Network/publicIPAddresses/{wanted['name']}",
        name=wanted["name"],
        group=machine.group,
        created_s=now,
        created_at=account.stamp(now),
        owner_id=card.id,
        dies_with_it=wanted.get("properties", {}).get("deleteOption") == "Delete",
        address=card.address,
        tag_history=[(now, dict(wanted.get("tags", {})))],
    )
    account.inventory.addresses[made.key] = made
    return made.key


def _plan_disks(account: Account, machine: Machine, properties: Mapping[str, Any], now: float) -> list[Disk]:
    """An ephemeral system disk is no resource; a name that is taken is a conflict."""
    storage = properties.get("storageProfile", {})
    wanted = [] if "diffDiskSettings" in storage.get("osDisk", {}) else [(storage.get("osDisk", {}), True)]
    wanted += [(disk, False) for disk in storage.get("dataDisks", []) if disk["createOption"] != "Attach"]
    disks = [_new_disk(account, machine, settings, os, now) for settings, os in wanted]
    for disk in disks:
        if living(account.inventory.disks, disk.key, now) is not None:
            message = f"Disk {disk.name} already exists in resource group {disk.group}. Only CreateOption.Attach is supported."
            raise ArmError(Refused(status=409, code="ConflictingUserInput", message=message, target="/subscriptions/..."))
    return disks


def _new_disk(account: Account, machine: Machine, settings: Mapping[str, Any], os: bool, now: float) -> Disk:
    name = settings.get("name") or f"{machine.name}_disk_{account.random.getrandbits(64):016x}"
    return Disk(
        id=f"{account.site.base(machine.group)}/Microsoft.Compute/disks/{name}",
        name=name,
        group=machine.group,
        created_s=now,
        created_at=account.stamp(now),
        owner_id=machine.id,
        dies_with_it=settings.get("deleteOption") == "Delete",
        size_gb=settings.get("diskSizeGB", 30),
        storage=settings.get("managedDisk", {}).get("storageAccountType", "Premium_LRS"),
        os=os,
        zone=machine.zone,
    )


# ----------------------------------------------------------------------------------------------------------------- fate


def _draw_fate(account: Account, machine: Machine, now: float) -> None:
    """When it is provisioned, or when and how it fails although it was accepted."""
    knobs = account.knobs
    ends_s = now + knobs.create_takes_s + account.random.uniform(0, knobs.max_create_extra_s)
    failure = None
    if account.happens("create: failed later", knobs.late_failure_rate):
        failure = _late_failure(account, machine)
        machine.failed_s, machine.failure = ends_s, failure
        if failure.code != "OSProvisioningTimedOut" and account.happens("create: no shell", knobs.shell_less_failure_rate):
            _vanish(account, machine, ends_s)
        if account.random.random() < knobs.wrapped_failure_rate:
            failure = errors.wrapped(failure)
    else:
        machine.ready_s = ends_s
        if account.happens("machine counts as failed later", knobs.flap_rate):
            machine.flaps_s = ends_s + account.random.uniform(0, knobs.max_flap_s)
    machine.tagged_s = now + account.random.uniform(0, knobs.max_untagged_s)
    operation = account.new_operation(machine.id, now, ends_s)
    operation.failure = failure
    machine.create_operation = operation.id


def _late_failure(account: Account, machine: Machine) -> Refused:
    quota = errors.cores_exceeded(f"{machine.size.family} Cores", account.site.location, 100, 100, machine.size.cores)
    return account.random.choice(
        [_no_capacity(account, machine), _no_capacity(account, machine), quota, errors.provisioning_timed_out(machine.name)]
    )


def _vanish(account: Account, machine: Machine, at_s: float) -> None:
    """No machine remains of it; card and disks do."""
    machine.gone_s = at_s
    for key in machine.card_keys:
        _release_card(account, account.inventory.cards[key], at_s)
    for key in machine.disk_keys:
        disk = account.inventory.disks[key]
        disk.freed_s, disk.freed_at = at_s, account.stamp(at_s)


def repeat_create(account: Account, machine: Machine, body: Mapping[str, Any], headers: Mapping[str, str], now: float) -> None:
    """The same name again: refused when the caller said so, when it is being deleted or when it is another machine."""
    if headers.get("if-none-match") == "*":
        raise ArmError(errors.exists_already(machine.name))
    if now >= machine.deleting_s:
        raise ArmError(errors.marked_for_deletion(machine.name))
    for member in ("osProfile", "storageProfile"):
        asked = copy.deepcopy(body["properties"].get(member, {}))
        for secret in SECRETS:
            asked.pop(secret, None)
        if asked != machine.body["properties"].get(member, {}):
            raise ArmError(errors.cannot_change(machine.name, member))
    machine.retag(now, body.get("tags", {}))
    machine.revision += 1
