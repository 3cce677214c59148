"""Where a pass may put containers: the instances that take work, with the room that is left in this pass; and what it decided.

Containers with the same need, eligible types and image share one ``Shape``. All are scratch paper of one pass; nothing is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from dispatcher.core import sizing
from dispatcher.core.messages import Action
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


@dataclass(slots=True)
class Decision:
    """What a pass decided. ``reasons``: uuid → why it waits, in the order of the queue."""

    actions: list[Action] = field(default_factory=list)
    reasons: dict[str, Reason] = field(default_factory=dict)
    over_limit: Reason = NO_REASON  # what limits the number of instances as a whole
    ahead: dict[str, str] = field(default_factory=dict)  # uuid → what room there is for it when its instance ends
    promised: int = 0  # containers that have no place yet, and an instance for them is on its way
    shut_out: int = 0  # containers that get none because of a quota, or a limit on instances or supervisors

    @property
    def waits(self) -> dict[str, str]:
        """The same in words alone."""
        return {uuid: reason.text for uuid, reason in self.reasons.items()}
