"""Probe, start and kill: on a real OpenSSH server with a stand-in runner, and on a scripted executor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from instance_support import RUNNER, TYPE, UUID, access
from sshd import SSHD, running_sshd

from dispatcher.core.messages import KillReport, ProbeProblem, ProbeReport, Said, StartOutcome, StartReport, Target
from dispatcher.edge.instances import InstanceAccess, SSHInstances, connect_instances
from dispatcher.edge.notices import Notices
from dispatcher.edge.runner import Runner
from dispatcher.edge.runner_config import RunnerAccess
from dispatcher.edge.ssh import Output, RemoteError
from dispatcher.runtime.ports import InstancePort


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SSHD]:
    folder = tmp_path / "vm"
    folder.mkdir()
    with running_sshd(folder) as running:
        running.install("crunch-run", RUNNER)
        (folder / "booted").touch()
        yield running


@pytest.fixture
def instances(server: SSHD) -> Iterator[SSHInstances]:
    port: InstancePort = connect_instances(access(server))
    assert isinstance(port, SSHInstances)
    yield port
    port.stop()


# -------------------------------------------------------------------------------------------------------------------- probe


def test_a_booted_instance(server: SSHD, instances: SSHInstances) -> None:
    """Boot probe, then the list."""
    (server.folder / "list.txt").write_text(f"{UUID}\nyyyyy-dz642-000000000000009\n")
    assert instances.probe(server.target(), boot=True) == ProbeReport(reached=True, booted=True, processes=frozenset({UUID}))


def test_nothing_runs_is_an_empty_list(server: SSHD, instances: SSHInstances) -> None:
    """And not an unknown one."""
    assert instances.probe(server.target(), boot=False) == ProbeReport(reached=True, processes=frozenset())


@pytest.mark.parametrize("boot", [True, False])
def test_news_of_its_end_come_with_the_list(server: SSHD, boot: bool) -> None:
    """Asked for in the same command, read by the driver; a question that fails changes nothing."""
    (server.folder / "list.txt").write_text(f"{UUID}\n")
    for command, notice in (("echo Preempt", "Preempt: vm"), ("no-such-command", "")):
        notices = Notices(command=command, parse=lambda said, name: f"{said.strip()}: {name}" if said else "")
        instances = connect_instances(access(server, notices=notices))
        report = instances.probe(replace(server.target(), name="vm"), boot=boot)
        instances.stop()
        assert report == ProbeReport(reached=True, booted=boot, processes=frozenset({UUID}), notice=notice)


def test_a_boot_probe_that_fails_does_not_hide_what_runs(server: SSHD, instances: SSHInstances) -> None:
    """An instance that was found at start may run containers although its system is degraded."""
    (server.folder / "booted").unlink()
    (server.folder / "list.txt").write_text(f"{UUID}\n")
    report = instances.probe(server.target(), boot=True)
    assert (report.reached, report.booted, report.processes) == (True, False, frozenset({UUID}))
    assert (report.problem, report.error) == (ProbeProblem.COMMAND, "boot probe: exit status 1")


def test_the_last_words_of_a_failed_boot_probe_are_kept(server: SSHD) -> None:
    """Its standard error, on one line, without control characters."""
    said = "printf 'degraded\\n\\033[31mdocker.service failed\\n' >&2; exit 1"
    instances = connect_instances(access(server, boot_probe_command=said))
    report = instances.probe(server.target(), boot=True)
    instances.stop()
    assert report.error == "boot probe: exit status 1: degraded ?[31mdocker.service failed"


def test_12_28_a_degraded_instance_has_booted_with_a_warning(server: SSHD) -> None:
    """12.28: upstream never uses an instance of which systemd says ``degraded``. All was started there and some unit failed,
    which need not be one that containers miss."""
    instances = connect_instances(access(server, boot_probe_command="echo degraded; exit 1"))
    report = instances.probe(server.target(), boot=True)
    instances.stop()
    assert (report.booted, report.problem, report.error) == (True, ProbeProblem.NONE, "")
    assert report.warning == "boot probe: exit status 1: degraded"


@pytest.mark.parametrize("word", ["starting", "maintenance", "degraded and more", ""])
def test_no_other_answer_of_a_failing_boot_probe_counts_as_booted(server: SSHD, word: str) -> None:
    """It is still coming up, or it is not well at all."""
    instances = connect_instances(access(server, boot_probe_command=f"echo {word}; exit 1"))
    report = instances.probe(server.target(), boot=True)
    instances.stop()
    assert (report.booted, report.warning) == (False, "")


def test_a_missing_runner_says_nothing_about_processes(server: SSHD, instances: SSHInstances) -> None:
    """Reached, not ready, and nobody knows what runs."""
    (server.folder / "bin" / "crunch-run").unlink()
    report = instances.probe(server.target(), boot=True)
    assert (report.reached, report.booted, report.processes) == (True, False, None)
    assert (report.problem, "list: exit status 127" in report.error) == (ProbeProblem.COMMAND, True)


def test_broken_and_stale(server: SSHD, instances: SSHInstances) -> None:
    """The runner's own remarks are passed on as they are."""
    (server.folder / "list.txt").write_text(f"{UUID} stale\nbroken\n")
    report = instances.probe(server.target(), boot=False)
    assert (report.processes, report.stale, report.broken) == (frozenset(), frozenset({UUID}), True)


def test_noise_is_kept_apart(server: SSHD, instances: SSHInstances) -> None:
    """The list counts, and the noise can be read."""
    (server.folder / "list.txt").write_text(f"last login: today\n{UUID}\n")
    report = instances.probe(server.target(), boot=False)
    assert (report.processes, report.problem) == (frozenset({UUID}), ProbeProblem.NONE)
    assert "last login: today" in report.error


def test_an_instance_that_cannot_be_reached(server: SSHD, instances: SSHInstances) -> None:
    """One attempt, one reason."""
    target = replace(server.target(), address=None)
    report = instances.probe(target, boot=True)
    said = Said(command="test -e booted")
    assert report == ProbeReport(reached=False, problem=ProbeProblem.NO_ADDRESS, error="vm-1 has no address yet", said=said)


# ------------------------------------------------------------------------------------------------------------ start and kill


def test_a_start(server: SSHD, instances: SSHInstances) -> None:
    """The command line names the container, standard input has the configuration, and the tokens are only there."""
    assert instances.start(server.target(), UUID, TYPE, vcpus=1) == StartReport(outcome=StartOutcome.STARTED)
    args = (server.folder / "args.txt").read_text()
    environment = json.loads((server.folder / "stdin.json").read_text())["Env"]
    assert args == f"--stdin-config --runtime-engine=docker {UUID}\n"
    assert (environment["ARVADOS_API_TOKEN"], environment["GatewayAddress"]) == ("v2/secret-token", "127.0.0.1:0")


def test_a_refused_start(server: SSHD, instances: SSHInstances) -> None:
    """The runner's own words."""
    (server.folder / "refuse").touch()
    report = instances.start(server.target(), UUID, TYPE)
    assert report.outcome is StartOutcome.REFUSED
    assert report.error == "start: exit status 1: container is already running"


def test_a_start_that_never_left(server: SSHD, instances: SSHInstances) -> None:
    """Nothing may have begun: it may be tried elsewhere at once."""
    target = replace(server.target(), address="127.0.0.1:1")
    assert instances.start(target, UUID, TYPE).outcome is StartOutcome.NOT_SENT


def test_an_unknown_start_has_lost_its_connection(server: SSHD) -> None:
    """It overran: whatever of it is still on its way must not arrive later."""
    (server.folder / "hang").touch()
    lost: list[str] = []
    instances = connect_instances(access(server, timeout_start_s=2.0), on_connection_lost=lost.append)
    report = instances.start(server.target(), UUID, TYPE)
    assert (report.outcome, (server.folder / "hanging").exists(), lost) == (StartOutcome.UNKNOWN, True, [])
    instances.stop()


@pytest.mark.parametrize(("alive", "report"), [(False, KillReport(gone=True)), (True, None)])
def test_a_kill(server: SSHD, instances: SSHInstances, alive: bool, report: KillReport | None) -> None:
    """Only the runner's own success says that nothing is there."""
    if alive:
        (server.folder / f"alive-{UUID}").touch()
    said = Said(command=f"crunch-run --kill 15 {UUID}", status=1, stderr="still there")
    expected = report or KillReport(gone=False, error="kill: exit status 1: still there", said=said)
    assert instances.kill(server.target(), UUID, 15) == expected


def test_a_kill_that_nobody_heard(server: SSHD, instances: SSHInstances) -> None:
    """Not gone, as far as we know."""
    target = replace(server.target(), address="127.0.0.1:1")
    report = instances.kill(target, UUID, 15)
    assert (report.gone, report.answered) == (False, False)


def test_many_instances_at_once(server: SSHD, instances: SSHInstances) -> None:
    """Twenty names on one server: each has a connection of its own, and all answer."""
    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(lambda n: instances.probe(server.target(f"vm-{n}"), boot=True), range(20)))
    assert {report.booted for report in reports} == {True}
    assert server.logins() == 20


# -------------------------------------------------------------------------------------------------------- on a scripted executor


@dataclass
class Script:
    """An executor that answers by the first word that a command line contains."""

    answers: dict[str, Output | RemoteError]
    ran: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    urgent: list[bool] = field(default_factory=list)
    dials_s: list[float | None] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)

    def run(self, target: Target, command: str, *, urgent: bool = False, **bounds: Any) -> Output:
        self.ran.append(command)
        self.urgent.append(urgent)
        self.dials_s.append(bounds["connect_timeout_s"])
        self.timeouts_s.append(bounds["timeout_s"])
        answer = next((answer for word, answer in self.answers.items() if word in command), OK)
        if isinstance(answer, RemoteError):
            raise answer
        return answer

    def disconnect(self, name: str) -> None:
        self.cut.append(name)

    def forget(self, name: str) -> None:
        self.cut.append(f"{name} forgotten")

    def stop(self) -> None:
        pass


OK = Output(status=0, stdout=b"", stderr=b"")
LOST = RemoteError(ProbeProblem.UNREACHABLE, "lost", reached=True, sent=True)
HUNG = RemoteError(ProbeProblem.TIMEOUT, "hung", reached=True, sent=True)
AWAY = RemoteError(ProbeProblem.TIMEOUT, "away")
TARGET = Target(name="vm-1", address="10.0.0.1", user="crunch", secret="s")


def scripted(script: Script, **changes: Any) -> SSHInstances:
    runner_access = RunnerAccess(api_host="api.example.com", api_token="v2/secret-token")
    arguments = Runner(arguments=("--foo",))
    settings = InstanceAccess(private_key="", cluster_id="zzzzz", runner=arguments, runner_access=runner_access)
    return SSHInstances(replace(settings, **changes), script)


def test_only_connection_failures_spare_the_list() -> None:
    """A boot probe that hangs does not hide what runs; a machine that is away is not asked twice."""
    hung, away = Script({"systemctl": HUNG}), Script({"systemctl": AWAY})
    assert scripted(hung).probe(TARGET, boot=True).processes == frozenset()
    said = Said(command="systemctl is-system-running")
    expected = ProbeReport(reached=False, problem=ProbeProblem.TIMEOUT, error="away", said=said)
    assert scripted(away).probe(TARGET, boot=True) == expected
    assert (len(hung.ran), len(away.ran)) == (2, 1)


def test_the_first_failure_is_the_one_that_is_told() -> None:
    """Boot probe and list fail: the list only suffers from what the boot probe found."""
    script = Script({"systemctl": Output(status=3, stdout=b"starting\n", stderr=b""), "--list": LOST})
    report = scripted(script).probe(TARGET, boot=True)
    said = Said(command="systemctl is-system-running", status=3, stdout="starting")
    expected = ProbeReport(reached=True, problem=ProbeProblem.COMMAND, error="boot probe: exit status 3: starting", said=said)
    assert report == expected


def test_a_lost_list_is_unknown() -> None:
    """Never "no processes"."""
    report = scripted(Script({"--list": LOST})).probe(TARGET, boot=False)
    assert (report.processes, report.problem, report.reached) == (None, ProbeProblem.UNREACHABLE, True)


def test_other_users_run_everything_but_the_boot_probe_by_sudo() -> None:
    """As the reference implementation does."""
    script = Script({})
    instances = scripted(script)
    instances.probe(TARGET, boot=True)
    instances.start(TARGET, UUID, TYPE)
    instances.kill(TARGET, UUID, 15)
    assert script.ran == [
        "systemctl is-system-running",
        "sudo crunch-run --list",
        f"sudo crunch-run --detach --stdin-config '--runtime-engine=docker' '--foo' '{UUID}'",
        f"sudo crunch-run --kill 15 {UUID}",
    ]
    assert script.urgent == [False, False, True, True]


@pytest.mark.parametrize(
    ("failure", "outcome", "cut"),
    [(LOST, StartOutcome.UNKNOWN, ["vm-1"]), (HUNG, StartOutcome.UNKNOWN, ["vm-1"]), (AWAY, StartOutcome.NOT_SENT, [])],
)
def test_what_becomes_of_a_failed_start(failure: RemoteError, outcome: StartOutcome, cut: list[str]) -> None:
    """Unknown only when bytes may have left, and then the connection is cut before anybody hears of it."""
    script = Script({"--detach": failure})
    assert scripted(script).start(TARGET, UUID, TYPE).outcome is outcome
    assert script.cut == cut


SECRETS = ["v2/secret-token", "secret-token", "s-of-the-instance", "zzzzz-gj3su-000000000000000/foreign"]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_an_instance_prints_is_free_of_secrets(secret: str) -> None:
    """The error, what it is made of, and its repr."""
    script = Script({"--list": Output(status=1, stdout=b"", stderr=f"refused: {secret}!".encode())})
    port = scripted(script)
    report = port.probe(replace(TARGET, secret="s-of-the-instance"), boot=False)
    assert report.error == "list: exit status 1: refused: ***!"
    assert secret not in repr(report)


def test_12_7_a_dial_while_booting_is_short_and_grows() -> None:
    """A machine that drops packets must not hold its probe for half a minute; one that is slow to log in is met in the end."""
    script = Script({"systemctl": AWAY})
    port = scripted(script)
    for _ in range(4):
        port.probe(TARGET, boot=True)
    assert script.dials_s == [3.0, 4.5, 6.75, 10.125]
    script.answers = {}
    port.probe(TARGET, boot=True)
    port.probe(TARGET, boot=False)
    assert script.dials_s[-1] is None


def test_12_8_every_command_has_a_deadline(tmp_path: Path) -> None:
    """Probe, list, verify, upload, start, kill, and the last words: none may wait without an end."""
    binary = tmp_path / "crunch-run"
    binary.write_text(RUNNER)
    script = Script({})
    port = scripted(script, deploy_binary=str(binary))
    port.probe(TARGET, boot=True)
    port.start(TARGET, UUID, TYPE)
    port.kill(TARGET, UUID, 9)
    port.output(TARGET, UUID)
    assert len(script.ran) == len(script.timeouts_s) == 7
    assert all(0 < timeout_s <= 300 for timeout_s in script.timeouts_s)


def test_close_forgets() -> None:
    """The instance is gone."""
    script = Script({})
    scripted(script).close("vm-1")
    assert script.cut == ["vm-1 forgotten"]
