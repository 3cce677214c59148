"""InstanceTypes: the menu, its GPUs, and the preemptible siblings."""

from __future__ import annotations

import pytest

from dispatcher.driver import GPU, InstanceType
from tests.config.configuration import CLUSTER, place_of, read, without

GIB = 1 << 30
BARE = without("small:")


def menu(*lines: str) -> str:
    return BARE + "".join(f"      {line}\n" for line in lines)


TYPES = [
    # (the entry, what it makes)
    ("a: {VCPUs: 2, RAM: 4GiB}", InstanceType(name="a", provider_type="a", vcpus=2, ram_bytes=4 * GIB)),
    (
        "a: {ProviderType: m5, VCPUs: 2, RAM: 4GB, IncludedScratch: 1GB, AddedScratch: 2GB, Price: 0.25, Preemptible: true}",
        InstanceType(
            name="a",
            provider_type="m5",
            vcpus=2,
            ram_bytes=4 * 10**9,
            included_scratch_bytes=10**9,
            added_scratch_bytes=2 * 10**9,
            price=0.25,
            preemptible=True,
        ),
    ),
    (
        "m5.large: {VCPUs: 2, RAM: 4GiB, Scratch: 7TB, Name: other}",  # both are ignored
        InstanceType(name="m5.large", provider_type="m5.large", vcpus=2, ram_bytes=4 * GIB),
    ),
    (
        "g: {VCPUs: 2, RAM: 4GiB, GPU: {Stack: rocm, DriverVersion: 6.10, HardwareTarget: gfx1100, DeviceCount: 2, VRAM: 8GiB}}",
        InstanceType(
            name="g",
            provider_type="g",
            vcpus=2,
            ram_bytes=4 * GIB,
            gpu=GPU(stack="rocm", driver_version="6.10", hardware_target="gfx1100", device_count=2, vram_bytes=8 * GIB),
        ),
    ),
    (
        "g: {VCPUs: 2, RAM: 4GiB, CUDA: {DriverVersion: '11.0', HardwareCapability: 9.0, DeviceCount: 1}}",
        InstanceType(
            name="g",
            provider_type="g",
            vcpus=2,
            ram_bytes=4 * GIB,
            gpu=GPU(stack="cuda", driver_version="11.0", hardware_target="9.0", device_count=1),
        ),
    ),
]


@pytest.mark.parametrize(("entry", "expected"), TYPES)
def test_a_type(tmp_path, entry, expected):
    """Each property with its unit; the cloud's name is the entry's unless it is given."""
    loaded = read(tmp_path, menu(entry))
    assert (loaded.problems, loaded.warnings) == ((), ())
    assert list(loaded.config.settings.instance_types.values()) == [expected]


def test_gpu_wins_over_its_older_form(tmp_path):
    """A file for both generations of upstream is read as the newer one."""
    entry = "g: {VCPUs: 2, RAM: 4GiB, GPU: {Stack: rocm, DeviceCount: 2}, CUDA: {DeviceCount: 1}}"
    assert read(tmp_path, menu(entry)).config.settings.instance_types["g"].gpu.stack == "rocm"


WRONG = [
    ("a: {VCPUs: two, RAM: 4GiB}", "InstanceTypes.a.VCPUs: has to be a whole number"),
    ("a: {VCPUs: true, RAM: 4GiB}", "InstanceTypes.a.VCPUs: has to be a whole number"),
    ("a: {VCPUs: 2, RAM: much}", "InstanceTypes.a.RAM: has to be a size"),
    ("a: {VCPUs: 2, RAM: 4GiB, Price: -1}", "InstanceTypes.a.Price: has to be a number of 0 or more"),
    ("a: {VCPUs: 2, RAM: 4GiB, Price: .nan}", "InstanceTypes.a.Price: has to be a number"),
    ("a: {VCPUs: 2, RAM: 4GiB, Preemptible: 1}", "InstanceTypes.a.Preemptible: has to be true or false"),
    ("a: {VCPUs: 2, RAM: 4GiB, GPU: 1}", "InstanceTypes.a.GPU: has to be a mapping"),
    ("a: {VCPUs: 2, RAM: 4GiB, GPU: {Stack: tpu}}", "InstanceTypes.a.GPU.Stack: has to be one of cuda, rocm"),
    ("a: {VCPUs: 2, RAM: 4GiB, GPU: {DriverVersion: 12.4.1}}", "InstanceTypes.a.GPU.DriverVersion: has to be a number like 12.4"),
    ("a: {VCPUs: 2, RAM: 4GiB, CUDA: {DriverVersion: new}}", "InstanceTypes.a.CUDA.DriverVersion: has to be a number like 12.4"),
    ("a: [2, 4GiB]", "InstanceTypes.a: has to be a mapping, not a list"),
    ("- {Name: a, VCPUs: 2}", "InstanceTypes: has to be a mapping of names to properties"),
]


@pytest.mark.parametrize(("entry", "words"), WRONG)
def test_a_wrong_type_is_told_with_its_line(tmp_path, entry, words):
    """Name and property stand in the path."""
    text = menu(entry)
    loaded = read(tmp_path, text)
    assert loaded.config is None
    problem = loaded.problems[0]
    assert words in str(problem)
    assert problem.line in (place_of(text, entry), place_of(text, "InstanceTypes:"))


POOR = [
    ("a:", "InstanceTypes.a: lacks VCPUs or RAM"),
    ("a: {VCPUs: 2}", "InstanceTypes.a: lacks VCPUs or RAM"),
    ("a: {VCPUs: 2, RAM: 4GiB, GPU: {DeviceCount: 1}}", "InstanceTypes.a.GPU.Stack: is missing"),
    ("a: {VCPUs: 2, RAM: 4GiB, GPU: {Devices: 1}}", "a.GPU.Devices: is not known and has no effect: did you mean DeviceCount?"),
]


@pytest.mark.parametrize(("entry", "words"), POOR)
def test_a_poor_type_is_warned_of(tmp_path, entry, words):
    """It is kept: some site may mean it."""
    loaded = read(tmp_path, menu(entry))
    assert [each for each in loaded.warnings if words in str(each)]
    assert "a" in loaded.config.settings.instance_types


# ------------------------------------------------------------------------------------------------------------ preemptible

FACTOR = "      DispatchPrivateKey:"


def with_factor(text: str, factor: str) -> str:
    return text.replace(FACTOR, f"      PreemptiblePriceFactor: {factor}\n{FACTOR}")


def test_a_price_factor_adds_preemptible_siblings(tmp_path):
    """One for each type that is not preemptible itself, at its price times the factor."""
    spot = "s: {VCPUs: 2, RAM: 4GiB, Price: 0.1, Preemptible: true}"
    text = with_factor(menu("a: {ProviderType: m5, VCPUs: 2, RAM: 4GiB, Price: 0.5}", spot), "0.2")
    types = read(tmp_path, text).config.settings.instance_types
    assert sorted(types) == ["a", "a.preemptible", "s"]
    sibling = types["a.preemptible"]
    assert (sibling.name, sibling.provider_type, sibling.price, sibling.preemptible) == ("a.preemptible", "m5", 0.1, True)


def test_siblings_are_shown_with_what_they_come_from(tmp_path):
    """They stand in no file."""
    loaded = read(tmp_path, with_factor(CLUSTER, "0.5"))
    shown = next(each for each in loaded.in_force if each.path == "InstanceTypes.small.preemptible")
    assert str(shown.origin) == "from small and PreemptiblePriceFactor"


def test_without_a_factor_there_are_no_siblings(tmp_path):
    """0 is the default and means none."""
    assert list(read(tmp_path, with_factor(CLUSTER, "0")).config.settings.instance_types) == ["small"]


KEPT = [
    ("{VCPUs: 1, RAM: 1GiB, Preemptible: true}", 1),
    ("{ProviderType: a, VCPUs: 2, RAM: 4GiB, Price: 0.25, Preemptible: true}", 0),
]


@pytest.mark.parametrize(("entry", "warnings"), KEPT)
def test_an_entry_of_the_siblings_name_is_kept(tmp_path, entry, warnings):
    """With a warning when it differs from what the factor would make."""
    text = with_factor(menu("a: {VCPUs: 2, RAM: 4GiB, Price: 0.5}", f"a.preemptible: {entry}"), "0.5")
    loaded = read(tmp_path, text)
    assert len([each for each in loaded.warnings if "is kept" in each.text]) == warnings
    assert loaded.config.settings.instance_types["a.preemptible"].vcpus == 2 - warnings
