"""The whole daemon on real threads: a configuration from a file, the embedded queue, local instances with real SSH servers.

Everything else about it is proved in virtual time; here is what only real threads, sockets and signals can show. All of it is
waited for with a deadline, and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

import dispatcher.embedded.runner
from dispatcher.config import Config, load
from dispatcher.core import messages as m
from dispatcher.core.model import DestroyCause, Phase, State
from dispatcher.runtime.daemon import Daemon, build
from dispatcher.web.app import make_app
from drivers.local import processes
from drivers.ssh_server import new_private_key
from tests.embedded.live import LiveQueue, until
from tests.web.exposition import Page, read

RUNNER = dispatcher.embedded.runner.__file__
STOP_S = 8.0
PRIVATE_KEY = new_private_key()

CLUSTER = """\
Clusters:
  zzzzz:
    SystemRootToken: {token}
    Services:
      Controller: {{ExternalURL: "{url}/"}}
    Containers:
      DispatchPrivateKey: file://{folder}/key
      CrunchRunArgumentsList: ["--ca-certs={certificate}"]
      ReserveExtraRAM: 0
      LocalKeepBlobBuffersPerVCPU: 0
      CloudVMs:
        Driver: {driver}
        DriverParameters: {parameters}
        ImageID: none
        DeployRunnerBinary: {runner}
        ProbeInterval: 1s
        PollInterval: 500ms
        SyncInterval: 1s
        TimeoutIdle: {timeout_idle}
        TimeoutSignal: 1s
        TimeoutTERM: {timeout_term}
        BootProbeCommand: {boot_probe}
    InstanceTypes:
      usual: {{VCPUs: 4, RAM: 8GiB, IncludedScratch: 100GB, Price: 0.1}}
"""
SETTINGS = """\
StateFolder: {folder}/state
APICertificateFile: {certificate}
TimeoutAPIRequest: {timeout_api}
TimeoutSSHStart: 30s
"""


@dataclass
class House:
    """A folder with the two files of a cluster, and the daemons that were started on them."""

    folder: Path
    values: dict[str, Any]
    daemons: list[Daemon] = field(default_factory=list)

    def write(self, **changes: Any) -> None:
        self.values |= changes
        (self.folder / "config.yml").write_text(CLUSTER.format(**self.values))
        (self.folder / "settings.yml").write_text(SETTINGS.format(**self.values))

    def read(self) -> Config:
        loaded = load(self.folder / "config.yml", self.folder / "settings.yml")
        if loaded.config is None:
            raise ValueError("; ".join(str(problem) for problem in loaded.problems))
        return loaded.config

    def start(self) -> Daemon:
        daemon = build(self.read(), reread=self.read)
        self.daemons.append(daemon)
        daemon.start()
        return daemon

    def processes(self) -> list[int]:
        """Every process that an instance of this folder is, or has started."""
        marked = [processes.marked(str(path)) for path in (self.folder / "local" / "instances").glob("*")]
        return sorted(set().union(*marked))

    def clear(self) -> None:
        for daemon in self.daemons:
            daemon.stop(STOP_S)
        for path in (self.folder / "local" / "instances").glob("*"):
            processes.kill_marked(str(path))


def state_of(daemon: Daemon) -> State:
    return daemon.store.snapshot()


def leads(daemon: Daemon, term: int = 1) -> Callable[[], bool]:
    return lambda: state_of(daemon).leadership.leading and state_of(daemon).leadership.term == term


def is_ready(daemon: Daemon) -> Callable[[], bool]:
    return lambda: daemon.view().health().ready


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveQueue]:
    served = LiveQueue(tmp_path_factory.mktemp("queue"))
    served.start()
    yield served
    served.stop()


@pytest.fixture
def house(tmp_path: Path, queue: LiveQueue) -> Iterator[House]:
    """Not yet started. Afterwards no thread and no process of it is left."""
    before = set(threading.enumerate())
    key = tmp_path / "key"
    key.write_text(PRIVATE_KEY)
    key.chmod(0o600)
    (tmp_path / "state").mkdir()
    made = House(
        tmp_path,
        {
            "folder": tmp_path,
            "token": queue.root_token,
            "url": queue.description["url"],
            "certificate": queue.description["certificate"],
            "driver": "local",
            "parameters": f"{{Folder: {tmp_path}/local, BootTime: 0}}",
            "runner": RUNNER,
            "timeout_idle": "10m",
            "timeout_term": "2m",
            "boot_probe": "systemctl is-system-running",
            "timeout_api": "10s",
        },
    )
    made.write()
    try:
        yield made
        for daemon in made.daemons:
            daemon.stop(STOP_S)
        until(lambda: set(threading.enumerate()) <= before, f"no thread is left of {threading.enumerate()}")
    finally:
        made.clear()


def completed(queue: LiveQueue, uuids: list[str]) -> Callable[[], bool]:
    return lambda: all(queue.container(uuid)["state"] == "Complete" for uuid in uuids)


def told(daemon: Daemon, queue: LiveQueue, uuids: list[str]) -> str:
    states = [(queue.container(uuid)["state"], daemon.view().statuses().get(uuid)) for uuid in uuids]
    return f"{states}, {daemon.view().health()}, {[entry.text for entry in daemon.story.entries(limit=30)]}"


def run_to_the_end(daemon: Daemon, queue: LiveQueue, uuids: list[str]) -> None:
    try:
        until(completed(queue, uuids), "every container is Complete")
    except AssertionError as late:
        raise AssertionError(told(daemon, queue, uuids)) from late


@contextlib.contextmanager
def held_by_another(path: Path) -> Iterator[None]:
    """A file of ours in the place of the lock file, and its lock taken."""
    fresh = path.with_name("fresh")
    with fresh.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{os.getpid()}\n")
        file.flush()
        fresh.rename(path)
        yield


def scraped(daemon: Daemon) -> Page:
    """What a Prometheus server would read now."""
    client = make_app(daemon.view(), "management").test_client()
    return read(client.get("/metrics", headers={"Authorization": "Bearer management"}).text)


# ------------------------------------------------------------------------------------------------------------------- tests


def test_containers_run_and_what_is_reloaded_counts(house: House, queue: LiveQueue, caplog: pytest.LogCaptureFixture) -> None:
    """From the queue to the exit code; a shorter TimeoutIdle then takes the instances away; a stop leaves nothing."""
    caplog.set_level(logging.INFO, logger="dispatcher")
    daemon = house.start()
    uuids = [queue.queued(command=["sh", "-c", f"exit {number}"]) for number in range(4)]
    run_to_the_end(daemon, queue, uuids)
    assert [queue.container(uuid)["exit_code"] for uuid in uuids] == [0, 1, 2, 3]
    assert len(state_of(daemon).instances) >= 1
    assert is_ready(daemon)()

    house.write(timeout_idle="1s", boot_probe="uptime")
    daemon.reload()
    assert state_of(daemon).settings.timeout_idle_s == 1.0
    assert state_of(daemon).settings.boot_probe_command == "systemctl is-system-running"
    assert any("Containers.CloudVMs.BootProbeCommand" in record.getMessage() for record in caplog.records)
    until(lambda: not state_of(daemon).instances, "the idle instances are destroyed")

    house.write(timeout_idle="soon")  # a slip of the pen: said in one sentence, and nothing changes
    daemon.reload()
    assert state_of(daemon).settings.timeout_idle_s == 1.0
    refused = [record for record in caplog.records if "the settings in force stay" in record.getMessage()]
    assert ["TimeoutIdle" in record.getMessage() and record.exc_info is None for record in refused] == [True]

    daemon.stop(STOP_S)
    assert house.processes() == []
    assert not daemon.perform.bugs
    assert daemon.store.planner_bugs == 0


def test_the_metrics_of_a_daemon_that_works(house: House, queue: LiveQueue) -> None:
    """Wired on real threads: acts, changes, passes and the file that is in force, which a reload changes."""
    daemon = house.start()
    run_to_the_end(daemon, queue, [queue.queued() for _ in range(2)])
    page = scraped(daemon)
    assert page.dispatch("boot_outcomes", outcome="success") >= 1
    assert page.dispatch("driver_operations", operation="Create", error="0") >= 1
    assert page.dispatch("containers_time_from_queue_to_crunch_run_seconds_count") == 2
    assert set(page.of("loop_pass_duration_seconds", "loop")) == {"queue-sync", "scheduler", "next-step", "lifecycle", "prober"}
    assert page.dispatch("queue_poll_records") >= 0
    assert page.of("bugs_total", "where") == {}
    before = page["arvados_config_load_timestamp_seconds"].samples
    house.write(timeout_idle="9s")
    daemon.reload()
    after = scraped(daemon)["arvados_config_load_timestamp_seconds"].samples
    assert len(after) == 1
    assert set(after) != set(before)


def test_hints_are_written_at_a_stop_and_read_at_the_next_start(house: House, queue: LiveQueue) -> None:
    """The state file of the real daemon: what it knew of its instances, the next one is told before it looks for itself."""
    daemon = house.start()
    run_to_the_end(daemon, queue, [queue.queued()])
    names = set(state_of(daemon).instances)
    daemon.stop(STOP_S)
    file = house.folder / "state" / "hints.json"
    assert set(json.loads(file.read_text())["instances"]) == names
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = house.start()
    until(leads(again), "it leads")
    assert set(state_of(again).hints.instances) == names
    assert state_of(again).spending.day_began_s > float("-inf")


def test_a_broken_file_leaves_in_force_what_is(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """One line says why; nothing has changed."""
    daemon = house.start()
    until(leads(daemon), "it leads")
    house.write(timeout_idle="soon")
    before = state_of(daemon).settings
    daemon.reload()
    assert state_of(daemon).settings == before
    assert [record.exc_info for record in caplog.records if "TimeoutIdle" in record.getMessage()] == [None]
    assert any("TimeoutIdle" in text for text in daemon.view().health().warnings)
    house.write(timeout_idle="9s")
    daemon.reload()
    assert state_of(daemon).settings.timeout_idle_s == 9.0
    assert not any("TimeoutIdle" in text for text in daemon.view().health().warnings)


def test_who_no_longer_leads_does_not_act_and_may_lead_again(house: House, queue: LiveQueue) -> None:
    """Somebody else holds the lock in a new file: nothing is begun. When they let go, the work goes on in a new term."""
    daemon = house.start()
    until(leads(daemon), "it leads")
    lock = Path(house.read().state.lock_file)
    with held_by_another(lock):
        destroy = m.DestroyInstance(name="i1", cause=DestroyCause.IDLE, reason="idle")
        until(lambda: isinstance(daemon.perform.execute(destroy, term=1)[0], m.DestroyFailed), "it is asked at once")
        until(lambda: not state_of(daemon).leadership.leading, "the loss is noticed")
        waiting = [queue.queued()]
        until(lambda: f"process {os.getpid()}" in daemon.view().health().problem, "health names the holder")
        assert not state_of(daemon).containers
        assert queue.container(waiting[0])["state"] == "Queued"
    until(leads(daemon, term=2), "it leads again")
    run_to_the_end(daemon, queue, waiting)


def test_who_waits_to_lead_does_nothing_and_can_be_stopped(house: House, queue: LiveQueue) -> None:
    """The lock is somebody else's from the start; health names them, and the stop does not wait for them."""
    uuid = queue.queued()
    with held_by_another(Path(house.read().state.lock_file)):
        daemon = house.start()
        until(lambda: f"process {os.getpid()}" in daemon.view().health().problem, "health names the holder")
        daemon.stop(STOP_S)
        assert state_of(daemon).leadership.term == 0
        assert daemon.perform.tally.counts == {}
    queue.done("PUT", f"containers/{uuid}", {"container": {"priority": 0}})


def test_a_queue_that_never_answers_stops_no_other_lane(house: House) -> None:
    """The cloud is listed again and again meanwhile, and health says what is wrong."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        house.write(url=url, timeout_api="1s", driver="stub", parameters="{Kind: true}")
        daemon = house.start()
        until(lambda: state_of(daemon).queue.failures >= 1, "a poll has failed")
        listed_s = state_of(daemon).cloud.listed_s
        until(lambda: state_of(daemon).cloud.listed_s > listed_s, "the cloud is listed again")
        health = daemon.view().health()
        assert not health.ready
        assert "waiting for the first complete poll of the queue" in health.problem
        assert any("the queue cannot be read" in warning for warning in health.warnings)
        daemon.stop(STOP_S)


def test_a_start_that_hangs_holds_up_a_stop_no_longer_than_its_deadline(house: House, queue: LiveQueue) -> None:
    """It is waited for, then cut; the lock is let go, and no thread stays."""
    runner = house.folder / "hanging-runner"
    script = 'case "$*" in *--list*) exit 0;; *--detach*) touch "$0.began"; exec sleep 60;; *) exit 1;; esac'
    runner.write_text(f"#!/bin/sh\n{script}\n")
    runner.chmod(0o755)
    house.write(runner=runner)
    daemon = house.start()
    uuid = queue.queued()
    until(lambda: list((house.folder / "local").rglob("*.began")), "the start has begun")
    assert any(instance.phase is Phase.READY for instance in state_of(daemon).instances.all())
    daemon.stop(4.0)
    queue.done("PUT", f"containers/{uuid}", {"container": {"priority": 0}})
    until(lambda: not any(thread.name.startswith("start-") for thread in threading.enumerate()), "its thread has ended")


def mark_broken(locks: Path) -> IO[str] | None:
    """As a runner does that finds its container runtime gone."""
    (locks / "crunch-run-broken").touch()
    return None


def leave_a_stale_lock(locks: Path) -> IO[str] | None:
    """The runner's process is gone, and something of it still holds the lock."""
    file = (locks / "crunch-run-zzzzz-dz642-00000000000stal.lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write('{"UUID": "zzzzz-dz642-00000000000stal", "PID": 4194305}\n')  # beyond the greatest process id
    file.flush()
    return file


@pytest.mark.parametrize(
    ("mark", "reason"), [(mark_broken, "reports that it is broken"), (leave_a_stale_lock, "a run lock stays locked")]
)
def test_an_instance_that_its_runner_marks_is_drained(
    house: House, queue: LiveQueue, mark: Callable[[Path], IO[str] | None], reason: str
) -> None:
    """It gets no new work, what runs there ends as ever, and then it goes: over real SSH, with the runner that is put there."""
    daemon = house.start()
    first = queue.queued(command=["sh", "-c", "sleep 8"])
    until(lambda: queue.container(first)["state"] == "Running", "it runs")
    (marked,) = [i.name for i in state_of(daemon).instances.all() if first in i.processes]
    (locks,) = [path for path in (house.folder / "local" / "instances").rglob("lock") if path.is_dir()]
    held = mark(locks)
    until(lambda: reason in state_of(daemon).instances[marked].condemned, "the mark is seen")
    run_to_the_end(daemon, queue, [first, queue.queued()])
    until(lambda: marked not in state_of(daemon).instances, "it is destroyed when it is empty")
    if held is not None:
        held.close()


def test_who_is_refused_by_the_queue_does_not_take_the_lock_from_others(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong SystemRootToken: health says it, the lock stays free, and the stop does not wait for the next question."""
    house.write(token="wrongwrongwrongwrongwrong")
    daemon = house.start()
    until(lambda: "Not logged in" in daemon.view().health().problem, "health says that the token is refused")
    with held_by_another(Path(house.read().state.lock_file)):
        daemon.stop(STOP_S)
    assert state_of(daemon).leadership.term == 0
    assert daemon.perform.tally.counts == {}
    assert [record.levelname for record in caplog.records if "see SystemRootToken" in record.getMessage()] == ["ERROR"]
