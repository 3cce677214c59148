"""Where a pass may put containers: the instances that take work, with the room that is left in this pass.

Containers with the same need, eligible types and image share one ``Shape``. Both are scratch paper of one pass; nothing is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dispatcher.core import sizing
from dispatcher.core.model import Fit, Instance, Phase, Resources, State
from dispatcher.core.reasons import NO_REASON, Reason
from dispatcher.core.transitions.room import accepts_work, room, shares_vcpu

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


def slot_of(state: State, instance: Instance, now: float) -> Slot | None:
    if accepts_work(state, instance, now) is not None:
        return None
    left = None if _full(state, instance) else room(state, instance)
    if left is None or left.vcpus < 1:
        return None
    offer = state.settings.instance_types[instance.type]
    most = state.settings.max_running_containers_per_instance
    ready = 0 if instance.phase is Phase.READY else 1
    rank = (
        ready, -len(instance.bound), offer.price, -offer.vcpus, -offer.ram_bytes, -offer.scratch_bytes, instance.name,
    )  # fmt: skip
    return Slot(
        name=instance.name, type=instance.type, phase=instance.phase, left=left, shared=shares_vcpu(instance),
        places=most - len(instance.bound) if most else math.inf, rank=rank, instance=instance, image=instance.image,
    )  # fmt: skip


def _full(state: State, instance: Instance) -> bool:
    """The usual case, seen at once: every vcpu is taken."""
    offer = state.instance_type(instance.type)
    return offer is not None and sum(need.vcpus for need in instance.bound.values() if need is not None) >= offer.vcpus
