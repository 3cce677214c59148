"""What an earlier process knew and nobody else can tell: clocks, hold-offs, money spent. Hints, never facts.

Wrong or missing they may cost money or patience, never correctness. So every one is cut to bounds here before it is used, and
none makes anything due at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from dispatcher.core.paces import NEVER, Holdoff
from dispatcher.frozen import dataclass

GRACE_BOOT_S = 60.0  # so long an instance that was found may still boot, whatever a hint says of its start
GRACE_IDLE_S = 15.0  # and so long it is idle for us before it goes: the queue may have work for it
LONGEST_S = 86400.0  # what is older is not believed
LONGEST_WAIT_S = 30 * 86400.0
TIMES_DEAREST = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHint:
    """Of one instance, known by the id that the cloud gave it. Times are of our monotonic clock."""

    id: str
    boot_began_s: float
    idle_since_s: float = NEVER  # when it last had work
    last_container: str = ""
    price: float = 0.0  # by the hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """As they were at ``at_s``. ``spent_today``: None when that is not known, or was another day."""

    at_s: float = NEVER
    spent_today: float | None = None
    holdoffs: tuple[Holdoff, ...] = ()
    instances: Mapping[str, InstanceHint] = field(default_factory=dict)
    first_seen_s: Mapping[str, float] = field(default_factory=dict)  # of containers


def of_instance(hints: Hints, name: str, instance_id: str | None) -> InstanceHint | None:
    """The hint about this very instance, if there is one: a name may be used again, an id is not."""
    hint = hints.instances.get(name)
    return hint if hint is not None and hint.id == instance_id else None


def boot_began_s(hint: InstanceHint | None, timeout_booting_s: float, now: float) -> float:
    """Since when it boots: never in the future, and never so long ago that it would be given up at once."""
    return now if hint is None else min(now, max(hint.boot_began_s, now - max(0.0, timeout_booting_s - GRACE_BOOT_S)))


def idle_since_s(hint: InstanceHint | None, timeout_idle_s: float, now: float) -> float:
    """Since when it is idle, within the same kind of bounds."""
    return now if hint is None else min(now, max(hint.idle_since_s, now - max(0.0, timeout_idle_s - GRACE_IDLE_S)))


def paid_since_s(hints: Hints, hint: InstanceHint | None, now: float) -> float:
    """Since when what it costs is not yet counted."""
    return now if hint is None else min(now, max(hints.at_s, now - LONGEST_S))


def price(hint: InstanceHint | None, dearest: float) -> float:
    """What an instance costs whose type is configured no longer. Much more than the ``dearest`` type of now is not believed."""
    return hint.price if hint is not None and 0 < hint.price <= TIMES_DEAREST * dearest else 0.0


def first_seen_s(hints: Hints, uuid: str, now: float) -> float:
    """Since when a container waits, which is its turn among equals."""
    return min(now, max(hints.first_seen_s.get(uuid, now), now - LONGEST_WAIT_S))
