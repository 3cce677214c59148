"""A runner process on a stub instance: a timeline that is drawn when it starts and cut short when somebody kills it.

Nothing here acts by itself: ``next_s`` says when something happens next, ``step`` lets it happen. What the container's record
makes of it is the business of a ``Workload``.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Protocol

TERM, KILL = 15, 9
KILL_COMMAND_WAITS_S = 1.0  # the runner's kill command looks for the end so long before it answers "still there"


class Ending(enum.StrEnum):
    """How a runner process ended."""

    FINISHED = "finished"  # the container's command ended, and the record says so
    REFUSED = "refused"  # the record did not admit this run
    CRASHED = "crashed"  # the runner died and told nobody
    TERMINATED = "terminated"  # TERM: it cleaned up after itself
    KILLED = "killed"  # KILL: it told nobody
    LOST = "lost"  # its instance is gone


class Workload(Protocol):
    """What the runners ask and tell the queue service. Times are those at which it happened."""

    def admits(self, uuid: str, instance_id: str, at_s: float) -> bool:
        """The runner reads the record: may this container be run here (is it Locked)?"""

    def began(self, uuid: str, instance_id: str, at_s: float) -> bool:
        """The runner writes Running; False when the queue service says no."""

    def ended(self, uuid: str, instance_id: str, at_s: float, ending: Ending, began: bool) -> None:
        """The process is over. Only FINISHED and TERMINATED told the queue service anything themselves."""


class NoWorkload:
    """A queue service that agrees to everything."""

    def admits(self, uuid: str, instance_id: str, at_s: float) -> bool:
        return True

    def began(self, uuid: str, instance_id: str, at_s: float) -> bool:
        return True

    def ended(self, uuid: str, instance_id: str, at_s: float, ending: Ending, began: bool) -> None:
        return None


class Stage(enum.IntEnum):
    DETACHING = 0  # started, not listed yet
    PREPARING = 1
    RUNNING = 2
    ENDED = 3


@dataclass(slots=True, kw_only=True)
class StubProcess:
    """One runner. ``crash_s``, ``term_s`` and ``lock_s`` were drawn at its start; ``math.inf`` stands for never."""

    uuid: str
    instance_id: str
    launched_s: float
    listed_s: float
    begins_s: float
    length_s: float
    crash_s: float = math.inf
    term_takes_s: float = 0.0
    lock_outlives_s: float = 0.0
    unkillable: bool = False

    stage: Stage = Stage.DETACHING
    term_due_s: float = math.inf
    ended_s: float | None = None
    ending: Ending | None = None
    began: bool = False  # the container was Running at some time in this process

    @property
    def alive(self) -> bool:
        return self.stage is not Stage.ENDED

    def is_listed(self, now: float) -> bool:
        return self.alive and now >= self.listed_s

    def is_stale(self, now: float) -> bool:
        """The runner is gone and something of it still holds its lock file."""
        return self.ended_s is not None and now < self.ended_s + self.lock_outlives_s

    def output(self, now: float) -> str:
        """What it wrote up to now, in lines."""
        said = [f"crunch-run {self.uuid}: started"]
        said += [f"crunch-run {self.uuid}: the container runs"] if self.began else []
        said += [f"crunch-run {self.uuid}: {self.ending.value}"] if self.ending is not None else []
        return "".join(f"{line}\n" for line in said)

    @property
    def next_s(self) -> float:
        """When something happens next by itself."""
        if not self.alive:
            return math.inf
        if self.stage is Stage.RUNNING:
            planned_s = self.begins_s + self.length_s
        else:
            planned_s = self.begins_s if self.stage is Stage.PREPARING else self.listed_s
        return min(planned_s, self.crash_s, self.term_due_s)

    def step(self, workload: Workload) -> None:
        """Let the thing happen that is due at ``next_s``."""
        at_s = self.next_s
        if at_s == self.crash_s:
            self.end(at_s, Ending.CRASHED, workload)
        elif at_s == self.term_due_s:
            self.end(at_s, Ending.TERMINATED, workload)
        elif self.stage is Stage.DETACHING:
            self._advance(Stage.PREPARING, workload.admits(self.uuid, self.instance_id, at_s), at_s, workload)
        elif self.stage is Stage.PREPARING:
            self._advance(Stage.RUNNING, workload.began(self.uuid, self.instance_id, at_s), at_s, workload)
        else:
            self.end(at_s, Ending.FINISHED, workload)

    def _advance(self, stage: Stage, agreed: bool, at_s: float, workload: Workload) -> None:
        if not agreed:
            self.end(at_s, Ending.REFUSED, workload)
            return
        self.stage = stage
        self.began = stage is Stage.RUNNING

    def end(self, at_s: float, ending: Ending, workload: Workload) -> None:
        """Over. Telling the workload comes last, so that it sees the process gone."""
        self.stage, self.ended_s, self.ending = Stage.ENDED, at_s, ending
        workload.ended(self.uuid, self.instance_id, at_s, ending, self.began)

    def kill(self, signal: int, now: float, workload: Workload) -> bool:
        """Send a signal; True when the process is gone by the time the kill command answers."""
        if not self.alive:
            return True
        if self.unkillable:
            return False
        if signal == KILL:
            self.end(now, Ending.KILLED, workload)
            return True
        if self.term_takes_s <= KILL_COMMAND_WAITS_S:
            self.end(now, Ending.TERMINATED, workload)
            return True
        self.term_due_s = min(self.term_due_s, now + self.term_takes_s)
        return False
