"""How many there may be at once: the limits on instances and on supervisors, and the cap on which those rest.

They are read off one State; what is spent of them during a pass is the pass's own account.
"""

from __future__ import annotations

import math

from dispatcher.core.model import HoldoffKind, Phase, State
from dispatcher.core.reasons import NO_REASON, Reason


def container_cap(state: State) -> int | None:
    """The dynamic cap on which the limit on supervisors rests: the estimate or MaxInstances, and what there is when the
    cloud refuses more. None: no cap."""
    settings = state.settings
    cap = settings.initial_quota_estimate or settings.max_instances or None
    refused = [h for h in state.holdoffs.values() if h.call == "create" and h.key == "*" and h.kind is HoldoffKind.QUOTA]
    if refused:
        cap = min(cap or len(state.instances), len(state.instances))
    return max(1, cap) if cap is not None else None


def supervisor_limit(state: State) -> int | None:
    """How many supervisors may run at once: their fraction of the cap, at least one, and never the last slot."""
    fraction, cap = state.settings.supervisor_fraction, container_cap(state)
    if fraction <= 0 or cap is None:
        return None
    most = max(1, math.floor(cap * fraction))
    return min(most, cap - 1) if cap > 1 else most


def instance_limit(state: State) -> tuple[float, Reason]:
    """How many more instances may be asked for as a whole, and what limits it."""
    settings = state.settings
    left, name = math.inf, NO_REASON
    if settings.max_instances > 0:
        left = settings.max_instances - len(state.instances)
        name = Reason("max-instances", f"MaxInstances ({settings.max_instances}) is reached")
    if settings.initial_quota_estimate > 0:
        ready = sum(1 for i in state.instances.all() if i.phase is Phase.READY)
        most = max(settings.initial_quota_estimate, ready * 11 // 10 + 1)
        if most - len(state.instances) < left:
            left = most - len(state.instances)
            name = Reason("initial-quota", f"InitialQuotaEstimate allows {most} instances for now")
    return left, name
