"""A demo as a process, seen from outside: its output, its processes in /proc, and a ledger in which its containers write."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.processes import pids, proc_file

PATIENCE_S = 120.0
SETTLE_S = 0.05

# Holds a lock while it runs: whoever finds it held runs at the same time as its double.
SCRIBE = """
import fcntl, os, sys, time
folder, length_s = sys.argv[1], float(sys.argv[2])
name = os.environ["SAMPLE_NAME"]
def write(word):
    with open(folder + "/ledger", "a") as ledger:
        ledger.write(word + " " + name + "\\n")
with open(folder + "/" + name, "w") as held:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        write("twice")
    write("begin")
    print("written by", name, flush=True)
    time.sleep(length_s)
    write("end")
"""


def until(true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for something that other processes bring about."""
    deadline_s = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline_s, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.1)


def kill(pids: Iterable[int]) -> None:
    """kill -9, also of those that have just ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class World:
    """A data folder, a workload and a ledger in one temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.demos: list[Demo] = []

    def piece(self, name: str, length_s: float = 1.0, **more: object) -> dict[str, object]:
        return {"name": name, "command": ["python3", "-c", SCRIBE, str(self.folder), str(length_s)], **more}

    def start(self, pieces: list[dict[str, object]], *options: str, terminal: bool = False, **environment: str) -> Demo:
        workload = self.folder / "workload.json"
        workload.write_text(json.dumps(pieces))
        arguments = ["--data", str(self.data), "--workload", str(workload), *options]
        demo = Demo(arguments, self.folder / f"output-{len(self.demos)}", terminal, environment)
        self.demos.append(demo)
        return demo

    def stop(self) -> int:
        return command("demo", "--stop", "--data", str(self.data)).returncode

    def ledger(self) -> list[str]:
        path = self.folder / "ledger"
        return path.read_text().splitlines() if path.exists() else []

    def processes(self) -> dict[int, str]:
        """Every process that names the data folder in its command line or environment."""
        found = {}
        for pid in pids():
            line = proc_file(pid, "cmdline")
            if pid != os.getpid() and os.fsencode(self.data) in line + proc_file(pid, "environ"):
                found[pid] = line.replace(b"\0", b" ").decode()
        return found

    def pids(self, *words: str) -> list[int]:
        """Of the processes whose command line holds one of these words."""
        return [pid for pid, shown in self.processes().items() if any(word in shown for word in words)]

    def kill(self, *words: str) -> None:
        """kill -9. One may end by itself when the other is gone; what is just started bears its parent's name at first."""
        seen = self.pids(*words)
        time.sleep(SETTLE_S)
        pids = [pid for pid in self.pids(*words) if pid in seen]
        assert pids, f"nothing runs that is called {words}: {self.processes()}"
        kill(pids)

    def secrets(self) -> set[str]:
        """What must be seen nowhere: the tokens' secret parts and the private key."""
        files = [*self.data.glob("queue/*.token"), self.data / "ssh_key"]
        texts = {path.read_text().strip() for path in files}
        tokens = set(re.findall(r'Token: "(.+)"', (self.data / "config.yml").read_text()))
        return {text.rpartition("/")[2] for text in tokens | texts}


class Demo:
    """One call of ``cloud-dispatcher demo``."""

    def __init__(self, arguments: list[str], output: Path, terminal: bool, environment: dict[str, str]) -> None:
        self._output = output
        master, slave = pty.openpty() if terminal else (-1, -1)
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dispatcher", "demo", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=slave if terminal else file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environment},
                start_new_session=True,
            )
        if terminal:
            os.close(slave)
            threading.Thread(target=self._copy, args=(master,), daemon=True).start()

    def _copy(self, master: int) -> None:
        with self._output.open("wb") as file:
            try:
                while part := os.read(master, 65536):
                    file.write(part)
                    file.flush()
            except OSError:  # the other side is gone
                os.close(master)

    @property
    def output(self) -> str:
        return self._output.read_bytes().decode()

    def says(self, words: str) -> None:
        """Wait until it has said this."""
        until(lambda: words in self.output or self.process.poll() is not None, f"{words!r} in {self.output}")
        assert words in self.output, self.output

    def ends(self) -> int:
        """Wait for its end; the exit status."""
        return self.process.wait(PATIENCE_S)

    def rows(self) -> dict[str, list[str]]:
        """Container → the words of its row in the last table."""
        table = self.output.rpartition("container  ")[2].splitlines()[1:]
        return {line.split()[0]: line.split() for line in table if line and not line.startswith(" ")}


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A call of the command line."""
    return subprocess.run(
        [sys.executable, "-m", "dispatcher", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        check=False,
    )
