"""What a plan costs: the planners of each loop, on a fresh version of State, so that nothing remembered flatters them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dispatcher.core import explain
from dispatcher.core.messages import CloudFailure
from dispatcher.core.model import ContainerState, HoldoffKind, State
from dispatcher.core.pacing import hold_off
from dispatcher.driver import Scope
from dispatcher.runtime.loop import LoopSpec
from dispatcher.runtime.loops import loops
from tests.bench.measure import Results, cpu_s
from tests.bench.states import fleet, leading, queue_of, stirred, with_queue

QUEUES, FLEETS = (1_000, 10_000), (100, 1_000)


@dataclass(frozen=True, slots=True)
class Scene:
    """A State to plan on. ``name`` ends every number that is measured on it."""

    name: str
    state: State
    now_s: float


def rows() -> dict[str, LoopSpec]:
    serial = itertools.count()
    return {row.name: row for row in loops(lambda: (f"compute-{next(serial)}", "secret"))}


def held_off(state: State, now_s: float) -> State:
    """Instances might be bought, but the cloud refuses each type: every container is asked about every one of them."""
    state = replace(state, settings=replace(state.settings, max_instances=0))
    failure = CloudFailure(text="no capacity", kind=HoldoffKind.CAPACITY, scope=Scope.TYPE, retry_after_s=1e6)
    for name in state.settings.instance_types:
        state = hold_off(state, "create", failure, name, now_s)
    return state


def scenes(containers: int, instances: int) -> Iterator[Scene]:
    size = f"{containers}x{instances}"
    house = fleet(instances, busy=True, max_instances=instances)
    state = with_queue(house, queue_of(containers))
    yield Scene(f"{size}_busy", state, house.now_s)
    yield Scene(f"{size}_busy_held_off", held_off(state, house.now_s), house.now_s)
    house = fleet(instances, busy=False, max_instances=instances)
    yield Scene(f"{size}_idle_queued", with_queue(house, queue_of(containers)), house.now_s)
    house = fleet(instances, busy=False, max_instances=instances)
    yield Scene(f"{size}_idle_locked", with_queue(house, queue_of(containers, ContainerState.LOCKED)), house.now_s)


def measure(results: Results) -> None:
    for containers, instances in itertools.product(QUEUES, FLEETS):
        if not results.wants(f"pass_{containers}x{instances}"):
            continue
        for scene in scenes(containers, instances):
            _scheduler(results, scene)
            if scene.name.endswith("_busy"):
                _explain(results, scene)
    for instances in FLEETS:
        if results.wants("plan"):
            _fleet_plans(results, instances)
    if results.wants("plan"):
        _queue_plan(results)


def _scheduler(results: Results, scene: Scene) -> None:
    """The row of the scheduler as its loop runs it: reconcile, then schedule, then when it is next due."""
    row = rows()["scheduler"]
    reconcile, patience, schedule = row.planners
    for _ in results.each_round():
        state = stirred(scene.state)
        reconcile_s = cpu_s(reconcile, state, scene.now_s)
        schedule_s = cpu_s(patience, state, scene.now_s) + cpu_s(schedule, state, scene.now_s)
        due_s = cpu_s(row.due, state, scene.now_s)
        results.add(f"schedule_pass_ms_{scene.name}", 1e3 * schedule_s)
        results.add(f"reconcile_pass_ms_{scene.name}", 1e3 * reconcile_s)
        results.add(f"full_pass_ms_{scene.name}", 1e3 * (reconcile_s + schedule_s))
        results.add(f"scheduler_due_ms_{scene.name}", 1e3 * due_s)


def _explain(results: Results, scene: Scene) -> None:
    for _ in results.each_round():
        state = stirred(scene.state)
        explain_s = cpu_s(explain.statuses, state, scene.now_s)
        results.add(f"explain_all_ms_{scene.name}", 1e3 * explain_s)


def _fleet_plans(results: Results, instances: int) -> None:
    house = fleet(instances, busy=True, max_instances=instances)
    for name in ("lifecycle", "prober"):
        row = rows()[name]
        for _ in results.each_round():
            state, now_s = stirred(house.store.snapshot()), house.now_s + 60.0
            plan_s = sum(cpu_s(plan, state, now_s) for plan in row.planners)
            due_s = cpu_s(row.due, state, now_s)
            results.add(f"{name}_plan_ms_{instances}", 1e3 * plan_s)
            results.add(f"{name}_due_ms_{instances}", 1e3 * due_s)


def _queue_plan(results: Results) -> None:
    house = leading(0)
    row = rows()["queue-sync"]
    waiting = with_queue(house, queue_of(10_000))
    for _ in results.each_round():
        state, now_s = stirred(waiting), house.now_s
        results.add("queue_plan_ms_10000", 1e3 * cpu_s(row.planners[0], state, now_s))
        results.add("queue_due_ms_10000", 1e3 * cpu_s(row.due, state, now_s))
