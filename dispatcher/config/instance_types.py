"""InstanceTypes: the menu from which instances are made, one entry per name.

Upstream's rules: a type without ProviderType is called by its own name there, a configured Scratch is ignored, and a price
factor for preemptible instances adds a preemptible sibling of each type that is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from dispatcher.config.keys import Key
from dispatcher.config.problems import Origin, Source
from dispatcher.config.reading import Reader
from dispatcher.config.values import COUNT, FLAG, NUMBER, SIZE, TEXT, Kind, Wrong, one_of, parse_text, show_size
from dispatcher.config.yaml_lines import Entry, Fields, Node
from dispatcher.driver import GPU, InstanceType


def _version(node: Node) -> str:
    text = parse_text(node)
    if re.fullmatch(r"(\d+(\.\d*)?)?", text, re.ASCII):
        return text
    raise Wrong("has to be a number like 12.4, because versions are compared as numbers")


VERSION = Kind(name="number", parse=_version, show=str)
STACK = Kind(name="cuda, rocm or empty", parse=one_of("cuda", "rocm", ""), show=str)


def _property(path: str, kind: Kind, target: str, default: str, meaning: str) -> Key:
    return Key(path=path, kind=kind, target=target, default=default, upstream=default, meaning=meaning, reload=True)


TYPE_KEYS: tuple[Key, ...] = (
    _property("ProviderType", TEXT, "provider_type", '""', "What the cloud calls it; empty: as the entry is named."),
    _property("VCPUs", COUNT, "vcpus", "0", "Virtual processors."),
    _property("RAM", SIZE, "ram_bytes", "0", "Memory."),
    _property("IncludedScratch", SIZE, "included_scratch_bytes", "0", "Scratch space that the machine has."),
    _property("AddedScratch", SIZE, "added_scratch_bytes", "0", "Scratch space that the driver adds."),
    _property("Price", NUMBER, "price", "0", "Per hour, in the site's currency; for a preemptible one the highest bid."),
    _property("Preemptible", FLAG, "preemptible", "false", "Whether the cloud may take it back."),
)
GPU_KEYS: tuple[Key, ...] = (
    _property("Stack", STACK, "stack", '""', "How the accelerators are programmed."),
    _property("DriverVersion", VERSION, "driver_version", '""', "The driver on the image, for example 12.4."),
    _property("HardwareTarget", TEXT, "hardware_target", '""', "The capability (cuda, 9.0) or target (rocm, gfx1100)."),
    _property("DeviceCount", COUNT, "device_count", "0", "Accelerators."),
    _property("VRAM", SIZE, "vram_bytes", "0", "Memory of each."),
)
# Sites that were set up before rocm came still have this form.
CUDA_KEYS: tuple[Key, ...] = (
    _property("DriverVersion", VERSION, "driver_version", '""', "As in GPU."),
    _property("HardwareCapability", TEXT, "hardware_target", '""', "HardwareTarget in GPU."),
    _property("DeviceCount", COUNT, "device_count", "0", "As in GPU."),
)
IGNORED = ("Name", "Scratch")


def read_instance_types(cluster: Reader, preemptible_price_factor: float) -> dict[str, InstanceType]:
    """Every usable type by name. An empty menu is a problem: nothing could ever run."""
    found = cluster.find("InstanceTypes")
    if found is not None and not isinstance(found.node, Fields):
        cluster.wrong("InstanceTypes", found.line, "has to be a mapping of names to properties")
        return {}
    menu = cluster.below("InstanceTypes")
    types = {name: _read_type(menu, name, entry) for name, entry in menu.fields.entries.items()}
    if not types:
        cluster.wrong("InstanceTypes", found.line if found else None, "is empty: no container could run")
    return _with_preemptible(cluster, types, preemptible_price_factor)


def _read_type(menu: Reader, name: str, entry: Entry) -> InstanceType:
    properties = menu.below(name, entry)
    properties.warn_unknown((*_names(TYPE_KEYS), "GPU", "CUDA", *IGNORED), {})
    read = _read_all(properties, TYPE_KEYS)
    made = InstanceType(name=name, gpu=_read_gpu(properties), **{**read, "provider_type": read["provider_type"] or name})
    if not made.vcpus or not made.ram_bytes:
        properties.warn("", entry.line, "lacks VCPUs or RAM, so hardly any container fits")
    menu.show(f"InstanceTypes.{name}", show_type(made), Origin(source=Source.FILE, file=menu.file, line=entry.line))
    return made


def _read_gpu(properties: Reader) -> GPU:
    if properties.find("GPU") is None and properties.find("CUDA") is not None:
        legacy = properties.below("CUDA")
        legacy.warn_unknown(_names(CUDA_KEYS), {})
        return GPU(stack="cuda", **_read_all(legacy, CUDA_KEYS))
    reader = properties.below("GPU")
    reader.warn_unknown(_names(GPU_KEYS), {})
    made = GPU(**_read_all(reader, GPU_KEYS))
    if made.device_count and not made.stack:
        reader.warn("Stack", reader.fields.line, "is missing, so no container can ask for these GPUs: cuda or rocm")
    return made


def _read_all(reader: Reader, keys: Iterable[Key]) -> dict[str, Any]:
    """The values by target; shown as one line per type, not as one per property."""
    quiet = Reader(reader.file, reader.fields, reader.prefix)
    values = {key.target: quiet.read(key) for key in keys}
    reader.problems.extend(quiet.problems)
    return values


def _with_preemptible(cluster: Reader, types: dict[str, InstanceType], factor: float) -> dict[str, InstanceType]:
    if factor <= 0:
        return types
    made = {f"{each.name}.preemptible": _sibling(each, factor) for each in types.values() if not each.preemptible}
    for name, sibling in made.items():
        if name not in types:
            note = f"from {name.removesuffix('.preemptible')} and PreemptiblePriceFactor"
            cluster.show(f"InstanceTypes.{name}", show_type(sibling), Origin(source=Source.DERIVED, note=note))
        elif types[name] != sibling:
            line = cluster.mapping("InstanceTypes").entries[name].line
            cluster.warn(f"InstanceTypes.{name}", line, "is kept, and differs from what PreemptiblePriceFactor would make")
    return {**made, **types}


def _sibling(each: InstanceType, factor: float) -> InstanceType:
    return replace(each, name=f"{each.name}.preemptible", preemptible=True, price=each.price * factor)


def _names(keys: Iterable[Key]) -> tuple[str, ...]:
    return tuple(key.path for key in keys)


def show_type(made: InstanceType) -> str:
    """One line for people."""
    parts: Mapping[str, bool] = {
        made.provider_type: made.provider_type != made.name,
        f"{made.vcpus} VCPUs": True,
        f"{show_size(made.ram_bytes)} RAM": True,
        f"{show_size(made.scratch_bytes)} scratch": bool(made.scratch_bytes),
        f"{made.gpu.device_count} {made.gpu.stack} GPUs": bool(made.gpu.device_count),
        "preemptible": made.preemptible,
        f"{made.price:g} per hour": True,
    }
    return ", ".join(text for text, wanted in parts.items() if wanted)
