"""Azure's refusals in the words of the contract: a pure function from status, codes and message to an error with its scope.

The rows are tried in order and the first that fits decides. The same code means different things with different messages
(``OperationNotAllowed`` is a quota, a throttle or a state), and what failed after it was accepted wraps the real code in others.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dispatcher.driver import CloudError, Denied, Misconfigured, NoCapacity, QuotaReached, RateLimited, Scope
from drivers.azure.headers import Pace

MAX_TEXT = 600
DEFAULT_RETRY_AFTER_S = 20.0  # when Azure refuses for too many calls and names no time
MAX_DEPTH = 6  # errors inside errors
UNSURE_STATUS = (408, 500, 502, 503, 504)


NO_PACE = Pace()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What Azure said. ``status`` is None for what failed after it was accepted; ``codes`` holds the outer code first."""

    status: int | None
    codes: tuple[str, ...] = ()
    message: str = ""
    pace: Pace = NO_PACE

    @property
    def text(self) -> str:
        """For operators: bounded, on one line."""
        code = "/".join(dict.fromkeys(self.codes)) or (f"HTTP {self.status}" if self.status else "failed")
        line = " ".join(f"{code}: {self.message}".split())
        return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]}…"


class Meaning(enum.Enum):
    """What a row makes of a refusal."""

    RATE = RateLimited
    QUOTA = QuotaReached
    CAPACITY = NoCapacity
    DENIED = Denied
    SETTING = Misconfigured
    OTHER = CloudError


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Fits when the status is one of ``status``, a code one of ``codes`` and the message holds ``message`` (each if given)."""

    meaning: Meaning
    scope: Scope = Scope.REQUEST
    status: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()
    message: str = ""
    path: str = ""  # the setting that is wrong, when one can be named
    zonal: bool = False  # another zone may have it

    def fits(self, refusal: Refusal) -> bool:
        return (
            (not self.status or refusal.status in self.status)
            and (not self.codes or any(code.lower() in self._lowered for code in refusal.codes))
            and (not self.message or re.search(self.message, refusal.message, re.IGNORECASE | re.DOTALL) is not None)
        )

    @property
    def _lowered(self) -> frozenset[str]:
        return frozenset(code.lower() for code in self.codes)


RATE, QUOTA, CAPACITY, DENIED, SETTING, OTHER = Meaning
ANY, TYPE, GROUP, ALL = Scope.REQUEST, Scope.TYPE, Scope.GROUP, Scope.EVERYTHING

# It came up badly, which is not for want of room: it may still come up, and the time for booting decides.
COMES_UP_LATE = Row(meaning=OTHER, codes=(
    "OSProvisioningTimedOut", "OSProvisioningClientError", "OSProvisioningInternalError", "VMExtensionProvisioningError",
    "VMExtensionProvisioningTimeout", "VMStartTimedOut", "VMAgentStatusCommunicationError"))

ROWS = (
    # Who we are
    Row(meaning=DENIED, scope=ALL, status=(401,)),
    Row(meaning=DENIED, scope=ALL, message=r"\bAADSTS\d+"),
    Row(meaning=DENIED, scope=ALL, codes=("InvalidAuthenticationToken", "ExpiredAuthenticationToken", "AuthenticationFailed")),
    Row(meaning=DENIED, scope=ALL, codes=(
        "AuthorizationFailed", "LinkedAuthorizationFailed", "LinkedAccessCheckFailed", "RequestDisallowedByPolicy", "ScopeLocked",
        "DisallowedOperation", "ReadOnlyDisabledSubscription", "SubscriptionNotRegistered", "MissingSubscriptionRegistration")),
    # One network card is busy: the others are not
    Row(meaning=OTHER, codes=("RetryableErrorDueToAnotherOperation", "RetryableError", "NicReservedForAnotherVm", "NicInUse",
                              "NetworkInterfaceInUse", "PublicIPAddressCannotBeDeleted")),
    # Too many calls
    Row(meaning=RATE, scope=ALL, status=(429,)),
    Row(meaning=RATE, scope=ALL, codes=("TooManyRequests", "SubscriptionRequestsThrottled", "ResourceRequestsThrottled")),
    # Quota, the narrow ones first
    Row(meaning=QUOTA, scope=GROUP, message=r"exceeding approved\s+(LowPriority|Spot)\w*\s*Cores quota"),
    Row(meaning=QUOTA, scope=ALL, message=r"exceeding approved\s+Total Regional (vCPUs|Cores) quota"),
    Row(meaning=QUOTA, scope=GROUP, message=r"exceeding approved\s+(?!Total Regional)\S.*?\b(Cores|vCPUs|Family)\b.*quota"),
    Row(meaning=QUOTA, scope=ALL, codes=("QuotaExceeded", "ResourceQuotaExceeded")),
    Row(meaning=QUOTA, scope=ALL, message=r"exceed\w*\s+(the\s+)?quota|quota\w*\s+(limit|of)\b.*exceed"),
    Row(meaning=QUOTA, scope=ALL, codes=("SubnetIsFull", "SubnetWithInsufficientIPs", "NetworkInterfaceCountLimitReached",
                                         "PublicIPCountLimitReached", "PublicIPAddressCountLimitReached")),
    # Capacity
    Row(meaning=CAPACITY, scope=TYPE, zonal=True, codes=("ZonalAllocationFailed", "OverconstrainedZonalAllocationRequest")),
    Row(meaning=CAPACITY, scope=TYPE, codes=("AllocationFailed", "OverconstrainedAllocationRequest", "SpotVMAllocationFailed",
                                             "SpotPriceGreaterThanProvidedMaxPrice", "FabricTransientCapacity")),
    Row(meaning=CAPACITY, scope=TYPE, zonal=True, codes=("SkuNotAvailable",)),
    Row(meaning=CAPACITY, scope=TYPE, message=r"not have sufficient capacity for the requested VM size"),
    # Settings of one type
    Row(meaning=SETTING, scope=TYPE, codes=("AzureSpotIsNotSupportedForThisVMSize", "VMSizeNotSupported", "InvalidVMSize",
                                            "VMSizeDoesntSupportPremiumStorage", "EphemeralOSDiskNotSupported",
                                            "DiffDiskSettingsNotSupported")),
    Row(meaning=SETTING, scope=TYPE, path="MaxSpotPriceFactor", codes=("MaxPriceValueInvalid",)),
    Row(meaning=SETTING, scope=GROUP, codes=("AzureSpotFeatureNotEnabledForSubscription",
                                             "EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines")),
    # Settings of all
    Row(meaning=SETTING, scope=ALL, path="ResourceGroup", codes=("ResourceGroupNotFound", "ResourceGroupBeingDeleted")),
    Row(meaning=SETTING, scope=ALL, path="SubscriptionID", codes=("SubscriptionNotFound", "InvalidSubscriptionId")),
    Row(meaning=SETTING, scope=ALL, path="Location", codes=("LocationNotAvailableForResourceType", "NoRegisteredProviderFound")),
    Row(meaning=SETTING, scope=ALL, codes=(
        "ImageNotFound", "GalleryImageNotFound", "PlatformImageNotFound", "ImageVersionNotFound", "ImageVersionDeprecated",
        "VMMarketplaceInvalidInput", "MarketplacePurchaseEligibilityFailed", "ResourcePurchaseValidationFailed")),
    Row(meaning=SETTING, scope=ALL, path="Subnet", codes=("InvalidResourceReference", "SubnetNotFound", "VirtualNetworkNotFound"),
        message=r"subnet|virtualNetworks"),
    # The state of one machine: later
    Row(meaning=OTHER, codes=("Conflict", "OperationPreempted", "AnotherOperationInProgress", "OperationInProgress",
                              "ConflictingUserInput", "PreconditionFailed")),
    Row(meaning=OTHER, message=r"marked for deletion|is being deleted"),
    COMES_UP_LATE,
    # Azure is not well
    Row(meaning=OTHER, status=UNSURE_STATUS),
    Row(meaning=OTHER, codes=("ServerBusy", "InternalServerError", "InternalExecutionError", "NetworkingInternalOperationError",
                              "GatewayTimeout", "ServerTimeout", "InternalOperationError")),
    # What we asked for is not good
    Row(meaning=SETTING, scope=TYPE, codes=("InvalidParameter", "BadRequest", "InvalidTemplate", "InvalidRequestFormat",
                                            "InvalidRequestContent", "PropertyChangeNotAllowed", "InvalidResourceReference",
                                            "OperandNotSupported", "LinkedInvalidPropertyId", "FeatureNotEnabled")),
    Row(meaning=DENIED, scope=ALL, status=(403,)),
    # The last resort, where upstream begins
    Row(meaning=QUOTA, scope=ALL, status=(400, 403, 409), message=r"\bexceed|\bquota\b"),
)  # fmt: skip
UNKNOWN = Row(meaning=OTHER)


def row_of(refusal: Refusal) -> Row:
    return next((row for row in ROWS if row.fits(refusal)), UNKNOWN)


def error_of(refusal: Refusal, *, has_effect: bool = False) -> CloudError:
    """The contract's error. ``has_effect``: the request was to change something, so that an unsure answer leaves it open."""
    row = row_of(refusal)
    error = _MAKE[row.meaning](refusal, row)
    error.outcome_unknown = has_effect and refusal.status in UNSURE_STATUS and row.meaning in (OTHER, RATE)
    return error


def is_narrow(error: CloudError, refusal: Refusal) -> bool:
    """Whether this refusal is about one machine or card alone, so that its pause concerns no other."""
    return type(error) is CloudError and (refusal.pace.one_machine or (refusal.status or 500) < 500)


def _rate(refusal: Refusal, row: Row) -> CloudError:
    """When only one machine was asked about too often, the others have to suffer no pause."""
    if refusal.pace.one_machine:
        return CloudError(refusal.text)
    after_s, at = refusal.pace.retry_after_s, refusal.pace.retry_at
    after_s = DEFAULT_RETRY_AFTER_S if after_s is None and at is None else after_s
    return RateLimited(refusal.text, retry_after_s=after_s, retry_at=at, scope=row.scope)


def _setting(refusal: Refusal, row: Row) -> CloudError:
    error = Misconfigured(row.path, refusal.text)
    error.scope = row.scope
    return error


_MAKE: dict[Meaning, Callable[[Refusal, Row], CloudError]] = {
    RATE: _rate,
    SETTING: _setting,
    QUOTA: lambda refusal, row: QuotaReached(refusal.text, scope=row.scope),
    CAPACITY: lambda refusal, row: NoCapacity(refusal.text, scope=row.scope),
    DENIED: lambda refusal, row: Denied(refusal.text, scope=row.scope),
    OTHER: lambda refusal, row: CloudError(refusal.text, scope=row.scope),
}


# ---------------------------------------------------------------------------------------------------------------- numbers

_LIMIT = re.compile(r"Current Limit:\s*(\d+)", re.IGNORECASE)
_USAGE = re.compile(r"Current Usage:\s*(\d+)", re.IGNORECASE)


def limit_and_usage(message: str) -> tuple[float | None, float | None]:
    """The numbers that a quota refusal names."""
    limit, usage = _LIMIT.search(message), _USAGE.search(message)
    return (float(limit[1]) if limit else None, float(usage[1]) if usage else None)


# ---------------------------------------------------------------------------------------------------------------- reading


def refusal_of(status: int | None, body: str, pace: Pace) -> Refusal:
    """From the text of an answer: JSON with or without the outer ``error``, or the page of some machine on the way."""
    try:
        read = json.loads(body)
    except ValueError:
        return Refusal(status=status, message=_words(body), pace=pace)
    error = read.get("error", read) if isinstance(read, Mapping) else {}
    return refusal_from(status, error, pace)


def refusal_from(status: int | None, error: object, pace: Pace) -> Refusal:
    """From the mapping below ``error``."""
    pairs = list(_walk(error, 0))
    codes = tuple(dict.fromkeys(code for code, _ in pairs if code))
    return Refusal(status=status, codes=codes, message=" ".join(dict.fromkeys(text for _, text in pairs if text)), pace=pace)


def _walk(error: object, depth: int) -> Iterator[tuple[str, str]]:
    """(code, message) of an error and of all inside it; some put JSON into a message."""
    if not isinstance(error, Mapping) or depth > MAX_DEPTH:
        return
    message = error.get("message")
    inner = _json_in(message)
    yield str(error.get("code") or ""), "" if inner is not None else str(message or "")
    details = error.get("details")
    for part in (inner, error.get("innererror"), error.get("innerError"), *(details if isinstance(details, list) else ())):
        yield from _walk(part.get("error", part) if isinstance(part, Mapping) else None, depth + 1)


def _json_in(message: object) -> Any:
    if not isinstance(message, str) or not message.lstrip().startswith("{"):
        return None
    try:
        return json.loads(message)
    except ValueError:
        return None


def _words(body: str) -> str:
    """What a person would read of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", body[:4000]).split())[:300]
