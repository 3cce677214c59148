"""The body of the one PUT that makes a machine with its disks and its network card, all of which go when it goes.

Pure: a CreateRequest and the site's parameters in, JSON out. What the site did not name is left to Azure.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dispatcher.driver import CreateRequest
from drivers.azure.images import image_reference
from drivers.azure.parameters import Parameters

NETWORK_API = "2022-11-01"
GIB = 1 << 30
ADMIN_WITHOUT_KEY = "cloudadmin"  # the account that Azure demands when the dispatcher logs in as root
KEYS_THAT_AZURE_TAKES = ("ssh-rsa", "ssh-ed25519")


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What is drawn or chosen for one new machine. ``admin_key``: the public key of the account that Azure demands.
    ``network_tags`` are those of its network card and address: enough to know whose they are, and nothing secret."""

    tags: Mapping[str, str]
    network_tags: Mapping[str, str]
    custom_data: bytes = field(repr=False)
    admin_user: str
    admin_key: str
    zone: str | None = None


def vm_body(request: CreateRequest, parameters: Parameters, birth: Birth) -> dict[str, Any]:
    """The whole request. Raises Misconfigured for an image that nobody can name."""
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": request.instance_type.provider_type},
        "storageProfile": _storage(request, parameters),
        "networkProfile": _network(request.name, parameters, birth.network_tags),
        **_os(request.name, parameters, birth),
        **_spot(request, parameters),
        **_security(parameters),
    }
    body: dict[str, Any] = {
        "location": parameters.location,
        "tags": dict(birth.tags),
        "properties": merged(properties, parameters.vm_properties),
    }
    if birth.zone is not None:
        body["zones"] = [birth.zone]
    if parameters.identities:
        body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {name: {} for name in parameters.identities}}
    if parameters.plan is not None:
        plan = parameters.plan
        body["plan"] = {"name": plan.name, "product": plan.product, "publisher": plan.publisher}
    return body


def subnet_id(parameters: Parameters) -> str:
    group = f"/subscriptions/{parameters.subscription}/resourceGroups/{parameters.network_group}"
    return f"{group}/providers/Microsoft.Network/virtualNetworks/{parameters.network}/subnets/{parameters.subnet}"


def login_user(parameters: Parameters) -> str:
    """As whom the dispatcher logs in to a machine that it makes now."""
    return parameters.admin_user or "root"


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged in depth, anything else is replaced."""
    result = dict(ours)
    for name, value in theirs.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = merged(result[name], value) if both else value
    return result


# ------------------------------------------------------------------------------------------------------------------ disks


def _storage(request: CreateRequest, parameters: Parameters) -> dict[str, Any]:
    storage: dict[str, Any] = {
        "imageReference": image_reference(request.image_id, parameters),
        "osDisk": _os_disk(request.name, parameters),
    }
    scratch = request.instance_type.added_scratch_bytes
    if scratch > 0:
        storage["dataDisks"] = [_scratch_disk(request.name, scratch, parameters)]
    return storage


def _os_disk(name: str, parameters: Parameters) -> dict[str, Any]:
    disk: dict[str, Any] = {"name": f"{name}-os", "createOption": "FromImage", "deleteOption": "Delete"}
    if parameters.os_disk_gb:
        disk["diskSizeGB"] = parameters.os_disk_gb
    if parameters.ephemeral_os_disk:
        where = {} if parameters.ephemeral_os_disk == "yes" else {"placement": parameters.ephemeral_os_disk}
        return {**disk, "caching": "ReadOnly", "diffDiskSettings": {"option": "Local", **where}}
    managed: dict[str, Any] = {}
    if parameters.os_disk_type:
        managed["storageAccountType"] = parameters.os_disk_type
    if parameters.security_type == "ConfidentialVM":
        managed["securityProfile"] = {"securityEncryptionType": "VMGuestStateOnly"}
    return {**disk, "managedDisk": managed} if managed else disk


def _scratch_disk(name: str, size_bytes: int, parameters: Parameters) -> dict[str, Any]:
    disk: dict[str, Any] = {
        "lun": 0,
        "name": f"{name}-scratch",
        "createOption": "Empty",
        "deleteOption": "Delete",
        "diskSizeGB": math.ceil(size_bytes / GIB),
    }
    if parameters.scratch_disk_type:
        disk["managedDisk"] = {"storageAccountType": parameters.scratch_disk_type}
    return disk


# ---------------------------------------------------------------------------------------------------------------- network


def _network(name: str, parameters: Parameters, tags: Mapping[str, str]) -> dict[str, Any]:
    address: dict[str, Any] = {"primary": True, "subnet": {"id": subnet_id(parameters)}}
    if parameters.public_ip:
        address["publicIPAddressConfiguration"] = {
            "name": f"{name}-ip",
            "properties": {"deleteOption": "Delete", "publicIPAllocationMethod": "Static"},
            "sku": {"name": "Standard", "tier": "Regional"},
            "tags": dict(tags),
        }
    card: dict[str, Any] = {
        "primary": True,
        "deleteOption": "Delete",
        "ipConfigurations": [{"name": "ip1", "properties": address}],
    }
    if parameters.accelerated_networking is not None:
        card["enableAcceleratedNetworking"] = parameters.accelerated_networking
    if parameters.security_group:
        card["networkSecurityGroup"] = {"id": _security_group_id(parameters)}
    return {
        "networkApiVersion": NETWORK_API,
        "networkInterfaceConfigurations": [{"name": f"{name}-nic", "tags": dict(tags), "properties": card}],
    }


def _security_group_id(parameters: Parameters) -> str:
    if parameters.security_group.startswith("/"):
        return parameters.security_group
    group = f"/subscriptions/{parameters.subscription}/resourceGroups/{parameters.network_group}"
    return f"{group}/providers/Microsoft.Network/networkSecurityGroups/{parameters.security_group}"


# --------------------------------------------------------------------------------------------------------------- the rest


def _os(name: str, parameters: Parameters, birth: Birth) -> dict[str, Any]:
    """An image that was not generalized brings its own accounts, takes no ``osProfile``, and gets its script as ``userData``."""
    data = base64.b64encode(birth.custom_data).decode()
    if parameters.specialized_image:
        return {"userData": data}
    key = {"path": f"/home/{birth.admin_user}/.ssh/authorized_keys", "keyData": birth.admin_key}
    return {
        "osProfile": {
            "computerName": name,
            "adminUsername": birth.admin_user,
            "customData": data,
            "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": [key]}},
        }
    }


def _spot(request: CreateRequest, parameters: Parameters) -> dict[str, Any]:
    if not request.instance_type.preemptible:
        return {}
    limit = round(request.instance_type.price * parameters.max_spot_price_factor, 5)
    return {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": limit if limit > 0 else -1}}


def _security(parameters: Parameters) -> dict[str, Any]:
    profile: dict[str, Any] = {}
    if parameters.security_type:
        profile["securityType"] = parameters.security_type
    if parameters.security_type in ("TrustedLaunch", "ConfidentialVM"):
        profile["uefiSettings"] = {"secureBootEnabled": True, "vTpmEnabled": True}
    if parameters.encryption_at_host:
        profile["encryptionAtHost"] = True
    return {"securityProfile": profile} if profile else {}
