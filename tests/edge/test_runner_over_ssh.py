"""The embedded runner on a real OpenSSH server: put there, started, marked, and never told a secret but on standard input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from instance_support import RUNNER, TYPE, UUID, access
from ssh_support import eventually
from sshd import SSHD, running_sshd

import dispatcher.embedded.runner
from dispatcher.core.messages import StartOutcome
from dispatcher.edge.instances import SSHInstances, connect_instances
from dispatcher.edge.runner import Runner
from dispatcher.edge.runner_config import RunnerAccess, gateway_secret
from tests.processes import told_by_all

ACCESS = RunnerAccess(
    api_host="api.example.com:8443",
    api_token="v2/zzzzz-gj3su-000000000000000/marked-token",
    api_insecure=True,
    system_root_token="marked-root-token",
    keep_buffers_per_vcpu=1,
    cluster_config={"SystemRootToken": "marked-cluster-secret"},
)
SECRETS = ("marked-token", "marked-root-token", "marked-cluster-secret", gateway_secret("marked-root-token", UUID))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SSHD]:
    folder = tmp_path / "vm"
    (folder / "lock").mkdir(parents=True)
    with running_sshd(folder) as running:
        running.install("sh", f'#!/bin/sh\nCRUNCH_RUN_LOCK_DIR={folder}/lock exec /bin/sh "$@"\n')
        yield running


@pytest.fixture
def instances(server: SSHD, tmp_path: Path) -> Iterator[SSHInstances]:
    """With our own runner, which is put there first."""
    binary, directory = dispatcher.embedded.runner.__file__, str(tmp_path / "deployed")
    port = connect_instances(access(server, deploy_binary=binary, deploy_directory=directory, boot_probe_command="true"))
    assert port.probe(server.target(), boot=True).booted
    yield port
    port.stop()


def test_a_broken_mark_is_seen(server: SSHD, instances: SSHInstances) -> None:
    """What the runner says of its instance reaches the report, and goes when the mark goes."""
    mark = server.folder / "lock" / "crunch-run-broken"
    mark.touch()
    assert instances.probe(server.target(), boot=False).broken
    mark.unlink()
    assert not instances.probe(server.target(), boot=False).broken


def test_a_stale_lock_is_seen(server: SSHD, instances: SSHInstances) -> None:
    """Its process is gone and something else holds the lock: neither a process nor nothing."""
    lock = server.folder / "lock" / f"crunch-run-{UUID}.lock"
    lock.write_text(json.dumps({"UUID": UUID, "PID": 2**22 + 1}) + "\n")  # beyond the greatest process id
    ready = server.folder / "held"
    server.install("hold", f'#!/bin/sh\nexec flock {lock} sh -c "touch {ready}; sleep 60"\n')
    with ThreadPoolExecutor(1) as pool:
        holder = connect_instances(access(server, boot_probe_command="hold", timeout_command_s=30.0))
        job = pool.submit(holder.probe, server.target("holder"), boot=True)
        assert eventually(ready.exists)
        report = instances.probe(server.target(), boot=False)
        assert (report.processes, report.stale) == (frozenset(), frozenset({UUID}))
        server.stop()
        job.result()
        holder.stop()


def test_secrets_reach_the_runner_on_standard_input_alone(server: SSHD) -> None:
    """While a start runs, no process of this host shows one in its arguments or environment; the runner has them all."""
    server.install("crunch-run", RUNNER)
    (server.folder / "hang").touch()
    runner = Runner(broken_node_hook="/opt/it's broken", arguments=("--foo=a b",))
    port = connect_instances(access(server, runner=runner, runner_access=ACCESS))
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(port.start, server.target(), UUID, TYPE, vcpus=2)
        assert eventually((server.folder / "hanging").exists)
        shown = told_by_all("cmdline", "environ")
        assert "--stdin-config" in shown  # it was looked at
        assert not [secret for secret in (*SECRETS, server.secret) if secret in shown]
        assert "--broken-node-hook=/opt/it's broken\0--foo=a b\0" in shown
        port.stop()
        assert job.result().outcome is StartOutcome.UNKNOWN
    given = (server.folder / "stdin.json").read_text()
    assert not [secret for secret in (*SECRETS[2:], SECRETS[0]) if secret not in given]
    environment = json.loads(given)["Env"]
    assert (environment["ARVADOS_API_HOST"], environment["ARVADOS_API_TOKEN"]) == (ACCESS.api_host, ACCESS.api_token)
    assert set(environment) == {
        "ARVADOS_API_HOST", "ARVADOS_API_TOKEN", "ARVADOS_API_HOST_INSECURE",
        "InstanceType", "GatewayAddress", "GatewayAuthSecret",
    }  # fmt: skip
