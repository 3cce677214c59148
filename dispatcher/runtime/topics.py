"""Which loops a change concerns. Most probes say nothing new: they touch no topic, so that a thousand quiet instances wake
nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.core.messages import (
    Action,
    ContainersRead,
    ContainerWritten,
    Event,
    ForgetContainer,
    OutputFetched,
    Probed,
    ProbeInstance,
)
from dispatcher.core.model import Instance, QueueWrite, State
from dispatcher.core.transitions.room import UNANSWERED_PROBES

TOPICS = ("containers", "queue", "instances", "cloud", "control", "room")
FEW = 10  # so many records are news of somebody, more are a page of the queue


def touched(before: State, after: State, message: Event | Action) -> Iterator[str]:
    """The topics that differ between two States."""
    if before.containers is not after.containers:
        yield "containers"
    if before.queue is not after.queue:
        yield "queue"
    told = isinstance(message, OutputFetched | ForgetContainer)  # a destroy may have waited for it
    if told or (before.instances is not after.instances and not _says_nothing(before, after, message)):
        yield "instances"
    if before.cloud is not after.cloud and not isinstance(message, Probed):
        yield "cloud"
    if (
        before.leadership is not after.leadership
        or before.settings is not after.settings
        or before.holdoffs is not after.holdoffs
    ):
        yield "control"
    if _may_start_somebody(before, after, message):
        yield "room"


def _may_start_somebody(before: State, after: State, message: Event | Action) -> bool:
    """The few things after which somebody may be locked or started at once: a lock that succeeded, an instance that came up or
    on which something ended, and a newcomer."""
    if isinstance(message, ContainerWritten):
        return message.write is QueueWrite.LOCK
    if isinstance(message, ContainersRead):
        return len(message.records) <= FEW
    if not isinstance(message, Probed):
        return False
    old, new = before.instances.get(message.name), after.instances.get(message.name)
    return old is not None and new is not None and (old.phase is not new.phase or old.bound is not new.bound)


def _says_nothing(before: State, after: State, message: Event | Action) -> bool:
    if isinstance(message, ProbeInstance):
        return True
    if not isinstance(message, Probed):
        return False
    old, new = before.instances.get(message.name), after.instances.get(message.name)
    quiet_until_s = after.leadership.quiet_until_s
    return old is not None and new is not None and _material(old, quiet_until_s) == _material(new, quiet_until_s)


def _material(instance: Instance, quiet_until_s: float) -> tuple[object, ...]:
    """Everything about an instance that a probe may change and a planner decides by."""
    answers = instance.probe_failures < UNANSWERED_PROBES
    first_failure = instance.probe_failures in (1, 2, 3)
    listed = instance.processes_listed_s > max(instance.start_changed_s, quiet_until_s)
    return (
        instance.phase, id(instance.processes), id(instance.bound), instance.condemned, answers,
        first_failure, listed, instance.silent_s > 0, bool(instance.misses),
    )  # fmt: skip
