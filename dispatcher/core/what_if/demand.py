"""If the container were another one: wanted, smaller, or of another kind; or if there were a type for it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dispatcher.core import images, sizing
from dispatcher.core.model import Container, Phase, Requirements, State
from dispatcher.core.transitions.room import accepts_work, room
from dispatcher.core.values import replace
from dispatcher.core.what_if import Change, Trial, Value, asking, refitted, with_container
from dispatcher.driver import GPU, InstanceType

GIB = 1 << 30
SMALLER = 2  # types, or instances, of which it is said how small it would have to be
FIELDS = {"vcpus": "vcpus", "ram": "ram_bytes", "tmp": "tmp_bytes", "preemptible": "preemptible"}
"""Key of a change → field of Requirements."""


def wanted(state: State, container: Container, now: float) -> Iterator[Trial]:
    """Somebody has to want it to run."""
    if container.priority < 1:
        change = Change(text="its priority is raised above 0", kind="container", key="priority", value=1)
        raised = replace(container, priority=1, runnable_since_s=now)
        yield Trial(change=change, state=with_container(state, raised))


def smaller(state: State, container: Container, now: float) -> Iterator[Trial]:
    """It fits no configured type: how small it would have to be, for the types that are nearest."""
    asks = container.requirements
    if asks is None or container.fit is None or not container.fit.problem:
        return
    if images.choose(asks.image_id, state.settings).problem:
        yield from _allowed(state, container, asks)
        return
    fixes = [(offer, fix) for offer in state.settings.instance_types.values() if (fix := _fix(state, asks, offer)) is not None]
    fixes.sort(key=lambda pair: (len(pair[1]), pair[0].price, pair[0].name))
    seen: list[dict[str, Value]] = []
    for offer, fix in fixes:
        if fix and fix not in seen and len(seen) < SMALLER:
            seen.append(fix)
            yield _asked(state, container, asks, fix, f"to fit {offer.name}")
    yield _new_type(state, container, asks)


def _allowed(state: State, container: Container, asks: Requirements) -> Iterator[Trial]:
    allowed = (*state.settings.allowed_images, asks.image_id)
    text = f"AllowedImages permits {asks.image_id[:80]!r}"
    change = Change(text=text, kind="settings", key="AllowedImages", value=asks.image_id)
    yield Trial(change=change, state=refitted(state, container, allowed_images=allowed))


def _fix(state: State, asks: Requirements, offer: InstanceType) -> dict[str, Value] | None:
    """What it would have to ask for to fit this type; None when that is of another kind."""
    fix: dict[str, Value] = {}
    if offer.preemptible != asks.preemptible:
        fix["preemptible"] = offer.preemptible
    vcpus = min(asks.vcpus, offer.vcpus)
    if vcpus < asks.vcpus:
        fix["vcpus"] = vcpus
    fits = replace(asks, vcpus=vcpus, preemptible=offer.preemptible)
    if sizing.need(fits, state.settings).ram > offer.ram_bytes:
        fix["ram"] = most_ram(state, fits, offer.ram_bytes)
    if sizing.need(fits, state.settings).scratch > offer.scratch_bytes:
        fix["tmp"] = most_tmp(state, fits, offer.scratch_bytes)
    if any(isinstance(amount, int) and amount < 0 for amount in fix.values()):
        return None
    good = sizing.fit(_with(asks, fix), replace(state.settings, instance_types={offer.name: offer}))
    return None if good.problem else fix


def most_ram(state: State, asks: Requirements, has: int) -> int:
    """The most RAM that it may ask for, so that it takes no more than this with all overheads; below 0: none."""
    overhead = sizing.need(replace(asks, ram_bytes=0), state.settings).ram * sizing.USABLE_RAM_PERCENT // 100
    most = has * sizing.USABLE_RAM_PERCENT // 100 - overhead - 2
    return most if most > 0 else -1


def most_tmp(state: State, asks: Requirements, has: int) -> int:
    image = sizing.image_bytes(asks.container_image)
    most = has - image - asks.keep_cache_disk_bytes
    return most if most >= image else -1


def _with(asks: Requirements, fix: dict[str, Value]) -> Requirements:
    changes: dict[str, object] = {FIELDS[key]: value for key, value in fix.items()}
    return replace(asks, **changes)  # type: ignore[arg-type]


def _asked(state: State, container: Container, asks: Requirements, fix: dict[str, Value], why: str) -> Trial:
    words = " and ".join(_word(key, value) for key, value in fix.items())
    key, value = next(iter(fix.items()))
    if len(fix) > 1:
        key, value = "+".join(fix), {name: float(amount) for name, amount in fix.items() if not isinstance(amount, str | dict)}  # type: ignore[arg-type]
    change = Change(text=f"it asks for {words}, {why}", kind="container", key=key, value=value)
    return Trial(change=change, state=asking(state, container, _with(asks, fix)))


def _word(key: str, value: Value) -> str:
    if key == "preemptible":
        return "a preemptible instance" if value else "no preemptible instance"
    if key == "vcpus":
        return f"vcpus ≤ {value}"
    return f"{key} ≤ {math.floor(float(value) / GIB * 100) / 100:g} GiB"  # type: ignore[arg-type]


def _new_type(state: State, container: Container, asks: Requirements) -> Trial:
    """A type that is just large enough."""
    need = sizing.need(asks, state.settings)
    gpu = GPU(
        stack=asks.gpu.stack, driver_version=asks.gpu.driver_version, device_count=need.gpus, vram_bytes=need.vram,
        hardware_target=next(iter(asks.gpu.hardware_target), ""),
    )  # fmt: skip
    offer = InstanceType(
        name="one-that-fits", provider_type="one-that-fits", vcpus=max(1, need.vcpus), ram_bytes=need.ram,
        included_scratch_bytes=need.scratch, preemptible=asks.preemptible, gpu=gpu, price=_dearest(state),
    )  # fmt: skip
    least: dict[str, float] = {"VCPUs": offer.vcpus, "RAM": offer.ram_bytes, "IncludedScratch": offer.included_scratch_bytes}
    least["Price"] = offer.price
    least |= {"GPU.DeviceCount": need.gpus, "GPU.VRAM": need.vram} if need.gpus else {}
    kind = " preemptible" if asks.preemptible else ""
    gpus = f", {need.gpus} GPUs of {asks.gpu.stack}" if need.gpus else ""
    text = (
        f"InstanceTypes has a{kind} type with at least {offer.vcpus} VCPUs, {need.ram / GIB:.2f} GiB RAM and "
        f"{need.scratch / GIB:.2f} GiB scratch{gpus}"
    )
    changed = refitted(state, container, instance_types={**state.settings.instance_types, offer.name: offer})
    return Trial(change=Change(text=text, kind="settings", key="InstanceTypes", value=least), state=changed)


def _dearest(state: State) -> float:
    """What is large costs at least as much as the dearest that there is."""
    return max((offer.price for offer in state.settings.instance_types.values()), default=0.0)


def beside(state: State, container: Container, now: float) -> Iterator[Trial]:
    """It waits for an instance, and would fit beside others if it were a little smaller."""
    asks, fit = container.requirements, container.fit
    if asks is None or fit is None or fit.problem:
        return
    told = 0
    for instance in sorted(state.instances.all(), key=lambda i: i.name):
        if told >= SMALLER or instance.type not in fit.types or instance.image != fit.image or instance.phase is not Phase.READY:
            continue
        left = room(state, instance) if accepts_work(state, instance, now) is None else None
        if left is None or left.vcpus < 1 or left.ram <= 0:
            continue
        fix: dict[str, Value] = {}
        if left.vcpus < asks.vcpus:
            fix["vcpus"] = left.vcpus
        fits = _with(asks, fix)
        if sizing.need(fits, state.settings).ram > left.ram:
            fix["ram"] = most_ram(state, fits, left.ram)
        if fix and all(not isinstance(amount, int) or amount > 0 for amount in fix.values()):
            told += 1
            yield _asked(state, container, asks, fix, f"to fit on {instance.name} beside what runs there")
