"""The runner as the dispatcher uses it: a file that is run on an instance, against a queue that really listens."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dispatcher.embedded import runner
from tests.embedded.live import LiveQueue, end, is_alive, until

UUID = "zzzzz-dz642-000000000000001"
OTHER = "zzzzz-dz642-000000000000002"


@dataclass
class Instance:
    """The folders of one instance, and the runner as it was deployed there: one file, nothing of ours beside it."""

    folder: Path
    queue: LiveQueue | None = None
    options: tuple[str, ...] = ()
    pids: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.locks, self.data, self.journal = self.folder / "lock", self.folder / "data", self.folder / "journal"
        self.locks.mkdir()
        self.runner = self.folder / "crunch-run"
        shutil.copy(runner.__file__, self.runner)

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run the deployed file by its shebang, with this Python in front."""
        environment = {
            "PATH": f"{self.folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CRUNCH_RUN_LOCK_DIR": str(self.locks),
            "CRUNCH_RUN_DATA_DIR": str(self.data),
            "CRUNCH_RUN_JOURNAL": str(self.journal),
        }
        command = [str(self.runner), *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, env=environment, timeout=60, check=False)

    def list(self, *arguments: str, given: str = "") -> list[str]:
        answer = self.run("--list", *arguments, given=given)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.split("\n")[:-1]

    def start(self, uuid: str, **env: str) -> subprocess.CompletedProcess[str]:
        assert self.queue is not None
        config = {"Env": {**self.queue.runner_environment(), **env}, "KeepBuffers": 0, "Cluster": None, "EC2SpotCheck": False}
        arguments = ["--detach", "--stdin-config", "--runtime-engine=docker", "--cgroup-parent-subsystem=memory", *self.options]
        answer = self.run(*arguments, uuid, given=json.dumps(config))
        if answer.returncode == 0:
            self.pids.append(json.loads(answer.stdout)["PID"])
        return answer

    def locked(self, *command: str, **more: Any) -> str:
        """A container of the queue that is locked and wants this command."""
        assert self.queue is not None
        uuid = self.queue.queued(command=list(command), **more)
        self.queue.done("POST", f"containers/{uuid}/lock")
        return uuid

    def launched(self, *command: str, **more: Any) -> str:
        uuid = self.locked(*command, **more)
        answer = self.start(uuid)
        assert answer.returncode == 0, answer.stderr
        return uuid

    def output(self, uuid: str, name: str = "stdout.txt") -> str:
        return (self.data / "containers" / uuid / name).read_text()

    def said(self, uuid: str) -> str:
        """What the runner itself wrote."""
        return runner.output_path(self.locks, uuid).read_text()

    def state(self, uuid: str, *wanted: str) -> dict[str, Any]:
        """The container, as soon as it is in one of the wanted states."""
        assert self.queue is not None
        queue = self.queue

        def reached() -> dict[str, Any] | None:
            record = queue.container(uuid)
            return record if record["state"] in wanted else None

        return until(reached, f"{uuid} {wanted}")

    def ended(self, uuid: str) -> dict[str, Any]:
        record = self.state(uuid, "Complete", "Cancelled")
        until(lambda: uuid not in self.list(), f"{uuid} is gone")
        return record


@pytest.fixture
def bare(tmp_path: Path) -> Instance:
    return Instance(tmp_path)


@pytest.fixture
def instance(tmp_path: Path, live: LiveQueue) -> Iterator[Instance]:
    made = Instance(tmp_path, live)
    yield made
    for pid in made.pids:
        end(pid)


def write_lock(instance: Instance, uuid: str, pid: int) -> Path:
    path = instance.locks / f"crunch-run-{uuid}.lock"
    path.write_text(json.dumps({"UUID": uuid, "PID": pid}))
    return path


# ------------------------------------------------------------------------------------------------------------- list, kill


def test_an_empty_instance_lists_nothing(bare: Instance) -> None:
    """Nothing runs, nothing is printed; standard input is not read."""
    assert bare.list() == []


def test_a_lock_file_that_nobody_holds_is_removed(bare: Instance) -> None:
    """Its process ended without a word; an empty one is a start that has only begun, and stays."""
    stale, empty = write_lock(bare, UUID, 1), bare.locks / f"crunch-run-{OTHER}.lock"
    empty.touch()
    assert bare.list() == []
    assert (stale.exists(), empty.exists()) == (False, True)


def test_a_held_lock_whose_process_is_gone_is_stale(bare: Instance) -> None:
    """Something else still holds the lock: the line says so, each time."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    with write_lock(bare, UUID, ended.pid).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert bare.list() == bare.list() == [f"{UUID} stale"]


def test_a_held_lock_of_a_living_process_is_listed(bare: Instance) -> None:
    """The lock folder may be a link; the process is asked by a signal that it ignores."""
    real = bare.folder / "real"
    bare.locks.rename(real)
    bare.locks.symlink_to(real)
    ignoring = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pthread_sigmask(0, [signal.SIGUSR2]); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with write_lock(bare, UUID, ignoring.pid).open() as file, ignoring:
        assert ignoring.stdout is not None
        ignoring.stdout.readline()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert bare.list() == [UUID]
        assert ignoring.poll() is None
        ignoring.kill()


def test_a_broken_instance_says_so(bare: Instance) -> None:
    """The mark of a broken instance is a line of its own."""
    (bare.locks / "crunch-run-broken").touch()
    assert bare.list() == ["broken"]


def test_prices_are_read_only_when_announced(bare: Instance) -> None:
    """They replace the file as a whole; without the option standard input is left alone."""
    prices = json.dumps([{"StartTime": "2026-01-01T00:00:00Z", "Price": 0.1}])
    bare.list(given=prices)
    assert not (bare.locks / "crunch-run-prices.json").exists()
    bare.list("--stdin-prices", given=prices)
    assert runner.read_prices(bare.locks) == [(1767225600.0, 0.1)]


@pytest.mark.parametrize(
    ("prices", "expected"),
    [([], 2.0), ([(0.0, 4.0)], 4.0), ([(1800.0, 4.0)], 3.0), ([(-9.0, 1.0), (1800.0, 3.0), (7200.0, 9.0)], 2.0)],
)
def test_cost_follows_the_price_of_each_moment(prices: list[tuple[float, float]], expected: float) -> None:
    """An hour at 2, or at what the price was from when to when."""
    assert runner.cost(2.0, prices, 0.0, 3600.0) == pytest.approx(expected)


def test_there_is_nothing_to_kill_without_a_runner(bare: Instance) -> None:
    """No lock file, or one that nobody holds: what was wanted is the case."""
    assert bare.run("--kill", "15", UUID).returncode == 0
    write_lock(bare, UUID, os.getpid())
    assert bare.run("--kill", "9", UUID).returncode == 0


def test_a_runner_that_stays_is_told_by_the_exit_status(bare: Instance) -> None:
    """After a second it is still there: 1."""
    deaf = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with write_lock(bare, UUID, deaf.pid).open() as file, deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert bare.run("--kill", "15", UUID).returncode == 1
        deaf.kill()


@pytest.mark.parametrize("arguments", [["--detach", "--stdin-config"], ["--kill", "15", "nonsense"], []])
def test_a_call_without_a_container_is_refused(bare: Instance, arguments: list[str]) -> None:
    """The usage is told on standard error, with status 2."""
    answer = bare.run(*arguments, given="{}")
    assert answer.returncode == 2
    assert "uuid of a container" in answer.stderr


def aged(instance: Instance, uuid: str, hours: float, size_bytes: int = 1) -> Path:
    """The output of a runner that ended so long ago."""
    path = runner.output_path(instance.locks, uuid)
    with path.open("wb") as file:
        file.truncate(size_bytes)
    os.utime(path, times=(0, NOW - hours * 3600))
    return path


NOW = 1_800_000_000.0


def test_outputs_of_ended_containers_are_kept_for_a_day(bare: Instance) -> None:
    """An older one goes, unless its container still runs."""
    lock = write_lock(bare, "zzzzz-dz642-000000000000003", os.getpid())
    old, fresh, running = aged(bare, UUID, 25), aged(bare, OTHER, 23), aged(bare, "zzzzz-dz642-000000000000003", 99)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        runner.remove_old_outputs(bare.locks, NOW)
    assert (old.exists(), fresh.exists(), running.exists()) == (False, True, True)


def test_outputs_of_ended_containers_are_bounded_together(bare: Instance) -> None:
    """Beyond 100 MB the oldest go first."""
    sizes = [aged(bare, f"zzzzz-dz642-{hours:015d}", hours, 40_000_000) for hours in (3, 1, 2)]
    runner.remove_old_outputs(bare.locks, NOW)
    assert [path.exists() for path in sizes] == [False, True, True]


# -------------------------------------------------------------------------------------------------------------- whole runs


def test_the_runner_speaks_to_a_journal_where_there_is_one(instance: Instance) -> None:
    """By systemd-cat, under the name crunch-run; no file is written then. The first line names the container."""
    stand_in = instance.folder / "systemd-cat"
    stand_in.write_text(f'#!/bin/sh\necho "$1" >{instance.folder}/name\nshift\nexec "$@" >>{instance.folder}/told 2>&1\n')
    stand_in.chmod(0o755)
    instance.journal.touch()
    uuid = instance.launched("true")
    assert instance.ended(uuid)["exit_code"] == 0
    assert (instance.folder / "name").read_text() == "--identifier=crunch-run\n"
    assert f"begins with container {uuid}, process {instance.pids[0]}" in (instance.folder / "told").read_text()
    assert not runner.output_path(instance.locks, uuid).exists()


def test_a_command_runs_to_its_exit_code(instance: Instance) -> None:
    """Its output is kept, its environment and folder are its own, and no token of the dispatcher is in sight."""
    script = 'pwd; env; echo wrong >&2; echo kept > "$CONTAINER_OUTPUT/file"; exit 3'
    uuid = instance.launched("sh", "-c", script, environment={"FOO": "bar"}, cwd="/out/deep")
    record = instance.ended(uuid)
    assert (record["state"], record["exit_code"], record["runtime_status"]) == ("Complete", 3, {})
    lines = instance.output(uuid).splitlines()
    assert lines[0] == str(instance.data / "containers" / uuid / "root" / "out" / "deep")
    assert "FOO=bar" in lines
    assert not [line for line in lines if "ARVADOS" in line]
    assert instance.output(uuid, "stderr.txt") == "wrong\n"
    assert instance.output(uuid, "root/out/file") == "kept\n"


def test_a_container_that_wants_the_api_gets_its_own_token(instance: Instance) -> None:
    """The token of the container, never the dispatcher's; it is dead after the end."""
    assert instance.queue is not None
    constraints = {"vcpus": 1, "ram": 1, "API": True}
    uuid = instance.launched("sh", "-c", "echo $ARVADOS_API_HOST $ARVADOS_API_TOKEN", runtime_constraints=constraints)
    instance.ended(uuid)
    host, token = instance.output(uuid).split()
    assert host == instance.queue.description["host"]
    assert token.startswith("v2/")
    assert token.endswith(f"/{uuid}")
    assert instance.queue.call("GET", "users/current", token=token)[0] == 401


def test_mounts_become_folders_and_files(instance: Instance) -> None:
    """Texts and JSON are files, standard streams go where their mounts say, secrets reach the command."""
    mounts = {
        "/out": {"kind": "tmp", "capacity": 1},
        "/in/text": {"kind": "text", "content": "hello"},
        "/in/json": {"kind": "json", "content": {"a": 1}},
        "stdin": {"kind": "text", "content": "given"},
        "stdout": {"kind": "file", "path": "/out/printed"},
    }
    script = 'cat; cat "$CONTAINER_ROOT/in/text" "$CONTAINER_ROOT/in/json" "$CONTAINER_ROOT/secret"'
    secret = {"/secret": {"kind": "text", "content": "hush"}}
    uuid = instance.launched("sh", "-c", script, mounts=mounts, secret_mounts=secret)
    assert instance.ended(uuid)["exit_code"] == 0
    assert instance.output(uuid, "root/out/printed") == 'givenhello{"a": 1}hush'


def test_a_mount_that_needs_keep_cancels_with_the_reason(instance: Instance) -> None:
    """Nothing is started that cannot have its input."""
    mounts = {"/out": {"kind": "tmp"}, "/in": {"kind": "collection", "portable_data_hash": "d41d8cd98f00b204e9800998ecf8427e+0"}}
    record = instance.ended(instance.launched("true", mounts=mounts))
    assert record["state"] == "Cancelled"
    assert "/in" in record["runtime_status"]["error"]
    assert "Keep" in record["runtime_status"]["error"]


def test_a_command_that_does_not_exist_cancels_with_the_reason(instance: Instance) -> None:
    """The name of the command is in the reason."""
    record = instance.ended(instance.launched("/no/such/command"))
    assert record["state"] == "Cancelled"
    assert "/no/such/command" in record["runtime_status"]["error"]


def test_start_time_address_and_cost_are_told(instance: Instance) -> None:
    """Running carries the address that the dispatcher named; the end carries price × time."""
    uuid = instance.locked("sleep", "0.2")
    started = instance.start(uuid, GatewayAddress="10.0.0.1:0", InstanceType=json.dumps({"Price": 3600}))
    assert started.returncode == 0, started.stderr
    record = instance.ended(uuid)
    assert record["gateway_address"] == "10.0.0.1:0"
    assert 0.2 <= record["cost"] < 30
    assert record["started_at"] < record["finished_at"]


def test_a_running_container_is_listed_and_not_started_twice(instance: Instance) -> None:
    """The lock is held before the start is reported."""
    uuid = instance.launched("sleep", "60")
    assert instance.list() == [uuid]
    second = instance.start(uuid)
    assert second.returncode == 1
    assert f"{uuid} is already running here" in second.stderr
    instance.state(uuid, "Running")
    assert instance.run("--kill", "15", uuid).returncode == 0
    assert instance.list() == []
    record = instance.state(uuid, "Cancelled")
    assert "signal 15" in record["runtime_status"]["error"]


def test_a_deaf_command_is_ended_by_force(instance: Instance) -> None:
    """TERM first, KILL after the grace, and nothing of the group is left."""
    instance.options = ("--stop-grace=0.3",)
    uuid = instance.launched("sh", "-c", "trap '' TERM; sleep 60 & echo $! $$; wait; sleep 60")
    instance.state(uuid, "Running")
    pids = until(lambda: [int(each) for each in instance.output(uuid).split()], "the command tells its processes")
    instance.run("--kill", "15", uuid)
    assert instance.ended(uuid)["state"] == "Cancelled"
    assert not [pid for pid in pids if is_alive(pid)]


def test_a_container_has_a_longest_time(instance: Instance) -> None:
    """When it is over, the container is cancelled and says why."""
    record = instance.ended(instance.launched("sleep", "60", scheduling_parameters={"max_run_time": 1}))
    assert record["state"] == "Cancelled"
    assert "maximum run time of 1 s exceeded" in record["runtime_status"]["error"]


def test_only_a_locked_container_is_run(instance: Instance) -> None:
    """A container that somebody cancelled meanwhile is left alone."""
    assert instance.queue is not None
    uuid = instance.locked("true")
    instance.queue.done("PUT", f"containers/{uuid}", {"state": "Cancelled"})
    instance.start(uuid)
    until(lambda: instance.list() == [], "the runner ends")
    assert "not Locked" in instance.said(uuid)
    assert not (instance.data / "containers" / uuid / "stdout.txt").exists()


def test_a_dead_supervisor_takes_its_command_along(instance: Instance) -> None:
    """After kill -9 the record stays Running, for the dispatcher to cancel; the command is gone and nothing is listed."""
    uuid = instance.launched("sh", "-c", "echo $$; exec sleep 60")
    instance.state(uuid, "Running")
    pid = int(until(lambda: instance.output(uuid).strip(), "the command tells its process"))
    end(instance.pids[-1])
    until(lambda: not is_alive(pid), "the command dies too")
    assert instance.list() == []
    assert instance.state(uuid, "Running")["exit_code"] is None


def test_a_run_outlasts_the_queue(own_queue: LiveQueue, tmp_path: Path) -> None:
    """The queue is killed while the command runs, and comes back after its end: the end is told."""
    queue = own_queue
    queue.start()
    instance = Instance(tmp_path, queue)
    uuid = instance.launched("sh", "-c", "sleep 0.5; exit 7")
    instance.state(uuid, "Running")
    queue.kill(signal.SIGKILL)
    until(lambda: "trying again" in instance.said(uuid), "the runner meets the outage")
    queue.start()
    assert instance.ended(uuid)["exit_code"] == 7


def test_a_stop_before_the_start_leaves_the_container_locked(own_queue: LiveQueue, tmp_path: Path) -> None:
    """The API cannot be reached and somebody asks to stop: nothing has begun, the dispatcher decides."""
    queue = own_queue
    queue.start()
    instance = Instance(tmp_path, queue)
    uuid = instance.locked("true")
    queue.kill(signal.SIGKILL)
    assert instance.start(uuid).returncode == 0
    until(lambda: "trying again" in instance.said(uuid), "the runner meets the outage")
    assert instance.run("--kill", "15", uuid).returncode == 0
    queue.start()
    assert queue.container(uuid)["state"] == "Locked"
