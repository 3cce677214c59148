"""Locked ahead: no place is free, and a container is locked already for the next that becomes free. It is bound to no instance
and keeps its place in line, so that whoever is more urgent still comes before it.

At most one is locked ahead for each busy place, nobody is twice, and a lock that comes to nothing is given back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from dispatcher.core import sizing
from dispatcher.core.model import NEVER, Container, Instance, Phase, ProcessPhase, Resources, State
from dispatcher.core.settings import Settings
from dispatcher.core.transitions.room import Reason, accepts_work, refuses

GIVE_BACK_S = 60.0  # a lock that was taken ahead and came to nothing is held no longer
LEAST_ATTEMPTS = 3  # who may be locked less often than this is not locked ahead: giving the lock back spends an attempt


class Seat(NamedTuple):
    """A place on which a runner works, with the room that there will be when it has ended."""

    instance: str
    type: str
    image: str
    room: Resources
    shared: bool


def seats(state: State) -> list[Seat]:
    """Every busy place of the instances that go on taking work."""
    return [seat for part in state.instances.parts(_seats, state.settings) for seat in part]


def held(state: State) -> list[Container]:
    """Those who are locked ahead, or about to be."""
    return [container for part in state.containers.parts(_held) for container in part]


def _held(containers: Collection[Container]) -> list[Container]:
    return [container for container in containers if container.ahead]


def _seats(instances: Collection[Instance], settings: Settings) -> list[Seat]:
    return [seat for instance in instances if instance.processes for seat in _seats_of(instance, settings)]


def _seats_of(instance: Instance, settings: Settings) -> list[Seat]:
    offer = settings.instance_types.get(instance.type)
    known = all(uuid in instance.bound for uuid in instance.processes) and None not in instance.bound.values()
    if offer is None or not known or instance.phase is not Phase.READY or refuses(instance, NEVER) is not None:
        return []
    left = sizing.room(offer)
    for need in instance.bound.values():
        left = sizing.take(left, need or Resources())
    return [
        _seat(instance, uuid, left)
        for uuid, process in instance.processes.items()
        if process.phase is ProcessPhase.RUNNING and instance.bound[uuid] is not None
    ]


def _seat(instance: Instance, uuid: str, left: Resources) -> Seat:
    freed = instance.bound[uuid] or Resources()
    room = Resources(
        vcpus=left.vcpus + freed.vcpus, ram=left.ram + freed.ram, scratch=left.scratch + freed.scratch,
        gpus=left.gpus + freed.gpus, vram=left.vram,
    )  # fmt: skip
    shared = any(need is not None and need.vcpus == 0 for other, need in instance.bound.items() if other != uuid)
    return Seat(instance.name, instance.type, instance.image, room, shared)


def once_more(state: State, container: Container) -> Reason:
    """Why this container is not locked ahead, wherever there will be room: each lock that is given back spends an attempt."""
    if container.requirements is not None and container.requirements.supervisor:
        return "supervisors are not locked ahead"
    if container.lock_count or state.settings.max_dispatch_attempts < LEAST_ATTEMPTS:
        return "a lock that comes to nothing would cost it an attempt too many"
    return None


def lockable(state: State, container: Container, name: str, now: float) -> Reason:
    """Why it may not be locked ahead of a place on this instance."""
    instance = state.instances.get(name)
    if instance is None:
        return "there is no such instance"
    if instance.phase is not Phase.READY or not instance.processes:
        return "nothing runs there whose place it could take"
    if len(held(state)) >= len(seats(state)):
        return "as many are locked ahead as there are busy places"
    return once_more(state, container) or accepts_work(state, instance, now)


def given_back_s(container: Container) -> float:
    """When its lock is given back, should it still be held."""
    return container.state_changed_s + GIVE_BACK_S
