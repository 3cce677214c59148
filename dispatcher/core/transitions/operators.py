"""What operators asked for, who may act, and new settings."""

from __future__ import annotations

import math

from dispatcher.core import sizing, spending
from dispatcher.core.maps import Map
from dispatcher.core.messages import (
    CatalogueRead,
    CondemnInstance,
    ContainerKillRequested,
    ExpireIdleBehavior,
    IdleBehaviorSet,
    InstanceKillRequested,
    LeadershipGained,
    LeadershipLost,
    SettingsLoaded,
)
from dispatcher.core.model import NEVER, Container, IdleBehavior, Instance, Kill, OperatorNote, State
from dispatcher.core.notes import one_line
from dispatcher.core.settings import Settings
from dispatcher.core.transitions import catalogue, polls
from dispatcher.core.transitions.changes import put_container, put_containers, put_instance, resize
from dispatcher.core.transitions.cloud import WITHOUT_TYPE
from dispatcher.core.values import replace


def idle_behavior_set(state: State, event: IdleBehaviorSet, now: float) -> State:
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    note = OperatorNote(actor=one_line(event.actor), reason=one_line(event.reason), at=event.at)
    if event.behavior is not IdleBehavior.RUN:
        note = replace(note, until=event.until, until_s=event.until_s)
    return put_instance(state, _choose(instance, event.behavior, note, now))


def _choose(instance: Instance, behavior: IdleBehavior, note: OperatorNote, now: float) -> Instance:
    released = behavior is IdleBehavior.RUN and instance.idle_behavior is not IdleBehavior.RUN
    busy_s = now if released else instance.busy_s  # it was released to be used, not to be found idle at once
    return replace(instance, idle_behavior=behavior, operator=note, tags_failed=0, busy_s=busy_s)


def begin_expire(state: State, action: ExpireIdleBehavior, now: float) -> State:
    instance = state.instances[action.name]
    chosen = instance.operator
    why = one_line(f"the {instance.idle_behavior.value} of {chosen.actor or 'an operator'} was meant to end now: {chosen.reason}")
    note = OperatorNote(reason=why.removesuffix(": "), at=chosen.until)
    return put_instance(state, _choose(instance, IdleBehavior.RUN, note, now))


def instance_kill_requested(state: State, event: InstanceKillRequested, now: float) -> State:
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    return put_instance(state, replace(instance, kill_requested=_asked(event), kill_actor=one_line(event.actor)))


def _asked(event: InstanceKillRequested | ContainerKillRequested) -> str:
    """Why, and who."""
    reason, actor = one_line(event.reason) or "no reason given", one_line(event.actor)
    return f"{reason} ({actor})" if actor else reason


def container_kill_requested(state: State, event: ContainerKillRequested, now: float) -> State:
    container = state.containers.get(event.uuid)
    if container is not None:
        return put_container(state, replace(container, kill_requested=_asked(event), kill_actor=one_line(event.actor)))
    return _kill_stray(state, event, now) if event.uuid in state.strays else state


def _kill_stray(state: State, event: ContainerKillRequested, now: float) -> State:
    """A process whose container we do not hold: the kill stands at the process itself."""
    instance = state.instances[state.strays[event.uuid]]
    process = instance.processes[event.uuid]
    reason = f"an operator asked for it: {_asked(event)}"
    kill = process.kill or Kill(reason=reason, since_s=now, actor=one_line(event.actor))
    return put_instance(state, replace(instance, processes={**instance.processes, event.uuid: replace(process, kill=kill)}))


def begin_condemn(state: State, action: CondemnInstance, now: float) -> State:
    return put_instance(state, replace(state.instances[action.name], condemned=action.reason))


def leadership_gained(state: State, event: LeadershipGained, now: float) -> State:
    """A new term is an ordinary start: another dispatcher may have led meanwhile, used, drained or destroyed what we hold. So
    nothing that we held counts, neither phases nor clocks nor an operator's choice: lists, polls and probes bring it back."""
    state = spending.close(state, state.instances.all(), now)
    leadership = replace(
        state.leadership, leading=True, term=state.leadership.term + 1, since_s=now, quiet_s=event.quiet_s, holder=""
    )
    return replace(
        state,
        leadership=leadership,
        containers=Map(),
        instances=Map(),
        strays=Map(),
        queue=polls.forgotten(state.queue),
        cloud=replace(
            state.cloud, listed_s=NEVER, confirmed_s=NEVER, list_due_s=now, leftovers={}, leftovers_listed_s=NEVER
        ),
    )


def leadership_lost(state: State, event: LeadershipLost, now: float) -> State:
    """Who waits counts no money: another dispatcher does."""
    state = spending.close(state, state.instances.all(), now)
    uncounted = ((i.name, replace(i, paid_since_s=math.inf)) for i in state.instances.all())
    state = replace(state, instances=state.instances.update(uncounted))
    return replace(state, leadership=replace(state.leadership, leading=False, holder=event.holder))


def _judge_types(state: State) -> State:
    judged: list[tuple[str, Instance]] = []
    for instance in state.instances.all():
        known = instance.type in state.settings.instance_types
        if not known and not instance.condemned:
            judged.append((instance.name, replace(instance, condemned=WITHOUT_TYPE)))
        elif known and instance.condemned == WITHOUT_TYPE:
            judged.append((instance.name, replace(instance, condemned="")))
        elif known and instance.price != (price := state.settings.instance_types[instance.type].price):
            judged.append((instance.name, replace(instance, price=price)))
    return replace(state, instances=state.instances.update(judged))


def settings_loaded(state: State, event: SettingsLoaded, now: float) -> State:
    """New settings, with what the cloud said of the types that they keep."""
    state = catalogue.forget_changed(state, event.settings, now)
    return _under(state, catalogue.in_force(event.settings, state.cloud.catalogue))


def catalogue_told(state: State, event: CatalogueRead, now: float) -> State:
    """What the cloud says of the types may change what they cost here, and against which quota they count."""
    state = catalogue.told(state, event, now)
    laid = catalogue.in_force(state.settings, state.cloud.catalogue)
    return state if laid is state.settings else _under(state, laid)


def _under(state: State, settings: Settings) -> State:
    """What fits where is computed again, for every container whose needs are known, and an instance whose type is configured no
    longer takes no more work."""
    state = _judge_types(replace(state, settings=settings))
    memo = sizing.memo(state.settings)
    alone: list[Container] = []
    for container in state.containers.all():
        wanted = container.requirements
        if wanted is None:
            continue
        sized = replace(container, fit=sizing.fit(wanted, state.settings, memo))
        if sized.instance is None:
            alone.append(sized)
        else:
            state = resize(state, sized)
    return put_containers(state, alone)

