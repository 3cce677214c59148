"""What the runners on the fake's machines tell a real queue: the container is Running, then Complete or Cancelled.

Two runners of one container at the same time are remembered: nobody may ever cause that.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from drivers.stub import Ending

Send = Callable[[str, str, Any], tuple[int, Any]]
"""``send(method, path, body)`` calls the queue with a token that may do all; status and body."""


class QueueWorkload:
    """A ``Workload`` over HTTP. What the queue does not admit is not run."""

    def __init__(self, send: Send) -> None:
        self.twice: list[str] = []
        self.ran: list[tuple[str, str]] = []  # (container, instance)
        self._send = send
        self._running: dict[str, str] = {}
        self._lock = threading.Lock()

    def admits(self, uuid: str, instance_id: str, at_s: float) -> bool:
        status, record = self._call("GET", uuid, None)
        return status == 200 and record["state"] == "Locked"

    def began(self, uuid: str, instance_id: str, at_s: float) -> bool:
        with self._lock:
            if uuid in self._running:
                self.twice.append(f"{uuid} on {self._running[uuid]} and {instance_id}")
            self._running[uuid] = instance_id
            self.ran.append((uuid, instance_id))
        status, _ = self._call("PUT", uuid, {"state": "Running", "gateway_address": f"{instance_id}:1"})
        if status != 200:
            self._forget(uuid)
        return status == 200

    def ended(self, uuid: str, instance_id: str, at_s: float, ending: Ending, began: bool) -> None:
        self._forget(uuid)
        if ending is Ending.FINISHED:
            self._call("PUT", uuid, {"state": "Complete", "exit_code": 0})
        elif ending is Ending.TERMINATED and began:
            self._call("PUT", uuid, {"state": "Cancelled"})

    def _forget(self, uuid: str) -> None:
        with self._lock:
            self._running.pop(uuid, None)

    def _call(self, method: str, uuid: str, changes: dict[str, Any] | None) -> tuple[int, Any]:
        """A queue that does not answer is one that says no."""
        with contextlib.suppress(OSError):
            return self._send(method, f"containers/{uuid}", changes and {"container": changes})
        return 0, None
