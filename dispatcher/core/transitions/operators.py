"""What operators asked for, who may act, and new settings."""

from __future__ import annotations

from dataclasses import replace

from dispatcher.core import sizing
from dispatcher.core.messages import (
    CondemnInstance,
    ContainerKillRequested,
    IdleBehaviorSet,
    InstanceKillRequested,
    LeadershipGained,
    LeadershipLost,
    SettingsLoaded,
)
from dispatcher.core.model import NEVER, Container, ContainerState, Fit, Instance, OperatorNote, Requirements, State
from dispatcher.core.transitions.changes import put_container, put_instance, resize


def idle_behavior_set(state: State, event: IdleBehaviorSet, now: float) -> State:
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    note = OperatorNote(actor=event.actor, reason=event.reason, at=event.at)
    return put_instance(state, replace(instance, idle_behavior=event.behavior, operator=note, tags_failed=0))


def instance_kill_requested(state: State, event: InstanceKillRequested, now: float) -> State:
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    reason = event.reason or "no reason given"
    return put_instance(state, replace(instance, kill_requested=f"{reason} ({event.actor})" if event.actor else reason))


def container_kill_requested(state: State, event: ContainerKillRequested, now: float) -> State:
    container = state.containers.get(event.uuid)
    if container is None:
        return state
    reason = event.reason or "no reason given"
    return put_container(
        state, replace(container, kill_requested=f"{reason} ({event.actor})" if event.actor else reason)
    )


def begin_condemn(state: State, action: CondemnInstance, now: float) -> State:
    return put_instance(state, replace(state.instances[action.name], condemned=action.reason))


def _as_found(container: Container) -> Container:
    """What an earlier term knew of a container, as a later one may trust it: it may have been started meanwhile."""
    read_due = container.read_due or container.state is not ContainerState.QUEUED
    return replace(container, locked_here=False, observed_s=NEVER, read_due=read_due)


def _as_listed(instance: Instance) -> Instance:
    """What an earlier term knew of an instance: its processes have to be listed again before they count."""
    return replace(instance, processes_listed_s=NEVER, probe_due=True, misses=())


def leadership_gained(state: State, event: LeadershipGained, now: float) -> State:
    """A new term: everything that another dispatcher may have changed has to be seen again before we act on it."""
    leadership = replace(
        state.leadership, leading=True, term=state.leadership.term + 1, since_s=now, quiet_s=event.quiet_s, holder=""
    )
    return replace(
        state,
        leadership=leadership,
        containers=state.containers.update([(c.uuid, _as_found(c)) for c in state.containers.all()]),
        instances=state.instances.update([(i.name, _as_listed(i)) for i in state.instances.all()]),
        queue=replace(state.queue, polled_s=NEVER),
        cloud=replace(state.cloud, listed_s=NEVER, list_due_s=now),
    )


def leadership_lost(state: State, event: LeadershipLost, now: float) -> State:
    return replace(state, leadership=replace(state.leadership, leading=False, holder=event.holder))


def settings_loaded(state: State, event: SettingsLoaded, now: float) -> State:
    """New settings: what fits where is computed again, for every container whose needs are known."""
    state = replace(state, settings=event.settings)
    memo: dict[Requirements, Fit] = {}
    for container in state.containers.all():
        wanted = container.requirements
        if wanted is None:
            continue
        if wanted not in memo:
            memo[wanted] = sizing.fit(wanted, state.settings)
        state = resize(state, replace(container, fit=memo[wanted]))
    return state

