"""What an instance can take: may new work go there, and how much room is left.

Each function that says no returns the reason; ``legal`` and the planners ask the same questions here.
"""

from __future__ import annotations

from dispatcher.core import sizing
from dispatcher.core.model import Container, IdleBehavior, Instance, Phase, Resources, State
from dispatcher.core.settings import Settings

UNKNOWN_CREATE_S = 15.0  # an instance whose create has no known outcome takes no new work after this
UNKNOWN_CAPACITY_S = 30.0  # how long instances found at start count as capacity before they answered
UNANSWERED_PROBES = 2  # so many failed probes in a row, and an instance takes no new work until it answers

Reason = str | None


def accepts_work(state: State, instance: Instance, now: float) -> Reason:
    """Why this instance takes no new container now, or None when it does."""
    return refuses(instance, now)


def refuses(instance: Instance, now: float) -> Reason:
    """The same by the instance and the clock alone; what time may add to it is left out at a time before all."""
    if instance.idle_behavior is not IdleBehavior.RUN:
        return f"{instance.name} is on {instance.idle_behavior.value}"
    if instance.condemned or instance.failure or instance.kill_requested or instance.deleting:
        return f"{instance.name} is to go: {instance.condemned or instance.failure or instance.kill_requested or 'deleted'}"
    return _phase_accepts(instance, now)


def _phase_accepts(instance: Instance, now: float) -> Reason:
    if instance.phase is Phase.SHUTDOWN:
        return f"{instance.name} shuts down"
    if instance.phase is Phase.CREATING and instance.create_unknown and now > instance.create_changed_s + UNKNOWN_CREATE_S:
        return f"{instance.name}: it is not known whether it was created"
    if instance.phase is Phase.UNKNOWN and now > instance.appeared_s + UNKNOWN_CAPACITY_S:
        return f"{instance.name} was found running and has not answered yet"
    if instance.phase is Phase.READY and instance.probe_failures >= UNANSWERED_PROBES:
        return f"{instance.name} does not answer"
    return None


def unfit_cause(instance: Instance) -> str:
    """The same as a cause: what kind of reason keeps work away."""
    if instance.idle_behavior is not IdleBehavior.RUN:
        return "drained" if instance.idle_behavior is IdleBehavior.DRAIN else "held"
    return "instance-silent" if instance.phase is Phase.READY and not instance.condemned else "instance-unfit"


def room(state: State, instance: Instance) -> Resources | None:
    """What is left on an instance; None when that is not known or nothing more may be put there."""
    return room_by(state.settings, instance)


def room_by(settings: Settings, instance: Instance) -> Resources | None:
    instance_type = settings.instance_types.get(instance.type)
    if instance_type is None or any(uuid not in instance.bound for uuid in instance.processes):
        return None
    most = settings.max_running_containers_per_instance
    if most and len(instance.bound) >= most:
        return None
    left = sizing.room(instance_type)
    for need in instance.bound.values():
        if need is None:
            return None
        left = sizing.take(left, need)
    return left


def shares_vcpu(instance: Instance) -> bool:
    """Whether a container that asked for no vcpu is on it: one vcpu counts as shared then."""
    return any(need is not None and need.vcpus == 0 for need in instance.bound.values())


def has_room(state: State, instance: Instance, container: Container) -> bool:
    if container.fit is None or instance.type not in container.fit.types or instance.image != container.fit.image:
        return False
    left = room(state, instance)
    return left is not None and sizing.accommodates(left, container.fit.need, shares_vcpu(instance))


def empty(instance: Instance) -> bool:
    return not instance.processes and not instance.bound


def proved_empty(state: State, instance: Instance) -> bool:
    """Nothing runs there, as a fact with a time: a list of processes of this term that began after the last start, also after
    the last one of an earlier leader, and shows none."""
    listed_s = instance.processes_listed_s
    return not instance.processes and listed_s > instance.start_changed_s and listed_s >= state.leadership.quiet_until_s
