"""What the dispatcher does on an instance: probe, start, kill. Every outcome is data; nothing here decides what follows.

A process list is believed only when the runner itself ended well, and a start whose outcome is not known has lost its
connection before anybody hears of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field, replace
from functools import partial

from dispatcher.core.messages import KillReport, ProbeProblem, ProbeReport, Said, StartOutcome, StartReport, Target
from dispatcher.driver import InstanceType
from dispatcher.edge import last_words
from dispatcher.edge import runner as words
from dispatcher.edge.deployment import Deployment, load_runner_file
from dispatcher.edge.notices import Notices, announced, apart, with_notices
from dispatcher.edge.redact import Redactor
from dispatcher.edge.runner import Runner
from dispatcher.edge.runner_config import RunnerAccess, gateway_secret, start_config
from dispatcher.edge.ssh.address import parse_address, parse_port
from dispatcher.edge.ssh.executor import SSHExecutor, SSHSettings
from dispatcher.edge.ssh.hostkeys import HostKeys
from dispatcher.edge.ssh.keys import load_private_key
from dispatcher.edge.ssh.remote import Executor, Output, RemoteError, printable
from dispatcher.edge.ssh.watcher import Stream, Watchers, watch_command
from dispatcher.frozen import dataclass

DEGRADED = b"degraded"
NOT_FOUND = (126, 127)  # a shell's exit statuses for a command that is not there
FIRST_DIAL_S, DIAL_GROWTH = 3.0, 1.5  # while it boots: a dial that ran out of time gets so much more the next time


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceAccess:
    """How to reach instances and what to run there. ``ssh_port`` is a number or a service's name; ``deploy_binary`` a file of
    this host that is put into ``deploy_directory`` of each instance, or empty when their images hold the runner. ``secrets``:
    what no instance's words may show, besides the keys and tokens that stand here. ``notices``: how to ask it for news of its
    end."""

    private_key: str = field(repr=False)
    ssh_port: str = "22"
    thread_per_connection: bool = False
    cluster_id: str
    boot_probe_command: str = "systemctl is-system-running"
    runner: Runner = field(default_factory=Runner)
    runner_access: RunnerAccess
    secrets: tuple[str, ...] = field(repr=False, default=())
    notices: Notices | None = None
    deploy_binary: str = ""
    deploy_directory: str = "/tmp/arvados-crunch-run"  # noqa: S108 (upstream's default)
    timeout_connect_s: float = 30.0
    timeout_command_s: float = 30.0
    timeout_start_s: float = 60.0
    timeout_deploy_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReport:
    """A command that ran to its end, or why nobody knows (``status`` is None)."""

    status: int | None = None
    stdout: str = ""
    stderr: str = ""
    error: str = ""


class Watch:
    """Has the watcher of an instance wait for what runs there."""

    def __init__(self, watchers: Watchers, stream: Callable[[Target, str, Callable[[], None]], Stream]) -> None:
        self.watchers, self._stream = watchers, stream

    def started(self, target: Target, uuid: str) -> None:
        self.watchers.expect(target.name, [uuid], partial(self._open, target), all_of_them=False)

    def listed(self, target: Target, uuids: Iterable[str]) -> None:
        self.watchers.expect(target.name, uuids, partial(self._open, target))

    def _open(self, target: Target, ring: Callable[[], None]) -> Stream | None:
        try:
            return self._stream(target, watch_command(target.user), ring)
        except RemoteError:
            return None  # the probe that comes next says what is wrong with the instance


class SSHInstances:
    """The instance port, over SSH."""

    def __init__(self, access: InstanceAccess, executor: Executor, watch: Watch | None = None) -> None:
        """Reads ``deploy_binary`` once. Raises ValueError when it, or the port, is wrong."""
        self._access = access
        self._watch = watch
        self._executor = executor
        self._port = parse_port(access.ssh_port)
        self._deployment, self._runner = None, access.runner
        if access.deploy_binary:
            self._deployment = Deployment(load_runner_file(access.deploy_binary, access.deploy_directory))
            self._runner = replace(access.runner, command=self._deployment.file.path)
        known = (access.runner_access.api_token, access.runner_access.system_root_token, access.private_key)
        self._redactor = Redactor([*known, *access.secrets])
        self._slow_dials: dict[str, int] = {}  # of instances that boot: dials in a row that ran out of time

    # --------------------------------------------------------------------------------------------------------- the port

    def probe(self, target: Target, *, boot: bool) -> ProbeReport:
        """The list is tried also when the boot probe fails: an instance that was found at start may run containers. The
        first failure of the two is the one that is reported."""
        if not boot:
            self._slow_dials.pop(target.name, None)
            return self._list(target, booted=False, failure=None)
        unbooted, warning = self._probe_boot(target)
        if unbooted is not None and not unbooted.reached:
            return _failed(unbooted)  # nobody answers there: the list would only wait as long again
        failure = unbooted or self._attempt(self._put_runner, target)
        report = self._list(target, booted=failure is None, failure=failure, runner_unchecked=unbooted is not None)
        return replace(report, warning=warning)

    def boots(self, target: Target) -> ProbeReport:
        """The boot probe alone: nothing is put there and no process is listed."""
        unbooted, warning = self._probe_boot(target)
        if unbooted is not None:
            return _failed(unbooted)
        return ProbeReport(reached=True, booted=True, warning=warning)

    def command(self, target: Target, command: str, *, timeout_s: float) -> CommandReport:
        """Any other command, for somebody who tries an instance out."""
        try:
            answer = self._send(target, command, timeout_s=timeout_s)
        except RemoteError as error:
            return CommandReport(error=error.text)
        stdout, stderr = (part.decode("utf-8", "replace") for part in (answer.stdout, answer.stderr))
        return CommandReport(status=answer.status, stdout=stdout, stderr=stderr)

    def start(self, target: Target, uuid: str, instance_type: InstanceType, *, vcpus: int | None = None) -> StartReport:
        try:
            config = self._config(target, uuid, instance_type, vcpus)
            command = self._runner.start_command(target.user, uuid)
            timeout_s = self._access.timeout_start_s
            answer = self._send(target, command, stdin=config, timeout_s=timeout_s, urgent=True)
        except RemoteError as error:
            return self._start_failed(target, error)
        if answer.status != 0:
            said = _said(self._runner.start_command(target.user, uuid), answer)
            return StartReport(outcome=StartOutcome.REFUSED, error=_complaint("start", answer), said=said)
        if self._watch is not None:
            self._watch.started(target, uuid)
        return StartReport(outcome=StartOutcome.STARTED)

    def kill(self, target: Target, uuid: str, signal: int) -> KillReport:
        command = self._runner.kill_command(target.user, uuid, signal)
        try:
            answer = self._run(target, command, urgent=True)
        except RemoteError as error:
            return KillReport(gone=False, error=error.text, answered=False, said=error.said)
        if answer.status != 0:
            return KillReport(gone=False, error=_complaint("kill", answer), said=_said(command, answer))
        return KillReport(gone=True)

    def output(self, target: Target, uuid: str) -> str:
        command = last_words.output_command(target.user, uuid)
        dial_s, own_secret = last_words.TIMEOUT_DIAL_S, self._own_secret(uuid)
        try:
            answer = self._send(target, command, timeout_s=last_words.TIMEOUT_S, urgent=True, dial_s=dial_s)
        except RemoteError:
            return ""
        return last_words.shown(answer.stdout, self._redactor, own_secret)

    def close(self, name: str) -> None:
        self._slow_dials.pop(name, None)
        if self._watch is not None:
            self._watch.watchers.drop(name)
        self._executor.forget(name)

    def stop(self) -> None:
        if self._watch is not None:
            self._watch.watchers.stop()
        self._executor.stop()

    # ------------------------------------------------------------------------------------------------------------ probe

    def _list(
        self, target: Target, *, booted: bool, failure: RemoteError | None, runner_unchecked: bool = False
    ) -> ProbeReport:
        try:
            answer = self._listed(target, runner_unchecked)
        except RemoteError as error:
            return _failed(failure or error, reached=failure is not None or error.reached)
        stdout, said = apart(answer.stdout)
        listed = words.parse_list(stdout, self._access.cluster_id)
        if self._watch is not None and not listed.broken:
            self._watch.listed(target, listed.processes)
        end = announced(self._access.notices, said, target.name)
        return ProbeReport(
            reached=True,
            booted=booted,
            processes=listed.processes,
            stale=listed.stale,
            broken=listed.broken,
            problem=failure.problem if failure else ProbeProblem.NONE,
            error=failure.text if failure else _notes(listed.notes),
            said=failure.said if failure else None,
            notice=end.text,
            ends_in_s=end.ends_in_s,
        )

    def _listed(self, target: Target, runner_unchecked: bool) -> Output:
        """Raises RemoteError also when the runner itself failed: then nobody knows what runs."""
        command = self._runner.list_command(target.user)
        if self._access.notices is not None:
            command = with_notices(command, self._access.notices)
        answer = self._run(target, command)
        if answer.status in NOT_FOUND and runner_unchecked and self._deployment is not None:
            self._put_runner(target)  # the boot probe failed before the runner was put there
            answer = self._run(target, command)
        return _succeeded("list", command, answer)

    def _probe_boot(self, target: Target) -> tuple[RemoteError | None, str]:
        """What failed, and what it complains about though it has booted."""
        self._slow_dials.setdefault(target.name, 0)
        warnings: list[str] = []
        failure = self._attempt(lambda target: warnings.extend(self._check_boot(target)), target)
        self._note_dial(target.name, failure)
        return failure, "; ".join(warnings)

    def _check_boot(self, target: Target) -> list[str]:
        """What it complains about. ``degraded`` says that everything was started and some unit failed, which need not be one
        that containers miss: it has booted."""
        command = words.boot_command(self._access.boot_probe_command)
        answer = self._run(target, command)
        if answer.status != 0 and answer.stdout.strip() == DEGRADED:
            return [_complaint("boot probe", answer)]
        _succeeded("boot probe", command, answer)
        return []

    def _put_runner(self, target: Target) -> None:
        if self._deployment is None:
            return

        def send(command: str, stdin: bytes = b"") -> Output:
            timeout_s = self._access.timeout_deploy_s if stdin else self._access.timeout_command_s
            return self._send(target, command, stdin=stdin, timeout_s=timeout_s)

        answer = self._deployment.put(target.user, send)
        if answer is not None:
            _succeeded("runner upload", f"upload of {self._deployment.file.path}", answer)

    def _note_dial(self, name: str, failure: RemoteError | None) -> None:
        """An instance that drops packets while it boots must not hold its probe for the whole patience of a login."""
        ran_out = failure is not None and not failure.reached and failure.problem is ProbeProblem.TIMEOUT
        self._slow_dials[name] = self._slow_dials.get(name, 0) + 1 if ran_out else 0

    # ---------------------------------------------------------------------------------------------------------- helpers

    def _run(self, target: Target, command: str, *, urgent: bool = False) -> Output:
        return self._send(target, command, timeout_s=self._access.timeout_command_s, urgent=urgent)

    def _send(
        self,
        target: Target,
        command: str,
        *,
        timeout_s: float,
        stdin: bytes = b"",
        urgent: bool = False,
        dial_s: float | None = None,
    ) -> Output:
        """Every command goes this way: what comes back is free of secrets, and an error names the command."""
        slow = self._slow_dials.get(target.name)
        if slow is not None and dial_s is None:
            dial_s = FIRST_DIAL_S * DIAL_GROWTH ** min(slow, 20)
        try:
            answer = self._executor.run(
                target, command, timeout_s=timeout_s, stdin=stdin, urgent=urgent, connect_timeout_s=dial_s
            )
        except RemoteError as error:
            error.said = error.said or Said(command=command)
            raise
        return replace(answer, stdout=self._clean(answer.stdout, target), stderr=self._clean(answer.stderr, target))

    def _clean(self, output: bytes, target: Target) -> bytes:
        if not output:
            return output
        text = output.decode("utf-8", "surrogateescape")
        return self._redactor.blank(text, target.secret).encode("utf-8", "surrogateescape")

    def _own_secret(self, uuid: str) -> str:
        """What only this container's runner was told."""
        root = self._access.runner_access.system_root_token
        return gateway_secret(root, uuid) if root else ""

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
            return StartReport(outcome=StartOutcome.NOT_SENT, error=error.text, said=error.said)
        self._executor.disconnect(target.name)
        return StartReport(outcome=StartOutcome.UNKNOWN, error=error.text, said=error.said)


def connect_instances(
    access: InstanceAccess, *, host_keys: HostKeys | None = None, on_connection_lost: Callable[[str], None] | None = None,
    on_hint: Callable[[str], None] | None = None,
) -> SSHInstances:
    """The port on an executor of its own; with ``on_hint`` runners are watched, and it is called when one may have ended. Raises
    ValueError when the key, the port or the runner's file is wrong."""
    settings = SSHSettings(
        private_key=load_private_key(access.private_key),
        default_port=parse_port(access.ssh_port),
        connect_timeout_s=access.timeout_connect_s,
        thread_per_connection=access.thread_per_connection,
    )
    executor = SSHExecutor(settings, host_keys=host_keys, on_connection_lost=on_connection_lost)
    return SSHInstances(access, executor, Watch(Watchers(on_hint), executor.stream) if on_hint is not None else None)


def _failed(error: RemoteError, *, reached: bool | None = None) -> ProbeReport:
    reached = error.reached if reached is None else reached
    return ProbeReport(reached=reached, problem=error.problem, error=error.text, said=error.said)


def _succeeded(doing: str, command: str, answer: Output) -> Output:
    if answer.status != 0:
        complaint = _complaint(doing, answer)
        raise RemoteError(ProbeProblem.COMMAND, complaint, reached=True, sent=True, said=_said(command, answer))
    return answer


def _said(command: str, answer: Output) -> Said:
    return Said(command=command, status=answer.status, stdout=printable(answer.stdout), stderr=printable(answer.stderr))


def _complaint(doing: str, answer: Output) -> str:
    said = printable(answer.stderr or answer.stdout)
    return f"{doing}: exit status {answer.status}" + (f": {said}" if said else "")


def _notes(lines: tuple[str, ...]) -> str:
    return f"the runner's list holds lines that are not understood: {printable('; '.join(lines).encode())}" if lines else ""
