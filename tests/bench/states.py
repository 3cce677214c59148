"""The States that are measured, brought about by events as in production, so that each is lawful.

A State is a value: it is made once, and every round starts from it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerRecord, ContainerState, Requirements, State
from dispatcher.core.settings import Settings
from dispatcher.driver import Instance as ListedInstance
from dispatcher.driver import InstanceType
from dispatcher.runtime.metrics.facts import Recorder
from dispatcher.runtime.perform import slices
from dispatcher.runtime.store import Store
from dispatcher.runtime.story import Story, Teller

GIB = 1 << 30
SIZES = (1, 2, 4, 8, 16)
TOKEN = "zzzzz-gj3su-000000000000000"
PREFIX = "Arvados"
HEARD = 200  # changes that wait to be told


@dataclass(slots=True)
class Clock:
    """A clock that stands still until it is moved."""

    now_s: float = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return 1.7e9 + self.now_s

    def utc(self) -> str:
        return "2030-01-01T00:00:00Z"


@dataclass(slots=True)
class House:
    """A production store with its listener, and the clock by which it lives."""

    state: State
    clock: Clock = field(default_factory=Clock)
    store: Store = field(init=False)
    teller: Teller = field(init=False)
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.teller = teller = Teller(Story(self.clock), self.clock, tell=lambda told: None, audit_log=lambda act: None)
        self.recorder = recorder = Recorder(self.clock)

        def hear(before: State, after: State, message: m.Event | m.Action) -> None:
            recorder.hear(before, after, message)
            teller.hear(before, after, message)

        self.store = Store(self.state, self.clock.monotonic, strict=True, listener=hear)

    def post(self, *events: m.Event) -> None:
        """What was heard is told by and by, as by the threads that do so in production."""
        for event in events:
            self.clock.now_s += 0.001
            self.store.post(event)
            if self.recorder.waiting() > HEARD:
                self.catch_up()

    def catch_up(self) -> None:
        self.recorder.catch_up()
        self.teller.tell()

    @property
    def now_s(self) -> float:
        return self.clock.now_s


def settings(max_instances: int, containers_per_instance: int = 0) -> Settings:
    offers = [
        InstanceType(
            name=f"{family}{size}", provider_type=f"{family}{size}", vcpus=size, ram_bytes=size * 4 * GIB,
            included_scratch_bytes=size * 50 * GIB, price=size * price,
        )
        for family, price in (("a", 0.1), ("b", 0.12))
        for size in SIZES
    ]  # fmt: skip
    return Settings(
        instance_types={offer.name: offer for offer in offers}, max_instances=max_instances, instance_set_id="bench",
        maximum_price_factor=100.0, max_running_containers_per_instance=containers_per_instance, supervisor_fraction=0.5,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------- cloud


def listed(count: int) -> list[ListedInstance]:
    """A fleet of every size, as the cloud lists it."""
    return [_listed(number) for number in range(count)]


def _listed(number: int) -> ListedInstance:
    name, type_name = f"compute-bench-{number:015d}", f"a{SIZES[number % len(SIZES)]}"
    tags = {f"{PREFIX}InstanceType": type_name, f"{PREFIX}InstanceSecret": f"{number:040d}", f"{PREFIX}IdleBehavior": "run"}
    address = f"10.0.{number // 250}.{number % 250 + 1}"
    return ListedInstance(id=f"/vm/{name}", name=name, provider_type=type_name, address=address, tags=tags)


def report(*uuids: str) -> m.ProbeReport:
    return m.ProbeReport(reached=True, booted=True, processes=frozenset(uuids))


# ------------------------------------------------------------------------------------------------------------------- queue


def uuid_of(number: int) -> str:
    """As random in its last letters as a real one, and the same in each run."""
    return f"zzzzz-dz642-{random.Random(number).getrandbits(75):015x}"[:27]


def queue_of(count: int, state: ContainerState = ContainerState.QUEUED) -> list[ContainerRecord]:
    """What a poll shows of containers that wait: without their requirements."""
    chance = random.Random(count)
    locked_by = TOKEN if state is not ContainerState.QUEUED else None
    return [
        ContainerRecord(
            uuid=uuid_of(number), state=state, priority=chance.randrange(1, 1000) << 50, locked_by_uuid=locked_by,
            created_at="2030-01-01T00:00:00Z",
        )
        for number in range(count)
    ]  # fmt: skip


def running_of(count: int) -> list[ContainerRecord]:
    """One running container for each instance of a fleet, as large as the instance."""
    return [
        ContainerRecord(
            uuid=uuid_of(1_000_000 + number), state=ContainerState.RUNNING, priority=500 << 50, locked_by_uuid=TOKEN,
            requirements=Requirements(vcpus=SIZES[number % len(SIZES)], ram_bytes=GIB // 4),
        )
        for number in range(count)
    ]  # fmt: skip


def full(records: Sequence[ContainerRecord]) -> list[ContainerRecord]:
    """The same as a read shows them: with requirements, of three dozen kinds."""
    return [replace(record, requirements=_wanted(number)) for number, record in enumerate(records)]


def _wanted(number: int) -> Requirements:
    return Requirements(vcpus=(1, 1, 2, 4)[number % 4], ram_bytes=GIB // 2 + (number % 9) * (64 << 20), tmp_bytes=GIB)


def read_events(records: Sequence[ContainerRecord], began_s: float) -> list[m.ContainersRead]:
    """The answers to the reads of all these: a hundred uuids each."""
    asked = [records[start : start + 100] for start in range(0, len(records), 100)]
    return [
        m.ContainersRead(began_s=began_s, asked=tuple(record.uuid for record in part), records=tuple(part)) for part in asked
    ]


# ------------------------------------------------------------------------------------------------------------------- whole


def leading(max_instances: int, containers_per_instance: int = 0) -> House:
    """A dispatcher that leads, has polled an empty queue and listed an empty cloud twice."""
    house = House(State(settings=settings(max_instances, containers_per_instance)))
    house.post(m.LeadershipGained(), m.QueueIdentified(token_uuid=TOKEN))
    for _ in range(2):
        house.post(m.ListEnded(began_s=house.now_s, complete=True), m.QueuePolled(began_s=house.now_s))
    return house


def fleet(count: int, *, busy: bool, max_instances: int) -> House:
    """So many instances that have booted and answered; when busy, each is full with one container that runs, when idle, each
    may take one."""
    house = leading(max_instances, 0 if busy else 1)
    running = running_of(count) if busy else []
    house.post(*read_events(running, house.now_s))
    house.post(*(m.InstancesListed(began_s=house.now_s, instances=part) for part in slices(listed(count))))
    house.clock.now_s += 1.0
    for number, one in enumerate(listed(count)):
        uuids = (running[number].uuid,) if busy else ()
        house.post(m.Probed(name=one.name, began_s=house.now_s, report=report(*uuids)))
    return house


def with_queue(house: House, records: Sequence[ContainerRecord]) -> State:
    """The State of this house when all these were read too."""
    house.post(*read_events(full(records), house.now_s))
    return house.store.snapshot()


def stirred(state: State) -> State:
    """A fresh version of the same: one container and one instance are other objects, so that no list made before is kept."""
    container, instance = next(iter(state.containers.values()), None), next(iter(state.instances.values()), None)
    if container is not None:
        state = replace(state, containers=state.containers.set(container.uuid, replace(container)))
    if instance is not None:
        state = replace(state, instances=state.instances.set(instance.name, replace(instance)))
    return replace(state, version=state.version + 1)
