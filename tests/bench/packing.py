"""What a set of workloads costs and how long its containers wait: the house in virtual time, and a plain greedy pass beside it.

The greedy one follows what is known of Arvados's own dispatcher: first fit in the order of price, fullest first, one look at each
event, and no latency at all. The house has its polls, locks, probes and lists; both boot, run and idle for the same times.
"""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dispatcher.core import messages as m
from dispatcher.core import sizing
from dispatcher.core.model import Fit, Requirements, Resources
from dispatcher.core.settings import Settings
from dispatcher.driver import InstanceType
from dispatcher.simulation.world import Dispatcher, World
from drivers.stub import StubKnobs
from tests.bench.measure import Results

GIB = 1 << 30
BOOT_S, IDLE_S, MOST = 60.0, 60.0, 24
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A container that is submitted at ``at_s`` and runs for ``length_s``."""

    at_s: float
    vcpus: int
    length_s: float

    @property
    def requirements(self) -> Requirements:
        return Requirements(vcpus=self.vcpus, ram_bytes=self.vcpus * GIB, tmp_bytes=GIB)


@dataclass(frozen=True, slots=True)
class Bill:
    """The price of all instances, from the request to the destroy, and the mean wait from the submission to the start."""

    cost: float
    wait_s: float


def settings() -> Settings:
    offers = [_offer(f"a{size}", size) for size in (1, 2, 4, 8, 16)]
    return Settings(
        instance_types={offer.name: offer for offer in offers}, max_instances=MOST, timeout_idle_s=IDLE_S,
        reserve_extra_ram_bytes=0, local_keep_blob_buffers_per_vcpu=0,
    )  # fmt: skip


def _offer(name: str, size: int) -> InstanceType:
    ram_bytes, scratch_bytes = size * 4 * GIB, size * 50 * GIB
    return InstanceType(
        name=name, provider_type=name, vcpus=size, ram_bytes=ram_bytes, included_scratch_bytes=scratch_bytes, price=size * 0.1
    )


# --------------------------------------------------------------------------------------------------------------- workloads


def heavy_tailed(chance: random.Random) -> Iterator[Wish]:
    """Most are short, a few run for hours."""
    for _ in range(150):
        length_s = min(4 * HOUR_S, 60.0 * chance.paretovariate(1.1))
        yield Wish(chance.uniform(0, HOUR_S), chance.choice((1, 1, 1, 2, 4)), length_s)


def bursty(chance: random.Random) -> Iterator[Wish]:
    """Four crowds, a quarter of an hour apart."""
    for burst, _ in itertools.product(range(4), range(40)):
        yield Wish(900.0 * burst + chance.uniform(0, 2), chance.choice((1, 2, 4)), chance.uniform(60, 600))


def mixed(chance: random.Random) -> Iterator[Wish]:
    """Every size and length."""
    for _ in range(120):
        yield Wish(chance.uniform(0, HOUR_S), chance.choice((1, 2, 3, 4, 6, 8, 12, 16)), chance.uniform(300, 1200))


def even(chance: random.Random) -> Iterator[Wish]:
    """As many as there may be instances, all alike and long: here the least that it can cost is known."""
    for _ in range(MOST):
        yield Wish(0.0, 4, 3 * HOUR_S)


WORKLOADS: tuple[Callable[[random.Random], Iterator[Wish]], ...] = (heavy_tailed, bursty, mixed, even)


def least(wishes: list[Wish]) -> float:
    """No plan costs less: each vcpu is paid for while it is used, and prices are in proportion to them."""
    return sum(wish.vcpus * 0.1 * wish.length_s / HOUR_S for wish in wishes)


# ---------------------------------------------------------------------------------------------------------------- the house


def house(wishes: list[Wish]) -> Bill:
    world = World(settings(), knobs=StubKnobs.kind(boot_s=BOOT_S))
    begun: dict[str, float] = {}
    ended: dict[str, float] = {}
    started: dict[str, float] = {}
    types: dict[str, str] = {}

    def note(dispatcher: Dispatcher, message: m.Event | m.Action) -> None:
        now_s = world.clock.now_s
        if isinstance(message, m.CreateInstance):
            begun.setdefault(message.name, now_s)
            types[message.name] = message.instance_type
        elif isinstance(message, m.DestroyInstance):
            ended.setdefault(message.name, now_s)
        elif isinstance(message, m.StartContainer):
            started[message.uuid] = now_s

    world.listener = note
    world.start_dispatcher(quiet_s=0.0)
    world.run(30.0)
    submitted: dict[str, float] = {}

    def submit(wish: Wish) -> None:
        submitted[world.submit(wish.requirements, length_s=wish.length_s)] = world.clock.now_s

    for wish in wishes:
        world.later(wish.at_s, lambda wish=wish: submit(wish))
    world.run(24 * HOUR_S, until=lambda: len(submitted) == len(wishes) and world.over())
    prices = {name: offer.price for name, offer in world.settings.instance_types.items()}
    cost = sum(prices[types[name]] * (ended[name] - begun[name]) / HOUR_S for name in begun if name in ended)
    return Bill(cost, statistics.fmean(started[uuid] - at_s for uuid, at_s in submitted.items()))


# --------------------------------------------------------------------------------------------------------------- the greedy


@dataclass(slots=True)
class Machine:
    """An instance of the greedy pass."""

    number: int
    offer: InstanceType
    left: Resources
    since_s: float
    ready_s: float
    idle_since_s: float
    holds: list[int] = field(default_factory=list)

    @property
    def order(self) -> tuple[float, int, int]:
        return (self.offer.price, -self.offer.vcpus, self.number)


class Greedy:
    """The plain pass at each event: arrivals, boots, ends, and idle time-outs."""

    def __init__(self, wishes: list[Wish]) -> None:
        self.settings = settings()
        self.wishes = sorted(wishes, key=lambda wish: wish.at_s)
        self.fits = [sizing.fit(wish.requirements, self.settings) for wish in self.wishes]
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.order, self.numbers = itertools.count(), itertools.count()
        self.now_s, self.cost = 0.0, 0.0
        self.machines: list[Machine] = []
        self.waiting: list[int] = []
        self.waits: list[float] = []

    def at(self, at_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.agenda, (at_s, next(self.order), act))

    def run(self) -> Bill:
        for index, wish in enumerate(self.wishes):
            self.at(wish.at_s, lambda index=index: self.waiting.append(index))
        while self.agenda:
            self.now_s, _, act = heapq.heappop(self.agenda)
            act()
            while self.agenda and self.agenda[0][0] == self.now_s:
                heapq.heappop(self.agenda)[2]()
            self.plan()
        return Bill(self.cost, statistics.fmean(self.waits))

    def plan(self) -> None:
        for index in list(self.waiting):
            machine = self.choose(self.fits[index]) or self.buy(self.fits[index])
            if machine is None:  # the limit on instances: whoever is behind waits too, and who has no work gives way
                for idle in [each for each in self.machines if not each.holds]:
                    self.end(idle)
                self.at(self.now_s + 1.0, lambda: None)
                break
            self.waiting.remove(index)
            self.put(index, machine)

    def choose(self, fit: Fit) -> Machine | None:
        """First in order that has room; more containers on it win, then being up."""
        best: Machine | None = None
        for each in sorted(self.machines, key=lambda machine: machine.order):
            if each.offer.name not in fit.types or not sizing.accommodates(each.left, fit.need, False):
                continue
            up = each.ready_s <= self.now_s
            more = best is not None and len(each.holds) > len(best.holds)
            sooner = best is not None and best.ready_s > self.now_s and up and len(each.holds) == len(best.holds)
            best = each if best is None or more or sooner else best
        return best

    def buy(self, fit: Fit) -> Machine | None:
        if len(self.machines) >= MOST:
            return None
        offer = self.settings.instance_types[fit.types[0]]
        ready_s = self.now_s + BOOT_S
        made = Machine(next(self.numbers), offer, sizing.room(offer), self.now_s, ready_s, ready_s)
        self.machines.append(made)
        return made

    def put(self, index: int, machine: Machine) -> None:
        machine.holds.append(index)
        machine.left = sizing.take(machine.left, self.fits[index].need)
        start_s = max(self.now_s, machine.ready_s)
        self.waits.append(start_s - self.wishes[index].at_s)
        self.at(start_s + self.wishes[index].length_s, lambda: self.leave(index, machine))

    def leave(self, index: int, machine: Machine) -> None:
        machine.holds.remove(index)
        used = sizing.room(machine.offer)
        for other in machine.holds:
            used = sizing.take(used, self.fits[other].need)
        machine.left, machine.idle_since_s = used, self.now_s
        self.at(self.now_s + IDLE_S, lambda: self.retire(machine))

    def retire(self, machine: Machine) -> None:
        if machine in self.machines and not machine.holds and self.now_s >= machine.idle_since_s + IDLE_S:
            self.end(machine)

    def end(self, machine: Machine) -> None:
        self.machines.remove(machine)
        self.cost += machine.offer.price * (self.now_s - machine.since_s) / HOUR_S


def measure(results: Results) -> None:
    if not results.wants("packing"):
        return
    for workload in WORKLOADS:
        for seed in range(results.rounds if workload is not even else 1):  # a minute each
            wishes = list(workload(random.Random(seed)))
            ours, greedy, name = house(wishes), Greedy(wishes).run(), f"packing_{workload.__name__}"
            results.add(f"{name}_cost_to_greedy", ours.cost / greedy.cost)
            results.add(f"{name}_wait_to_greedy", ours.wait_s / greedy.wait_s)
            results.add(f"{name}_cost_to_least", ours.cost / least(wishes))
            results.add(f"{name}_wait_s", ours.wait_s)
