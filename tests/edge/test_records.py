"""What a record of the queue service means to the dispatcher, and which ones are set aside with which reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher.core.model import ContainerRecord, ContainerState, GPURequest, Requirements
from dispatcher.edge.http import parse_object
from dispatcher.edge.records import NotUnderstood, is_container_uuid, parse_record
from tests.embedded import transcripts

UUID = "zzzzz-dz642-queuedcontainer"
TOKEN = "zzzzz-gj3su-000000000000000"
IMAGE = "fa3c1a9cb6783f85f2ecda037e07b8c3+167"

# A whole record as Arvados 3.2.1 answers it, without the fields that no dispatcher looks at.
FULL: dict[str, Any] = {
    "kind": "arvados#container",
    "uuid": UUID,
    "created_at": "2026-11-21T17:35:25.065651000Z",
    "state": "Locked",
    "priority": 1124104624317487,
    "locked_by_uuid": TOKEN,
    "lock_count": 2,
    "gateway_address": None,
    "container_image": IMAGE,
    "mounts": {"/out": {"capacity": 1000000, "kind": "tmp"}, "/keep": {"kind": "collection", "path": "", "capacity": 7}},
    "runtime_constraints": {
        "API": False,
        "gpu": {"device_count": 0, "driver_version": "", "hardware_target": [], "stack": "", "vram": 0},
        "keep_cache_disk": 2147483648,
        "keep_cache_ram": 0,
        "ram": 268435456,
        "vcpus": 1,
    },
    "scheduling_parameters": {"max_run_time": 3600, "partitions": ["p1", "p2"], "preemptible": True, "supervisor": True},
}


def with_constraints(**constraints: Any) -> dict[str, Any]:
    return FULL | {"runtime_constraints": FULL["runtime_constraints"] | constraints}


def requirements(record: dict[str, Any]) -> Requirements:
    found = parse_record(record).requirements
    assert found is not None
    return found


def test_a_whole_record_is_understood() -> None:
    """Every field that the core plans by arrives in its place."""
    assert parse_record(FULL) == ContainerRecord(
        uuid=UUID,
        state=ContainerState.LOCKED,
        priority=1124104624317487,
        locked_by_uuid=TOKEN,
        lock_count=2,
        created_at="2026-11-21T17:35:25.065651000Z",
        requirements=Requirements(
            vcpus=1,
            ram_bytes=268435456,
            keep_cache_disk_bytes=2147483648,
            tmp_bytes=1000000,
            container_image=IMAGE,
            preemptible=True,
            supervisor=True,
            max_run_time_s=3600,
            partitions=("p1", "p2"),
        ),
    )


def test_the_five_fields_of_a_lock_are_enough() -> None:
    """Lock and unlock answer with no more than these; what they leave out is not known, not zero."""
    answer = {"uuid": UUID, "locked_by_uuid": None, "priority": 0, "state": "Queued", "auth_uuid": None}
    assert parse_record(answer) == ContainerRecord(uuid=UUID, state=ContainerState.QUEUED, priority=0)


def test_empty_constraints_have_the_defaults() -> None:
    """A record made by hand may hold nothing at all where the sizes stand."""
    bare = FULL | {"runtime_constraints": {}, "scheduling_parameters": {}, "mounts": {}, "container_image": None}
    assert requirements(bare) == Requirements(vcpus=0, ram_bytes=0)


def test_only_scratch_mounts_count() -> None:
    """The capacities of tmp mounts add up; one without a capacity, and other kinds, add nothing."""
    scratch = {"/a": {"kind": "tmp", "capacity": 5}, "/b": {"kind": "tmp", "capacity": 6}, "/c": {"kind": "tmp"}}
    mounts = scratch | {"/d": {"kind": "text", "capacity": 100}}
    assert requirements(FULL | {"mounts": mounts}).tmp_bytes == 11


@pytest.mark.parametrize(
    ("constraints", "gpu"),
    [
        ({"gpu": None}, GPURequest()),
        (
            {"gpu": {"device_count": 2, "driver_version": "11.0", "hardware_target": ["9.0"], "stack": "cuda", "vram": 8192}},
            GPURequest(stack="cuda", driver_version="11.0", hardware_target=("9.0",), device_count=2, vram_bytes=8192),
        ),
        (
            {"cuda": {"device_count": 1, "driver_version": "11.0", "hardware_capability": "8.0"}},
            GPURequest(stack="cuda", driver_version="11.0", hardware_target=("8.0",), device_count=1),
        ),
        (
            {
                "cuda": {"device_count": 1, "driver_version": "11.0", "hardware_capability": "8.0"},
                "gpu": {"device_count": 3, "stack": "rocm", "hardware_target": ["gfx90a"]},
            },
            GPURequest(stack="rocm", hardware_target=("gfx90a",), device_count=3),
        ),
        ({"cuda": {"device_count": 0, "driver_version": "", "hardware_capability": ""}}, GPURequest()),
    ],
    ids=["none", "gpu", "cuda", "gpu before cuda", "cuda of nothing"],
)
def test_both_ways_to_ask_for_accelerators(constraints: dict[str, Any], gpu: GPURequest) -> None:
    """The older cuda constraint means the same as the gpu constraint that it became."""
    assert requirements(with_constraints(**constraints)).gpu == gpu


@pytest.mark.parametrize("priority", [0, 1, 1125899906842624000, (1 << 63) - 1])
def test_priorities_stay_exact(priority: int) -> None:
    """They exceed what a float can hold, and their last digits decide who comes first."""
    text = json.dumps(FULL | {"priority": priority}).encode()
    assert parse_record(parse_object(text)).priority == priority


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"uuid": None}, "uuid is not that of a container: ''"),
        ({"uuid": 7}, "uuid is not a printable text: 7"),
        ({"uuid": "zzzzz-dz642-queuedcontainer\n"}, "uuid is not a printable text: 'zzzzz-dz642-queuedcontainer\\n'"),
        ({"uuid": "zzzzz-xvhdp-queuedcontainer"}, "uuid is not that of a container: 'zzzzz-xvhdp-queuedcontainer'"),
        ({"uuid": "zzzzz-dz642-$(reboot)xxxxxx"}, "uuid is not that of a container: 'zzzzz-dz642-$(reboot)xxxxxx'"),
        ({"state": "Paused"}, "state is none that we know: 'Paused'"),
        ({"state": None}, "state is none that we know: ''"),
        ({"state": ["Queued"]}, "state is not a printable text: ['Queued']"),
        ({"priority": None}, "priority is missing"),
        ({"priority": 1e3}, "priority is not a whole number: 1000.0"),
        ({"priority": True}, "priority is not a whole number: True"),
        ({"priority": "5"}, "priority is not a whole number: '5'"),
        ({"priority": -1}, "priority is not between 0 and 2^63-1: -1"),
        ({"priority": 1 << 63}, "priority is not between 0 and 2^63-1: 9223372036854775808"),
        ({"lock_count": "2"}, "lock_count is not a whole number: '2'"),
        ({"locked_by_uuid": {}}, "locked_by_uuid is not a printable text: {}"),
        ({"created_at": "x" * 2000}, "created_at is not a printable text: '" + "x" * 56 + "..."),
        ({"runtime_constraints": []}, "runtime_constraints is not an object: []"),
        ({"mounts": "/tmp"}, "mounts is not an object: '/tmp'"),
        ({"mounts": {"/a": []}}, "'/a' is not an object: []"),
        ({"mounts": {"/a": {"kind": "tmp", "capacity": -5}}}, "'/a'.capacity is not between 0 and 2^63-1: -5"),
        ({"scheduling_parameters": 3}, "scheduling_parameters is not an object: 3"),
        ({"scheduling_parameters": {"preemptible": "false"}}, "preemptible is neither true nor false: 'false'"),
        ({"scheduling_parameters": {"partitions": "p1"}}, "scheduling_parameters.partitions is not a list: 'p1'"),
        ({"scheduling_parameters": {"partitions": ["p1", 2]}}, "scheduling_parameters.partitions[1] is not a printable text: 2"),
        ({"runtime_constraints": {"vcpus": 1.5}}, "runtime_constraints.vcpus is not a whole number: 1.5"),
        ({"runtime_constraints": {"gpu": {"stack": 5}}}, "runtime_constraints.gpu.stack is not a printable text: 5"),
        ({"container_image": "\ud800"}, "container_image is not a printable text: '\\ud800'"),
    ],
)
def test_what_is_not_understood_says_which_field_and_why(change: dict[str, Any], reason: str) -> None:
    """The reason names the field and shows the value, short and safe for a log."""
    with pytest.raises(NotUnderstood) as caught:
        parse_record(FULL | change)
    assert str(caught.value).endswith(reason)


@pytest.mark.parametrize("item", [None, [], "x", 7, [FULL]])
def test_what_is_no_object_is_no_record(item: object) -> None:
    """A list may hold anything."""
    with pytest.raises(NotUnderstood, match="the record is not an object"):
        parse_record(item)


@pytest.mark.parametrize("text", ["", "999999999", UUID.upper(), UUID + "x", "../" + UUID, UUID[:-1]])
def test_only_the_exact_form_is_a_uuid(text: str) -> None:
    """A number in a path would make the real service change some other container."""
    assert not is_container_uuid(text)


def recorded_containers() -> Iterator[dict[str, Any]]:
    def inside(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "-dz642-" in str(value.get("uuid")) and "state" in value and "priority" in value:
                yield value
            value = list(value.values())
        for each in value if isinstance(value, list) else ():
            yield from inside(each)

    for line in transcripts.location().read_text(encoding="utf-8").splitlines():
        yield from inside(json.loads(line)["response"])


@pytest.mark.skipif(not transcripts.location().exists(), reason=f"{transcripts.VARIABLE} names no recordings of the real server")
def test_every_recorded_container_is_understood() -> None:
    """Whatever a real service answered about a container, we can read."""
    records = [parse_record(each) for each in recorded_containers()]
    print(f"{len(records)} records, {sum(record.requirements is not None for record in records)} with requirements")
    assert len(records) > 200


def test_the_image_of_the_instance_is_read() -> None:
    """A text like any other; missing and null mean the site's own."""
    assert requirements(with_constraints(image_id="gpu-12")).image_id == "gpu-12"
    assert requirements(FULL).image_id == requirements(with_constraints(image_id=None)).image_id == ""
    with pytest.raises(NotUnderstood, match="image_id"):
        parse_record(with_constraints(image_id=12))
