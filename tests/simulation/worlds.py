"""Small Worlds in which a test has its way: kind clouds, plain instance types, and a journal of all that changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from dispatcher.core.explain import statuses
from dispatcher.core.messages import Action, ConnectionLost, Event
from dispatcher.core.model import Container, ContainerState, Instance, Phase, Requirements
from dispatcher.core.settings import Settings
from dispatcher.driver import InstanceType
from dispatcher.simulation.queue import Entry
from dispatcher.simulation.world import Dispatcher, World
from drivers.stub import StubInstance, StubKnobs

GIB = 1 << 30


def offer(name: str, vcpus: int, price: float = 0.0) -> InstanceType:
    return InstanceType(
        name=name, provider_type=name, vcpus=vcpus, ram_bytes=vcpus * 4 * GIB, included_scratch_bytes=100 * GIB,
        price=price or vcpus * 0.1,
    )  # fmt: skip


def settings(*offers: InstanceType, **changes: Any) -> Settings:
    menu = {each.name: each for each in offers or (offer("a2", 2), offer("b4", 4))}
    return replace(Settings(instance_types=menu, reserve_extra_ram_bytes=0, local_keep_blob_buffers_per_vcpu=0), **changes)


def wants(vcpus: int = 1, **more: Any) -> Requirements:
    return Requirements(vcpus=vcpus, ram_bytes=GIB, **more)


@dataclass(slots=True)
class Journal:
    """Every change of every dispatcher: (time, who, what)."""

    lines: list[tuple[float, str, Event | Action]] = field(default_factory=list)

    def note(self, dispatcher: Dispatcher, message: Event | Action) -> None:
        self.lines.append((dispatcher.world.clock.now_s, dispatcher.name, message))

    def of(self, *kinds: type[Event] | type[Action]) -> list[Any]:
        return [message for _, _, message in self.lines if isinstance(message, kinds)]

    def times(self, *kinds: type[Event] | type[Action]) -> list[float]:
        return [at_s for at_s, _, message in self.lines if isinstance(message, kinds)]

    def actions(self) -> Iterator[tuple[float, Action]]:
        return ((at_s, message) for at_s, _, message in self.lines if isinstance(message, Action))


class Town(World):
    """A World with a journal and short words for what tests ask."""

    def __init__(self, chosen: Settings | None = None, *, seed: int = 1, knobs: StubKnobs | None = None) -> None:
        super().__init__(chosen or settings(), seed=seed, knobs=knobs or StubKnobs.kind(boot_s=10.0, container_s=60.0))
        self.journal = Journal()
        self.listener = self.journal.note

    # -- what is

    def entry(self, uuid: str) -> Entry:
        return self.queue.entries[uuid]

    def is_state(self, uuid: str, *states: ContainerState) -> bool:
        return self.entry(uuid).state in states

    def container(self, uuid: str) -> Container:
        return self.state.containers[uuid]

    def held(self, *phases: Phase) -> list[Instance]:
        return [i for i in self.state.instances.all() if not phases or i.phase in phases]

    def machine(self, name: str) -> StubInstance:
        return next(machine for machine in self.stub.existing() if machine.name == name)

    def why(self, uuid: str) -> str:
        """What the dispatcher says that a container waits for."""
        return statuses(self.state, self.clock.now_s)[uuid]

    # -- what happens

    def until_states(self, uuids: list[str], *states: ContainerState, within_s: float = 300.0) -> None:
        assert self.run(within_s, until=lambda: all(self.is_state(uuid, *states) for uuid in uuids)), self.what()

    def until_ready(self, count: int = 1, within_s: float = 120.0) -> list[Instance]:
        assert self.run(within_s, until=lambda: len(self.held(Phase.READY)) == count), self.what()
        return self.held(Phase.READY)

    def lose(self, name: str) -> None:
        """The machine dies, and with it the connection that the dispatcher keeps."""
        self.stub.lose(self.machine(name).id)
        self.later(0.05, lambda: self.leader.post(ConnectionLost(name=name)))

    def cut_network(self, for_s: float) -> None:
        """Our own network: no instance is reached."""
        self.instances.knobs.down_until_s = self.clock.now_s + for_s

    def until_over(self, within_s: float = 3600.0) -> None:
        assert self.run(within_s, until=self.over), self.what()
        self.check()

    def check(self) -> None:
        """Nothing happened that must never happen."""
        assert self.violations.found == []
        assert not self.stub.bugs
        assert not any(dispatcher.store.planner_bugs or dispatcher.perform.bugs for dispatcher in self.ever)

    def what(self) -> str:
        containers = [f"{e.uuid[-3:]} {e.state.value} {e.reason}" for e in self.queue.entries.values()]
        return f"at {self.clock.now_s:.1f} s: {containers}, {[f'{i.name} {i.phase.value} {i.probe_error}' for i in self.held()]}"


def idle_instance(town: Town) -> Instance:
    """One instance that is up and has nothing to do: it ran a short container. The clock stands where that had ended."""
    first = town.submit(wants(), length_s=1.0)
    town.until_states([first], ContainerState.COMPLETE)
    assert town.run(200.0, until=lambda: not town.state.containers and not town.held()[0].processes)
    return town.held(Phase.READY)[0]
