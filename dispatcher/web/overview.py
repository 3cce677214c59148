"""Everything that the operator's page shows, as plain values: the one source of the page and of ``/overview.json``.

Pure: what was seen goes in, dictionaries and lists come out. Times are RFC 3339 to the second, priorities are text, and texts
from outside hold no control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from dispatcher.core.model import State
from dispatcher.core.verdict import Factor, Verdict
from dispatcher.core.why import Group
from dispatcher.frozen import dataclass
from dispatcher.web import cloud_health
from dispatcher.web.fleet import fleet
from dispatcher.web.funnel import funnel
from dispatcher.web.shown import Wall, plain
from dispatcher.web.suspects import Outcomes, suspects
from dispatcher.web.view import Entry, Setting

DECISIONS = 50  # that the page shows
LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that an overview is made of. ``calls``: operation → outcome → count; ``boots``: instance type → outcome → count."""

    state: State
    now_s: float
    wall: Wall
    verdict: Verdict
    groups: Sequence[Group] = ()
    entries: Sequence[Entry] = ()
    settings: Sequence[Setting] = ()
    calls: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    boots: Outcomes = field(default_factory=dict)
    version: str = ""


def overview(seen: Seen) -> dict[str, Any]:
    state, now_s, wall = seen.state, seen.now_s, seen.wall
    return {
        "version": seen.version,
        "at": wall.utc(now_s),
        "cluster": plain(state.settings.cluster_id),
        "verdict": verdict(seen.verdict, wall),
        "funnel": funnel(state, wall),
        "waiting": [group(each, wall) for each in seen.groups],
        "fleet": fleet(state, wall),
        "cloud": cloud_health.cloud(state, now_s, seen.calls, wall),
        "money": cloud_health.money(state, now_s),
        "suspects": suspects(state, now_s, seen.boots, wall),
        "decisions": [decision(each, wall) for each in reversed(seen.entries)],
        "settings": settings(seen.settings),
    }


def verdict(found: Verdict, wall: Wall) -> dict[str, Any]:
    """The one sentence, and what else limits, worst first."""
    return {
        "level": found.level,
        "cause": found.cause,
        "text": plain(found.text),
        "factors": [factor(each, wall) for each in found.factors],
    }


def factor(found: Factor, wall: Wall) -> dict[str, Any]:
    return {
        "cause": found.cause, "text": plain(found.text), "level": found.level, "containers": found.containers,
        "since": wall.utc(found.since_s),
    }  # fmt: skip


def group(found: Group, wall: Wall) -> dict[str, Any]:
    """Waiting containers with one reason; the first few by name."""
    return {
        "cause": found.cause, "text": plain(found.text), "count": found.count, "oldest_since": wall.utc(found.oldest_s),
        "containers": [plain(uuid) for uuid in found.uuids],
    }  # fmt: skip


def decision(entry: Entry, wall: Wall) -> dict[str, Any]:
    """One sentence of the story."""
    return {
        "number": entry.number,
        "at": wall.utc(entry.at_s),
        "level": LEVELS.get(entry.level, "info"),
        "kind": str(entry.kind),
        "text": plain(entry.text, 1000),
        "container": plain(entry.container),
        "instance": plain(entry.instance),
    }


def settings(in_force: Iterable[Setting]) -> list[dict[str, str]]:
    """As ``check-config`` prints them: a secret is only ``set`` or ``not set``."""
    return [{"key": each.path, "value": plain(each.shown), "origin": plain(each.origin)} for each in in_force]
