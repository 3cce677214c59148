"""What the dispatcher does on an instance, on the stub's plain objects: the port of SSH without SSH.

A start whose answer is lost may still take effect for a while after the connection was closed, as a real one may.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from dispatcher.core.messages import KillReport, ProbeProblem, ProbeReport, StartOutcome, StartReport, Target
from dispatcher.driver import InstanceType
from drivers.stub import CommandFailed, StubCloud, StubInstance, StubProcess, Unreachable


@dataclass(slots=True, kw_only=True)
class InstanceKnobs:
    lost_start_rate: float = 0.0  # the start took effect, or will, and nobody knows
    unsent_start_rate: float = 0.0
    refused_start_rate: float = 0.0  # the runner says no
    lost_probe_rate: float = 0.0
    hung_output_rate: float = 0.0  # the command that reads an output does not come back in time
    lost_output_rate: float = 0.0
    refused_login_rate: float = 0.0  # our key is refused, as by an image whose user is another one
    slow_login_s: float = 0.0  # so long after SSH is up our key is not in its place yet
    down_until_s: float = -1.0  # our own network to the instances is broken until then


class WrongMachine(Unreachable):
    """Somebody answers who is not the machine that was made."""


class FakeInstances:
    """``InstancePort``. ``later`` runs something after some seconds: an effect that outlives its connection."""

    def __init__(
        self, cloud: StubCloud, chance: random.Random, later: Callable[[float, Callable[[], None]], None],
        length_of: Callable[[str], float],
    ) -> None:  # fmt: skip
        self.cloud, self.chance, self.later, self.length_of = cloud, chance, later, length_of
        self.knobs = InstanceKnobs()
        self.faults: dict[str, int] = {}
        self.hung_outputs: set[str] = set()  # containers whose output is waited for
        self.strangers: set[str] = set()  # names of instances at whose address somebody else answers

    def _fault(self, what: str, rate: float) -> bool:
        if self.chance.random() >= rate:
            return False
        self.faults[what] = self.faults.get(what, 0) + 1
        return True

    def _find(self, target: Target) -> StubInstance:
        now = self.cloud.now()
        if now < self.knobs.down_until_s:
            self.faults["own network down"] = self.faults.get("own network down", 0) + 1
            raise Unreachable("our own network is down")
        instance = self.cloud.at_address(target.address, now) if target.address else None
        if instance is None:
            raise Unreachable("no route to host")
        instance.check_reachable(now)
        if instance.secret != target.secret or target.name in self.strangers:
            raise WrongMachine("another machine answers there")
        return instance

    def probe(self, target: Target, *, boot: bool) -> ProbeReport:
        now = self.cloud.now()
        self.cloud.advance(now)
        if target.address is None:
            return ProbeReport(reached=False, problem=ProbeProblem.NO_ADDRESS)
        try:
            instance = self._find(target)
        except WrongMachine as error:
            return ProbeReport(reached=False, problem=ProbeProblem.HOST_KEY, error=str(error))
        except Unreachable as error:
            return ProbeReport(reached=False, problem=ProbeProblem.UNREACHABLE, error=str(error))
        if self._refuses_login(instance, now):
            return ProbeReport(reached=False, problem=ProbeProblem.LOGIN, error="the key was refused")
        if self._fault("probe lost", self.knobs.lost_probe_rate):
            return ProbeReport(reached=True, problem=ProbeProblem.UNREACHABLE, error="the connection was lost")
        return self._look(instance, now, boot=boot)

    def _refuses_login(self, instance: StubInstance, now: float) -> bool:
        rate = self.knobs.refused_login_rate
        return now < instance.ssh_at_s + self.knobs.slow_login_s or (rate > 0 and self._fault("login refused", rate))

    def _look(self, instance: StubInstance, now: float, *, boot: bool) -> ProbeReport:
        error, booted = "", not boot
        try:
            if boot:
                instance.run_boot_probe(now)
                booted = True
        except CommandFailed as failed:
            error = str(failed)
        try:
            shown = instance.list_processes(now)
        except CommandFailed as failed:
            return ProbeReport(reached=True, problem=ProbeProblem.COMMAND, error=error or str(failed))
        return ProbeReport(
            reached=True, booted=booted, processes=shown.running, stale=shown.stale, broken=shown.broken, error=error,
            problem=ProbeProblem.COMMAND if error else ProbeProblem.NONE, notice=instance.notice,
            ends_in_s=None if instance.notice_ends_s is None else instance.notice_ends_s - now,
        )  # fmt: skip

    def start(self, target: Target, uuid: str, instance_type: InstanceType, *, vcpus: int | None = None) -> StartReport:
        now = self.cloud.now()
        self.cloud.advance(now)
        try:
            instance = self._find(target)
        except Unreachable as error:
            return StartReport(outcome=StartOutcome.NOT_SENT, error=str(error))
        if self._fault("start not sent", self.knobs.unsent_start_rate):
            return StartReport(outcome=StartOutcome.NOT_SENT, error="the connection broke before the command")
        if self._fault("start refused", self.knobs.refused_start_rate):
            return StartReport(outcome=StartOutcome.REFUSED, error=f"start: exit status 1: no disk\n{instance.secret}")
        if self._fault("start lost", self.knobs.lost_start_rate):
            self._start_late(instance, uuid)
            return StartReport(outcome=StartOutcome.UNKNOWN, error="the connection broke")
        return self._start(instance, uuid, now)

    def _start(self, instance: StubInstance, uuid: str, now: float) -> StartReport:
        try:
            self._count_fate(instance.start(uuid, now, self.length_of(uuid)))
        except CommandFailed as error:
            return StartReport(outcome=StartOutcome.REFUSED, error=str(error))
        except Unreachable as error:
            return StartReport(outcome=StartOutcome.UNKNOWN, error=str(error))
        return StartReport(outcome=StartOutcome.STARTED)

    def detaches_for_s(self, name: str, uuid: str) -> float:
        """How long until a runner that was just started is listed: its start command returns no sooner."""
        found = [i.processes[uuid] for i in self.cloud.instances.values() if i.name == name and uuid in i.processes]
        return max((process.listed_s - self.cloud.now() for process in found), default=0.0)

    def _count_fate(self, process: StubProcess) -> None:
        fates = {
            "runner crashes": process.crash_s < math.inf,
            "runner ignores TERM": process.term_takes_s == math.inf,
            "runner is unkillable": process.unkillable,
            "run lock stays": process.lock_outlives_s == math.inf,
        }
        for fate in (fate for fate, drawn in fates.items() if drawn):
            self.faults[fate] = self.faults.get(fate, 0) + 1

    def _start_late(self, instance: StubInstance, uuid: str) -> None:
        """It never begins, or begins within the time in which a closed connection may still do something."""
        if self.chance.random() < 0.4:
            return

        def begin() -> None:
            self.cloud.advance(self.cloud.now())
            self._start(instance, uuid, self.cloud.now())

        self.later(self.chance.uniform(0.0, 9.0 - self.cloud.knobs.detach_s), begin)

    def kill(self, target: Target, uuid: str, signal: int) -> KillReport:
        now = self.cloud.now()
        self.cloud.advance(now)
        try:
            instance = self._find(target)
            return KillReport(gone=instance.kill(uuid, signal, now))
        except Unreachable as error:
            return KillReport(gone=False, error=str(error), answered=False)
        except CommandFailed as error:
            return KillReport(gone=False, error=str(error))

    def output(self, target: Target, uuid: str) -> str:
        now = self.cloud.now()
        self.cloud.advance(now)
        """What a runner wrote, with what should never get further: control characters, and the secret of its instance."""
        if self._fault("output hangs", self.knobs.hung_output_rate):
            self.hung_outputs.add(uuid)
            return ""
        if self._fault("output lost", self.knobs.lost_output_rate):
            return ""
        try:
            instance = self._find(target)
            return f"\x1b[31m\x00{instance.secret}\n" * 60 + instance.read_output(uuid, now)
        except (Unreachable, CommandFailed):
            return ""

    def close(self, name: str) -> None:
        """There is no connection to close."""
