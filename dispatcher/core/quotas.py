"""What a cloud says is used of its quotas: an instance type that would not fit is not asked for until it says so again.

A hint and no limit of ours: it holds creates off like a refusal does, for a short time, and ends early when an instance goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatcher.core.model import Holdoff, HoldoffKind, State
from dispatcher.core.values import replace
from dispatcher.driver import InstanceType, Usage

LOOK_S = 60.0  # how often a list is asked
HOLD_S = 150.0  # until the look after the next at the latest: one may come late, or fail
COUNTED = "the cloud counts"


def wanted(state: State, now: float) -> bool:
    """Whether the next list should tell them too: while somebody may need an instance, once a minute."""
    return state.settings.tells_usages and len(state.containers) > 0 and now >= state.cloud.usages_told_s + LOOK_S


def told(state: State, usages: Sequence[Usage], now: float) -> State:
    """Each type that would not fit is held off until a later look; one that fits again is so no more."""
    state = replace(state, cloud=replace(state.cloud, usages_told_s=now))
    changed = dict(_changes(state, {usage.group: usage for usage in usages}, now))
    return replace(state, holdoffs=state.holdoffs.update(changed.items())) if changed else state


def _changes(state: State, usages: dict[str, Usage], now: float) -> Iterator[tuple[str, Holdoff]]:
    """What the cloud refused itself, for longer, stands."""
    for offer in state.settings.instance_types.values():
        name, reason = f"create type:{offer.name}", _lacking(state, offer, usages)
        before = state.holdoffs.get(name)
        ours = before is not None and before.reason.startswith(COUNTED)
        if reason and (before is None or ours or before.until_s < now + HOLD_S):
            yield name, _hold_off(offer, before, reason, now)
        elif before is not None and ours and not reason and before.until_s > now:
            yield name, replace(before, until_s=now)


def _hold_off(offer: InstanceType, before: Holdoff | None, reason: str, now: float) -> Holdoff:
    return Holdoff(
        call="create", key=f"type:{offer.name}", kind=HoldoffKind.QUOTA, until_s=now + HOLD_S, since_s=now,
        strikes=before.strikes if before is not None else 1, reason=reason,
    )  # fmt: skip


def _lacking(state: State, offer: InstanceType, usages: dict[str, Usage]) -> str:
    """Which quota has no room for one more of these."""
    own = state.settings.quota_groups.get(offer.name, "")
    groups = [*([own] if own else []), *([] if offer.preemptible else [""])]
    for usage in [usages[group] for group in groups if group in usages]:
        if usage.used + offer.vcpus > usage.limit:
            what = usage.group or "all groups together"
            return f"{COUNTED} {usage.used:g} of {usage.limit:g} vCPUs used in {what}, and one needs {offer.vcpus}"
    return ""
