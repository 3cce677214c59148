"""Azure's own limits as token buckets: the front door, the compute service, the network service. Pure: time is an argument.

Numbers from the public documents on throttling: the front door counts per principal and region, compute per subscription and
region and again per machine. A call that is refused spends nothing.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fake_azure import errors
from tests.fake_azure.errors import Refused

MAX_PER_MACHINE = 20_000


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``burst`` at once, and ``per_s`` more each second."""

    burst: float
    per_s: float


def per_minute(refill: float, burst: float) -> Rate:
    return Rate(burst, refill / 60)


@dataclass(frozen=True, slots=True)
class Policy:
    """One group of calls of the compute service: what it is called in headers, and its two rates."""

    name: str
    machine: Rate | None
    subscription: Rate


PUT = Policy("PutVM", per_minute(4, 12), per_minute(500, 1500))
UPDATE = Policy("UpdateVM", per_minute(4, 12), per_minute(500, 1500))
DELETE = Policy("DeleteVM", per_minute(4, 12), per_minute(500, 1500))
LOW_COST_GET = Policy("LowCostGet", per_minute(12, 36), per_minute(8000, 24000))
HIGH_COST_GET = Policy("HighCostGet", None, per_minute(300, 900))
GET_OPERATION = Policy("GetOperation", per_minute(15, 45), per_minute(5000, 15000))

POLICIES: dict[str, Policy] = {
    "create vm": PUT,
    "update vm": UPDATE,
    "merge tags": UPDATE,
    "start vm": UPDATE,
    "restart vm": UPDATE,
    "powerOff vm": UPDATE,
    "redeploy vm": UPDATE,
    "delete vm": DELETE,
    "deallocate vm": DELETE,
    "simulateEviction vm": DELETE,
    "get vm": LOW_COST_GET,
    "view vm": LOW_COST_GET,
    "list vms": HIGH_COST_GET,
    "list all vms": HIGH_COST_GET,
    "list vms of a location": HIGH_COST_GET,
    "get operation": GET_OPERATION,
}


def front_door(method: str) -> str:
    """Which of its three buckets a method draws from."""
    return {"GET": "reads", "DELETE": "deletes"}.get(method, "writes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All rates. ``tight`` makes them small enough for a test that has no minutes."""

    reads: Rate = Rate(250, 25)
    writes: Rate = Rate(200, 10)
    deletes: Rate = Rate(200, 10)
    network_reads: Rate = Rate(10_000, 10_000 / 300)
    network_writes: Rate = Rate(1000, 1000 / 300)
    compute_share: float = 1.0  # of the bursts and rates of the compute service
    max_wait_s: float = math.inf  # the longest Retry-After that the fake speaks of

    @classmethod
    def tight(cls, share: float) -> Limits:
        """The same pattern at a fraction of the bursts; what comes after a burst keeps its pace."""
        base = cls()
        return cls(
            reads=Rate(max(2, base.reads.burst * share), base.reads.per_s),
            writes=Rate(max(2, base.writes.burst * share), base.writes.per_s),
            deletes=Rate(max(2, base.deletes.burst * share), base.deletes.per_s),
        )


@dataclass(slots=True)
class Bucket:
    """Full at first; ``wait_s`` says how long until a token is there."""

    rate: Rate
    level: float
    at_s: float

    def refill(self, now: float) -> None:
        self.level = min(self.rate.burst, self.level + max(0.0, now - self.at_s) * self.rate.per_s)
        self.at_s = max(self.at_s, now)

    def wait_s(self, now: float) -> float:
        self.refill(now)
        missing = 1 - 1e-9 - self.level
        return 0.0 if missing <= 0 else missing / self.rate.per_s if self.rate.per_s else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``refused`` is None when the call may pass. ``headers`` say what remains, in either case."""

    refused: Refused | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Claim:
    """One bucket that a call draws from."""

    key: tuple[str, ...]
    rate: Rate
    label: str  # in a header of the compute service; empty for the others


class Throttle:
    """Every bucket of one subscription. Call ``take`` in the order of time."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = Limits() if limits is None else limits
        self.refusals: Counter[str] = Counter()
        self.impatience: Counter[str] = Counter()  # calls that came before a Retry-After had passed
        self.taken: Counter[str] = Counter()
        self._buckets: dict[tuple[str, ...], Bucket] = {}
        self._closed_until_s: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def take(self, now: float, method: str, operation: str, *, region: str, machine: str = "") -> Verdict:
        """One call of an operation (its name in ``judge.py``)."""
        with self._lock:
            front = self._front_door(method, region)
            claims = [front, *self._services(method, operation, region, machine)]
            for claim in claims:
                if (wait_s := self._bucket(claim, now).wait_s(now)) > 0:
                    return self._refuse(claim, now, wait_s, operation)
            for claim in claims:
                self._bucket(claim, now).level -= 1
            self.taken[operation] += 1
            return Verdict(headers=self._headers(claims, now))

    def _front_door(self, method: str, region: str) -> _Claim:
        kind = front_door(method)
        return _Claim((kind, region), getattr(self.limits, kind), "")

    def _services(self, method: str, operation: str, region: str, machine: str) -> Iterator[_Claim]:
        policy = POLICIES.get(operation)
        if policy is not None:
            if policy.machine is not None and machine:
                label = f"{policy.name}Resource"
                yield _Claim((label, region, machine.lower()), self._scaled(policy.machine, 1.0), label)
            label = f"{policy.name}SubscriptionMaximum"
            yield _Claim((label, region), self._scaled(policy.subscription, self.limits.compute_share), label)
        elif "network card" in operation or "address" in operation:
            kind = "network_reads" if method == "GET" else "network_writes"
            yield _Claim((kind, region), getattr(self.limits, kind), "")

    def _scaled(self, rate: Rate, share: float) -> Rate:
        return Rate(max(1.0, rate.burst * share), rate.per_s * share)

    def _bucket(self, claim: _Claim, now: float) -> Bucket:
        bucket = self._buckets.get(claim.key)
        if bucket is None:
            if len(self._buckets) > MAX_PER_MACHINE:
                self._forget_full(now)
            bucket = self._buckets[claim.key] = Bucket(claim.rate, claim.rate.burst, now)
        bucket.refill(now)
        return bucket

    def _forget_full(self, now: float) -> None:
        for bucket in self._buckets.values():
            bucket.refill(now)
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.level < bucket.rate.burst}

    def _refuse(self, claim: _Claim, now: float, wait_s: float, operation: str) -> Verdict:
        name = claim.label or claim.key[0]
        if now < self._closed_until_s.get(claim.key, -math.inf):
            self.impatience[operation] += 1
        after_s = max(1, math.ceil(min(wait_s, self.limits.max_wait_s)))
        self._closed_until_s[claim.key] = max(now + after_s, self._closed_until_s.get(claim.key, 0.0))
        self.refusals[name] += 1
        if claim.label:
            return Verdict(refused=errors.compute_throttled(claim.label, after_s, int(claim.rate.burst)))
        return Verdict(refused=errors.front_door_throttled(claim.key[0], after_s))

    def _headers(self, claims: list[_Claim], now: float) -> dict[str, str]:
        left = {claim: int(self._bucket(claim, now).level) for claim in claims}
        headers = {f"x-ms-ratelimit-remaining-subscription-{claim.key[0]}": str(left[claim]) for claim in claims[:1]}
        named = [f"Microsoft.Compute/{claim.label};{left[claim]}" for claim in claims if claim.label]
        if named:
            headers["x-ms-ratelimit-remaining-resource"] = ",".join(named)
        return headers
