"""The two services of the demo: started, found again, started once more when somebody killed them, and ended.

They outlive the demo when it is killed: the next one finds them at work and goes on with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dispatcher.cli.demo import processes, setup
from dispatcher.cli.demo.folder import Folder, read_json
from dispatcher.cli.drivers import open_quietly
from dispatcher.config import Config, load
from dispatcher.core.messages import CloudCallFailed
from dispatcher.driver import Call
from dispatcher.edge.cloud import Cloud
from dispatcher.edge.cloud_discovery import UnusableDriver

QUEUE, DISPATCHER = "queue", "dispatcher"
START_TIMEOUT_S = 30.0
STOP_PATIENCE_S = {QUEUE: 5.0, DISPATCHER: 12.0}
DESTROY_TIMEOUT_S = 10.0
SHOWN_LOG_LINES = 8


class DidNotStart(Exception):
    """A service ended at once, or the configuration is wrong; the text says what it said."""


class Services:
    """``queue`` and ``dispatcher``: their first processes, None before they are up."""

    def __init__(self, folder: Folder, reaper: processes.Reaper) -> None:
        self._folder, self._reaper = folder, reaper
        self._running: dict[str, processes.Seen] = {}

    def find(self, part: str) -> bool:
        """Whether the part runs already, whoever started it."""
        found = processes.of_part(self._folder.path, part)
        if found is not None:
            self._running[part] = found
        return found is not None

    def is_alive(self, part: str) -> bool:
        return part in self._running and processes.is_alive(self._running[part])

    def how_it_ended(self, part: str) -> str:
        self._reaper.reap()
        return self._reaper.how(self._running[part])

    # --------------------------------------------------------------------------------------------------------------- queue

    def ensure_queue(self) -> dict[str, Any]:
        """What ``queue.json`` says once the queue listens. Raises DidNotStart."""
        if not self.find(QUEUE):
            arguments = ["--data", str(self._folder.queue), "--cluster-id", setup.CLUSTER_ID]
            self._start(QUEUE, "dispatcher.embedded.serve", arguments)
        pid = self._running[QUEUE].pid
        self._wait(QUEUE, lambda: self._ready().get("pid") == pid)
        return self._ready()

    def _ready(self) -> dict[str, Any]:
        return read_json(self._folder.queue / "queue.json")

    # ---------------------------------------------------------------------------------------------------------- dispatcher

    def ensure_dispatcher(self, queue: dict[str, Any]) -> Config:
        """The configuration with which it runs. Raises DidNotStart."""
        running = self.find(DISPATCHER)
        if not setup.is_current(self._folder, queue):
            self._begin_anew(running, queue)
        config = self._config()
        if not self.is_alive(DISPATCHER):
            if not setup.is_free(config.listen.port):
                setup.configure(self._folder, queue)
                config = self._config()
            arguments = ["run", "--config", str(self._folder.config), "--settings", str(self._folder.settings)]
            self._start(DISPATCHER, "dispatcher", arguments)
        return config

    def _begin_anew(self, running: bool, queue: dict[str, Any]) -> None:
        """The queue has moved or the folder has: what runs now knows only the old place."""
        if running:
            self.stop(DISPATCHER)
        if self._folder.config.exists():
            destroy_instances(self._config())
        setup.ensure_key(self._folder)
        setup.configure(self._folder, queue)

    def _config(self) -> Config:
        loaded = load(self._folder.config, self._folder.settings)
        if loaded.config is None:
            mend = f"mend it, or remove {self._folder.config} to have it written anew"
            raise DidNotStart("\n".join([*(str(problem) for problem in loaded.problems), mend]))
        return loaded.config

    # -------------------------------------------------------------------------------------------------------- start and end

    def _start(self, part: str, module: str, arguments: list[str]) -> None:
        self._running[part] = processes.start(self._folder.path, part, module, arguments, self._folder.log(part))

    def _wait(self, part: str, ready: Any) -> None:
        done = processes.wait_until(lambda: ready() or not self.is_alive(part), START_TIMEOUT_S)
        if not done or not self.is_alive(part):
            raise DidNotStart(self.obituary(part))

    def obituary(self, part: str) -> str:
        """Why a service cannot be used, with the end of its log."""
        state = "does not answer" if self.is_alive(part) else self.how_it_ended(part)
        log = self._folder.log(part)
        return "\n".join([f"the {part} {state}; the end of {log}:", *last_lines(log)])

    def stop(self, part: str) -> None:
        if self.is_alive(part) or self.find(part):
            processes.end(self._running[part], STOP_PATIENCE_S[part])
        self._running.pop(part, None)

    def end_everything(self) -> set[int]:
        """First whoever makes instances, then the instances, then the queue. Returns the processes that are left."""
        self.stop(DISPATCHER)
        loaded = load(self._folder.config, self._folder.settings) if self._folder.config.exists() else None
        if loaded is not None and loaded.config is not None:
            destroy_instances(loaded.config)
        self.stop(QUEUE)
        left = processes.end_all(self._folder.path)
        self._reaper.reap()
        return left


def last_lines(log: Path) -> list[str]:
    """The texts at the end of a log, of JSON lines only what they say."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LOG_LINES:]
    except OSError:
        return []
    return [f"  {_told(line)}" for line in lines]


def _told(line: str) -> str:
    try:
        return str(json.loads(line)["msg"])
    except (ValueError, KeyError, TypeError):
        return line


# --------------------------------------------------------------------------------------------------------------- instances


def instances(cloud: Cloud) -> tuple[str, ...]:
    """The ids of all that exist; what cannot be listed is none of ours to count."""
    try:
        return tuple(each.id for each in cloud.list(Call(timeout_s=DESTROY_TIMEOUT_S)).instances)
    except CloudCallFailed:
        return ()


def destroy_instances(config: Config) -> None:
    """Only while no dispatcher runs: it would make new ones."""
    try:
        cloud = open_quietly(config)
    except UnusableDriver:
        return
    _destroy(cloud, instances(cloud))


def _destroy(cloud: Cloud, ids: Iterable[str]) -> None:
    def destroy(instance_id: str) -> None:
        try:
            cloud.destroy(instance_id, Call(timeout_s=DESTROY_TIMEOUT_S))
        except CloudCallFailed:
            return  # what is left is found among the processes

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(destroy, ids))
