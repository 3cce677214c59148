"""The small changes that all transitions are made of: put, drop, bind, release, lose.

A binding is kept at both ends, the container's instance and the instance's room; these functions are the only ones that
touch it, so that the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable

from dispatcher.core import ending, pacing, spending
from dispatcher.core.model import NEVER, Container, Instance, Process, ProcessPhase, State
from dispatcher.core.recent import noted
from dispatcher.core.transitions import table
from dispatcher.core.values import replace


def put_container(state: State, container: Container) -> State:
    return replace(state, containers=state.containers.set(container.uuid, container))


def put_containers(state: State, containers: Iterable[Container]) -> State:
    """Many at once: each part of the map is copied once."""
    changed = state.containers.update((container.uuid, container) for container in containers)
    return state if changed is state.containers else replace(state, containers=changed)


def put_instances(state: State, instances: Iterable[Instance]) -> State:
    changed = state.instances.update((instance.name, instance) for instance in instances)
    return state if changed is state.instances else replace(state, instances=changed)


def put_instance(state: State, instance: Instance) -> State:
    return replace(state, instances=state.instances.set(instance.name, instance))


def bind(state: State, container: Container, name: str) -> State:
    """Take the container's room on the instance; what it held elsewhere is released."""
    if container.instance not in (None, name):
        state = release(state, container)
        container = state.containers[container.uuid]
    instance = state.instances[name]
    need = container.fit.need if container.fit is not None else None
    return replace(
        state,
        instances=state.instances.set(name, replace(instance, bound={**instance.bound, container.uuid: need})),
        containers=state.containers.set(container.uuid, replace(container, instance=name, ahead=False)),
        strays=state.strays.without(container.uuid),
    )


def release(state: State, container: Container) -> State:
    """Give the container's room back."""
    if container.instance is None and state.containers.get(container.uuid) is container:
        return state
    instance = state.instances.get(container.instance) if container.instance is not None else None
    if instance is not None and container.uuid in instance.bound:
        bound = {uuid: need for uuid, need in instance.bound.items() if uuid != container.uuid}
        state = put_instance(state, replace(instance, bound=bound))
    return put_container(state, replace(container, instance=None))


def resize(state: State, container: Container) -> State:
    """The container's need became known (or another): its room follows."""
    return bind(state, container, container.instance) if container.instance is not None else put_container(state, container)


def past(container: Container) -> Container:
    """Its last attempt is history, and a record may say anything."""
    return replace(container, exited_s=None, exit_note="", lost="", killed=None, output=None)


def end_process(state: State, name: str, uuid: str, at_s: float, now: float, note: str = "") -> State:
    """The process is gone: its room is free, and only a record read after ``at_s`` tells what became of the container."""
    instance = state.instances[name]
    killed = instance.processes[uuid].kill
    processes = {key: process for key, process in instance.processes.items() if key != uuid}
    state = put_instance(state, replace(instance, processes=processes, busy_s=now, last_container=uuid))
    container = state.containers.get(uuid)
    state = _run_noted(state, instance.processes[uuid], container, at_s)
    if container is None:
        return replace(state, strays=state.strays.without(uuid)) if state.strays.get(uuid) == name else state
    if container.instance != name:
        return state
    state = release(state, container)
    ended = replace(
        state.containers[uuid], exited_s=at_s, exit_note=note, avoid=name, read_due=True, ask_after_s=NEVER,
        ran_on=ending.in_words(instance), killed=killed,
        kill_requested="", kill_actor="",  # what an operator asked for is done: it was about this attempt
    )  # fmt: skip
    return put_container(state, ended)


def _run_noted(state: State, process: Process, container: Container | None, at_s: float) -> State:
    """How long it ran, when we saw it begin; supervisors only wait for others."""
    wanted = container.requirements if container is not None else None
    if wanted is None or wanted.supervisor or process.phase is not ProcessPhase.RUNNING or process.changed_s == NEVER:
        return state
    runs_s = noted(state.recent.runs_s, max(0.0, at_s - process.since_s))
    return replace(state, recent=replace(state.recent, runs_s=runs_s))


def remove_instance(state: State, name: str, why: str, now: float) -> State:
    """The instance is proved absent: what it held is lost, and quota may be free again if it ever was."""
    instance = state.instances[name]
    table.demand(instance.phase, None, name)
    state = spending.close(state, [instance], now)
    held = [uuid for uuid in {**instance.bound, **instance.processes} if uuid in state.containers]
    for uuid in held:
        container = state.containers[uuid]
        if container.instance != name:
            continue
        process = instance.processes.get(uuid)
        lost = replace(
            container, instance=None, exited_s=now, lost=why, read_due=True, ask_after_s=NEVER, avoid=name,
            ran_on=ending.in_words(instance), killed=process.kill if process is not None else None,
        )  # fmt: skip
        state = put_container(state, lost)
    strays = state.strays
    for uuid in instance.processes:
        if strays.get(uuid) == name:
            strays = strays.without(uuid)
    state = replace(state, instances=state.instances.without(name), strays=strays)
    return pacing.relieve(state, instance.type, now) if instance.id is not None else state


