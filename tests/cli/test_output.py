"""What a command writes to may be closed or full, signals may come at any moment, and the address may be somebody else's."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from flask import Flask

from dispatcher.cli.operate.ends import UNREACHABLE, USAGE
from dispatcher.cli.operate.standing import CRITICAL, UNKNOWN
from tests.cli.operated import Call, caller, our_app, served
from tests.web.fakes import TOKEN

PATIENCE_S = 120.0
RUN = f"exec {sys.executable} -m dispatcher"
SIGNALS_ALL_THE_TIME = """
import signal
from dispatcher.cli.operate.watch import ending

with ending() as stop:
    signal.signal(signal.SIGALRM, stop.wake)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    for _ in range(5000):
        stop.rest(0.0002)
        stop.wait()
    signal.setitimer(signal.ITIMER_REAL, 0)
print("well")
"""


@pytest.fixture
def url() -> Iterator[str]:
    with served(our_app()) as found:
        yield found


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str) -> Call:
    return caller(capsys, monkeypatch, url)


def shell(command: str, url: str) -> subprocess.CompletedProcess[str]:
    environment = {"CLOUD_DISPATCHER_URL": url, "ARVADOS_MANAGEMENT_TOKEN": TOKEN, "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, timeout=PATIENCE_S, check=False)


def test_a_closed_output_changes_no_exit_status(url: str) -> None:
    """``>&-`` in a crontab: nothing is printed, and the status is that of the check."""
    told = shell(f"{RUN} instance list >&- 2>&-; echo $?", url)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(("command", "status"), [("status", UNKNOWN), ("instance list", 1)])
def test_a_full_disk_is_told_in_one_line(command: str, status: int, url: str) -> None:
    """No traceback; a check that could not print its answer is no outage."""
    told = shell(f"{RUN} {command} >/dev/full", url)
    assert told.returncode == status
    assert told.stderr == "error: the output cannot be written: No space left on device; where does it go?\n"


def test_signals_at_any_moment_do_not_stop_a_watch() -> None:
    """A window that is dragged to another size sends very many, also while one is being handled."""
    told = subprocess.run(
        [sys.executable, "-c", SIGNALS_ALL_THE_TIME], capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (told.stdout, told.stderr) == ("well\n", "")


def test_ctrl_c_waits_for_no_answer() -> None:
    """A dispatcher that takes the connection and says nothing is left at once, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {"ARVADOS_MANAGEMENT_TOKEN": TOKEN, "PYTHONPATH": ":".join(sys.path)}
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "dispatcher", "watch", "--url", url, "--timeout", "600"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as watch:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(4) == b"GET "
                watch.send_signal(signal.SIGINT)
                assert watch.communicate(timeout=PATIENCE_S) == ("", "")
    assert watch.returncode == 0


@pytest.mark.parametrize("option", ["--interval", "--timeout"])
def test_not_a_number_is_no_time(option: str, call: Call) -> None:
    """It compares with nothing: a look would never be due."""
    ended = call("watch", option, "nan", "--count", "1")
    assert (ended.status, "nan is no time" in ended.err) == (USAGE, True)


def test_somebody_elses_address_is_said_to_be_one(call: Call) -> None:
    """A page that asks for a password, or another service on that port: it is not a dispatcher that is not ready."""
    other = Flask("other", static_folder=None)
    other.add_url_rule("/<path:any>", "any", lambda any: "<html>Welcome to our guest network</html>")
    with served(other) as there:
        listed, told = call("instance", "list", "--url", there), call("status", "--url", there)
    assert (listed.status, told.status) == (UNREACHABLE, CRITICAL)
    assert "does not answer as a dispatcher does: is that its address" in listed.err
    assert "does not answer as a dispatcher does" in told.out
