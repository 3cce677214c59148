"""Whose instance is asked for first, while nobody knows how much the cloud will give.

Creates of several types that are on their way together race for the same quota. So whoever is served earlier has his type asked
for first: the first create of a type is answered before others follow, and after a refusal every one is.
"""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.core.model import HoldoffKind, State

FIRST_ANSWER_S = 2.0  # a first answer that takes longer holds up nobody: so much is what order may cost
COUNTS_S = 600.0  # an acceptance, and a refusal, tell something for so long


def waits_for(state: State, type_name: str, ahead: Mapping[str, float], now: float) -> str:
    """The type whose answer has to be there before this one is asked for; empty when it may be asked for now. ``ahead``: types
    on their way for those who were served before → since when."""
    for other, since_s in ahead.items():
        if other == type_name:
            continue
        if _in_doubt(state, type_name, other, now) or (_unproved(state, other, now) and now < since_s + FIRST_ANSWER_S):
            return other
    return ""


def _unproved(state: State, type_name: str, now: float) -> bool:
    accepted_s = state.cloud.accepted.get(type_name)
    return accepted_s is None or accepted_s < now - COUNTS_S


def _in_doubt(state: State, one: str, other: str, now: float) -> bool:
    """Whether the cloud has refused, not long ago, what these two types share."""
    for held in state.holdoffs.values():
        if held.call == "create" and held.kind is HoldoffKind.QUOTA and now < held.until_s + COUNTS_S:
            if held.key == "*":
                return True
            groups = state.settings.quota_groups
            if held.key == f"group:{groups.get(one)}" == f"group:{groups.get(other)}":
                return True
    return False


def due_s(state: State, now: float) -> list[float]:
    """When waiting for first answers is over."""
    return [
        i.create_changed_s + FIRST_ANSWER_S
        for i in state.instances.all()
        if i.creating and i.create_changed_s + FIRST_ANSWER_S > now
    ]
