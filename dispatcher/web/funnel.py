"""The queue as a funnel: at which step each container stands, how many stand there, and since when the oldest does.

Pure: each container that is wanted stands at exactly one step. The steps are in the order in which they are passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dispatcher.core.model import Container, ContainerState, Instance, Phase, QueueWrite, State
from dispatcher.web.shown import Wall

QUEUED, ASSIGNED, ASKED, BOOTING, READY, RUNNING, FINISHING = (
    "queued", "assigned", "asked for", "booting", "ready", "running", "finishing",
)  # fmt: skip
STEPS = (QUEUED, ASSIGNED, ASKED, BOOTING, READY, RUNNING, FINISHING)
MEANINGS = {
    QUEUED: "no place yet",
    ASSIGNED: "has a place, and is being locked",
    ASKED: "its instance is asked for",
    BOOTING: "its instance boots",
    READY: "its instance is ready, and its runner is being started",
    RUNNING: "its runner works",
    FINISHING: "its runner ended or is being killed",
}
_OF_PHASE = {Phase.CREATING: ASKED, Phase.BOOTING: BOOTING, Phase.UNKNOWN: BOOTING}


@dataclass(slots=True)
class _Step:
    count: int = 0
    oldest_s: float | None = None
    oldest: str = ""

    def add(self, uuid: str, since_s: float) -> None:
        self.count += 1
        if self.oldest_s is None or since_s < self.oldest_s:
            self.oldest_s, self.oldest = since_s, uuid


def funnel(state: State, wall: Wall) -> dict[str, Any]:
    """``unread``: containers that wait in the queue and were not read yet; ``unwanted``: those with priority 0."""
    steps, unwanted = _counted(state.containers.all(), state)
    rows = [
        {
            "step": name, "meaning": MEANINGS[name], "count": step.count, "oldest_since": wall.utc(step.oldest_s),
            "oldest": step.oldest,
        }
        for name, step in steps.items()
    ]  # fmt: skip
    known = steps[QUEUED].count + steps[ASSIGNED].count
    return {"steps": rows, "unread": max(0, (state.queue.waiting or 0) - known), "unwanted": unwanted}


def _counted(containers: Iterable[Container], state: State) -> tuple[dict[str, _Step], int]:
    steps, unwanted = {name: _Step() for name in STEPS}, 0
    waits, count, oldest_s, oldest = ContainerState.QUEUED, 0, math.inf, ""
    for container in containers:
        since_s = container.runnable_since_s
        if since_s is not None and container.instance is None and container.state is waits and container.exited_s is None:
            count += 1  # what step() says too: there may be ten thousand of them
            if since_s < oldest_s:
                oldest_s, oldest = since_s, container.uuid
            continue
        found = step(state, container)
        if found is None:
            unwanted += not container.state.final
        else:
            steps[found[0]].add(container.uuid, found[1])
    if count:
        steps[QUEUED] = _Step(count=count, oldest_s=oldest_s, oldest=oldest)
    return steps, unwanted


def step(state: State, container: Container) -> tuple[str, float] | None:
    """Where it stands, and since when; None when it is over, or nobody wants it and nothing of it is left."""
    if container.exited_s is not None:
        return FINISHING, container.exited_s
    instance = state.instances.get(container.instance) if container.instance is not None else None
    if container.state is ContainerState.RUNNING:
        return _of_running(container, instance)
    if container.state.final:
        return (FINISHING, _begun_s(container, instance)) if instance is not None else None
    if container.runnable_since_s is None:
        return None
    if instance is None:
        return QUEUED, container.runnable_since_s
    return _of_placed(container, instance)


def _of_running(container: Container, instance: Instance | None) -> tuple[str, float]:
    process = instance.processes.get(container.uuid) if instance is not None else None
    if process is not None and process.kill is not None:
        return FINISHING, process.kill.since_s
    return RUNNING, _begun_s(container, instance)


def _of_placed(container: Container, instance: Instance) -> tuple[str, float]:
    if container.state is ContainerState.QUEUED or container.writing is QueueWrite.LOCK:
        return ASSIGNED, _later(container.runnable_since_s, instance.appeared_s)
    early = _OF_PHASE.get(instance.phase)
    if early is not None:
        return early, instance.phase_since_s
    return READY, _later(container.state_changed_s, instance.ready_s)


def _begun_s(container: Container, instance: Instance | None) -> float:
    process = instance.processes.get(container.uuid) if instance is not None else None
    return process.since_s if process is not None else container.first_seen_s


def _later(*times: float | None) -> float:
    return max(at_s for at_s in times if at_s is not None)
