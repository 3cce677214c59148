"""The queue against the processes: kill what should not run, cancel what runs nowhere, requeue what ended without result.

Each rule is one line of the table in ``_judge``; the first that applies decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dispatcher.core import ending
from dispatcher.core.messages import (
    Action,
    CancelContainer,
    FetchOutput,
    ForgetContainer,
    KillProcess,
    ReleaseContainer,
    UnlockContainer,
)
from dispatcher.core.model import Container, ContainerState, Instance, Process, ProcessPhase, State
from dispatcher.core.transitions import ahead, outputs
from dispatcher.core.transitions.legal import elsewhere, legal

TERM, KILL = 15, 9


def plan(state: State, now: float) -> list[Action]:
    """What the difference between queue and processes asks for now."""
    proposed = [*_containers(state, now), *_processes(state, now)]
    return [action for action in proposed if legal(state, action, now) is None]


# -------------------------------------------------------------------------------------------------------------- containers


def _containers(state: State, now: float) -> Iterator[Action]:
    for container in (c for part in state.containers.parts(_not_just_waiting) for c in part):
        # The common case first: a container that runs where it should needs nothing here.
        place = state.instances.get(container.instance) if container.instance is not None else None
        if (place is not None and container.uuid in place.processes) or container.uuid in state.strays:
            continue
        action = _judge(state, container, now)
        if action is not None:
            yield action


def _not_just_waiting(containers: Collection[Container]) -> list[Container]:
    """Those of whom no write is on its way, without the many that wait in the queue and need nothing here."""
    return [c for c in containers if c.writing is None and not _just_waits(c)]


def _just_waits(container: Container) -> bool:
    if container.state is not ContainerState.QUEUED or container.priority < 1 or container.exited_s is not None:
        return False
    return container.instance is None and (container.fit is None or not container.fit.problem)


def _judge(state: State, container: Container, now: float) -> Action | None:
    """What to do with a container that no process of ours runs."""
    uuid = container.uuid
    if container.state.final:
        return ForgetContainer(uuid=uuid)
    if container.exited_s is not None and container.observed_s <= container.exited_s:
        return None  # only a record that was asked for after the end says what became of it
    if container.state is ContainerState.QUEUED:
        return _judge_queued(container)
    if container.exited_s is None and container.instance is not None and _taken_elsewhere(container):
        return ReleaseContainer(uuid=uuid)
    if not container.ours:
        return ForgetContainer(uuid=uuid)  # somebody else's, as long as no poll shows it as Queued
    if container.state is ContainerState.RUNNING:
        return _judge_running(state, container, now)
    return _judge_locked(state, container, now)


def _judge_queued(container: Container) -> Action:
    if container.priority < 1:
        return ForgetContainer(uuid=container.uuid)
    if container.exited_s is None and container.instance is None:  # it waits, and no instance type can run it
        assert container.fit is not None
        return CancelContainer(uuid=container.uuid, error=container.fit.problem)
    return ReleaseContainer(uuid=container.uuid)


def _taken_elsewhere(container: Container) -> bool:
    """Whether somebody else went on with a container for which we only kept a place: it is another dispatcher's now, or it
    runs although we never started it."""
    return not container.ours or container.state is ContainerState.RUNNING


def _judge_running(state: State, container: Container, now: float) -> Action | None:
    if container.exited_s is not None:
        return _ask_first(state, container, now) or _cancel(container, ending.why_cancelled(state, container), now)
    if state.queue.polled_s < state.cloud.confirmed_s:
        return None
    if elsewhere(state, container, now) is not None:
        return None
    error = "the container runs on no instance: its runner or its instance was lost while no dispatcher looked"
    return CancelContainer(uuid=container.uuid, error=error, detail=ending.detail(container))


def _judge_locked(state: State, container: Container, now: float) -> Action | None:
    if container.exited_s is not None and ending.was_killed(container):  # its children may live on: not again, and not elsewhere
        return _ask_first(state, container, now) or _cancel(container, ending.why_cancelled(state, container), now)
    if container.priority < 1:
        return UnlockContainer(uuid=container.uuid, reason="priority 0")
    if container.exited_s is not None:
        if container.lost:
            return ReleaseContainer(uuid=container.uuid)
        return _ask_first(state, container, now) or _try_again(state, container, now)
    if container.fit is not None and container.fit.problem and elsewhere(state, container, now) is None:
        return CancelContainer(uuid=container.uuid, error=container.fit.problem)
    if container.ahead and now >= ahead.given_back_s(container) and container.lock_count < state.settings.max_dispatch_attempts:
        return UnlockContainer(uuid=container.uuid, reason=f"no place became free for it within {ahead.GIVE_BACK_S:.0f} s")
    return None


def _ask_first(state: State, container: Container, now: float) -> FetchOutput | None:
    """What a runner wrote is asked for before anything is said about its end."""
    ask = FetchOutput(name=container.avoid or "", uuid=container.uuid)
    return ask if legal(state, ask, now) is None else None


def _cancel(container: Container, error: str, now: float) -> CancelContainer | None:
    if outputs.awaited(container, now):
        return None
    return CancelContainer(uuid=container.uuid, error=error, detail=ending.detail(container))


def _try_again(state: State, container: Container, now: float) -> Action | None:
    """The unlock that would be the last one is a cancel instead, which can say why: the queue service itself would only count."""
    if container.lock_count >= state.settings.max_dispatch_attempts:
        return _cancel(container, ending.why_given_up(state, container), now)
    if outputs.awaited(container, now):
        return None
    return UnlockContainer(uuid=container.uuid, reason=ending.attempt_error(container))


# --------------------------------------------------------------------------------------------------------------- processes


def _processes(state: State, now: float) -> Iterator[Action]:
    for instance in state.instances.all():
        for process in instance.processes.values():
            action = _kill(state, instance, process, now)
            if action is not None:
                yield action


def _kill(state: State, instance: Instance, process: Process, now: float) -> KillProcess | None:
    reason = process.kill.reason if process.kill is not None else unwanted(state, instance, process, now)
    if not reason or process.phase is ProcessPhase.ENDED:
        return None
    signal, due_s = _next_signal(state, process, now)
    return KillProcess(name=instance.name, uuid=process.uuid, signal=signal, reason=reason) if now >= due_s else None


def unwanted(state: State, instance: Instance, process: Process, now: float) -> str:
    """Why this process should not run; empty when it should."""
    container = state.containers.get(process.uuid)
    if process.phase is ProcessPhase.UNCERTAIN and process.absences >= 2 and not process.proven_absent:
        return "its start has no known outcome"
    if container is None:
        return "the queue has no such container" if process.orphan else ""
    if container.instance != instance.name:
        return f"it runs on {container.instance} already" if container.instance is not None else ""
    if container.kill_requested:
        return f"an operator asked for it: {container.kill_requested}"
    return _unwanted_by_queue(state, container, now)


def _unwanted_by_queue(state: State, container: Container, now: float) -> str:
    if container.writing is not None:
        return ""
    if container.state is ContainerState.QUEUED:
        return "it is Queued again"
    if not container.ours and not container.state.final:
        return "another dispatcher has it"
    if container.state is ContainerState.COMPLETE:
        # The runner writes Complete before it cleans up: it gets the time of one signal for that.
        return "the container is Complete" if now > container.observed_s + state.settings.timeout_signal_s else ""
    if container.state is ContainerState.CANCELLED:
        return "the container is Cancelled"
    return "its priority is 0" if container.priority < 1 else ""


def _next_signal(state: State, process: Process, now: float) -> tuple[int, float]:
    """TERM at once and again each TimeoutSignal; KILL once TimeoutTERM has passed since the first one that was heard."""
    kill = process.kill
    if kill is None:
        return TERM, now
    patient = not kill.heard or now < kill.since_s + state.settings.timeout_term_s
    signal = TERM if kill.kill_since_s is None and patient else KILL
    return signal, kill.sent_s + state.settings.timeout_signal_s


def given_up(state: State, process: Process, now: float) -> bool:
    """Whether a process counts as unkillable: TimeoutKILL has passed since the first KILL, and it is still there."""
    since_s = process.kill.kill_since_s if process.kill is not None else None
    return since_s is not None and now >= since_s + state.settings.timeout_kill_s


def due_s(state: State, now: float) -> float:
    """When the clock alone will ask for something here: the next signal, an output that is waited for no longer, or a lock that
    is given back."""
    times = [
        process.kill.sent_s + state.settings.timeout_signal_s
        for instance in state.instances.all()
        for process in instance.processes.values()
        if process.kill is not None and process.phase is not ProcessPhase.ENDED
    ]
    times += [at_s if (at_s := ahead.given_back_s(c)) > now else now + 1.0 for c in ahead.held(state)]
    return min([*times, outputs.due_s(state, now)], default=now + 60.0)
