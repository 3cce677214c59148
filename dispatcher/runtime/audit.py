"""The audit log: who did what to which instance or container, when, why, from where, and what came of it.

Each act of a person is one line of the logger ``dispatcher.audit``: always in the ordinary log, and in a file of its own when the
site names one. What the dispatcher itself decides that destroys something stands in that file alone: the ordinary log tells it
in words. Lines are bounded, hold no control characters, and pass the filter that blanks secrets as all others do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dispatcher.core.messages import Action, Event, ExpireIdleBehavior
from dispatcher.core.model import IdleBehavior, State
from dispatcher.core.notes import one_line
from dispatcher.runtime.audit_file import DECISION, AuditFile

NAME = "dispatcher.audit"
NAME_OF_DECISIONS = "dispatcher.audit.decisions"
LISTED = 100  # of the containers on an instance, so many are named
FIELD_CHARACTERS = 500

log = logging.getLogger(NAME)
_decisions = logging.getLogger(NAME_OF_DECISIONS)
_decisions.propagate = False
_decisions.addHandler(logging.NullHandler())


def record(act: Mapping[str, object]) -> None:
    """Write one act or decision down. Also when the ordinary log is quieter: these loggers have a level of their own."""
    fields = {name: _bounded(value) for name, value in act.items()}
    if act.get("Kind") == DECISION:
        _decisions.info(DECISION, extra=fields)
    else:
        log.info("operator act", extra=fields)


def files() -> list[AuditFile]:
    """The file that the site named, if it did."""
    return [handler for handler in log.handlers if isinstance(handler, AuditFile)]


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
