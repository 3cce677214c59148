"""Asking a queue for work and reading what became of it: the few calls that commands need, on the same client as the dispatcher.

A queue is found in the data folder of a running demo, or where ``ARVADOS_API_HOST`` says. Every call raises QueueError.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dispatcher.edge.http import Client, Endpoint

CALL_TIMEOUT_S = 20.0
PAGE = 1000
OUTPUT_PATH = "/out"
OUTPUT_CAPACITY_BYTES = 1 << 30

REQUESTS = "arvados/v1/container_requests"
CONTAINERS = "arvados/v1/containers"

Record = dict[str, Any]
log = logging.getLogger(__name__)


class NoQueue(Exception):
    """No queue can be found; the text says where it was looked for."""


class QueueClient:
    """One user's view of a queue."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = Client(endpoint, log)
        self.place = endpoint.place

    def submit(self, request: Mapping[str, Any]) -> Record:
        """A committed request; the answer names its container."""
        return self._client.write("POST", REQUESTS, {"container_request": {**request, "state": "Committed"}})

    def cancel(self, request_uuid: str) -> Record:
        """Nobody wants it any more: what runs is stopped, what waits is ended."""
        return self._client.write("PUT", f"{REQUESTS}/{request_uuid}", {"container_request": {"priority": 0}})

    def request(self, uuid: str) -> Record:
        return self._client.read(f"{REQUESTS}/{uuid}")

    def container(self, uuid: str) -> Record:
        return self._client.read(f"{CONTAINERS}/{uuid}")

    def requests(self, filters: Sequence[Sequence[Any]]) -> list[Record]:
        return self._list(REQUESTS, filters)

    def containers(self, filters: Sequence[Sequence[Any]]) -> list[Record]:
        return self._list(CONTAINERS, filters)

    def close(self) -> None:
        self._client.close()

    def _list(self, path: str, filters: Sequence[Sequence[Any]]) -> list[Record]:
        """The newest page, oldest first."""
        parameters = {"filters": list(filters), "order": ["created_at desc", "uuid"], "limit": PAGE, "count": "none"}
        items = self._client.read(path, parameters).get("items") or []
        return [each for each in reversed(items) if isinstance(each, dict)]


def work(
    command: Sequence[str], *, name: str, vcpus: int, ram_bytes: int, priority: int, image: str, tries: int | None = None
) -> Record:
    """A container request for one command, as the API wants it. It never shares the container of an equal request."""
    request: Record = {
        "name": name,
        "command": list(command),
        "container_image": image,
        "output_path": OUTPUT_PATH,
        "cwd": OUTPUT_PATH,
        "mounts": {OUTPUT_PATH: {"kind": "tmp", "capacity": OUTPUT_CAPACITY_BYTES}},
        "runtime_constraints": {"vcpus": vcpus, "ram": ram_bytes},
        "priority": priority,
        "use_existing": False,
    }
    return request if tries is None else {**request, "container_count_max": tries}


def embedded_queue(folder: Path, user: str) -> QueueClient:
    """The queue that serves this folder. Raises NoQueue while there is none."""
    try:
        ready = json.loads((folder / "queue.json").read_text())
        token = (folder / f"{user}.token").read_text().strip()
        place, trusted = ready["url"], ready["certificate"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoQueue(f"no queue has been started in {folder}") from error
    return QueueClient(Endpoint(url=place, token=token, ca_file=trusted, timeout_s=CALL_TIMEOUT_S, server_address=""))


def cluster_queue(environment: Mapping[str, str]) -> QueueClient:
    """The queue of ARVADOS_API_HOST, ARVADOS_API_TOKEN and ARVADOS_API_HOST_INSECURE. Raises NoQueue."""
    host, token = environment.get("ARVADOS_API_HOST", ""), environment.get("ARVADOS_API_TOKEN", "")
    if not host or not token:
        missing = " and ".join(f"ARVADOS_API_{name}" for name, value in (("HOST", host), ("TOKEN", token)) if not value)
        raise NoQueue(f"{missing} not set")
    insecure = environment.get("ARVADOS_API_HOST_INSECURE", "").lower() in ("1", "true", "yes")
    return QueueClient(Endpoint(url=f"https://{host}", token=token, insecure=insecure, timeout_s=CALL_TIMEOUT_S))
