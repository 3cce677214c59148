"""The cloud: refusing our credentials, out of reach, throttling, not deleting what was to be deleted."""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.core.factors import Factor, count, cut, span
from dispatcher.core.model import HoldoffKind, Instance, State
from dispatcher.core.refusals import cause_of
from dispatcher.core.setbacks import UNANSWERED, Refusal

SURE_S = 45.0  # one failed list is no outage
OFTEN, RECENT_S = 3, 60.0  # so many refusals in a row, the last of them so long ago at most
PARTIAL_S = 300.0
STUCK_REFUSED_S, STUCK_IGNORED_S, STUCK_DELETING_S = 60.0, 180.0, 900.0
STUCK_ATTEMPTS = 3
UNKNOWN_S = 45.0
MENDS = {
    "cloud-credentials": "the cloud refuses our credentials: an operator has to renew them",
    "cloud-permission": "our credentials lack a permission in the cloud: an operator has to grant it",
    "clock-wrong": "the cloud says that our clock is wrong: set the clock of this host",
    "subscription-disabled": "the account of the cloud is disabled or not registered",
    "policy": "a policy or a lock of the cloud account forbids it: an operator has to change it",
    "resource-group-not-found": "the resource group does not exist: see DriverParameters",
    "subnet-not-found": "the subnet does not exist: see DriverParameters",
    "image-not-found": "the image of the instances does not exist in the cloud: see ImageID",
    "image-terms": "the terms of the image have not been accepted for this account",
    "instance-size": "the cloud does not know an instance type: see ProviderType in InstanceTypes",
    "rate-limit": "the cloud limits how often it may be asked",
    "cloud-error": "the cloud answers with errors",
}


def factors(state: State, now: float) -> Iterator[Factor]:
    yield from _lists(state, now)
    yield from _refusals(state, now)
    yield from _stuck(state, now)
    yield from _unknown(state, now)
    yield from _beside(state)


def mend(cause: str) -> str:
    return MENDS.get(cause, MENDS["cloud-error"])


def _lists(state: State, now: float) -> Iterator[Factor]:
    cloud = state.cloud
    first = cloud.listed_s < state.leadership.since_s
    if cloud.failures:
        denied = cloud.error_kind is HoldoffKind.DENIED
        if now - cloud.failing_since_s >= SURE_S or first or denied:
            yield _list_failure(state, now)
        return
    since_s = max(cloud.listed_s, state.leadership.since_s)
    if now - since_s > PARTIAL_S + 2 * state.settings.sync_interval_s:
        partial = cloud.list_ended_s > since_s + state.settings.sync_interval_s
        what = "answers only with parts of the list of instances" if partial else "has not answered a list of instances"
        cause = "cloud-list-partial" if partial else "cloud-unreachable"
        yield Factor(cause=cause, text=f"the cloud {what} for {span(now - since_s)}: no loss can be noticed", since_s=since_s)


def _list_failure(state: State, now: float) -> Factor:
    cloud = state.cloud
    cause = cause_of(cloud.error_kind, cloud.error)
    what = mend(cause)
    if cause == "cloud-error":
        cause, what = "cloud-unreachable", "the cloud does not list our instances"
    text = f"{what} (for {span(now - cloud.failing_since_s)}, {count(cloud.failures, 'list')} in a row): {cut(cloud.error)}"
    level = "limited" if cause == "rate-limit" else "stopped" if cloud.error_kind is HoldoffKind.DENIED else "degraded"
    return Factor(cause=cause, text=text, level=level, since_s=cloud.failing_since_s)


def _refusals(state: State, now: float) -> Iterator[Factor]:
    """What the cloud refused again and again, lately, whether somebody waits for it or not. Quotas and capacity limit only who
    waits: they are told there."""
    for refusal in state.setbacks.refusals.values():
        if refusal.kind in (HoldoffKind.QUOTA, HoldoffKind.CAPACITY) or now - refusal.last_s > RECENT_S:
            continue
        denied = refusal.kind is HoldoffKind.DENIED
        if refusal.count >= OFTEN or denied:
            yield _refused(refusal, now)


def _refused(refusal: Refusal, now: float) -> Factor:
    if refusal.call == UNANSWERED:
        often = f"{refusal.count} in {span(now - refusal.first_s)}"
        text = f"the cloud does not say what became of creates ({often}): {cut(refusal.text)}"
        return Factor(cause="creates-unknown", text=text, since_s=refusal.first_s)
    cause = cause_of(refusal.kind, refusal.text)
    level = {HoldoffKind.DENIED: "stopped", HoldoffKind.RATE: "limited"}.get(refusal.kind, "degraded")
    what = {"create": "a create", "destroy": "a destroy", "list": "a list", "set_tags": "tags"}.get(refusal.call, "a question")
    text = f"{mend(cause)} ({refusal.count} times in {span(now - refusal.first_s)}, the last time {what}): {cut(refusal.text)}"
    return Factor(cause=cause, text=text, level=level, since_s=refusal.first_s)


# -------------------------------------------------------------------------------------------------------- single instances


def stuck(instance: Instance, now: float) -> bool:
    """Whether a destroy takes longer than clouds take for it."""
    destroy = instance.destroy
    if destroy is None:
        return False
    age_s = now - destroy.since_s
    if destroy.error and destroy.attempts >= STUCK_ATTEMPTS:
        return age_s >= STUCK_REFUSED_S
    return age_s >= (STUCK_DELETING_S if instance.deleting else STUCK_IGNORED_S)


def _stuck(state: State, now: float) -> Iterator[Factor]:
    found = [i for i in state.instances.all() if stuck(i, now)]
    if not found:
        return
    oldest = min(found, key=lambda i: i.destroy.since_s if i.destroy is not None else now)
    assert oldest.destroy is not None
    said = next((i.destroy.error for i in found if i.destroy is not None and i.destroy.error), "")
    because = f": {cut(said)}" if said else ": the cloud accepts the destroy and goes on listing them"
    costs = "it costs money and counts" if len(found) == 1 else "they cost money and count"
    text = (
        f"{count(len(found), 'instance')} cannot be destroyed, {oldest.name} for {span(now - oldest.destroy.since_s)} "
        f"({count(oldest.destroy.attempts, 'attempt')}); {costs} in every limit{because}"
    )
    yield Factor(cause="stuck-destroys", text=text, since_s=oldest.destroy.since_s)


def _unknown(state: State, now: float) -> Iterator[Factor]:
    lost = [i for i in state.instances.all() if (i.create_unknown or i.creating) and now - i.phase_since_s > UNKNOWN_S]
    if lost:
        since_s = min(i.phase_since_s for i in lost)
        text = f"the cloud has not said for {span(now - since_s)} what became of {count(len(lost), 'create')}"
        yield Factor(cause="creates-unknown", text=text, since_s=since_s)


def _beside(state: State) -> Iterator[Factor]:
    """What stops no work."""
    untagged = [i for i in state.instances.all() if i.tags_failed > 1]
    if untagged:
        text = f"the tags of {count(len(untagged), 'instance')} cannot be saved: a hold or drain may be lost at a restart"
        yield Factor(cause="tags-refused", text=text)
    staying = [known for known in state.cloud.leftovers.values() if known.failures > 2]
    if staying:
        text = f"{count(len(staying), 'leftover')} of former instances cannot be deleted: {cut(staying[0].error)}"
        yield Factor(cause="leftovers-stay", text=text, level="busy")
