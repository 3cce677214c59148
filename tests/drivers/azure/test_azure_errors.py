"""Azure's refusals, row by row: a body as Azure sends it, and the error and scope that the core gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dispatcher.driver import CloudError, Denied, Misconfigured, NoCapacity, QuotaReached, RateLimited, Scope
from drivers.azure.answers import failure_in_view, lasting_failure
from drivers.azure.errors import DEFAULT_RETRY_AFTER_S, MAX_TEXT, error_of, limit_and_usage, refusal_from, refusal_of
from drivers.azure.headers import Pace, pace_of
from drivers.azure.unsure import is_outage, surely_not_sent

QUOTA_TEXT = (
    "Operation could not be completed as it results in exceeding approved {} quota. Additional details - Deployment Model:"
    " Resource Manager, Location: eastus, Current Limit: 100, Current Usage: 96, Additional Required: 64, (Minimum) New Limit"
    " Required: 160."
)
THROTTLED = {
    "code": "OperationNotAllowed",
    "message": "The server rejected the request because too many requests have been received for this subscription.",
    "details": [{"code": "TooManyRequests", "target": "HighCostGet", "message": '{"operationGroup":"HighCostGet"}'}],
}
TYPE, GROUP, ALL, ANY = Scope.TYPE, Scope.GROUP, Scope.EVERYTHING, Scope.REQUEST


def error(code: str, message: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


ROWS: list[tuple[int, Any, type[CloudError], Scope]] = [
    # Quota
    (409, error("OperationNotAllowed", QUOTA_TEXT.format("standardDASv5Family Cores")), QuotaReached, GROUP),
    (409, error("OperationNotAllowed", QUOTA_TEXT.format("Total Regional Cores")), QuotaReached, ALL),
    (409, error("OperationNotAllowed", QUOTA_TEXT.format("Total Regional vCPUs")), QuotaReached, ALL),
    (409, error("OperationNotAllowed", QUOTA_TEXT.format("LowPriorityCores")), QuotaReached, GROUP),
    (409, error("QuotaExceeded", "Operation results in exceeding quota limits of Core. Maximum allowed: 10"), QuotaReached, ALL),
    (409, error("ResourceQuotaExceeded", "would exceed the quota of '800' resources"), QuotaReached, ALL),
    (
        400,
        error("SubnetIsFull", "Subnet default with address prefix 10.0.0.0/29 does not have enough capacity"),
        QuotaReached,
        ALL,
    ),
    (400, error("NetworkInterfaceCountLimitReached"), QuotaReached, ALL),
    (400, error("PublicIPCountLimitReached"), QuotaReached, ALL),
    (409, error("SomethingNew", "This would exceed the limit of things"), QuotaReached, ALL),
    # Capacity
    (409, error("SkuNotAvailable", "'Following SKUs have failed for Capacity Restrictions: Standard_F2'"), NoCapacity, TYPE),
    (409, error("AllocationFailed", "Allocation failed. We do not have sufficient capacity"), NoCapacity, TYPE),
    (409, error("ZonalAllocationFailed"), NoCapacity, TYPE),
    (409, error("OverconstrainedZonalAllocationRequest"), NoCapacity, TYPE),
    (409, error("OverconstrainedAllocationRequest", "Constraints applied are: Networking Constraints"), NoCapacity, TYPE),
    (409, error("SpotPriceGreaterThanProvidedMaxPrice"), NoCapacity, TYPE),
    # Too many calls
    (429, THROTTLED, RateLimited, ALL),
    (429, {"error": THROTTLED}, RateLimited, ALL),
    (429, error("SubscriptionRequestsThrottled"), RateLimited, ALL),
    (429, "", RateLimited, ALL),
    (429, error("RetryableErrorDueToAnotherOperation"), CloudError, ANY),
    # Settings
    (400, error("AzureSpotIsNotSupportedForThisVMSize"), Misconfigured, TYPE),
    (400, error("VMSizeNotSupported"), Misconfigured, TYPE),
    (400, error("InvalidParameter", "The value of parameter vmSize is invalid"), Misconfigured, TYPE),
    (400, error("AzureSpotFeatureNotEnabledForSubscription"), Misconfigured, GROUP),
    (400, error("MaxPriceValueInvalid"), Misconfigured, TYPE),
    (404, error("ImageNotFound"), Misconfigured, ALL),
    (404, error("PlatformImageNotFound"), Misconfigured, ALL),
    (404, error("ResourceGroupNotFound"), Misconfigured, ALL),
    (409, error("ResourceGroupBeingDeleted"), Misconfigured, ALL),
    (404, error("SubscriptionNotFound"), Misconfigured, ALL),
    (400, error("InvalidResourceReference", "…/virtualNetworks/v/subnets/s referenced by … was not found"), Misconfigured, ALL),
    # Who we are
    (401, error("InvalidAuthenticationToken"), Denied, ALL),
    (401, error("ExpiredAuthenticationToken"), Denied, ALL),
    (403, error("AuthorizationFailed"), Denied, ALL),
    (403, error("LinkedAuthorizationFailed"), Denied, ALL),
    (403, error("RequestDisallowedByPolicy"), Denied, ALL),
    (409, error("ScopeLocked"), Denied, ALL),
    (409, error("MissingSubscriptionRegistration"), Denied, ALL),
    (403, error("ReadOnlyDisabledSubscription"), Denied, ALL),
    (400, error("invalid_client", "AADSTS7000215: Invalid client secret provided."), Denied, ALL),
    # State and weather
    (409, error("Conflict"), CloudError, ANY),
    (409, error("AnotherOperationInProgress"), CloudError, ANY),
    (409, error("OperationNotAllowed", "VM 'x' is marked for deletion, retry the Delete"), CloudError, ANY),
    (400, error("NicReservedForAnotherVm", "reserved for another VM for 180 seconds"), CloudError, ANY),
    (503, error("ServerBusy"), CloudError, ANY),
    (500, error("NetworkingInternalOperationError"), CloudError, ANY),
    (502, "<html><head><title>502 Bad Gateway</title></head></html>", CloudError, ANY),
    (418, "", CloudError, ANY),
]


@pytest.mark.parametrize(("status", "body", "kind", "scope"), ROWS, ids=[f"{row[0]}-{str(row[1])[:60]}" for row in ROWS])
def test_a_refusal_is_understood(status: int, body: Any, kind: type[CloudError], scope: Scope) -> None:
    """From code, details and message; never from one of them alone."""
    made = error_of(refusal_of(status, body if isinstance(body, str) else json.dumps(body), Pace()))
    assert (type(made), made.scope) == (kind, scope)
    assert str(made)


def test_12_22_a_429_without_a_time_is_a_pause_and_no_crash() -> None:
    """Upstream looks for a header that is not there, and dies."""
    made = error_of(refusal_of(429, "", pace_of({})))
    assert isinstance(made, RateLimited)
    assert made.retry_after_s == DEFAULT_RETRY_AFTER_S


def test_12_22_a_text_with_the_word_limit_is_no_quota() -> None:
    """Upstream takes every text with that word for a full quota, of everything."""
    made = error_of(refusal_of(400, json.dumps(error("InvalidParameter", "adminUsername: character limit is 64")), Pace()))
    assert not isinstance(made, QuotaReached)


def test_12_22_a_failure_after_acceptance_is_understood_from_its_details() -> None:
    """The real code stands inside two others, once as JSON in a message."""
    inner = json.dumps({"error": {"code": "AllocationFailed", "message": "no room"}})
    wrapped = {"code": "ResourceDeploymentFailure", "details": [{"code": "DeploymentFailed", "message": inner}]}
    made = error_of(refusal_from(None, wrapped, Pace()))
    assert (type(made), made.scope) == (NoCapacity, TYPE)


@pytest.mark.parametrize("code", ["OSProvisioningTimedOut", "VMExtensionProvisioningError", "Canceled", "Whatever"])
def test_a_machine_that_may_still_come_up_has_not_failed(code: str) -> None:
    """The time for booting decides; only want of room or quota, or a wrong setting, is final."""
    assert lasting_failure(refusal_from(None, {"code": code}, Pace())) is None


def test_a_view_tells_why_a_machine_failed() -> None:
    """The list itself only says that it did."""
    failed = {
        "statuses": [{"code": "PowerState/stopped"}, {"code": "ProvisioningState/failed/AllocationFailed", "message": "no"}]
    }
    assert isinstance(failure_in_view(failed), NoCapacity)
    assert failure_in_view({"statuses": [{"code": "ProvisioningState/failed/OSProvisioningTimedOut"}]}) is None
    assert failure_in_view({"statuses": [{"code": "ProvisioningState/succeeded"}]}) is None
    assert failure_in_view({}) is None


@pytest.mark.parametrize(("status", "unknown"), [(500, True), (502, True), (503, True), (408, True), (409, False), (429, False)])
def test_who_may_have_done_it_leaves_the_outcome_open(status: int, unknown: bool) -> None:
    """Only for requests that were to change something."""
    body = json.dumps(error("Whatever"))
    assert error_of(refusal_of(status, body, Pace()), has_effect=True).outcome_unknown is unknown
    assert error_of(refusal_of(status, body, Pace())).outcome_unknown is False


def test_one_busy_machine_stops_no_other() -> None:
    """The limit that is used up is that of a single machine."""
    headers = {"x-ms-ratelimit-remaining-resource": "Microsoft.Compute/DeleteVMResource;0", "Retry-After": "15"}
    pace = pace_of(headers)
    assert pace.one_machine
    assert type(error_of(refusal_of(429, "", pace))) is CloudError


def test_the_numbers_of_a_quota_are_read() -> None:
    """For logs and metrics."""
    assert limit_and_usage(QUOTA_TEXT) == (100.0, 96.0)
    assert limit_and_usage("no numbers") == (None, None)


@pytest.mark.parametrize(
    "body", ["[]", "null", "3", '{"error": null}', '{"error": []}', '{"error": {"details": 4}}', "{", "\x00"]
)
def test_any_body_is_an_error_and_none_is_a_crash(body: str) -> None:
    """Whatever some machine on the way says."""
    assert type(error_of(refusal_of(400, body, Pace()))) is CloudError


def test_a_text_is_bounded() -> None:
    """It goes to pages and logs."""
    assert len(str(error_of(refusal_of(400, json.dumps(error("X", "y" * 5000)), Pace())))) <= MAX_TEXT + 1


# ---------------------------------------------------------------------------------------------------------------- headers

DATE = "Mon, 19 Sep 2016 18:29:47 GMT"
PACES: list[tuple[dict[str, str], Pace]] = [
    ({}, Pace()),
    ({"Retry-After": "17"}, Pace(retry_after_s=17.0)),
    ({"retry-after": "2.5"}, Pace(retry_after_s=2.5)),
    ({"x-ms-retry-after-ms": "1500", "Retry-After": "9"}, Pace(retry_after_s=1.5)),
    ({"Retry-After": DATE, "Date": "Mon, 19 Sep 2016 18:29:17 GMT"}, Pace(retry_after_s=30.0)),
    ({"Retry-After": DATE, "Date": "Mon, 19 Sep 2016 18:30:17 GMT"}, Pace(retry_after_s=0.0)),
    ({"Retry-After": DATE}, Pace(retry_at=1474309787.0)),
    ({"Retry-After": "soon"}, Pace()),
    ({"Retry-After": "-4"}, Pace()),
    ({"x-ms-ratelimit-remaining-subscription-writes": "199"}, Pace(remaining=199)),
    (
        {"x-ms-ratelimit-remaining-resource": "Microsoft.Compute/PutVM3Min;107,Microsoft.Compute/PutVM30Min;587"},
        Pace(remaining=107),
    ),
    ({"x-ms-ratelimit-remaining-resource": "A/PutVMSubscriptionMaximum;9, A/PutVMResource;3"}, Pace(remaining=9)),
    ({"x-ms-ratelimit-remaining-resource": "A/PutVM;0, A/PutVMResource;0"}, Pace(remaining=0)),
    ({"x-ms-ratelimit-remaining-resource": "garbage"}, Pace()),
]


@pytest.mark.parametrize(("headers", "pace"), PACES)
def test_headers_tell_the_pace(headers: dict[str, str], pace: Pace) -> None:
    """Seconds, milliseconds or a date; the tightest limit of all machines."""
    assert pace_of(headers) == pace


# ----------------------------------------------------------------------------------------------------------- no answer


def chain(*names: str) -> Exception:
    """An error made of others, the first one outside."""
    made: Exception | None = None
    for name in reversed(names):
        kind = type(name, (Exception,), {})
        made = kind(made) if made is not None else kind("why")
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("names", "never_left"),
    [
        (("ServiceRequestError", "ConnectionError", "MaxRetryError", "NewConnectionError"), True),
        (("ServiceRequestTimeoutError", "ConnectTimeout"), True),
        (("ServiceRequestError", "SSLError", "SSLCertVerificationError"), True),
        (("ServiceRequestError", "SSLError", "SSLEOFError"), False),
        (("ServiceResponseError", "ConnectionError", "ProtocolError", "RemoteDisconnected"), False),
        (("ServiceResponseTimeoutError", "ReadTimeout"), False),
        (("ValueError",), False),
    ],
)
def test_only_a_connection_that_never_was_is_surely_not_sent(names: tuple[str, ...], never_left: bool) -> None:
    """Everything else may have reached Azure."""
    assert surely_not_sent(chain(*names)) is never_left


def test_who_could_not_be_asked_did_not_refuse() -> None:
    """A directory that does not answer is an outage; one that says no is not."""
    assert is_outage(chain("ClientAuthenticationError", "ServiceRequestError"))
    assert not is_outage(chain("ClientAuthenticationError", "ValueError"))
