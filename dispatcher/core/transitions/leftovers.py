"""Disks, network cards and addresses of ours that no instance uses any more: when they may go, and what is known of them.

Two complete lists have to show one, it has to be old enough by our own clock, and its instance must be forgotten; then it is
deleted, a few at a time, and again after a pause that grows when the cloud says no.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dispatcher.core import pacing
from dispatcher.core.messages import DeleteLeftover, LeftoverDeleted, LeftoverFailed
from dispatcher.core.model import HoldoffKind, KnownLeftover, State
from dispatcher.core.transitions.room import Reason
from dispatcher.driver import Leftover

MOST_KNOWN = 1000
AT_ONCE = 4
LOOK_S, LOOK_AGAIN_S = 60.0, 10.0  # how often a list is asked for leftovers too, with none known and with some
FIRST_PAUSE_S, LONGEST_PAUSE_S = 15.0, 600.0


def wanted(state: State, now: float) -> bool:
    """Whether the next list should tell them too: for some clouds that costs more requests."""
    pause_s = LOOK_AGAIN_S if state.cloud.leftovers else LOOK_S
    return state.settings.deletes_leftovers and now >= state.cloud.leftovers_listed_s + pause_s


def listed(state: State, shown: Sequence[Leftover], began_s: float) -> State:
    """A complete list: what it does not show is gone, unless it is being deleted just now."""
    before = state.cloud.leftovers
    after = {name: known for name, known in before.items() if known.deleting}
    for leftover in shown[:MOST_KNOWN]:
        after[leftover.id] = _seen(before.get(leftover.id), leftover, began_s)
    return _put(replace(state, cloud=replace(state.cloud, leftovers_listed_s=began_s)), after)


def _seen(known: KnownLeftover | None, leftover: Leftover, began_s: float) -> KnownLeftover:
    if known is None:
        return KnownLeftover(leftover=leftover, first_s=began_s)
    return replace(known, leftover=leftover, again_s=max(known.again_s, began_s))


def in_turn(state: State) -> list[DeleteLeftover]:
    """All that are known, the oldest first; one is begun at a time, since each changes what may be begun."""
    ordered = sorted(state.cloud.leftovers.values(), key=lambda known: (known.first_s, known.leftover.id))
    return [DeleteLeftover(id=known.leftover.id) for known in ordered]


def due_s(state: State, now: float) -> float:
    """When one of them may be old enough, or tried again; those whose time has come wait for something else."""
    age_s = state.settings.leftover_age_s
    seen = [known for known in state.cloud.leftovers.values() if known.again_s > known.first_s]
    times = [max(known.first_s + age_s, known.retry_s) for known in seen]
    return min((at_s for at_s in times if at_s > now), default=math.inf)


def deletable(state: State, action: DeleteLeftover, now: float) -> Reason:
    """Why it may not be deleted now, or None."""
    known, settings = state.cloud.leftovers.get(action.id), state.settings
    if known is None or not settings.deletes_leftovers:
        return "nothing of this id is left over"
    if known.deleting or sum(each.deleting for each in state.cloud.leftovers.values()) >= AT_ONCE:
        return "it, or enough others, are being deleted"
    if known.again_s <= known.first_s or known.again_s - known.first_s < settings.list_lag_s:
        return "one list that shows it proves nothing"
    if now - known.first_s < settings.leftover_age_s or now < known.retry_s:
        return "it is too early"
    if pacing.holdoff(state, "destroy", None, now) is not None or pacing.tokens(state, "destroy", now) < 1:
        return "the cloud asked for a pause"
    return _its_instance(state, action.id.casefold())


def _its_instance(state: State, leftover_id: str) -> Reason:
    """What is named after an instance waits until that one is forgotten: its create may still be on its way."""
    name = next((i.name for i in state.instances.all() if i.name.casefold() in leftover_id), None)
    return f"{name} is not forgotten yet" if name is not None else None


def begin_delete(state: State, action: DeleteLeftover, now: float) -> State:
    known = state.cloud.leftovers[action.id]
    return _change(pacing.take(state, "destroy", now), replace(known, deleting=True))


def deleted(state: State, event: LeftoverDeleted, now: float) -> State:
    """The cloud has accepted; a list that still shows it begins the count anew."""
    if event.id not in state.cloud.leftovers:
        return state
    return _put(state, {name: known for name, known in state.cloud.leftovers.items() if name != event.id})


def failed(state: State, event: LeftoverFailed, now: float) -> State:
    if event.failure.kind is HoldoffKind.RATE:
        state = pacing.hold_off(state, "destroy", event.failure, None, now)
    known = state.cloud.leftovers.get(event.id)
    if known is None:
        return state
    failures = known.failures + 1
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
    return _change(state, replace(known, deleting=False, failures=failures, retry_s=now + pause_s, error=event.failure.text))


def _change(state: State, known: KnownLeftover) -> State:
    return _put(state, {**state.cloud.leftovers, known.leftover.id: known})


def _put(state: State, leftovers: Mapping[str, KnownLeftover]) -> State:
    return replace(state, cloud=replace(state.cloud, leftovers=leftovers))
