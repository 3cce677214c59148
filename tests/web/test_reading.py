"""Containers and instances in upstream's form: keys, zero values, order, and the states of workers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core.maps import Map
from dispatcher.core.model import (
    CloudView,
    Container,
    ContainerState,
    Fit,
    GPURequest,
    IdleBehavior,
    Instance,
    Leadership,
    OperatorNote,
    Phase,
    Process,
    ProcessPhase,
    QueueView,
    Requirements,
    Resources,
    State,
)
from dispatcher.core.settings import Settings
from dispatcher.driver import GPU, InstanceType
from dispatcher.web.app import make_app
from tests.web.fakes import TOKEN, FakeView

AUTH = {"Authorization": f"Bearer {TOKEN}"}
SMALL = InstanceType(name="small", provider_type="p1", vcpus=2, ram_bytes=4 << 30, included_scratch_bytes=10, price=0.1)
BIG = InstanceType(
    name="big", provider_type="p2", vcpus=8, ram_bytes=64 << 30, added_scratch_bytes=7, price=1.5, preemptible=True,
    gpu=GPU(stack="cuda", driver_version="12.4", hardware_target="9.0", device_count=2, vram_bytes=1 << 34),
)
SETTINGS = Settings(instance_types={"small": SMALL, "big": BIG})

# The keys of upstream's answers.
ENTRY = {
    "container", "instance_resources", "instance_types", "instance_type", "first_seen_at", "scheduling_status", "last_error",
}  # fmt: skip
CONTAINER = set(
    "uuid etag created_at modified_by_user_uuid modified_at command container_image cwd environment locked_by_uuid lock_count "
    "mounts output output_path output_glob priority runtime_constraints state scheduling_parameters exit_code runtime_status "
    "started_at finished_at gateway_address interactive_session_started output_storage_classes runtime_user_uuid "
    "runtime_auth_scopes runtime_token auth_uuid log cost subrequests_cost service published_ports".split()
)
INSTANCE_TYPE = {"ProviderType", "VCPUs", "RAM", "IncludedScratch", "AddedScratch", "Price", "Preemptible", "GPU"}
INSTANCE = set(
    "instance address price arvados_instance_type provider_instance_type last_container_uuid last_busy "
    "running_container_uuids worker_state idle_behavior".split()
)
OURS = set(
    "instance_name idle_behavior_actor idle_behavior_reason idle_behavior_since idle_behavior_until condemned "
    "kill_requested".split()
)


def uuid(number: int) -> str:
    return f"zzzzz-dz642-{number:015d}"


def container(number: int, **changes: Any) -> Container:
    return Container(
        **{"uuid": uuid(number), "state": ContainerState.QUEUED, "priority": 500, "first_seen_s": float(number), **changes}
    )


def instance(number: int, **changes: Any) -> Instance:
    facts = {"name": f"name-{number}", "id": f"vm{number}", "type": "small", "phase": Phase.READY}
    return Instance(**{**facts, "phase_since_s": 0.0, "appeared_s": 0.0, **changes})


def process(number: int, phase: ProcessPhase = ProcessPhase.RUNNING) -> Process:
    return Process(uuid=uuid(number), phase=phase, since_s=0.0, changed_s=0.0)


def state(*things: Container | Instance) -> State:
    return State(
        settings=SETTINGS,
        leadership=Leadership(leading=True, term=1, since_s=0.0),
        cloud=CloudView(listed_s=1.0),
        containers=Map((thing.uuid, thing) for thing in things if isinstance(thing, Container)),
        instances=Map((thing.name, thing) for thing in things if isinstance(thing, Instance)),
    )


def get(path: str, view: FakeView) -> Any:
    answer = make_app(view, TOKEN).test_client().get("/arvados/v1/dispatch" + path, headers=AUTH)
    assert answer.mimetype == "application/json"
    return answer.json


def items(path: str, *things: Container | Instance) -> list[dict[str, Any]]:
    return get(path, FakeView(state=state(*things)))["items"]


def test_nothing_is_an_empty_list() -> None:
    """Upstream says null before its first pass; a client that loops over it would fail."""
    assert items("/containers") == items("/instances") == []


def test_a_container_has_every_key_of_upstream() -> None:
    """Also before its record was read, when all it has is a uuid, a state and a priority."""
    bare, read = items(
        "/containers",
        container(1),
        container(2, requirements=Requirements(vcpus=1, ram_bytes=1), fit=Fit(need=Resources(vcpus=1), types=("big", "small"))),
    )
    assert set(bare) == set(read) == ENTRY
    assert set(bare["container"]) == set(read["container"]) == CONTAINER
    assert (bare["instance_types"], bare["instance_type"]) == ([], None)
    assert [set(kind) for kind in read["instance_types"]] == [INSTANCE_TYPE, INSTANCE_TYPE]
    assert read["instance_type"] == read["instance_types"][0]


def test_a_container_shows_what_it_asks_for() -> None:
    """Every fact of the record that is kept, in its place."""
    needs = Requirements(
        vcpus=3, ram_bytes=5, keep_cache_ram_bytes=7, keep_cache_disk_bytes=11, container_image="img+1",
        gpu=GPURequest(stack="cuda", driver_version="12", hardware_target=("9.0",), device_count=1, vram_bytes=13),
        preemptible=True, supervisor=True, max_run_time_s=17, partitions=("p",),
    )
    fit = Fit(need=Resources(vcpus=3, ram=19, scratch=23, gpus=1, vram=13), types=("big", "gone"))
    shown = items("/containers", container(1, requirements=needs, fit=fit, priority=2**60 + 1, lock_count=2))[0]
    assert shown["container"]["runtime_constraints"] == {
        "API": False, "ram": 5, "vcpus": 3, "keep_cache_ram": 7, "keep_cache_disk": 11,
        "gpu": {"stack": "cuda", "driver_version": "12", "hardware_target": ["9.0"], "device_count": 1, "vram": 13},
    }
    assert shown["container"]["scheduling_parameters"] == {
        "partitions": ["p"], "preemptible": True, "max_run_time": 17, "supervisor": True,
    }
    assert shown["instance_resources"] == {"VCPUs": 3, "RAM": 19, "Scratch": 23, "GPUs": 1, "GPUVRAM": 13}
    assert shown["instance_types"] == [
        {
            "ProviderType": "p2", "VCPUs": 8, "RAM": 64 << 30, "IncludedScratch": 0, "AddedScratch": 7, "Price": 1.5,
            "Preemptible": True,
            "GPU": {"Stack": "cuda", "DriverVersion": "12.4", "HardwareTarget": "9.0", "DeviceCount": 2, "VRAM": 1 << 34},
        }
    ]
    assert (shown["container"]["priority"], shown["container"]["lock_count"]) == (2**60 + 1, 2)
    assert shown["first_seen_at"] == "2027-01-15T08:00:01Z"


def test_containers_stand_in_the_order_in_which_they_are_served() -> None:
    """A place first, then locked, then priority, then age."""
    shown = items(
        "/containers",
        container(1),
        container(2, priority=900),
        container(3),
        container(4, state=ContainerState.LOCKED, priority=1),
        container(5, state=ContainerState.RUNNING, priority=1, instance="name-1"),
    )
    assert [entry["container"]["uuid"] for entry in shown] == [uuid(5), uuid(4), uuid(2), uuid(1), uuid(3)]


def test_one_container_is_found_by_its_uuid() -> None:
    """With the sentence that says what it waits for: the controller shows it to users."""
    view = FakeView(state=state(container(1), container(2)), waiting={uuid(2): "Waiting for a small instance to boot."})
    shown = get(f"/container?container_uuid={uuid(2)}", view)
    assert shown["container"]["uuid"] == uuid(2)
    assert shown["scheduling_status"] == "Waiting for a small instance to boot."


@pytest.mark.parametrize("query", ["", "?container_uuid=zzzzz-dz642-nonesuchnonesuc"])
def test_an_unknown_container_is_404(query: str) -> None:
    """The controller takes 404 as: the dispatcher knows nothing of it."""
    answer = make_app(FakeView(), TOKEN).test_client().get("/arvados/v1/dispatch/container" + query, headers=AUTH)
    assert (answer.status_code, answer.json) == (404, {"errors": ["container not found"]})


def test_who_does_not_lead_shows_nothing() -> None:
    """12.20: a standby answers; what a former leader remembers may be long over, and would be listed twice by who asks all."""
    former = FakeView(state=replace(state(container(1), instance(1)), leadership=Leadership(term=1, since_s=0.0)))
    assert get("/containers", former)["items"] == get("/instances", former)["items"] == []
    answer = make_app(former, TOKEN).test_client().get(f"/arvados/v1/dispatch/container?container_uuid={uuid(1)}", headers=AUTH)
    assert (answer.status_code, answer.json) == (404, {"errors": ["container not found"]})


def test_an_instance_shows_what_upstream_shows() -> None:
    """Every key; what runs there is a sorted list, without what has ended."""
    processes = {
        uuid(number): process(number, phase)
        for number, phase in [(3, ProcessPhase.RUNNING), (1, ProcessPhase.STARTING), (2, ProcessPhase.ENDED)]
    }
    shown = items(
        "/instances",
        instance(1, address="10.0.0.1", processes=processes, busy_s=2.5, last_container=uuid(3), idle_behavior=IdleBehavior.HOLD),
    )[0]
    assert set(shown) == INSTANCE | OURS
    assert {key: shown[key] for key in INSTANCE} == {
        "instance": "vm1", "address": "10.0.0.1", "price": 0.1, "arvados_instance_type": "small",
        "provider_instance_type": "p1", "last_container_uuid": uuid(3), "last_busy": "2027-01-15T08:00:02.500000Z",
        "running_container_uuids": [uuid(1), uuid(3)], "worker_state": "running", "idle_behavior": "hold",
    }


def test_an_instance_shows_who_chose_its_behavior() -> None:
    """Besides upstream's keys: who, why, since when and until when, and what we hold against it."""
    note = OperatorNote(actor="ada@host", reason="kernel", at="2027-01-15T08:00:00Z", until="2027-01-15T10:00:00Z")
    shown = items("/instances", instance(1, idle_behavior=IdleBehavior.DRAIN, operator=note, condemned="its runner is broken"))[0]
    assert {key: shown[key] for key in OURS} == {
        "instance_name": "name-1", "idle_behavior_actor": "ada@host", "idle_behavior_reason": "kernel",
        "idle_behavior_since": "2027-01-15T08:00:00Z", "idle_behavior_until": "2027-01-15T10:00:00Z",
        "condemned": "its runner is broken", "kill_requested": "",
    }


def test_a_container_of_ours_shows_whose_lock_it_has() -> None:
    """The uuid of our token, and nothing for what only waits."""
    both = state(container(1, state=ContainerState.LOCKED, ours=True), container(2))
    given = replace(both, queue=QueueView(token_uuid="zzzzz-gj3su-1"))
    shown = get("/containers", FakeView(state=given))["items"]
    assert [entry["container"]["locked_by_uuid"] for entry in shown] == ["zzzzz-gj3su-1", ""]


def test_a_create_on_its_way_has_no_id_yet() -> None:
    """It stands first, as booting, and was never busy."""
    pending, _ = items("/instances", instance(1), instance(2, id=None, phase=Phase.CREATING))
    assert (pending["instance"], pending["worker_state"], pending["last_busy"]) == ("", "booting", "0001-01-01T00:00:00Z")


WORKER_STATES = [
    (Phase.CREATING, "booting"),
    (Phase.BOOTING, "booting"),
    (Phase.UNKNOWN, "unknown"),
    (Phase.READY, "idle"),
    (Phase.SHUTDOWN, "shutdown"),
]


@pytest.mark.parametrize(("phase", "word"), WORKER_STATES)
def test_each_phase_has_a_word_of_upstream(phase: Phase, word: str) -> None:
    """The five words that upstream's clients know."""
    assert [shown["worker_state"] for shown in items("/instances", instance(1, phase=phase))] == [word]


def test_every_phase_is_in_the_table() -> None:
    """A new phase needs a word before it can be shown."""
    assert {phase for phase, _ in WORKER_STATES} == set(Phase)


def test_instances_stand_by_their_ids() -> None:
    """And an instance whose type the configuration had no more when it was found is shown without a price."""
    shown = items("/instances", instance(3, type="gone"), instance(1), instance(2))
    assert [view["instance"] for view in shown] == ["vm1", "vm2", "vm3"]
    assert shown[2]["price"] == 0
