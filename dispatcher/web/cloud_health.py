"""The cloud and the money: how fast we may call, who says so, what is held off until when, and what it all costs.

Pure: read from a snapshot and from the counts of calls; nothing here decides what may be called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dispatcher.core import pacing, spending
from dispatcher.core.history import IDLE, KEPT, by_standing
from dispatcher.core.model import State
from dispatcher.web.shown import Wall, plain

CALLS = {"create": "Create", "list": "List", "destroy": "Destroy", "set_tags": "SetTags", "poll_create": "PollCreate"}

Counts = Mapping[str, Mapping[str, int]]
"""Operation → outcome → how many calls ended so, since the start."""


def cloud(state: State, now: float, counts: Counts, wall: Wall) -> dict[str, Any]:
    """``calls``: one row for each kind of call; ``holdoffs`` that are in force, those that end last first."""
    queue = state.queue
    return {
        "calls": [_call(state, name, counts, now) for name in CALLS],
        "holdoffs": holdoffs(state, now, wall),
        "listed": wall.utc(state.cloud.listed_s),
        "error": plain(state.cloud.error),
        "alarm": plain(state.cloud.alarm),
        "queue": {
            "polled": wall.utc(queue.polled_s), "error": plain(queue.error), "locks_at_once": queue.lock_window,
            "overloaded": wall.utc(queue.overloaded_s),
        },
    }  # fmt: skip


def _call(state: State, name: str, counts: Counts, now: float) -> dict[str, Any]:
    rate, source = pacing.in_force(state, name)
    report = state.reports.get(name)
    ended = counts.get(CALLS[name], {})
    return {
        "call": name,
        "ended_ok": ended.get("ok", 0),
        "failed": {outcome: count for outcome, count in sorted(ended.items()) if count and outcome != "ok"},
        "per_second": rate,
        "source": source,
        "left": report.left if report is not None and now < report.at_s + pacing.REPORT_COUNTS_S else None,
        "limit": report.limit if report is not None else None,
        "usage": report.usage if report is not None else None,
    }


def holdoffs(state: State, now: float, wall: Wall) -> list[dict[str, Any]]:
    held = [each for each in state.holdoffs.values() if each.until_s > now]
    return [
        {
            "call": each.call, "about": "everything" if each.key == "*" else plain(each.key), "kind": each.kind.value,
            "reason": plain(each.reason), "since": wall.utc(each.since_s), "until": wall.utc(each.until_s),
            "strikes": each.strikes,
        }
        for each in sorted(held, key=lambda each: (-each.until_s, each.call, each.key))
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------- money


def money(state: State, now: float) -> dict[str, Any]:
    """Per hour, and since 0:00 UTC. ``expected_today``: when it goes on like this until the day ends."""
    per_hour = spending.per_hour(state)
    today, began_s = spending.today(state, now), spending.day_began_s(state, now)
    left_h = max(0.0, began_s + spending.DAY_S - now) / spending.HOUR_S if math.isfinite(began_s) else 0.0
    prices = {name: price for name, (_, price) in by_standing(state).items()}
    idle, kept = prices.get(IDLE, 0.0), prices.get(KEPT, 0.0)
    return {
        "per_hour": round(per_hour, 6),
        "today": round(today, 2),
        "expected_today": round(today + per_hour * left_h, 1),
        "limit_per_hour": state.settings.max_price_per_hour or None,
        "limit_per_day": state.settings.max_price_per_day or None,
        "idle_per_hour": round(idle, 6),
        "kept_per_hour": round(kept, 6),
        "idle_share": round(idle / per_hour, 3) if per_hour else 0.0,
    }
