"""Why does it wait? Pure: a snapshot goes in, a sentence for every container comes out.

The sentences come from the very pass that decides, run without acting, so that they cannot disagree with what happens.
"""

from __future__ import annotations

from dispatcher.core import schedule
from dispatcher.core.model import Container, ContainerState, State


def statuses(state: State, now: float) -> dict[str, str]:
    """Container uuid → what it waits for or where it is, in a sentence."""
    waits = schedule.decide(state, now, everyone=True).waits
    positions = {uuid: number for number, uuid in enumerate(waits, start=1)}
    return {c.uuid: status(state, c, waits.get(c.uuid, ""), positions.get(c.uuid, 0)) for c in state.containers.all()}


def status(state: State, container: Container, wait: str, position: int) -> str:
    """One container's sentence. ``wait``: what the pass said of it; ``position``: its place among those that wait."""
    text = _where(state, container, wait, position)
    begun = container.state.final or container.state is ContainerState.RUNNING
    if begun or not state.leadership.leading:
        return text
    if container.write_error and container.writing is None:
        text = f"{text}; the last write did not succeed ({container.write_error})"
    if not container.last_error:
        return text
    return f"{text}; it was locked {container.lock_count} times of {state.settings.max_dispatch_attempts}: {container.last_error}"


def _where(state: State, container: Container, wait: str, position: int) -> str:
    if container.state.final:
        return f"{container.state.value}"
    if not state.leadership.leading:
        return "another dispatcher leads; this one only watches"
    if container.state is ContainerState.RUNNING:
        return f"running on {container.instance or 'an instance that has not answered yet'}"
    if container.fit is not None and container.fit.problem:
        return container.fit.problem
    if container.instance is not None and container.uuid in state.instances[container.instance].processes:
        return f"preparing on {container.instance}"
    if container.writing is not None:
        return f"a {container.writing.value} is on its way"
    if container.priority < 1:
        return "its priority is 0: it is not scheduled"
    if container.exited_s is not None:
        return "its last attempt is being cleared up"
    if container.fit is None:
        return "its record is being read"
    return f"waiting at position {position}: {wait}" if wait else "about to be scheduled"
