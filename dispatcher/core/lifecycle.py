"""Instances: boot time-outs, idle, drain, destroy again, tags that differ, creates without a known outcome.

Each instance is judged by itself, in the order of the cases in ``_judge``; an operator's hold keeps everything away but an
operator's kill.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from itertools import takewhile

from dispatcher.core import pacing, replacing
from dispatcher.core.messages import (
    Action,
    CondemnInstance,
    CreateInstance,
    DestroyInstance,
    ExpireIdleBehavior,
    FetchOutput,
    PollCreate,
    RemoveInstance,
    SaveTags,
)
from dispatcher.core.model import NEVER, DestroyCause, IdleBehavior, Instance, Phase, State
from dispatcher.core.reconcile import given_up
from dispatcher.core.settings import Settings
from dispatcher.core.transitions import leftovers, outputs
from dispatcher.core.transitions.cloud import tags_differ
from dispatcher.core.transitions.legal import guard, legal, never_answered
from dispatcher.core.transitions.processes import UNFIT
from dispatcher.core.transitions.room import empty
from dispatcher.frozen import dataclass

CREATE_AGAIN_S = 5.0
POLL_CREATE_S = 2.0
POLL_LEAST_S, POLL_MOST_S = 1.0, 60.0
TAGS_AGAIN_S = 30.0


def plan(state: State, now: float) -> list[Action]:
    """What instances need now."""
    found: list[Action] = []
    for part in state.instances.parts(_part, state.settings):
        for instance in part.due(now):
            found += [action for action in _needs(state, instance, now) if legal(state, action, now) is None]
    found += [action for action in leftovers.in_turn(state) if legal(state, action, now) is None][:1]
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    """Instances of one part of the map, the soonest first, each with the time from which on it may need something."""

    waiting: tuple[tuple[float, Instance], ...]

    def due(self, now: float) -> Iterator[Instance]:
        return (instance for at_s, instance in takewhile(lambda each: each[0] <= now, self.waiting))

    def next_s(self, now: float) -> float:
        """When the first of those is due that are not yet."""
        return next((at_s for at_s, _ in self.waiting if at_s > now), math.inf)


def _part(instances: Collection[Instance], settings: Settings) -> _Part:
    dated = [(at_s, instance) for instance in instances if (at_s := _at_rest_until_s(instance, settings)) < math.inf]
    return _Part(tuple(sorted(dated, key=lambda each: each[0])))


def _at_rest_until_s(instance: Instance, settings: Settings) -> float:
    """Before this ``_needs`` finds nothing, as far as the instance itself shows; most run containers, and need nothing ever."""
    if _is_restless(instance, settings):
        return NEVER
    times = [instance.operator.until_s]
    if instance.phase in (Phase.BOOTING, Phase.UNKNOWN) and not instance.processes:
        times.append(instance.phase_since_s + settings.timeout_booting_s)
    if instance.phase is Phase.READY and empty(instance):
        times.append(instance.busy_s + settings.timeout_idle_s)
    return min(times)


def _is_restless(instance: Instance, settings: Settings) -> bool:
    if instance.misses or instance.operation is not None or instance.create_unknown or instance.phase is Phase.SHUTDOWN:
        return True
    if instance.kill_requested or instance.failure or instance.condemned or instance.idle_behavior is IdleBehavior.DRAIN:
        return True
    if instance.silent_s >= settings.timeout_probe_s or any(p.kill is not None for p in instance.processes.values()):
        return True
    return _is_unfit(instance) or (instance.id is not None and tags_differ(instance, settings))


def _needs(state: State, instance: Instance, now: float) -> Iterator[Action]:
    if instance.misses:
        yield RemoveInstance(name=instance.name)
    if now >= instance.operator.until_s:
        yield ExpireIdleBehavior(name=instance.name)
    if instance.operation is not None and now >= poll_create_s(instance):
        yield PollCreate(name=instance.name)
    if instance.create_unknown and now >= create_again_s(instance):
        yield CreateInstance(
            name=instance.name, instance_type=instance.type, secret=instance.secret, image=instance.image
        )
    if instance.id is None:
        return
    if instance.phase is Phase.SHUTDOWN:
        if _destroy_again(state, instance, now):
            yield _destroy(instance, instance.destroy.cause, instance.destroy.reason)  # type: ignore[union-attr]
        return
    if _is_unfit(instance):
        yield CondemnInstance(name=instance.name, reason=f"{UNFIT}, though containers run there: {instance.probe_error}")
    judged = _judge(state, instance, now)
    if judged is not None:
        yield from _with_last_words(state, instance, _destroy(instance, *judged), now)
    elif tags_differ(instance, state.settings) and now >= instance.tags_changed_s + TAGS_AGAIN_S * (instance.tags_failed > 0):
        yield SaveTags(name=instance.name)


def _is_unfit(instance: Instance) -> bool:
    """Found at start, and its boot probe fails, but its containers run: it is drained and never given up for that."""
    return instance.phase is Phase.UNKNOWN and bool(instance.processes) and instance.probe_failures > 0


def _with_last_words(state: State, instance: Instance, destroy: DestroyInstance, now: float) -> Iterator[Action]:
    """What the runners of an instance wrote goes with it: it is asked for first, and waited for a few seconds at most."""
    held = [c for uuid in instance.processes if (c := state.containers.get(uuid)) is not None and not c.state.final]
    if not held or legal(state, destroy, now) is not None:
        yield destroy
        return
    asked = [FetchOutput(name=instance.name, uuid=container.uuid) for container in held]
    asked = [ask for ask in asked if legal(state, ask, now) is None]
    yield from asked
    if not asked and not any(outputs.awaited(container, now) for container in held):
        yield destroy


def poll_create_s(instance: Instance) -> float:
    """When to ask how an accepted create stands: at the pace that the cloud wished, within reason."""
    wished_s = POLL_CREATE_S if instance.poll_after_s is None else instance.poll_after_s
    return instance.operation_polled_s + min(max(wished_s, POLL_LEAST_S), POLL_MOST_S)


def create_again_s(instance: Instance) -> float:
    """When a create without a known outcome is sent again: twice as long after each time, so that two lists find the room
    between two calls to settle it."""
    return instance.create_changed_s + max(CREATE_AGAIN_S, instance.create_changed_s - instance.phase_since_s)


def _destroy(instance: Instance, cause: DestroyCause, reason: str) -> DestroyInstance:
    return DestroyInstance(name=instance.name, cause=cause, reason=reason)


def _destroy_again(state: State, instance: Instance, now: float) -> bool:
    """Still listed after TimeoutShutdown: again, unless the cloud says itself that it is deleting it."""
    destroy = instance.destroy
    if destroy is None or destroy.in_flight:
        return False
    if instance.kill_requested and destroy.cause is not DestroyCause.OPERATOR and destroy.acknowledged_s is None:
        return True
    if instance.deleting and destroy.acknowledged_s is not None:
        return False
    return now >= destroy.sent_s + state.settings.timeout_shutdown_s


def _judge(state: State, instance: Instance, now: float) -> tuple[DestroyCause, str] | None:
    """Why this instance is to be destroyed now, if it is. The first case that applies decides."""
    settings = state.settings
    # 1. An operator's kill, which alone ends a hold.
    if instance.kill_requested:
        held = " (it was on hold)" if instance.idle_behavior is IdleBehavior.HOLD else ""
        return DestroyCause.OPERATOR, f"an operator asked for it: {instance.kill_requested}{held}"
    if instance.idle_behavior is IdleBehavior.HOLD:
        return None
    # 2. The cloud accepted the create and failed later.
    if instance.failure and instance.phase in (Phase.CREATING, Phase.BOOTING):
        return DestroyCause.CREATE_FAILED, instance.failure
    # 3. It never came up.
    if _boot_timed_out(state, instance, now):
        return DestroyCause.BOOT_TIMEOUT, f"it did not come up in time: {instance.probe_error or 'no answer'}"
    # 4. It was up and answers no more, while others do.
    was_up = instance.phase is Phase.READY or (instance.phase is Phase.UNKNOWN and instance.processes)
    if was_up and instance.silent_s >= settings.timeout_probe_s:
        return DestroyCause.UNRESPONSIVE, f"it has not answered for {settings.timeout_probe_s:.0f} s: {instance.probe_error}"
    # 5. All that is left on it cannot be killed.
    if instance.processes and all(given_up(state, process, now) for process in instance.processes.values()):
        return DestroyCause.UNKILLABLE, "its runners cannot be killed"
    # 6. It takes no more work, or has none.
    return _judge_empty(state, instance, now)


def _judge_empty(state: State, instance: Instance, now: float) -> tuple[DestroyCause, str] | None:
    if not empty(instance):
        return None
    if instance.idle_behavior is IdleBehavior.DRAIN:
        return DestroyCause.DRAINED, f"drained by an operator: {instance.operator.reason or 'no reason given'}"
    if instance.condemned or instance.failure:
        return DestroyCause.DRAINED, instance.condemned or instance.failure
    idle = instance.phase is Phase.READY and now >= instance.busy_s + state.settings.timeout_idle_s
    if idle and instance.name not in replacing.kept(state, now):
        return DestroyCause.IDLE, f"idle for {state.settings.timeout_idle_s:.0f} s"
    return None


def _boot_timed_out(state: State, instance: Instance, now: float) -> bool:
    """At least one probe was made after the deadline. One that was found running is given up only when it proves to be
    empty, or was silent all the time while others answered."""
    if instance.phase not in (Phase.BOOTING, Phase.UNKNOWN) or instance.processes:
        return False
    if instance.condemned.startswith(UNFIT):  # it is being drained
        return False
    deadline_s = instance.phase_since_s + state.settings.timeout_booting_s
    if now < deadline_s or (instance.address is not None and instance.probed_s < deadline_s):
        return False
    if instance.phase is Phase.BOOTING:
        return True
    return never_answered(state, instance) or instance.processes_listed_s >= state.leadership.quiet_until_s


def alarm(state: State, now: float) -> str:
    """What needs a person, in words; empty when nothing does."""
    return "; ".join(text for text in (guarded(state, now), _held_unkillable(state, now)) if text)


def _held_unkillable(state: State, now: float) -> str:
    """A hold keeps an instance, whatever runs there."""
    held = [f"{uuid} on {i.name}" for i, uuid in unkillable(state, now) if i.idle_behavior is IdleBehavior.HOLD]
    if not held:
        return ""
    return f"a hold keeps instances alive although runners there cannot be killed: {', '.join(held[:5])}"


def unkillable(state: State, now: float) -> list[tuple[Instance, str]]:
    """Runners that are still there long after their KILL: the instance and the uuid."""
    return [
        (instance, process.uuid)
        for instance in state.instances.all()
        for process in instance.processes.values()
        if given_up(state, process, now)
    ]


def guarded(state: State, now: float) -> str:
    """What the destroy guard holds back, in words."""
    held = kept(state, now)
    return f"the destroy guard keeps {len(held)} instances alive that look bad: {', '.join(held[:5])}" if held else ""


def kept(state: State, now: float) -> list[str]:
    """Names of the instances that look bad and that the destroy guard holds back."""
    if guard(state, DestroyCause.UNRESPONSIVE, now) is None:  # it says the same of every cause that it counts
        return []
    return [
        instance.name
        for instance in state.instances.all()
        if instance.phase is not Phase.SHUTDOWN
        and (judged := _judge(state, instance, now)) is not None
        and guard(state, judged[0], now) is not None
    ]


def due_s(state: State, now: float) -> float:
    """When the clock alone will ask for something here. Coarse on purpose: a look too early costs little."""
    soonest = now + 60.0
    for part in state.instances.parts(_part, state.settings):
        looks = (_next_look(state, instance, now) for instance in part.due(now))
        soonest = min(soonest, part.next_s(now), min(looks, default=math.inf))
    soonest = min(soonest, leftovers.due_s(state, now))
    return min(max(soonest, pacing.next_token_s(state, "destroy", now)), outputs.due_s(state, now))


def _next_look(state: State, instance: Instance, now: float) -> float:
    settings = state.settings
    times = [now + 60.0, instance.operator.until_s]
    if instance.operation is not None:
        times.append(poll_create_s(instance))
    if instance.create_unknown and settings.create_is_idempotent:
        times.append(create_again_s(instance))
    if instance.destroy is not None and not instance.destroy.in_flight:
        times.append(instance.destroy.sent_s + settings.timeout_shutdown_s)
    if instance.tags_failed:
        times.append(instance.tags_changed_s + TAGS_AGAIN_S)
    if instance.phase is Phase.READY and empty(instance):
        times.append(instance.busy_s + settings.timeout_idle_s)
        if now < instance.busy_s + outputs.WAIT_S:
            times.append(instance.busy_s + outputs.WAIT_S)
    if instance.phase in (Phase.BOOTING, Phase.UNKNOWN):
        times.append(instance.phase_since_s + settings.timeout_booting_s)
    return min(at if at > now else now + 1.0 for at in times)
