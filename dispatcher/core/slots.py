"""Where a pass may put containers: the instances that take work, with the room that is left in this pass; and what it decided.

Containers with the same need, eligible types and image share one ``Shape``. Both are scratch paper of one pass.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from dispatcher.core import sizing
from dispatcher.core.messages import Action
from dispatcher.core.model import NEVER, Fit, Instance, Phase, Resources, State
from dispatcher.core.reasons import NO_REASON, Reason
from dispatcher.core.settings import Settings
from dispatcher.core.transitions.room import accepts_work, refuses, room_by, shares_vcpu
from dispatcher.driver import InstanceType

Rank = tuple[int, int, float, int, int, int, str]


@dataclass(slots=True)
class Slot:
    """An instance that takes work, with the room that is left in this pass. ``name`` is empty for one still to be asked for."""

    name: str
    type: str
    phase: Phase
    left: Resources
    shared: bool
    places: float
    rank: Rank
    image: str = ""
    instance: Instance | None = None
    taken: int = 0  # containers that this pass put on it

    def fits(self, need: Resources) -> bool:
        return self.places > 0 and sizing.accommodates(self.left, need, self.shared)

    def put(self, need: Resources) -> None:
        self.left = sizing.take(self.left, need)
        self.shared = self.shared or need.vcpus == 0
        self.places -= 1
        self.taken += 1


@dataclass(slots=True)
class Shape:
    """Everything that containers of one need and one list of types have in common during a pass."""

    fit: Fit
    slots: list[Slot]
    next: int = 0  # slots before this have no room any more, and never get any in this pass
    refused: Reason = NO_REASON  # why nothing more can be bought for it in this pass
    over_quota: bool = False  # and that is a quota


class _Opening(NamedTuple):
    """What of a slot follows from its instance and the settings alone. Shared by passes: nobody changes it."""

    rank: Rank
    left: Resources
    shared: bool
    places: float
    instance: Instance


def slots_of(state: State, now: float) -> list[Slot]:
    """A slot for each instance that takes work now and has room, best first."""
    parts = state.instances.parts(_openings, state.settings)
    taking = [
        opening
        for part in parts
        for opening in part
        if opening.instance.phase is Phase.READY or accepts_work(state, opening.instance, now) is None
    ]
    taking.sort(key=itemgetter(0))
    return [_slot(opening) for opening in taking]


def _slot(opening: _Opening) -> Slot:
    rank, left, shared, places, instance = opening
    return Slot(instance.name, instance.type, instance.phase, left, shared, places, rank, instance.image, instance)


def _openings(instances: Collection[Instance], settings: Settings) -> list[_Opening]:
    """Of the instances that take work at some time."""
    return [found for instance in instances if refuses(instance, NEVER) is None and (found := _opening(instance, settings))]


def _opening(instance: Instance, settings: Settings) -> _Opening | None:
    offer = settings.instance_types.get(instance.type)
    if offer is None or _full(instance, offer):
        return None
    left = room_by(settings, instance)
    if left is None or left.vcpus < 1:
        return None
    most = settings.max_running_containers_per_instance
    ready = 0 if instance.phase is Phase.READY else 1
    rank = (
        ready, -len(instance.bound), offer.price, -offer.vcpus, -offer.ram_bytes, -offer.scratch_bytes, instance.name,
    )  # fmt: skip
    return _Opening(rank, left, shares_vcpu(instance), most - len(instance.bound) if most else math.inf, instance)


def _full(instance: Instance, offer: InstanceType) -> bool:
    """The usual case, seen at once: every vcpu is taken."""
    return sum(need.vcpus for need in instance.bound.values() if need is not None) >= offer.vcpus


@dataclass(slots=True)
class Decision:
    """What a pass decided. ``reasons``: uuid → why it waits, in the order of the queue."""

    actions: list[Action] = field(default_factory=list)
    reasons: dict[str, Reason] = field(default_factory=dict)
    over_limit: Reason = NO_REASON  # what limits the number of instances as a whole
    ahead: dict[str, str] = field(default_factory=dict)  # uuid → what room there is for it when its instance ends
    # These two count everybody only when everyone was asked for:
    promised: int = 0  # containers that have no place yet, and an instance for them is on its way
    shut_out: int = 0  # containers that get none because of a quota, or a limit on instances or supervisors

    @property
    def waits(self) -> dict[str, str]:
        """The same in words alone."""
        return {uuid: reason.text for uuid, reason in self.reasons.items()}
