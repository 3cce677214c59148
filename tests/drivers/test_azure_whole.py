"""The whole dispatcher on the fake Azure: real threads, the real SDK over TLS, real SSH, an embedded queue, and a cloud that
throttles, refuses, loses answers and breaks pages. In the end nothing of ours is left, and nothing was destroyed wrongly."""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config import Config, load
from dispatcher.runtime.daemon import Daemon, build
from drivers.ssh_server import new_private_key
from drivers.stub import StubKnobs
from tests.embedded.live import LiveQueue, until
from tests.fake_azure.account import Account
from tests.fake_azure.bodies import machine_body
from tests.fake_azure.buckets import Limits, Rate
from tests.fake_azure.client import Client
from tests.fake_azure.knobs import Knobs
from tests.fake_azure.machines import SSHMachines
from tests.fake_azure.server import AzureServer
from tests.fake_azure.site import Site
from tests.fake_azure.workload import QueueWorkload

CONTAINERS = int(os.environ.get("AZURE_WHOLE_CONTAINERS", "16"))  # 40 take two minutes on two cores, 200 three
FAMILY_CORES = CONTAINERS * 2 // 4  # a quarter of what all would need, of each of three kinds: quota is felt
PATIENCE_S, STOP_S = 300.0 + CONTAINERS, 15.0
OFFERED = {entry.name for entry in importlib.metadata.entry_points(group="dispatcher.drivers")}

CLUSTER = """\
Clusters:
  zzzzz:
    SystemRootToken: {token}
    Services:
      Controller: {{ExternalURL: "{url}/"}}
    Containers:
      DispatchPrivateKey: file://{folder}/key
      ReserveExtraRAM: 0
      LocalKeepBlobBuffersPerVCPU: 0
      CloudVMs:
        Driver: azure
        ImageID: {image}
        SSHPort: "{ssh_port}"
        DeployRunnerBinary: ""
        ProbeInterval: 1s
        PollInterval: 500ms
        SyncInterval: 2s
        TimeoutIdle: 2s
        TimeoutBooting: 60s
        TimeoutShutdown: 3s
        BootProbeCommand: systemctl is-system-running
        DriverParameters:
          ARMEndpoint: {endpoint}
          AuthorityHost: {authority}
          CABundle: {ca_file}
          SubscriptionID: {subscription}
          TenantID: {tenant}
          ClientID: {client_id}
          ClientSecret: {client_secret}
          Location: {location}
          ResourceGroup: {resource_group}
          NetworkResourceGroup: {network_resource_group}
          Network: {network}
          Subnet: {subnet}
          DeleteDanglingResourcesAfter: 20s
    InstanceTypes:
      d2: {{ProviderType: Standard_D2s_v5, VCPUs: 1, RAM: 8GiB, IncludedScratch: 100GB, Price: 0.10}}
      d2a: {{ProviderType: Standard_D2as_v5, VCPUs: 1, RAM: 8GiB, IncludedScratch: 100GB, Price: 0.11}}
      e2: {{ProviderType: Standard_E2s_v5, VCPUs: 1, RAM: 16GiB, IncludedScratch: 100GB, Price: 0.13}}
"""
SETTINGS = """\
StateFolder: {folder}/state
APICertificateFile: {certificate}
"""


@dataclass
class Azure:
    """The cloud and the queue of one test, before any dispatcher."""

    server: AzureServer
    machines: SSHMachines
    workload: QueueWorkload
    queue: LiveQueue
    folder: Path

    @property
    def account(self) -> Account:
        return self.server.account

    def read(self) -> Config:
        loaded = load(self.folder / "config.yml", self.folder / "settings.yml")
        if loaded.config is None:
            raise ValueError("; ".join(str(problem) for problem in loaded.problems))
        return loaded.config

    def write(self) -> None:
        (self.folder / "state").mkdir(exist_ok=True)
        key = self.folder / "key"
        key.write_text(new_private_key())
        key.chmod(0o600)
        values = {
            **self.server.description(),
            "token": self.queue.root_token,
            "url": self.queue.description["url"],
            "certificate": self.queue.description["certificate"],
            "folder": self.folder,
            "ssh_port": self.machines.port,
        }
        (self.folder / "config.yml").write_text(CLUSTER.format(**values))
        (self.folder / "settings.yml").write_text(SETTINGS.format(**values))

    def ours(self) -> list[str]:
        return [resource_id for resource_id in self.account.left() if "/others-" not in resource_id]

    def told(self, daemon: Daemon) -> str:
        """What a failure has to say."""
        story = "\n".join(entry.text for entry in daemon.story.entries(limit=60))
        snapshot = daemon.store.snapshot()
        rows = "\n".join(f"{one.name} {one.phase} {one.address}" for one in snapshot.instances.all())
        return f"{daemon.view().health()}\n{story}\n{rows}\n{self.account.faults}\n{self.account.statuses}\n{self.ours()}"


def unkind() -> Knobs:
    """Everything goes wrong now and then; what takes Azure minutes takes seconds here."""
    limits = Limits(reads=Rate(40, 25), writes=Rate(10, 5), deletes=Rate(8, 5))
    return Knobs(limits=limits, card_reserved_s=12.0, page_size=20, max_slow_s=1.0, late_failure_rate=0.1, sync_failure_rate=0.1)


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Azure]:
    if "azure" not in OFFERED:
        pytest.skip("the driver azure is not installed: pip install '.[azure]'")
    pytest.importorskip("azure.mgmt.compute", reason="azure-mgmt-compute is not installed: pip install '.[azure]'")
    queue = LiveQueue(tmp_path)
    queue.start()
    workload = QueueWorkload(lambda method, path, body: queue.call(method, path, body))
    machines = SSHMachines(workload=workload, knobs=StubKnobs.kind(container_s=8.0, detach_s=0.2), boot_s=(0.5, 3.0))
    site = Site(family_cores=FAMILY_CORES)
    account = Account(now=time.monotonic, site=site, knobs=unkind(), seed=7, hardware=machines)
    with AzureServer(account, tmp_path / "azure") as server:
        made = Azure(server, machines, workload, queue, tmp_path)
        made.write()
        yield made
    machines.close()
    queue.stop()


def others(account: Account) -> list[str]:
    """What somebody else has in the same resource group: a machine, and a card and a disk that nobody uses."""
    client, knobs = Client(account), account.knobs
    account.knobs = Knobs.kind()
    for name in ("others-1", "others-2"):
        body: dict[str, Any] = machine_body(name, account.site)
        body["tags"] = {"ArvadosInstanceSetID": "another set"}
        body["properties"]["storageProfile"]["osDisk"]["deleteOption"] = "Detach"
        body["properties"]["networkProfile"]["networkInterfaceConfigurations"][0]["properties"]["deleteOption"] = "Detach"
        client.create(name, body)
    client.delete("vm", "others-2")
    account.knobs = knobs
    return account.left()


@pytest.mark.slow
@pytest.mark.timeout(3 * PATIENCE_S)
def test_nothing_is_left_and_nothing_destroyed_wrongly(azure: Azure) -> None:
    """Many containers through all the faults: each ran once and to its end, and then the account is as it was before."""
    account, before = azure.account, others(azure.account)
    daemon = build(azure.read(), reread=azure.read)
    daemon.start()
    try:
        uuids = [azure.queue.queued() for _ in range(CONTAINERS)]
        try:
            states = lambda: {azure.queue.container(uuid)["state"] for uuid in uuids}  # noqa: E731
            until(lambda: states() == {"Complete"}, "every container is Complete", PATIENCE_S)
            until(lambda: not azure.ours(), "no machine, card or disk of ours is left", PATIENCE_S)
        except AssertionError as late:
            raise AssertionError(azure.told(daemon)) from late
    finally:
        daemon.stop(STOP_S)
    assert account.left() == before
    assert azure.workload.twice == []
    assert sorted(uuid for uuid, _ in azure.workload.ran) == sorted(uuids)
    assert azure.machines.killed_with_work == []
    assert account.judge.violations == []
    assert not daemon.perform.bugs
    assert daemon.store.planner_bugs == 0
    assert account.throttle.refusals
    assert sum(count for what, count in account.faults.items() if what.startswith(("create", "delete", "list"))) > 10
