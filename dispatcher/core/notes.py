"""The operator's note: who chose an idle behaviour, why, since when and until when, as it is kept in the tags of a VM.

It stands beside the IdleBehavior tag of every Arvados dispatcher, which stays as it is. A note names the behaviour that it is
about: another dispatcher changes that one tag and leaves ours alone, and then the note counts no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from dispatcher.core.model import IdleBehavior, Instance, OperatorNote

TAG_CHARACTERS = 256  # what every cloud takes

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_TERM = re.compile(rf"(?P<behavior>hold|drain) since (?P<at>{_TIME})(?: until (?P<until>{_TIME}))?", re.ASCII)


def one_line(text: str, most: int = TAG_CHARACTERS) -> str:
    """Bounded, on one line and without control characters: it goes to tags, logs and pages."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


@cache
def tag_names(prefix: str) -> tuple[str, str, str]:
    """The tags of a note: what was chosen from when to when, by whom, and why."""
    return f"{prefix}IdleBehaviorTerm", f"{prefix}IdleBehaviorActor", f"{prefix}IdleBehaviorReason"


def note_tags(instance: Instance, prefix: str) -> dict[str, str]:
    """The note as tags. An instance that works as usual has none: its tags are exactly those of every Arvados dispatcher."""
    note, behavior = instance.operator, instance.idle_behavior
    if behavior is IdleBehavior.RUN or not note.at:
        return {}
    term = f"{behavior.value} since {note.at}" + (f" until {note.until}" if note.until else "")
    found = zip(tag_names(prefix), (term, note.actor, note.reason), strict=True)
    return {name: value for name, value in found if value}


def note_of(tags: Mapping[str, str], prefix: str, behavior: IdleBehavior, until_s: float | None) -> OperatorNote:
    """The note about this behaviour, read back; an empty one when there is none, or when it is about another choice.
    ``until_s``: its end on our clock, None when it has none or a date that no calendar has."""
    term, actor, reason = (tags.get(name, "") for name in tag_names(prefix))
    found = _TERM.fullmatch(term)
    if found is None or found["behavior"] != behavior.value:
        return OperatorNote()
    note = OperatorNote(actor=one_line(actor), reason=one_line(reason), at=found["at"])
    if until_s is None or not found["until"]:
        return note
    return OperatorNote(actor=note.actor, reason=note.reason, at=note.at, until=found["until"], until_s=until_s)


def until_text(tags: Mapping[str, str], prefix: str) -> str:
    """When the choice in these tags ends (UTC, RFC 3339); empty when it has no end."""
    found = _TERM.fullmatch(tags.get(tag_names(prefix)[0], ""))
    return (found["until"] or "") if found is not None else ""
