"""An instance of the stub cloud: a plain object that knows when it boots, breaks and goes, and what runs on it.

Every question names the time. Whoever drives it (the simulation, an SSH server) asks in the order of time and lets
``StubCloud.advance`` fire what lies between.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from dispatcher.driver import CloudError, HostKey, InstanceType
from drivers.stub.knobs import StubKnobs
from drivers.stub.process import Ending, StubProcess, Workload

NOT_FOUND = 127
MAX_REMEMBERED = 100  # processes that are over, kept for whoever looks


class Unreachable(Exception):
    """SSH does not answer: not booted yet, hung, cut off or gone."""


class CommandFailed(Exception):
    """A command ran on the instance and failed."""

    def __init__(self, status: int, stderr: str) -> None:
        super().__init__(f"exit status {status}: {stderr}")
        self.status = status
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class ProcessList:
    """What ``--list`` of the runner says."""

    running: frozenset[str] = frozenset()
    stale: frozenset[str] = frozenset()
    broken: bool = False

    def lines(self) -> list[str]:
        """The same as the runner prints it."""
        shown = [*sorted(self.running), *(f"{uuid} stale" for uuid in sorted(self.stale))]
        return [*shown, "broken"] if self.broken else shown


@dataclass(slots=True, kw_only=True, eq=False)
class StubInstance:
    """One machine. The times at which it turns bad are plain attributes: a test or a storm may set them."""

    id: str
    name: str
    type: InstanceType
    created_s: float
    secret: str = field(repr=False, default="")
    init_script: str = field(repr=False, default="")
    image_id: str = ""
    public_key: str | None = None
    user: str = "root"
    address: str = ""
    host_keys: tuple[HostKey, ...] = ()
    tag_history: list[tuple[float, Mapping[str, str]]] = field(default_factory=list)
    knobs: StubKnobs
    random: random.Random
    workload: Workload
    lock: threading.RLock = field(repr=False, default_factory=threading.RLock)  # of the whole cloud

    address_at_s: float = 0.0
    ssh_at_s: float = 0.0
    booted_at_s: float = 0.0
    broken_at_s: float = math.inf
    notice: str = ""  # what it was told of its own end
    notice_ends_s: float | None = None  # and when that comes
    report_broken_at_s: float = math.inf
    hung_at_s: float = math.inf
    unfit_at_s: float = math.inf  # its boot probe fails from then on, whatever runs there
    cut_off_until_s: float = -math.inf  # its network is down until then
    runner_missing: bool = False
    failed_at_s: float = math.inf
    failure: CloudError | None = None
    deleting_at_s: float = math.inf
    gone_at_s: float = math.inf
    processes: dict[str, StubProcess] = field(default_factory=dict)
    files: dict[str, bytes] = field(repr=False, default_factory=dict)  # what was copied to it

    # ---------------------------------------------------------------------------------------------- what a cloud knows

    def exists(self, at_s: float) -> bool:
        return self.created_s <= at_s < self.gone_at_s

    def tags_at(self, at_s: float) -> Mapping[str, str]:
        """The tags as they were at a time; those of the creation before it."""
        seen = self.tag_history[0][1]
        for changed_s, tags in self.tag_history:
            if changed_s <= at_s:
                seen = tags
        return seen

    def delete(self, now: float, takes_s: float) -> None:
        """The cloud begins to delete it; what runs there runs on until it is gone."""
        self.deleting_at_s = min(self.deleting_at_s, now)
        self.gone_at_s = min(self.gone_at_s, now + takes_s)

    def lose(self, now: float) -> None:
        """It dies without anybody having asked."""
        self.gone_at_s = min(self.gone_at_s, now)
        self.advance(now)

    # --------------------------------------------------------------------------------------------------------- its time

    @property
    def next_s(self) -> float:
        """When something happens here next by itself."""
        alive = [process for process in self.processes.values() if process.ended_s is None]
        return min(min(process.next_s for process in alive), self.gone_at_s) if alive else math.inf

    @property
    def has_work(self) -> bool:
        return any(process.alive for process in self.processes.values())

    def advance(self, now: float) -> None:
        """Let everything happen that is due, in the order of time."""
        while (at_s := self.next_s) <= now:
            if at_s >= self.gone_at_s:
                self._lose_processes()
            else:
                min(self.processes.values(), key=lambda process: process.next_s).step(self.workload)

    def _lose_processes(self) -> None:
        for process in [process for process in self.processes.values() if process.alive]:
            process.end(self.gone_at_s, Ending.LOST, self.workload)

    # -------------------------------------------------------------------------------------------------- what SSH can do

    def check_reachable(self, now: float) -> None:
        """Raises Unreachable when a connection would not come about."""
        self.advance(now)
        if not self.exists(now):
            raise Unreachable("no such host")
        if now < self.ssh_at_s or now >= self.failed_at_s:
            raise Unreachable("connection refused")
        if now >= self.hung_at_s or now < self.cut_off_until_s:
            raise Unreachable("no answer")

    def accepts_connections(self, now: float) -> bool:
        """Whether a real server in its place takes a connection; a hung machine does, and then falls silent."""
        return self.exists(now) and max(self.ssh_at_s, self.cut_off_until_s) <= now < self.failed_at_s

    def is_booted(self, now: float) -> bool:
        return self.booted_at_s <= now < min(self.failed_at_s, self.gone_at_s)

    def run_command(self, now: float) -> None:
        """What any command needs: a connection, and a machine that can fork."""
        self.check_reachable(now)
        if now >= self.broken_at_s:
            raise CommandFailed(2, "cannot fork")

    def run_boot_probe(self, now: float) -> None:
        self.run_command(now)
        if not self.is_booted(now):
            raise CommandFailed(1, "starting")
        if now >= self.unfit_at_s:
            raise CommandFailed(1, "maintenance")

    def read_secret(self, now: float) -> str:
        """The content of the file that the init script wrote."""
        self.run_command(now)
        if not self.secret:
            raise CommandFailed(1, "No such file or directory")
        return self.secret

    def _run_runner(self, now: float) -> None:
        self.run_command(now)
        if self.runner_missing:
            raise CommandFailed(NOT_FOUND, "crunch-run: command not found")

    def list_processes(self, now: float) -> ProcessList:
        """``R --list``: who holds a lock. A runner that only just starts is not shown."""
        self._run_runner(now)
        return ProcessList(
            running=frozenset(process.uuid for process in self.processes.values() if process.is_listed(now)),
            stale=frozenset(process.uuid for process in self.processes.values() if process.is_stale(now)),
            broken=now >= self.report_broken_at_s,
        )

    def start(self, uuid: str, now: float, length_s: float | None = None) -> StubProcess:
        """``R --detach UUID``: refused while another runner holds the lock of this container."""
        self._run_runner(now)
        other = self.processes.get(uuid)
        if other is not None and (other.alive or other.is_stale(now)):
            raise CommandFailed(1, f"lock of {uuid} is held")
        if len(self.processes) >= MAX_REMEMBERED:
            self._forget_processes(now)
        self.processes[uuid] = process = self._draw_process(uuid, now, length_s)
        self.advance(now)
        return process

    def _draw_process(self, uuid: str, now: float, length_s: float | None) -> StubProcess:
        knobs, draw = self.knobs, self.random
        listed_s = now + knobs.detach_s
        begins_s = listed_s + knobs.prepare_s
        length_s = knobs.container_s if length_s is None else length_s
        ignores_term = draw.random() < knobs.ignores_term_rate
        stuck = draw.random() < knobs.stuck_lock_rate
        return StubProcess(
            uuid=uuid,
            instance_id=self.id,
            launched_s=now,
            listed_s=listed_s,
            begins_s=begins_s,
            length_s=length_s,
            crash_s=self._draw_crash(listed_s, begins_s, length_s),
            term_takes_s=math.inf if ignores_term else draw.uniform(0, knobs.max_term_s),
            lock_outlives_s=math.inf if stuck else draw.uniform(0, knobs.max_stale_lock_s),
            unkillable=draw.random() < knobs.unkillable_rate,
        )

    def _draw_crash(self, listed_s: float, begins_s: float, length_s: float) -> float:
        if self.random.random() >= self.knobs.runner_crash_rate:
            return math.inf
        if self.random.random() < 0.5:
            return self.random.uniform(listed_s, begins_s)
        return begins_s + self.random.uniform(0, length_s)

    def kill(self, uuid: str, signal: int, now: float) -> bool:
        """``R --kill N UUID``: True when nothing runs there under this uuid any more."""
        self._run_runner(now)
        process = self.processes.get(uuid)
        return process is None or process.kill(signal, now, self.workload)

    def read_output(self, uuid: str, now: float) -> str:
        """The end of what the runner of this container wrote; empty when there never was one."""
        self.run_command(now)
        process = self.processes.get(uuid)
        return process.output(now) if process is not None else ""

    def _forget_processes(self, now: float) -> None:
        """Drop what is over and holds nothing: an instance may live long."""
        self.processes = {uuid: p for uuid, p in self.processes.items() if p.alive or p.is_stale(now)}
