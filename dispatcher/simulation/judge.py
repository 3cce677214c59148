"""What a dispatcher may never decide, said a second time and by somebody else: each change of State is judged as it happens.

The fakes judge what reaches the world; this judges decisions, so that a mistake shows even where the world is lucky.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from dispatcher.core import invariants
from dispatcher.core.messages import (
    Action,
    CreateInstance,
    DestroyInstance,
    Event,
    ExpireIdleBehavior,
    KillProcess,
    LeadershipGained,
    LockContainer,
    RemoveInstance,
    StartContainer,
    UnlockContainer,
)
from dispatcher.core.model import ContainerState, DestroyCause, IdleBehavior, Phase, State

from .queue import Violations

HOT, HOT_S = 120, 10.0  # so many creates within so many seconds are a loop that runs hot
GUARD_S, GUARD_LEAST = 600.0, 5
KILL = 9
GENTLE = (DestroyCause.IDLE, DestroyCause.DRAINED, DestroyCause.MAKE_ROOM, DestroyCause.CREATE_FAILED)


class Judge:
    """One for each dispatcher: what it did lately is remembered here, not in the State that it might have got wrong."""

    def __init__(self, violations: Violations) -> None:
        self.violations = violations
        self.guarded: deque[float] = deque(maxlen=1000)
        self.creates: deque[float] = deque(maxlen=HOT)
        self.asked: dict[tuple[str, str], float] = {}  # instance and container → when its runner was first sent TERM
        self.killed: set[str] = set()  # instances on which a runner was sent KILL in this term

    def changed(self, before: State, after: State, message: Event | Action, now: float) -> None:
        """The laws hold after it, and nothing forbidden was decided."""
        invariants.check_change(before, after)
        for wrong in self._wrong(before, after, message, now):
            self.violations.report(wrong)

    def _wrong(self, before: State, after: State, message: Event | Action, now: float) -> Iterator[str]:
        if isinstance(message, Action) and not before.leadership.leading:
            yield f"{type(message).__name__} is begun without leading"
        match message:
            case CreateInstance():
                yield from self._create(before, after, now)
            case DestroyInstance():
                yield from self._destroy(before, message, now)
            case RemoveInstance(name=name):
                yield from self._remove(before, name)
            case LockContainer(uuid=uuid, instance=name):
                yield from self._lock(before, uuid, name, now)
                if message.ahead:
                    yield from self._lock_ahead(before, uuid, name)
            case StartContainer(uuid=uuid, instance=name):
                yield from self._start(before, uuid, name)
            case ExpireIdleBehavior(name=name):
                if now < before.instances[name].operator.until_s:
                    yield f"{name} goes back to work before the time that an operator named"
            case UnlockContainer(uuid=uuid):
                yield from self._unlock(before, uuid)
            case KillProcess():
                yield from self._kill(before, message, now)
            case LeadershipGained():  # what it condemned is forgotten with everything else, and found again by probes
                self.asked.clear()
                self.killed.clear()

    def _create(self, before: State, after: State, now: float) -> Iterator[str]:
        most = after.settings.max_instances
        if most and len(after.instances) > max(most, len(before.instances)):
            yield f"{len(after.instances)} instances are asked for, and only {most} may exist"
        yield from self._price(before, after)
        self.creates.append(now)
        if len(self.creates) == HOT and now - self.creates[0] < HOT_S:
            yield f"{HOT} creates within {now - self.creates[0]:.1f} s"

    def _price(self, before: State, after: State) -> Iterator[str]:
        """Added up anew, from the settings and not from what is kept with each instance."""
        settings = after.settings
        most = settings.max_price_per_hour
        costs = [sum(settings.instance_types[i.type].price for i in s.instances.all() if i.type in settings.instance_types)
                 for s in (before, after)]  # fmt: skip
        if most and costs[1] > max(most, costs[0]) + 1e-6:
            yield f"instances for {costs[1]:.2f} per hour are asked for, and only {most} may be spent"

    def _destroy(self, before: State, action: DestroyInstance, now: float) -> Iterator[str]:
        instance, cause = before.instances[action.name], action.cause
        if instance.phase is Phase.SHUTDOWN:
            return
        if instance.idle_behavior is IdleBehavior.HOLD and cause is not DestroyCause.OPERATOR:
            yield f"{action.name} is destroyed ({cause.value}) although an operator holds it"
        if cause in GENTLE and instance.processes:
            yield f"{action.name} is destroyed ({cause.value}) while processes of it are known"
        if cause in GENTLE and instance.ready_s is not None and instance.processes_listed_s <= instance.start_changed_s:
            yield f"{action.name} is destroyed ({cause.value}) without a list of its processes since the last start"
        if cause.guarded:
            recent = sum(at > now - GUARD_S for at in self.guarded)
            if recent >= max(GUARD_LEAST, len(before.instances) // 10):
                yield f"{action.name} is given up, as {recent} others were within ten minutes"
            self.guarded.append(now)

    def _unlock(self, before: State, uuid: str) -> Iterator[str]:
        container = before.containers[uuid]
        if _runs(before, uuid):
            yield f"{uuid} is unlocked while a process of it is known"
        most = before.settings.max_dispatch_attempts
        if container.exited_s is not None and container.priority > 0 and container.lock_count >= most:
            yield f"{uuid} is unlocked after {container.lock_count} attempts, which ends it without a reason"

    def _kill(self, before: State, action: KillProcess, now: float) -> Iterator[str]:
        first_s = self.asked.setdefault((action.name, action.uuid), now)
        if action.signal != KILL:
            return
        self.killed.add(action.name)
        if now - first_s < before.settings.timeout_term_s:
            yield f"the runner of {action.uuid} is sent KILL {now - first_s:.1f} s after its first TERM"

    def _remove(self, before: State, name: str) -> Iterator[str]:
        instance = before.instances[name]
        acknowledged = instance.destroy is not None and instance.destroy.acknowledged_s is not None
        if len(instance.misses) < (1 if acknowledged else 2):
            yield f"{name} is removed after {len(instance.misses)} lists without it"

    def _lock(self, before: State, uuid: str, name: str, now: float) -> Iterator[str]:
        instance = before.instances[name]
        if name in self.killed:
            yield f"{uuid} is locked for {name}, where a runner was sent KILL"
        if instance.phase not in (Phase.BOOTING, Phase.READY):
            yield f"{uuid} is locked for {name}, which is {instance.phase.value}"
        opened = min(16.0, before.queue.lock_window + (now - before.queue.overloaded_s) * 16 / 60)
        if before.queue.locks_in_flight >= opened:
            yield f"{uuid} is locked beyond the window"
        if _runs(before, uuid):
            yield f"{uuid} is locked while a process of it is known"

    def _lock_ahead(self, before: State, uuid: str, name: str) -> Iterator[str]:
        """One for each runner that works, of those who were never locked before; supervisors never."""
        working = [i for i in before.instances.all() if i.phase is Phase.READY and i.idle_behavior is IdleBehavior.RUN]
        early = sum(c.ahead for c in before.containers.all())
        if early >= sum(len(i.processes) for i in working):
            yield f"{uuid} is locked ahead of a place, as {early} others are"
        if before.instances[name] not in working or not before.instances[name].processes:
            yield f"{uuid} is locked ahead of a place on {name}, where none can become free"
        container = before.containers[uuid]
        if container.lock_count or (container.requirements is not None and container.requirements.supervisor):
            yield f"{uuid} is locked ahead of a place, though it supervises or was locked {container.lock_count} times"

    def _start(self, before: State, uuid: str, name: str) -> Iterator[str]:
        container, instance = before.containers[uuid], before.instances[name]
        self.asked.pop((name, uuid), None)
        if name in self.killed:
            yield f"{uuid} is started on {name}, where a runner was sent KILL"
        if container.state is not ContainerState.LOCKED or not container.ours or container.priority < 1:
            yield f"{uuid} is started: {container.state.value}, priority {container.priority}"
        if instance.phase is not Phase.READY or instance.idle_behavior is not IdleBehavior.RUN or instance.condemned:
            yield f"{uuid} is started on {name}: {instance.phase.value}, {instance.idle_behavior.value}, {instance.condemned}"
        if container.fit is None or container.fit.image != instance.image:
            yield f"{uuid} is started on {name}, which is of another image: {instance.image!r}"
        if _runs(before, uuid):
            yield f"{uuid} is started while a process of it is known"


def _runs(state: State, uuid: str) -> bool:
    return any(uuid in instance.processes for instance in state.instances.all())
