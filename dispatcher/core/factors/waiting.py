"""Those who wait, counted by cause: what the pass says of each of them becomes one factor for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatcher.core.factors import Factor, count, cut
from dispatcher.core.factors.cloud import MENDS
from dispatcher.core.model import ContainerState, IdleBehavior, State
from dispatcher.core.reasons import ON_THEIR_WAY
from dispatcher.core.refusals import quota_of, quota_words
from dispatcher.core.setbacks import WAVE_S
from dispatcher.core.why import Group

QUOTAS = frozenset(("quota", "quota-region", "quota-spot", "subnet-full", "address-quota", "card-quota", "disk-quota"))
LIMITS = QUOTAS | {"max-instances", "initial-quota", "price-hour"}
NEEDS_A_PERSON = frozenset(MENDS) - {"rate-limit", "cloud-error"}
STOPPED = frozenset(("cloud-credentials", "cloud-permission", "clock-wrong", "subscription-disabled"))
MANY = 2  # containers that are cancelled for one cause within a short time
NOBODY = frozenset(("priority-zero",))  # nobody wants them to run
MENDED = {
    "subnet-full": "the subnet has no free address: widen it, or let instances end",
    "address-quota": "the quota of addresses is used up: ask the cloud for more, or let instances end",
    "card-quota": "the quota of network cards is used up: ask the cloud for more, or let instances end",
    "disk-quota": "the quota of disks is used up: ask the cloud for more, or delete disks that are left over",
    "no-capacity": "the cloud has no machine of that kind at the moment",
    "not-offered": "the cloud does not sell that kind here: use another one in InstanceTypes, or ask the cloud for it",
    "max-instances": "raise MaxInstances to run more at once",
    "initial-quota": "InitialQuotaEstimate lets the number of instances grow only by and by",
    "supervisors": "raise SupervisorFraction to run more of them at once",
    "price-hour": "raise MaxPricePerHour to run more at once",
    "price-day": "nothing more is created until 0:00 UTC, unless MaxPricePerDay is raised",
    "price-supervisors": "what is left of the money is kept for work that has begun",
    "unsatisfiable": "no instance type is large enough or of the right kind for them",
}


def factors(state: State, groups: Sequence[Group], now: float) -> Iterator[Factor]:
    waiting = sum(group.count for group in groups if group.cause not in NOBODY)
    for group in groups:
        if group.cause not in NOBODY and group.cause not in ON_THEIR_WAY:
            yield _factor(state, group, waiting, now)
    yield from _kept(state, groups)
    yield from _cancelled(state, now)


def _factor(state: State, group: Group, waiting: int, now: float) -> Factor:
    text = f"{count(group.count, 'container')} {'waits' if group.count == 1 else 'wait'}: {_words(state, group, now)}"
    return Factor(
        cause=_cause(state, group), text=text, level=_level(group, waiting), containers=group.count, since_s=group.oldest_s
    )


def _cause(state: State, group: Group) -> str:
    """A pace that the cloud forces upon us is its limit and not ours."""
    if group.cause == "pace":
        report = state.reports.get("create")
        return "rate-limit" if report is not None and report.left is not None and report.left < 1 else "pace"
    return group.cause


def _level(group: Group, waiting: int) -> str:
    if group.cause in STOPPED:
        return "stopped"
    if group.cause in NEEDS_A_PERSON or group.cause in ("cloud-error", "writes-refused", "attempts-fail"):
        return "degraded"
    if group.cause in ("unsatisfiable", "image-not-allowed") and group.count < waiting:
        return "busy"
    return "limited"


def _words(state: State, group: Group, now: float) -> str:
    if group.cause in QUOTAS and group.cause not in MENDED:
        said = quota_words(quota_of(group.text, group.subject.removeprefix("group:").removeprefix("type:").removeprefix("*")))
        return f"{said} is used up ({cut(group.text)})"
    mend = MENDED.get(group.cause) or MENDS.get(group.cause)
    return f"{mend} ({cut(group.text)})" if mend else cut(group.text)


def _kept(state: State, groups: Sequence[Group]) -> Iterator[Factor]:
    """A limit is reached, and half of what counts against it takes no work because operators want it so."""
    limited = sum(group.count for group in groups if group.cause in LIMITS)
    kept = [i for i in state.instances.all() if i.idle_behavior is not IdleBehavior.RUN]
    if not limited or not kept or 2 * len(kept) < len(state.instances):
        return
    behaviors = " and ".join(sorted({i.idle_behavior.value for i in kept}))
    who = next((i.operator.actor for i in kept if i.operator.actor), "an operator")
    text = (
        f"{len(kept)} of {len(state.instances)} instances take no work ({behaviors}, chosen by {who}) and use up the limit for "
        f"which {count(limited, 'container')} wait: let them run, or destroy them"
    )
    yield Factor(cause="fleet-held", text=text, level="limited", containers=limited)


def _cancelled(state: State, now: float) -> Iterator[Factor]:
    """Who wait no more because we had to cancel them, lately."""
    recent = [c for c in state.setbacks.cancelled if c.at_s > now - WAVE_S]
    for cause in dict.fromkeys(c.cause for c in recent):
        those = [c for c in recent if c.cause == cause]
        many = len(those) >= MANY or not any(c.state is ContainerState.RUNNING for c in state.containers.all())
        level = ("degraded" if cause in ("attempts-fail", "containers-lost") else "limited") if many else "busy"
        text = f"{count(len(those), 'container')} had to be cancelled within 10 min, as {those[-1].uuid}: {cut(those[-1].error)}"
        yield Factor(cause=cause, text=text, level=level, containers=len(those), since_s=those[0].at_s)
