"""The client against the embedded queue: the whole life of a container over TLS, as the dispatcher lives it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from dispatcher.core.looks import Look
from dispatcher.core.messages import QueueError
from dispatcher.core.model import ContainerState
from dispatcher.edge.arvados import ArvadosQueue
from dispatcher.edge.http import Endpoint

STARTS_WITHIN_S = 60.0
SIZE = {"vcpus": 2, "ram": 1 << 30, "cuda": {"device_count": 1, "driver_version": "11.0", "hardware_capability": "8.0"}}


@dataclass(frozen=True)
class Service:
    url: str
    token: str
    authority: str

    def call(self, method: str, path: str, **parameters: Any) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method,
                f"{self.url}/arvados/v1/{path}",
                json=parameters or None,
                headers={"Authorization": f"Bearer {self.token}"},
                verify=self.authority,
                timeout=30,
            )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, priority: int) -> str:
        """The uuid of a new container."""
        request = {
            "state": "Committed",
            "priority": priority,
            "command": ["true"],
            "container_image": "fa3c1a9cb6783f85f2ecda037e07b8c3+167",
            "cwd": "/out",
            "output_path": "/out",
            "mounts": {"/out": {"kind": "tmp", "capacity": 1000000}},
            "runtime_constraints": SIZE,
            "use_existing": False,
        }
        made = self.call("POST", "container_requests", container_request=request)
        return str(made["container_uuid"])


@contextmanager
def embedded_queue(folder: Path) -> Iterator[Service]:
    command = [sys.executable, "-m", "dispatcher.embedded.serve", "--data", str(folder)]
    path = folder.parent / "log"
    with path.open("wb") as log, subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log) as process:
        try:
            until_s = time.monotonic() + STARTS_WITHIN_S
            while not (folder / "queue.json").exists():
                assert time.monotonic() < until_s, path.read_text()
                assert process.poll() is None, path.read_text()
                time.sleep(0.05)
            facts = json.loads((folder / "queue.json").read_text())
            yield Service(facts["url"], Path(facts["root_token_file"]).read_text().strip(), facts["certificate"])
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with embedded_queue(tmp_path_factory.mktemp("embedded") / "data") as running:
        yield running


@pytest.fixture
def port(service: Service) -> Iterator[ArvadosQueue]:
    with closing(ArvadosQueue(Endpoint(url=service.url, token=service.token, ca_file=service.authority))) as client:
        yield client


def test_a_container_is_listed_read_locked_and_let_go(service: Service, port: ArvadosQueue) -> None:
    """Each answer is the record as it then is."""
    uuid = service.submit(1000)
    (listed,) = [record for record in port.poll(Look()).records if record.uuid == uuid]
    assert (listed.state, listed.requirements) == (ContainerState.QUEUED, None)
    assert listed.priority > 1 << 53
    (read,) = port.read([uuid, "zzzzz-dz642-000000000000000"]).records
    assert read.requirements is not None
    assert (read.requirements.vcpus, read.requirements.tmp_bytes, read.requirements.gpu.hardware_target) == (2, 1000000, ("8.0",))
    locked = port.lock(uuid)
    assert (locked.state, locked.locked_by_uuid) == (ContainerState.LOCKED, port.token_uuid())
    assert uuid in [record.uuid for record in port.poll(Look()).records if record.locked_by_uuid == port.token_uuid()]
    with pytest.raises(QueueError, match="cannot lock when Locked") as caught:
        port.lock(uuid)
    assert caught.value.failure.status == 422
    assert port.unlock(uuid).state == ContainerState.QUEUED
    (again,) = port.read([uuid]).records
    assert (again.lock_count, again.locked_by_uuid) == (1, None)


@pytest.mark.parametrize("state", ["Queued", "Locked", "Running"])
def test_a_cancel_leaves_its_reason(service: Service, port: ArvadosQueue, state: str) -> None:
    """In whatever state it is, and in one request."""
    uuid = service.submit(500)
    if state != "Queued":
        port.lock(uuid)
    if state == "Running":
        service.call("PUT", f"containers/{uuid}", container={"state": "Running"})
    assert port.cancel(uuid, {"error": "its instance was lost", "errorDetail": "vm-7"}).state == ContainerState.CANCELLED
    status = service.call("GET", f"containers/{uuid}")["runtime_status"]
    assert status == {"error": "its instance was lost", "errorDetail": "vm-7"}


def test_a_complete_container_is_not_cancelled(service: Service, port: ArvadosQueue) -> None:
    """A cancel that comes too late finds the result and leaves it."""
    uuid = service.submit(500)
    port.lock(uuid)
    service.call("PUT", f"containers/{uuid}", container={"state": "Running"})
    service.call("PUT", f"containers/{uuid}", container={"state": "Complete", "exit_code": 0})
    assert port.cancel(uuid, {"error": "its instance was lost"}).state == ContainerState.COMPLETE
    assert service.call("GET", f"containers/{uuid}")["state"] == "Complete"


def test_long_questions_are_understood(service: Service, port: ArvadosQueue) -> None:
    """A hundred uuids do not fit into a URL."""
    uuids = [service.submit(1) for _ in range(3)]
    records = port.read([*uuids, *(f"zzzzz-dz642-{number:015d}" for number in range(97))])
    assert {record.uuid for record in records.records} == set(uuids)
