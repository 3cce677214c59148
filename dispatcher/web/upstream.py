"""Containers and instances in the JSON form of the Arvados dispatcher, so that its clients keep working.

Pure: a snapshot goes in, plain values come out. Keys, zero values and order are those of the newest upstream; lists are never
null. Besides ``instance_types`` stands ``instance_type``, which the published documentation still names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from dispatcher.core.model import Container, ContainerState, Instance, Phase, ProcessPhase, Requirements, State
from dispatcher.core.why import Why
from dispatcher.driver import InstanceType

ZERO_TIME = "0001-01-01T00:00:00Z"

Utc = Callable[[float], str]
"""Turns a monotonic time into RFC 3339 text."""

WORKER_STATES = {
    Phase.CREATING: "booting",
    Phase.BOOTING: "booting",
    Phase.UNKNOWN: "unknown",
    Phase.SHUTDOWN: "shutdown",
}

# What a record holds that the dispatcher neither asks for nor keeps.
UNSELECTED: Mapping[str, Any] = {
    "etag": "",
    "modified_by_user_uuid": "",
    "modified_at": ZERO_TIME,
    "command": None,
    "cwd": "",
    "environment": None,
    "mounts": None,
    "output": "",
    "output_path": "",
    "output_glob": None,
    "exit_code": 0,
    "runtime_status": None,
    "started_at": None,
    "finished_at": None,
    "interactive_session_started": False,
    "output_storage_classes": None,
    "runtime_user_uuid": "",
    "runtime_auth_scopes": None,
    "runtime_token": "",
    "auth_uuid": "",
    "log": "",
    "cost": 0,
    "subrequests_cost": 0,
    "service": False,
    "published_ports": None,
}


def containers(state: State, statuses: Mapping[str, str], utc: Utc) -> list[dict[str, Any]]:
    """Every container that is known, in the order in which they are served."""
    ordered = sorted(state.containers.values(), key=_served_before)
    return [entry(state, container, statuses.get(container.uuid, ""), utc) for container in ordered]


def _served_before(container: Container) -> tuple[bool, bool, int, float, str]:
    """Who has a place comes first, then who is locked, then by priority, then by age."""
    waits = container.instance is None
    queued = container.state is ContainerState.QUEUED or container.ahead
    return (waits, queued, -container.priority, container.first_seen_s, container.uuid)


def entry(state: State, container: Container, status: str, utc: Utc) -> dict[str, Any]:
    """One container with what is known about its placing."""
    types = _types(state, container)
    return {
        "container": record(container, state.queue.token_uuid if container.ours else ""),
        "instance_resources": resources(container),
        "instance_types": types,
        "instance_type": types[0] if types else None,
        "first_seen_at": when(container.first_seen_s, utc),
        "scheduling_status": status,
        "last_error": container.last_error,
    }


def _types(state: State, container: Container) -> list[dict[str, Any]]:
    found = (state.instance_type(name) for name in (container.fit.types if container.fit else ()))
    return [instance_type(kind) for kind in found if kind is not None]


def explained(found: Why | None, utc: Utc) -> dict[str, Any] | None:
    """Why it waits, as an object beside upstream's keys; None when it waits no more. Of a time, the value is a date."""
    if found is None:
        return None
    return {
        "waits_for": found.waits_for,
        "cause": found.cause,
        "since": when(found.since_s, utc),
        "considered": [{"type": each.type, "price": each.price, "why_not": each.why_not} for each in found.considered],
        "changes": [
            {
                "text": each.text, "kind": each.kind, "key": each.key,
                "value": when(each.value, utc) if each.kind == "time" and isinstance(each.value, float) else each.value,
            }
            for each in found.changes
        ],
    }  # fmt: skip


def record(container: Container, locked_by_uuid: str = "") -> dict[str, Any]:
    """The container as the API shows it, with zero values for what is not asked for."""
    needs = container.requirements
    return {
        **UNSELECTED,
        "uuid": container.uuid,
        "created_at": container.created_at or ZERO_TIME,
        "container_image": needs.container_image if needs else "",
        "locked_by_uuid": locked_by_uuid,
        "lock_count": container.lock_count,
        "priority": container.priority,
        "runtime_constraints": runtime_constraints(needs or Requirements(vcpus=0, ram_bytes=0)),
        "state": container.state.value,
        "scheduling_parameters": scheduling_parameters(needs or Requirements(vcpus=0, ram_bytes=0)),
        "gateway_address": container.gateway_address,
    }


def runtime_constraints(needs: Requirements) -> dict[str, Any]:
    return {
        "API": False,
        "ram": needs.ram_bytes,
        "vcpus": needs.vcpus,
        "keep_cache_ram": needs.keep_cache_ram_bytes,
        "keep_cache_disk": needs.keep_cache_disk_bytes,
        **({"image_id": needs.image_id} if needs.image_id else {}),
        "gpu": {
            "stack": needs.gpu.stack,
            "driver_version": needs.gpu.driver_version,
            "hardware_target": list(needs.gpu.hardware_target),
            "device_count": needs.gpu.device_count,
            "vram": needs.gpu.vram_bytes,
        },
    }


def scheduling_parameters(needs: Requirements) -> dict[str, Any]:
    return {
        "partitions": list(needs.partitions),
        "preemptible": needs.preemptible,
        "max_run_time": needs.max_run_time_s,
        "supervisor": needs.supervisor,
    }


def resources(container: Container) -> dict[str, int]:
    """What the container takes of an instance, overheads included."""
    need = container.fit.need if container.fit else None
    return {
        "VCPUs": need.vcpus if need else 0,
        "RAM": need.ram if need else 0,
        "Scratch": need.scratch if need else 0,
        "GPUs": need.gpus if need else 0,
        "GPUVRAM": need.vram if need else 0,
    }


def instance_type(kind: InstanceType) -> dict[str, Any]:
    """A row of ``InstanceTypes``; its name is the key there and no field."""
    return {
        "ProviderType": kind.provider_type,
        "VCPUs": kind.vcpus,
        "RAM": kind.ram_bytes,
        "IncludedScratch": kind.included_scratch_bytes,
        "AddedScratch": kind.added_scratch_bytes,
        "Price": kind.price,
        "Preemptible": kind.preemptible,
        "GPU": {
            "Stack": kind.gpu.stack,
            "DriverVersion": kind.gpu.driver_version,
            "HardwareTarget": kind.gpu.hardware_target,
            "DeviceCount": kind.gpu.device_count,
            "VRAM": kind.gpu.vram_bytes,
        },
    }


def instances(state: State, utc: Utc) -> list[dict[str, Any]]:
    """Every instance, by id; those that the cloud has not accepted yet have none and come first."""
    ordered = sorted(state.instances.values(), key=lambda instance: (instance.id or "", instance.name))
    return [instance_view(state, instance, utc) for instance in ordered]


def instance_view(state: State, instance: Instance, utc: Utc) -> dict[str, Any]:
    """Upstream's keys, then ours: our name for it, who chose its behaviour, and what we hold against it."""
    kind, note = state.instance_type(instance.type), instance.operator
    return {
        "instance": instance.id or "",
        "address": instance.address or "",
        "price": kind.price if kind else instance.price,  # a type that a reload removed goes on costing
        "arvados_instance_type": instance.type,
        "provider_instance_type": instance.provider_type or (kind.provider_type if kind else ""),
        "last_container_uuid": instance.last_container,
        "last_busy": when(instance.busy_s, utc),
        "running_container_uuids": running(instance),
        "worker_state": worker_state(instance),
        "idle_behavior": instance.idle_behavior.value,
        "instance_name": instance.name,
        "idle_behavior_actor": note.actor,
        "idle_behavior_reason": note.reason,
        "idle_behavior_since": note.at,
        "idle_behavior_until": note.until,
        "condemned": instance.condemned,
        "kill_requested": instance.kill_requested,
    }


def running(instance: Instance) -> list[str]:
    return sorted(uuid for uuid, process in instance.processes.items() if process.phase is not ProcessPhase.ENDED)


def worker_state(instance: Instance) -> str:
    """Idle and running are not stored: whoever is ready is one of them."""
    if instance.phase is Phase.READY:
        return "running" if running(instance) else "idle"
    return WORKER_STATES[instance.phase]


def when(at_s: float, utc: Utc) -> str:
    return utc(at_s) if math.isfinite(at_s) else ZERO_TIME
