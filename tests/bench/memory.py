"""How much memory State and plans take at 5,000 instances and 50,000 containers, and whether a month of work leaves anything.

Both count every object that a State is made of, what is kept with the parts of its maps included. The size is measured in a
process of its own, ``python -m tests.bench.memory``, in which nothing else was measured before.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from types import FunctionType, ModuleType

from dispatcher.core import schedule
from dispatcher.core.model import Requirements
from dispatcher.simulation.world import World
from drivers.stub import StubKnobs
from tests.bench.measure import Results
from tests.bench.passes import rows
from tests.bench.states import GIB, fleet, queue_of, settings, with_queue

CONTAINERS, INSTANCES = 50_000, 5_000
DAYS, DAY_S, EACH_DAY = 30, 86_400.0, 10
SIZE = f"{CONTAINERS}x{INSTANCES}"


def measure(results: Results) -> None:
    if results.wants("memory"):
        command = [sys.executable, "-m", "tests.bench.memory"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
        for name, value in json.loads(done.stdout).items():
            results.add(name, value)
    if results.wants("month"):
        _days(results)


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as told:
        return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def size() -> dict[str, float]:
    """All of a large house, in megabytes, and what the process takes beside it."""
    bare_mb = _resident_mb()
    house = fleet(INSTANCES, busy=True, max_instances=INSTANCES)
    state = with_queue(house, queue_of(CONTAINERS))
    found = {f"memory_state_mb_{SIZE}": _held(state)[1]}
    kept = [planner(state, house.now_s) for row in rows().values() for planner in row.planners]
    told = schedule.decide(state, house.now_s, everyone=True)
    house.catch_up()
    found[f"memory_process_mb_{SIZE}"] = _resident_mb()
    found["memory_process_mb_empty"] = bare_mb
    return found | {f"memory_state_and_plans_mb_{SIZE}": _held(state, kept, told)[1]}


def _held(*roots: object) -> tuple[int, float]:
    """Of how many objects these are made, and how many megabytes that is."""
    seen: set[int] = set()
    size, new = 0, list(roots)
    while new:
        seen.update(map(id, new))
        size += sum(map(sys.getsizeof, new))
        known = {id(each): each for each in gc.get_referents(*new)}
        new = [each for key, each in known.items() if key not in seen and not isinstance(each, _CODE)]
    return len(seen), size / 1e6


_CODE = (type, ModuleType, FunctionType)


def _days(results: Results) -> None:
    """Each day so many containers come and go, and with them the instances; at its end nothing is left but what is remembered.
    What is counted is all that the dispatcher keeps: State, the reasons of refusals, and its metrics."""
    world = World(settings(8), knobs=StubKnobs.kind(boot_s=30.0), heartbeat_s=60.0)
    dispatcher = world.start_dispatcher(quiet_s=0.0)
    counts = []
    for day in range(1, DAYS + 1):
        for number in range(EACH_DAY):
            wish = Requirements(vcpus=1 + number % 4, ram_bytes=GIB, tmp_bytes=GIB)
            world.later(200.0 * number, lambda wish=wish: world.submit(wish, length_s=90.0))
        world.run(DAY_S)
        dispatcher.metrics.recorder.catch_up()
        counts.append(_held(dispatcher.store.snapshot(), dispatcher.store.refusals, dispatcher.metrics.acts)[0])
        if day in (1, 2, 3, 10, 20, DAYS):
            results.add(f"month_objects_after_day_{day}", counts[-1])
    results.add("month_objects_least", min(counts))
    results.add("month_objects_most", max(counts))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(size()))
