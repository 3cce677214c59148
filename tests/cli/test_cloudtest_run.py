"""``cloudtest`` as a process of its own: on instances that answer over real SSH: local ones, the stub's, a fake Azure's."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from drivers.ssh_server import new_private_key
from tests.embedded.live import until

pytestmark = pytest.mark.slow

TOKEN = "markedroottoken0123456789abcdefghijklmnopq"
SHOW_SECRET = "echo hallo; cat /var/run/arvados-instance-secret"
PATIENCE_S = 150.0
AZURE_KEYS = {
    "SubscriptionID": "subscription", "TenantID": "tenant", "ClientID": "client_id", "ClientSecret": "client_secret",
    "Location": "location", "ResourceGroup": "resource_group", "NetworkResourceGroup": "network_resource_group",
    "Network": "network", "Subnet": "subnet", "ARMEndpoint": "endpoint", "AuthorityHost": "authority", "CABundle": "ca_file",
}  # fmt: skip


class Site:
    """A folder with a configuration in it, and the command on it."""

    def __init__(self, folder: Path, driver: str, parameters: Mapping[str, Any], **cloud_vms: Any) -> None:
        self.folder = folder
        (folder / "key").write_text(new_private_key())
        (folder / "key").chmod(0o600)
        vms = {
            "Driver": driver, "ImageID": "none", "DeployRunnerBinary": "", "ProbeInterval": "500ms", "SyncInterval": "1s",
            "TimeoutBooting": "60s", "DriverParameters": dict(parameters), **cloud_vms,
        }  # fmt: skip
        cluster = {
            "SystemRootToken": TOKEN,
            "Services": {"Controller": {"ExternalURL": "https://127.0.0.1:9/"}},
            "Containers": {"DispatchPrivateKey": f"file://{folder}/key", "CloudVMs": vms},
            "InstanceTypes": {
                "small": {"ProviderType": "Standard_D2s_v5", "VCPUs": 1, "RAM": "1GiB", "IncludedScratch": "1GB", "Price": 0.1},
                "big": {"ProviderType": "Standard_D4s_v5", "VCPUs": 2, "RAM": "2GiB", "IncludedScratch": "1GB", "Price": 0.2},
            },
        }
        (folder / "config.yml").write_text(yaml.safe_dump({"Clusters": {"zzzzz": cluster}}))
        (folder / "settings.yml").write_text(f"StateFolder: {folder}/state\n")

    def command(self, *arguments: str) -> list[str]:
        places = ("--config", f"{self.folder}/config.yml", "--settings", f"{self.folder}/settings.yml")
        return [sys.executable, "-m", "dispatcher", "cloudtest", *places, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
        )
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def machines(self) -> list[str]:
        """Those of the local driver."""
        folder = self.folder / "data/instances"
        return [path.name for path in folder.iterdir()] if folder.exists() else []


class Started:
    """A run that is watched."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            site.command(*arguments), bufsize=1, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)

    def wait_for(self, part: str) -> None:
        until(lambda: any(part in line for line in self.lines), f"{part!r} is told: {self.lines}", PATIENCE_S)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def press_enter(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> int:
        try:
            return self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._reader.join(PATIENCE_S)
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()


@pytest.fixture
def local(tmp_path: Path) -> Site:
    return Site(tmp_path, "local", {"Folder": f"{tmp_path}/data", "BootTime": "300ms"})


def test_a_local_instance_is_made_used_and_destroyed(local: Site) -> None:
    """Everything for real; the instance's own secret is not shown either."""
    done = local.run("--command", SHOW_SECRET)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "type small" in done.stdout
    assert "stdout: hallo\n" in done.stdout
    assert "stdout: ***\n" in done.stdout
    assert re.search(r"ssh -p \d+ -- \S+@127\.0\.0\.1 ", done.stdout)
    assert "host key: ssh-ed25519 SHA256:" in done.stdout
    assert "all went well" in done.stdout
    assert local.machines() == []


def test_upstreams_spelling_of_the_options_is_understood(local: Site) -> None:
    """One dash is as good as two; a command that fails gives 1."""
    done = local.run("-instance-type", "big", "-instance-set-id", "mine", "-image-id", "other", "-command", "exit 3")
    assert done.returncode == 1
    assert "set mine, image 'other', type big" in done.stdout
    assert "exit status 3" in done.stdout
    assert local.machines() == []


def test_a_stub_instance_is_known_by_its_secret(tmp_path: Path) -> None:
    """No host key is vouched for there: the machine has to show what only ours can hold."""
    done = Site(tmp_path, "stub", {"SSH": True, "Kind": True}).run("--command", "true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "host key: known by its secret" in done.stdout


def test_what_cannot_be_is_said_before_anything_is_made(local: Site) -> None:
    """With the exit status of a problem; a wrong call is told apart."""
    assert "not configured; there are big, small" in local.run("--instance-type", "huge").stdout
    assert local.run("--instance-type", "huge").returncode == 1
    assert local.run("--instance-typo", "huge").returncode == 2
    assert local.machines() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_test_destroys_its_instance(tmp_path: Path, number: int) -> None:
    """While it boots, which here takes for ever."""
    site = Site(tmp_path, "local", {"Folder": f"{tmp_path}/data", "BootTime": "1h"})
    run = Started(site)
    run.wait_for("boot probe: not yet")
    assert len(site.machines()) == 1
    run.send(number)
    assert run.end() == 1
    assert "interrupted" in run.lines[-1]
    assert site.machines() == []


def test_a_signal_that_comes_twice_at_once_is_one(tmp_path: Path) -> None:
    """As some send it: the instance is destroyed all the same."""
    site = Site(tmp_path, "local", {"Folder": f"{tmp_path}/data", "BootTime": "1h"})
    run = Started(site)
    run.wait_for("boot probe: not yet")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        run.send(number)
    assert run.end() == 1
    assert "given up" not in "".join(run.lines)
    assert site.machines() == []


def test_it_destroys_also_when_nobody_reads_what_it_tells(tmp_path: Path) -> None:
    """The terminal was closed, or ``head`` had read enough."""
    site = Site(tmp_path, "local", {"Folder": f"{tmp_path}/data", "BootTime": "1h"})
    with subprocess.Popen(
        site.command(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stdout is not None
        while "create: accepted" not in run.stdout.readline():
            assert run.poll() is None
        run.stdout.close()
        run.send_signal(signal.SIGHUP)
        run.wait(PATIENCE_S)
    assert site.machines() == []


def test_an_interrupt_ends_a_command_that_runs_there(local: Site) -> None:
    """Nobody waits for it."""
    run = Started(local, "--command", "touch begun; sleep 3600")
    run.wait_for("boot probe: ok")
    until(lambda: any((local.folder / "data").rglob("begun")), "the command runs", PATIENCE_S)
    run.send(signal.SIGINT)
    assert run.end() == 1
    assert local.machines() == []


def test_it_waits_for_enter_and_nobody_else_may_use_the_set(local: Site) -> None:
    """A second test of the same set is refused, unless it is told to take over."""
    first = Started(local, "--pause-before-destroy")
    first.wait_for("press Enter")
    refused = local.run()
    assert refused.returncode == 1
    assert "the set has 1 instances already" in refused.stdout
    assert len(local.machines()) == 1
    assert local.run("--destroy-existing").returncode == 0
    assert local.machines() == []
    first.press_enter()
    assert first.end() == 0


# -------------------------------------------------------------------------------------------------------------- fake Azure


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[tuple[Site, Any]]:
    pytest.importorskip("azure.mgmt.compute", reason="azure-mgmt-compute is not installed: pip install '.[azure]'")
    from tests.fake_azure.account import Account
    from tests.fake_azure.knobs import Knobs
    from tests.fake_azure.machines import SSHMachines
    from tests.fake_azure.server import AzureServer

    machines = SSHMachines(boot_s=(0.2, 0.5))
    knobs = Knobs.kind(list_lag_s=1.0, create_takes_s=0.5, max_delete_s=2.0)
    account = Account(now=time.monotonic, knobs=knobs, hardware=machines)
    with AzureServer(account, tmp_path / "azure") as server:
        said = server.description()
        parameters = {name: said[key] for name, key in AZURE_KEYS.items()}
        yield Site(tmp_path, "azure", parameters, ImageID=str(account.site.images[0]), SSHPort=str(machines.port)), account
    machines.close()


def test_the_whole_test_passes_on_a_fake_azure(azure: tuple[Site, Any]) -> None:
    """The real SDK over TLS, a real login with the injected host key; and nothing is left there."""
    site, account = azure
    done = site.run("--command", "true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "host key: ssh-ed25519 SHA256:" in done.stdout
    assert account.left() == []
    assert account.judge.violations == []
