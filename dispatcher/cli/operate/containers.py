"""Containers as a management API tells of them, ours or Arvados's: chosen and laid out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dispatcher.cli.operate.dispatchers import Record
from dispatcher.cli.operate.instances import ago, name_of, runs
from dispatcher.cli.operate.table import Column
from dispatcher.cli.terminal import CYAN, GREEN, YELLOW
from dispatcher.cli.words import seconds

STATES = ("Queued", "Locked", "Running")
STATE_COLOURS = {"Running": GREEN, "Locked": CYAN, "Queued": YELLOW}


def record_of(entry: Record) -> Record:
    """The container's own record in an entry."""
    found = entry.get("container")
    return found if isinstance(found, dict) else {}


def uuid_of(entry: Record) -> str:
    return str(record_of(entry).get("uuid") or "")


def state_of(entry: Record) -> str:
    return str(record_of(entry).get("state") or "")


def where(instances: Iterable[Record]) -> dict[str, str]:
    """Container uuid → the instance that it runs on."""
    return {uuid: name_of(instance) for instance in instances for uuid in runs(instance)}


def waits(entry: Record, places: Mapping[str, str]) -> bool:
    """Wanted, and on no instance yet."""
    return state_of(entry) in ("Queued", "Locked") and uuid_of(entry) not in places and _priority(entry) > 0


def _priority(entry: Record) -> int:
    found = record_of(entry).get("priority")
    return found if isinstance(found, int) else 0


def columns(places: Mapping[str, str], now_s: float) -> tuple[Column, ...]:
    return (
        Column(title="CONTAINER", of=uuid_of),
        Column(title="STATE", of=state_of, colour=lambda text: STATE_COLOURS.get(text, "")),
        Column(title="PRIORITY", of=_priority, right=True, drop=1),
        Column(title="SEEN", of=lambda entry: ago(entry.get("first_seen_at"), now_s), right=True, drop=2),
        Column(title="INSTANCE", of=lambda entry: places.get(uuid_of(entry), "-"), drop=4),
        Column(title="STATUS", of=lambda entry: entry.get("scheduling_status") or "-", cut=True, drop=3),
    )


def facts(entry: Record, instance: str, now_s: float) -> Sequence[tuple[str, object]]:
    """One container, with all that is known."""
    record = record_of(entry)
    needs, placing = record.get("runtime_constraints") or {}, record.get("scheduling_parameters") or {}
    types = entry.get("instance_types") or []
    return (
        ("container", uuid_of(entry)),
        ("state", state_of(entry)),
        ("priority", _priority(entry)),
        ("first seen", _seen(entry, now_s)),
        ("created", record.get("created_at") if seconds(record.get("created_at")) is not None else ""),
        ("locks", record.get("lock_count")),
        ("runs on", instance),
        ("status", entry.get("scheduling_status")),
        ("last error", entry.get("last_error")),
        ("image", record.get("container_image")),
        ("needs", _needs(needs)),
        ("partitions", ", ".join(placing.get("partitions") or ())),
        ("preemptible", "may be" if placing.get("preemptible") else ""),
        ("supervisor", "yes" if placing.get("supervisor") else ""),
        ("types", ", ".join(_typed(each) for each in types)),
    )


def _seen(entry: Record, now_s: float) -> str:
    told = ago(entry.get("first_seen_at"), now_s)
    return "" if told == "-" else f"{entry.get('first_seen_at')} ({told} ago)"


def _needs(needs: Mapping[str, object]) -> str:
    ram = needs.get("ram")
    if not needs.get("vcpus"):
        return ""  # its record was not read yet, or is not told
    told = [f"{needs.get('vcpus', 0)} VCPUs", f"{ram / 2**30:.3g} GiB" if isinstance(ram, int) else ""]
    gpu = needs.get("gpu")
    if isinstance(gpu, dict) and gpu.get("device_count"):
        told.append(f"{gpu['device_count']} GPUs {gpu.get('stack', '')}".strip())
    return ", ".join(each for each in told if each)


def _typed(kind: Mapping[str, object]) -> str:
    return f"{kind.get('ProviderType')} ({kind.get('Price')} per hour)"
