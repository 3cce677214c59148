"""How everything stands, as one value for ``status`` and ``watch``, whichever dispatcher told it. Pure.

Our own tells it in ``overview.json``; of Arvados's it is put together from its health and its lists, and says less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dispatcher.cli.operate.containers import state_of, uuid_of, waits, where
from dispatcher.cli.operate.dispatchers import Record
from dispatcher.cli.operate.instances import STATES, price, runs
from dispatcher.cli.words import counted, seconds
from dispatcher.frozen import dataclass

OK, WARNING, CRITICAL, UNKNOWN = range(4)

LEVELS: Mapping[str, int] = {"ok": OK, "busy": OK, "limited": WARNING, "degraded": WARNING, "stopped": CRITICAL}
"""Level of the verdict → how a check ends, by the convention of Nagios."""

WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the queue: how many containers are there, and for how long the oldest has been (None: not told)."""

    name: str
    count: int
    oldest_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Containers that wait for one reason."""

    text: str
    count: int
    oldest_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One instance."""

    name: str
    state: str
    behaviour: str = ""
    type: str = ""
    runs: int = 0
    price: float = 0.0
    age_s: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """``level`` is a key of LEVELS. ``place``: which dispatcher told it. ``counts``: state → instances, where ``fleet`` holds
    only some. ``decisions``: the newest last."""

    level: str
    text: str
    cause: str = ""
    place: str = ""
    steps: Sequence[Step] = ()
    groups: Sequence[Group] = ()
    waiting: int = 0
    fleet: Sequence[Cell] = ()
    counts: Mapping[str, int] | None = None
    price: float = 0.0
    money: str = ""
    remarks: Sequence[str] = ()
    decisions: Sequence[str] = ()

    @property
    def exit(self) -> int:
        return LEVELS.get(self.level, UNKNOWN)

    def instances(self) -> dict[str, int]:
        """State → number; those that have none are left out."""
        counted = self.counts if self.counts is not None else Counter(cell.state for cell in self.fleet)
        return {state: counted[state] for state in (*STATES, *counted) if counted.get(state)}


def put_together(place: str, health: Record, instances: Sequence[Record], entries: Sequence[Record], now_s: float) -> Standing:
    """Of a dispatcher that has no overview."""
    warnings = [str(each) for each in health.get("warnings") or ()]
    places = where(instances)
    waiting = [entry for entry in entries if waits(entry, places)]
    level, text = _judged(health, warnings, waiting)
    return Standing(
        level=level, text=text, place=place, remarks=warnings[1:] if level == "degraded" else warnings,
        steps=_steps(entries, places, now_s), groups=_groups(waiting, now_s), waiting=len(waiting),
        fleet=[_cell(each, now_s) for each in instances], price=sum(map(price, instances)),
    )  # fmt: skip


def _judged(health: Record, warnings: Sequence[str], waiting: Sequence[Record]) -> tuple[str, str]:
    if health.get("health") != "OK":
        return "stopped", str(health.get("error") or "it does not say why it is not well")
    if warnings:
        return "degraded", warnings[0]
    return ("busy", f"{counted(len(waiting), 'container')} waiting for a place") if waiting else ("ok", "nothing waits")


def _steps(entries: Iterable[Record], places: Mapping[str, str], now_s: float) -> list[Step]:
    found: dict[str, list[float]] = {"queued": [], "locked": [], "running": []}
    for entry in entries:
        name = state_of(entry).lower()
        found.setdefault("placed" if name != "running" and uuid_of(entry) in places else name, []).append(_age_s(entry, now_s))
    return [Step(name=name, count=len(ages), oldest_s=max(ages, default=None)) for name, ages in found.items() if name]


def _groups(waiting: Iterable[Record], now_s: float) -> list[Group]:
    """Words that differ only in a number are one reason."""
    found: dict[str, list[Record]] = {}
    for entry in waiting:
        text = str(entry.get("scheduling_status") or "not told")
        key = "".join("#" if letter.isdigit() else letter for letter in text)
        found.setdefault(key, []).append(entry)
    groups = [
        Group(text=str(group[0].get("scheduling_status") or "not told"), count=len(group),
              oldest_s=max(_age_s(entry, now_s) for entry in group))
        for group in found.values()
    ]  # fmt: skip
    return sorted(groups, key=lambda group: -group.count)


def _age_s(entry: Record, now_s: float) -> float:
    seen_s = seconds(entry.get("first_seen_at"))
    return 0.0 if seen_s is None else now_s - seen_s


def _cell(record: Record, now_s: float) -> Cell:
    busy_s = seconds(record.get("last_busy"))
    return Cell(
        name=str(record.get("instance_name") or record.get("instance") or ""), state=str(record.get("worker_state") or ""),
        behaviour=str(record.get("idle_behavior") or ""), type=str(record.get("arvados_instance_type") or ""),
        runs=len(runs(record)), price=price(record), age_s=None if busy_s is None else now_s - busy_s,
        note=str(record.get("condemned") or ""),
    )  # fmt: skip


def stopped(place: str, text: str) -> Standing:
    """When nobody answers."""
    return Standing(level="stopped", cause="unreachable", text=text, place=place)
