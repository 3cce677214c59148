"""If the cloud gave more, an operator let go, somebody ended, or just some time passed."""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.core.model import Container, Holdoff, HoldoffKind, IdleBehavior, Instance, Phase, State
from dispatcher.core.refusals import cause_of, quota_of
from dispatcher.core.transitions.room import empty, room
from dispatcher.core.values import replace
from dispatcher.core.what_if import Change, Trial, ended, seconds, with_instance

LOOKED_AT = 5  # types, and instances, of each kind of change
JUST_AFTER_S = 0.001


def refusals(state: State, container: Container, now: float) -> Iterator[Trial]:
    """The cloud refuses the types that suit: what it would have to give, and until when it is not asked."""
    told: set[tuple[str, str]] = set()
    for name in (container.fit.types if container.fit is not None else ())[:LOOKED_AT]:
        for held in _held(state, name, now):
            if (held.call, held.key) not in told:
                told.add((held.call, held.key))
                yield Trial(change=_given(state, held, name), state=_lifted(state, held))
        until_s = max((held.until_s for held in _held(state, name, now)), default=now)
        if until_s > now:
            text = f"the hold-off on creates of {name} ends in {seconds(until_s - now)}, and then it is tried again"
            change = Change(text=text, kind="time", key=f"create type:{name}", value=until_s)
            yield Trial(change=change, state=state, at_s=until_s + JUST_AFTER_S)


def _held(state: State, type_name: str, now: float) -> list[Holdoff]:
    """Every hold-off that keeps this type from being asked for."""
    group = state.settings.quota_groups.get(type_name)
    names = ["create *", f"create type:{type_name}", *([f"create group:{group}"] if group is not None else [])]
    return [held for name in names if (held := state.holdoffs.get(name)) is not None and held.until_s > now]


def _lifted(state: State, held: Holdoff) -> State:
    """Without it, and without those that say the same: of one quota, or of credentials."""
    holdoffs = state.holdoffs.without(f"{held.call} {held.key}")
    for name, other in state.holdoffs.items():
        if other.kind is held.kind and (held.kind is HoldoffKind.DENIED or _is_of(other, held)):
            holdoffs = holdoffs.without(name)
    return replace(state, holdoffs=holdoffs)


def _is_of(one: Holdoff, other: Holdoff) -> bool:
    return one.kind is HoldoffKind.QUOTA and quota_of(one.reason) == quota_of(other.reason) and bool(quota_of(one.reason).name)


def _given(state: State, held: Holdoff, type_name: str) -> Change:
    """What the cloud, or who is responsible for it, would have to do."""
    cause = cause_of(held.kind, held.reason)
    if held.kind is HoldoffKind.QUOTA:
        return _more_quota(state, held, type_name, cause)
    if held.kind is HoldoffKind.CAPACITY:
        return Change(text=f"the cloud has room for {type_name} again", kind="cloud", key=held.key, value="capacity")
    if held.kind is HoldoffKind.DENIED:
        text = "the cloud accepts our credentials and permissions again"
        return Change(text=text, kind="cloud", key="credentials", value=cause)
    if held.kind is HoldoffKind.RATE:
        return Change(text="the cloud takes creates again", kind="cloud", key=held.key, value="rate")
    return Change(text=f"the cloud takes creates of {type_name} without an error", kind="cloud", key=held.key, value=cause)


def _more_quota(state: State, held: Holdoff, type_name: str, cause: str) -> Change:
    group = held.key.removeprefix("group:").removeprefix("type:").removeprefix("*")
    quota = quota_of(held.reason, group)
    offer = state.settings.instance_types[type_name]
    cores = cause in ("quota", "quota-region", "quota-spot")
    more = quota.more if quota.more is not None else float(offer.vcpus if cores else 1)
    unit = "cores" if cores else "of it"
    named = f" for {quota.name}" if quota.name else ""
    place = f" in {quota.place}" if quota.place else ""
    return Change(text=f"{more:g} more {unit} of quota{named}{place}", kind="quota", key=quota.name or held.key, value=more)


def operators(state: State, container: Container, now: float) -> Iterator[Trial]:
    """Instances that take no work because somebody wants it so."""
    kept = [i for i in _suited(state, container) if i.idle_behavior is not IdleBehavior.RUN and i.phase is not Phase.SHUTDOWN]
    for instance in kept[:LOOKED_AT]:
        released = with_instance(state, replace(instance, idle_behavior=IdleBehavior.RUN))
        left = room(released, instance)
        if left is not None and left.vcpus > 0:
            text = f"{instance.idle_behavior.value} of {instance.name} ends"
            change = Change(text=text, kind="instance", key=instance.name, value=IdleBehavior.RUN.value)
            yield Trial(change=change, state=released)


def ends(state: State, container: Container, now: float) -> Iterator[Trial]:
    """What runs where it would fit comes to its end."""
    up = [i for i in _suited(state, container) if i.phase is Phase.READY and i.idle_behavior is IdleBehavior.RUN]
    busy = [i for i in up if not empty(i)]
    for instance in busy[:LOOKED_AT]:
        after = state
        for uuid in sorted(instance.bound):
            other = state.containers.get(uuid)
            after = ended(after, other) if other is not None and uuid != container.uuid else after
        if after is not state:
            text = f"what runs on {instance.name} ends"
            yield Trial(change=Change(text=text, kind="instance", key=instance.name, value="empty"), state=after)


def _suited(state: State, container: Container) -> list[Instance]:
    fit = container.fit
    if fit is None:
        return []
    return sorted(
        (i for i in state.instances.all() if i.type in fit.types and i.image == fit.image), key=lambda i: (-len(i.bound), i.name)
    )


def pauses(state: State, container: Container, now: float) -> Iterator[Trial]:
    """A pause after a failed attempt, or one that the queue service asked for."""
    if container.not_before_s > now:
        text = f"the pause after its last attempt ends in {seconds(container.not_before_s - now)}"
        change = Change(text=text, kind="time", key="attempt", value=container.not_before_s)
        yield Trial(change=change, state=state, at_s=container.not_before_s + JUST_AFTER_S)
    held_s = state.queue.locks_held_until_s
    if held_s > now:
        text = f"the queue service takes locks again, in {seconds(held_s - now)}"
        yield Trial(change=Change(text=text, kind="time", key="locks", value=held_s), state=state, at_s=held_s + JUST_AFTER_S)

