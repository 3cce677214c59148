"""Why a container waits, as a value: a stable cause for machines and groups, and a sentence for people.

Causes are short and never change their meaning; what differs from container to container stands in the text and the subject.
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """``subject``: the instance, instance type or quota group that it is about, if any."""

    cause: str
    text: str
    subject: str = ""

    def __bool__(self) -> bool:
        return bool(self.text)


NO_REASON = Reason("", "")

# What ``legal.startable`` answers → cause.
NOT_STARTABLE = {
    "priority 0": "priority-zero",
    "no instance type can run it": "unsatisfiable",
    "its record has not been read yet": "record-unread",
    "its last attempt is being cleared up": "clearing-up",
    "a process of it still runs": "still-runs",
    "the last attempt failed, and the next one waits": "next-attempt",
}

ON_THEIR_WAY = frozenset(
    (
        "creating", "booting", "locking", "starting", "moving", "writing", "preparing", "record-unread", "clearing-up",
        "scheduling", "settling", "last-attempt", "starting-up", "order",
    )
)  # fmt: skip
"""Causes that pass by themselves, within the time that such things take: nothing limits these containers."""


def not_startable(text: str) -> Reason:
    return Reason(NOT_STARTABLE.get(text, "not-startable"), text)
