"""A cloud inside a machine without a network: the fake Azure over TLS, whose machines answer on SSH and end the containers of the
queue that runs beside it. It configures the installed service for itself, and at its end tells what was done to it.

It is copied into the machine with ``tests/fake_azure``, and run as root: ``azure_rig.py FOLDER``.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from drivers.stub import StubKnobs
from tests.fake_azure.account import Account
from tests.fake_azure.knobs import Knobs
from tests.fake_azure.machines import SSHMachines
from tests.fake_azure.server import AzureServer
from tests.fake_azure.workload import QueueWorkload

QUEUE = "https://127.0.0.1:9007/arvados/v1/"
ETC = Path("/etc/cloud-dispatcher")
CREDENTIALS = ETC / "credentials"
CERTIFICATE = "/var/lib/cloud-dispatcher/queue/certificate.pem"
CONFIG = """\
Clusters:
  zzzzz:
    Services:
      Controller: {{ExternalURL: "https://127.0.0.1:9007/"}}
      DispatchCloud: {{InternalURLs: {{"http://127.0.0.1:9006": {{}}}}}}
    Containers:
      ReserveExtraRAM: 0
      LocalKeepBlobBuffersPerVCPU: 0
      CloudVMs:
        Driver: azure
        ImageID: {image}
        SSHPort: "{ssh_port}"
        DeployRunnerBinary: ""
        ProbeInterval: 1s
        PollInterval: 1s
        SyncInterval: 2s
        TimeoutIdle: 5s
        BootProbeCommand: systemctl is-system-running
        DriverParameters:
          ARMEndpoint: {endpoint}
          AuthorityHost: {authority}
          CABundle: {ca_file}
          SubscriptionID: {subscription}
          TenantID: {tenant}
          ClientID: {client_id}
          Location: {location}
          ResourceGroup: {resource_group}
          NetworkResourceGroup: {network_resource_group}
          Network: {network}
          Subnet: {subnet}
    InstanceTypes:
      d2: {{ProviderType: Standard_D2s_v5, VCPUs: 2, RAM: 8GiB, IncludedScratch: 100GB, Price: 0.10}}
"""


def send(method: str, path: str, body: Any) -> tuple[int, Any]:
    token = (CREDENTIALS / "SystemRootToken").read_text().strip()
    answer = requests.request(
        method, f"{QUEUE}{path}", json=body, headers={"Authorization": f"Bearer {token}"}, verify=CERTIFICATE, timeout=30
    )
    return answer.status_code, answer.json()


def configure(told: dict[str, str]) -> None:
    """As an administrator would: the file for all to read, the secret in a file of its own."""
    shutil.copy(told["ca_file"], ETC / "azure.pem")
    (ETC / "azure.pem").chmod(0o644)
    (ETC / "config.yml").write_text(CONFIG.format(**{**told, "ca_file": ETC / "azure.pem"}))
    secret = CREDENTIALS / "Containers.CloudVMs.DriverParameters.ClientSecret"
    secret.touch(mode=0o600)
    secret.write_text(told["client_secret"])


def main(folder: Path) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    workload = QueueWorkload(send)
    machines = SSHMachines(workload=workload, knobs=StubKnobs.kind(container_s=5.0), boot_s=(0.5, 1.5))
    account = Account(now=time.monotonic, knobs=Knobs.kind(), seed=1, hardware=machines, epoch=datetime.now(UTC))
    with AzureServer(account, folder) as server:
        configure({**server.description(), "ssh_port": str(machines.port)})
        (folder / "ready").touch()
        while not stop.wait(0.5):
            (folder / "seen.json").write_text(json.dumps({"calls": dict(account.calls), "left": account.left()}))
    machines.close()
    told = {
        "ran": workload.ran,
        "twice": workload.twice,
        "left": account.left(),
        "killed": machines.killed_with_work,
        "violations": [f"{violation.operation}: {violation.text}" for violation in account.judge.violations],
    }
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
