"""The dispatcher's own SSH adapter on the machines of both drivers: identified, booted, given a runner, started, killed."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ssh_client import wait_until
from stub_world import TYPE, driver_settings, request

from dispatcher.core.messages import ProbeProblem, StartOutcome, Target
from dispatcher.driver import Call, Driver, Instance
from dispatcher.edge.instances import InstanceAccess, SSHInstances, connect_instances
from dispatcher.edge.runner_config import RunnerAccess
from drivers.local import open as open_local
from drivers.ssh_server import load_private_key, new_private_key
from drivers.stub import StubCloud, StubDriver, StubKnobs
from drivers.stub.servers import SSHServers

RUNNER = Path(__file__).parents[2] / "dispatcher" / "embedded" / "runner.py"
UUID = "zzzzz-dz642-000000000000001"
SECRET = "correct horse"
PRIVATE_KEY = new_private_key()
API = RunnerAccess(api_host="http://127.0.0.1:9", api_token="token", system_root_token="root")  # nobody listens there


def call() -> Call:
    return Call(timeout_s=20.0)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Driver]:
    settings = dataclasses.replace(driver_settings(), parameters={"Folder": str(tmp_path), "BootTime": 0})
    driver = open_local(settings)
    yield driver
    for instance in driver.list(call()).instances:
        driver.destroy(instance.id, call())


@pytest.fixture
def stub() -> Iterator[Driver]:
    servers = SSHServers(now=time.monotonic)
    knobs = StubKnobs.kind(container_s=3600.0)
    cloud = StubCloud(now=time.monotonic, random=random.Random(1), knobs=knobs, servers=servers)
    yield StubDriver(cloud, driver_settings())
    servers.close_all()


@pytest.fixture
def instances() -> Iterator[SSHInstances]:
    access = InstanceAccess(
        private_key=PRIVATE_KEY, cluster_id="zzzzz", runner_access=API, deploy_binary=str(RUNNER), timeout_connect_s=20.0
    )
    port = connect_instances(access)
    yield port
    port.stop()


def created(driver: Driver) -> Instance:
    """A new instance, when it has an address. Its init script writes the secret, as the dispatcher's does."""
    script = f"#!/bin/sh\n(umask 0177; printf %s '{SECRET}' > /var/run/arvados-instance-secret)\n"
    tags = {**request().tags, "ArvadosInstanceSecret": SECRET}
    asked = dataclasses.replace(request(), tags=tags, init_script=script, public_key=_public_line())
    driver.create(asked, call())
    wait_until(lambda: driver.list(call()).instances[0].address, "an address")
    return driver.list(call()).instances[0]


def _public_line() -> str:
    key = load_private_key(PRIVATE_KEY)
    return f"{key.get_name()} {key.get_base64()}"


@pytest.mark.parametrize("name", ["local", "stub"])
def test_a_container_is_started_seen_and_killed(name: str, request: pytest.FixtureRequest, instances: SSHInstances) -> None:
    """First contact by the secret, then every command that the dispatcher knows."""
    listed = created(request.getfixturevalue(name))
    target = Target(name=listed.name, address=listed.address, user=listed.user, secret=SECRET)
    wait_until(lambda: instances.probe(target, boot=True).booted, "it is booted")
    assert instances.probe(target, boot=False).processes == frozenset()
    assert instances.start(target, UUID, TYPE).outcome is StartOutcome.STARTED
    assert instances.probe(target, boot=False).processes == {UUID}
    assert instances.start(target, UUID, TYPE).outcome is StartOutcome.REFUSED
    wait_until(lambda: instances.kill(target, UUID, 15).gone, "the runner ends")
    report = instances.probe(target, boot=False)
    assert (report.processes, report.stale, report.problem) == (frozenset(), frozenset(), ProbeProblem.NONE)


@pytest.mark.parametrize("name", ["local", "stub"])
def test_a_machine_with_another_secret_is_not_used(name: str, request: pytest.FixtureRequest, instances: SSHInstances) -> None:
    """Whoever answers under this address is not the machine that we made."""
    listed = created(request.getfixturevalue(name))
    target = Target(name=listed.name, address=listed.address, user=listed.user, secret="another")

    def refused() -> bool:
        return instances.probe(target, boot=True).problem is ProbeProblem.HOST_KEY

    wait_until(refused, "the identity check fails")


def test_known_host_keys_need_no_secret(local: Driver, instances: SSHInstances) -> None:
    """The driver vouches for the machine before anybody logs in."""
    listed = created(local)
    host_keys: Callable = local.host_keys  # type: ignore[attr-defined]
    target = Target(name=listed.name, address=listed.address, user=listed.user, host_keys=host_keys(listed.id))
    wait_until(lambda: instances.probe(target, boot=True).booted, "it is booted")
