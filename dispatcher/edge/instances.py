"""What the dispatcher does on an instance: probe, start, kill. Every outcome is data; nothing here decides what follows.

A process list is believed only when the runner itself ended well, and a start whose outcome is not known has lost its
connection before anybody hears of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from dispatcher.core.messages import KillReport, ProbeProblem, ProbeReport, StartOutcome, StartReport, Target
from dispatcher.driver import InstanceType
from dispatcher.edge import runner as words
from dispatcher.edge.runner import Runner, RunnerFile
from dispatcher.edge.runner_config import RunnerAccess, start_config
from dispatcher.edge.ssh.address import parse_address, parse_port
from dispatcher.edge.ssh.executor import SSHExecutor, SSHSettings
from dispatcher.edge.ssh.hostkeys import HostKeys
from dispatcher.edge.ssh.keys import load_private_key
from dispatcher.edge.ssh.remote import Executor, Output, RemoteError, printable

MAX_DEPLOYMENTS = 8  # runner files on their way at once; who finds no room tries again with the next probe
NOT_FOUND = (126, 127)  # a shell's exit statuses for a command that is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceAccess:
    """How to reach instances and what to run there. ``ssh_port`` is a number or a service's name; ``deploy_binary`` a file of
    this host that is put into ``deploy_directory`` of each instance, or empty when their images hold the runner."""

    private_key: str = field(repr=False)
    ssh_port: str = "22"
    cluster_id: str
    boot_probe_command: str = "systemctl is-system-running"
    runner: Runner = field(default_factory=Runner)
    runner_access: RunnerAccess
    deploy_binary: str = ""
    deploy_directory: str = "/tmp/arvados-crunch-run"  # noqa: S108 (upstream's default)
    timeout_connect_s: float = 30.0
    timeout_command_s: float = 30.0
    timeout_start_s: float = 60.0
    timeout_deploy_s: float = 300.0


class SSHInstances:
    """The instance port, over SSH."""

    def __init__(self, access: InstanceAccess, executor: Executor) -> None:
        """Reads ``deploy_binary`` once. Raises ValueError when it, or the port, is wrong."""
        self._access = access
        self._executor = executor
        self._port = parse_port(access.ssh_port)
        self._file = load_runner_file(access.deploy_binary, access.deploy_directory) if access.deploy_binary else None
        self._runner = replace(access.runner, command=self._file.path) if self._file else access.runner
        self._deployments = threading.BoundedSemaphore(MAX_DEPLOYMENTS)

    # --------------------------------------------------------------------------------------------------------- the port

    def probe(self, target: Target, *, boot: bool) -> ProbeReport:
        """The list is tried also when the boot probe fails: an instance that was found at start may run containers. The
        first failure of the two is the one that is reported."""
        if not boot:
            return self._list(target, booted=False, failure=None)
        unbooted = self._attempt(self._check_boot, target)
        if unbooted is not None and not unbooted.reached:
            return _failed(unbooted)  # nobody answers there: the list would only wait as long again
        failure = unbooted or self._attempt(self._put_runner, target)
        return self._list(target, booted=failure is None, failure=failure, runner_unchecked=unbooted is not None)

    def start(self, target: Target, uuid: str, instance_type: InstanceType, *, vcpus: int | None = None) -> StartReport:
        try:
            config = self._config(target, uuid, instance_type, vcpus)
            command = self._runner.start_command(target.user, uuid)
            timeout_s = self._access.timeout_start_s
            answer = self._executor.run(target, command, stdin=config, timeout_s=timeout_s, urgent=True)
        except RemoteError as error:
            return self._start_failed(target, error)
        if answer.status != 0:
            return StartReport(outcome=StartOutcome.REFUSED, error=_complaint("start", answer))
        return StartReport(outcome=StartOutcome.STARTED)

    def kill(self, target: Target, uuid: str, signal: int) -> KillReport:
        try:
            answer = self._run(target, self._runner.kill_command(target.user, uuid, signal), urgent=True)
        except RemoteError as error:
            return KillReport(gone=False, error=error.text)
        return KillReport(gone=answer.status == 0, error="" if answer.status == 0 else _complaint("kill", answer))

    def output(self, target: Target, uuid: str) -> str:
        """Runners do not keep their output anywhere yet."""
        return ""

    def close(self, name: str) -> None:
        self._executor.forget(name)

    def stop(self) -> None:
        self._executor.stop()

    # ------------------------------------------------------------------------------------------------------------ probe

    def _list(
        self, target: Target, *, booted: bool, failure: RemoteError | None, runner_unchecked: bool = False
    ) -> ProbeReport:
        try:
            answer = self._listed(target, runner_unchecked)
        except RemoteError as error:
            return _failed(failure or error, reached=failure is not None or error.reached)
        listed = words.parse_list(answer.stdout, self._access.cluster_id)
        return ProbeReport(
            reached=True,
            booted=booted,
            processes=listed.processes,
            stale=listed.stale,
            broken=listed.broken,
            problem=failure.problem if failure else ProbeProblem.NONE,
            error=failure.text if failure else _notes(listed.notes),
        )

    def _listed(self, target: Target, runner_unchecked: bool) -> Output:
        """Raises RemoteError also when the runner itself failed: then nobody knows what runs."""
        command = self._runner.list_command(target.user)
        answer = self._run(target, command)
        if answer.status in NOT_FOUND and runner_unchecked and self._file is not None:
            self._put_runner(target)  # the boot probe failed before the runner was put there
            answer = self._run(target, command)
        return _succeeded("list", answer)

    def _check_boot(self, target: Target) -> None:
        _succeeded("boot probe", self._run(target, words.boot_command(self._access.boot_probe_command)))

    def _put_runner(self, target: Target) -> None:
        if self._file is None:
            return
        found = self._run(target, words.verify_command(self._file.path))
        if not words.is_in_place(self._file.path, self._file.md5, found.stdout, found.stderr):
            self._upload(target, self._file)

    def _upload(self, target: Target, file: RunnerFile) -> None:
        if not self._deployments.acquire(blocking=False):
            raise RemoteError(ProbeProblem.COMMAND, "the runner waits for its turn to be uploaded", reached=True)
        try:
            command = words.deploy_command(target.user, file.directory, file.path, file.md5)
            timeout_s = self._access.timeout_deploy_s
            _succeeded("runner upload", self._executor.run(target, command, stdin=file.content, timeout_s=timeout_s))
        finally:
            self._deployments.release()

    # ---------------------------------------------------------------------------------------------------------- helpers

    def _run(self, target: Target, command: str, *, urgent: bool = False) -> Output:
        return self._executor.run(target, command, timeout_s=self._access.timeout_command_s, urgent=urgent)

    def _attempt(self, act: Callable[[Target], None], target: Target) -> RemoteError | None:
        try:
            act(target)
        except RemoteError as error:
            return error
        return None

    def _config(self, target: Target, uuid: str, instance_type: InstanceType, vcpus: int | None) -> bytes:
        try:
            host = parse_address(target.address or "", self._port).bracketed_host
        except ValueError as error:
            raise RemoteError(ProbeProblem.NO_ADDRESS, str(error)) from error
        access = self._access.runner_access
        return start_config(access, uuid=uuid, instance_type=instance_type, gateway_host=host, vcpus=vcpus)

    def _start_failed(self, target: Target, error: RemoteError) -> StartReport:
        if not error.sent:
            return StartReport(outcome=StartOutcome.NOT_SENT, error=error.text)
        self._executor.disconnect(target.name)
        return StartReport(outcome=StartOutcome.UNKNOWN, error=error.text)


def connect_instances(
    access: InstanceAccess, *, host_keys: HostKeys | None = None, on_connection_lost: Callable[[str], None] | None = None
) -> SSHInstances:
    """The port on an executor of its own. Raises ValueError when the key, the port or the runner's file is wrong."""
    settings = SSHSettings(
        private_key=load_private_key(access.private_key),
        default_port=parse_port(access.ssh_port),
        connect_timeout_s=access.timeout_connect_s,
    )
    return SSHInstances(access, SSHExecutor(settings, host_keys=host_keys, on_connection_lost=on_connection_lost))


def load_runner_file(path: str, directory: str) -> RunnerFile:
    try:
        return RunnerFile.of(Path(path).read_bytes(), directory)
    except OSError as error:
        raise ValueError(f"DeployRunnerBinary {path}: {error.strerror}: name a readable file, or leave it empty") from error


def _failed(error: RemoteError, *, reached: bool | None = None) -> ProbeReport:
    return ProbeReport(reached=error.reached if reached is None else reached, problem=error.problem, error=error.text)


def _succeeded(doing: str, answer: Output) -> Output:
    if answer.status != 0:
        raise RemoteError(ProbeProblem.COMMAND, _complaint(doing, answer), reached=True, sent=True)
    return answer


def _complaint(doing: str, answer: Output) -> str:
    said = printable(answer.stderr or answer.stdout)
    return f"{doing}: exit status {answer.status}" + (f": {said}" if said else "")


def _notes(lines: tuple[str, ...]) -> str:
    return f"the runner's list holds lines that are not understood: {printable('; '.join(lines).encode())}" if lines else ""
