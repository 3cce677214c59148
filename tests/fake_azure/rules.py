"""What a body must obey beyond its shape: facts that Azure checks and no schema says.

Each rule yields texts; none of them knows the state of the cloud.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

MACHINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}[A-Za-z0-9_]|[A-Za-z0-9]")
RESOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,78}[A-Za-z0-9_]|[A-Za-z0-9]")
RESERVED_USERS = frozenset(
    "root admin administrator user user1 user2 user3 user4 user5 test test1 test2 test3 admin1 admin2 1 123 a actuser adm aspnet "
    "backup console david guest john owner server sql support support_388945a0 sys".split()
)
MAX_CUSTOM_DATA_BYTES = 65535
MAX_TAGS, MAX_TAG_NAME, MAX_TAG_VALUE = 50, 512, 256
FORBIDDEN_IN_TAG_NAMES = frozenset("<>%&\\?/")
NEWER_NETWORK = ("2022-11-01", "2024-11-01")  # networkApiVersion → the first compute api-version that takes it
_ID = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers(/[^/]+){3,}", re.IGNORECASE)


def create_faults(body: Mapping[str, Any], version: str) -> Iterator[str]:
    """All rules for the body of a create."""
    properties = body.get("properties", {})
    yield from tag_faults(body.get("tags", {}))
    if len(body.get("zones", [])) > 1:
        yield "$.zones: a machine stands in one zone at most"
    if not properties.get("hardwareProfile", {}).get("vmSize") and not properties.get("virtualMachineScaleSet"):
        yield "$.properties.hardwareProfile.vmSize: required and missing"
    yield from _storage_faults(properties.get("storageProfile", {}))
    yield from _account_faults(properties.get("osProfile"))
    yield from _network_faults(properties.get("networkProfile", {}), version)
    yield from _spot_faults(properties)
    yield from _security_faults(properties.get("securityProfile", {}))


def tag_faults(tags: Mapping[str, str]) -> Iterator[str]:
    if len(tags) > MAX_TAGS:
        yield f"$.tags: {len(tags)} tags, at most {MAX_TAGS} are allowed"
    if len({name.lower() for name in tags}) < len(tags):
        yield "$.tags: two names differ in case only"
    for name, value in tags.items():
        if not 0 < len(name) <= MAX_TAG_NAME or FORBIDDEN_IN_TAG_NAMES & set(name):
            yield f"$.tags[{name!r}]: not a name for a tag"
        if len(value) > MAX_TAG_VALUE:
            yield f"$.tags[{name!r}]: {len(value)} characters, at most {MAX_TAG_VALUE} are allowed"


def _storage_faults(storage: Mapping[str, Any]) -> Iterator[str]:
    image, os_disk = storage.get("imageReference"), storage.get("osDisk", {})
    if image is not None:
        yield from _image_faults(image)
    if os_disk.get("createOption") == "FromImage" and image is None and "image" not in os_disk:
        yield "$.properties.storageProfile.imageReference: required for createOption FromImage"
    if "diffDiskSettings" in os_disk and os_disk.get("caching") != "ReadOnly":
        yield "$.properties.storageProfile.osDisk.caching: an ephemeral disk needs ReadOnly"
    numbers = [disk.get("lun") for disk in storage.get("dataDisks", [])]
    if len(set(numbers)) < len(numbers):
        yield "$.properties.storageProfile.dataDisks: a lun is used twice"
    for disk in storage.get("dataDisks", []):
        if disk.get("createOption") == "Empty" and not disk.get("diskSizeGB"):
            yield "$.properties.storageProfile.dataDisks: an empty disk needs diskSizeGB"


def _image_faults(image: Mapping[str, Any]) -> Iterator[str]:
    forms = [form for form in ("id", "sharedGalleryImageId", "communityGalleryImageId", "publisher") if image.get(form)]
    if len(forms) != 1:
        yield f"$.properties.storageProfile.imageReference: exactly one way to name an image, not {forms or 'none'}"
    if forms == ["publisher"] and not all(image.get(part) for part in ("offer", "sku", "version")):
        yield "$.properties.storageProfile.imageReference: publisher, offer, sku and version belong together"
    if forms == ["id"] and not _ID.fullmatch(image["id"]):
        yield f"$.properties.storageProfile.imageReference.id: {image['id']!r} is no resource id"


def _account_faults(account: Mapping[str, Any] | None) -> Iterator[str]:
    """An osProfile may be absent: specialized images bring their own."""
    if account is None:
        return
    user = account.get("adminUsername", "")
    if not user or user.lower() in RESERVED_USERS:
        yield f"$.properties.osProfile.adminUsername: {user!r} is not allowed"
    if not 0 < len(account.get("computerName", "")) <= 64:
        yield "$.properties.osProfile.computerName: between 1 and 64 characters"
    yield from _custom_data_faults(account.get("customData", ""))
    linux = account.get("linuxConfiguration", {})
    keys = linux.get("ssh", {}).get("publicKeys", [])
    if linux.get("disablePasswordAuthentication") and not keys:
        yield "$.properties.osProfile.linuxConfiguration.ssh.publicKeys: required when passwords are disabled"
    if not linux.get("disablePasswordAuthentication") and not account.get("adminPassword"):
        yield "$.properties.osProfile.adminPassword: required unless passwords are disabled"
    for key in keys:
        if key.get("path") != f"/home/{user}/.ssh/authorized_keys":
            yield f"$.properties.osProfile.linuxConfiguration.ssh.publicKeys: path {key.get('path')!r} is not that of {user!r}"


def _custom_data_faults(text: str) -> Iterator[str]:
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        yield "$.properties.osProfile.customData: not base64"
        return
    if size > MAX_CUSTOM_DATA_BYTES:
        yield f"$.properties.osProfile.customData: {size} bytes, at most {MAX_CUSTOM_DATA_BYTES} are allowed"


def _network_faults(network: Mapping[str, Any], version: str) -> Iterator[str]:
    cards, attached = network.get("networkInterfaceConfigurations", []), network.get("networkInterfaces", [])
    where = "$.properties.networkProfile"
    if bool(cards) == bool(attached):
        yield f"{where}: either network cards to make or network cards to attach"
    if cards and not network.get("networkApiVersion"):
        yield f"{where}.networkApiVersion: required with networkInterfaceConfigurations"
    if network.get("networkApiVersion") == NEWER_NETWORK[0] and version < NEWER_NETWORK[1]:
        yield f"{where}.networkApiVersion: {NEWER_NETWORK[0]} needs api-version {NEWER_NETWORK[1]}, and this is {version}"
    primary = [card for card in [*cards, *attached] if card.get("properties", {}).get("primary")]
    if len([*cards, *attached]) > 1 and len(primary) != 1:
        yield f"{where}: {len(primary)} primary network cards instead of one"
    for card in cards:
        if not RESOURCE_NAME.fullmatch(card.get("name", "")) and "{" not in card.get("name", ""):
            yield f"{where}: {card.get('name')!r} is no name for a network card"
        if not card.get("properties", {}).get("ipConfigurations"):
            yield f"{where}: a network card needs an ipConfiguration"


def _spot_faults(properties: Mapping[str, Any]) -> Iterator[str]:
    spot = properties.get("priority") in ("Spot", "Low")
    if "evictionPolicy" in properties and not spot:
        yield "$.properties.evictionPolicy: EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines"
    if "billingProfile" in properties and not spot:
        yield "$.properties.billingProfile: only for priority Spot"
    price = properties.get("billingProfile", {}).get("maxPrice", -1)
    if price != -1 and price <= 0:
        yield f"$.properties.billingProfile.maxPrice: {price} is neither -1 nor above 0"


def _security_faults(security: Mapping[str, Any]) -> Iterator[str]:
    if "uefiSettings" in security and not security.get("securityType"):
        yield "$.properties.securityProfile.uefiSettings: only with a securityType"
