"""The runner's file on its way: 12.15 of the reference implementation, on a real OpenSSH server and in a plain shell."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from instance_support import RUNNER, access
from ssh_support import TIMEOUT_S, eventually
from sshd import SSHD, running_sshd

from dispatcher.core.messages import ProbeProblem, ProbeReport, Target
from dispatcher.edge.deployment import MAX_DEPLOYMENTS, RunnerFile, deploy_command
from dispatcher.edge.instances import SSHInstances, connect_instances
from dispatcher.edge.ssh import Output
from tests.processes import below, proc_file

OK = Output(status=0, stdout=b"", stderr=b"")
TARGET = Target(name="vm-1", address="10.0.0.1", user="root", secret="s")

# Tells when it has read something, then waits to be let go: an upload that can be met in the middle.
SLOW_GZIP = """\
#!/bin/sh
cd {folder} && /bin/gzip "$@" | {{ head -c 1000; echo $PPID >> midway; while test ! -e go; do sleep 0.02; done; cat; }}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SSHD]:
    folder = tmp_path / "vm"
    folder.mkdir()
    with running_sshd(folder) as running:
        (folder / "booted").touch()
        yield running


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """Large, and half of it cannot be compressed: it fills several windows of the connection."""
    path = tmp_path / "crunch-run"
    noise = random.Random(1).randbytes(1_500_000).hex()
    path.write_text(f"{RUNNER}exit\n: '{noise}'\n")
    return path


@pytest.fixture
def place(tmp_path: Path, binary: Path) -> Path:
    return Path(RunnerFile.of(binary.read_bytes(), str(tmp_path / "deployed")).path)


@pytest.fixture
def instances(server: SSHD, binary: Path, place: Path) -> Iterator[SSHInstances]:
    """Instances whose image has no runner."""
    port = connect_instances(access(server, deploy_binary=str(binary), deploy_directory=str(place.parent)))
    yield port
    port.stop()


def boot(instances: SSHInstances, server: SSHD, name: str = "vm-1") -> ProbeReport:
    return instances.probe(server.target(name), boot=True)


def whole(place: Path, binary: Path) -> bool:
    return place.read_bytes() == binary.read_bytes() and place.stat().st_mode & 0o7777 == 0o755


# ------------------------------------------------------------------------------------------------------- over a real server


def test_12_15_the_runner_is_put_there_once(server: SSHD, instances: SSHInstances, place: Path, binary: Path) -> None:
    """The second probe finds it in place by its hash and leaves it alone; nothing else is left in the folder."""
    assert boot(instances, server).booted
    first = place.stat()
    assert boot(instances, server).booted
    assert (place.stat().st_ino, whole(place, binary), list(place.parent.iterdir())) == (first.st_ino, True, [place])


def test_the_place_is_the_one_of_the_reference_implementation(place: Path, binary: Path) -> None:
    """A fleet that the other dispatcher filled is found filled."""
    found = subprocess.run(["md5sum", str(binary)], capture_output=True, text=True, check=True).stdout.split()[0]
    assert place.name == f"crunch-run~{found}"


def test_12_15_it_travels_compressed(server: SSHD, instances: SSHInstances, place: Path, binary: Path) -> None:
    """What arrives on the wire is gzip, and much less than the file."""
    server.install("gzip", f'#!/bin/sh\ntee {server.folder}/wire | /bin/gzip "$@"\n')
    assert boot(instances, server).booted
    wire = (server.folder / "wire").read_bytes()
    assert gzip.decompress(wire) == binary.read_bytes()
    assert len(wire) < 0.7 * len(binary.read_bytes())


def test_an_instance_without_gzip_gets_it_plain(server: SSHD, instances: SSHInstances, place: Path, binary: Path) -> None:
    """Small images lack it: the file is sent again as it is."""
    tools = server.folder / "tools"
    tools.mkdir()
    for name in ("sh", "mkdir", "chmod", "mktemp", "rm", "cat", "md5sum", "mv", "find", "touch"):
        (tools / name).symlink_to(str(shutil.which(name)))
    server.install("sh", f'#!/bin/sh\nPATH={tools} exec /bin/sh "$@"\n')
    assert boot(instances, server).booted
    assert whole(place, binary)


def test_a_damaged_runner_is_replaced(server: SSHD, instances: SSHInstances, place: Path, binary: Path) -> None:
    """Its checksum is asked for at each boot probe."""
    boot(instances, server)
    place.write_text("damaged")
    assert boot(instances, server).booted
    assert whole(place, binary)


def test_it_is_put_there_also_when_the_boot_probe_fails(server: SSHD, instances: SSHInstances) -> None:
    """Else nobody would know what runs on an instance that was found at start."""
    (server.folder / "booted").unlink()
    report = boot(instances, server)
    assert (report.booted, report.processes) == (False, frozenset())


def test_12_15_two_at_once_do_not_disturb_each_other(
    server: SSHD, instances: SSHInstances, place: Path, binary: Path
) -> None:
    """Both write beside the place; whoever looks sees nothing there or all of it, and in the end nothing is left over."""
    server.install("gzip", SLOW_GZIP.format(folder=server.folder))
    midway = server.folder / "midway"
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(boot, instances, server, name) for name in ("vm-1", "vm-2")]
        assert eventually(lambda: midway.exists() and len(midway.read_text().split()) == 2)
        assert (place.exists(), len(list(place.parent.iterdir()))) == (False, 2)
        (server.folder / "go").touch()
        assert [job.result().booted for job in jobs] == [True, True]
    assert (whole(place, binary), list(place.parent.iterdir())) == (True, [place])


def test_12_15_a_cut_in_the_middle_leaves_nothing(server: SSHD, instances: SSHInstances, place: Path, binary: Path) -> None:
    """The connection dies with half the file there: nothing is visible, the remains go, and the next probe begins anew."""
    server.install("gzip", SLOW_GZIP.format(folder=server.folder))
    midway = server.folder / "midway"
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(boot, instances, server)
        assert eventually(midway.exists)
        for pid in connections_of(server):
            os.kill(pid, signal.SIGKILL)  # the server's end of each connection
        report = job.result()
    assert (report.booted, place.exists()) == (False, False)
    (server.folder / "go").touch()
    assert eventually(lambda: not list(place.parent.iterdir()))
    assert boot(instances, server).booted
    assert whole(place, binary)


def connections_of(server: SSHD) -> list[int]:
    """Its processes but the first and those that it executes. Some versions have several for each connection."""
    assert server.process is not None
    return [pid for pid in below(server.process.pid) if proc_file(pid, "comm").startswith(b"sshd")]


def test_12_15_a_full_disk_is_a_failed_boot_with_its_reason(server: SSHD, instances: SSHInstances, place: Path) -> None:
    """The write fails half-way: nothing is visible and the space is given back."""
    server.install("sh", "#!/bin/bash\ntrap '' XFSZ\nulimit -f 200\nexec /bin/sh \"$@\"\n")  # no file beyond 200 KiB
    report = boot(instances, server)
    assert (report.booted, report.problem) == (False, ProbeProblem.COMMAND)
    assert "runner upload: exit status" in report.error
    assert "too large" in report.error
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("where", ["/proc/crunch-run", "{folder}/booted/below"], ids=["read-only", "below a file"])
def test_a_place_that_cannot_be_written_is_a_failed_boot(server: SSHD, binary: Path, where: str) -> None:
    """With the reason, and with what the command said."""
    directory = where.format(folder=server.folder)
    instances = connect_instances(access(server, deploy_binary=str(binary), deploy_directory=directory))
    report = boot(instances, server)
    instances.stop()
    assert (report.booted, report.processes, report.problem) == (False, None, ProbeProblem.COMMAND)
    assert "runner upload: exit status" in report.error
    assert report.said is not None
    assert "mkdir" in report.said.stderr


# ------------------------------------------------------------------------------------------------------------- how many


def test_a_runner_file_that_cannot_be_read_stops_the_start(server: SSHD) -> None:
    """At once, with the name of the key, not at the first boot."""
    with pytest.raises(ValueError, match="DeployRunnerBinary /nowhere"):
        connect_instances(access(server, deploy_binary="/nowhere"))


class Slow:
    """An executor on which uploads wait until they are released."""

    def __init__(self) -> None:
        self.release, self.waiting = threading.Event(), threading.Semaphore(0)

    def run(self, target: Target, command: str, *, stdin: bytes = b"", **bounds: Any) -> Output:
        if stdin:
            self.waiting.release()
            self.release.wait(TIMEOUT_S)
        return OK

    def disconnect(self, name: str) -> None: ...
    def forget(self, name: str) -> None: ...
    def stop(self) -> None: ...


def test_12_15_uploads_are_few_at_once(server: SSHD, binary: Path) -> None:
    """Over all instances. Who finds no room is told so, and tries again with the next probe."""
    slow = Slow()
    instances = SSHInstances(access(server, deploy_binary=str(binary)), slow)
    with ThreadPoolExecutor(MAX_DEPLOYMENTS) as pool:
        jobs = [pool.submit(instances.probe, TARGET, boot=True) for _ in range(MAX_DEPLOYMENTS)]
        assert eventually(lambda: slow.waiting._value == 8)
        ninth = instances.probe(TARGET, boot=True)
        slow.release.set()
        assert all(job.result().booted for job in jobs)
    assert (ninth.booted, ninth.error) == (False, "the runner waits for its turn to be uploaded")
    assert instances.probe(TARGET, boot=True).booted


# --------------------------------------------------------------------------------------------------------- in a plain shell


def deploy(content: bytes, announced: RunnerFile, *, packed: bool) -> subprocess.CompletedProcess[bytes]:
    command = deploy_command("root", announced, packed=packed)
    return subprocess.run(["sh", "-c", command], input=content, capture_output=True, check=False, timeout=20)


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_with_a_difficult_name(tmp_path: Path, packed: bool) -> None:
    """The one command line survives two shells."""
    file = RunnerFile.of(b"#!/bin/sh\necho \0\n" * 1000, str(tmp_path / "it's here"))
    content = gzip.compress(file.content) if packed else file.content
    assert deploy(content, file, packed=packed).returncode == 0
    place = Path(file.path)
    assert (place.read_bytes(), place.stat().st_mode & 0o7777) == (file.content, 0o755)
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize("sent", [gzip.compress(b"whole")[:-4], gzip.compress(b"who"), b"whole"])
def test_half_a_runner_is_never_seen(tmp_path: Path, sent: bytes) -> None:
    """An upload that was cut or is no gzip fails, leaves an older file alone and cleans up."""
    file = RunnerFile.of(b"whole", str(tmp_path))
    Path(file.path).write_bytes(b"older")
    assert deploy(sent, file, packed=True).returncode == 1
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(Path(file.path).name, b"older")]
