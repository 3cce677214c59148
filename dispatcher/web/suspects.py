"""Suspects: what stands there and should not, each with who, what and since when, the most expensive kind of trouble first.

Pure, and bounded: of each kind the oldest are named and the others counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dispatcher.core.model import NEVER, IdleBehavior, Instance, Phase, ProcessPhase, State
from dispatcher.frozen import dataclass
from dispatcher.web.fleet import answered_s, is_silent
from dispatcher.web.shown import Wall, plain, seconds_of

NAMED = 10  # of each kind
FORGOTTEN_S = 4 * 3600.0  # a hold without an end counts as forgotten after this
STUCK_S = 180.0  # a destroy that takes longer, whatever TimeoutShutdown says
STUCK_ATTEMPTS = 4
SILENT_PROBES = 3  # so many intervals without an answer
SILENT_S = 60.0
NO_BOOT = ("failure", "disappeared")

Outcomes = Mapping[str, Mapping[str, int]]
"""Instance type → how boots ended → how many, in the last hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """``kind`` is a stable word; ``since_s`` on our clock, NEVER when nobody knows."""

    kind: str
    text: str
    since_s: float = NEVER
    instance: str = ""
    container: str = ""


def suspects(state: State, now: float, boots: Outcomes, wall: Wall) -> list[dict[str, Any]]:
    found = [suspect for look in LOOKS for suspect in _bounded(look(state, now, wall))]
    found += _bounded(_boot_failures(boots))
    return [
        {
            "kind": each.kind, "text": plain(each.text), "since": wall.utc(each.since_s), "instance": plain(each.instance),
            "container": plain(each.container),
        }
        for each in found
    ]  # fmt: skip


def _bounded(found: Iterable[Suspect]) -> list[Suspect]:
    oldest = sorted(found, key=lambda each: each.since_s)
    rest = len(oldest) - NAMED
    if rest <= 0:
        return oldest
    return [*oldest[:NAMED], Suspect(kind=oldest[0].kind, text=f"and {rest} more", since_s=oldest[NAMED].since_s)]


# ------------------------------------------------------------------------------------------------------------------- looks


def _stuck_destroys(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    patience_s = max(STUCK_S, 6 * state.settings.timeout_shutdown_s)
    for instance in state.instances.all():
        destroy = instance.destroy
        if destroy is None or (now - destroy.since_s < patience_s and destroy.attempts < STUCK_ATTEMPTS):
            continue
        error = f"; the cloud said: {destroy.error}" if destroy.error else ""
        text = f"still there after {destroy.attempts} tries to destroy it ({destroy.cause.value}){error}"
        yield Suspect(kind="stuck destroy", text=text, since_s=destroy.since_s, instance=instance.name)


def _leftovers(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    for known in state.cloud.leftovers.values():
        error = f", and cannot be deleted: {known.error}" if known.error else ""
        text = f"{known.leftover.kind} {known.leftover.id} is used by no instance{error}"
        yield Suspect(kind="leftover", text=text, since_s=known.first_s)


def _silent(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    limit_s = max(SILENT_S, SILENT_PROBES * state.settings.probe_interval_s)
    for instance in state.instances.all():
        if is_silent(instance, limit_s, now):
            error = f": {instance.probe_error}" if instance.probe_error else ""
            yield Suspect(
                kind="no probe", text=f"has not answered{error}", since_s=answered_s(instance), instance=instance.name
            )


def _slow_boots(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    """In the second half of the time that a boot may take."""
    for instance in state.instances.all():
        booting = instance.phase in (Phase.BOOTING, Phase.UNKNOWN)
        if booting and now - instance.phase_since_s > state.settings.timeout_booting_s / 2:
            error = instance.probe_error or "no answer on SSH"
            yield Suspect(
                kind="slow boot", text=f"has not booted yet: {error}", since_s=instance.phase_since_s, instance=instance.name
            )


def _unsure_creates(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    for instance in state.instances.all():
        if instance.create_unknown:
            text = "the cloud did not say whether it was created"
            yield Suspect(kind="unknown create", text=text, since_s=instance.create_changed_s, instance=instance.name)


def _condemned(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    for instance in state.instances.all():
        if instance.condemned and instance.phase is not Phase.SHUTDOWN:
            text = f"gets no new work: {instance.condemned}"
            yield Suspect(kind="given up", text=text, since_s=instance.phase_since_s, instance=instance.name)


def _unkillable(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    for instance in state.instances.all():
        for process in instance.processes.values():
            if process.kill is not None and process.kill.unkillable and process.phase is not ProcessPhase.ENDED:
                yield Suspect(
                    kind="unkillable", text="its runner cannot be killed", since_s=process.kill.since_s,
                    instance=instance.name, container=process.uuid,
                )  # fmt: skip


def _forgotten_holds(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    for instance in state.instances.all():
        if instance.idle_behavior is not IdleBehavior.HOLD or instance.operator.until:
            continue
        since_s = _chosen_s(instance, wall)
        if since_s == NEVER or now - since_s > FORGOTTEN_S:
            yield Suspect(kind="forgotten hold", text=_held_by(instance), since_s=since_s, instance=instance.name)


def _chosen_s(instance: Instance, wall: Wall) -> float:
    chosen = seconds_of(instance.operator.at) if instance.operator.at else None
    return chosen - wall.offset_s if chosen is not None else NEVER


def _held_by(instance: Instance) -> str:
    note = instance.operator
    who = f"held by {note.actor}" if note.actor else "held, and nobody wrote down by whom"
    return f"{who}, without an end" + (f": {note.reason}" if note.reason else "")


def _strays(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    for uuid, name in state.strays.items():
        instance = state.instances.get(name)
        process = instance.processes.get(uuid) if instance is not None else None
        text = "runs there, and the queue does not say that we should run it"
        since_s = process.since_s if process is not None else NEVER
        yield Suspect(kind="stray", text=text, since_s=since_s, instance=name, container=uuid)


def _rejected(state: State, now: float, wall: Wall) -> Iterator[Suspect]:
    for uuid, reason in state.queue.rejected.items():
        yield Suspect(kind="bad record", text=f"its record cannot be understood: {reason}", container=uuid)


Look = Callable[[State, float, Wall], Iterator[Suspect]]
LOOKS: Sequence[Look] = (
    _unkillable, _stuck_destroys, _leftovers, _silent, _unsure_creates, _slow_boots, _condemned, _forgotten_holds, _strays,
    _rejected,
)  # fmt: skip


def _boot_failures(boots: Outcomes) -> Iterator[Suspect]:
    for kind, outcomes in sorted(boots.items()):
        failed = sum(outcomes.get(outcome, 0) for outcome in NO_BOOT)
        if failed:
            total = sum(outcomes.values())
            yield Suspect(kind="boot failures", text=f"{kind}: {failed} of {total} boots failed in the last hour")
