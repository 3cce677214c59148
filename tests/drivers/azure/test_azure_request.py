"""The body of the one PUT: a table of settings and what each of them puts where; and what a new machine is given to run."""

from __future__ import annotations

import base64
import email
import json
from typing import Any

import pytest
from azure_world import GROUP, HOST_KEY, NAME, RSA, SCRATCH, SPOT, SUBSCRIPTION, parameters, request

from dispatcher.driver import Misconfigured
from drivers.azure.boot import MAX_CUSTOM_DATA, custom_data
from drivers.azure.images import image_reference
from drivers.azure.request import Birth, login_user, merged, vm_body

BIRTH = Birth(tags={"a": "b"}, network_tags={"c": "d"}, custom_data=b"#!/bin/sh\n", admin_user="crunch", admin_key=RSA)


def body(birth: Birth = BIRTH, *, of: Any = None, **changes: Any) -> dict[str, Any]:
    return vm_body(of or request(), parameters(**changes), birth)


def at(value: Any, path: str) -> Any:
    """The member at ``a.0.b``; None when it is not there."""
    for name in path.split("."):
        if isinstance(value, list):
            value = value[int(name)] if int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


CARD = "properties.networkProfile.networkInterfaceConfigurations.0"
DISK = "properties.storageProfile.osDisk"
DATA = "properties.storageProfile.dataDisks.0"

MEMBERS: list[tuple[dict[str, Any], str, Any]] = [
    ({}, "location", "centralus"),
    ({"Location": "WestEurope"}, "location", "westeurope"),
    ({}, "tags", {"a": "b"}),
    ({}, "properties.hardwareProfile.vmSize", "Standard_D2s_v5"),
    ({}, "properties.osProfile.computerName", NAME),
    ({}, "properties.osProfile.adminUsername", "crunch"),
    ({}, "properties.osProfile.linuxConfiguration.disablePasswordAuthentication", True),
    ({}, "properties.osProfile.linuxConfiguration.ssh.publicKeys.0.keyData", RSA),
    ({}, "properties.osProfile.linuxConfiguration.ssh.publicKeys.0.path", "/home/crunch/.ssh/authorized_keys"),
    ({}, "properties.osProfile.customData", base64.b64encode(b"#!/bin/sh\n").decode()),
    ({}, f"{CARD}.name", f"{NAME}-nic"),
    ({}, f"{CARD}.tags", {"c": "d"}),
    ({}, f"{CARD}.properties.deleteOption", "Delete"),
    ({}, f"{CARD}.properties.enableAcceleratedNetworking", None),
    ({"AcceleratedNetworking": True}, f"{CARD}.properties.enableAcceleratedNetworking", True),
    ({"NetworkSecurityGroup": "/subscriptions/x/nsg"}, f"{CARD}.properties.networkSecurityGroup.id", "/subscriptions/x/nsg"),
    ({"PublicIP": True}, f"{CARD}.properties.ipConfigurations.0.properties.publicIPAddressConfiguration.properties.deleteOption",
     "Delete"),
    ({}, f"{CARD}.properties.ipConfigurations.0.properties.publicIPAddressConfiguration", None),
    ({}, f"{DISK}.name", f"{NAME}-os"),
    ({}, f"{DISK}.deleteOption", "Delete"),
    ({}, f"{DISK}.createOption", "FromImage"),
    ({"OSDiskType": "Premium_LRS"}, f"{DISK}.managedDisk.storageAccountType", "Premium_LRS"),
    ({"OSDiskSizeGB": 64}, f"{DISK}.diskSizeGB", 64),
    ({"EphemeralOSDisk": True, "OSDiskType": "Premium_LRS"}, f"{DISK}.managedDisk", None),
    ({"EphemeralOSDisk": True}, f"{DISK}.diffDiskSettings", {"option": "Local"}),
    ({"EphemeralOSDisk": True}, f"{DISK}.caching", "ReadOnly"),
    ({"EphemeralOSDisk": "NvmeDisk"}, f"{DISK}.diffDiskSettings", {"option": "Local", "placement": "NvmeDisk"}),
    ({}, "properties.storageProfile.dataDisks", None),
    ({}, "zones", None),
    ({}, "identity", None),
    ({"UserAssignedIdentities": ["/subscriptions/x/y"]}, "identity.userAssignedIdentities", {"/subscriptions/x/y": {}}),
    ({"SecurityType": "TrustedLaunch"}, "properties.securityProfile.uefiSettings.vTpmEnabled", True),
    ({"SecurityType": "ConfidentialVM"}, f"{DISK}.managedDisk.securityProfile.securityEncryptionType", "VMGuestStateOnly"),
    ({"EncryptionAtHost": True}, "properties.securityProfile", {"encryptionAtHost": True}),
    ({}, "properties.securityProfile", None),
    ({"Plan": {"Name": "n", "Product": "p", "Publisher": "q"}}, "plan", {"name": "n", "product": "p", "publisher": "q"}),
    ({"SpecializedImage": True}, "properties.osProfile", None),
    ({"SpecializedImage": True}, "properties.userData", base64.b64encode(b"#!/bin/sh\n").decode()),
    ({"VMProperties": {"diagnosticsProfile": {"bootDiagnostics": {"enabled": True}}}},
     "properties.diagnosticsProfile.bootDiagnostics.enabled", True),
    ({"VMProperties": {"storageProfile": {"diskControllerType": "NVMe"}}}, f"{DISK}.name", f"{NAME}-os"),
    ({}, "properties.priority", None),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "path", "value"), MEMBERS)
def test_a_setting_is_a_member_of_the_request(changes: dict[str, Any], path: str, value: Any) -> None:
    """Each key does one thing, and what was not configured is not sent."""
    assert at(body(**changes), path) == value


def test_the_subnet_is_that_of_the_network_group() -> None:
    """The network may stand in another resource group than the machines."""
    found = at(body(NetworkResourceGroup="net"), f"{CARD}.properties.ipConfigurations.0.properties.subnet.id")
    wanted = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/vnet/subnets/default"
    assert found == wanted


def test_added_scratch_is_a_data_disk_that_goes_with_the_machine() -> None:
    """Upstream refuses it on Azure. A started gigabyte counts whole."""
    made = body(of=request(instance_type=SCRATCH), ScratchDiskType="StandardSSD_LRS")
    assert at(made, DATA) == {
        "lun": 0, "name": f"{NAME}-scratch", "createOption": "Empty", "deleteOption": "Delete", "diskSizeGB": 51,
        "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
    }  # fmt: skip


@pytest.mark.parametrize(("factor", "price"), [(0, -1), (1.5, 0.15), (0.123456, 0.01235)])
def test_spot_goes_when_it_is_evicted_and_may_cost_so_much(factor: float, price: float) -> None:
    """Without a factor a spot machine may cost as much as one on demand."""
    properties = body(of=request(instance_type=SPOT), MaxSpotPriceFactor=factor)["properties"]
    assert (properties["priority"], properties["evictionPolicy"]) == ("Spot", "Delete")
    assert properties["billingProfile"] == {"maxPrice": price}


def test_a_zone_is_one() -> None:
    """The list has one member."""
    birth = Birth(tags={}, network_tags={}, custom_data=b"", admin_user="crunch", admin_key=RSA, zone="2")
    assert body(birth)["zones"] == ["2"]


def test_merging_replaces_lists_and_keeps_what_is_not_named() -> None:
    """A site's own properties win."""
    assert merged({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}, "d": 3}) == {"a": {"b": 1, "c": [2]}, "d": 3}


IMAGES: list[tuple[dict[str, Any], str, dict[str, str]]] = [
    ({}, "img", {"id": f"{GROUP}/providers/Microsoft.Compute/images/img"}),
    ({"ImageResourceGroup": "other"}, "img",
     {"id": f"{GROUP.replace('/compute', '/other')}/providers/Microsoft.Compute/images/img"}),
    ({"SharedImageGalleryName": "g", "SharedImageGalleryImageVersion": "1.2.3"}, "img",
     {"id": f"{GROUP}/providers/Microsoft.Compute/galleries/g/images/img/versions/1.2.3"}),
    ({}, "/subscriptions/s/any/thing", {"id": "/subscriptions/s/any/thing"}),
    ({}, "/CommunityGalleries/g/Images/i/Versions/latest",
     {"communityGalleryImageId": "/CommunityGalleries/g/Images/i/Versions/latest"}),
    ({}, "/SharedGalleries/g/Images/i/Versions/1", {"sharedGalleryImageId": "/SharedGalleries/g/Images/i/Versions/1"}),
    ({}, "marketplace:Debian:debian-12:12-gen2:latest",
     {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "image_id", "reference"), IMAGES)
def test_an_image_of_every_kind(changes: dict[str, Any], image_id: str, reference: dict[str, str]) -> None:
    """Managed, gallery version, whole path, community, shared, marketplace."""
    assert image_reference(image_id, parameters(**changes)) == reference


@pytest.mark.parametrize("image_id", ["", "https://account.blob/x.vhd", "marketplace:a:b", "some/path"])
def test_an_image_that_nobody_can_name_is_a_mistake(image_id: str) -> None:
    """A blob too: unmanaged disks have ended."""
    with pytest.raises(Misconfigured):
        image_reference(image_id, parameters())


# ------------------------------------------------------------------------------------------------------------------- boot


def test_the_host_key_comes_before_the_script() -> None:
    """cloud-init reads the first part before the SSH server starts; the script is the second."""
    data = custom_data("#!/bin/sh\necho site\n", authorize=("root", RSA), host_key=HOST_KEY)
    config, script = email.message_from_bytes(data).get_payload()
    assert config.get_content_type() == "text/cloud-config"
    first, _, rest = config.get_payload().partition("\n")
    assert first == "#cloud-config"
    assert json.loads(rest)["ssh_keys"] == {"ed25519_private": HOST_KEY.private, "ed25519_public": HOST_KEY.public}
    assert json.loads(rest)["ssh_deletekeys"] is True
    assert script.get_content_type() == "text/x-shellscript"
    assert script.get_payload().startswith("#!/bin/sh\n(umask 077;")
    assert "echo site" in script.get_payload()


def test_without_a_host_key_the_script_stands_alone() -> None:
    """As the Go dispatcher sends it."""
    assert custom_data("#!/bin/sh\necho site\n", authorize=None, host_key=None) == b"#!/bin/sh\necho site\n"


def test_too_much_to_run_is_a_mistake_of_the_site() -> None:
    """Azure takes 65535 bytes."""
    with pytest.raises(Misconfigured, match="InstanceInitCommand"):
        custom_data("#!/bin/sh\n" + "x" * MAX_CUSTOM_DATA, authorize=None, host_key=None)


def test_a_private_key_is_never_shown() -> None:
    """Not in a representation either."""
    assert "never shown" not in repr(HOST_KEY)
    assert "bin" not in repr(BIRTH)


@pytest.mark.parametrize(("given", "user"), [({}, "root"), ({"AdminUsername": "crunch"}, "crunch")])
def test_the_login_user_is_the_sites_or_root(given: dict[str, Any], user: str) -> None:
    """No account of ours is needed on the machine when the site names none."""
    assert login_user(parameters(**given)) == user
