"""An embedded queue as a process of its own, and calls over real connections."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.embedded.desk import WORK

PATIENCE_S = 30.0
Found = TypeVar("Found")


def until(find: Callable[[], Found], what: str, patience_s: float = PATIENCE_S) -> Found:
    """The first true value that ``find`` gives. Real processes have to be waited for."""
    deadline = time.monotonic() + patience_s
    while not (found := find()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s} s: {what}")
        time.sleep(0.02)
    return found


class LiveQueue:
    """The queue of a data folder. It may be started again after its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        started = self.folder / "queue.json"
        known = started.stat().st_mtime_ns if started.exists() else 0
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dispatcher.embedded.serve", "--data", str(self.folder), *options],
                stdout=log,
                stderr=log,
            )
        until(lambda: started.exists() and started.stat().st_mtime_ns > known, f"{started}, see {self.folder / 'log'}")
        self.description: dict[str, Any] = json.loads(started.read_text())

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the process by a signal. Returns its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        return self.kill(signal.SIGTERM)

    @property
    def root_token(self) -> str:
        return (self.folder / "root.token").read_text()

    def connection(self) -> http.client.HTTPConnection:
        if self.description["certificate"] is None:
            return http.client.HTTPConnection(self.description["host"], timeout=PATIENCE_S)
        context = ssl.create_default_context(cafile=self.description["certificate"])
        return http.client.HTTPSConnection(self.description["host"], timeout=PATIENCE_S, context=context)

    def call(self, method: str, path: str, body: Any = None, token: str = "", kind: str = "application/json") -> tuple[int, Any]:
        connection = self.connection()
        try:
            headers = {"Authorization": f"Bearer {token or self.root_token}", "Content-Type": kind}
            text = body if body is None or isinstance(body, str) else json.dumps(body)
            connection.request(method, f"/arvados/v1/{path}", text, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()

    def done(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self.call(method, path, body)
        assert status == 200, answer
        return answer

    def queued(self, **more: Any) -> str:
        """The uuid of a new container."""
        return str(self.done("POST", "container_requests", {"container_request": {**WORK, **more}})["container_uuid"])

    def container(self, uuid: str) -> Any:
        return self.done("GET", f"containers/{uuid}")

    def runner_environment(self) -> dict[str, str]:
        """What the dispatcher tells a runner."""
        return {
            "ARVADOS_API_HOST": self.description["host"],
            "ARVADOS_API_TOKEN": self.root_token,
            "ARVADOS_API_HOST_INSECURE": "1",
        }


def is_alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def end(pid: int) -> None:
    if is_alive(pid):
        os.kill(pid, signal.SIGKILL)
