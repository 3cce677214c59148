"""One sample of how everything stood: what the small pictures of the operator's page are drawn from.

Pure: a snapshot goes in, a handful of numbers comes out, so that a day of them is small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

from dispatcher.core import spending
from dispatcher.core.model import Container, ContainerState, IdleBehavior, Instance, Phase, ProcessPhase, State
from dispatcher.frozen import dataclass

BOOTING, RUNNING, IDLE, KEPT, ENDING = "booting", "running", "idle", "held or draining", "shutting down"
_READY, _RUN, _ENDED = Phase.READY, IdleBehavior.RUN, ProcessPhase.ENDED  # looked up thousands of times
STANDINGS = (RUNNING, IDLE, BOOTING, KEPT, ENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """``instances``: standing → how many; ``price_per_hour`` of all of them; ``waiting`` containers without a runner, the oldest
    of them for ``oldest_wait_s``; ``running`` containers."""

    at_s: float
    instances: Mapping[str, int] = field(default_factory=dict)
    price_per_hour: float = 0.0
    waiting: int = 0
    oldest_wait_s: float = 0.0
    running: int = 0


def standing(instance: Instance) -> str:
    """The one word under which an instance is counted: what it is about to become comes before what it does."""
    phase = instance.phase
    if phase is not _READY:
        return ENDING if phase is Phase.SHUTDOWN else BOOTING
    if instance.idle_behavior is not _RUN or instance.condemned:
        return KEPT
    return RUNNING if is_busy(instance) else IDLE


def is_busy(instance: Instance) -> bool:
    """Whether a runner is there, or on its way there."""
    for process in instance.processes.values():  # noqa: SIM110  a generator would take twice as long, and pages ask it of thousands
        if process.phase is not _ENDED:
            return True
    return False


def sample(state: State, now: float) -> Sample:
    """How everything stands at this moment."""
    waiting, since_s, running = state.containers.once(_waits)
    return Sample(
        at_s=now,
        instances={name: count for name, (count, _) in by_standing(state).items()},
        price_per_hour=spending.per_hour(state),
        waiting=waiting,
        oldest_wait_s=max(0.0, now - since_s) if since_s is not None else 0.0,
        running=running,
    )


def by_standing(state: State) -> Mapping[str, tuple[int, float]]:
    """Standing → how many instances, and what they cost together per hour."""
    return state.instances.once(_by_standing)


def _by_standing(instances: Sequence[Instance]) -> Mapping[str, tuple[int, float]]:
    counts: dict[str, int] = {}
    prices: dict[str, float] = {}
    for instance in instances:
        name = standing(instance)
        counts[name] = counts.get(name, 0) + 1
        prices[name] = prices.get(name, 0.0) + instance.price
    return MappingProxyType({name: (count, prices[name]) for name, count in counts.items()})


def _waits(containers: Sequence[Container]) -> tuple[int, float | None, int]:
    """How many wait to run, since when the one does that has waited for longest, and how many run."""
    since = [
        each.runnable_since_s for each in containers
        if each.runnable_since_s is not None and each.state is not ContainerState.RUNNING
    ]  # fmt: skip
    running = sum(1 for each in containers if each.state is ContainerState.RUNNING)
    return len(since), min(since, default=None), running
