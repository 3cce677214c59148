"""Looking: the records of the queue, the dispatcher's view of instances and its log become one Picture.

Whoever does not answer for a moment leaves the last picture as it was; nothing here decides or changes anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from dispatcher.cli.demo.folder import Folder
from dispatcher.cli.demo.picture import Container, Instance, Job, Picture, short_name
from dispatcher.cli.demo.workload import NAME, RUN, name_of
from dispatcher.cli.queue_client import QueueClient, Record
from dispatcher.config import Config
from dispatcher.core.messages import QueueError

DISPATCHER_TIMEOUT_S = 5.0
LARGEST_READ_BYTES = 16 << 20
REASON_CHARACTERS = 300

Find = Callable[[QueueClient], list[Record]]
"""Which requests are looked at."""


class Watch:
    """``find`` chooses the requests. ``picture`` is the last one. ``with_statuses``: also what each container waits for."""

    def __init__(self, folder: Folder, config: Config, queue: QueueClient, find: Find, *, with_statuses: bool = False) -> None:
        self.picture = Picture()
        self._with_statuses = with_statuses
        self._short: dict[str, str] = {}
        self._folder, self._queue, self._find = folder, queue, find
        self._dispatcher = DispatcherClient(config)
        self._places = Places(folder.log("dispatcher"))

    def look(self) -> Picture:
        """The picture of now, as far as anybody answers."""
        self._places.read()
        picture = replace(self.picture, **self._instances())
        try:
            picture = replace(picture, jobs=self._jobs(), queue_answers=True)
        except QueueError:
            picture = replace(picture, queue_answers=False)
        self.picture = picture
        return picture

    def _instances(self) -> dict[str, Any]:
        found = self._dispatcher.get("instances")
        if found is None:
            return {"dispatcher_answers": False, "instances": ()}
        accepted = [each for each in found if each["instance"]]  # before that it has no name to show
        self._short = {str(each["instance"]): instance_of(each).name for each in accepted}
        return {"dispatcher_answers": True, "instances": tuple(instance_of(each) for each in accepted)}

    def _jobs(self) -> tuple[Job, ...]:
        asked = self._find(self._queue)
        if not asked:
            return ()
        oldest = min(str(each["created_at"]) for each in asked)
        containers = self._queue.containers([["created_at", ">=", oldest]])
        shown = self._dispatcher.get("containers") or () if self._with_statuses else ()
        waits = {each["container"]["uuid"]: self._shortened(each["scheduling_status"]) for each in shown}
        return tuple(self._job(request, containers, waits) for request in asked)

    def _shortened(self, status: str) -> str:
        for name, short in self._short.items():
            status = status.replace(name, short)
        return status

    def _job(self, request: Record, containers: Iterable[Record], waits: dict[str, str]) -> Job:
        """The tries that its environment names, or at least the container of now."""
        current = request["container_uuid"]
        marks = request.get("properties") or {}
        mine = [each for each in containers if each["uuid"] == current or _is_try(each, marks)]
        mine.sort(key=lambda each: (each["uuid"] == current, each["created_at"]))
        tries = tuple(self._container(each, waits) for each in mine) or (Container(uuid=current or "", state="Queued"),)
        first = replace(tries[0], created_s=min(tries[0].created_s, seconds(request["created_at"]) or tries[0].created_s))
        return Job(
            request=request["uuid"],
            name=name_of(request) or str(request.get("name") or request["uuid"][-15:]),
            tries=(first, *tries[1:]),
            ended=request["state"] == "Final",
            priority=int(request["priority"] or 0),
        )

    def _container(self, record: Record, waits: dict[str, str]) -> Container:
        uuid = record["uuid"]
        return Container(
            uuid=uuid,
            state=record["state"],
            exit_code=record.get("exit_code"),
            reason=self._reason(record),
            created_s=seconds(record["created_at"]) or 0.0,
            started_s=seconds(record.get("started_at")),
            finished_s=seconds(record.get("finished_at")),
            cost=float(record.get("cost") or 0.0),
            instance=self._places.known.get(uuid, ""),
            waits_for=waits.get(uuid, ""),
        )

    def _reason(self, record: Record) -> str:
        """What the record says; of a command that failed, the last thing that it complained of."""
        told = str((record.get("runtime_status") or {}).get("error", ""))
        if not told and record.get("exit_code"):
            told = last_line(self._folder.outputs / record["uuid"] / "stderr.txt")
        return tidy(told)


def _is_try(container: Record, marks: dict[str, Any]) -> bool:
    environment = container.get("environment") or {}
    return bool(marks.get(RUN)) and all(environment.get(name.upper()) == marks.get(name) for name in (RUN, NAME))


def instance_of(shown: dict[str, Any]) -> Instance:
    name = short_name(str(shown["instance"]), str(shown["arvados_instance_type"]))
    return Instance(name=name, state=str(shown["worker_state"]), runs=tuple(shown["running_container_uuids"]))


class DispatcherClient:
    """The management API, of which the demo only reads."""

    def __init__(self, config: Config) -> None:
        self._url = f"http://{config.listen.host}:{config.listen.port}/arvados/v1/dispatch"
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy stands before this host
        self._session.headers["Authorization"] = f"Bearer {config.management_token}"

    def get(self, what: str) -> list[dict[str, Any]] | None:
        """None while nobody answers."""
        try:
            answer = self._session.get(f"{self._url}/{what}", timeout=DISPATCHER_TIMEOUT_S)
            return list(answer.json()["items"]) if answer.status_code == 200 else None
        except (requests.RequestException, ValueError, KeyError):
            return None


class Places:
    """Which instance a container was started on, from the dispatcher's log: ``known`` maps uuids to short names."""

    def __init__(self, log: Path) -> None:
        self.known: dict[str, str] = {}
        self._log = log
        self._read_bytes = 0

    def read(self) -> None:
        """Take in what was written since the last time, whole lines only."""
        try:
            with self._log.open("rb") as file:
                file.seek(self._read_bytes)
                text = file.read(LARGEST_READ_BYTES)
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            if b"ContainerUUID" in line and b"InstanceName" in line:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            told = json.loads(line)
            self.known[told["ContainerUUID"]] = short_name(told["InstanceName"], told["InstanceType"])
        except (ValueError, KeyError, TypeError):
            return  # a line that is not ours to understand


def seconds(text: object) -> float | None:
    """Seconds since 1970, from the API's times."""
    if not isinstance(text, str) or not text:
        return None
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00")).astimezone(UTC).timestamp()


def last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")


def tidy(text: str) -> str:
    """One line without control characters: commands may write anything."""
    words = "".join(letter if letter.isprintable() else " " for letter in text).split()
    return " ".join(words)[:REASON_CHARACTERS]
