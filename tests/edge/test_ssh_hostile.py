"""The SSH executor against servers that are ill or lie: every fault ends in time, with a kind, and never as an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import paramiko
import pytest
from fake_ssh import Conduct, FakeSSH, answer, fake_ssh, raw_server
from ssh_support import TIMEOUT_S, eventually, failure
from sshd import make_key

from dispatcher.core.messages import ProbeProblem
from dispatcher.edge.ssh import RemoteError, SSHExecutor, SSHSettings
from dispatcher.edge.ssh.keys import load_private_key

OUR_KEY = make_key()
PATIENCE_S = 2.0  # for commands that overrun: enough to open a channel on a busy machine


@pytest.fixture
def executor(request: pytest.FixtureRequest) -> Iterator[SSHExecutor]:
    executor = patient_for(TIMEOUT_S, thread_per_connection=getattr(request, "param", False))
    yield executor
    executor.stop()


def patient_for(connect_timeout_s: float, *, thread_per_connection: bool = False) -> SSHExecutor:
    key = load_private_key(OUR_KEY.private)
    return SSHExecutor(
        SSHSettings(private_key=key, connect_timeout_s=connect_timeout_s, thread_per_connection=thread_per_connection)
    )


on_both_transports = pytest.mark.parametrize("executor", [False, True], ids=["one reader", "threads"], indirect=True)


# --------------------------------------------------------------------------------------------------------- while connecting


def say(text: bytes) -> Callable[[socket.socket], None]:
    return lambda sock: sock.sendall(text)


@pytest.mark.parametrize(
    ("serve", "problem"),
    [
        (say(b""), ProbeProblem.TIMEOUT),
        (say(b"SSH-2.0-silent\r\n"), ProbeProblem.TIMEOUT),
        (say(b"SSH-2.0-half"), ProbeProblem.TIMEOUT),
        (say(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x\r\n" * 200), ProbeProblem.UNREACHABLE),
        (say(b"SSH-2.0-binary\r\n\x00\x00\x00\x10" + b"\xff" * 500), ProbeProblem.UNREACHABLE),
        (socket.socket.close, ProbeProblem.UNREACHABLE),
    ],
    ids=["silent", "banner then silence", "half a banner", "not SSH", "garbage", "closes at once"],
)
def test_what_is_no_ssh_server_ends_in_time(serve: Callable[[socket.socket], None], problem: ProbeProblem) -> None:
    """Nothing was sent, nobody was reached, and no thread of the attempt stays."""
    threads = threading.active_count()
    executor = patient_for(0.5)
    with raw_server(serve) as server:
        error = failure(lambda: executor.run(server.target(), "true", timeout_s=TIMEOUT_S))
        executor.stop()
    assert (error.problem, error.sent, error.reached) == (problem, False, False)
    assert eventually(lambda: threading.active_count() <= threads)


def test_silent_hosts_do_not_hold_up_the_others() -> None:
    """More silent hosts than handshakes are allowed at once: another instance is connected to all the same."""
    executor = patient_for(2.0)
    with raw_server(say(b"")) as silent, fake_ssh() as healthy, ThreadPoolExecutor(24) as pool:
        hung = [pool.submit(failure, run_true(executor, silent.target(f"vm-{n}"))) for n in range(20)]
        assert eventually(lambda: silent.connections == 20)
        assert executor.run(healthy.target("healthy"), "true", timeout_s=TIMEOUT_S).status == 0
        assert not any(job.done() for job in hung)
        executor.stop()


def run_true(executor: SSHExecutor, target: object) -> Callable[[], object]:
    return lambda: executor.run(target, "true", timeout_s=TIMEOUT_S)  # type: ignore[arg-type]


def test_a_refused_login(executor: SSHExecutor) -> None:
    """Only our key was tried, once."""
    with fake_ssh(Conduct(accepts_login=False)) as server:
        error = failure(lambda: executor.run(server.target(), "true", timeout_s=TIMEOUT_S))
    assert (error.problem, error.sent, error.reached) == (ProbeProblem.LOGIN, False, False)
    assert set(server.said) == {"login"}


def test_first_contact_runs_nothing_but_the_identity_check(executor: SSHExecutor) -> None:
    """A liar gets one question, no standard input and no command."""
    with fake_ssh(Conduct(handler=answer(b"a guess"))) as server:
        act = lambda: executor.run(server.target(host_keys=()), "start", stdin=b"token", timeout_s=TIMEOUT_S)  # noqa: E731
        error = failure(act)
    assert error.problem is ProbeProblem.HOST_KEY
    assert [word for word in server.said if word != "login"] == ["cat /var/run/arvados-instance-secret"]


def test_other_users_read_the_secret_by_sudo(executor: SSHExecutor) -> None:
    """Only root may read it."""
    with fake_ssh(Conduct(handler=answer(b"s3cret"))) as server:
        target = replace(server.target(host_keys=()), user="crunch")
        executor.run(target, "true", timeout_s=TIMEOUT_S)
    assert [word for word in server.said if word != "login"] == ["sudo cat /var/run/arvados-instance-secret", "true"]


def test_no_key_and_no_secret_means_no_connection_at_all(executor: SSHExecutor) -> None:
    """It cannot be identified, and the text says what to do."""
    with fake_ssh() as server:
        target = server.target(secret="", host_keys=())
        error = failure(lambda: executor.run(target, "true", timeout_s=TIMEOUT_S))
    assert (error.problem, server.connections) == (ProbeProblem.HOST_KEY, 0)
    assert "cannot be identified" in error.text


# ------------------------------------------------------------------------------------------------------- while a command runs


@on_both_transports
def test_an_exec_that_is_never_answered_ends_in_time(executor: SSHExecutor) -> None:
    """The library waits for this reply without a bound: the watchdog cuts the connection. The command may have left."""
    with fake_ssh(Conduct(replies_to_exec=False)) as server:
        error = failure(lambda: executor.run(server.target(), "true", timeout_s=PATIENCE_S))
    assert (error.problem, error.sent, error.reached) == (ProbeProblem.TIMEOUT, True, True)


@on_both_transports
def test_a_server_that_does_not_run_the_command_says_so(executor: SSHExecutor) -> None:
    """That is no lost connection, and the next command uses the same one."""
    with fake_ssh(Conduct(runs=False)) as server:
        for _ in range(2):
            error = failure(lambda: executor.run(server.target(), "start", stdin=b"token", timeout_s=TIMEOUT_S))
            assert (error.problem, error.sent, error.reached) == (ProbeProblem.COMMAND, True, True)
        assert server.connections == 1


@on_both_transports
def test_a_machine_that_stops_reading_ends_in_time(executor: SSHExecutor) -> None:
    """Sending blocks when the kernel's buffers are full: only cutting the connection gets out of that."""
    with fake_ssh(Conduct(reads_after_exec=False, window_bytes=1 << 28)) as server:
        error = failure(lambda: executor.run(server.target(), "upload", stdin=bytes(50_000_000), timeout_s=PATIENCE_S))
    assert (error.problem, error.sent) == (ProbeProblem.TIMEOUT, True)


def close_after(*, status: int | None, connection: bool) -> Callable[[paramiko.Channel, str], None]:
    def handle(channel: paramiko.Channel, command: str) -> None:
        channel.sendall(b"zzzzz-dz642-half")
        if status is not None:
            channel.send_exit_status(status)
        if connection:
            channel.get_transport().close()
        else:
            channel.close()

    return handle


@on_both_transports
@pytest.mark.parametrize(
    ("status", "connection", "problem"),
    [(0, True, ProbeProblem.UNREACHABLE), (None, True, ProbeProblem.UNREACHABLE), (None, False, ProbeProblem.COMMAND)],
    ids=["status, then lost", "lost", "closed without a status"],
)
def test_half_an_answer_is_no_answer(
    executor: SSHExecutor, status: int | None, connection: bool, problem: ProbeProblem
) -> None:
    """An exit status counts only with the channel's close behind it: output may have been on its way."""
    with fake_ssh(Conduct(handler=close_after(status=status, connection=connection))) as server:
        error = failure(lambda: executor.run(server.target(), "list", timeout_s=TIMEOUT_S))
    assert (error.problem, error.sent) == (problem, True)


@on_both_transports
def test_output_without_end_is_stopped(executor: SSHExecutor) -> None:
    """By its size, long before its deadline."""

    def pour(channel: paramiko.Channel, command: str) -> None:
        while True:
            channel.sendall(b"x" * 65536)

    with fake_ssh(Conduct(handler=pour)) as server:
        error = failure(lambda: executor.run(server.target(), "list", timeout_s=TIMEOUT_S))
    assert (error.problem, error.sent) == (ProbeProblem.COMMAND, True)


@pytest.mark.parametrize("conduct", [Conduct(replies_to_exec=False), Conduct(handler=lambda channel, command: None)])
def test_12_8_an_instance_that_hangs_frees_its_callers(conduct: Conduct) -> None:
    """It accepts the session and never answers: everything that is asked of it ends, and another instance is not held up."""
    settings = SSHSettings(private_key=load_private_key(OUR_KEY.private), connect_timeout_s=TIMEOUT_S)
    executor = SSHExecutor(settings)
    with fake_ssh(conduct) as hung, fake_ssh() as healthy, ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(failure, lambda: executor.run(hung.target(), "list", timeout_s=PATIENCE_S)) for _ in range(6)]
        assert eventually(lambda: hung.connections > 0)
        assert executor.run(healthy.target("healthy"), "list", timeout_s=TIMEOUT_S).status == 0
        assert {job.result().problem for job in jobs} <= {ProbeProblem.TIMEOUT, ProbeProblem.UNREACHABLE}
        executor.stop()


def hold(channel: paramiko.Channel, command: str) -> None:
    """A command that neither prints nor ends."""


def test_at_most_four_commands_at_once_and_the_urgent_first(executor: SSHExecutor) -> None:
    """With four running, a waiting start overtakes a probe that waited longer."""
    turn = threading.Semaphore(0)
    ran: list[str] = []

    def handle(channel: paramiko.Channel, command: str) -> None:
        if command == "busy":
            turn.acquire()
        ran.append(command)
        answer()(channel, command)

    with fake_ssh(Conduct(handler=handle)) as server, ThreadPoolExecutor(8) as pool:

        def submit(command: str, *, urgent: bool = False) -> None:
            pool.submit(executor.run, server.target(), command, timeout_s=TIMEOUT_S, urgent=urgent)

        for _ in range(4):
            submit("busy")
        assert eventually(lambda: server.said.count("busy") == 4)
        submit("probe")
        slots = executor._peers["vm-1"].link.slots  # type: ignore[union-attr]
        submit("start", urgent=True)
        assert eventually(lambda: slots._urgent_waiting == 1)
        assert "probe" not in server.said
        turn.release()
        assert eventually(lambda: "probe" in ran)
        turn.release(3)
    assert ran.index("start") < ran.index("probe")


@on_both_transports
def test_a_full_server_gets_a_new_connection_once(executor: SSHExecutor) -> None:
    """Sessions that outlived their commands fill a connection: the next command is not lost to it, and nothing was sent."""

    def handle(channel: paramiko.Channel, command: str) -> None:
        (hold if command == "first" else answer(b"second"))(channel, command)

    with fake_ssh(Conduct(max_sessions=1, handler=handle)) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(failure, lambda: executor.run(server.target(), "first", timeout_s=PATIENCE_S))
        assert eventually(lambda: "first" in server.said)
        assert executor.run(server.target(), "second", timeout_s=TIMEOUT_S).stdout == b"second"
        assert first.result().problem is ProbeProblem.TIMEOUT
        assert server.connections == 2


def test_a_server_that_allows_no_session_says_so(executor: SSHExecutor) -> None:
    """Reached, but nothing was sent: a start may be tried again."""
    with fake_ssh(Conduct(max_sessions=0)) as server:
        error = failure(lambda: executor.run(server.target(), "true", timeout_s=TIMEOUT_S))
    assert (error.problem, error.sent, error.reached) == (ProbeProblem.COMMAND, False, True)


@on_both_transports
def test_an_address_that_changes_cuts_what_runs_at_the_old_one(executor: SSHExecutor) -> None:
    """The command in flight becomes unknown; nobody waits for it."""
    key = make_key()
    stuck, healthy = Conduct(host_key=key, handler=hold), Conduct(host_key=key)
    with fake_ssh(stuck) as old, fake_ssh(healthy) as new, ThreadPoolExecutor(1) as pool:
        running = pool.submit(failure, lambda: executor.run(old.target(), "start", timeout_s=TIMEOUT_S))
        assert eventually(lambda: "start" in old.said)
        assert executor.run(new.target(), "list", timeout_s=TIMEOUT_S).status == 0
        error = running.result()
    assert (error.problem, error.sent) == (ProbeProblem.UNREACHABLE, True)


@on_both_transports
def test_forget_cuts_at_once(executor: SSHExecutor) -> None:
    """The instance is gone: a command in flight ends, and a later one has to identify the machine anew."""
    with fake_ssh(Conduct(handler=hold)) as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(failure, lambda: executor.run(server.target(), "start", timeout_s=TIMEOUT_S))
        assert eventually(lambda: "start" in server.said)
        executor.forget("vm-1")
        assert running.result().problem is ProbeProblem.UNREACHABLE
    assert executor._peers == {}


@on_both_transports
def test_an_instance_that_is_forgotten_while_it_is_dialled(executor: SSHExecutor) -> None:
    """The connection that comes too late is not used and not kept."""
    gate = threading.Event()
    with fake_ssh(Conduct(login_gate=gate)) as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(failure, lambda: executor.run(server.target(), "start", timeout_s=TIMEOUT_S))
        assert eventually(lambda: "login" in server.said)
        executor.forget("vm-1")
        gate.set()
        error = running.result()
        assert (error.sent, "start" in server.said) == (False, False)
        assert eventually(lambda: not any(transport.is_active() for transport in server.transports))


@on_both_transports
def test_disconnect_returns_when_the_socket_is_closed(executor: SSHExecutor) -> None:
    """Only then has nothing unsent survived."""
    with fake_ssh() as server:
        executor.run(server.target(), "true", timeout_s=TIMEOUT_S)
        link = executor._peers["vm-1"].link
        assert link is not None
        executor.disconnect("vm-1")
        assert link.transport.sock.fileno() == -1


def test_no_secret_appears_in_any_text() -> None:
    """Neither in a settings' repr nor in a target's."""
    settings = SSHSettings(private_key=load_private_key(OUR_KEY.private))
    server = FakeSSH(Conduct(), port=1)
    assert "s3cret" not in repr(server.target())
    assert "Key" not in repr(settings)
    assert isinstance(RemoteError(ProbeProblem.LOGIN, "text"), Exception)


@on_both_transports
@pytest.mark.parametrize("by_us", [True, False])
def test_a_connection_is_dead_before_its_channels_are(executor: SSHExecutor, by_us: bool) -> None:
    """The library closes the channels first and the connection after them: no command in between takes a cut for a refusal."""
    alive: list[bool] = []

    class Witness(threading.Event):
        def set(self) -> None:
            alive.append(link.transport.is_active())
            super().set()

    with fake_ssh(Conduct(handler=hold)) as server:
        link, _ = executor._connected(server.target(), TIMEOUT_S)
        channel, witness = link.transport.open_session(), Witness()
        channel.in_buffer.set_event(witness)
        (link.cut if by_us else server.drop_connections)()
        assert witness.wait(TIMEOUT_S)
    assert alive == [False]
