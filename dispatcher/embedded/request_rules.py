"""What a container request may say, and what may still change once it is committed.

Pure: every function takes a record (or a part of it) and returns the reasons why not, as plain sentences; none means yes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from . import normalise, priority, rules
from .resources import CONTAINER_REQUESTS, Record
from .values import humanize, inspect, ruby_class

UNCOMMITTED, COMMITTED, FINAL = "Uncommitted", "Committed", "Final"
MOVES: dict[str | None, frozenset[str]] = {
    None: frozenset({UNCOMMITTED, COMMITTED}),
    UNCOMMITTED: frozenset({COMMITTED}),
    COMMITTED: frozenset({FINAL}),
    FINAL: frozenset(),
}

_ALWAYS = frozenset({"owner_uuid", "state", "name", "description", "properties"})
_SERVERS = frozenset(
    {"uuid", "container_uuid", "container_count", "cumulative_cost", "output_uuid", "log_uuid", "requesting_container_uuid"}
)
_BEFORE_COMMIT = frozenset(each.name for each in CONTAINER_REQUESTS) - _SERVERS
WRITABLE: dict[str, frozenset[str]] = {
    UNCOMMITTED: _BEFORE_COMMIT | _ALWAYS,
    COMMITTED: _ALWAYS | {"priority", "container_count_max", "container_uuid"},
    FINAL: _ALWAYS,
}

_CONSTRAINT_KEYS = frozenset({*normalise.CONSTRAINTS, "cuda", "image_id"})
_LONGEST_IMAGE_ID = 256
_MOUNT_COMMON = frozenset({"kind", "exclude_from_output", "writable"})
MOUNT_KINDS: dict[str, frozenset[str]] = {
    "tmp": frozenset({"capacity", "device_type"}),
    "collection": frozenset({"portable_data_hash", "uuid", "path"}),
    "keep": frozenset(),
    "file": frozenset({"path"}),
    "json": frozenset({"content"}),
    "text": frozenset({"content"}),
}
_MOUNT_TYPES: dict[str, tuple[type, str]] = {
    "capacity": (int, "integer"),
    "device_type": (str, "string"),
    "path": (str, "string"),
    "portable_data_hash": (str, "string"),
    "uuid": (str, "string"),
    "writable": (bool, "boolean"),
    "exclude_from_output": (bool, "boolean"),
}
_DRIVER_VERSION = re.compile(r"\s*0*(\.0*)?[1-9].*")


def is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def problems(old_state: str | None, request: Record) -> list[str]:
    """Every reason why a request may not be as it is. ``old_state`` is None for a new one."""
    return [
        *_blank_problems(request),
        *rules.priority_problems(request["priority"], priority.GREATEST),
        *_state_problems(old_state, request),
        *mount_problems("mounts", request["mounts"]),
        *_output_path_problems(request),
        *environment_problems(request["environment"]),
        *_string_array_problems(request),
        *constraint_problems(request["runtime_constraints"], request["state"] == COMMITTED),
        *scheduling_problems(request["scheduling_parameters"]),
        *_secret_problems(request),
        *_count_problems(request),
    ]


def _blank_problems(request: Record) -> list[str]:
    names = ("command", "container_image", "output_path", "cwd")
    return [f"{humanize(name)} can't be blank" for name in names if not request[name]]


def _state_problems(old_state: str | None, request: Record) -> list[str]:
    new_state = request["state"]
    if new_state == old_state or new_state in MOVES[old_state]:
        return []
    return [f"State cannot change from {old_state or ''} to {new_state or ''}"]


def _output_path_problems(request: Record) -> list[str]:
    return [] if request["output_path"] in request["mounts"] else ["Output path must be a mount target"]


def _count_problems(request: Record) -> list[str]:
    reasons = []
    if not is_integer(request["container_count_max"], 1):
        reasons.append("Container count max must be greater than 0")
    if not is_integer(request["output_ttl"], 0):
        reasons.append("Output ttl must be greater than or equal to 0")
    return reasons


def _string_array_problems(request: Record) -> list[str]:
    names = ("command", "output_glob", "output_storage_classes")
    wrong = [(name, each) for name in names for each in request[name] if not isinstance(each, str)]
    return [f"{humanize(name)} must be an array of strings but has entry {ruby_class(each)}" for name, each in wrong]


def environment_problems(environment: Record) -> list[str]:
    wrong = [key for key, value in environment.items() if not isinstance(value, str)]
    return [f"Environment [{key}]: incompatible value type: string required" for key in wrong]


def mount_problems(attribute: str, mounts: Record) -> list[str]:
    return [reason for path, mount in mounts.items() for reason in _one_mount(humanize(attribute), path, mount)]


def _one_mount(label: str, path: str, mount: Any) -> list[str]:
    if not isinstance(mount, dict):
        return [f"{label} [{path}]: incompatible value type: hash required"]
    kind = mount.get("kind")
    if kind not in MOUNT_KINDS:
        return [f"{label} [{path}][kind]: unsupported value {inspect(kind)}"]
    given = {key: value for key, value in mount.items() if value not in (None, "", False)}
    return [reason for key, value in given.items() for reason in _mount_key(f"{label} [{path}][{key}]", kind, key, value)]


def _mount_key(label: str, kind: str, key: str, value: Any) -> list[str]:
    if key not in MOUNT_KINDS[kind] | _MOUNT_COMMON:
        return [f"{label}: parameter is not supported for a {kind} mount"]
    wanted, name = _MOUNT_TYPES.get(key, (object, "any"))
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return []
    return [f"{label}: incompatible value type: {name} required"]


def unknown_collections(mounts: Iterable[Record]) -> list[str]:
    """The collections that are named by uuid. There is no Keep here, so none of them exists."""
    return [str(each["uuid"]) for each in mounts if each.get("kind") == "collection" and each.get("uuid")]


def constraint_problems(given: Record, committed: bool) -> list[str]:
    """``runtime_constraints``: known keys at any time, sensible values once committed."""
    reasons = _unexpected(given, _CONSTRAINT_KEYS)
    if committed:
        known = normalise.constraints({key: value for key, value in given.items() if key in _CONSTRAINT_KEYS})
        reasons += _size_problems(known) + gpu_problems(known["gpu"])
    return [f"Runtime constraints {text}" for text in reasons]


def image_problems(old: Any, new: Any, is_admin: bool) -> list[str]:
    """``image_id``, of ours alone: which image the instance is made with. It is an administrator's to choose; to others the key
    is as unknown as any that the real server does not have."""
    if new == old or new is None:
        return []
    if not is_admin:
        return [f"Runtime constraints {text}" for text in _unexpected({"image_id": new}, frozenset())]
    if isinstance(new, str) and new.isprintable() and 0 < len(new) <= _LONGEST_IMAGE_ID:
        return []
    return [f"Runtime constraints [image_id]={inspect(new)} must be a text of 1 to {_LONGEST_IMAGE_ID} characters"]


def _size_problems(known: Record) -> list[str]:
    reasons = [
        f"[{key}]={inspect(known[key])} must be a positive integer" for key in ("vcpus", "ram") if not is_integer(known[key], 1)
    ]
    reasons += [
        f"[{key}]={inspect(known[key])} must be a positive or zero integer"
        for key in ("keep_cache_ram", "keep_cache_disk")
        if not is_integer(known[key], 0)
    ]
    return reasons + ([] if isinstance(known["API"], bool) else [f"[API]={inspect(known['API'])} must be true or false"])


def _unexpected(given: Record, known: frozenset[str]) -> list[str]:
    extra = sorted(set(given) - known)
    return [f"contains unexpected keys {inspect(extra)}"] if extra else []


def gpu_problems(gpu: Any) -> list[str]:
    if not isinstance(gpu, dict):
        return [f"[gpu]={inspect(gpu)} must be a hash"]
    reasons = [
        f"[gpu.{key}]={inspect(gpu[key])} must be a positive or zero integer"
        for key in ("device_count", "vram")
        if not is_integer(gpu[key], 0)
    ]
    if gpu["stack"] not in ("", "cuda", "rocm"):
        reasons.append(f"[gpu.stack]={inspect(gpu['stack'])} must be one of 'cuda' or 'rocm' or be empty")
    return reasons + (_used_gpu_problems(gpu) if is_integer(gpu["device_count"], 1) else [])


def _used_gpu_problems(gpu: Record) -> list[str]:
    version, targets = gpu["driver_version"], gpu["hardware_target"]
    reasons = []
    if not isinstance(version, str) or not _DRIVER_VERSION.fullmatch(version):
        reasons.append(f"[gpu.driver_version]={inspect(version)} must be a string in format 'X.Y'")
    if not isinstance(targets, list) or not all(isinstance(each, str) for each in targets):
        reasons.append(f"[gpu.hardware_target]={inspect(targets)} must be an array of strings")
    return reasons


def scheduling_problems(given: Record) -> list[str]:
    reasons = _unexpected(given, frozenset(normalise.SCHEDULING))
    partitions = given.get("partitions")
    if partitions is not None and not _is_text_list(partitions):
        reasons.append("partitions must be an array of strings")
    if given.get("max_run_time") is not None and not is_integer(given["max_run_time"], 0):
        reasons.append("max_run_time must be positive integer")
    for key in ("preemptible", "supervisor"):
        if given.get(key) is not None and not isinstance(given[key], bool):
            reasons.append(f"{key} must be true or false")
    return [f"Scheduling parameters {text}" for text in reasons]


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _secret_problems(request: Record) -> list[str]:
    both = sorted(set(request["secret_mounts"]) & set(request["mounts"]))
    return ["Secret mounts conflict with non-secret mounts" for _ in both]


def change_problems(old: Record, new: Record) -> list[str]:
    """The attributes that may not change any more in the state in which the request is, and was."""
    state = new["state"] if old["state"] == new["state"] else old["state"] or new["state"]
    allowed = WRITABLE.get(state, _ALWAYS)
    names = sorted(name for name in new if name not in allowed and new[name] != old.get(name))
    reasons = [rules.refusal(CONTAINER_REQUESTS, name, old.get(name), new[name], new["state"]) for name in names]
    if "container_uuid" in allowed and new["container_uuid"] not in (None, old["container_uuid"]):
        reasons.append("Container uuid can only be updated to nil.")
    if new["priority"] is None and new["state"] == COMMITTED:
        reasons.append("Priority cannot be nil")
    return reasons
