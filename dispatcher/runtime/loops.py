"""The table of the loops. To know what a thread does, read its row."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from dispatcher.core import cadence, catalogue, lifecycle, pacing, patience, probing, reconcile, replacing, schedule, turns
from dispatcher.core.model import NEVER, Container, State
from dispatcher.core.schedule import Draw
from dispatcher.runtime.loop import LoopSpec


def loops(draw: Draw) -> tuple[LoopSpec, ...]:
    """``LOOPS``, given the source of names and secrets."""
    return (
        LoopSpec(
            name="queue-sync",
            planners=(cadence.plan_queue,),
            topics=("containers", "queue", "control"),
            due=cadence.queue_due_s,
            rest_parts=10.0,
            longest_rest_s=0.05,
        ),
        LoopSpec(
            name="scheduler",
            planners=(reconcile.plan, patience.plan, lambda state, now: schedule.plan(state, now, draw)),
            topics=("containers", "queue", "instances", "cloud", "control"),
            due=_earliest(reconcile.due_s, patience.due_s, _attempts_due_s),
            rest_parts=12.0,
            longest_rest_s=0.05,
        ),
        LoopSpec(  # the beginning of the scheduler's pass, while that one computes or rests
            name="next-step",
            planners=(schedule.next_step,),
            topics=("room",),
            due=lambda state, now: math.inf,
        ),
        LoopSpec(
            name="lifecycle",
            planners=(lifecycle.plan, cadence.plan_lists, catalogue.plan),
            topics=("instances", "cloud", "control"),
            due=_earliest(lifecycle.due_s, cadence.list_due_s, catalogue.due_s),
            rest_parts=20.0,
            longest_rest_s=0.1,
        ),
        LoopSpec(
            name="prober",
            planners=(probing.plan,),
            topics=("instances", "control"),
            due=probing.due_s,
            rest_parts=4.0,
            longest_rest_s=0.01,
        ),
    )


def _earliest(*dues: Callable[[State, float], float]) -> Callable[[State, float], float]:
    return lambda state, now: min(due(state, now) for due in dues)


def _attempts_due_s(state: State, now: float) -> float:
    """When a container or a kind of call that was held off may be tried again."""
    times = [at_s for part in state.containers.parts(_held_back) for at_s in part if at_s > now]
    times += [held.until_s for held in state.holdoffs.values() if held.until_s > now]
    times += turns.due_s(state, now)
    times += replacing.due_s(state, now)
    if (next_s := pacing.next_token_s(state, "create", now)) > now:
        times.append(next_s)
    if state.queue.locks_held_until_s > now:
        times.append(state.queue.locks_held_until_s)
    if state.leadership.quiet_until_s > now:
        times.append(state.leadership.quiet_until_s)
    return min(times, default=math.inf)


def _held_back(containers: Collection[Container]) -> list[float]:
    return [c.not_before_s for c in containers if c.not_before_s != NEVER]
