"""The settings of the Azure driver: upstream's keys as upstream has them, ours beside them, every mistake named with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure_world import GIVEN, SUBSCRIPTION, parameters

from dispatcher.driver import Misconfigured
from drivers.azure.parameters import SMALLEST_AGE_S, parse

# Every key of the Go dispatcher, with a value that it takes too.
UPSTREAM = {
    "SubscriptionID": SUBSCRIPTION, "ClientID": "c", "ClientSecret": "s", "TenantID": "t", "CloudEnvironment": "AzurePublicCloud",
    "Location": "centralus", "ResourceGroup": "rg", "NetworkResourceGroup": "net", "Network": "vnet", "Subnet": "sub",
    "ImageResourceGroup": "img", "SharedImageGalleryName": "g", "SharedImageGalleryImageVersion": "0.0.1", "StorageAccount": "",
    "BlobContainer": "", "DeleteDanglingResourcesAfter": "20s", "AdminUsername": "crunch",
}  # fmt: skip


def test_a_file_of_the_go_dispatcher_is_taken_as_it_is() -> None:
    """All its keys, and what the absent ones mean."""
    read = parse(UPSTREAM)
    assert (read.group, read.network_group, read.image_group, read.admin_user) == ("rg", "net", "img", "crunch")
    least = parse({name: UPSTREAM[name] for name in ("SubscriptionID", "ClientID", "ClientSecret", "TenantID", "ResourceGroup",
                                                     "Network", "Subnet")})  # fmt: skip
    assert (least.location, least.network_group, least.image_group) == ("centralus", "rg", "rg")
    assert (least.leftover_age_s, least.place.arm, least.admin_user) == (20.0, "https://management.azure.com", "")


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"SubscriptionID": ""}, "SubscriptionID"),
    ({"SubscriptionID": "no uuid"}, "SubscriptionID"),
    ({"ResourceGroup": None}, "ResourceGroup"),
    ({"Network": ""}, "Network"),
    ({"Subnet": ["a"]}, "Subnet"),
    ({"ClientSecret": ""}, "ClientSecret"),
    ({"ClientSecret": 5}, "ClientSecret"),
    ({"ClientSecretFile": "/etc/hostname"}, "ClientSecretFile"),
    ({"ClientSecret": None, "ClientSecretFile": "/no/such/file"}, "ClientSecretFile"),
    ({"AuthMethod": "Magic"}, "AuthMethod"),
    ({"AuthMethod": "ClientCertificate"}, "ClientCertificatePath"),
    ({"CloudEnvironment": "AzureGermanCloud"}, "CloudEnvironment"),
    ({"ARMEndpoint": "http://plain"}, "ARMEndpoint"),
    ({"CABundle": "/no/such/file"}, "CABundle"),
    ({"SharedImageGalleryName": "g"}, "SharedImageGalleryImageVersion"),
    ({"SharedImageGalleryImageVersion": "1"}, "SharedImageGalleryName"),
    ({"StorageAccount": "blobs"}, "StorageAccount"),
    ({"BlobContainer": "vhds"}, "BlobContainer"),
    ({"DeleteDanglingResourcesAfter": "soon"}, "DeleteDanglingResourcesAfter"),
    ({"AdminUsername": "root"}, "AdminUsername"),
    ({"AdminUsername": "admin"}, "AdminUsername"),
    ({"AdminUsername": "Up Per"}, "AdminUsername"),
    ({"Zones": "1"}, "Zones"),
    ({"Zones": ["1", "west"]}, "Zones.1"),
    ({"PublicIP": "yes"}, "PublicIP"),
    ({"OSDiskSizeGB": -1}, "OSDiskSizeGB"),
    ({"EphemeralOSDisk": "Somewhere"}, "EphemeralOSDisk"),
    ({"UserAssignedIdentities": ["name"]}, "UserAssignedIdentities.0"),
    ({"SecurityType": "Best"}, "SecurityType"),
    ({"HostKeyVerification": "none"}, "HostKeyVerification"),
    ({"InstanceTypeQuotaGroups": {"Standard_D": 3}}, "InstanceTypeQuotaGroups.Standard_D"),
    ({"VMProperties": []}, "VMProperties"),
    ({"Plan": {"Name": "n"}}, "Plan"),
    ({"APIVersion": "newest"}, "APIVersion"),
    ({"SubscriptionId": "x"}, "SubscriptionId"),
]


@pytest.mark.parametrize(
    ("changes", "path"), MISTAKES, ids=[f"{next(iter(row[0]))}-{number}" for number, row in enumerate(MISTAKES)]
)
def test_a_mistake_names_its_key(changes: dict[str, Any], path: str) -> None:
    """So that the check of the configuration can point at the line."""
    with pytest.raises(Misconfigured) as found:
        parameters(**changes)
    assert found.value.path == path


def test_all_mistakes_are_told_at_once() -> None:
    """A site that mends one by one starts the dispatcher ten times."""
    with pytest.raises(Misconfigured) as found:
        parameters(Subnet="", Zones="1", Ntwork="v")
    text = str(found.value)
    assert all(name in text for name in ("Subnet", "Zones", "Ntwork", "did you mean Network?"))


def test_a_secret_is_never_shown() -> None:
    """Neither in a mistake nor in the settings."""
    assert "hush-hush" not in repr(parameters())
    with pytest.raises(Misconfigured) as found:
        parameters(ClientSecretFile="/etc/hostname", Subnet="")
    assert "hush-hush" not in str(found.value)


def test_a_secret_comes_from_a_file_or_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the line's end; a mistake names the file and not what is in it."""
    (tmp_path / "secret").write_text("hush\n")
    given = {name: value for name, value in GIVEN.items() if name != "ClientSecret"}
    assert parse({**given, "ClientSecretFile": str(tmp_path / "secret")}).login.secret == "hush"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert parse({**given, "ClientSecretFile": "credential:secret"}).login.secret == "hush"
    (tmp_path / "secret").write_text("")
    with pytest.raises(Misconfigured, match="empty"):
        parse({**given, "ClientSecretFile": "credential:secret"})


@pytest.mark.parametrize(
    ("name", "arm", "scope"),
    [
        ("AzurePublicCloud", "https://management.azure.com", "https://management.azure.com/.default"),
        ("AzureChinaCloud", "https://management.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default"),
        ("AzureUSGovernmentCloud", "https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net/.default"),
    ],
)
def test_each_of_microsofts_clouds(name: str, arm: str, scope: str) -> None:
    """By upstream's names."""
    read = parameters(CloudEnvironment=name, ARMEndpoint="")
    assert (read.place.arm, read.place.scope) == (arm, scope)


def test_a_private_cloud_replaces_what_it_names() -> None:
    """Endpoint and directory; tokens are asked for that endpoint unless it names another."""
    place = parameters(ARMEndpoint="https://arm.private", AuthorityHost="https://login.private").place
    assert (place.arm, place.authority, place.scope) == (
        "https://arm.private",
        "https://login.private",
        "https://arm.private/.default",
    )


def test_leftovers_are_never_taken_too_young() -> None:
    """Upstream's default is the least, and the least is kept."""
    assert parameters(DeleteDanglingResourcesAfter="1s").leftover_age_s == SMALLEST_AGE_S
    assert parameters(DeleteDanglingResourcesAfter="1m30s").leftover_age_s == 90.0
    assert parameters(DeleteDanglingResourcesAfter=45).leftover_age_s == 45.0


def test_a_managed_identity_needs_no_secret() -> None:
    """The machine on which the dispatcher runs is trusted instead."""
    read = parameters(AuthMethod="ManagedIdentity", ManagedIdentityClientID="id", ClientSecret=None, TenantID=None, ClientID=None)
    assert (read.login.method, read.login.managed_identity_client_id) == ("ManagedIdentity", "id")
