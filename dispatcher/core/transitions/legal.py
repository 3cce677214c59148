"""May this action begin now? One question, one answer, asked by planners before they propose and by ``begin`` before it acts.

Each function returns the reason why not, or None. The limits stand here, and the destroy guard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dispatcher.core import pacing, spending
from dispatcher.core.messages import (
    Action,
    BindContainer,
    CancelContainer,
    CondemnInstance,
    CreateInstance,
    DeleteLeftover,
    DestroyInstance,
    ExpireIdleBehavior,
    FetchOutput,
    ForgetContainer,
    KillProcess,
    ListInstances,
    LockContainer,
    PollCreate,
    PollQueue,
    ProbeInstance,
    ReadCatalogue,
    ReadContainers,
    ReleaseContainer,
    RemoveInstance,
    SaveTags,
    StartContainer,
    UnlockContainer,
)
from dispatcher.core.model import (
    Container,
    ContainerState,
    DestroyCause,
    IdleBehavior,
    Instance,
    Phase,
    ProcessPhase,
    State,
)
from dispatcher.core.transitions import locks, polls, table
from dispatcher.core.transitions.ahead import lockable
from dispatcher.core.transitions.catalogue import readable
from dispatcher.core.transitions.cloud import GUARD_WINDOW_S
from dispatcher.core.transitions.leftovers import deletable
from dispatcher.core.transitions.outputs import fetchable, keeping
from dispatcher.core.transitions.room import Reason, accepts_work, has_room, proved_empty

GUARD_LEAST, GUARD_PART = 5, 10  # so many instances, or one in so many, may be given up within the guard's window

# ------------------------------------------------------------------------------------------------------------------- queue


def _poll(state: State, action: PollQueue, now: float) -> Reason:
    if state.queue.polling:
        return "a poll is on its way"
    if not polls.uncounted(state, action.look, now) and polls.tokens(state.queue, now) < polls.cost(state, action.look):
        return "the rate of list requests"
    return None


def _read(state: State, action: ReadContainers, now: float) -> Reason:
    if len(action.uuids) > 100:
        return "at most 100 uuids in one question"
    held = [c for uuid in action.uuids if (c := state.containers.get(uuid)) is not None]
    if any(c.reading for c in held):
        return "its record is being read"
    return "the rate of list requests" if polls.tokens(state.queue, now) < 1 else None


def _writable(state: State, uuid: str) -> Container | str:
    container = state.containers.get(uuid)
    if container is None:
        return "there is no such container"
    if container.writing is not None:
        return f"a {container.writing.value} is on its way"
    return container


def startable(state: State, container: Container, now: float) -> Reason:
    """Why no attempt may be made with this container now, whatever the instance."""
    if container.priority < 1:
        return "priority 0"
    if container.fit is None or container.fit.problem:
        return "no instance type can run it" if container.fit is not None else "its record has not been read yet"
    if container.exited_s is not None:
        return "its last attempt is being cleared up"
    if container.uuid in state.strays:
        return "a process of it still runs"
    if now < container.not_before_s:
        return "the last attempt failed, and the next one waits"
    return None


def _seat(state: State, container: Container, name: str, now: float) -> Reason:
    instance = state.instances.get(name)
    if instance is None:
        return "there is no such instance"
    if container.instance == name:
        return None
    return accepts_work(state, instance, now) or (None if has_room(state, instance, container) else "no room")


def _lock(state: State, action: LockContainer, now: float) -> Reason:
    container = _writable(state, action.uuid)
    if isinstance(container, str):
        return container
    if container.read_due or container.reading:
        return "its record has to be read first"
    if container.state is not ContainerState.QUEUED:
        return f"it is {container.state.value}"
    if container.instance is not None:
        return "a process of it may still run"
    if locks.free(state.queue, now) < 1:
        return "the queue service asked for fewer locks"
    instance = state.instances.get(action.instance)
    if instance is not None and instance.phase is Phase.CREATING:
        return "its instance is not accepted yet"
    if action.ahead:
        return startable(state, container, now) or lockable(state, container, action.instance, now)
    return startable(state, container, now) or _seat(state, container, action.instance, now)


def _unlock(state: State, action: UnlockContainer, now: float) -> Reason:
    container = _writable(state, action.uuid)
    if isinstance(container, str):
        return container
    if container.read_due or container.reading:
        return "its record has to be read first"
    if container.state is not ContainerState.LOCKED or not container.ours:
        return f"it is not Locked by us but {container.state.value}"
    if container.instance is not None and container.uuid in state.instances[container.instance].processes:
        return "a process of it may run"
    if container.exited_s is None and (why := elsewhere(state, container, now)) is not None:
        return why
    return "too soon after a failure" if now < container.ask_after_s else None


def _cancel(state: State, action: CancelContainer, now: float) -> Reason:
    container = _writable(state, action.uuid)
    if isinstance(container, str):
        return container
    if container.read_due or container.reading:
        return "its record has to be read first"
    if container.state.final:
        return f"it is {container.state.value}"
    return "too soon after a failure" if now < container.ask_after_s else None


def _bind(state: State, action: BindContainer, now: float) -> Reason:
    container = _writable(state, action.uuid)
    if isinstance(container, str):
        return container
    if container.state is not ContainerState.LOCKED or not container.ours or container.instance is not None:
        return "only a container that we hold Locked and that has no place is given one"
    return startable(state, container, now) or _seat(state, container, action.instance, now)


def _release(state: State, action: ReleaseContainer, now: float) -> Reason:
    container = _writable(state, action.uuid)
    if isinstance(container, str):
        return container
    instance = state.instances.get(container.instance) if container.instance is not None else None
    return "a process of it may run" if instance is not None and container.uuid in instance.processes else None


def _forget(state: State, action: ForgetContainer, now: float) -> Reason:
    container = _writable(state, action.uuid)
    if isinstance(container, str):
        return container
    wanted = container.priority > 0 if container.state is ContainerState.QUEUED else container.ours
    if wanted and not container.state.final:
        return "it is not over"
    return _release(state, ReleaseContainer(uuid=action.uuid), now)


# ------------------------------------------------------------------------------------------------------------------- cloud


def creates_left(state: State) -> float:
    """How many more instances may be asked for now, as far as numbers limit it."""
    settings = state.settings
    left = float("inf")
    if settings.max_instances > 0:
        left = settings.max_instances - len(state.instances)
    if settings.max_concurrent_creates:
        left = min(left, settings.max_concurrent_creates - sum(1 for i in state.instances.all() if i.creating))
    return left


def _create(state: State, action: CreateInstance, now: float) -> Reason:
    known = state.instances.get(action.name)
    if known is not None:
        if not (known.create_unknown and not known.creating and state.settings.create_is_idempotent):
            return "there is an instance of that name"
    elif creates_left(state) < 1:
        return "MaxInstances is reached"
    if action.instance_type not in state.settings.instance_types:
        return "there is no such instance type"
    if state.cloud.confirmed_s < state.leadership.since_s:  # a single list may lie, or be older than the last create
        return "the cloud has not been listed twice yet"
    held = pacing.holdoff(state, "create", action.instance_type, now)
    if held is not None:
        return f"{held.kind.value}: {held.reason}"
    if known is None and (why := _too_dear(state, action.instance_type, now)) is not None:
        return why
    return None if pacing.tokens(state, "create", now) >= 1 else "the rate of creates"


def _too_dear(state: State, type_name: str, now: float) -> Reason:
    if spending.over_day(state, now):
        return "MaxPricePerDay is spent"
    return "MaxPricePerHour leaves no room for it" if spending.over_hour(state, type_name) else None


def _poll_create(state: State, action: PollCreate, now: float) -> Reason:
    instance = state.instances.get(action.name)
    if instance is None or instance.operation is None:
        return "no create is on its way"
    if pacing.holdoff(state, "poll_create", None, now) is not None or pacing.tokens(state, "poll_create", now) < 1:
        return "the cloud asked for a pause"
    return "it is being asked for" if instance.polling_create else None


def _list(state: State, action: ListInstances, now: float) -> Reason:
    if state.cloud.listing:
        return "a list is on its way"
    if pacing.holdoff(state, "list", None, now) is not None:
        return "the cloud asked for a pause"
    return None if pacing.tokens(state, "list", now) >= 1 else "the rate of lists"


def guard(state: State, cause: DestroyCause, now: float) -> Reason:
    """The destroy guard: when we would judge a good part of the fleet to be bad within ten minutes, it is rather us."""
    if not cause.guarded:
        return None
    recent = sum(1 for at in state.cloud.guarded_destroys if at > now - GUARD_WINDOW_S)
    most = max(GUARD_LEAST, len(state.instances) // GUARD_PART)
    return f"the destroy guard: {recent} instances were given up within ten minutes" if recent >= most else None


def never_answered(state: State, instance: Instance) -> bool:
    """Found running, and silent ever since while others answered; or without an address at which it could answer."""
    return (
        instance.phase is Phase.UNKNOWN
        and instance.processes_listed_s < state.leadership.since_s
        and (instance.silent_s >= state.settings.timeout_booting_s or instance.address is None)
    )


def _evidence(state: State, instance: Instance, cause: DestroyCause) -> Reason:
    """Nothing may run there, but for the four exceptions."""
    if cause in (DestroyCause.OPERATOR, DestroyCause.UNRESPONSIVE, DestroyCause.UNKILLABLE):
        return None
    if instance.processes:
        return "processes run there"
    if cause is DestroyCause.BOOT_TIMEOUT and (instance.phase is Phase.BOOTING or never_answered(state, instance)):
        return None
    if instance.phase in (Phase.CREATING, Phase.BOOTING):  # it never came up, so that nothing was ever started there
        return "it boots" if cause is DestroyCause.IDLE else None
    return None if proved_empty(state, instance) else "it is not proved that nothing runs there"


def _destroy(state: State, action: DestroyInstance, now: float) -> Reason:
    instance = state.instances.get(action.name)
    if instance is None or instance.id is None:
        return "there is no such instance in the cloud"
    if pacing.holdoff(state, "destroy", None, now) is not None or pacing.tokens(state, "destroy", now) < 1:
        return "the cloud asked for a pause"
    if instance.destroy is not None:
        return "a destroy is on its way" if instance.destroy.in_flight else None
    if not table.allowed(instance.phase, Phase.SHUTDOWN):
        return f"it is {instance.phase.value}"
    if action.cause is not DestroyCause.OPERATOR and instance.idle_behavior is IdleBehavior.HOLD:
        return "it is on hold"
    if action.cause in (DestroyCause.IDLE, DestroyCause.MAKE_ROOM, DestroyCause.DRAINED):
        if instance.bound:
            return "containers are bound to it"
        if (why := keeping(state, instance, now)) is not None:
            return why
    return _evidence(state, instance, action.cause) or guard(state, action.cause, now)


def _absence(state: State, instance: Instance) -> Reason:
    """Absence is a proof: a list after an acknowledged destroy, two in a row, or three when many would go at once."""
    misses = instance.misses
    done_s = instance.destroy.acknowledged_s if instance.destroy is not None else None
    if misses and done_s is not None and misses[-1] - state.settings.list_lag_s > done_s:
        return None
    if len(misses) < 2 or misses[-1] - misses[0] < state.settings.list_lag_s:
        return "one list without it proves nothing"
    silent = instance.address is None or (instance.probe_failures > 0 and instance.probed_s > misses[0])
    if instance.destroy is not None or (len(misses) >= 3 and silent):
        return None
    standing, going = state.instances.once(_standing_and_going)
    if going <= max(2, standing // 5):
        return None
    return f"{going} of {standing} instances would go at once: a third list and a failing probe have to agree"


def _standing_and_going(instances: Sequence[Instance]) -> tuple[int, int]:
    """How many instances nobody destroys, and how many of them two lists have missed."""
    standing = [i for i in instances if i.destroy is None]
    return len(standing), sum(1 for i in standing if len(i.misses) >= 2)


def _remove(state: State, action: RemoveInstance, now: float) -> Reason:
    instance = state.instances.get(action.name)
    if instance is None or instance.creating:
        return "there is no such instance, or it is just being created"
    return _absence(state, instance)


def _save_tags(state: State, action: SaveTags, now: float) -> Reason:
    instance = state.instances.get(action.name)
    if instance is None or instance.id is None:
        return "there is no such instance in the cloud"
    if pacing.holdoff(state, "set_tags", None, now) is not None or pacing.tokens(state, "set_tags", now) < 1:
        return "the cloud asked for a pause"
    return "its tags are being saved" if instance.saving_tags else None


def _condemn(state: State, action: CondemnInstance, now: float) -> Reason:
    instance = state.instances.get(action.name)
    return "there is no such instance" if instance is None else ("it is already" if instance.condemned else None)


def _expire(state: State, action: ExpireIdleBehavior, now: float) -> Reason:
    instance = state.instances.get(action.name)
    if instance is None:
        return "there is no such instance"
    return "the time of its idle behaviour is not over" if now < instance.operator.until_s else None


# --------------------------------------------------------------------------------------------------------------- processes


def _probe(state: State, action: ProbeInstance, now: float) -> Reason:
    instance = state.instances.get(action.name)
    if instance is None or instance.address is None:
        return "it has no address"
    if instance.probing:
        return "a probe is on its way"
    return None if pacing.tokens(state, "probe", now) >= 1 else "the rate of probes"


def might_run(instance: Instance, container: Container) -> bool:
    """Whether an instance that has not listed its processes in this term might run this container. The address of a gateway
    tells where a Running one is; a Locked one may have begun another attempt elsewhere."""
    if container.state is ContainerState.LOCKED:
        return True
    address = container.gateway_address.rsplit(":", 1)[0].strip("[]")
    host = (instance.address or "").rsplit(":", 1)[0].strip("[]")
    return not address or not host or address == host


def elsewhere(state: State, container: Container, now: float) -> Reason:
    """A container that we did not lock in this term may have been started by somebody before us: why it may run somewhere."""
    if container.locked_term == state.leadership.term:
        return None
    if now < state.leadership.quiet_until_s:
        return "a start of an earlier dispatcher may still take effect"
    if state.cloud.confirmed_s < state.leadership.since_s:
        return "the cloud has not been listed twice yet"
    since_s = state.leadership.quiet_until_s
    if container.state is ContainerState.RUNNING:  # which somebody may have started after that all the same
        since_s = max(since_s, container.found_s)
    unlisted = state.instances.once(_unlisted, since_s)
    silent = next((i for i in unlisted if might_run(i, container)), None)
    return f"{silent.name} has not said yet whether it runs it" if silent is not None else None


def _unlisted(instances: Sequence[Instance], since_s: float) -> list[Instance]:
    """The instances that have not listed their processes since then, though they may have some."""
    found = [i for i in instances if i.processes_listed_s < since_s]
    return [i for i in found if i.phase in (Phase.UNKNOWN, Phase.READY, Phase.SHUTDOWN)]


def _start(state: State, action: StartContainer, now: float) -> Reason:
    container = _writable(state, action.uuid)
    if isinstance(container, str):
        return container
    if container.state is not ContainerState.LOCKED or not container.ours:
        return f"it is not Locked by us but {container.state.value}"
    instance = state.instances.get(action.instance)
    if instance is None or instance.phase is not Phase.READY:
        return "its instance is not ready"
    if container.instance not in (None, action.instance) or action.uuid in instance.processes:
        return "a process of it may run"
    return (
        accepts_work(state, instance, now)
        or startable(state, container, now)
        or _seat(state, container, action.instance, now)
        or elsewhere(state, container, now)
    )


def _kill(state: State, action: KillProcess, now: float) -> Reason:
    instance = state.instances.get(action.name)
    process = instance.processes.get(action.uuid) if instance is not None else None
    if process is None or process.phase is ProcessPhase.ENDED:
        return "there is no such process"
    if process.phase is ProcessPhase.STARTING:
        return "its start is on its way"
    return "a kill is on its way" if process.kill is not None and process.kill.sending else None


RULES: dict[type[Action], Callable[[State, Any, float], Reason]] = {
    PollQueue: _poll,
    ReadContainers: _read,
    LockContainer: _lock,
    UnlockContainer: _unlock,
    CancelContainer: _cancel,
    BindContainer: _bind,
    ReleaseContainer: _release,
    ForgetContainer: _forget,
    CreateInstance: _create,
    PollCreate: _poll_create,
    ListInstances: _list,
    DestroyInstance: _destroy,
    RemoveInstance: _remove,
    SaveTags: _save_tags,
    DeleteLeftover: deletable,
    ReadCatalogue: readable,
    CondemnInstance: _condemn,
    ExpireIdleBehavior: _expire,
    ProbeInstance: _probe,
    StartContainer: _start,
    KillProcess: _kill,
    FetchOutput: fetchable,
}


def legal(state: State, action: Action, now: float) -> Reason:
    """Why this action may not begin now, or None when it may."""
    if not state.leadership.leading:
        return "another dispatcher leads"
    return RULES[type(action)](state, action, now)
