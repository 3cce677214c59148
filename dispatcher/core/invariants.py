"""What must be true of every State, said a second time and independently of how it came about.

``check`` raises ``Broken`` with every violation; tests and the simulation call it, or its cheaper ``check_change``, after each
step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dispatcher.core.model import Container, ContainerState, Instance, Phase, State


class Broken(AssertionError):
    """The State is impossible: a bug in a transition."""


def check(state: State) -> None:
    """Raise ``Broken`` unless every law holds."""
    wrong = list(violations(state))
    if wrong:
        raise Broken("; ".join(wrong))


def check_change(before: State, after: State) -> None:
    """The same for one step from a State that was lawful: only what changed, and what it is tied to, is looked at."""
    uuids, names = set(after.containers.changed_since(before.containers)), set(after.instances.changed_since(before.instances))
    uuids.update(after.strays.changed_since(before.strays))
    for uuid in list(uuids):
        held = (before.containers.get(uuid), after.containers.get(uuid))
        names.update(container.instance for container in held if container is not None and container.instance is not None)
        names.update(name for name in (before.strays.get(uuid), after.strays.get(uuid)) if name is not None)
    for name in names:
        for instance in (before.instances.get(name), after.instances.get(name)):
            uuids.update(() if instance is None else (*instance.bound, *instance.processes))
    wrong = [*_of(after, uuids, names), *_queue(after)]
    if wrong:
        raise Broken("; ".join(wrong))


def violations(state: State) -> Iterator[str]:
    """Each law that the State breaks, in words."""
    yield from _of(state, {*state.containers, *state.strays}, state.instances)
    yield from _queue(state)


def _of(state: State, uuids: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    for uuid in uuids:
        container, stray = state.containers.get(uuid), state.strays.get(uuid)
        if container is not None:
            yield from _container(state, uuid, container)
        if stray is not None and ((held := state.instances.get(stray)) is None or uuid not in held.processes):
            yield f"stray {uuid} is not on {stray}"
    for name in names:
        instance = state.instances.get(name)
        if instance is not None:
            yield from _instance(state, name, instance)


def _queue(state: State) -> Iterator[str]:
    locks = sum(1 for c in state.containers.all() if c.writing == "lock")
    if state.queue.locks_in_flight < locks:
        yield f"{locks} locks are on their way, but {state.queue.locks_in_flight} are counted"


def _container(state: State, uuid: str, container: Container) -> Iterator[str]:
    if container.uuid != uuid:
        yield f"container {uuid} is kept under another name: {container.uuid}"
    if container.priority < 0:
        yield f"container {uuid} has priority {container.priority}"
    if container.instance is not None:
        instance = state.instances.get(container.instance)
        if instance is None:
            yield f"container {uuid} is bound to {container.instance}, which is gone"
        elif uuid not in instance.bound:
            yield f"container {uuid} is bound to {container.instance}, which does not know it"
        if uuid in state.strays:
            yield f"container {uuid} is bound and a stray at once"
    if container.ahead and (container.instance is not None or not (container.ours or container.writing == "lock")):
        yield f"container {uuid} is locked ahead although it is bound or not locked"
    if container.ours and container.state not in (ContainerState.LOCKED, ContainerState.RUNNING):
        yield f"container {uuid} is ours although it is {container.state.value}"
    if (container.runnable_since_s is not None) != (container.priority > 0 and not container.state.final):
        yield f"container {uuid}: since when it could run does not agree with its priority and state"


def _instance(state: State, name: str, instance: Instance) -> Iterator[str]:
    if instance.name != name:
        yield f"instance {name} is kept under another name: {instance.name}"
    for uuid in instance.bound:
        container = state.containers.get(uuid)
        if container is None or container.instance != name:
            yield f"{name} holds room for {uuid}, which is not bound to it"
    for uuid, process in instance.processes.items():
        if process.uuid != uuid:
            yield f"{name}: process {uuid} is kept under another name"
        container = state.containers.get(uuid)
        if uuid not in instance.bound and uuid not in state.strays and (container is None or container.instance is None):
            yield f"{name}: process {uuid} is neither bound nor a stray"
    if (instance.destroy is not None) != (instance.phase is Phase.SHUTDOWN):
        yield f"{name} is {instance.phase.value}, and its destroy says otherwise"
    if instance.phase is Phase.CREATING and not (instance.creating or instance.create_unknown):
        yield f"{name} is being created by no call"
    if instance.phase is Phase.READY and instance.ready_s is None:
        yield f"{name} is ready since never"
    most = state.settings.max_running_containers_per_instance
    if most and len(instance.bound) > most and instance.phase is Phase.BOOTING:
        yield f"{name} holds {len(instance.bound)} containers, more than {most}"
