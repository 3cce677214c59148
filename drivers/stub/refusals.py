"""Why the stub cloud says no: too soon, no login, no room, an error, an answer that is lost on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.driver import (
    Call,
    CloudError,
    Created,
    CreateRequest,
    Denied,
    InstanceType,
    NoCapacity,
    QuotaReached,
    RateLimited,
    Scope,
    Usage,
)
from drivers.stub.instance import StubInstance

if TYPE_CHECKING:
    from drivers.stub.cloud import StubCloud


class DriverBug(Exception):
    """An exception of which the contract knows nothing, as a badly written driver raises it."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """Something goes wrong with a call, before or after it took effect."""

    error: Exception
    takes_effect: bool


def quota_group(instance_type: InstanceType) -> str:
    """The family of the provider's type; preemptible ones count by themselves."""
    return instance_type.provider_type[:1] + ("-p" if instance_type.preemptible else "")


def check_pace(cloud: StubCloud, kind: str, now: float, last_s: float, interval_s: float) -> None:
    if now - last_s >= interval_s:
        return
    cloud.faults[f"{kind}: rate limited"] += 1
    hinted = cloud.random.random() < cloud.knobs.rate_hint_rate
    raise RateLimited(f"{kind}: too many requests", retry_after_s=last_s + interval_s - now if hinted else None)


def check_window(cloud: StubCloud, kind: str, now: float, call: Call) -> None:
    """So many calls of a kind in a minute; the answer says how many are left of them."""
    most = cloud.knobs.calls_per_minute.get(kind)
    if most is None:
        return
    began_s, count = cloud.windows.get(kind, (now, 0))
    if now >= began_s + 60.0:
        began_s, count = now, 0
    cloud.windows[kind] = (began_s, count + 1)
    call.calls_remaining = max(0, most - count - 1)
    if count >= most:
        cloud.faults[f"{kind}: too many in a minute"] += 1
        raise RateLimited(f"{kind}: {most} calls a minute", retry_after_s=began_s + 60.0 - now)


def check_login(cloud: StubCloud) -> None:
    if cloud.knobs.denied:
        cloud.faults["denied"] += 1
        raise Denied("the credentials have expired", scope=Scope.EVERYTHING)


def check_room(cloud: StubCloud, request: CreateRequest, now: float) -> None:
    """Quota counts what exists, also what is being deleted; capacity is per instance type."""
    if request.instance_type.name in cloud.knobs.unoffered:
        cloud.faults["create: not offered"] += 1
        raise NoCapacity(f"{request.instance_type.provider_type} is not sold here", scope=Scope.TYPE)
    types = [instance.type for instance in cloud.existing(now)]
    group = quota_group(request.instance_type)
    of_group = sum(quota_group(instance_type) == group for instance_type in types)
    of_type = sum(instance_type.name == request.instance_type.name for instance_type in types)
    knobs = cloud.knobs
    if knobs.quota_instances is not None and len(types) >= knobs.quota_instances:
        cloud.faults["create: quota"] += 1
        raise QuotaReached(f"quota of {knobs.quota_instances} instances reached", scope=Scope.EVERYTHING)
    if of_group >= knobs.quota_by_group.get(group, of_group + 1):
        cloud.faults["create: quota of a group"] += 1
        raise QuotaReached(f"quota of group {group} reached", scope=Scope.GROUP)
    if of_type >= knobs.capacity_by_type.get(request.instance_type.name, of_type + 1):
        cloud.faults["create: no capacity"] += 1
        raise NoCapacity(f"no capacity for {request.instance_type.provider_type}", scope=Scope.TYPE)


def usages(cloud: StubCloud, now: float) -> tuple[Usage, ...]:
    """The quota of all instances in vCPUs: full when one more would be refused, and sometimes when it would not."""
    existing = cloud.existing(now)
    used = float(sum(instance.type.vcpus for instance in existing))
    full = cloud.knobs.quota_instances is not None and len(existing) >= cloud.knobs.quota_instances
    if not full and cloud.random.random() < cloud.knobs.false_full_rate:
        cloud.faults["usages: falsely full"] += 1
        full = True
    return (Usage(group="", used=used, limit=used if full else used + 1000.0),)


def draw_mishap(cloud: StubCloud, kind: str, error_rate: float) -> Mishap | None:
    """What goes wrong with this call, if anything."""
    knobs = cloud.knobs
    rates = {
        "error": error_rate,
        "lost answer": knobs.lost_answer_rate if kind in ("create", "destroy", "set_tags") else 0.0,
        "false unknown": knobs.false_unknown_rate if kind in ("create", "destroy", "set_tags") else 0.0,
        "driver bug": knobs.driver_bug_rate,
    }
    drawn = cloud.random.random()
    for what, rate in rates.items():
        if drawn < rate:
            cloud.faults[f"{kind}: {what}"] += 1
            return _mishap(kind, what)
        drawn -= rate
    return None


def _mishap(kind: str, what: str) -> Mishap:
    if what == "driver bug":
        return Mishap(DriverBug(f"{kind}: list index out of range"), takes_effect=False)
    if what == "error":
        return Mishap(CloudError(f"{kind}: internal error"), takes_effect=False)
    return Mishap(CloudError(f"{kind}: connection reset", outcome_unknown=True), takes_effect=what == "lost answer")


def existing_answer(instance: StubInstance, now: float) -> Created:
    """What an idempotent create says to a name that it has."""
    if instance.deleting_at_s <= now:
        raise CloudError(f"{instance.name} is being deleted")
    return Created(instance.id, f"create/{instance.id}" if instance.knobs.polls_creates else None)
