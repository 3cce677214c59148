"""What an event costs, and how long the lock is held for it: everything goes through the production store and ``Perform``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from dispatcher.core import messages as m
from dispatcher.core.looks import Look
from dispatcher.core.model import ContainerRecord, ContainerState, State
from dispatcher.driver import Instance as ListedInstance
from dispatcher.driver import Listing
from dispatcher.runtime.perform import Perform, Ports
from dispatcher.runtime.ports import Records, Sight
from tests.bench.measure import Results
from tests.bench.passes import rows
from tests.bench.states import (
    TOKEN,
    Clock,
    House,
    fleet,
    full,
    leading,
    listed,
    queue_of,
    report,
    settings,
    with_queue,
)


class Answers:
    """A queue service and a cloud that say what they are told to say."""

    def __init__(self, records: Iterable[ContainerRecord] = (), instances: Iterable[ListedInstance] = ()) -> None:
        self.records, self.instances = {record.uuid: record for record in records}, tuple(instances)

    def token_uuid(self) -> str:
        return TOKEN

    def poll(self, look: Look) -> Sight:
        return Sight(records=tuple(self.records.values()))

    def read(self, uuids: Sequence[str]) -> Records:
        return Records(records=tuple(self.records[uuid] for uuid in uuids if uuid in self.records))

    def list(self, call: object) -> Listing:
        return Listing(instances=self.instances, leftovers=(), complete=True)


@dataclass(slots=True)
class Spent:
    """Thread CPU time of some changes: all of it, and the most that one hold of the lock took."""

    total_s: float = 0.0
    longest_s: float = 0.0


def post_all(house: House, events: Sequence[m.Event]) -> Spent:
    """Post each, and keep what the store itself measured under its lock."""
    spent = Spent()
    for event in events:
        house.clock.now_s += 0.001
        began = time.thread_time()
        house.store.post(event)
        spent.total_s += time.thread_time() - began
    spent.longest_s = house.store.longest_s
    return spent


def perform(house: House, action: m.Action, answers: Answers) -> list[m.Event]:
    """The events that this act ends in, with the differences made outside the lock."""
    ports = Ports(queue=answers, cloud=answers, instances=None, clock=house.clock)  # type: ignore[arg-type]
    return Perform(ports, house.store.snapshot).execute(action, house.store.snapshot().leadership.term)


def fresh(state: State, now_s: float) -> House:
    """A new store on a State, a minute later: it has measured nothing yet."""
    return House(state, Clock(now_s + 60.0))


def measure(results: Results) -> None:
    for group, scene in SCENES.items():
        if results.wants(group):
            scene(results)


# ------------------------------------------------------------------------------------------------------------------- polls


def _poll(results: Results, name: str, state: State, now_s: float, records: Sequence[ContainerRecord]) -> None:
    """One poll: the differences made outside the lock, and its events inside."""
    for _ in results.each_round():
        house, answers = fresh(state, now_s), Answers(records=records)
        began = time.thread_time()
        events = perform(house, m.PollQueue(), answers)
        differences_s = time.thread_time() - began
        spent = post_all(house, events)
        results.add(f"poll_differences_ms_{name}", 1e3 * differences_s)
        results.add(f"observe_poll_ms_{name}", 1e3 * spent.total_s)
        results.add(f"lock_cpu_ms_max_poll_{name}", 1e3 * spent.longest_s)
        results.add("lock_cpu_ms_max_poll_10000", 1e3 * spent.longest_s)


def polls(results: Results) -> None:
    records = queue_of(10_000)
    empty = leading(0)
    _poll(results, "10000_all_new", empty.store.snapshot(), empty.now_s, records)
    house = leading(0)
    state = with_queue(house, records)
    dearer = [replace(record, priority=record.priority + 1) for record in records]
    for name, shown in (
        ("10000_unchanged", records),
        ("10000_1_percent_changed", [*dearer[:100], *records[100:]]),
        ("10000_priorities_changed", dearer),
        ("10000_all_absent", []),
        ("10000_all_final", [replace(record, state=ContainerState.CANCELLED, priority=0) for record in records]),
    ):
        _poll(results, name, state, house.now_s, shown)


def reads(results: Results) -> None:
    """The records of 10,000 new containers, a hundred each; and the empty answer for all of them."""
    house = leading(0)
    records = queue_of(10_000)
    house.post(*perform(house, m.PollQueue(), Answers(records=records)))
    state = house.store.snapshot()
    asks = [m.ReadContainers(uuids=tuple(record.uuid for record in records[at : at + 100])) for at in range(0, 10_000, 100)]
    for name, answers in (("10000_new", Answers(records=full(records))), ("10000_gone", Answers())):
        _post(results, f"read_{name}", state, house.now_s, [event for ask in asks for event in perform(house, ask, answers)])


def _post(results: Results, name: str, state: State, now_s: float, events: Sequence[m.Event]) -> None:
    for _ in results.each_round():
        house = fresh(state, now_s)
        spent = post_all(house, events)
        results.add(f"observe_{name.replace('_', '_ms_', 1)}", 1e3 * spent.total_s)
        results.add(f"lock_cpu_ms_max_{name}", 1e3 * spent.longest_s)


# ------------------------------------------------------------------------------------------------------------------- cloud


def listings(results: Results) -> None:
    house = fleet(1_000, busy=True, max_instances=0)
    state, now_s = house.store.snapshot(), house.now_s
    empty = leading(0)
    moved = [replace(one, address=f"10.9.{number // 250}.{number % 250}") for number, one in enumerate(listed(1_000))]
    for name, before, shown in (
        ("1000_unchanged", state, listed(1_000)),
        ("1000_all_new", empty.store.snapshot(), listed(1_000)),
        ("1000_other_addresses", state, moved),
        ("1000_all_missed", state, []),
    ):
        for _ in results.each_round():
            house = fresh(before, now_s)
            events = perform(house, m.ListInstances(), Answers(instances=shown))
            spent = post_all(house, events)
            if name == "1000_unchanged":
                results.add("observe_listing_ms_1000", 1e3 * spent.total_s)
            results.add(f"observe_listing_ms_{name}", 1e3 * spent.total_s)
            results.add(f"lock_cpu_ms_max_listing_{name}", 1e3 * spent.longest_s)
            results.add("lock_cpu_ms_max_listing_1000", 1e3 * spent.longest_s)


def probes(results: Results) -> None:
    """Each of 1,000 busy instances answers as expected; then the same with all their containers ended."""
    house = fleet(1_000, busy=True, max_instances=0)
    state, now_s = house.store.snapshot(), house.now_s
    for _ in results.each_round():
        for name, ended in (("observe_probe_us", False), ("observe_probe_us_exit", True)):
            house = fresh(state, now_s)
            events = [
                m.Probed(name=i.name, began_s=house.now_s, report=report(*(() if ended else i.processes)))
                for i in state.instances.all()
            ]
            spent = post_all(house, events)
            results.add(name, 1e6 * spent.total_s / len(events))
            results.add("lock_cpu_ms_max_probe", 1e3 * spent.longest_s)


# ----------------------------------------------------------------------------------------------------------------- commits


def _commit(results: Results, name: str, state: State, now_s: float, actions: Sequence[m.Action]) -> None:
    for _ in results.each_round():
        house = House(state, Clock(now_s))
        began = time.thread_time()
        accepted = house.store.commit(actions, state)
        results.add(f"commit_ms_{name}", 1e3 * (time.thread_time() - began))
        results.add(f"lock_cpu_ms_max_commit_{name}", 1e3 * house.store.longest_s)
        assert len(accepted) == len(actions), f"{name}: {len(accepted)} of {len(actions)} were legal"


def commits(results: Results) -> None:
    house = fleet(1_000, busy=False, max_instances=1_000)
    state = with_queue(house, queue_of(10_000))
    wide = replace(state, queue=replace(state.queue, lock_window=1_000))
    _commit(results, "1000_locks", wide, house.now_s, rows()["scheduler"].planners[1](wide, house.now_s))
    house = fleet(1_000, busy=False, max_instances=1_000)
    locked = with_queue(house, queue_of(10_000, ContainerState.LOCKED))
    _commit(results, "1000_starts", locked, house.now_s, rows()["scheduler"].planners[1](locked, house.now_s))
    later_s = house.now_s + 60.0
    _commit(results, "1000_probes", state, later_s, rows()["prober"].planners[0](state, later_s))
    house = leading(0)
    bought = with_queue(house, queue_of(1_000))
    creates = [m.CreateInstance(name=f"compute-{number}", instance_type="a1", secret="s") for number in range(1_000)]
    _commit(results, "1000_creates", bought, house.now_s, creates)


def removals(results: Results) -> None:
    """The whole fleet is gone, and three lists and a failing probe prove it; 10,000 containers are over."""
    house = fleet(1_000, busy=True, max_instances=0)
    with_queue(house, queue_of(10_000))
    for _ in range(3):
        house.clock.now_s += 10.0
        house.post(*perform(house, m.ListInstances(), Answers()))
        silent = m.ProbeReport(reached=False, error="no answer")
        house.post(*(m.Probed(name=name, began_s=house.now_s, report=silent) for name in house.store.snapshot().instances))
    state = house.store.snapshot()
    actions = [m.RemoveInstance(name=name) for name in state.instances]
    _commit(results, "1000_removals", state, house.now_s, actions)
    lifecycle = rows()["lifecycle"].planners[0]
    for _ in results.each_round():
        began = time.thread_time()
        assert len(lifecycle(state, house.now_s)) == 1_000
        results.add("lifecycle_plan_ms_1000_all_lost", 1e3 * (time.thread_time() - began))


def forgets(results: Results) -> None:
    house = leading(0)
    records = [replace(record, state=ContainerState.CANCELLED, priority=0) for record in queue_of(10_000)]
    with_queue(house, queue_of(10_000))
    house.clock.now_s += 10.0
    house.post(*perform(house, m.PollQueue(), Answers(records=records)))
    state = house.store.snapshot()
    actions = rows()["scheduler"].planners[0](state, house.now_s)
    _commit(results, "10000_forgets", state, house.now_s, actions)


# ------------------------------------------------------------------------------------------------------------------ others


def others(results: Results) -> None:
    """Events that concern everything at once. New settings compute again what fits where: the only one that may be long."""
    house = fleet(1_000, busy=True, max_instances=0)
    state, now_s = with_queue(house, queue_of(10_000)), house.now_s
    for name, events in (
        ("leadership_lost", [m.LeadershipLost(holder="another")]),
        ("leadership_gained", [m.LeadershipGained(quiet_s=30.0)]),
        ("queue_polled", [m.QueuePolled(began_s=now_s + 1.0)]),
        ("list_ended", [m.ListEnded(began_s=now_s + 1.0, complete=True)]),
        ("settings_10000_loaded", [m.SettingsLoaded(settings=settings(5))]),
    ):
        _post(results, name, state, now_s, events)


SCENES: dict[str, Callable[[Results], None]] = {
    "lock_poll": polls,
    "lock_read": reads,
    "lock_listing": listings,
    "lock_probe": probes,
    "lock_commit": commits,
    "lock_removal": removals,
    "lock_forget": forgets,
    "lock_other": others,
}

