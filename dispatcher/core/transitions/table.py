"""The table of legal transitions of an instance. Whatever is not in it raises, and changes nothing.

``docs/states.md`` is generated from here.
"""

from __future__ import annotations

from dispatcher.core.model import Instance, Phase
from dispatcher.core.values import replace
from dispatcher.frozen import dataclass


class IllegalTransition(Exception):
    """Somebody tried to move an instance along an edge that the table does not have: a bug."""


@dataclass(frozen=True, slots=True)
class Edge:
    """From where (None: not known before) to where (None: removed), and what brings it about."""

    start: Phase | None
    end: Phase | None
    when: str


EDGES: tuple[Edge, ...] = (
    Edge(None, Phase.CREATING, "a create is decided: the instance exists here before the cloud knows it"),
    Edge(None, Phase.UNKNOWN, "the cloud lists an instance of ours that this process did not create"),
    Edge(None, Phase.SHUTDOWN, "the cloud lists an unknown instance of ours that it is already deleting"),
    Edge(Phase.CREATING, Phase.BOOTING, "the cloud accepted the create, or lists an instance of that name"),
    Edge(Phase.CREATING, Phase.SHUTDOWN, "an operator kills it, or the cloud lists it as failed"),
    Edge(Phase.CREATING, None, "the create was refused, or two complete lists prove that it never came to be"),
    Edge(Phase.BOOTING, Phase.READY, "the boot probe passed, the runner is in place and its processes are listed"),
    Edge(Phase.BOOTING, Phase.SHUTDOWN, "boot timeout, create failed after acceptance, drained, or an operator's kill"),
    Edge(Phase.BOOTING, None, "proved absent"),
    Edge(Phase.UNKNOWN, Phase.READY, "the boot probe passed, the runner is in place and its processes are listed"),
    Edge(
        Phase.UNKNOWN, Phase.SHUTDOWN,
        "boot timeout while nothing runs there, drained, unresponsive, unkillable, or an operator's kill",
    ),
    Edge(Phase.UNKNOWN, None, "proved absent"),
    Edge(Phase.READY, Phase.SHUTDOWN, "idle, drained, unresponsive, unkillable, to make room, or an operator's kill"),
    Edge(Phase.READY, None, "proved absent"),
    Edge(Phase.SHUTDOWN, Phase.SHUTDOWN, "still listed after `TimeoutShutdown`: destroy again"),
    Edge(Phase.SHUTDOWN, None, "proved absent"),
)

_LEGAL = frozenset((edge.start, edge.end) for edge in EDGES)


def allowed(start: Phase | None, end: Phase | None) -> bool:
    return (start, end) in _LEGAL


def demand(start: Phase | None, end: Phase | None, name: str) -> None:
    """Raise ``IllegalTransition`` unless the table has the edge."""
    if not allowed(start, end):
        raise IllegalTransition(f"instance {name}: {start or 'nothing'} → {end or 'nothing'} is not in the table")


def move(instance: Instance, phase: Phase, now: float) -> Instance:
    """The instance in its new phase, since now. Staying where it is changes nothing."""
    if instance.phase is phase:
        return instance
    demand(instance.phase, phase, instance.name)
    return replace(instance, phase=phase, phase_since_s=now)
