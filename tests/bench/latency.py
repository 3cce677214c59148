"""How long an event waits to be taken in while other threads use the store: wall time, as in the daemon.

One thread takes in polls of 10,000 containers that all changed, one plans and commits, a third posts the probes measured.
"""

from __future__ import annotations

import gc
import itertools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerRecord, State
from dispatcher.runtime.garbage import spare_garbage_collection
from dispatcher.runtime.perform import Perform, Ports
from tests.bench.events import Answers
from tests.bench.measure import Results
from tests.bench.passes import rows
from tests.bench.states import House, fleet, queue_of, report, with_queue

CONTAINERS, INSTANCES, EVENTS = 10_000, 1_000, 300
PAUSE_S, SWITCH_S = 0.002, 0.001


def measure(results: Results) -> None:
    if not results.wants("latency"):
        return
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    spare_garbage_collection()
    try:
        for _ in results.each_round():
            _scene(results, "quiet", ())
            _scene(results, "busy", (_polls, _plans))
    finally:
        sys.setswitchinterval(before_s)
        gc.unfreeze()


def _scene(results: Results, name: str, others: Sequence[Callable[[House, threading.Event], None]]) -> None:
    house, stop = fleet(INSTANCES, busy=True, max_instances=INSTANCES), threading.Event()
    with_queue(house, queue_of(CONTAINERS))
    threads = [threading.Thread(target=other, args=(house, stop), daemon=True) for other in others]
    for thread in threads:
        thread.start()
    state = house.store.snapshot()
    waits = sorted(_post(house, state, number % INSTANCES) for number in range(EVENTS))
    stop.set()
    for thread in threads:
        thread.join()
    house.catch_up()
    for part, at in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        results.add(f"latency_event_ms_{name}_{part}", 1e3 * waits[int(at * (len(waits) - 1))])
    results.add(f"latency_event_ms_max_{name}", 1e3 * waits[-1])
    results.add(f"latency_lock_cpu_ms_max_{name}", 1e3 * house.store.longest_s)


def _post(house: House, state: State, number: int) -> float:
    """One probe that tells nothing new, in wall time."""
    time.sleep(PAUSE_S)
    house.clock.now_s += 0.001
    instance = state.instances.all()[number]
    event = m.Probed(name=instance.name, began_s=house.now_s, report=report(*instance.processes))
    began = time.monotonic()
    house.store.post(event)
    return time.monotonic() - began


def _polls(house: House, stop: threading.Event) -> None:
    """Of which each changes every priority."""
    records: list[ContainerRecord] = queue_of(CONTAINERS)
    for turn in itertools.count(1):
        shown = [replace(record, priority=record.priority + turn) for record in records]
        ports = Ports(queue=Answers(records=shown), cloud=None, instances=None, clock=house.clock)  # type: ignore[arg-type]
        for event in Perform(ports, house.store.snapshot).execute(m.PollQueue(), house.store.snapshot().leadership.term):
            if stop.is_set():
                return
            house.store.post(event)


def _plans(house: House, stop: threading.Event) -> None:
    planners = rows()["scheduler"].planners
    while not stop.is_set():
        for planner in planners:
            seen = house.store.snapshot()
            house.store.commit(planner(seen, house.now_s), seen)
        house.catch_up()
