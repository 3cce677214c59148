"""When the queue service or the cloud could not be asked: in such times nobody waits for us, and no wait is counted.

An outage begins with the first call that fails and ends with the first that succeeds. Only the last ones are kept; what is older
is drawn together, so that a wait is rather counted too short than too long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dispatcher.core.model import State
from dispatcher.core.values import replace

KEPT = 100

Change = Callable[[State, Any, float], State]


def watched(change: Change) -> Change:
    """The same change of State, after which an outage may have begun or ended."""
    return lambda state, event, now: _noted(change(state, event, now), now)


def under_way(state: State) -> bool:
    return bool(state.outages) and state.outages[-1][1] == math.inf


def _noted(state: State, now: float) -> State:
    down = state.queue.failures > 0 or state.cloud.failures > 0
    if down == under_way(state):
        return state
    if not down:
        return replace(state, outages=(*state.outages[:-1], (state.outages[-1][0], now)))
    kept = state.outages
    if len(kept) >= KEPT:
        kept = ((kept[0][0], kept[1][1]), *kept[2:])
    return replace(state, outages=(*kept, (now, math.inf)))


def waited_s(state: State, since_s: float, now: float) -> float:
    """How long somebody has waited since then, without the times in which nobody could be asked."""
    lost_s = sum(max(0.0, min(end_s, now) - max(start_s, since_s)) for start_s, end_s in state.outages)
    return now - since_s - lost_s
