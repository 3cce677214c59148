"""Hints come in: hold-offs and money at once, clocks when the instance or container that they are about is found.

What this process knows itself goes before; what is out of bounds is cut or left out.
"""

from __future__ import annotations

import math

from dispatcher.core import hints, pacing, spending
from dispatcher.core.messages import HintsRead
from dispatcher.core.model import NEVER, Holdoff, HoldoffKind, Spending, State
from dispatcher.core.values import replace

CALLS = ("create", "list", "destroy", "set_tags", "poll_create")
KINDS = (HoldoffKind.QUOTA, HoldoffKind.CAPACITY, HoldoffKind.RATE)  # what somebody mended before the restart is tried at once
MOST_HOLDOFFS, MOST_STRIKES, LONGEST_KEY = 200, 20, 200
MOST_INSTANCES = 10_000  # where MaxInstances names no limit


def hints_read(state: State, event: HintsRead, now: float) -> State:
    state = replace(state, hints=event.hints)
    for held in event.hints.holdoffs[:MOST_HOLDOFFS]:
        state = _held(state, held, now)
    return _spent(state, event.hints, now)


def _held(state: State, held: Holdoff, now: float) -> State:
    name = f"{held.call} {held.key}"
    known = name in state.holdoffs or held.call not in CALLS or held.kind not in KINDS or len(held.key) > LONGEST_KEY
    if known or not now - pacing.FORGET_S < held.until_s < math.inf:
        return state
    cut = replace(
        held, until_s=min(held.until_s, now + pacing.LONGEST_S), since_s=min(now, held.since_s),
        strikes=min(MOST_STRIKES, max(1, held.strikes)),
    )  # fmt: skip
    return replace(state, holdoffs=state.holdoffs.set(name, cut))


def _spent(state: State, read: hints.Hints, now: float) -> State:
    """What was spent today before we came. More than the site could have spent is not believed."""
    began_s, spent = spending.day_began_s(state, now), read.spent_today
    if spent is None or began_s == NEVER or not 0 < spent <= _most(state, now - began_s):
        return state
    closed = max(spent, spending.closed(state, began_s))
    return replace(state, spending=Spending(day_began_s=began_s, closed=closed))


def _most(state: State, for_s: float) -> float:
    return (state.settings.max_instances or MOST_INSTANCES) * spending.dearest(state) * for_s / spending.HOUR_S
