"""What one change costs in a large house, and what a whole pass costs in a huge one: 100,000 queued, 5,000 instances, 500 types.

A change is one event on a State that has been planned on before, as in production: what is kept with the parts of the maps that
did not change is there. The huge pass is measured with nothing kept.
"""

from __future__ import annotations

import random
from dataclasses import replace

from dispatcher.core import messages as m
from dispatcher.core import schedule
from dispatcher.core.maps import Map
from dispatcher.core.model import ContainerRecord, Requirements, State
from dispatcher.driver import InstanceType
from dispatcher.runtime.garbage import spare_garbage_collection
from tests.bench.measure import Results, cpu_s
from tests.bench.passes import rows
from tests.bench.states import GIB, House, fleet, listed, queue_of, read_events, report, with_queue

CONTAINERS, INSTANCES, TYPES = 100_000, 5_000, 500


def measure(results: Results) -> None:
    if results.wants("change"):
        _one_change(results)
    if results.wants("huge"):
        spare_garbage_collection()  # as the daemon does when it starts
        for busy in (True, False):
            _huge(results, busy=busy)


# ---------------------------------------------------------------------------------------------------------------- one change


def _one_change(results: Results) -> None:
    """A container of 1,000 that run ends while 10,000 wait: what it takes to decide who comes next."""
    house = fleet(1_000, busy=True, max_instances=1_000)
    with_queue(house, queue_of(10_000))
    row = rows()["scheduler"]
    _plan(row.planners, house)
    names = iter(one.name for one in listed(1_000))
    for _ in results.each_round():
        for _ in range(5):
            house.post(m.Probed(name=next(names), began_s=house.now_s, report=report()))
            state, now = house.store.snapshot(), house.now_s
            results.add("change_next_step_ms_10000x1000", 1e3 * cpu_s(schedule.next_step, state, now))
            house.post(m.Probed(name=next(names), began_s=house.now_s, report=report()))
            full_s = cpu_s(_plan, row.planners, house)
            results.add("change_full_pass_ms_10000x1000", 1e3 * full_s)
            results.add("change_due_ms_10000x1000", 1e3 * cpu_s(row.due, house.store.snapshot(), house.now_s))


def _plan(planners: tuple, house: House) -> None:
    """As the loop does it: each planner on the newest State, and what it proposes is begun."""
    for planner in planners:
        seen = house.store.snapshot()
        house.store.commit(planner(seen, house.now_s), seen)


# -------------------------------------------------------------------------------------------------------------------- huge


def _offers() -> dict[str, InstanceType]:
    """Of 500 types, in steps of vcpus, memory and price."""
    return {f"f{number}": _offer(f"f{number}", 1 + number % 50, 2 + number // 50) for number in range(TYPES)}


def _offer(name: str, vcpus: int, gib_each: int) -> InstanceType:
    return InstanceType(
        name=name, provider_type=name, vcpus=vcpus, ram_bytes=vcpus * gib_each * GIB, included_scratch_bytes=vcpus * 50 * GIB,
        price=vcpus * (0.04 + 0.005 * gib_each),
    )  # fmt: skip


def _wishes() -> list[ContainerRecord]:
    """Each of hundreds of needs, from one vcpu to many."""
    chance = random.Random(7)
    kinds = [
        Requirements(vcpus=min(32, int(chance.paretovariate(1.2))), ram_bytes=chance.randrange(1, 16) * GIB, tmp_bytes=GIB)
        for _ in range(TYPES)
    ]
    return [replace(record, requirements=kinds[number % TYPES]) for number, record in enumerate(queue_of(CONTAINERS))]


def _house(*, busy: bool) -> House:
    house = fleet(INSTANCES, busy=busy, max_instances=INSTANCES)
    chosen = house.store.snapshot().settings
    types = {**chosen.instance_types, **_offers()}
    house.post(m.SettingsLoaded(settings=replace(chosen, instance_types=types, max_instances=INSTANCES + 500)))
    for event in read_events(_wishes(), house.now_s):
        house.post(event)
    return house


def _fresh(state: State) -> State:
    """The same State, of which nothing is kept."""
    return replace(state, containers=Map(state.containers.items()), instances=Map(state.instances.items()))


def _huge(results: Results, *, busy: bool) -> None:
    house = _house(busy=busy)
    row, name = rows()["scheduler"], f"huge_{'busy' if busy else 'idle'}_{CONTAINERS}x{INSTANCES}x{TYPES}"
    for _ in results.each_round():
        state, now = _fresh(house.store.snapshot()), house.now_s
        results.add(f"{name}_pass_ms", 1e3 * sum(cpu_s(planner, state, now) for planner in row.planners))
        results.add(f"{name}_again_ms", 1e3 * sum(cpu_s(planner, state, now) for planner in row.planners))
        results.add(f"{name}_next_step_ms", 1e3 * cpu_s(schedule.next_step, state, now))
        results.add(f"{name}_everyone_ms", 1e3 * cpu_s(_everyone, _fresh(state), now))


def _everyone(state: State, now: float) -> None:
    schedule.decide(state, now, everyone=True)
