"""The SSH executor against a real OpenSSH server."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from ssh_support import TIMEOUT_S, eventually, failure
from sshd import SSHD, make_key, running_sshd

from dispatcher.core.messages import ProbeProblem, Target
from dispatcher.edge.ssh import HostKeys, SSHExecutor, SSHSettings
from dispatcher.edge.ssh.keys import load_private_key


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHD]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def executor(server: SSHD, request: pytest.FixtureRequest) -> Iterator[SSHExecutor]:
    with_key = make_executor(server, thread_per_connection=getattr(request, "param", False))
    yield with_key
    with_key.stop()


def make_executor(server: SSHD, *, thread_per_connection: bool = False, **options: object) -> SSHExecutor:
    settings = SSHSettings(private_key=load_private_key(server.login.private), thread_per_connection=thread_per_connection)
    return SSHExecutor(settings, **options)  # type: ignore[arg-type]


on_both_transports = pytest.mark.parametrize("executor", [False, True], ids=["one reader", "threads"], indirect=True)


# ----------------------------------------------------------------------------------------------------------------- commands


@on_both_transports
def test_a_command_gives_its_status_and_both_outputs(server: SSHD, executor: SSHExecutor) -> None:
    """Exit status, standard output and standard error arrive whole and apart."""
    answer = executor.run(server.target(), "echo out; echo err >&2; exit 3", timeout_s=TIMEOUT_S)
    assert (answer.status, answer.stdout, answer.stderr) == (3, b"out\n", b"err\n")


@on_both_transports
def test_standard_input_arrives_whole(server: SSHD, executor: SSHExecutor) -> None:
    """Input of several windows, while the command also prints before it has read it all."""
    data = bytes(range(256)) * 40_000
    answer = executor.run(server.target(), "head -c 200000 /dev/zero >&2; md5sum", stdin=data, timeout_s=60)
    assert answer.stdout.split()[0].decode() == hashlib.md5(data).hexdigest()
    assert len(answer.stderr) == 200_000


@on_both_transports
def test_a_command_that_ends_without_reading_is_no_error(server: SSHD, executor: SSHExecutor) -> None:
    """Its exit status counts, although nobody took the input."""
    assert executor.run(server.target(), "exit 7", stdin=b"x" * 5_000_000, timeout_s=TIMEOUT_S).status == 7


@on_both_transports
def test_both_outputs_fill_without_a_deadlock(server: SSHD, executor: SSHExecutor) -> None:
    """400 kB on each stream, standard error first."""
    command = "head -c 400000 /dev/zero >&2; head -c 400000 /dev/zero"
    answer = executor.run(server.target(), command, timeout_s=TIMEOUT_S)
    assert (len(answer.stdout), len(answer.stderr)) == (400_000, 400_000)


@on_both_transports
def test_too_much_output_fails_and_leaves_the_connection_usable(server: SSHD, executor: SSHExecutor) -> None:
    """The limit ends the command, not the connection."""
    executor.run(server.target(), "true", timeout_s=TIMEOUT_S)
    before = server.logins()
    error = failure(lambda: executor.run(server.target(), "yes", timeout_s=TIMEOUT_S))
    assert (error.problem, error.sent, "more than" in error.text) == (ProbeProblem.COMMAND, True, True)
    assert executor.run(server.target(), "echo still here", timeout_s=TIMEOUT_S).stdout == b"still here\n"
    assert server.logins() == before


@on_both_transports
def test_no_exit_status_is_no_answer(server: SSHD, executor: SSHExecutor) -> None:
    """A command that dies of a signal is unknown, never an empty list."""
    error = failure(lambda: executor.run(server.target(), "kill -9 $$", timeout_s=TIMEOUT_S))
    assert (error.problem, error.sent, error.reached) == (ProbeProblem.COMMAND, True, True)


@on_both_transports
def test_a_command_that_overruns_is_cut(server: SSHD, executor: SSHExecutor) -> None:
    """The next command gets a connection of its own."""
    error = failure(lambda: executor.run(server.target(), "sleep 60", timeout_s=2.0))
    assert (error.problem, error.sent) == (ProbeProblem.TIMEOUT, True)
    assert executor.run(server.target(), "echo again", timeout_s=TIMEOUT_S).stdout == b"again\n"


# -------------------------------------------------------------------------------------------------------- kept connections


@on_both_transports
def test_commands_share_one_connection_and_leave_nothing_behind(server: SSHD, executor: SSHExecutor) -> None:
    """Fifty commands, one login, and the library's list of channels does not grow."""
    before = server.logins()
    for _ in range(50):
        executor.run(server.target(), "true", timeout_s=TIMEOUT_S)
    link = executor._peers["vm-1"].link
    assert link is not None
    assert (server.logins() - before, len(link.transport.channels_seen), len(link.transport.closed_by_peer)) == (1, 0, 0)


@on_both_transports
def test_an_idle_connection_hardly_wakes(server: SSHD, executor: SSHExecutor, request: pytest.FixtureRequest) -> None:
    """The library's own ten wake-ups a second make 1,000 connections collapse: it has no thread, or one that sleeps a minute."""
    executor.run(server.target(), "true", timeout_s=TIMEOUT_S)
    link = executor._peers["vm-1"].link
    assert link is not None
    threads = "threads" in request.node.name
    assert eventually(lambda: link.transport.is_alive() is threads)
    assert (link.transport.sock.gettimeout(), link.transport.is_active()) == (60.0 if threads else 0.0, True)


def test_concurrent_callers_share_the_one_dial(server: SSHD, executor: SSHExecutor) -> None:
    """Eight first commands at once, one login."""
    before = server.logins()
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(executor.run, server.target(), f"echo {n}", timeout_s=TIMEOUT_S) for n in range(8)]
        assert [job.result().stdout for job in jobs] == [f"{n}\n".encode() for n in range(8)]
    assert server.logins() - before == 1


def test_a_dead_kept_connection_is_dialled_again_at_once(tmp_path: Path) -> None:
    """The instance rebooted between two commands: the second one does not fail."""
    with running_sshd(tmp_path) as server:
        executor = make_executor(server)
        executor.run(server.target(), "true", timeout_s=TIMEOUT_S)
        server.stop()
        server.start()
        assert executor.run(server.target(), "echo back", timeout_s=TIMEOUT_S).stdout == b"back\n"
        executor.stop()


@pytest.mark.parametrize("thread_per_connection", [False, True])
def test_a_lost_connection_is_told_but_not_one_that_we_cut(tmp_path: Path, thread_per_connection: bool) -> None:
    """The callback speaks of breaks, not of our own decisions."""
    lost: list[str] = []
    with running_sshd(tmp_path) as server:
        executor = make_executor(server, on_connection_lost=lost.append, thread_per_connection=thread_per_connection)
        executor.run(server.target("cut-by-us"), "true", timeout_s=TIMEOUT_S)
        executor.run(server.target("broken"), "true", timeout_s=TIMEOUT_S)
        executor.forget("cut-by-us")
        server.stop()
        assert eventually(lambda: bool(lost))
        executor.stop()
    assert lost == ["broken"]


@pytest.mark.parametrize("thread_per_connection", [False, True])
def test_a_connection_lost_in_the_middle_is_unknown(tmp_path: Path, thread_per_connection: bool) -> None:
    """The command had left: it may have run."""
    with running_sshd(tmp_path) as server:
        executor = make_executor(server, thread_per_connection=thread_per_connection)
        started = tmp_path / "started"

        def cut() -> None:  # the server's end of this connection alone: a command that is killed first would be an answer
            eventually(lambda: started.exists() and started.read_text().endswith("\n"))
            os.kill(int(started.read_text()), signal.SIGKILL)

        killer = threading.Thread(target=cut)
        killer.start()
        error = failure(lambda: executor.run(server.target(), f"echo $PPID > {started}; sleep 60", timeout_s=TIMEOUT_S))
        killer.join()
        executor.stop()
    assert (error.problem, error.sent) == (ProbeProblem.UNREACHABLE, True)


def test_after_a_stop_everything_is_cut_and_nothing_is_dialled(tmp_path: Path) -> None:
    """The commands that run end with an error, not with a new connection; who comes later is told at once."""
    with running_sshd(tmp_path) as server:
        executor = make_executor(server)
        names = ["vm-1", "vm-2", "vm-3"]
        with ThreadPoolExecutor(3) as pool:
            started = [tmp_path / f"{name} runs" for name in names]
            hanging = [
                pool.submit(executor.run, server.target(name), f"touch '{mark}'; sleep 60", timeout_s=60)
                for name, mark in zip(names, started, strict=True)
            ]
            assert eventually(lambda: all(mark.exists() for mark in started))
            before = server.logins()
            executor.stop()
            assert [failure(job.result).problem for job in hanging] == [ProbeProblem.UNREACHABLE] * 3
        late = failure(lambda: executor.run(server.target(), "touch late", timeout_s=TIMEOUT_S))
        assert (late.sent, late.text, server.logins()) == (False, "the dispatcher stops", before)
        assert not (server.folder / "late").exists()


def test_ipv6(tmp_path: Path) -> None:
    """An address in brackets."""
    with running_sshd(tmp_path, listen="::1") as server:
        executor = make_executor(server)
        assert executor.run(server.target(), "echo six", timeout_s=TIMEOUT_S).stdout == b"six\n"
        executor.stop()


# --------------------------------------------------------------------------------------------------------------- host keys


def test_first_contact_asks_for_the_secret_then_pins(server: SSHD) -> None:
    """Nothing but the identity check comes before the command; the key is remembered."""
    pinned = {}
    executor = make_executor(server, host_keys=HostKeys(on_pinned=pinned.__setitem__))
    executor.run(server.target(), "true", timeout_s=TIMEOUT_S)
    executor.stop()
    assert pinned == {"vm-1": server.host_keys[0].public}


@pytest.mark.parametrize("secret", ["another", "", "s3cret-of-the-instance\n"])
def test_a_machine_that_cannot_show_the_secret_is_not_used(server: SSHD, executor: SSHExecutor, secret: str) -> None:
    """A different secret, none at all, or one that differs by a newline only."""
    error = failure(lambda: executor.run(server.target(secret=secret), "touch used", timeout_s=TIMEOUT_S))
    assert (error.problem, error.sent, error.reached) == (ProbeProblem.HOST_KEY, False, False)
    assert not (server.folder / "used").exists()
    assert server.secret not in error.text


def test_a_driver_key_needs_no_secret(server: SSHD, executor: SSHExecutor) -> None:
    """What the cloud vouches for is compared; the identity check is not asked."""
    target = server.target(secret="wrong", host_keys=(make_key().public, server.host_keys[0].public))
    assert executor.run(target, "echo known", timeout_s=TIMEOUT_S).stdout == b"known\n"


def test_a_changed_key_is_refused_before_login_and_never_learnt(tmp_path: Path) -> None:
    """Another machine behind a known address gets no login, not even when it knows the secret."""
    with running_sshd(tmp_path) as server:
        executor = make_executor(server)
        executor.run(server.target(), "true", timeout_s=TIMEOUT_S)
        server.stop()
        server.host_keys = [make_key()]
        server.start()
        logins = server.logins()
        for _ in range(2):
            error = failure(lambda: executor.run(server.target(), "true", timeout_s=TIMEOUT_S))
            assert (error.problem, error.sent, error.reached) == (ProbeProblem.HOST_KEY, False, False)
        assert server.logins() == logins
        executor.stop()


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
def test_only_the_known_type_is_offered(tmp_path: Path, kind: str) -> None:
    """A server with several host keys shows the one that we know, not its favourite."""
    with running_sshd(tmp_path, host_key_kinds=("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")) as server:
        executor = make_executor(server)
        known = next(key.public for key in server.host_keys if key.public.type == kind)
        target = server.target(secret="", host_keys=(known,))
        assert executor.run(target, "echo ok", timeout_s=TIMEOUT_S).stdout == b"ok\n"
        executor.stop()


def test_a_server_without_the_known_type_is_another_machine(server: SSHD, executor: SSHExecutor) -> None:
    """It only has ed25519, known is an RSA key."""
    target = server.target(host_keys=(make_key("ssh-rsa").public,))
    assert failure(lambda: executor.run(target, "true", timeout_s=TIMEOUT_S)).problem is ProbeProblem.HOST_KEY


def test_another_address_is_dialled_with_the_pinned_key(tmp_path: Path) -> None:
    """The cloud moved the instance: new connection, same key, no second proof."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running_sshd(tmp_path / "a") as old, running_sshd(tmp_path / "b") as new:
        new.stop()
        new.host_keys, new.login, new.secret = old.host_keys, old.login, "forgotten"
        new.start()
        executor = make_executor(old)
        executor.run(old.target(), "true", timeout_s=TIMEOUT_S)
        moved = replace(old.target(), address=new.address)
        assert executor.run(moved, "pwd", timeout_s=TIMEOUT_S).stdout.decode().strip() == str(new.folder)
        executor.stop()


# ------------------------------------------------------------------------------------------------------------------- login


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
def test_our_key_may_be_of_any_usual_type(tmp_path: Path, kind: str) -> None:
    """Clusters often have RSA keys."""
    with running_sshd(tmp_path) as server:
        server.login = make_key(kind)
        (tmp_path / "authorized_keys").write_text(server.login.line + "\n")
        executor = make_executor(server)
        assert executor.run(server.target(), "echo in", timeout_s=TIMEOUT_S).stdout == b"in\n"
        executor.stop()


def test_a_refused_key_is_a_login_problem(server: SSHD) -> None:
    """The right machine, the wrong key: an operator has to mend it."""
    executor = SSHExecutor(SSHSettings(private_key=load_private_key(make_key().private)))
    error = failure(lambda: executor.run(server.target(), "true", timeout_s=TIMEOUT_S))
    executor.stop()
    assert (error.problem, error.sent) == (ProbeProblem.LOGIN, False)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (None, ProbeProblem.NO_ADDRESS),
        ("", ProbeProblem.NO_ADDRESS),
        ("a b", ProbeProblem.NO_ADDRESS),
        ("127.0.0.1:1", ProbeProblem.UNREACHABLE),
        ("no-such-host.invalid:22", ProbeProblem.UNREACHABLE),
    ],
)
def test_nobody_there(server: SSHD, executor: SSHExecutor, address: str | None, problem: ProbeProblem) -> None:
    """Each way of having no machine to speak to; nothing was sent."""
    target = Target(name="vm-9", address=address, user="root", secret="x")
    error = failure(lambda: executor.run(target, "true", timeout_s=TIMEOUT_S))
    assert (error.problem, error.sent, error.reached) == (problem, False, False)
