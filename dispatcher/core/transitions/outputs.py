"""The end of what a container's runner wrote: asked for at most once for each attempt, and waited for no longer than ``WAIT_S``.

It explains and decides nothing. An answer that comes too late, or belongs to an earlier attempt, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.core.messages import FetchOutput, OutputFetched
from dispatcher.core.model import Container, Output, State
from dispatcher.core.transitions.changes import put_container
from dispatcher.core.transitions.room import Reason
from dispatcher.core.values import replace

WAIT_S = 5.0
MOST_CHARACTERS = 4096  # more than that no record takes; the log gets all of it


def fetchable(state: State, action: FetchOutput, now: float) -> Reason:
    """Why the output of this container's runner cannot be asked for there."""
    container, instance = state.containers.get(action.uuid), state.instances.get(action.name)
    if container is None or instance is None:
        return "there is no such container or no such instance"
    if instance.address is None:
        return "it has no address"
    asked = container.output is not None and container.output.instance == action.name
    return "its output was asked for already" if asked else None


def awaited(container: Container, now: float) -> bool:
    """Whether an answer is on its way for which it is worth waiting."""
    output = container.output
    return output is not None and output.asking and now < output.asked_s + WAIT_S


def due_s(state: State, now: float) -> float:
    """When the first of those that wait for an output waits no longer."""
    ends = (asked_s + WAIT_S for asked_s in state.containers.once(_asked))
    return min((at_s for at_s in ends if at_s > now), default=float("inf"))


def _asked(containers: Sequence[Container]) -> list[float]:
    """When those were asked for that are on their way."""
    return [c.output.asked_s for c in containers if c.output is not None and c.output.asking]


def begin_fetch(state: State, action: FetchOutput, now: float) -> State:
    container = state.containers[action.uuid]
    return put_container(state, replace(container, output=Output(instance=action.name, asked_s=now)))


def fetched(state: State, event: OutputFetched, now: float) -> State:
    container = state.containers.get(event.uuid)
    output = container.output if container is not None else None
    if container is None or output is None or not output.asking:
        return state
    if output.instance != event.name or event.began_s < output.asked_s:
        return state
    text = event.text[-MOST_CHARACTERS:]
    return put_container(state, replace(container, output=replace(output, asking=False, text=text)))
