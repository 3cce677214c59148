"""SSH servers that cost a third of those in Python: a program in Go, which is built when it is asked for.

It needs ``golang-go`` and ``golang-golang-x-crypto-dev`` of Debian. So a thousand machines leave the processor to the
dispatcher.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.bench.live.machines import Cloud, Machine, Serve

SOURCE = Path(__file__).with_name("machines.go")
LIBRARIES = "/usr/share/gocode"  # where Debian keeps those of Go
INSTALL = "apt-get install -y golang-go golang-golang-x-crypto-dev"
ENVIRONMENT = {"GO111MODULE": "off", "GOPATH": LIBRARIES, "GOCACHE": "/tmp/go-build-cache"}


def missing() -> str:
    """What would have to be installed; or nothing."""
    found = shutil.which("go") and Path(LIBRARIES, "src/golang.org/x/crypto/ssh").is_dir()
    return "" if found else f"the light servers need: {INSTALL}"


def build(folder: Path) -> Path:
    """The program, in this folder. Raises CalledProcessError."""
    made = folder / "machines"
    subprocess.run(["go", "build", "-o", made, SOURCE], check=True, env={**os.environ, **ENVIRONMENT})
    return made


def serve_light(program: str) -> Serve:
    return Program(program).serve


class Program:
    """The running program, to which one line is said at a time."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()
        self._made: dict[str, tuple[Cloud, Machine, SimpleQueue[str]]] = {}
        threading.Thread(target=self._hear, daemon=True).start()

    def serve(self, cloud: Cloud, machine: Machine, public_key: str) -> LightServer:
        answer: SimpleQueue[str] = SimpleQueue()
        self._made[machine.id] = (cloud, machine, answer)
        key = " ".join(public_key.split()[:2])
        self.say(do="create", id=machine.id, key=key, secret=machine.secret, up_s=machine.up_s)
        return LightServer(self, machine.id, answer.get(timeout=30.0))

    def say(self, **order: Any) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news = json.loads(line)
            cloud, machine, answer = self._made[news["id"]]
            if news["did"] == "create":
                answer.put(news["address"])
            elif news["did"] == "list":
                cloud.listed(machine, news["at_s"])
            else:
                cloud.started(machine, news["uuid"], news["at_s"])


class LightServer:
    def __init__(self, program: Program, machine_id: str, address: str) -> None:
        self._program, self._id, self.address = program, machine_id, address

    def ended(self, uuid: str) -> None:
        self._program.say(do="end", id=self._id, uuid=uuid)

    def close(self) -> None:
        self._program.say(do="destroy", id=self._id)

