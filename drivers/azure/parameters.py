"""The settings of the Azure driver, from ``DriverParameters``: upstream's keys with upstream's defaults, and ours beside them.

Reading is pure but for the files that hold secrets. Every mistake is found at once and names its key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dispatcher.driver import Misconfigured
from drivers.azure.reading import Reader
from drivers.azure.reading import problems_text as problems_text

API_VERSION = "2025-04-01"  # the first in which an inline network card carries tags
SMALLEST_AGE_S = 20.0  # younger leftovers may still be on their way to an instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One of Microsoft's clouds: where its Resource Manager and its directory answer, and what a token is asked for."""

    arm: str
    authority: str
    scope: str


CLOUDS = {
    "AzurePublicCloud": Place(
        arm="https://management.azure.com",
        authority="https://login.microsoftonline.com",
        scope="https://management.azure.com/.default",
    ),
    "AzureChinaCloud": Place(
        arm="https://management.chinacloudapi.cn",
        authority="https://login.chinacloudapi.cn",
        scope="https://management.chinacloudapi.cn/.default",
    ),
    "AzureUSGovernmentCloud": Place(
        arm="https://management.usgovcloudapi.net",
        authority="https://login.microsoftonline.us",
        scope="https://management.core.usgovcloudapi.net/.default",
    ),
}
AUTH_METHODS = ("ClientSecret", "ClientCertificate", "ManagedIdentity", "WorkloadIdentity", "AzureCLI")
HOST_KEYS = ("inject", "secret")
SECURITY_TYPES = ("TrustedLaunch", "ConfidentialVM", "Standard")
DISK_PLACEMENTS = ("CacheDisk", "ResourceDisk", "NvmeDisk")
UNMANAGED = "disks outside of Azure's management (VHD blobs) have ended; use a managed image or a gallery, and leave this out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How the dispatcher proves to Azure who it is. ``secret`` is never shown."""

    method: str = "ClientSecret"
    tenant_id: str = ""
    client_id: str = ""
    secret: str = field(default="", repr=False)
    certificate_path: str = ""
    certificate_password: str = field(default="", repr=False)
    managed_identity_client_id: str = ""
    token_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a marketplace image is bought under."""

    name: str
    product: str
    publisher: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """``admin_user``: empty when the site names none, then the dispatcher logs in as root. ``network_group`` and
    ``image_group`` are never empty. ``zones`` are tried one after the other."""

    place: Place
    ca_bundle: str = ""
    login: Login = field(default_factory=Login)
    subscription: str
    group: str
    location: str
    network_group: str
    network: str
    subnet: str
    image_group: str
    gallery: str = ""
    gallery_version: str = ""
    specialized_image: bool = False
    plan: Plan | None = None
    admin_user: str = ""
    host_key: str = "inject"
    leftover_age_s: float = SMALLEST_AGE_S
    zones: tuple[str, ...] = ()
    security_group: str = ""
    public_ip: bool = False
    accelerated_networking: bool | None = None
    os_disk_type: str = ""
    os_disk_gb: int = 0
    ephemeral_os_disk: str = ""  # "", "yes" (Azure chooses where) or a placement
    scratch_disk_type: str = ""
    identities: tuple[str, ...] = ()
    security_type: str = ""
    encryption_at_host: bool = False
    max_spot_price_factor: float = 0.0  # 0: up to the price on demand
    quota_groups: Mapping[str, str] = field(default_factory=dict)
    force_delete: bool = True
    eviction_notices: bool = True
    api_version: str = API_VERSION
    usages: bool = True
    size_table: bool = True
    retail_prices: str = ""  # a file, or an https address
    retail_currency: str = ""
    vm_properties: Mapping[str, Any] = field(default_factory=dict)


def parse(given: Mapping[str, Any]) -> Parameters:
    """Raises Misconfigured, whose text names every problem and whose path is the first one's."""
    reader = Reader(given)
    parameters = _read(reader)
    reader.refuse_unknown("the Azure driver")
    if reader.problems:
        raise Misconfigured(reader.problems[0][0], problems_text(reader.problems))
    return parameters


def _read(reader: Reader) -> Parameters:
    group = reader.text("ResourceGroup", required=True, pattern=GROUP)
    for name in ("StorageAccount", "BlobContainer"):
        if reader.text(name):
            reader.complain(name, UNMANAGED)
    gallery, version = reader.text("SharedImageGalleryName"), reader.text("SharedImageGalleryImageVersion")
    if bool(gallery) != bool(version):
        absent = "SharedImageGalleryImageVersion" if gallery else "SharedImageGalleryName"
        reader.complain(absent, "SharedImageGalleryName and SharedImageGalleryImageVersion are given together or not at all")
    return Parameters(
        place=_place(reader),
        ca_bundle=reader.file("CABundle"),
        login=_login(reader),
        subscription=reader.text("SubscriptionID", required=True, pattern=UUID),
        group=group,
        location=reader.text("Location", default="centralus", pattern=WORD).lower(),
        network_group=reader.text("NetworkResourceGroup", default=group, pattern=GROUP),
        network=reader.text("Network", required=True, pattern=WORD),
        subnet=reader.text("Subnet", required=True, pattern=WORD),
        image_group=reader.text("ImageResourceGroup", default=group, pattern=GROUP),
        gallery=gallery,
        gallery_version=version,
        specialized_image=reader.flag("SpecializedImage"),
        plan=_plan(reader),
        admin_user=_admin_user(reader),
        host_key=reader.choice("HostKeyVerification", HOST_KEYS, default="inject"),
        leftover_age_s=max(SMALLEST_AGE_S, reader.duration_s("DeleteDanglingResourcesAfter", default=SMALLEST_AGE_S)),
        zones=reader.texts("Zones", pattern=re.compile(r"[1-9]")),
        security_group=reader.text("NetworkSecurityGroup"),
        public_ip=reader.flag("PublicIP"),
        accelerated_networking=None if reader.value("AcceleratedNetworking") is None else reader.flag("AcceleratedNetworking"),
        os_disk_type=reader.text("OSDiskType", pattern=WORD),
        os_disk_gb=int(reader.number("OSDiskSizeGB")),
        ephemeral_os_disk=_ephemeral(reader),
        scratch_disk_type=reader.text("ScratchDiskType", pattern=WORD),
        identities=reader.texts("UserAssignedIdentities", pattern=RESOURCE_ID),
        security_type=reader.choice("SecurityType", ("", *SECURITY_TYPES), default=""),
        encryption_at_host=reader.flag("EncryptionAtHost"),
        max_spot_price_factor=reader.number("MaxSpotPriceFactor"),
        quota_groups=reader.texts_by_name("InstanceTypeQuotaGroups"),
        force_delete=reader.flag("ForceDelete", default=True),
        eviction_notices=reader.flag("EvictionNotices", default=True),
        api_version=reader.text("APIVersion", default=API_VERSION, pattern=re.compile(r"\d{4}-\d\d-\d\d(-preview)?")),
        usages=reader.flag("QuotaUsage", default=True),
        size_table=reader.flag("SizeTable", default=True),
        retail_prices=_retail_prices(reader),
        retail_currency=reader.text("RetailPricesCurrency", pattern=re.compile(r"[A-Z]{3}")),
        vm_properties=reader.mapping("VMProperties"),
    )


UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
GROUP = re.compile(r"[\w.()-]{1,90}")
WORD = re.compile(r"[\w.-]{1,80}")
RESOURCE_ID = re.compile(r"/subscriptions/[^/]+/.+")
ADDRESS = re.compile(r"https://[^/\s?#@]+(/[^\s#]*)?")
URL = re.compile(r"https://[^/\s?#]+")
_ADMIN = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_REFUSED_USERS = re.compile(
    r"1|123|a|actuser|adm|admin[12]?|administrator|aspnet|backup|console|david|guest|john|owner|root|server|sql|support"
    r"|support_388945a0|sys|test[123]?|user[1-5]?|video"
)


def _place(reader: Reader) -> Place:
    """One of Microsoft's clouds, any part of it replaced for a private one."""
    name = reader.choice("CloudEnvironment", tuple(CLOUDS), default="AzurePublicCloud")
    known = CLOUDS.get(name, CLOUDS["AzurePublicCloud"])
    arm = reader.text("ARMEndpoint", pattern=URL).rstrip("/")
    return Place(
        arm=arm or known.arm,
        authority=reader.text("AuthorityHost", pattern=URL).rstrip("/") or known.authority,
        scope=reader.text("TokenScope") or (f"{arm}/.default" if arm else known.scope),
    )


def _login(reader: Reader) -> Login:
    method = reader.choice("AuthMethod", AUTH_METHODS, default="ClientSecret")
    by_secret, by_certificate = method == "ClientSecret", method == "ClientCertificate"
    secret = reader.secret("ClientSecret", "ClientSecretFile")
    if by_secret and not secret and not reader.complained("ClientSecretFile"):
        reader.complain("ClientSecret", "give the secret here or its file in ClientSecretFile, or choose another AuthMethod")
    return Login(
        method=method,
        tenant_id=reader.text("TenantID", required=by_secret or by_certificate),
        client_id=reader.text("ClientID", required=by_secret or by_certificate),
        secret=secret,
        certificate_path=reader.file("ClientCertificatePath", required=by_certificate),
        certificate_password=reader.secret("ClientCertificatePassword", "ClientCertificatePasswordFile"),
        managed_identity_client_id=reader.text("ManagedIdentityClientID"),
        token_file=reader.text("FederatedTokenFile"),
    )


def _plan(reader: Reader) -> Plan | None:
    given = reader.mapping("Plan")
    if not given:
        return None
    if set(given) != {"Name", "Product", "Publisher"} or not all(isinstance(value, str) and value for value in given.values()):
        reader.complain("Plan", "a plan has exactly Name, Product and Publisher")
        return None
    return Plan(name=given["Name"], product=given["Product"], publisher=given["Publisher"])


def _admin_user(reader: Reader) -> str:
    name = reader.text("AdminUsername")
    if name and (_REFUSED_USERS.fullmatch(name) or not _ADMIN.fullmatch(name)):
        reader.complain("AdminUsername", f"Azure refuses an account called {name!r}; leave it out to log in as root")
    return name


def _retail_prices(reader: Reader) -> str:
    given = reader.text("RetailPrices")
    if "://" not in given:
        return reader.file("RetailPrices")
    if not ADDRESS.fullmatch(given):
        reader.complain("RetailPrices", f"{given!r} must be a file or an address that begins with https://")
    return given


def _ephemeral(reader: Reader) -> str:
    value = reader.value("EphemeralOSDisk")
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    return reader.choice("EphemeralOSDisk", ("", *DISK_PLACEMENTS), default="")
