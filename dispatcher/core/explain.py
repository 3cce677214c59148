"""Why does it wait? Pure: a snapshot goes in, a sentence for every container comes out.

The sentences come from the very pass that decides, run without acting, so that they cannot disagree with what happens.
"""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.core import schedule
from dispatcher.core.model import Container, ContainerState, State
from dispatcher.core.reasons import Reason
from dispatcher.core.schedule import Decision

FRESH_S = 1.0

_newest: tuple[State | None, float, Decision] = (None, 0.0, Decision())


def decision(state: State, now: float) -> Decision:
    """The pass over everybody. Who asks again within a second about the very same State is given the same one."""
    global _newest
    known, at_s, made = _newest
    if known is not state or not 0 <= now - at_s < FRESH_S:
        made = schedule.decide(state, now, everyone=True)
        _newest = (state, now, made)
    return made


def statuses(state: State, now: float) -> dict[str, str]:
    """Container uuid → what it waits for or where it is, in a sentence."""
    decided = decision(state, now)
    waits, ahead = decided.waits, decided.ahead
    positions = {uuid: number for number, uuid in enumerate(waits, start=1)}
    found = {c.uuid: status(state, c, waits.get(c.uuid, ""), positions.get(c.uuid, 0)) for c in state.containers.all()}
    return {uuid: f"{text}{announced_end(state, state.containers[uuid], ahead.get(uuid, ''))}" for uuid, text in found.items()}


def announced_end(state: State, container: Container, ahead: str) -> str:
    """What the cloud has announced to the instance on which it runs, and what is done about it."""
    instance = state.instances.get(container.instance) if container.instance is not None else None
    if instance is None or not instance.ending or container.uuid not in instance.processes:
        return ""
    return f"; the end of {instance.name} is announced: {instance.ending}{f'; {ahead}' if ahead else ''}"


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
        return NOT_LEADING.text
    if container.state is ContainerState.RUNNING:
        return f"running on {container.instance or 'an instance that has not answered yet'}"
    before = _before_the_pass(state, container)
    if before is not None:
        return before.text
    return f"waiting at position {position}: {wait}" if wait else SOON.text


# ------------------------------------------------------------------------------------------------------------- as a value

NOT_LEADING = Reason("not-leading", "another dispatcher leads; this one only watches")
SOON = Reason("scheduling", "about to be scheduled")
PRIORITY = Reason("priority-zero", "its priority is 0: it is not scheduled")
CLEARED = Reason("clearing-up", "its last attempt is being cleared up")
UNREAD = Reason("record-unread", "its record is being read")


def waits(container: Container) -> bool:
    """Whether it has yet to begin: neither over nor Running."""
    return not container.state.final and container.state is not ContainerState.RUNNING


def reason(state: State, container: Container, decided: Mapping[str, Reason]) -> Reason:
    """What a container that has yet to begin waits for; ``decided``: the reasons of the pass."""
    if not state.leadership.leading:
        return NOT_LEADING
    before = _before_the_pass(state, container)
    if before is not None:
        return before
    found = decided.get(container.uuid, SOON)
    if found.cause == "next-attempt" and container.write_error and not container.write_failures:
        return Reason("queue-overloaded", f"{found.text}; the queue service asks for fewer locks ({container.write_error})")
    if found.cause == "next-attempt" and container.write_error:
        return Reason("writes-refused", f"{found.text}; the last write did not succeed ({container.write_error})")
    if found.cause == "next-attempt" and container.last_error:
        return Reason("attempts-fail", f"{found.text}; {container.last_error}")
    return found


def reasons(state: State, now: float) -> dict[str, Reason]:
    """The same for every container that has yet to begin."""
    decided = decision(state, now).reasons
    return {c.uuid: reason(state, c, decided) for c in state.containers.all() if waits(c)}


def _before_the_pass(state: State, container: Container) -> Reason | None:
    """What a pass does not look at."""
    if container.fit is not None and container.fit.problem:
        cause = "image-not-allowed" if container.fit.problem.startswith("image_id") else "unsatisfiable"
        return Reason(cause, container.fit.problem)
    if container.instance is not None and container.uuid in state.instances[container.instance].processes:
        return Reason("preparing", f"preparing on {container.instance}", container.instance)
    if container.writing is not None:
        return Reason("writing", f"a {container.writing.value} is on its way")
    if container.priority < 1:
        return PRIORITY
    if container.exited_s is not None:
        return CLEARED
    return UNREAD if container.fit is None else None
