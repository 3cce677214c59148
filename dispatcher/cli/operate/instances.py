"""Instances as a management API tells of them, ours or Arvados's: looked up, chosen, and laid out. Pure.

Arvados's dispatcher knows neither names nor notes of ours, and its release 3.2.1 no list of what runs: that is derived or blank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dispatcher.cli.operate.dispatchers import Found, Record
from dispatcher.cli.operate.ends import NOT_FOUND, USAGE, Ended
from dispatcher.cli.operate.table import Column
from dispatcher.cli.terminal import CYAN, DIM, GREEN, RED, YELLOW
from dispatcher.cli.words import printable, seconds, span
from dispatcher.frozen import dataclass

STATES = ("booting", "unknown", "idle", "running", "shutdown")
BEHAVIOURS = ("run", "drain", "hold")
UPSTREAM = ("instance", "address", "state", "idle-behavior", "config-type", "provider-type", "price", "running-containers")

STATE_COLOURS = {"running": GREEN, "idle": CYAN, "booting": YELLOW, "unknown": YELLOW, "shutdown": DIM}
BEHAVIOUR_COLOURS = {"drain": YELLOW, "hold": RED}


def is_ours(record: Record) -> bool:
    """Whether it comes from a dispatcher that knows names, selectors and previews. Arvados's would do what it was to preview."""
    return "instance_name" in record


def name_of(record: Record) -> str:
    """What it is called: our name of it, else the cloud's id."""
    return str(record.get("instance_name") or record.get("instance") or "")


def runs(record: Record) -> list[str]:
    """The containers that run there."""
    if "running_container_uuids" in record:
        return [str(uuid) for uuid in record["running_container_uuids"] or ()]
    return [str(record.get("last_container_uuid"))] if record.get("worker_state") == "running" else []


def price(record: Record) -> float:
    found = record.get("price")
    return float(found) if isinstance(found, int | float) else 0.0


# ---------------------------------------------------------------------------------------------------------------- choosing


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which instances are meant. Values of one selector are alternatives, different ones all have to match."""

    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    behaviours: tuple[str, ...] = ()
    everything: bool = False

    @property
    def selects(self) -> bool:
        """By what they are, and not by name alone."""
        return bool(self.types or self.states or self.behaviours or self.everything)

    def check(self) -> None:
        """Raises Ended for what means nothing, or may mean more than was thought of."""
        if not all((*self.names, *self.types)):
            raise Ended(USAGE, "a name or type is empty: was a variable not set?")
        if self.everything and (self.names or self.types or self.states or self.behaviours):
            raise Ended(USAGE, "--all is for all of them: leave out the names and selectors, or --all")
        if not self.names and not self.selects:
            raise Ended(USAGE, "which instances? Name them, or select them by --type, --state, --behavior or --all")

    def of(self, found: Iterable[Found]) -> list[Found]:
        """Those that are meant. Raises Ended for names that are nobody's."""
        pool = list(found)
        if self.names:
            named = [each for each in pool if {name_of(each.record), str(each.record.get("instance"))} & set(self.names)]
            known = {word for each in named for word in (name_of(each.record), str(each.record.get("instance")))}
            unknown = [name for name in self.names if name not in known]
            if unknown:
                raise Ended(NOT_FOUND, f"no such instance: {', '.join(unknown)}")
            pool = named
        return [each for each in pool if self._matches(each.record)]

    def _matches(self, record: Record) -> bool:
        """What shuts down is meant only when it is named, or asked for by that state."""
        if record.get("worker_state") == "shutdown" and not self.names and not self.states:
            return False
        return (
            (not self.types or record.get("arvados_instance_type") in self.types)
            and (not self.states or record.get("worker_state") in self.states)
            and (not self.behaviours or record.get("idle_behavior") in self.behaviours)
        )


# ----------------------------------------------------------------------------------------------------------------- showing


def upstream_line(record: Record) -> str:
    """As Arvados's own command prints it: tabs between, a dash for what is blank."""
    cells = (
        record.get("instance"), record.get("address"), record.get("worker_state"), record.get("idle_behavior"),
        record.get("arvados_instance_type"), record.get("provider_instance_type"), f"{price(record):f}", ",".join(runs(record)),
    )  # fmt: skip
    return "\t".join(printable(cell or "-") for cell in cells)


def columns(now_s: float) -> tuple[Column, ...]:
    """Of the table for people."""
    return (
        Column(title="INSTANCE", of=name_of),
        Column(title="STATE", of=lambda r: r.get("worker_state"), colour=lambda text: STATE_COLOURS.get(text, "")),
        Column(title="BEHAVIOR", of=_behaviour, colour=lambda text: BEHAVIOUR_COLOURS.get(text.split(" ")[0], ""), drop=1),
        Column(title="TYPE", of=lambda r: r.get("arvados_instance_type"), drop=2),
        Column(title="PRICE", of=lambda r: f"{price(r):g}", right=True, drop=4),
        Column(title="LAST BUSY", of=lambda r: ago(r.get("last_busy"), now_s), right=True, drop=5),
        Column(title="ADDRESS", of=lambda r: r.get("address") or "-", drop=6),
        Column(title="RUNS", of=lambda r: len(runs(r)), right=True, drop=3),
        Column(title="CONTAINERS", of=lambda r: _some(runs(r)), drop=7),
    )


def _behaviour(record: Record) -> str:
    """With what we hold against it."""
    told = str(record.get("idle_behavior") or "")
    if record.get("kill_requested"):
        return f"{told}, to be killed"
    return f"{told}, condemned" if record.get("condemned") else told


def _some(uuids: Sequence[str]) -> str:
    return " ".join(uuids[:1]) + (f" and {len(uuids) - 1} more" if len(uuids) > 1 else "") or "-"


def ago(text: object, now_s: float) -> str:
    at_s = seconds(text)
    return "-" if at_s is None else span(now_s - at_s)


def facts(record: Record, now_s: float) -> Sequence[tuple[str, object]]:
    """One instance, with all that is known."""
    return (
        ("instance", name_of(record)),
        ("cloud id", record.get("instance") or "none yet"),
        ("type", _typed(record)),
        ("state", record.get("worker_state")),
        ("address", record.get("address")),
        ("price per hour", f"{price(record):g}"),
        ("last busy", _since(record.get("last_busy"), now_s)),
        ("last container", record.get("last_container_uuid")),
        ("behavior", record.get("idle_behavior")),
        ("  chosen by", record.get("idle_behavior_actor")),
        ("  reason", record.get("idle_behavior_reason")),
        ("  since", _since(record.get("idle_behavior_since"), now_s)),
        ("  until", record.get("idle_behavior_until")),
        ("condemned", record.get("condemned")),
        ("kill asked for", record.get("kill_requested")),
        ("runs", ", ".join(runs(record)) or "nothing"),
    )


def _typed(record: Record) -> str:
    ours, theirs = record.get("arvados_instance_type") or "", record.get("provider_instance_type") or ""
    return f"{ours} ({theirs})" if theirs and theirs != ours else str(ours)


def _since(text: object, now_s: float) -> str:
    return f"{text} ({ago(text, now_s)} ago)" if seconds(text) is not None else ""
