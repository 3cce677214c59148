"""The management API beside that of the Arvados dispatcher: a small table of its contract, and the recordings as the wider check.

Clients, dashboards and the controller of existing sites must keep working: what it has is here under the same path, with the same
parameters, status and keys. More keys are allowed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from dispatcher.core.maps import Map
from dispatcher.core.model import (
    CloudView,
    ContainerState,
    Fit,
    Instance,
    Leadership,
    Phase,
    Process,
    ProcessPhase,
    QueueView,
    Requirements,
    Resources,
    State,
)
from dispatcher.core.model import Container as ModelContainer
from dispatcher.core.settings import Settings
from dispatcher.driver import InstanceType
from dispatcher.web.app import make_app
from tests.web import recordings
from tests.web.fakes import TOKEN, FakeView
from tests.web.recordings import Recorded, differences

ROOT = "/arvados/v1/dispatch"
TYPE = InstanceType(name="type1", provider_type="p1", vcpus=2, ram_bytes=4 << 30, included_scratch_bytes=100 << 30, price=0.1)


def uuid(number: int) -> str:
    return f"zzzzz-dz642-{number:015d}"


def runs(number: int) -> tuple[ModelContainer, Instance]:
    """A container that runs on an instance."""
    name = f"vm{number:05d}"
    needs = Requirements(vcpus=1, ram_bytes=256 << 20, container_image="fa3c1a9cb6783f85f2ecda037e07b8c3+167")
    held = ModelContainer(
        uuid=uuid(number + 1), state=ContainerState.RUNNING, priority=500, ours=True, first_seen_s=1.0, instance=name,
        created_at="2027-01-15T08:00:00Z", requirements=needs, fit=Fit(need=Resources(vcpus=1, ram=1 << 30), types=("type1",)),
    )  # fmt: skip
    process = Process(uuid=held.uuid, phase=ProcessPhase.RUNNING, since_s=1.0, changed_s=1.0)
    instance = Instance(
        name=name, id=name, type="type1", phase=Phase.READY, address="127.0.0.1:22", phase_since_s=1.0, appeared_s=1.0,
        busy_s=2.0, last_container=held.uuid, processes={held.uuid: process}, bound={held.uuid: Resources(vcpus=1)},
    )  # fmt: skip
    return held, instance


def busy() -> State:
    """Three instances, each with a container."""
    pairs = [runs(number) for number in (1, 2, 3)]
    return State(
        settings=Settings(instance_types={"type1": TYPE}),
        containers=Map((held.uuid, held) for held, _ in pairs),
        instances=Map((instance.name, instance) for _, instance in pairs),
        queue=QueueView(token_uuid="zzzzz-gj3su-000000000000000"),
        leadership=Leadership(leading=True, term=1, since_s=0.0),
        cloud=CloudView(listed_s=1.0),
    )


def ask(method: str, path: str, view: FakeView, token: str | None = TOKEN, form: dict[str, str] | None = None) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return make_app(view, TOKEN).test_client().open(path, method=method, headers=headers, data=form)


# --------------------------------------------------------------------------------------------------------------- the contract

CONTAINER = (
    "uuid etag created_at modified_by_user_uuid modified_at command container_image cwd environment locked_by_uuid lock_count "
    "mounts output output_path output_glob priority runtime_constraints state scheduling_parameters exit_code runtime_status "
    "started_at finished_at gateway_address interactive_session_started output_storage_classes runtime_user_uuid "
    "runtime_auth_scopes runtime_token auth_uuid log cost subrequests_cost service published_ports"
)
GPU_WANTED = "stack driver_version hardware_target device_count vram"
GPU = "Stack DriverVersion HardwareTarget DeviceCount VRAM"
KIND = "ProviderType VCPUs RAM IncludedScratch AddedScratch Price Preemptible GPU"

# path → keys → the keys below them: what an answer must have, as upstream names it
KEYS: dict[str, dict[str, str]] = {
    "entry": {
        "": "container instance_resources instance_types instance_type first_seen_at scheduling_status",
        "container": CONTAINER,
        "container.runtime_constraints": "API ram vcpus keep_cache_ram keep_cache_disk gpu",
        "container.runtime_constraints.gpu": GPU_WANTED,
        "container.scheduling_parameters": "partitions preemptible max_run_time supervisor",
        "instance_resources": "VCPUs RAM Scratch GPUs GPUVRAM",
        "instance_types[]": KIND,
        "instance_types[].GPU": GPU,
        "instance_type": KIND,
    },
    "view": {
        "": "instance address price arvados_instance_type provider_instance_type last_container_uuid last_busy "
        "running_container_uuids worker_state idle_behavior",
    },
}
ONE = "?instance_id=vm00001"
C2 = uuid(2)
E = "errors"

# method, path below /arvados/v1/dispatch, form → status, what the answer is: keys, an error, or text
TABLE: tuple[tuple[str, str, dict[str, str], int, str], ...] = (
    ("GET", "/containers", {}, 200, "items of entry"),
    ("GET", f"/container?container_uuid={C2}", {}, 200, "entry"),
    ("GET", "/container", {}, 404, "error: container not found"),
    ("GET", f"/container?container_uuid={uuid(9)}", {}, 404, "error: container not found"),
    ("POST", "/containers/kill", {}, 400, "error: container_uuid parameter not provided"),
    ("POST", f"/containers/kill?container_uuid={uuid(9)}", {}, 404, "error: container not found"),
    ("POST", f"/containers/kill?container_uuid={C2}&reason=x", {}, 200, "text: "),
    ("POST", "/containers/kill", {"container_uuid": C2, "reason": "x"}, 200, "text: "),
    ("GET", "/instances", {}, 200, "items of view"),
    *(("POST", f"/instances/{act}{ONE}", {}, 200, "text: ") for act in ("hold", "drain", "run", "kill")),
    *(("POST", f"/instances/{act}", {"instance_id": "vm00001"}, 200, "text: ") for act in ("hold", "drain", "run", "kill")),
    *(
        ("POST", f"/instances/{act}", {}, 400, "error: instance_id parameter not provided")
        for act in ("hold", "drain", "run", "kill")
    ),
    *(
        ("POST", f"/instances/{act}?instance_id=x", {}, 404, "error: requested instance does not exist")
        for act in ("hold", "drain", "run")
    ),
    ("POST", "/instances/kill?instance_id=x&reason=y", {}, 404, "error: instance not found"),
    *(("GET", f"/instances/{act}{ONE}", {}, 405, "text: Method Not Allowed\n") for act in ("hold", "drain", "run", "kill")),
    ("POST", "/instances", {}, 405, "text: Method Not Allowed\n"),
    ("POST", "/containers", {}, 405, "text: Method Not Allowed\n"),
    ("GET", "/nonesuch", {}, 404, "text: 404 page not found\n"),
    ("GET", "/../../../_health/nonesuch", {}, 404, "text: 404 page not found\n"),
)


@pytest.mark.parametrize(("method", "path", "form", "status", "what"), TABLE)
def test_an_answer_is_what_clients_know(method: str, path: str, form: dict[str, str], status: int, what: str) -> None:
    """Path, parameters by query or form, status, and every key or word of the answer."""
    answer = ask(method, ROOT + path, FakeView(state=busy()), form=form or None)
    assert answer.status_code == status
    kind, _, text = what.partition(": ")
    if kind == "text":
        assert answer.text == text
    elif kind == "error":
        assert answer.json == {"errors": [text]}
    else:
        shown = answer.json["items"][0] if kind.startswith("items") else answer.json
        assert missing(shown, KEYS[kind.rpartition(" ")[2]]) == []


def missing(shown: Any, keys: dict[str, str]) -> list[str]:
    return [f"{where} {key}" for where, names in keys.items() for key in names.split() if key not in part(shown, where)]


def part(shown: Any, where: str) -> Any:
    for step in where.split(".") if where else ():
        shown = shown[step.removesuffix("[]")]
        shown = shown[0] if step.endswith("[]") else shown
    return shown


TOKENS = (
    (None, ROOT + "/instances", 401, "Unauthorized\n"),
    ("wrong", ROOT + "/instances", 403, "Forbidden\n"),
    (None, "/metrics", 401, "Unauthorized\n"),
    (None, "/_health/ping", 401, "authorization required\n"),
    ("wrong", "/_health/ping", 403, "authorization error\n"),
)


@pytest.mark.parametrize(("token", "path", "status", "text"), TOKENS)
def test_who_may_not_ask_is_told_in_known_words(token: str | None, path: str, status: int, text: str) -> None:
    """Health checks have words of their own."""
    answer = ask("GET", path, FakeView(), token=token)
    assert (answer.status_code, answer.text) == (status, text)


def test_a_type_that_is_gone_leaves_the_single_type_null() -> None:
    """12.24: the published documentation names ``instance_type``, the newest dispatcher answers ``instance_types``: both are
    here, the first of the list or null, and an empty list is ``[]``."""
    state = busy()
    bare = replace(state, settings=replace(state.settings, instance_types={}))
    shown = ask("GET", f"{ROOT}/container?container_uuid={C2}", FakeView(state=bare)).json
    assert (shown["instance_types"], shown["instance_type"]) == ([], None)
    shown = ask("GET", f"{ROOT}/container?container_uuid={C2}", FakeView(state=state)).json
    assert shown["instance_type"] == shown["instance_types"][0]


# -------------------------------------------------------------------------------------------------------------- the recordings

EMPTY = State(leadership=Leadership(leading=True, term=1, since_s=0.0))


@pytest.fixture(scope="module")
def recorded() -> list[Recorded]:
    path = recordings.location()
    if not path.exists():
        pytest.skip(f"no recordings of the Arvados dispatcher at {path}; set {recordings.VARIABLE} to their place")
    return recordings.load(path)


def replay(one: Recorded, view: FakeView) -> list[str]:
    token = {"management": TOKEN, "wrong": "wrong", "none": None}[one.token]
    form = {"instance_id": "vm00001"} if one.name == "hold-form" else None
    answer = ask(one.method, one.path, view, token=token, form=form)
    if answer.status_code != one.status:
        return [f"{one.name}: {answer.status_code} instead of {one.status}"]
    if one.json is not None and one.status >= 400:
        return [] if answer.json == one.json else [f"{one.name}: {answer.json}"]
    if one.json is not None:
        return list(differences(one.name, one.json, answer.json))
    return [] if answer.text == one.body or one.name == "metrics.json" else [f"{one.name}: {answer.text!r}"]


def test_our_answers_are_the_recorded_ones(recorded: list[Recorded]) -> None:
    """Every recorded request in its order, on a fleet like the recorded one: status, keys, kinds of values, words of errors."""
    view, found = FakeView(), list[str]()
    for one in recorded:
        if one.name.endswith("-empty"):
            view.state = EMPTY
        elif view.state is EMPTY:
            view.state = busy()
        found += replay(one, view)
    assert found == ["root: 200 instead of 404"], "at the root stands our page: upstream has none"
    assert len(recorded) > 30
