"""Bodies of our own that a create may have, from the smallest to one with everything, for tests of the fake itself."""

from __future__ import annotations

import base64
import copy
from typing import Any

from tests.fake_azure.site import Site

API = "2025-04-01"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4 test"


def machine_body(name: str, site: Site | None = None, *, size: str = "Standard_D2s_v5", **more: Any) -> dict[str, Any]:
    """A Linux machine from a managed image with one network card; ``more`` goes beside ``properties``."""
    site = Site() if site is None else site
    ip = {"name": "ip1", "properties": {"primary": True, "subnet": {"id": site.subnet_id}}}
    card = {"primary": True, "deleteOption": "Delete", "ipConfigurations": [ip]}
    ssh = {"publicKeys": [{"path": "/home/crunch/.ssh/authorized_keys", "keyData": KEY}]}
    return {
        "location": site.location,
        "tags": {"InstanceSetID": "test"},
        "properties": {
            "hardwareProfile": {"vmSize": size},
            "storageProfile": {
                "imageReference": {"id": f"{site.base(site.group)}/Microsoft.Compute/images/{site.images[0]}"},
                "osDisk": {"name": f"{name}-os", "createOption": "FromImage", "deleteOption": "Delete"},
            },
            "osProfile": {
                "computerName": name,
                "adminUsername": "crunch",
                "customData": base64.b64encode(b"#!/bin/sh\n").decode(),
                "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": ssh},
            },
            "networkProfile": {
                "networkApiVersion": "2022-11-01",
                "networkInterfaceConfigurations": [
                    {"name": f"{name}-nic", "tags": {"InstanceSetID": "test"}, "properties": card}
                ],
            },
        },
        **more,
    }


def spot_body(name: str, site: Site | None = None, *, max_price: float = -1) -> dict[str, Any]:
    """The same as a spot machine in a zone, with an ephemeral system disk."""
    body = machine_body(name, site, zones=["1"])
    body["properties"] |= {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": max_price}}
    body["properties"]["storageProfile"]["osDisk"] |= {
        "caching": "ReadOnly",
        "diffDiskSettings": {"option": "Local", "placement": "ResourceDisk"},
    }
    return body


def full_body(name: str, site: Site | None = None) -> dict[str, Any]:
    """Everything that a driver may have a use for."""
    body = machine_body(name, site)
    properties = body["properties"]
    body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/s/identity": {}}}
    body["plan"] = {"name": "plan", "publisher": "publisher", "product": "product"}
    properties["storageProfile"]["imageReference"] = {"publisher": "p", "offer": "o", "sku": "s", "version": "latest"}
    properties["storageProfile"]["osDisk"] |= {"diskSizeGB": 64, "managedDisk": {"storageAccountType": "Premium_LRS"}}
    properties["storageProfile"]["dataDisks"] = [
        {"lun": 0, "name": f"{name}-scratch", "createOption": "Empty", "deleteOption": "Delete", "diskSizeGB": 100}
    ]
    properties["securityProfile"] = {
        "securityType": "TrustedLaunch",
        "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
        "encryptionAtHost": True,
    }
    properties["diagnosticsProfile"] = {"bootDiagnostics": {"enabled": True}}
    card = properties["networkProfile"]["networkInterfaceConfigurations"][0]["properties"]
    card |= {"enableAcceleratedNetworking": True, "networkSecurityGroup": {"id": "/subscriptions/s/nsg"}}
    card["ipConfigurations"][0]["properties"]["publicIPAddressConfiguration"] = {
        "name": f"{name}-ip",
        "sku": {"name": "Standard", "tier": "Regional"},
        "properties": {"deleteOption": "Delete", "publicIPAllocationMethod": "Static"},
    }
    return body


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy in which the member at a dotted path (numbers are places in lists) is another; Ellipsis takes it away."""
    made = copy.deepcopy(body)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner: Any = made
    for part in parents:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return made
