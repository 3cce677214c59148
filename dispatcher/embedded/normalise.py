"""What is filled in for keys that a client left out: constraints, scheduling parameters, and a container made from a request.

All functions are pure, take what was given and return a new value; keys come out sorted.
"""

from __future__ import annotations

from typing import Any

from .resources import CONTAINERS, Record
from .values import image_hash

GIBIBYTE = 1 << 30
KEEP_CACHE_DISK_SMALLEST, KEEP_CACHE_DISK_GREATEST = 2 * GIBIBYTE, 32 * GIBIBYTE
NO_GPU = {"device_count": 0, "driver_version": "", "hardware_target": [], "stack": "", "vram": 0}
CONSTRAINTS: Record = {"API": False, "gpu": NO_GPU, "keep_cache_disk": 0, "keep_cache_ram": 0, "ram": 0, "vcpus": 0}
SCHEDULING: Record = {"max_run_time": 0, "partitions": [], "preemptible": False, "supervisor": False}
LEGACY_CUDA: Record = {"device_count": 0, "driver_version": "", "hardware_capability": ""}
MOUNT: Record = {
    "capacity": 0,
    "content": None,
    "device_type": "",
    "exclude_from_output": False,
    "kind": "",
    "path": "",
    "portable_data_hash": "",
    "uuid": "",
    "writable": False,
}

_COPIED = (
    "command",
    "cwd",
    "environment",
    "output_path",
    "output_glob",
    "output_storage_classes",
    "output_properties",
    "secret_mounts",
    "runtime_token",
    "service",
    "published_ports",
)


def filled(defaults: Record, given: Record) -> Record:
    """The given keys over the defaults, sorted, with null meaning the default."""
    merged = {**defaults, **{key: value for key, value in given.items() if value is not None}}
    return dict(sorted(merged.items()))


def constraints(given: Record) -> Record:
    """``runtime_constraints`` with every key; the old ``cuda`` form is translated to ``gpu`` and kept beside it."""
    result = filled(CONSTRAINTS, given)
    if isinstance(cuda := result.get("cuda"), dict) and cuda:
        result["cuda"] = filled(LEGACY_CUDA, cuda)
        result["gpu"] = _gpu_of_cuda(result["cuda"]) if result["cuda"]["device_count"] else NO_GPU
    gpu = result["gpu"]
    result["gpu"] = filled(NO_GPU, gpu) if isinstance(gpu, dict) else gpu
    return dict(sorted(result.items()))


def _gpu_of_cuda(cuda: Record) -> Record:
    return {
        "device_count": cuda["device_count"],
        "driver_version": cuda["driver_version"],
        "hardware_target": [cuda["hardware_capability"]],
        "stack": "cuda",
        "vram": 0,
    }


def scheduling(given: Record) -> Record:
    return filled(SCHEDULING, given)


def read(record: Record) -> Record:
    """A stored container or request as it is read: with the defaults of nested keys, also in rows that lack them."""
    result = dict(record)
    if "runtime_constraints" in result:
        result["runtime_constraints"] = constraints(result["runtime_constraints"])
    if "scheduling_parameters" in result:
        result["scheduling_parameters"] = scheduling(result["scheduling_parameters"])
    return result


def mount(given: Any) -> Any:
    """A mount as a request shows it: with every key."""
    return filled(MOUNT, given) if isinstance(given, dict) else given


def container_constraints(given: Record) -> Record:
    """A request that asks for no cache gets a disk cache of its memory's size, within bounds."""
    result = constraints(given)
    if not result["keep_cache_ram"] and not result["keep_cache_disk"]:
        result["keep_cache_disk"] = min(max(result["ram"], KEEP_CACHE_DISK_SMALLEST), KEEP_CACHE_DISK_GREATEST)
    return result


def container_of(request: Record) -> Record:
    """The container that a committed request asks for: without identity, times and priority."""
    container = CONTAINERS.blank()
    container.update({name: request[name] for name in _COPIED})
    container["container_image"] = image_hash(request["container_image"] or "")
    container["mounts"] = {path: dict(sorted(each.items())) for path, each in request["mounts"].items()}
    container["runtime_constraints"] = container_constraints(request["runtime_constraints"])
    container["scheduling_parameters"] = scheduling(request["scheduling_parameters"])
    return container


def is_supervisor(command: list[Any]) -> bool:
    """A workflow runner does nothing but start other containers."""
    return bool(command) and isinstance(command[0], str) and command[0].rsplit("/", 1)[-1] == "arvados-cwl-runner"
