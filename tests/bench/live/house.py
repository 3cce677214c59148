"""A dispatcher as a process of its own beside the rig, with a configuration that names nothing that it does not have to.

Everything lives in one temporary folder and ends with the block that opened it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from drivers.ssh_server import new_private_key
from tests.bench.live import light
from tests.sources import ROOT

CLUSTER = """\
Clusters:
  zzzzz:
    ManagementToken: benchmanagementtoken
    SystemRootToken: v2/zzzzz-gj3su-000000000000000/benchsystemroottoken
    Services:
      Controller: {{ExternalURL: "{url}/"}}
      Websocket: {{ExternalURL: "{websocket}"}}
      DispatchCloud: {{InternalURLs: {{"http://127.0.0.1:{port}/": {{}}}}}}
    Containers:
      DispatchPrivateKey: file://{folder}/key
      LocalKeepBlobBuffersPerVCPU: 0
      CloudVMs:
        Enable: true
        Driver: rig
        DriverParameters: {{URL: "{url}"}}
        ImageID: none
        DeployRunnerBinary: ""
        MaxInstances: {max_instances}
        {pace}
    InstanceTypes:
      one: {{ProviderType: one, VCPUs: 1, RAM: 4GiB, IncludedScratch: 100GB, Price: 0.1}}
"""
SETTINGS = "StateFolder: {folder}/state\n{more}"
PACE = ("PollInterval: {0}", "ProbeInterval: {0}", "MaxProbesPerSecond: 1000", "SyncInterval: 10s")
CLOCK_TICK = os.sysconf("SC_CLK_TCK")


class House:
    """``seen`` is what the rig saw: queue and cloud events in the order of time."""

    def __init__(self, folder: Path, url: str, rig_pid: int) -> None:
        self.folder, self.url, self.rig_pid = folder, url, rig_pid
        self.dispatcher: subprocess.Popen[bytes] | None = None

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = requests.post(f"{self.url}/rig/{verb}", json=fields, timeout=60).json()
        return answer

    def seen(self) -> list[tuple[float, str, str]]:
        found = self.ask("seen")
        return sorted((at_s, what, who) for at_s, what, who in found["queue"] + found["cloud"])

    def count(self, what: str) -> int:
        """Asked of the rig: to be told of everything each time would cost it more than all that it does."""
        return int(self.ask("count", what=what)["count"])

    def until(self, true: Callable[[], object], what: str, patience_s: float = 120.0) -> None:
        deadline_s = time.monotonic() + patience_s
        while not true():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"not within {patience_s:.0f} s: {what}; see {self.folder}/log")
            time.sleep(0.05)

    def start(self) -> None:
        changes = {"PYTHONPATH": f"{self.folder / 'site'}:{ROOT}", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": ""}
        environment = {**os.environ, **changes}  # compiled code is kept, as every installation has it
        with (self.folder / "log").open("ab") as log:
            self.dispatcher = subprocess.Popen(
                [sys.executable, "-m", "dispatcher", "run", "--config", str(self.folder / "config.yml"),
                 "--settings", str(self.folder / "settings.yml")],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9 of all of it."""
        assert self.dispatcher is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.dispatcher.pid, 9)
        self.dispatcher.wait()

    def _pids(self) -> list[int]:
        assert self.dispatcher is not None
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _group(name) == self.dispatcher.pid]

    def cpu_s(self) -> float:
        """Processor time of all its processes so far."""
        return sum(sum(map(int, _stat(pid)[11:13])) for pid in self._pids()) / CLOCK_TICK

    def rig_cpu_s(self) -> float:
        """The same of queue, cloud and instances."""
        pids = [name for name in os.listdir("/proc") if name.isdigit() and str(self.rig_pid) in (name, *_stat(name)[1:2])]
        return sum(sum(map(int, _stat(pid)[11:13])) for pid in pids) / CLOCK_TICK

    def threads(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in self._pids())

    def open_files(self) -> int:
        """Of the process that has the most."""
        return max(len(os.listdir(f"/proc/{pid}/fd")) for pid in self._pids())

    def proportional_mb(self) -> float:
        """What its processes share is counted once."""
        shown = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self._pids())
        return sum(int(one.partition("\nPss:")[2].split()[0]) for one in shown) * 1024 / 1e6

    def memory_mb(self) -> float:
        """What they share is counted for each."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._pids())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _stat(pid: int | str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _group(pid: str) -> int:
    stat = _stat(pid)
    return int(stat[2]) if stat else -1


@contextlib.contextmanager
def house(
    *, interval: str = "", max_instances: int = 50, events: bool = True, more: str = "", is_light: bool = False
) -> Iterator[House]:
    """A rig and a written configuration; the dispatcher is not started yet. ``interval``: between polls and between probes, as it
    stands in a configuration that names them (``100ms``); ``more``: lines of our own settings; ``is_light``: SSH is served by the
    program of ``light``."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        servers = [str(light.build(folder))] if is_light else []
        command = [sys.executable, "-m", "tests.bench.live.rig", *servers]
        rig = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        assert rig.stdin is not None
        assert rig.stdout is not None
        made = House(folder, json.loads(rig.stdout.readline())["url"], rig.pid)
        try:
            _write(made, interval, max_instances, events, more)
            yield made
        finally:
            if made.dispatcher is not None:
                made.kill()
            rig.stdin.close()
            rig.wait()


def _write(made: House, interval: str, max_instances: int, events: bool, more: str) -> None:
    folder = made.folder
    (folder / "state").mkdir()
    key = folder / "key"
    key.write_text(new_private_key())
    key.chmod(0o600)
    websocket = made.url.replace("http:", "ws:") + "/" if events else ""
    pace = "\n        ".join(line.format(interval) for line in PACE if interval)
    values = {"url": made.url, "websocket": websocket, "port": _free_port(), "folder": folder}
    (folder / "config.yml").write_text(CLUSTER.format(**values, max_instances=max_instances, pace=pace))
    (folder / "settings.yml").write_text(SETTINGS.format(folder=folder, more=more))
    metadata = folder / "site" / "rig_driver-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rig-driver\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dispatcher.drivers]\nrig = tests.bench.live.driver:open\n")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
