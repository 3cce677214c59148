"""The fleet as an operator looks at it: each instance in a cell, those that have not changed for longest first.

Pure. A large fleet is shown in groups (type, state, behaviour) and by its longest unchanged; the rest is a page further on.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dispatcher.core.history import is_busy
from dispatcher.core.model import NEVER, Instance, Phase, Process, ProcessPhase, State
from dispatcher.core.spending import price_of_instance
from dispatcher.frozen import dataclass
from dispatcher.web.shown import Wall, plain
from dispatcher.web.upstream import WORKER_STATES, running

WHOLE = 500  # a fleet of up to so many is shown whole
LONGEST = 200  # of a larger one so many, and as many on each page
LISTED = 3  # containers that a cell names
_NO_NOTE = ("", "", "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which instances are asked for. Whatever is empty means all of them; ``page`` counts from 1."""

    type: str = ""
    state: str = ""
    behavior: str = ""
    page: int = 1

    def means(self, instance: Instance) -> bool:
        return (
            (not self.type or instance.type == self.type)
            and (not self.behavior or instance.idle_behavior.value == self.behavior)
            and (not self.state or state_of(instance) == self.state)
        )


def state_of(instance: Instance) -> str:
    """The words of the management API, and ``creating`` for what the cloud has not accepted yet."""
    if instance.phase is Phase.READY:
        return "running" if is_busy(instance) else "idle"
    return "creating" if instance.phase is Phase.CREATING else WORKER_STATES[instance.phase]


def fleet(state: State, wall: Wall) -> dict[str, Any]:
    """``shown``: all of a small fleet, the longest unchanged of a large one. ``groups`` are those with the most first."""
    shown, count = state.instances.once(_first_shown), len(state.instances)
    return {
        "count": count,
        "whole": len(shown) == count,
        "groups": groups(state),
        "shown": [cell(state, instance, wall) for instance in shown],
    }


def page(state: State, wanted: Wanted, wall: Wall) -> dict[str, Any]:
    """A page of those that are asked for, in the same order."""
    found = [instance for instance in state.instances.once(longest_unchanged) if wanted.means(instance)]
    pages = max(1, -(-len(found) // LONGEST))
    number = min(max(1, wanted.page), pages)
    part = found[(number - 1) * LONGEST : number * LONGEST]
    return {"count": len(found), "page": number, "pages": pages, "shown": [cell(state, each, wall) for each in part]}


# ------------------------------------------------------------------------------------------------------------------- cells


def longest_unchanged(instances: Sequence[Instance]) -> list[Instance]:
    return sorted(instances, key=_in_order)


def _first_shown(instances: Sequence[Instance]) -> list[Instance]:
    return longest_unchanged(instances) if len(instances) <= WHOLE else heapq.nsmallest(LONGEST, instances, key=_in_order)


def _in_order(instance: Instance) -> tuple[float, str]:
    return unchanged_since_s(instance), instance.name


def unchanged_since_s(instance: Instance) -> float:
    """When something last happened to it that its operator would call a change: a probe that tells nothing new is none."""
    latest = max(instance.phase_since_s, instance.start_changed_s)
    for process in instance.processes.values():
        if process.since_s > latest:
            latest = process.since_s
    if not instance.processes and instance.phase is Phase.READY:
        return max(latest, instance.busy_s)
    return latest


def cell(state: State, instance: Instance, wall: Wall) -> dict[str, Any]:
    """What stands in the cell of one instance. Texts are harmless, times are UTC or empty."""
    uuids = running(instance)
    kind = state.instance_type(instance.type)
    taken = sum(need.vcpus for need in instance.bound.values() if need is not None)
    return {
        "name": plain(instance.name),
        "id": plain(instance.id),
        "type": plain(instance.type),
        "state": state_of(instance),
        "behavior": instance.idle_behavior.value,
        "since": wall.utc(unchanged_since_s(instance)),
        "appeared": wall.utc(instance.appeared_s),
        "probed": wall.utc(answered_s(instance)),
        "price": price_of_instance(state, instance),
        "vcpus": kind.vcpus if kind is not None else None,
        "vcpus_taken": taken,
        "containers": uuids[:LISTED],
        "container_count": len(uuids),
        "problem": problem(instance),
        "choice": choice(instance),
    }


def answered_s(instance: Instance) -> float:
    return max(instance.answered_s, instance.reached_s)


def problem(instance: Instance) -> str:
    """The one thing that is wrong with it, or why it goes; empty for most."""
    destroy = instance.destroy
    if destroy is not None:
        told = destroy.reason if destroy.reason.startswith(destroy.cause.value) else f"{destroy.cause.value}: {destroy.reason}"
        return plain(f"{told} ({destroy.error})" if destroy.error else told)
    failing = f"{instance.probe_failures} probes failed: {instance.probe_error}" if instance.probe_failures > 1 else ""
    found = (
        instance.kill_requested and f"to be killed: {instance.kill_requested}",
        instance.failure,
        instance.condemned,
        "nobody knows whether it was created" if instance.create_unknown else "",
        failing,
        next((_unkillable(process) for process in instance.processes.values() if _unkillable(process)), ""),
        instance.warning,
    )
    return plain(next((text for text in found if text), ""))


def _unkillable(process: Process) -> str:
    killed = process.kill
    if killed is None or process.phase is ProcessPhase.ENDED:
        return ""
    return f"the runner of {process.uuid} cannot be killed" if killed.unkillable else ""


def choice(instance: Instance) -> dict[str, str]:
    """Who chose its behaviour, why, since when and until when."""
    note = instance.operator
    actor, reason, at, until = (
        (plain(note.actor), plain(note.reason), plain(note.at), plain(note.until)) if note.at else _NO_NOTE
    )
    return {"actor": actor, "reason": reason, "since": at, "until": until}


# ------------------------------------------------------------------------------------------------------------------ groups


def groups(state: State) -> list[dict[str, Any]]:
    """Type × state × behaviour, with what they cost and when the longest unchanged of them changed."""
    counts: Counter[tuple[str, str, str]] = state.instances.once(_counted)
    return [
        {"type": plain(kind), "state": doing, "behavior": behavior, "count": count, "price": count * _price(state, kind)}
        for (kind, doing, behavior), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _counted(instances: Sequence[Instance]) -> Counter[tuple[str, str, str]]:
    return Counter([(each.type, state_of(each), str(each.idle_behavior)) for each in instances])


def _price(state: State, type_name: str) -> float:
    kind = state.instance_type(type_name)
    if kind is not None:
        return kind.price
    return next((each.price for each in state.instances.all() if each.type == type_name), 0.0)


def is_silent(instance: Instance, limit_s: float, now: float) -> bool:
    """Whether an instance that should answer has not done so for longer than this."""
    if instance.phase is not Phase.READY:
        return False
    heard_s = answered_s(instance)
    since_s = heard_s if heard_s != NEVER else instance.phase_since_s
    return now - since_s > limit_s
