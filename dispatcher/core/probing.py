"""When each instance is probed: at ProbeInterval, and sooner where something is about to be known.

Most instances have answered in this term and are due at a time that depends on themselves alone: it is kept with their part of
the map, so that a turn looks at those whose time has come.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from operator import itemgetter

from dispatcher.core import pacing
from dispatcher.core.messages import Action, ProbeInstance
from dispatcher.core.model import ContainerState, Instance, Phase, ProcessPhase, State
from dispatcher.core.settings import Settings
from dispatcher.core.transitions.legal import legal
from dispatcher.frozen import dataclass

BOOTING_S, UNCERTAIN_S = 1.0, 2.0
ATTEMPT_S, YOUNG_S = 1.0, 10.0  # an attempt that comes to nothing does so soon after its start
LEAST_ENDING_S, ENDING_S, ENDING_PART = 0.05, 10.0, 4.0  # a runner tells of its container's end before its own
IN_FLIGHT_S = 0.5  # probes that end without news wake nobody: while some are on their way, look so often


def probe_due_s(state: State, instance: Instance, now: float) -> float:
    """When this instance is to be probed next; never while it is being probed, has no address or is going."""
    if not _can_be_asked(instance):
        return math.inf
    heard_s = max(instance.processes_listed_s, instance.probed_s)
    if heard_s < state.leadership.since_s:
        return now  # not heard of in this term
    next_s = _next_probe_s(instance, state.settings, attempted=_attempted(state, instance))
    quiet_until_s = state.leadership.quiet_until_s  # only then can it say what an earlier leader started
    return min(quiet_until_s, next_s) if heard_s < quiet_until_s else next_s


def plan(state: State, now: float) -> list[Action]:
    """Those that have been due for longest first. Of all that were found at a start, the last by name: whoever is asked first
    is filled first, so that in the order of before those with room for somebody who waits came last."""
    near = (i for part in _parts(state) if not _rests(state, part, now) for i in part.asked)
    asked = sorted(((i.name, i) for i in near if probe_due_s(state, i, now) <= now), key=itemgetter(0))
    found = [i for _, i in reversed(asked) if i.phase is Phase.UNKNOWN]
    rest = [i for _, i in asked if i.phase is not Phase.UNKNOWN]
    due = sorted(((probe_due_s(state, i, now), i.name) for i in (*found, *rest)), key=itemgetter(0))
    budget = pacing.tokens(state, "probe", now)
    chosen = due if budget == math.inf else due[: int(budget)]
    actions = [ProbeInstance(name=name) for _, name in chosen]
    return [action for action in actions if legal(state, action, now) is None]


def due_s(state: State, now: float) -> float:
    """When the first is due for which there is a token."""
    parts = _parts(state)
    soonest_s = min((_soonest_s(state, part, now) for part in parts), default=math.inf)
    due = max(soonest_s, pacing.next_token_s(state, "probe", now))
    return min(due, now + IN_FLIGHT_S) if any(part.in_flight for part in parts) else due


# ------------------------------------------------------------------------------------------------------------- one instance


def _can_be_asked(instance: Instance) -> bool:
    return not instance.probing and instance.address is not None and instance.phase not in (Phase.CREATING, Phase.SHUTDOWN)


def _next_probe_s(instance: Instance, settings: Settings, *, attempted: bool) -> float:
    if instance.probe_due:
        return instance.probed_s + min(0.05 * instance.probe_failures, BOOTING_S)
    uncertain = any(p.phase is not ProcessPhase.RUNNING or p.kill is not None for p in instance.processes.values())
    interval_s = settings.probe_interval_s
    if instance.phase is Phase.BOOTING or instance.phase is Phase.UNKNOWN:
        interval_s = min(interval_s, _boot_interval_s(instance))
    elif instance.processes and instance.probed_s < instance.runner_ends_s + ENDING_S:
        interval_s = min(interval_s, max(LEAST_ENDING_S, (instance.probed_s - instance.runner_ends_s) / ENDING_PART))
    elif attempted and instance.processes and instance.probed_s < instance.start_changed_s + YOUNG_S:
        interval_s = min(interval_s, ATTEMPT_S)
    elif uncertain or 0 < instance.probe_failures <= 3:
        interval_s = min(interval_s, UNCERTAIN_S)
    return instance.probed_s + interval_s


def _boot_interval_s(instance: Instance) -> float:
    """Each second while it may come up any moment; less often when it has refused for minutes."""
    return BOOTING_S if instance.probe_failures < 120 else BOOTING_S * 5


def _attempted(state: State, instance: Instance) -> bool:
    """Whether a runner there has yet to say in the queue that it came as far as its container."""
    held = (state.containers.get(uuid) for uuid in instance.processes)
    return any(c is not None and c.state is ContainerState.LOCKED for c in held)


# ---------------------------------------------------------------------------------------------------------- a part of all


@dataclass(frozen=True, slots=True)
class _Part:
    """What instances say of themselves: when the first is due at the earliest, and when the last of them was heard."""

    asked: tuple[Instance, ...]
    soonest_s: float
    heard_s: float
    in_flight: bool


def _parts(state: State) -> list[_Part]:
    return state.instances.parts(_part, state.settings)


def _part(instances: Collection[Instance], settings: Settings) -> _Part:
    asked = tuple(i for i in instances if _can_be_asked(i))
    return _Part(
        asked,
        min((_next_probe_s(i, settings, attempted=True) for i in asked), default=math.inf),
        min((max(i.processes_listed_s, i.probed_s) for i in asked), default=math.inf),
        any(i.probing for i in instances),
    )


def _rests(state: State, part: _Part, now: float) -> bool:
    """Whether none of them can be due."""
    return part.soonest_s > now and part.heard_s >= state.leadership.quiet_until_s


def _soonest_s(state: State, part: _Part, now: float) -> float:
    if _rests(state, part, now):
        return part.soonest_s
    return min((probe_due_s(state, i, now) for i in part.asked), default=math.inf)
