"""One instance, or one container, with all that is known about it and its story: the values of its page.

Pure. What is gone from State has a page for as long as its story is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from dispatcher.core.model import Container, Instance, Phase, State
from dispatcher.core.why import Why
from dispatcher.frozen import dataclass
from dispatcher.web import fleet, funnel
from dispatcher.web.overview import decision
from dispatcher.web.shown import Wall, plain, size
from dispatcher.web.view import Entry

Row = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What somebody asks about, as far as anything is known. ``status``: where a container is or what it waits for."""

    state: State
    now_s: float
    wall: Wall
    entries: Sequence[Entry] = field(default=())
    status: str = ""
    why: Why | None = None

    @property
    def story(self) -> list[dict[str, Any]]:
        return [decision(each, self.wall) for each in reversed(self.entries)]


def find_instance(state: State, wanted: str) -> Instance | None:
    """By our name for it, or by the cloud's."""
    found = state.instances.get(wanted)
    return found or next((each for each in state.instances.all() if each.id is not None and each.id == wanted), None)


def instance(told: Told, found: Instance | None, name: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": plain(name), "at": told.wall.utc(told.now_s), "known": found is not None, "story": told.story}
    if found is None:
        return made
    return {
        **made,
        **fleet.cell(told.state, found, told.wall),
        "facts": [{"name": key, "value": plain(value)} for key, value in _instance_facts(told, found) if value],
        "times": [{"name": key, "at": at} for key, at in _instance_times(told, found) if at],
        "processes": [
            {
                "container": uuid, "phase": process.phase.value, "since": told.wall.utc(process.since_s),
                "note": plain(process.kill.reason if process.kill is not None else process.note),
            }
            for uuid, process in sorted(found.processes.items(), key=lambda item: item[1].since_s)
        ],
        "places": sorted(uuid for uuid in found.bound if uuid not in found.processes),
    }  # fmt: skip


def _instance_facts(told: Told, found: Instance) -> list[Row]:
    kind = told.state.instance_type(found.type)
    return [
        ("Cloud's id", found.id or ""),
        ("Type", found.type),
        ("Provider's type", found.provider_type or (kind.provider_type if kind is not None else "")),
        ("Size", f"{kind.vcpus} vCPUs, {size(kind.ram_bytes)} RAM" if kind is not None else "no longer configured"),
        ("Preemptible", "yes" if kind is not None and kind.preemptible else ""),
        ("Address", found.address or ""),
        ("Image", found.image),
        ("Failed probes", f"{found.probe_failures} in a row: {found.probe_error}" if found.probe_failures else ""),
        ("Destroy", _destroy(found)),
        ("Tags", ", ".join(f"{name}={value}" for name, value in sorted(found.tags.items()) if "secret" not in name.lower())),
    ]


def _destroy(found: Instance) -> str:
    destroy = found.destroy
    return f"{destroy.reason} ({destroy.cause.value}), tried {destroy.attempts} times" if destroy is not None else ""


def _instance_times(told: Told, found: Instance) -> list[Row]:
    utc = told.wall.utc
    return [
        ("Appeared", utc(found.appeared_s)),
        (f"{found.phase.value.capitalize()} since", utc(found.phase_since_s) if found.phase is not Phase.READY else ""),
        ("Ready since", utc(found.ready_s)),
        ("Last had work", utc(found.busy_s)),
        ("Last listed by the cloud", utc(found.listed_s)),
        ("Last answered a probe", utc(fleet.answered_s(found))),
        ("Destroy decided", utc(found.destroy.since_s) if found.destroy is not None else ""),
        ("The choice ends", found.operator.until),
    ]


# -------------------------------------------------------------------------------------------------------------- containers


def container(told: Told, found: Container | None, uuid: str) -> dict[str, Any]:
    made: dict[str, Any] = {"uuid": plain(uuid), "at": told.wall.utc(told.now_s), "known": found is not None, "story": told.story}
    if found is None:
        return made
    standing = funnel.step(told.state, found)
    return {
        **made,
        "state": found.state.value,
        "priority": str(found.priority),
        "step": standing[0] if standing is not None else "",
        "since": told.wall.utc(standing[1]) if standing is not None else "",
        "status": plain(told.status, 2000),
        "instance": plain(found.instance),
        "last_error": plain(found.last_error, 2000),
        "facts": [{"name": key, "value": plain(value)} for key, value in _container_facts(found) if value],
        "times": [{"name": key, "at": at} for key, at in _container_times(told, found) if at],
        "why": why(told.why, told.wall) if told.why is not None else None,
    }  # fmt: skip


def _container_facts(found: Container) -> list[Row]:
    needs, fit = found.requirements, found.fit
    rows: list[Row] = [("Priority", str(found.priority)), ("Locked so often", str(found.lock_count))]
    if needs is not None:
        gpus = f"{needs.gpu.device_count} × {needs.gpu.stack}" if needs.gpu.device_count else ""
        rows += [
            ("Asks for", f"{needs.vcpus} vCPUs, {size(needs.ram_bytes)} RAM, {size(needs.tmp_bytes)} scratch"),
            ("GPUs", gpus),
            ("Preemptible", "yes" if needs.preemptible else ""),
            ("Supervisor", "yes" if needs.supervisor else ""),
            ("Longest run", f"{needs.max_run_time_s} s" if needs.max_run_time_s else ""),
            ("Image", needs.image_id),
        ]
    if fit is not None:
        rows += [("Instance types that fit", ", ".join(fit.types)), ("Warning", fit.warning), ("Problem", fit.problem)]
    return [*rows, ("Kill", found.kill_requested), ("Lost", found.lost), ("The last write", found.write_error)]


def _container_times(told: Told, found: Container) -> list[Row]:
    utc = told.wall.utc
    return [
        ("Created", found.created_at),
        ("First seen", utc(found.first_seen_s)),
        ("Could run since", utc(found.runnable_since_s)),
        ("Next attempt not before", utc(found.not_before_s)),
        ("Ended", utc(found.exited_s)),
    ]


def why(found: Why, wall: Wall) -> dict[str, Any]:
    """What it waits for, which types were considered, and what would have to change."""
    return {
        "waits_for": plain(found.waits_for, 2000),
        "cause": found.cause,
        "since": wall.utc(found.since_s),
        "considered": [
            {"type": plain(each.type), "price": each.price, "why_not": plain(each.why_not)} for each in found.considered
        ],
        "changes": [
            {"text": plain(each.text), "kind": each.kind, "key": plain(each.key), "value": each.value} for each in found.changes
        ],
    }  # fmt: skip
