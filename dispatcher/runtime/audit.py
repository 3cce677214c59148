"""The audit log: who did what to which instance or container, when, why, from where, and what came of it.

Each act is one line of the logger ``dispatcher.audit``: always in the ordinary log, and in a file of its own when the site names
one. Lines are bounded, hold no control characters, and pass the filter that blanks secrets as all others do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dispatcher.core.messages import Action, Event, ExpireIdleBehavior
from dispatcher.core.model import IdleBehavior, State
from dispatcher.core.notes import one_line

NAME = "dispatcher.audit"
LISTED = 100  # of the containers on an instance, so many are named
FIELD_CHARACTERS = 500

log = logging.getLogger(NAME)


def record(act: Mapping[str, object]) -> None:
    """Write one act down. Also when the ordinary log is quieter: this logger has a level of its own."""
    log.info("operator act", extra={name: _bounded(value) for name, value in act.items()})


def _bounded(value: object) -> object:
    if isinstance(value, str):
        return one_line(value, FIELD_CHARACTERS)
    if isinstance(value, list | tuple):
        kept = [_bounded(item) for item in value[:LISTED]]
        return [*kept, f"and {len(value) - LISTED} more"] if len(value) > LISTED else kept
    return value


def expiry(before: State, message: Event | Action) -> dict[str, Any] | None:
    """The act that nobody asked for at this moment: the end of a hold or drain that was chosen for a time."""
    if not isinstance(message, ExpireIdleBehavior):
        return None
    instance = before.instances[message.name]
    note, behavior = instance.operator, instance.idle_behavior
    return {
        "Act": "expire", "Actor": note.actor, "Reason": note.reason, "Until": note.until, "Instance": instance.id or "",
        "InstanceName": instance.name, "InstanceType": instance.type, "State": instance.phase.value,
        "IdleBehavior": behavior.value, "Held": behavior is IdleBehavior.HOLD, "Outcome": "run",
    }  # fmt: skip
