"""Runners that end badly, on real processes: the whole daemon, local instances over real SSH, and the runner that ships.

What follows from each is proved in virtual time; here is that signals, lists, outputs and the queue's own rules agree.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from dispatcher.core.messages import ContainerKillRequested
from tests.embedded.live import LiveQueue, is_alive, until
from tests.test_real_threads import House, house, queue, state_of, told

__all__ = ["house", "queue"]


def runner_of(house: House, uuid: str) -> int:
    """The process that its lock file names, as soon as there is one."""

    def found() -> int | None:
        for path in Path(house.folder / "local").rglob(f"crunch-run-{uuid}.lock"):
            text = path.read_text()
            if text:
                return int(json.loads(text)["PID"])
        return None

    return int(until(found, f"a runner of {uuid}") or 0)


def running(house: House, queue: LiveQueue) -> tuple[Any, str, int]:
    """A daemon, a container that it runs for long, and the container's runner."""
    daemon = house.start()
    uuid = queue.queued(command=["sleep", "600"], container_count_max=1)
    until(lambda: queue.container(uuid)["state"] == "Running", "it runs")
    return daemon, uuid, runner_of(house, uuid)


def cancelled(daemon: Any, queue: LiveQueue, uuid: str) -> dict[str, str]:
    """Its ``runtime_status``, once it is Cancelled."""
    try:
        until(lambda: queue.container(uuid)["state"] == "Cancelled", "it is Cancelled")
    except AssertionError as late:
        raise AssertionError(told(daemon, queue, [uuid])) from late
    status: dict[str, str] = queue.container(uuid)["runtime_status"]
    return status


def test_a_runner_that_is_gone_is_told_with_its_last_words(house: House, queue: LiveQueue) -> None:
    """Killed by somebody on its instance: the record says where it ran and what its runner last wrote, and no secret."""
    daemon, uuid, pid = running(house, queue)
    os.kill(pid, signal.SIGKILL)
    status = cancelled(daemon, queue, uuid)
    assert "the container's runner ended on compute-" in status["error"]
    assert "without a result" in status["error"]
    for said in ("instance: compute-", "last signal: none was sent", "the end of its output:"):
        assert said in status["errorDetail"], status
    assert queue.root_token not in json.dumps(status)
    assert not daemon.perform.bugs


def test_a_runner_that_ignores_term_is_killed_and_its_instance_destroyed(house: House, queue: LiveQueue) -> None:
    """A stopped process takes no TERM, and a KILL all the same."""
    house.write(timeout_term="2s")
    daemon, uuid, pid = running(house, queue)
    (name,) = state_of(daemon).instances
    os.kill(pid, signal.SIGSTOP)
    daemon.store.post(ContainerKillRequested(uuid=uuid, reason="it hangs", actor="ada@desk"))
    status = cancelled(daemon, queue, uuid)
    assert "was killed: it had not ended 2 s after SIGTERM (an operator asked for it: it hangs" in status["error"]
    assert "last signal: SIGKILL" in status["errorDetail"]
    assert not is_alive(pid)
    until(lambda: name not in state_of(daemon).instances, "its instance is destroyed")
    assert not daemon.perform.bugs
    assert daemon.store.planner_bugs == 0
