"""The overview of our dispatcher as a standing. Pure, and forgiving: what is missing or strange there is left out here.

Ages are those of the dispatcher's own clock, so that a workstation whose clock is wrong shows them right.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from dispatcher.cli.operate.dispatchers import Record
from dispatcher.cli.operate.standing import LEVELS, Cell, Group, Standing, Step
from dispatcher.cli.words import seconds

NOT_KNOWN = "unknown"


def from_overview(place: str, overview: Record, now_s: float) -> Standing:
    """``now_s`` is used only when the dispatcher does not say when it looked."""
    at_s = seconds(overview.get("at"))
    at_s = now_s if at_s is None else at_s
    verdict, fleet, money = (_mapping(overview.get(name)) for name in ("verdict", "fleet", "money"))
    level = str(verdict.get("level") or "")
    groups = [_group(each, at_s) for each in _items(overview.get("waiting"))]
    return Standing(
        level=level if level in LEVELS else NOT_KNOWN,
        cause=str(verdict.get("cause") or ""),
        text=str(verdict.get("text") or "the dispatcher gives no verdict"),
        place=place,
        steps=[_step(each, at_s) for each in _items(_mapping(overview.get("funnel")).get("steps"))],
        groups=groups,
        waiting=sum(group.count for group in groups),
        fleet=[_cell(each, at_s) for each in _items(fleet.get("shown"))],
        counts=_counts(_items(fleet.get("groups"))),
        price=_number(money.get("per_hour")),
        money=_spent(money),
        remarks=list(_remarks(verdict, overview, at_s)),
        decisions=[_decision(each) for each in reversed(_items(overview.get("decisions")))],
    )


def _mapping(found: Any) -> Record:
    return found if isinstance(found, dict) else {}


def _items(found: Any) -> list[Record]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _number(found: Any) -> float:
    return found if isinstance(found, int | float) else 0.0


def _count(found: Any) -> int:
    return found if isinstance(found, int) else 0


def _age_s(text: Any, at_s: float) -> float | None:
    since_s = seconds(text)
    return None if since_s is None else max(0.0, at_s - since_s)


def _step(row: Record, at_s: float) -> Step:
    return Step(name=str(row.get("step")), count=_count(row.get("count")), oldest_s=_age_s(row.get("oldest_since"), at_s))


def _group(row: Record, at_s: float) -> Group:
    return Group(text=str(row.get("text")), count=_count(row.get("count")), oldest_s=_age_s(row.get("oldest_since"), at_s))


def _cell(row: Record, at_s: float) -> Cell:
    return Cell(
        name=str(row.get("name") or ""), state=str(row.get("state") or ""), behaviour=str(row.get("behavior") or ""),
        type=str(row.get("type") or ""), runs=_count(row.get("container_count")), price=_number(row.get("price")),
        age_s=_age_s(row.get("since"), at_s), note=str(row.get("problem") or _mapping(row.get("choice")).get("reason") or ""),
    )  # fmt: skip


def _counts(rows: Iterable[Record]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for row in rows:
        counted[str(row.get("state"))] += _count(row.get("count"))
    return dict(counted)


def _spent(money: Record) -> str:
    """What the day has cost so far, and how far it may go."""
    if "today" not in money:
        return ""
    limit = money.get("limit_per_day")
    most = f" of {_number(limit):g}" if limit else ""
    return f"{_number(money['today']):g}{most} today, {_number(money.get('idle_share')):.0%} idle"


def _remarks(verdict: Record, overview: Record, at_s: float) -> Iterable[str]:
    """What else limits, what is held off, and what should not be there."""
    yield from (str(each.get("text")) for each in _items(verdict.get("factors")) if each.get("text") != verdict.get("text"))
    for each in _items(_mapping(overview.get("cloud")).get("holdoffs")):
        yield f"{each.get('call')} of {each.get('about')} is held off until {_clock(each.get('until'))}: {each.get('reason')}"
    for each in _items(overview.get("suspects")):
        who = " ".join(str(each[key]) for key in ("instance", "container") if each.get(key))
        yield f"{each.get('kind')}{': ' + who if who else ''}: {each.get('text')}"


def _decision(row: Record) -> str:
    return f"{_clock(row.get('at'))} {row.get('text')}"


def _clock(text: Any) -> str:
    """The time of day where the operator sits."""
    at_s = seconds(text)
    return "--:--:--" if at_s is None else time.strftime("%H:%M:%S", time.localtime(at_s))
