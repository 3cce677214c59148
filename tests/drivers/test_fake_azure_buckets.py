"""Azure's limits as the fake keeps them: what a burst may be, what comes after, what an answer says about it."""

from __future__ import annotations

import json

import pytest

from tests.fake_azure.buckets import Bucket, Limits, Rate, Throttle

REGION = "eastus"


def passed(throttle: Throttle, count: int, method: str, operation: str, *, now: float = 0.0, machine: str = "") -> int:
    """How many of so many calls at one time pass."""
    verdicts = [throttle.take(now, method, operation, region=REGION, machine=machine) for _ in range(count)]
    return sum(verdict.refused is None for verdict in verdicts)


@pytest.mark.parametrize(
    ("method", "operation", "machine", "burst", "after_a_minute"),
    [
        ("PUT", "create vm", "vm-1", 12, 4),
        ("PATCH", "update vm", "vm-1", 12, 4),
        ("DELETE", "delete vm", "vm-1", 12, 4),
        ("GET", "get vm", "vm-1", 36, 12),
        ("GET", "get operation", "op-1", 45, 15),
        ("PUT", "create vm", "", 200, 200),  # the front door comes before the 1500 of the compute service
        ("DELETE", "delete vm", "", 200, 200),
        ("GET", "list vms", "", 250, 250),
        ("GET", "list network cards", "", 250, 250),
    ],
)
def test_a_burst_passes_and_then_the_rate(method: str, operation: str, machine: str, burst: int, after_a_minute: int) -> None:
    """The published numbers: bucket sizes, and what a minute brings back."""
    throttle = Throttle()
    assert passed(throttle, 600, method, operation, machine=machine) == burst
    assert passed(throttle, 600, method, operation, now=60.0, machine=machine) == after_a_minute


def test_one_machine_has_no_bearing_on_another() -> None:
    """Its bucket is its own; names compare without regard to case."""
    throttle = Throttle()
    assert passed(throttle, 20, "DELETE", "delete vm", machine="vm-1") == 12
    assert passed(throttle, 1, "DELETE", "delete vm", machine="VM-1") == 0
    assert passed(throttle, 20, "DELETE", "delete vm", machine="vm-2") == 12


def test_lists_are_dear() -> None:
    """900 at once, then 300 a minute, for the whole subscription: a fast front door changes nothing about it."""
    throttle = Throttle(Limits(reads=Rate(10_000, 1000)))
    assert passed(throttle, 1500, "GET", "list vms") == 900
    assert passed(throttle, 1500, "GET", "list vms", now=60.0) == 300


def test_a_refusal_of_the_compute_service_names_the_policy() -> None:
    """No outer error member, the code OperationNotAllowed, TooManyRequests among the details, and when to come back."""
    throttle = Throttle()
    passed(throttle, 12, "DELETE", "delete vm", machine="vm-1")
    refused = throttle.take(0.0, "DELETE", "delete vm", region=REGION, machine="vm-1").refused
    assert refused is not None
    assert (refused.status, refused.body()["code"]) == (429, "OperationNotAllowed")
    assert refused.headers["Retry-After"] == "15"
    assert refused.headers["x-ms-ratelimit-remaining-resource"] == "Microsoft.Compute/DeleteVMResource;0"
    detail = refused.body()["details"][0]
    assert (detail["code"], detail["target"]) == ("TooManyRequests", "DeleteVMResource")
    assert json.loads(detail["message"])["allowedRequestCount"] == 12


def test_a_refusal_of_the_front_door_is_another() -> None:
    """With the outer member, and a short wait."""
    throttle = Throttle()
    passed(throttle, 200, "PUT", "create vm")
    refused = throttle.take(0.0, "PUT", "create vm", region=REGION).refused
    assert refused is not None
    assert refused.body()["error"]["code"] == "SubscriptionRequestsThrottled"
    assert refused.headers["Retry-After"] == "1"


def test_every_answer_says_what_remains() -> None:
    """Also those that pass: of the front door, of the machine and of the subscription."""
    headers = Throttle().take(0.0, "PUT", "create vm", region=REGION, machine="vm-1").headers
    assert headers["x-ms-ratelimit-remaining-subscription-writes"] == "199"
    resource = headers["x-ms-ratelimit-remaining-resource"]
    assert resource == "Microsoft.Compute/PutVMResource;11,Microsoft.Compute/PutVMSubscriptionMaximum;1499"


def test_who_waits_as_told_passes_and_who_does_not_is_counted() -> None:
    """A Retry-After is enough, and calls before it are remembered against the caller."""
    throttle = Throttle()
    passed(throttle, 13, "DELETE", "delete vm", machine="vm-1")
    assert throttle.impatience["delete vm"] == 0
    assert passed(throttle, 1, "DELETE", "delete vm", now=5.0, machine="vm-1") == 0
    assert throttle.impatience["delete vm"] == 1
    assert passed(throttle, 1, "DELETE", "delete vm", now=20.0, machine="vm-1") == 1


def test_a_refused_call_costs_nothing() -> None:
    """Hammering does not push the end of the wait away."""
    throttle = Throttle()
    passed(throttle, 1000, "DELETE", "delete vm", machine="vm-1")
    assert passed(throttle, 1, "DELETE", "delete vm", now=15.0, machine="vm-1") == 1


def test_a_bucket_that_never_fills_is_waited_for_in_vain() -> None:
    """A rate of nothing is a bucket that is spent once."""
    bucket = Bucket(Rate(1, 0), 1, 0.0)
    assert bucket.wait_s(0.0) == 0
    bucket.level -= 1
    assert bucket.wait_s(1e9) == float("inf")


def test_a_thousand_machines_take_eighty_seconds_at_the_least() -> None:
    """The floor that the limits themselves set: 200 at once and ten a second for who asks at the first possible moment."""
    throttle, now, made = Throttle(), 0.0, 0
    while made < 1000:
        if throttle.take(now, "PUT", "create vm", region=REGION, machine=f"vm-{made}").refused is None:
            made += 1
        else:
            now += 0.01
    assert 79.9 < now < 80.1


def test_tight_limits_keep_their_pace() -> None:
    """For tests without minutes: a smaller burst, the same rate after it."""
    throttle = Throttle(Limits.tight(0.05))
    assert passed(throttle, 100, "PUT", "create vm") == 10
    assert passed(throttle, 100, "PUT", "create vm", now=1.0) == 10
