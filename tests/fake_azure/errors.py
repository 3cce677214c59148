"""What the service says when it says no: codes, statuses and texts of the public documents, as values.

``ArmError`` is raised inside the fake and becomes an answer at its edge, or the end of an operation that was accepted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The content of one error. ``bare``: without the outer ``error`` member, as the compute service answers 429."""

    status: int
    code: str
    message: str
    target: str = ""
    details: tuple[dict[str, Any], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    bare: bool = False

    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.target:
            content["target"] = self.target
        if self.details:
            content["details"] = list(self.details)
        return content

    def body(self) -> dict[str, Any]:
        return self.content() if self.bare else {"error": self.content()}


class ArmError(Exception):
    """A refusal on its way to the caller."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"{refused.status} {refused.code}: {refused.message}")
        self.refused = refused


def bad_request(texts: list[str]) -> Refused:
    message = f"The request content was invalid and could not be deserialized: {'; '.join(texts)}"
    return Refused(status=400, code="InvalidRequestContent", message=message)


def no_route(method: str, path: str) -> Refused:
    return Refused(status=404, code="InvalidResourceType", message=f"No operation {method} {path} is known to the fake.")


def not_found(kind: str, name: str, group: str) -> Refused:
    message = (
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    )
    return Refused(status=404, code="ResourceNotFound", message=message)


def no_group(name: str) -> Refused:
    return Refused(status=404, code="ResourceGroupNotFound", message=f"Resource group '{name}' could not be found.")


def no_subscription(name: str) -> Refused:
    return Refused(status=404, code="SubscriptionNotFound", message=f"The subscription '{name}' could not be found.")


def unauthenticated(text: str, code: str = "InvalidAuthenticationToken") -> Refused:
    challenge = f'Bearer authorization_uri="https://login.invalid/", error="invalid_token", error_description="{text}"'
    return Refused(status=401, code=code, message=text, headers={"WWW-Authenticate": challenge})


def forbidden(action: str) -> Refused:
    message = (
        "The client 'fake' with object id 'fake' does not have authorization to perform action "
        f"'{action}' over scope 'fake' or the scope is invalid. If access was recently granted, please refresh your credentials."
    )
    return Refused(status=403, code="AuthorizationFailed", message=message)


# ------------------------------------------------------------------------------------------------------------ too many


def front_door_throttled(kind: str, retry_after_s: int) -> Refused:
    message = (
        f"Number of '{kind}' requests for the subscription exceeded the limit. Please try again after {retry_after_s} seconds."
    )
    headers = {"Retry-After": str(retry_after_s)}
    return Refused(status=429, code="SubscriptionRequestsThrottled", message=message, headers=headers)


def compute_throttled(policy: str, retry_after_s: int, allowed: int) -> Refused:
    measured = {"operationGroup": policy, "allowedRequestCount": allowed, "measuredRequestCount": allowed + 1}
    return Refused(
        status=429,
        code="OperationNotAllowed",
        message="The server rejected the request because too many requests have been received for this subscription.",
        details=({"code": "TooManyRequests", "target": policy, "message": json.dumps(measured)},),
        headers={"Retry-After": str(retry_after_s), "x-ms-ratelimit-remaining-resource": f"Microsoft.Compute/{policy};0"},
        bare=True,
    )


def card_locked(name: str) -> Refused:
    message = f"The request failed due to conflict with a concurrent request on network interface {name}. Retry later."
    return Refused(status=429, code="RetryableErrorDueToAnotherOperation", message=message, headers={"Retry-After": "10"})


# --------------------------------------------------------------------------------------------------- quota and capacity


def cores_exceeded(what: str, location: str, limit: int, usage: int, needed: int) -> Refused:
    """``what`` as in "standardDSv5Family Cores" or "LowPriorityCores"."""
    message = (
        f"Operation could not be completed as it results in exceeding approved {what} quota. Additional details - "
        f"Deployment Model: Resource Manager, Location: {location}, Current Limit: {limit}, Current Usage: {usage}, "
        f"Additional Required: {needed}, (Minimum) New Limit Required: {usage + needed}. Submit a request for Quota increase."
    )
    return Refused(status=409, code="OperationNotAllowed", message=message)


def sku_not_available(size: str, location: str) -> Refused:
    message = (
        f"The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: {size}' is currently not "
        f"available in location '{location}'. Please try another size or deploy to a different location or different zone."
    )
    return Refused(status=409, code="SkuNotAvailable", message=message, target="sku.name")


def allocation_failed(size: str) -> Refused:
    message = f"Allocation failed. We do not have sufficient capacity for the requested VM size {size} in this region."
    return Refused(status=409, code="AllocationFailed", message=message)


def zonal_allocation_failed(size: str, zone: str) -> Refused:
    message = (
        "Allocation failed. We do not have sufficient capacity for the requested VM size in this zone. "
        f"VM size: {size}, zone: {zone}."
    )
    return Refused(status=409, code="ZonalAllocationFailed", message=message)


def overconstrained(size: str, zonal: bool) -> Refused:
    message = (
        f"Allocation failed. VM(s) with the following constraints cannot be allocated, because the condition is too "
        f"restrictive. Please remove some constraints and try again. Constraints applied are: VM Size ({size})"
    )
    code = "OverconstrainedZonalAllocationRequest" if zonal else "OverconstrainedAllocationRequest"
    return Refused(status=409, code=code, message=message)


def spot_price_too_high(size: str) -> Refused:
    message = f"Unable to perform operation create VM since the provided max price is lower than the price of {size}."
    return Refused(status=409, code="SpotPriceGreaterThanProvidedMaxPrice", message=message)


def spot_not_supported(size: str) -> Refused:
    return Refused(
        status=400, code="AzureSpotIsNotSupportedForThisVMSize", message=f"Azure Spot is not supported for VM size {size}."
    )


def provisioning_timed_out(name: str) -> Refused:
    message = f"OS Provisioning for VM '{name}' did not finish in the allotted time. The VM may still finish provisioning."
    return Refused(status=409, code="OSProvisioningTimedOut", message=message)


def wrapped(refused: Refused) -> Refused:
    """As an operation of deployment style reports it: the real code among the details."""
    message = "The resource operation completed with terminal provisioning state 'Failed'."
    return Refused(status=409, code="ResourceDeploymentFailure", message=message, details=(refused.content(),))


# ------------------------------------------------------------------------------------------------------------ conflicts


def marked_for_deletion(name: str) -> Refused:
    message = (
        f"Operation is not allowed on VM '{name}' since the VM is marked for deletion. "
        "You can only retry the Delete operation (or wait for an ongoing one to complete)."
    )
    return Refused(status=409, code="OperationNotAllowed", message=message)


def another_operation(name: str) -> Refused:
    message = f"Another operation is in progress on resource '{name}'. Please try again later."
    return Refused(status=409, code="AnotherOperationInProgress", message=message)


def preempted() -> Refused:
    return Refused(status=409, code="OperationPreempted", message="Operation execution has been preempted by a more recent one.")


def exists_already(name: str) -> Refused:
    return Refused(status=412, code="PreconditionFailed", message=f"The resource '{name}' exists already (If-None-Match).")


def not_the_version(name: str) -> Refused:
    return Refused(status=412, code="PreconditionFailed", message=f"The etag of '{name}' is another one (If-Match).")


def cannot_change(name: str, member: str) -> Refused:
    message = f"Changing property '{member}' of VM '{name}' is not allowed."
    return Refused(status=409, code="PropertyChangeNotAllowed", message=message, target=member)


def card_in_use(card: str, machine: str) -> Refused:
    message = f"Network Interface {card} is used by existing resource {machine}. It has to be detached first."
    return Refused(status=400, code="NicInUse", message=message)


def card_reserved(card: str, machine: str, for_s: int) -> Refused:
    message = f"Nic(s) in request is reserved for another Virtual Machine for {for_s} seconds: {card}, VM {machine}."
    return Refused(status=400, code="NicReservedForAnotherVm", message=message)


def disk_attached(disk: str, machine: str) -> Refused:
    return Refused(status=409, code="OperationNotAllowed", message=f"Disk {disk} is attached to VM {machine}.")


def address_in_use(address: str, card: str) -> Refused:
    message = f"Public IP address {address} can not be deleted since it is still allocated to resource {card}."
    return Refused(status=400, code="PublicIPAddressCannotBeDeleted", message=message)


def unknown_size(name: str) -> Refused:
    message = f"The value {name} provided for the VM size is not valid. The valid sizes in the current region are: ..."
    return Refused(status=400, code="InvalidParameter", message=message, target="vmSize")


def no_image(image: str) -> Refused:
    return Refused(status=404, code="ImageNotFound", message=f"The Image '{image}' was not found.")


def no_subnet(subnet: str) -> Refused:
    message = f"Resource {subnet} referenced by resource was not found. Please make sure that it exists in the same region."
    return Refused(status=400, code="InvalidResourceReference", message=message)


def expired_page() -> Refused:
    return Refused(status=410, code="PaginationTokenExpired", message="The $skiptoken has expired. Begin the list again.")


# --------------------------------------------------------------------------------------------------------------- broken


def busy() -> Refused:
    message = "The server is currently busy. Please try again later."
    return Refused(status=503, code="ServerBusy", message=message, headers={"Retry-After": "1"})


def internal() -> Refused:
    return Refused(status=500, code="InternalServerError", message="Encountered internal server error.")


BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\r\n"
