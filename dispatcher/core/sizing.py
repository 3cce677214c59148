"""Which instance types can run a container, cheapest first, and how much room an instance has left.

A need is what the container asks for plus the overheads of running it; a type is taken as it is configured. Nothing here
depends on the instances that exist: only on one container's requirements and the settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dispatcher.core import images
from dispatcher.core.model import Fit, GPURequest, Requirements, Resources
from dispatcher.core.settings import Settings
from dispatcher.core.values import replace
from dispatcher.driver import GPU, InstanceType

MIB = 1 << 20
UNSATISFIABLE = "constraints not satisfiable by any configured instance type"

USABLE_RAM_PERCENT = 95  # clouds sell a little less memory than the size says
LOCAL_KEEP_RAM_BYTES = 220 * MIB  # a storage server beside the container, before its buffers
LOCAL_KEEP_BUFFER_BYTES = 64 * MIB  # each buffer, to which a tenth is added
IMAGE_BLOCK_BYTES = 64 * MIB
IMAGE_MANIFEST_HEAD = 80  # length of an image's manifest without its block locators ...
IMAGE_MANIFEST_LOCATOR = 42  # ... and of each locator
GPU_STACKS = ("cuda", "rocm")
SHOWN_CHARACTERS = 80  # text that a user wrote is cut to this in a message


# ------------------------------------------------------------------------------------------------------------------- need


def need(requirements: Requirements, settings: Settings) -> Resources:
    """What the container takes of an instance, overheads included. Bytes; ``vram`` per device."""
    return Resources(
        vcpus=requirements.vcpus,
        ram=_ram(requirements, settings),
        scratch=_scratch(requirements),
        gpus=requirements.gpu.device_count,
        vram=requirements.gpu.vram_bytes,
    )


def _ram(requirements: Requirements, settings: Settings) -> int:
    wanted = requirements.ram_bytes + requirements.keep_cache_ram_bytes + settings.reserve_extra_ram_bytes
    buffers = settings.local_keep_blob_buffers_per_vcpu * requirements.vcpus
    if settings.local_keep_blob_buffers_per_vcpu > 0:
        wanted += LOCAL_KEEP_RAM_BYTES + buffers * LOCAL_KEEP_BUFFER_BYTES * 11 // 10
    return wanted * 100 // USABLE_RAM_PERCENT


def _scratch(requirements: Requirements) -> int:
    """The image lies on the disk twice: as fetched and unpacked. The unpacked copy shares the room of the tmp mounts."""
    image = image_bytes(requirements.container_image)
    return max(requirements.tmp_bytes, image) + image + requirements.keep_cache_disk_bytes


def image_bytes(portable_data_hash: str) -> int:
    """The size of an image, guessed from the length of its manifest, which is the number after the ``+``; 0 = no idea."""
    digest, _, length = portable_data_hash.partition("+")
    if len(digest) != 32 or not set(digest) <= set("0123456789abcdef"):
        return 0
    if not (length.isascii() and length.isdigit() and len(length) <= 18):
        return 0
    blocks = (int(length) - IMAGE_MANIFEST_HEAD) // IMAGE_MANIFEST_LOCATOR
    return max(0, blocks) * IMAGE_BLOCK_BYTES


# -------------------------------------------------------------------------------------------------------------------- fit


def fit(requirements: Requirements, settings: Settings, memo: dict[Requirements, Fit] | None = None) -> Fit:
    """The types that can run it, in the order of preference. ``memo`` saves work for equal containers under one Settings."""
    if memo is None:
        return _fit(requirements, settings)
    known = memo.get(requirements)
    if known is None:
        known = memo[requirements] = _fit(requirements, settings)
    return known


_MEMO_KINDS = 10_000  # kinds of containers that are remembered, then all are forgotten
_newest: tuple[Settings | None, dict[Requirements, Fit]] = (None, {})


def memo(settings: Settings) -> dict[Requirements, Fit]:
    """The memo of these very Settings. It may be thrown away at any time, and is when others come."""
    global _newest
    if _newest[0] is not settings or len(_newest[1]) > _MEMO_KINDS:
        _newest = (settings, {})
    return _newest[1]


def _fit(requirements: Requirements, settings: Settings) -> Fit:
    chosen = images.choose(requirements.image_id, settings)
    if chosen.problem:
        return Fit(need=need(requirements, settings), types=(), problem=chosen.problem)
    found = _fit_types(requirements, settings)
    return replace(found, image=chosen.image, warning=chosen.warning) if chosen.image or chosen.warning else found


def _fit_types(requirements: Requirements, settings: Settings) -> Fit:
    needed = need(requirements, settings)
    suited = [offer for offer in settings.instance_types.values() if _suits(offer, requirements, needed)]
    if not suited:
        return Fit(need=needed, types=(), problem=f"{UNSATISFIABLE}: {_why_none(requirements, needed, settings)}")
    highest = min(offer.price for offer in suited) * max(1.0, settings.maximum_price_factor)
    chosen = sorted((offer for offer in suited if offer.price <= highest), key=_preference)
    return Fit(need=needed, types=tuple(offer.name for offer in chosen))


def _preference(offer: InstanceType) -> tuple[float, int, int, int, str]:
    """Cheap before dear; at one price the bigger one, whose spare room is a present."""
    return (offer.price, -offer.ram_bytes, -offer.vcpus, -offer.scratch_bytes, offer.name)


def _why_none(requirements: Requirements, needed: Resources, settings: Settings) -> str:
    gpu = requirements.gpu
    if not settings.instance_types:
        return "none is configured (InstanceTypes is empty)"
    if gpu.device_count > 0 and gpu.stack not in GPU_STACKS:
        return f"GPU stack {_shown(gpu.stack)} is not known, only {' and '.join(GPU_STACKS)} are"
    nearest = min(settings.instance_types.values(), key=lambda offer: _distance(offer, requirements, needed))
    return f"nearest is {nearest.name}, but {'; '.join(shortfalls(nearest, requirements, needed))}"


def _distance(offer: InstanceType, requirements: Requirements, needed: Resources) -> tuple[int, float, float, str]:
    """How far a type is from suiting: rules broken, then the share of the quantities that it lacks."""
    pairs = zip(_amounts(room(offer)), _amounts(needed), strict=True)
    lacking = sum(1 - max(0, has) / wanted for has, wanted in pairs if wanted > has)
    return (sum(_broken(offer, requirements, needed)), lacking, offer.price, offer.name)


def shortfalls(offer: InstanceType, requirements: Requirements, needed: Resources) -> Iterator[str]:
    broken = _broken(offer, requirements, needed)
    return (rule.words(offer, requirements, needed) for rule, wrong in zip(RULES, broken, strict=True) if wrong)


# ------------------------------------------------------------------------------------------------------------------ rules


class Rule(NamedTuple):
    """One way in which a type can be wrong for a container, and how to say it."""

    broken: Callable[[InstanceType, Requirements, Resources], bool]
    words: Callable[[InstanceType, Requirements, Resources], str]


def _suits(offer: InstanceType, requirements: Requirements, needed: Resources) -> bool:
    # A plain loop: this runs for every new kind of container and every type.
    for rule in RULES:  # noqa: SIM110
        if rule.broken(offer, requirements, needed):
            return False
    return True


def _broken(offer: InstanceType, requirements: Requirements, needed: Resources) -> Iterator[bool]:
    return (rule.broken(offer, requirements, needed) for rule in RULES)


def _driver_too_old(offer: InstanceType, requirements: Requirements, needed: Resources) -> bool:
    if needed.gpus <= 0:
        return False
    return not _at_least(offer.gpu.driver_version, requirements.gpu.driver_version)


def _target_mismatch(offer: InstanceType, requirements: Requirements, needed: Resources) -> bool:
    return needed.gpus > 0 and not _target_suits(offer.gpu, requirements.gpu)


def _target_suits(offered: GPU, wanted: GPURequest) -> bool:
    """One cuda target is a lowest capability; several, and any of rocm, are an exact choice."""
    if wanted.stack == "cuda" and len(wanted.hardware_target) == 1:
        return _at_least(offered.hardware_target, wanted.hardware_target[0])
    return wanted.stack in GPU_STACKS and offered.hardware_target in wanted.hardware_target


def _at_least(offered: str, wanted: str) -> bool:
    has, lowest = _version(offered), _version(wanted)
    return has is not None and lowest is not None and has >= lowest


def _version(text: str) -> float | None:
    """A version as the decimal fraction that the queue service compares (so 12.10 is less than 12.9); None = not one."""
    if not text or not set(text) <= set("0123456789."):
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


RULES: tuple[Rule, ...] = (
    Rule(
        lambda offer, requirements, needed: offer.vcpus < needed.vcpus,
        lambda offer, requirements, needed: f"it has {offer.vcpus} of {needed.vcpus} VCPUs",
    ),
    Rule(
        lambda offer, requirements, needed: offer.ram_bytes < needed.ram,
        lambda offer, requirements, needed: f"it has {_size(offer.ram_bytes)} of {_size(needed.ram)} RAM (overheads included)",
    ),
    Rule(
        lambda offer, requirements, needed: offer.scratch_bytes < needed.scratch,
        lambda offer, requirements, needed: (
            f"it has {_size(offer.scratch_bytes)} of {_size(needed.scratch)} scratch (image included)"
        ),
    ),
    Rule(
        lambda offer, requirements, needed: offer.preemptible != requirements.preemptible,
        lambda offer, requirements, needed: f"it is {'' if offer.preemptible else 'not '}preemptible",
    ),
    Rule(
        lambda offer, requirements, needed: offer.gpu.stack != requirements.gpu.stack,
        lambda offer, requirements, needed: (
            f"its GPU stack is {_shown(offer.gpu.stack)} and not {_shown(requirements.gpu.stack)}"
        ),
    ),
    Rule(
        lambda offer, requirements, needed: offer.gpu.device_count < needed.gpus,
        lambda offer, requirements, needed: f"it has {offer.gpu.device_count} of {needed.gpus} GPUs",
    ),
    Rule(
        lambda offer, requirements, needed: offer.gpu.vram_bytes < needed.vram,
        lambda offer, requirements, needed: f"its GPUs have {_size(offer.gpu.vram_bytes)} of {_size(needed.vram)} memory each",
    ),
    Rule(
        _driver_too_old,
        lambda offer, requirements, needed: (
            f"its GPU driver {_shown(offer.gpu.driver_version)} is not at least {_shown(requirements.gpu.driver_version)}"
        ),
    ),
    Rule(
        _target_mismatch,
        lambda offer, requirements, needed: (
            f"its GPU target {_shown(offer.gpu.hardware_target)} is not for {_shown(' '.join(requirements.gpu.hardware_target))}"
        ),
    ),
)


def _size(amount: int) -> str:
    return f"{amount / (1 << 30):.2f} GiB" if abs(amount) >= 1 << 30 else f"{amount / MIB:.1f} MiB"


def _shown(text: str) -> str:
    return repr(text[:SHOWN_CHARACTERS]) if text else "none"


# ---------------------------------------------------------------------------------------------------------------- packing


def room(offer: InstanceType) -> Resources:
    """What an empty instance of this type has."""
    return Resources(
        vcpus=offer.vcpus,
        ram=offer.ram_bytes,
        scratch=offer.scratch_bytes,
        gpus=offer.gpu.device_count,
        vram=offer.gpu.vram_bytes,
    )


def take(free: Resources, taken: Resources) -> Resources:
    """What is left of ``free``. GPU memory is per device: the next device has as much as the last one."""
    return Resources(
        vcpus=free.vcpus - taken.vcpus,
        ram=free.ram - taken.ram,
        scratch=free.scratch - taken.scratch,
        gpus=free.gpus - taken.gpus,
        vram=free.vram,
    )


def accommodates(free: Resources, needed: Resources, zero_vcpu_running: bool) -> bool:
    """Whether a container fits into what is left. Those that ask for no VCPU share one, which nobody else may take."""
    shared = 1 if zero_vcpu_running else 0
    return (
        free.vcpus > 0
        and free.vcpus - shared >= needed.vcpus
        and free.ram >= needed.ram
        and free.scratch >= needed.scratch
        and free.gpus >= needed.gpus
        and free.vram >= needed.vram
    )


def _amounts(r: Resources) -> tuple[int, ...]:
    return (r.vcpus, r.ram, r.scratch, r.gpus, r.vram)
