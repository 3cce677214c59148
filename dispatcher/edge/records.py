"""Records of the queue service, understood: JSON in, a ContainerRecord out, or the reason why not.

Nothing is guessed: a value of the wrong type sets its record aside and stops no other. What a record may leave out has the
default that the queue service itself would fill in.
"""

from __future__ import annotations

import re

from dispatcher.core.model import ContainerRecord, ContainerState, GPURequest, Requirements

POLL_FIELDS = ("uuid", "state", "priority", "locked_by_uuid", "lock_count", "created_at", "gateway_address")
READ_FIELDS = (*POLL_FIELDS, "runtime_constraints", "scheduling_parameters", "container_image", "mounts")
WRITE_FIELDS = POLL_FIELDS

_UUID = re.compile(r"[0-9a-z]{5}-dz642-[0-9a-z]{15}")
_LARGEST = (1 << 63) - 1  # what the service's database can hold
_LONGEST_TEXT = 1024
_LONGEST_SHOWN = 60


class NotUnderstood(ValueError):
    """Why a record makes no sense."""


def is_container_uuid(text: object) -> bool:
    """The uuid ends up in URLs and remote commands: nothing but the exact form passes."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def parse_record(item: object) -> ContainerRecord:
    """Raises NotUnderstood. Works on list items, on whole records and on the five fields that lock and unlock answer.

    ``requirements`` is None when the answer held no ``runtime_constraints`` or no ``mounts``: it was not asked for them.
    """
    record = _Fields(item, "the record")
    uuid = record.text("uuid")
    if not is_container_uuid(uuid):
        raise NotUnderstood(f"uuid is not that of a container: {_shown(uuid)}")
    asked_in_full = record.has("runtime_constraints") and record.has("mounts")
    return ContainerRecord(
        uuid=uuid,
        state=_state(record),
        priority=_priority(record),
        locked_by_uuid=record.text("locked_by_uuid") or None,
        lock_count=record.count("lock_count") if record.has("lock_count") else None,
        created_at=record.text("created_at"),
        gateway_address=record.text("gateway_address"),
        requirements=_requirements(record) if asked_in_full else None,
    )


def _state(record: _Fields) -> ContainerState:
    text = record.text("state")
    try:
        return ContainerState(text)
    except ValueError as error:
        raise NotUnderstood(f"state is none that we know: {_shown(text)}") from error


def _priority(record: _Fields) -> int:
    """No default: taken for 0 it would stop a running container."""
    if not record.has("priority"):
        raise NotUnderstood("priority is missing")
    return record.count("priority")


def _requirements(record: _Fields) -> Requirements:
    wants = record.object("runtime_constraints")
    scheduling = record.object("scheduling_parameters")
    return Requirements(
        vcpus=wants.count("vcpus"),
        ram_bytes=wants.count("ram"),
        keep_cache_ram_bytes=wants.count("keep_cache_ram"),
        keep_cache_disk_bytes=wants.count("keep_cache_disk"),
        tmp_bytes=_tmp_bytes(record.object("mounts")),
        container_image=record.text("container_image"),
        gpu=_gpu(wants),
        preemptible=scheduling.flag("preemptible"),
        supervisor=scheduling.flag("supervisor"),
        max_run_time_s=scheduling.count("max_run_time"),
        partitions=scheduling.texts("partitions"),
        image_id=wants.text("image_id"),
    )


def _tmp_bytes(mounts: _Fields) -> int:
    """Only scratch space counts for the choice of an instance type; what else is mounted is the runner's business."""
    every = [mounts.object(path) for path in mounts.names()]
    return sum(mount.count("capacity") for mount in every if mount.text("kind") == "tmp")


def _gpu(wants: _Fields) -> GPURequest:
    """The older way to ask (``cuda``) counts where the newer one asks for nothing."""
    request = wants.object("gpu")
    gpu = GPURequest(
        stack=request.text("stack"),
        driver_version=request.text("driver_version"),
        hardware_target=request.texts("hardware_target"),
        device_count=request.count("device_count"),
        vram_bytes=request.count("vram"),
    )
    return gpu if gpu.device_count else _cuda(wants.object("cuda")) or gpu


def _cuda(request: _Fields) -> GPURequest | None:
    device_count, capability = request.count("device_count"), request.text("hardware_capability")
    if not device_count:
        return None
    return GPURequest(
        stack="cuda",
        driver_version=request.text("driver_version"),
        hardware_target=(capability,) if capability else (),
        device_count=device_count,
    )


# ----------------------------------------------------------------------------------------------------------------- values


class _Fields:
    """The fields of one JSON object, read by type. Missing and null are the same to the queue service: the empty value."""

    __slots__ = ("_values", "_where")

    def __init__(self, value: object, name: str, where: str = "") -> None:
        if not isinstance(value, dict):
            raise NotUnderstood(f"{name} is not an object: {_shown(value)}")
        self._values = value
        self._where = where

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def names(self) -> list[str]:
        return list(self._values)

    def object(self, key: str) -> _Fields:
        value, name = self._values.get(key), self._name(key)
        return _Fields({} if value is None else value, name, f"{name}.")

    def count(self, key: str) -> int:
        """A whole number from 0 to what 64 bits hold. A float is refused: it cannot hold a priority exactly."""
        value = self._values.get(key, 0)
        if value is None:
            return 0
        if type(value) is not int:
            raise NotUnderstood(f"{self._name(key)} is not a whole number: {_shown(value)}")
        if not 0 <= value <= _LARGEST:
            raise NotUnderstood(f"{self._name(key)} is not between 0 and 2^63-1: {_shown(value)}")
        return value

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if value is not None and not isinstance(value, bool):
            raise NotUnderstood(f"{self._name(key)} is neither true nor false: {_shown(value)}")
        return bool(value)

    def text(self, key: str) -> str:
        value = self._values.get(key)
        return "" if value is None else _text(value, self._name(key))

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key)
        if value is not None and not isinstance(value, list):
            raise NotUnderstood(f"{self._name(key)} is not a list: {_shown(value)}")
        return tuple(_text(each, f"{self._name(key)}[{index}]") for index, each in enumerate(value or ()))

    def _name(self, key: str) -> str:
        return self._where + (key if key.isidentifier() else _shown(key))


def _text(value: object, name: str) -> str:
    """Printable and short, because it is shown in logs and pages."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise NotUnderstood(f"{name} is not a printable text: {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """A short form of any value that is safe in a log line."""
    text = "null" if value is None else ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
