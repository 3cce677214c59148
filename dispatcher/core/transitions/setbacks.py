"""What went wrong is noted as it happens: boots that came to nothing, ends that nobody wanted, clocks that jumped.

Only notes are made here; nothing else in State depends on them.
"""

from __future__ import annotations

from dispatcher.core.messages import CancelContainer, ClockJumped, DestroyInstance
from dispatcher.core.model import Container, ContainerState, DestroyCause, HoldoffKind, Instance, State
from dispatcher.core.problems import ProbeProblem
from dispatcher.core.setbacks import (
    BOOTS_KEPT,
    CANCELLED_KEPT,
    ENDS_KEPT,
    TYPES_KEPT,
    UNANSWERED,
    Boot,
    Cancelled,
    ClockJump,
    End,
    refused,
)
from dispatcher.core.values import replace

MAX_TEXT = 300
ANNOUNCED = "its end is announced"
_GIVEN_UP = (DestroyCause.UNRESPONSIVE, DestroyCause.UNKILLABLE)


def booted(state: State, instance: Instance, now: float) -> State:
    """It came up."""
    return _boot(state, instance, Boot(name=instance.name, at_s=now, good=True, took_s=now - instance.phase_since_s))


def destroyed(state: State, instance: Instance, action: DestroyInstance, now: float) -> State:
    """A first destroy, decided: of one that never came up, or that we gave up."""
    if action.cause in (DestroyCause.BOOT_TIMEOUT, DestroyCause.CREATE_FAILED):
        return boot_failed(state, instance, now)
    if action.cause in _GIVEN_UP:
        return _end(state, instance, action.reason, now, given_up=True)
    if instance.condemned.startswith(ANNOUNCED):
        return _end(state, instance, instance.condemned, now)
    return state


def boot_failed(state: State, instance: Instance, now: float, error: str = "") -> State:
    error = error or instance.failure or instance.probe_error or "it never answered"
    problem = ProbeProblem.NONE if instance.failure else instance.probe_problem
    failed = Boot(
        name=instance.name, at_s=now, good=False, took_s=now - instance.phase_since_s, problem=problem, error=error[:MAX_TEXT]
    )
    return _boot(state, instance, failed)


def gone(state: State, instance: Instance, why: str, now: float) -> State:
    """It is proved absent. Only an end that nobody here asked for is a setback."""
    if instance.id is None or instance.destroy is not None:
        return state
    return _end(state, instance, why, now)


def cancelled(state: State, action: CancelContainer, now: float) -> State:
    """Of those whose end somebody asked for nothing is kept."""
    container = state.containers[action.uuid]
    cause = _cause(container, action.error)
    if not cause:
        return state
    made = Cancelled(uuid=action.uuid, at_s=now, cause=cause, error=action.error[:MAX_TEXT])
    kept = (*state.setbacks.cancelled[1 - CANCELLED_KEPT :], made)
    return replace(state, setbacks=replace(state.setbacks, cancelled=kept))


def _cause(container: Container, error: str) -> str:
    if container.fit is not None and container.fit.problem == error:
        return "unsatisfiable"
    if container.priority < 1 or container.kill_requested or container.killed is not None or container.lost:
        return ""
    if container.state is ContainerState.QUEUED:
        return "max-wait"
    return "attempts-fail" if container.state is ContainerState.LOCKED else "containers-lost"


def unanswered(state: State, name: str, text: str, now: float) -> State:
    """A create of which nobody knows what became."""
    return replace(state, setbacks=refused(state.setbacks, UNANSWERED, HoldoffKind.ERROR, text, now))


def clock_jumped(state: State, event: ClockJumped, now: float) -> State:
    return replace(state, setbacks=replace(state.setbacks, clock=ClockJump(at_s=now, by_s=event.by_s)))


def _boot(state: State, instance: Instance, boot: Boot) -> State:
    boots = state.setbacks.boots
    if instance.type not in boots and len(boots) >= TYPES_KEPT:
        return state
    kept = (*(boots.get(instance.type) or ())[1 - BOOTS_KEPT :], boot)
    return replace(state, setbacks=replace(state.setbacks, boots=boots.set(instance.type, kept)))


def _end(state: State, instance: Instance, why: str, now: float, *, given_up: bool = False) -> State:
    offer = state.instance_type(instance.type)
    end = End(
        name=instance.name, type=instance.type, at_s=now, why=why[:MAX_TEXT], given_up=given_up,
        preemptible=offer is not None and offer.preemptible, announced=instance.condemned.startswith(ANNOUNCED),
    )  # fmt: skip
    kept = (*state.setbacks.ends[1 - ENDS_KEPT :], end)
    return replace(state, setbacks=replace(state.setbacks, ends=kept))
