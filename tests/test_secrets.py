"""No secret ever: a whole flow with a marked secret in every place that holds one, and every output is searched for them.

The service runs as the process that a site runs, on real threads: with runners that work, and with runners that spill all that
they were told.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

import dispatcher.embedded.runner
from dispatcher.config import load
from drivers.local import processes
from drivers.ssh_server import new_private_key
from tests.embedded.live import LiveQueue, until
from tests.processes import below, proc_file, told_by_all

MANAGEMENT, INIT, PASSWORD = "marked-management-token", "marked-init-password", "marked-database-password"
PARAMETER = "marked-parameter-of-the-driver"
PRIVATE_KEY = new_private_key()
STOP_S = 40.0

CLUSTER = """\
Clusters:
  zzzzz:
    SystemRootToken: {token}
    ManagementToken: {management}
    SystemLogs: {{LogLevel: debug, Format: {form}}}
    Services:
      Controller: {{ExternalURL: "{url}/"}}
      DispatchCloud: {{InternalURLs: {{"http://localhost:{port}": {{}}}}}}
    {postgresql}
    Collections: {{BlobSigningKey: marked-blob-signing-key}}
    Containers:
      DispatchPrivateKey: {key}
      CrunchRunArgumentsList: ["--ca-certs={certificate}"]
      ReserveExtraRAM: 0
      MaxDispatchAttempts: 2
      LocalKeepBlobBuffersPerVCPU: 1
      CloudVMs:
        Driver: local
        DriverParameters: {{Folder: {folder}/local, BootTime: 0{parameter}}}
        ImageID: none
        InstanceInitCommand: "PASSWORD={init}; true"
        DeployRunnerBinary: {runner}
        ProbeInterval: 1s
        PollInterval: 500ms
        SyncInterval: 1s
    InstanceTypes:
      usual: {{VCPUs: 4, RAM: 8GiB, IncludedScratch: 100GB, Price: 0.1}}
"""
SETTINGS = """\
StateFolder: {folder}/state
APICertificateFile: {certificate}
StatusInterval: 1s
"""

# Says everything that it was told, wherever a runner can say something, and does not start anything.
SPILLER = """\
#!/bin/sh
case "$*" in
  *--list*) cat all-that-i-know >&2; exit 0 ;;
  *--detach*) cat > all-that-i-know; env >> all-that-i-know
    cp all-that-i-know "$CRUNCH_RUN_LOCK_DIR/crunch-run-$(echo "$*" | sed 's/.* //').log"
    cat run/arvados-instance-secret all-that-i-know; cat run/arvados-instance-secret all-that-i-know >&2
    exit 1 ;;
esac
"""


@dataclass
class Service:
    """The process, and everything that it shows to anybody."""

    folder: Path
    process: subprocess.Popen[bytes]
    address: str

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def get(self, path: str) -> str:
        headers = {"Authorization": f"Bearer {MANAGEMENT}"}
        with requests.get(self.address + path, headers=headers, timeout=10) as answer:
            return f"{dict(answer.headers)} {answer.text}"

    def pages(self) -> str:
        paths = ("/arvados/v1/dispatch/containers", "/arvados/v1/dispatch/instances", "/metrics", "/_health/ping",
                 "/_inspect/requests", f"/arvados/v1/dispatch/instances?api_token={MANAGEMENT}", "/nowhere")  # fmt: skip
        return "\n".join(self.get(path) for path in paths)

    def processes(self) -> str:
        """Arguments of every process here: other users see those. Ours may hold no secret in their environment either."""
        assert proc_file(self.process.pid, "environ")
        own = [proc_file(pid, "environ").decode(errors="replace") for pid in (self.process.pid, *below(self.process.pid))]
        return "\n".join([told_by_all("cmdline"), *own])

    def state(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in (self.folder / "state").rglob("*") if path.is_file())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_S)


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveQueue]:
    served = LiveQueue(tmp_path_factory.mktemp("queue"))
    served.start()
    yield served
    served.stop()


def write_files(folder: Path, queue: LiveQueue, **changes: str) -> None:
    (folder / "state").mkdir(exist_ok=True)
    values = {
        "folder": str(folder), "token": queue.root_token, "url": queue.description["url"], "management": MANAGEMENT,
        "certificate": queue.description["certificate"], "key": json.dumps(PRIVATE_KEY), "init": INIT, "form": "json",
        "runner": dispatcher.embedded.runner.__file__, "postgresql": "", "parameter": "", "port": "0", **changes,
    }  # fmt: skip
    (folder / "config.yml").write_text(CLUSTER.format(**values))
    (folder / "settings.yml").write_text(SETTINGS.format(**values))


@contextmanager
def running(folder: Path, queue: LiveQueue, **changes: str) -> Iterator[Service]:
    """The service as a process; afterwards it is stopped, and so is every instance of it."""
    write_files(folder, queue, port=str(free_port()), **changes)
    files = ["--config", f"{folder}/config.yml", "--settings", f"{folder}/settings.yml"]
    command = [sys.executable, "-m", "dispatcher", "run", *files]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    found = re.search(r"localhost:(\d+)", (folder / "config.yml").read_text())
    assert found is not None
    try:
        yield Service(folder, process, f"http://localhost:{found[1]}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(STOP_S)
        for path in (folder / "local" / "instances").glob("*"):
            processes.kill_marked(str(path))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def secrets_of(folder: Path, queue: LiveQueue) -> list[str]:
    """Everything that is marked, the parts of tokens, lines of the key, and the secret of each instance that there is."""
    instances = [path.read_text() for path in folder.rglob("arvados-instance-secret") if path.is_file()]
    key = [line for line in PRIVATE_KEY.splitlines() if "-----" not in line and len(line) > 20]
    tokens = [queue.root_token, queue.root_token.rpartition("/")[2]]
    return [MANAGEMENT, INIT, PASSWORD, PARAMETER, "marked-blob-signing-key", *tokens, *key, *filter(None, instances)]


def assert_clean(secrets: list[str], **outputs: str) -> None:
    leaks = {name: secret[:12] for name, text in outputs.items() for secret in secrets if secret in text}
    assert not leaks


def search(service: Service, secrets: list[str], records: object) -> None:
    pages, shown = service.pages(), service.processes()
    service.stop()
    assert_clean(
        secrets, log=service.log(), pages=pages, processes=shown, state=service.state(), records=json.dumps(records),
        audit="\n".join(path.read_text() for path in service.folder.glob("*audit*")),
    )  # fmt: skip


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_flow_that_goes_well_shows_no_secret(tmp_path: Path, queue: LiveQueue, form: str) -> None:
    """From the queue to the exit code, at debug, and an operator who puts the token into an address."""
    with running(tmp_path, queue, form=form) as service:
        uuids = [queue.queued(command=["sh", "-c", "sleep 1"]) for _ in range(2)]
        until(lambda: all(queue.container(uuid)["state"] == "Complete" for uuid in uuids), service.log(), 60.0)
        secrets = secrets_of(tmp_path, queue)
        assert len(secrets) > 10
        search(service, secrets, [queue.container(uuid) for uuid in uuids])
        assert "status: " in service.log()
        assert uuids[0] in service.log()
        assert "api_token=***" in service.log()


def test_runners_that_spill_all_they_know_reveal_nothing(tmp_path: Path, queue: LiveQueue) -> None:
    """On standard output, on standard error, and in the file that is fetched when an attempt failed."""
    runner = tmp_path / "spiller"
    runner.write_text(SPILLER)
    runner.chmod(0o755)
    with running(tmp_path, queue, runner=shlex.quote(str(runner))) as service:
        uuid = queue.queued()
        until(lambda: queue.container(uuid)["state"] == "Cancelled", service.log(), 90.0)
        record = queue.container(uuid)
        secrets = secrets_of(tmp_path, queue)
        search(service, secrets, record)
        assert "***" in service.log()
        assert "ARVADOS_API_TOKEN" in service.log()  # it was spilt


def test_a_database_that_refuses_is_told_without_the_password(tmp_path: Path, queue: LiveQueue) -> None:
    """Who cannot ask whether it leads says why, again and again."""
    connection = f"PostgreSQL: {{Connection: {{host: 127.0.0.1, port: 1, dbname: arvados, user: u, password: {PASSWORD}}}}}"
    with running(tmp_path, queue, postgresql=connection) as service:
        until(lambda: "waiting to lead" in service.log(), service.log(), 60.0)
        search(service, secrets_of(tmp_path, queue), {})


def test_a_driver_that_refuses_its_parameters_does_not_repeat_them(tmp_path: Path, queue: LiveQueue) -> None:
    """The key is named, its value is not; nor is any secret in a repr of what was read."""
    with running(tmp_path, queue, parameter=f", ClientSecret: {PARAMETER}") as service:
        assert service.process.wait(STOP_S) != 0
        assert "ClientSecret" in service.log()
        loaded = load(tmp_path / "config.yml", tmp_path / "settings.yml")
        assert loaded.config is not None
        shown = f"{loaded!r} {loaded.config!r} {loaded.config.settings!r} {loaded.in_force}"
        assert_clean(secrets_of(tmp_path, queue), log=service.log(), repr=shown)
