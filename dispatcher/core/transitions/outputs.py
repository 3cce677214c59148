"""The end of what a container's runner wrote: asked for at most once for each attempt, and waited for no longer than ``WAIT_S``.

It explains and decides nothing. An answer that comes too late, or belongs to an earlier attempt, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.core.messages import FetchOutput, OutputFetched
from dispatcher.core.model import NEVER, Container, Instance, Output, State
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


def keeping(state: State, instance: Instance, now: float) -> Reason:
    """Why what a runner wrote that ended there could not be read any more, were the instance destroyed now."""
    ended = state.containers.once(_ended).get(instance.name, ())
    if any(now < _kept_until_s(container, instance) for container in ended):
        return "what a runner wrote there may still be asked for"
    return None


def _ended(containers: Sequence[Container]) -> dict[str, list[Container]]:
    """Instance → the containers whose runner ended there, and of whom it is not known yet what became of them."""
    found: dict[str, list[Container]] = {}
    for container in containers:
        if container.exited_s is not None and container.avoid is not None and not container.lost and not container.state.final:
            found.setdefault(container.avoid, []).append(container)
    return found


def _kept_until_s(container: Container, instance: Instance) -> float:
    """Nobody asks before a record says how it stands; one that says that all is well ends it at once."""
    output = container.output
    if output is None or output.instance != instance.name:
        return instance.busy_s + WAIT_S
    return output.asked_s + WAIT_S if output.asking else NEVER


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
