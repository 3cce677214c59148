"""The real server as a process with a toy daemon in it: signals, crashes, the stop, and never a second worker."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

from dispatcher.web.in_thread import serve_in_thread
from dispatcher.web.notify import ServiceManager, service_manager
from dispatcher.web.supervisor import Supervisor
from tests.processes import children
from tests.sources import ROOT
from tests.web.fakes import TOKEN

PATIENCE_S = 30.0


def eventually(question: Callable[[], object], what: str) -> object:
    """The first true answer; the wait is for another process."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        answer = question()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


@dataclass
class Server:
    """The toy's process, seen from outside."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def address(self) -> str:
        return (self.folder / "listening").read_text()

    def events(self, word: str) -> list[int]:
        """The process ids that noted this word, in order."""
        file = self.folder / "events"
        lines = file.read_text().splitlines() if file.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == word]

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def pid(self) -> int:
        """The process that answers; the connection is not kept."""
        return int(requests.get(self.address + "/pid", timeout=10, headers={"Connection": "close"}).text)

    def workers(self) -> list[int]:
        return children(self.process.pid)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def handled(self, name: str) -> bool:
        return f"Handling signal: {name}" in self.log()


# What systemd does for a service with a socket unit: descriptor 3, and the process id of the one that it is for.
ACTIVATE = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "${@:2}" 3<&"$1"'


@contextlib.contextmanager
def running(
    folder: Path,
    *options: str,
    environment: dict[str, str] | None = None,
    wait: bool = True,
    listener: socket.socket | None = None,
) -> Iterator[Server]:
    """A toy server; whatever it leaves behind is killed. With ``listener`` it is activated by systemd's protocol."""
    command = [sys.executable, "-m", "tests.web.toy", str(folder), *options]
    if listener is not None:
        command = ["bash", "-c", ACTIVATE, "bash", str(listener.fileno()), *command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            pass_fds=[listener.fileno()] if listener is not None else [],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    server = Server(process, folder)
    try:
        if wait:
            eventually(lambda: server.events("started") or process.poll() is not None, "the start")
            assert process.poll() is None, server.log()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that leave it as it was; the environment asks for four workers."""
    with running(tmp_path_factory.mktemp("shared"), environment={"WEB_CONCURRENCY": "4"}) as server:
        yield server


def test_the_daemon_lives_in_the_only_worker(shared: Server) -> None:
    """It is built and started once, after the fork, in the process that answers, whatever $WEB_CONCURRENCY says."""
    shared.signal(signal.SIGWINCH)
    eventually(lambda: shared.handled("winch"), "the end of all forking: signals are handled after it")
    assert shared.events("built") == shared.events("started") == shared.workers() == [shared.pid()]


@pytest.mark.parametrize("name", ["ttin", "ttou", "usr2", "winch"])
def test_a_signal_that_would_change_the_workers_is_ignored(shared: Server, name: str) -> None:
    """gunicorn would fork a second worker, stop the only one, or start a second master: two dispatchers or none."""
    before = shared.workers()
    shared.signal(getattr(signal, f"SIG{name.upper()}"))
    eventually(lambda: shared.handled(name), f"{name} to be handled")
    assert shared.workers() == before == [shared.pid()]


def test_hup_reloads_in_the_running_worker(shared: Server) -> None:
    """A reload is an event to the daemon, never a new process."""
    before = shared.workers()
    shared.signal(signal.SIGHUP)
    eventually(lambda: shared.events("reloaded"), "the reload")
    assert shared.events("reloaded") == shared.workers() == before
    assert shared.events("built") == before


def test_a_token_in_the_address_reaches_no_log(shared: Server) -> None:
    """The request is logged with its query, the token blanked."""
    requests.get(shared.address + f"/arvados/v1/dispatch/instances?api_token={TOKEN}&x=1", timeout=10).raise_for_status()
    eventually(lambda: "api_token=***&x=1" in shared.log(), "the line of the request")
    assert TOKEN not in shared.log()


@pytest.mark.parametrize("name", ["api%5Ftoken", "%61pi_token"])
def test_a_token_under_an_encoded_name_reaches_no_log_either(shared: Server, name: str) -> None:
    """Such a name is read like the plain one, so it is blanked like it; also when the token is a stranger's."""
    line = http.client.HTTPConnection(shared.address.removeprefix("http://"), timeout=10)  # others tidy such names up
    line.request("GET", f"/arvados/v1/dispatch/instances?{name}=of-another-cluster&x=2")
    answer = line.getresponse()
    answer.read()
    assert answer.status == 403  # it was read as a token
    line.close()
    eventually(lambda: f"{name}=***&x=2" in shared.log(), "the line of the request")
    assert "of-another-cluster" not in shared.log()


def test_health_says_503_until_the_daemon_is_ready(shared: Server) -> None:
    """HTTP answers before the loops know anything; health must not lie meanwhile."""

    def status() -> int:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return requests.get(shared.address + "/_health/ping", headers=headers, timeout=10).status_code

    assert status() == 503
    (shared.folder / "may-be-ready").touch()
    eventually(lambda: status() == 200, "health")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_stop_answers_the_request_in_flight(tmp_path: Path, number: int) -> None:
    """The last request is answered, the daemon is stopped once, the exit code is 0 and nobody is left."""
    answers: list[requests.Response] = []
    with running(tmp_path) as server:
        client = threading.Thread(target=lambda: answers.append(requests.get(server.address + "/slow", timeout=20)))
        client.start()
        eventually(lambda: server.events("slow"), "the request")
        workers = server.workers()
        os.killpg(server.process.pid, number) if number == signal.SIGINT else server.signal(number)
        assert server.process.wait(PATIENCE_S) == 0, server.log()
        client.join(PATIENCE_S)
        assert [answer.text for answer in answers] == ["slow but sure"]
        assert server.events("stopped") == server.events("built") == workers


def test_a_connection_that_was_accepted_is_still_answered(tmp_path: Path) -> None:
    """Its request may be on the way when the stop begins: older gunicorns would drop it."""
    with running(tmp_path, "stop=1.5") as server:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
            server.pid()  # answered after our connection was accepted
            server.signal(signal.SIGTERM)
            eventually(lambda: "stopping" in server.log(), "the stop")
            client.sendall(b"GET /pid HTTP/1.0\r\n\r\n")
            assert b"200 OK" in client.recv(4096)


def test_a_restart_behind_systemds_socket_loses_no_request(tmp_path: Path) -> None:
    """A connection that comes while the old server stops is answered: by it, or by the next one from the same socket."""
    folders = [tmp_path / "old", tmp_path / "new"]
    for folder in folders:
        folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener, running(folders[0], "stop=1.5", listener=listener) as old:
        old.signal(signal.SIGTERM)
        eventually(lambda: "stopping" in old.log(), "the stop")
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE_S) as client:
            client.sendall(b"GET /pid HTTP/1.0\r\n\r\n")
            assert old.process.wait(PATIENCE_S) == 0
            with running(folders[1], listener=listener):
                assert b"200 OK" in client.recv(4096)


def test_the_worker_waits_for_a_daemon_that_takes_its_time(tmp_path: Path) -> None:
    """Running calls end within their time-outs: the process must not be gone before."""
    with running(tmp_path, "stop=1.5") as server:
        worker = server.pid()
        server.signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
        assert server.events("stopped") == [worker]


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """The listening socket stays open meanwhile, and the new daemon starts from what the cloud and the queue tell."""
    with running(tmp_path) as server:
        first = server.pid()
        os.kill(first, signal.SIGKILL)
        eventually(lambda: len(server.events("started")) == 2, "the second worker")
        assert server.workers() == [server.pid()] == server.events("started")[1:]


def test_a_worker_whose_master_is_killed_stops(tmp_path: Path) -> None:
    """Nobody would restart it, so it ends in good order by itself."""
    with running(tmp_path) as server:
        worker = server.pid()
        server.signal(signal.SIGKILL)
        eventually(lambda: server.events("stopped") == [worker], "the worker's end")


def test_a_daemon_that_cannot_be_built_ends_the_server(tmp_path: Path) -> None:
    """No endless circle of forks: exit code 3, and the service manager takes over."""
    with running(tmp_path, "build=fails", wait=False) as server:
        assert server.process.wait(PATIENCE_S) == 3
        assert "the toy cannot be built" in server.log()


def test_a_reload_that_fails_changes_nothing(tmp_path: Path) -> None:
    """The settings in force stay, the worker lives on and later signals are heard."""
    with running(tmp_path, "reload=fails") as server:
        for count in (1, 2):
            server.signal(signal.SIGHUP)
            eventually(lambda wanted=count: len(server.events("reloaded")) == wanted, "the reload")
        assert set(server.events("reloaded")) == {server.pid()}


def test_silent_clients_cost_nothing_but_their_connections(tmp_path: Path) -> None:
    """They give their threads back, and neither they nor the farewell to them looks like a worker that hangs."""
    with running(tmp_path, "patience=1", "silence=3") as server, contextlib.ExitStack() as clients:
        host, port = server.address.removeprefix("http://").split(":")
        for _ in range(3):
            client = clients.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE_S))
            client.sendall(b"GET /pid HT")
        eventually(lambda: server.log().count("said nothing for too long") == 3, "the end of their patience")
        assert [server.pid()] == server.events("built") == server.workers()
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("words", [b"GET /pid HTTP/1.1\r\nHost: x\r\nX-Slow: ", b""], ids=["half a head", "nothing"])
def test_slow_clients_hold_no_thread(tmp_path: Path, words: bytes) -> None:
    """Many more of them than there are threads, while their patience lasts: everybody else is answered."""
    with running(tmp_path, "patience=60") as server, contextlib.ExitStack() as clients:
        host, port = server.address.removeprefix("http://").split(":")
        slow = [clients.enter_context(socket.create_connection((host, int(port)), PATIENCE_S)) for _ in range(40)]
        for client in slow:
            client.sendall(words)
        for _ in range(3):
            assert server.pid() in server.events("built")
            for client in slow if words else ():
                client.sendall(b"x")
        slow[0].sendall(b"\r\n\r\n" if words else b"GET /pid HTTP/1.0\r\n\r\n")
        assert b"200 OK" in slow[0].recv(4096)


def test_a_client_that_drips_the_body_of_its_request_gives_its_thread_back(tmp_path: Path) -> None:
    """Each byte comes in time, and the whole does not: its patience is for all of it."""
    head = b"POST /arvados/v1/dispatch/instances/hold HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: 9999\r\n\r\n".encode()
    with running(tmp_path, "patience=1") as server, contextlib.ExitStack() as clients:
        host, port = server.address.removeprefix("http://").split(":")
        slow = [clients.enter_context(socket.create_connection((host, int(port)), PATIENCE_S)) for _ in range(8)]
        ended = threading.Event()

        def drip() -> None:
            for client in slow:
                client.sendall(head)
            while not ended.wait(0.2):
                for client in slow:
                    with contextlib.suppress(OSError):
                        client.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert server.pid() in server.events("built")
        finally:
            ended.set()
            thread.join(PATIENCE_S)


def test_who_is_refused_is_not_waited_for(tmp_path: Path) -> None:
    """A stranger's body is not read, and the rest of it holds no thread."""
    head = b"POST /arvados/v1/dispatch/instances/hold HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nx"
    with running(tmp_path, "patience=60") as server, contextlib.ExitStack() as clients:
        host, port = server.address.removeprefix("http://").split(":")
        for _ in range(40):
            client = clients.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE_S))
            client.sendall(head)
        assert server.pid() in server.events("built")
        assert b"401" in client.recv(4096)


def test_clients_that_do_not_hang_up_hold_up_nobody(tmp_path: Path) -> None:
    """Newer gunicorns wait two seconds for each, one after another, and answer nobody meanwhile."""
    with running(tmp_path) as server, contextlib.ExitStack() as clients:
        host, port = server.address.removeprefix("http://").split(":")
        for _ in range(40):
            client = clients.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE_S))
            client.sendall(b"no request\r\n\r\n")
        assert server.pid() in server.events("built")
        assert b"400" in client.recv(4096)


def ask_over(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"GET /pid HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(4096), b""))


def test_a_unix_socket_is_for_owner_and_group(tmp_path: Path) -> None:
    """It answers, is closed to others, and is removed at the stop."""
    path = tmp_path / "web.sock"
    with running(tmp_path, f"listen=unix:{path}") as server:
        assert str(server.events("started")[0]).encode() in ask_over(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        server.signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
    assert not path.exists()


def test_systemd_hears_ready_from_the_worker_and_stopping_at_the_end(tmp_path: Path) -> None:
    """READY only comes once the daemon runs; the watchdog is fed before, during and after."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(PATIENCE_S)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000000"}
        with running(tmp_path, environment=environment) as server:
            server.signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE_S) == 0
        ear.setblocking(False)
        heard: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(ear.recv(4096).decode())
    facts = [line for message in heard for line in message.splitlines() if not line.startswith("STATUS=")]
    assert facts[:2] == ["WATCHDOG=1", "READY=1"]
    assert facts.count("READY=1") == facts.count("STOPPING=1") == 1
    assert facts[-1] == "WATCHDOG=1"


# ----------------------------------------------------------------------------------------------- without a process of its own


class Silent:
    """A daemon whose loop has been silent for an hour."""

    app = None

    def start(self) -> None:
        pass

    def stop(self, deadline_s: float) -> None:
        pass

    def reload(self) -> None:
        pass

    def heartbeats(self) -> dict[str, float]:
        return {"prober": 3600.0, "scheduler": 0.1}

    def standing(self) -> str:
        return "all is\nwell"


class Lively(Silent):
    """A daemon whose loops beat."""

    def heartbeats(self) -> dict[str, float]:
        return {"prober": 0.1}


def test_systemd_is_told_how_it_stands(tmp_path: Path) -> None:
    """With each beat, in one line: `systemctl status` shows it, and no text of ours can pass for another message."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(PATIENCE_S)
        supervisor = Supervisor(Lively(), ServiceManager(address=str(tmp_path / "notify"), watchdog_s=3.0), stop_s=1.0)
        supervisor.begin()
        supervisor.start()
        heard = [ear.recv(4096).decode() for _ in range(2)]
        supervisor.wait()
    assert heard == ["READY=1\nSTATUS=running", "WATCHDOG=1\nSTATUS=all is well"]


def test_a_stuck_loop_starves_the_watchdog(tmp_path: Path) -> None:
    """systemd restarts what no longer beats, so a stuck loop must not be covered up by a living server."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(PATIENCE_S)
        supervisor = Supervisor(Silent(), ServiceManager(address=str(tmp_path / "notify"), watchdog_s=3.0), stop_s=1.0)
        supervisor.begin()
        supervisor.start()
        heard = [ear.recv(4096).decode() for _ in range(2)]
        supervisor.wait()
    assert heard == ["READY=1\nSTATUS=running", "STATUS=stuck: prober"]


def test_without_systemd_nothing_is_told() -> None:
    """An empty environment gives a manager that is silent, and one with strange values does no harm."""
    service_manager({}).tell(READY="1")
    service_manager({"NOTIFY_SOCKET": "/nonexistent/notify", "WATCHDOG_USEC": "soon"}).tell(READY="1")


def test_who_outlived_the_first_process_says_nothing(tmp_path: Path) -> None:
    """A worker whose first process was killed lives for a moment beside the next: its STOPPING would end that one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(PATIENCE_S)
        ours = service_manager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for first, word in ((1 << 30, "orphan"), (os.getppid(), "child"), (os.getpid(), "first")):
            replace(ours, first=first).tell(STATUS=word)
        assert [ear.recv(4096).decode() for _ in range(2)] == ["STATUS=child", "STATUS=first"]
    assert ours.first == os.getpid()


def test_an_application_can_be_served_from_a_thread() -> None:
    """For the demo and for tests: a free port, answers, and a closed door afterwards."""

    def hello(environ: object, start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    with serve_in_thread(hello) as url:
        assert requests.get(url, timeout=10).text == "hello"
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)
