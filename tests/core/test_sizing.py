"""Sizing: which types can run a container, in which order, and what is left of an instance."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dispatcher.core.model import GPURequest, Requirements, Resources
from dispatcher.core.settings import Settings
from dispatcher.core.sizing import UNSATISFIABLE, accommodates, fit, image_bytes, need, room, take
from dispatcher.driver import GPU, InstanceType

MIB = 1 << 20
GIB = 1 << 30
DIGEST = "0123456789abcdef0123456789abcdef"
BARE = Settings(reserve_extra_ram_bytes=0, local_keep_blob_buffers_per_vcpu=0)


def offer(name: str, vcpus: int = 4, ram: int = 16 * GIB, scratch: int = 100 * GIB, price: float = 1.0, **more) -> InstanceType:
    return InstanceType(
        name=name, provider_type=name, vcpus=vcpus, ram_bytes=ram, included_scratch_bytes=scratch, price=price, **more
    )


def menu(*offers: InstanceType, **more) -> Settings:
    return replace(BARE, instance_types={each.name: each for each in offers}, **more)


def wants(vcpus: int = 1, ram: int = GIB, **more) -> Requirements:
    return Requirements(vcpus=vcpus, ram_bytes=ram, **more)


# ------------------------------------------------------------------------------------------------------------------- need

RAM_NEEDS = [
    # (requirements, reserve, buffers per VCPU, bytes needed)
    (wants(ram=0), 0, 0, 0),
    (wants(ram=95), 0, 0, 100),
    (wants(ram=1), 0, 0, 1),  # 100 // 95: rounded down
    (wants(ram=1900 * MIB), 0, 0, 2000 * MIB),
    (wants(ram=1000 * MIB, keep_cache_ram_bytes=350 * MIB), 550 * MIB, 0, 2000 * MIB),
    (wants(ram=GIB), 550 * MIB, 0, (1024 + 550) * MIB * 100 // 95),
    (wants(vcpus=1, ram=0), 0, 1, (220 * MIB + 73819750) * 100 // 95),  # 64 MiB and a tenth, rounded down
    (wants(vcpus=3, ram=0), 0, 2, (220 * MIB + 442918502) * 100 // 95),
    (wants(vcpus=0, ram=0), 0, 1, 220 * MIB * 100 // 95),
]


@pytest.mark.parametrize(("requirements", "reserve", "buffers", "expected"), RAM_NEEDS)
def test_ram_needed(requirements, reserve, buffers, expected):
    """RAM is the request, its cache, the reserve and the local storage server, over 0.95."""
    settings = Settings(reserve_extra_ram_bytes=reserve, local_keep_blob_buffers_per_vcpu=buffers)
    assert need(requirements, settings).ram == expected


def test_default_overheads():
    """With the default settings a container of one VCPU and 1 GiB takes about 1.96 GiB of an instance."""
    assert need(wants(), Settings()).ram == (GIB + 550 * MIB + 220 * MIB + 73819750) * 100 // 95


IMAGES = [
    ("", 0),
    ("arvados/jobs:latest", 0),
    (f"{DIGEST}+121", 0),
    (f"{DIGEST}+122", 64 * MIB),
    (f"{DIGEST}+163", 64 * MIB),
    (f"{DIGEST}+164", 128 * MIB),
    (f"{DIGEST}+342", 384 * MIB),
    (f"{DIGEST}+0", 0),
    (f"{DIGEST}+", 0),
    (f"{DIGEST}", 0),
    (f"{DIGEST}+342+A1", 0),
    (f"{DIGEST[:-1]}+342", 0),
    (f"{DIGEST[:-1]}g+342", 0),
    (f"{DIGEST}+-42", 0),
    (f"{DIGEST}+٣٤٢", 0),  # digits, but not ours
    (f"{DIGEST}+{'9' * 5000}", 0),
]


@pytest.mark.parametrize(("image", "expected"), IMAGES)
def test_image_size_guessed_from_its_hash(image, expected):
    """The number after the plus sign tells how many blocks an image has; anything else tells nothing."""
    assert image_bytes(image) == expected


SCRATCH_NEEDS = [
    (wants(), 0),
    (wants(tmp_bytes=GIB), GIB),
    (wants(container_image=f"{DIGEST}+342"), 768 * MIB),
    (wants(container_image=f"{DIGEST}+342", tmp_bytes=100 * MIB), 768 * MIB),
    (wants(container_image=f"{DIGEST}+342", tmp_bytes=GIB), GIB + 384 * MIB),
    (wants(container_image=f"{DIGEST}+342", tmp_bytes=GIB, keep_cache_disk_bytes=2 * GIB), 3 * GIB + 384 * MIB),
    (wants(keep_cache_disk_bytes=2 * GIB), 2 * GIB),
]


@pytest.mark.parametrize(("requirements", "expected"), SCRATCH_NEEDS)
def test_scratch_needed(requirements, expected):
    """The image counts twice, and the tmp mounts share the room of its second copy."""
    assert need(requirements, BARE).scratch == expected


# -------------------------------------------------------------------------------------------------------- satisfiable?

SMALL = offer("small", vcpus=2, ram=4 * GIB, scratch=10 * GIB, price=1.0)
LARGE = offer("large", vcpus=8, ram=32 * GIB, scratch=20 * GIB, price=4.0)

UNSATISFIABLES = [
    (wants(vcpus=9), "nearest is large, but it has 8 of 9 VCPUs"),
    (wants(ram=32 * GIB), "nearest is large, but it has 32.00 GiB of 33.68 GiB RAM (overheads included)"),
    (wants(keep_cache_ram_bytes=32 * GIB), "it has 32.00 GiB of 34.74 GiB RAM"),
    (wants(tmp_bytes=21 * GIB), "nearest is large, but it has 20.00 GiB of 21.00 GiB scratch (image included)"),
    (wants(preemptible=True), "it is not preemptible"),
    (wants(gpu=GPURequest(stack="cuda", device_count=1, driver_version="12.0", hardware_target=("8.0",))), "it has 0 of 1 GPUs"),
    (wants(gpu=GPURequest(stack="tpu", device_count=1)), "GPU stack 'tpu' is not known, only cuda and rocm are"),
    (wants(gpu=GPURequest(device_count=1)), "GPU stack none is not known"),
    (wants(vcpus=9, tmp_bytes=21 * GIB), "it has 8 of 9 VCPUs; it has 20.00 GiB of 21.00 GiB scratch"),
]


@pytest.mark.parametrize(("requirements", "words"), UNSATISFIABLES)
def test_unsatisfiable_says_what_is_missing(requirements, words):
    """When no type can run it, the problem is upstream's phrase and what the nearest type lacks."""
    found = fit(requirements, menu(SMALL, LARGE))
    assert found.types == ()
    assert found.problem.startswith(f"{UNSATISFIABLE}: ")
    assert words in found.problem


def test_no_types_configured():
    """Without any instance type every container is unsatisfiable, and the problem says why."""
    assert fit(wants(), menu()).problem == f"{UNSATISFIABLE}: none is configured (InstanceTypes is empty)"


def test_long_texts_of_users_are_cut():
    """What a user wrote cannot blow up a message."""
    problem = fit(wants(gpu=GPURequest(stack="x" * 10_000, device_count=1)), menu(SMALL)).problem
    assert len(problem) < 300


def test_exact_amounts_suffice():
    """A type that has exactly what is needed can run it."""
    needed = need(wants(vcpus=2, ram=GIB, tmp_bytes=GIB), BARE)
    exact = offer("exact", vcpus=needed.vcpus, ram=needed.ram, scratch=needed.scratch)
    assert fit(wants(vcpus=2, ram=GIB, tmp_bytes=GIB), menu(exact)).types == ("exact",)


def test_scratch_of_a_type_is_included_plus_added():
    """Scratch that the cloud adds counts like scratch that the machine has."""
    both = offer("both", scratch=GIB, added_scratch_bytes=GIB)
    assert fit(wants(tmp_bytes=2 * GIB), menu(both)).types == ("both",)


def test_preemptible_types_are_for_preemptible_containers_only():
    """The flag has to agree in both directions."""
    spot = offer("spot", price=0.1, preemptible=True)
    normal = offer("normal", price=1.0)
    assert fit(wants(preemptible=True), menu(spot, normal)).types == ("spot",)
    assert fit(wants(), menu(spot, normal)).types == ("normal",)


# ----------------------------------------------------------------------------------------------------------------- choice

CHOICES = [
    # (a menu, price factor, the names chosen for 2 VCPUs and 4 GB)
    ([offer("dear", price=2.0), offer("cheap", price=1.0)], 1.0, ("cheap",)),
    ([offer("cheap-small", vcpus=1, price=0.5), offer("cheap-fit", price=1.0), offer("dear", price=1.1)], 1.0, ("cheap-fit",)),
    ([offer("a", ram=8 * GIB), offer("b", ram=16 * GIB)], 1.0, ("b", "a")),
    ([offer("a", vcpus=4), offer("b", vcpus=8)], 1.0, ("b", "a")),
    ([offer("a", scratch=GIB), offer("b", scratch=2 * GIB)], 1.0, ("b", "a")),
    ([offer("b"), offer("a")], 1.0, ("a", "b")),
    ([offer("a", price=1.0), offer("b", price=1.5), offer("c", price=1.51)], 1.5, ("a", "b")),
    ([offer("a", price=1.0), offer("b", price=1.5)], 0.0, ("a",)),  # a factor below 1 counts as 1
    ([offer("a", price=1.0), offer("b", price=1.0)], 0.5, ("a", "b")),
    ([offer("too-small", vcpus=1, price=0.1), offer("a", price=1.0), offer("b", price=1.2)], 1.5, ("a", "b")),
    ([offer("free", price=0.0), offer("b", price=0.01)], 1.5, ("free",)),
]


@pytest.mark.parametrize(("offers", "factor", "expected"), CHOICES)
def test_choice(offers, factor, expected):
    """Cheapest first, up to the price factor times the cheapest that can run it; then RAM, VCPUs, scratch, name."""
    assert fit(wants(vcpus=2, ram=4 * 1000**3), menu(*offers, maximum_price_factor=factor)).types == expected


def test_local_storage_buffers_ask_for_a_larger_type():
    """A container that just fits loses its place when each VCPU needs a storage buffer."""
    settings = menu(offer("small", ram=2 * GIB, price=1.0), offer("large", ram=4 * GIB, price=2.0), maximum_price_factor=1.0)
    assert fit(wants(ram=1900 * MIB), settings).types == ("small",)
    assert fit(wants(ram=1900 * MIB), replace(settings, local_keep_blob_buffers_per_vcpu=1)).types == ("large",)


# -------------------------------------------------------------------------------------------------------------------- GPU


def cuda(target: str = "8.6", driver: str = "12.0", devices: int = 1, vram: int = 8 * GIB) -> GPU:
    return GPU(stack="cuda", driver_version=driver, hardware_target=target, device_count=devices, vram_bytes=vram)


def rocm(target: str) -> GPU:
    return GPU(stack="rocm", driver_version="6.2", hardware_target=target, device_count=1, vram_bytes=8 * GIB)


def asks(stack: str, *targets: str, driver: str = "11.0", devices: int = 1, vram: int = 0) -> GPURequest:
    return GPURequest(stack=stack, driver_version=driver, hardware_target=targets, device_count=devices, vram_bytes=vram)


GPU_CHOICES = [
    # (what the type has, what the container asks for, does it suit)
    (cuda(), asks("cuda", "8.6"), True),
    (cuda("9.0"), asks("cuda", "8.6"), True),  # one target: a lowest capability
    (cuda("8.0"), asks("cuda", "8.6"), False),
    (cuda("10.0"), asks("cuda", "9.0"), True),  # compared as numbers, not as text
    (cuda("9.0"), asks("cuda", "8.0", "8.6"), False),  # several: one of exactly these
    (cuda("8.6"), asks("cuda", "8.0", "8.6"), True),
    (cuda(), asks("cuda"), False),  # none: nothing is right
    (cuda("gfx"), asks("cuda", "8.6"), False),
    (cuda(), asks("cuda", "new"), False),
    (cuda(driver="11.0"), asks("cuda", "8.6"), True),
    (cuda(driver="10.9"), asks("cuda", "8.6"), False),
    (cuda(driver="11.10"), asks("cuda", "8.6", driver="11.9"), False),  # versions are decimal fractions here
    (cuda(driver=""), asks("cuda", "8.6"), False),
    (cuda(driver="nan"), asks("cuda", "8.6"), False),
    (cuda(driver="11.0.1"), asks("cuda", "8.6"), False),
    (cuda(), asks("cuda", "8.6", driver="latest"), False),
    (cuda(), asks("cuda", "8.6", driver=""), False),
    (cuda(devices=2), asks("cuda", "8.6", devices=2), True),
    (cuda(devices=2), asks("cuda", "8.6", devices=3), False),
    (cuda(), asks("cuda", "8.6", vram=8 * GIB), True),
    (cuda(), asks("cuda", "8.6", vram=8 * GIB + 1), False),
    (cuda(vram=0), asks("cuda", "8.6", vram=1), False),  # memory that nobody configured is none
    (rocm("gfx1100"), asks("rocm", "gfx1100", driver="6.0"), True),
    (rocm("gfx1100"), asks("rocm", "gfx1030", driver="6.0"), False),
    (rocm("gfx1100"), asks("rocm", "gfx1030", "gfx1100", driver="6.0"), True),
    (rocm("gfx1100"), asks("rocm", driver="6.0"), False),
    (cuda(), asks("rocm", "8.6"), False),
    (cuda(), GPURequest(), False),  # a GPU machine is not for those without need of one
    (GPU(), asks("cuda", "8.6"), False),
    (cuda(), asks("cuda", devices=0), True),  # the stack alone: driver and target do not matter
    (GPU(), GPURequest(), True),
]


@pytest.mark.parametrize(("offered", "wanted", "suits"), GPU_CHOICES)
def test_gpu_choice(offered, wanted, suits):
    """Stack, number, memory per device, driver and hardware target all have to agree."""
    found = fit(wants(gpu=wanted), menu(offer("only", gpu=offered)))
    assert found.types == (("only",) if suits else ())
    assert suits == (not found.problem)


# ---------------------------------------------------------------------------------------------------------------- packing

ROOMS = [
    # (what is left, what is needed, is a container without VCPUs there, does it fit)
    (Resources(2, 10, 10), Resources(2, 10, 10), False, True),
    (Resources(2, 10, 10), Resources(3, 10, 10), False, False),
    (Resources(2, 10, 10), Resources(2, 11, 10), False, False),
    (Resources(2, 10, 10), Resources(2, 10, 11), False, False),
    (Resources(2, 10, 10), Resources(2, 10, 10), True, False),  # it would take the shared one
    (Resources(2, 10, 10), Resources(1, 10, 10), True, True),
    (Resources(1, 10, 10), Resources(1, 10, 10), True, False),
    (Resources(1, 10, 10), Resources(0, 10, 10), True, True),
    (Resources(1, 10, 10), Resources(0, 10, 10), False, True),
    (Resources(0, 10, 10), Resources(0, 10, 10), False, False),  # one has to be left to share
    (Resources(0, 10, 10), Resources(0, 0, 0), True, False),
    (Resources(2, 10, 10, 1, 8), Resources(1, 1, 1, 1, 8), False, True),
    (Resources(2, 10, 10, 1, 8), Resources(1, 1, 1, 2, 8), False, False),
    (Resources(2, 10, 10, 1, 8), Resources(1, 1, 1, 1, 9), False, False),
]


@pytest.mark.parametrize(("free", "needed", "zero_vcpu_running", "expected"), ROOMS)
def test_accommodates(free, needed, zero_vcpu_running, expected):
    """Every quantity has to suffice, and the last VCPU stays for those that asked for none."""
    assert accommodates(free, needed, zero_vcpu_running) is expected


def test_second_gpu_of_an_instance_is_as_good_as_the_first():
    """12.16b: GPU memory is per device, so a container on one device leaves the other's memory alone."""
    free = room(offer("two", gpu=cuda(devices=2, vram=8 * GIB)))
    one = Resources(1, GIB, 0, 1, 8 * GIB)
    left = take(free, one)
    assert (left.gpus, left.vram) == (1, 8 * GIB)
    assert accommodates(left, one, False)
    assert not accommodates(take(left, one), one, False)


# ------------------------------------------------------------------------------------------------------------- properties

AMOUNTS = st.integers(min_value=0, max_value=1 << 40)
REQUIREMENTS = st.builds(
    Requirements,
    vcpus=st.integers(0, 8),
    ram_bytes=AMOUNTS,
    tmp_bytes=AMOUNTS,
    keep_cache_disk_bytes=AMOUNTS,
    preemptible=st.booleans(),
)
TYPES = st.builds(
    InstanceType,
    name=st.sampled_from("abcdefgh"),
    provider_type=st.just("x"),
    vcpus=st.integers(0, 8),
    ram_bytes=AMOUNTS,
    included_scratch_bytes=AMOUNTS,
    price=st.floats(0, 10),
    preemptible=st.booleans(),
)
MENUS = st.builds(lambda offers, factor: menu(*offers, maximum_price_factor=factor), st.lists(TYPES, max_size=8), st.floats(0, 3))


@budget(deadline=None, max_examples=50)
@given(REQUIREMENTS, MENUS)
def test_every_chosen_type_has_room_and_every_refusal_a_reason(requirements, settings):
    """A type that is chosen could hold the container when empty (but for the VCPU that must remain); none chosen says why."""
    found = fit(requirements, settings)
    assert bool(found.types) != bool(found.problem)
    for name in found.types:
        left = take(room(settings.instance_types[name]), found.need)
        assert min(left.vcpus, left.ram, left.scratch) >= 0


@budget(deadline=None, max_examples=50)
@given(REQUIREMENTS, MENUS)
def test_chosen_types_are_ordered_and_within_the_price_factor(requirements, settings):
    """Prices never fall along the list nor pass the factor times the first."""
    prices = [settings.instance_types[name].price for name in fit(requirements, settings).types]
    assert prices == sorted(prices)
    assert all(price <= prices[0] * max(1.0, settings.maximum_price_factor) for price in prices)


@budget(deadline=None, max_examples=50)
@given(REQUIREMENTS, MENUS)
def test_memo_changes_nothing_but_the_work(requirements, settings):
    """With a memo the answer is the same, and the second time it is the very same object."""
    memo: dict = {}
    first = fit(requirements, settings, memo)
    assert first == fit(requirements, settings)
    assert fit(replace(requirements), settings, memo) is first


@budget(deadline=None, max_examples=50)
@given(st.lists(st.builds(Resources, st.integers(0, 3), AMOUNTS, AMOUNTS), max_size=6), TYPES)
def test_packing_never_oversells(needs, kind):
    """Whatever is packed while there is room, no quantity ever falls below zero."""
    free, zero = room(kind), False
    for each in needs:
        if accommodates(free, each, zero):
            free, zero = take(free, each), zero or each.vcpus == 0
    assert min(free.vcpus, free.ram, free.scratch) >= 0
    assert not zero or free.vcpus >= 1
