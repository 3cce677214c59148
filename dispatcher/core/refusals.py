"""What a cloud's refusal is about, read from its own words: which quota, how much of it, which setting. Pure.

A driver says what kind of refusal it is; the words say which of the many quotas and settings of a cloud. The first row that fits
decides, and what no row knows keeps the cause of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from dispatcher.core.model import HoldoffKind


class Row(NamedTuple):
    """Fits when the text holds the pattern and the kind is one of ``kinds`` (none: any)."""

    cause: str
    pattern: re.Pattern[str]
    kinds: tuple[HoldoffKind, ...] = ()


def _row(cause: str, pattern: str, *kinds: HoldoffKind) -> Row:
    return Row(cause, re.compile(pattern, re.IGNORECASE), kinds)


QUOTA, CAPACITY, RATE, DENIED, ERROR = (
    HoldoffKind.QUOTA, HoldoffKind.CAPACITY, HoldoffKind.RATE, HoldoffKind.DENIED, HoldoffKind.ERROR,
)  # fmt: skip

ROWS = (
    # Clocks first: what is refused for them looks like wrong credentials.
    _row("clock-wrong", r"not within its valid time range|AADSTS700024|RequestTimeTooSkewed|RequestExpired|clock skew"),
    _row("clock-wrong", r"Signature (expired|not yet current)|token is not yet valid"),
    # Addresses, cards, disks
    _row("subnet-full", r"SubnetIsFull|SubnetWithInsufficientIPs|InsufficientFreeAddressesInSubnet|subnet\b.{0,80}\bfull\b"),
    _row("subnet-full", r"subnet\b.{0,200}(not|in)\W*(have )?(enough|sufficient)\b.{0,40}(address|capacity|IP)"),
    _row("address-quota", r"PublicIP\w*CountLimit|AddressLimitExceeded|public IP address\w*.{0,80}limit"),
    _row("card-quota", r"NetworkInterface\w*(CountLimit|LimitExceeded|Limit)\w*"),
    _row("disk-quota", r"\w*(Disk|Snapshot)Count\b|DiskQuota|VolumeLimitExceeded|VolumeQuota|disks?\b.{0,60}\bquota"),
    # Cores
    _row("quota-spot", r"(LowPriority|Spot)\w*\s*(Cores|vCPUs)?\s*quota|LowPriorityCores|MaxSpotInstanceCountExceeded", QUOTA),
    _row("quota-region", r"Total Regional (vCPUs|Cores)", QUOTA),
    # Settings
    _row("image-not-found", r"\w*Image\w*(NotFound|Deprecated|Deleted)|image\b.{0,160}\b(was |is |does )?not (found|exist)"),
    _row("image-not-found", r"InvalidAMIID|referenced\b.{0,40}\bimages/.{0,120}not found|VMMarketplaceInvalidInput"),
    _row("image-terms", r"MarketplacePurchaseEligibility|ResourcePurchaseValidation|legal terms|PurchasePlan"),
    _row("subnet-not-found", r"(subnet|virtualNetwork)\w*NotFound|(subnets?|virtualNetworks?)\b.{0,160}(was )?not (be )?found"),
    _row("resource-group-not-found", r"ResourceGroup(NotFound|BeingDeleted)|resource group\b.{0,120}(not be found|deprovision)"),
    _row("subscription-disabled", r"ReadOnlyDisabledSubscription|subscription\b.{0,80}(disabled|not registered|was not found)"),
    _row("policy", r"RequestDisallowedByPolicy|disallowed by (policy|Azure)|ScopeLocked|scope\b.{0,80}\blocked"),
    _row("cloud-permission", r"Authorization(Failed|PermissionMismatch)|not have authorization|LinkedAuthorizationFailed"),
    _row("cloud-permission", r"UnauthorizedOperation|AccessDenied|not authorized to perform"),
    _row("instance-size", r"(VMSize|InstanceType)\w*(NotSupported|Unsupported)|Invalid(VMSize|InstanceType)", ERROR),
    _row("instance-size", r"value\b.{0,80}provided for the VM size is not valid|not supported for (this )?VM size", ERROR),
)  # fmt: skip

BY_KIND = {
    QUOTA: "quota",
    CAPACITY: "no-capacity",
    HoldoffKind.UNAVAILABLE: "not-offered",
    RATE: "rate-limit",
    DENIED: "cloud-credentials",
    HoldoffKind.UNAVAILABLE: "instance-size",  # the cloud's catalogue says what it would refuse
    ERROR: "cloud-error",
}


@lru_cache(maxsize=1 << 10)
def cause_of(kind: HoldoffKind, text: str) -> str:
    """The stable cause of a refusal."""
    for row in ROWS:
        if (not row.kinds or kind in row.kinds) and row.pattern.search(text):
            return row.cause
    return BY_KIND[kind]


# ---------------------------------------------------------------------------------------------------------------- numbers


class Quota(NamedTuple):
    """What a refusal says of a quota, in the cloud's own unit (vCPUs mostly). ``more``: by how much it is too small."""

    name: str
    place: str = ""
    limit: float | None = None
    usage: float | None = None
    more: float | None = None


_NAME = re.compile(r"exceeding approved\s+(.{1,60}?)\s+quota|(\w+(?: \w+){0,3}) quota\b", re.IGNORECASE)
_PLACE = re.compile(r"Location:\s*([\w-]{1,40})", re.IGNORECASE)
_LIMIT, _USAGE, _NEED = (
    re.compile(rf"{words}:\s*(\d+)", re.IGNORECASE) for words in ("Current Limit", "Current Usage", "Additional Required")
)
_COUNTED = re.compile(r"the cloud counts ([\d.]+) of ([\d.]+) vCPUs used in ([^,]{1,80}), and one needs (\d+)")


def quota_of(text: str, group: str = "") -> Quota:
    """The quota that a text is about; ``group`` names it when the text does not."""
    counted = _COUNTED.search(text)
    if counted is not None:
        has, most = float(counted[1]), float(counted[2])
        return Quota(counted[3], "", most, has, has + float(counted[4]) - most)
    name, place = _NAME.search(text), _PLACE.search(text)
    limit, used, needs = _number(_LIMIT, text), _number(_USAGE, text), _number(_NEED, text)
    more = None if limit is None or used is None or needs is None else max(1.0, used + needs - limit)
    said = next((part for part in (name.groups() if name else ()) if part), "")
    return Quota(_short(said) or group, place[1] if place else "", limit, used, more)


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    return float(found[1]) if found else None


def _short(name: str) -> str:
    return re.sub(r"^approved\s+|\s*(Cores|vCPUs)$", "", name, flags=re.IGNORECASE)


def quota_words(quota: Quota) -> str:
    """Of the quota: its name, place, limit and usage, as far as known."""
    return "".join(_quota_parts(quota))


def _quota_parts(quota: Quota) -> Iterator[str]:
    yield f"the quota of {quota.name}" if quota.name else "a quota"
    if quota.place:
        yield f" in {quota.place}"
    if quota.limit is not None:
        yield f" ({quota.usage:g} of {quota.limit:g} used)" if quota.usage is not None else f" (limit {quota.limit:g})"
