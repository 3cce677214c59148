"""One line about how everything stands, for who reads the log alone: off unless a site asks for it.

Pure but for the clock that says when the next one is due.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from dispatcher.core import window
from dispatcher.core.model import ContainerState, Instance, Phase, State
from dispatcher.core.spending import price_of_instance
from dispatcher.runtime.health import judge
from dispatcher.runtime.told import Kind, Told

HOLDOFFS_NAMED = 3


def status(state: State, now_s: float) -> Told:
    """Containers by state, who of them waits, instances by state, what is held off, and what it costs."""
    containers = Counter(container.state.value for container in state.containers.all())
    instances = Counter(_standing(instance) for instance in state.instances.all())
    waiting = sum(1 for c in state.containers.all() if c.state is ContainerState.QUEUED and c.instance is None and c.priority > 0)
    unread = window.beyond(state)
    more = f", {unread} more not read yet" if unread else ""
    held = sorted(f"{h.call} {h.key} ({h.kind.value})" for h in state.holdoffs.values() if h.until_s > now_s)
    cost = sum(price_of_instance(state, instance) for instance in state.instances.all())
    fields: dict[str, Any] = {
        "Containers": dict(sorted(containers.items())),
        "Waiting": waiting,
        "WaitingBeyond": unread,
        "Instances": dict(sorted(instances.items())),
        "Holdoffs": held,
        "PricePerHour": round(cost, 6),
    }
    text = "; ".join(
        [
            f"containers: {_counted(containers)}, {waiting} waiting for a place{more}",
            f"instances: {_counted(instances)}",
            f"held off: {_named(held)}",
            f"price per hour: {cost:.4g}",
        ]
    )
    return Told(text=f"status: {text}", kind=Kind.SETTINGS, fields=fields)


def _standing(instance: Instance) -> str:
    if instance.phase is not Phase.READY:
        return instance.phase.value
    if instance.idle_behavior.value != "run":
        return instance.idle_behavior.value
    return "running" if instance.processes else "idle"


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{number} {word}" for word, number in sorted(found.items())) or "none"


def _named(held: list[str]) -> str:
    more = f" and {len(held) - HOLDOFFS_NAMED} more" if len(held) > HOLDOFFS_NAMED else ""
    return (", ".join(held[:HOLDOFFS_NAMED]) or "nothing") + more


def standing(state: State, ages_s: Mapping[str, float], now_s: float) -> str:
    """The same for who looks at the service itself: what it waits for, or how everything stands."""
    return judge(state, ages_s).problem or status(state, now_s).text.removeprefix("status: ")


class StatusLine:
    """Says when it is time for the next one. The interval may change at any time; the first comes after a whole one."""

    def __init__(self, snapshot: Callable[[], State], now: Callable[[], float]) -> None:
        self._snapshot, self._now = snapshot, now
        self._told_s = now()

    def due(self) -> list[Told]:
        state, now_s = self._snapshot(), self._now()
        interval_s = state.settings.status_interval_s
        if interval_s <= 0:
            self._told_s = now_s
        elif now_s >= self._told_s + interval_s and state.leadership.leading:
            self._told_s = now_s
            return [status(state, now_s)]
        return []
