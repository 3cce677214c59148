"""What the demo sees at one moment, as a value: jobs with their containers, and instances. And what is wrong with how it ended.

A job is one request; it has a container for each try. Times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable

from dispatcher.cli.demo.workload import CANCELLED, COMPLETE, Piece
from dispatcher.frozen import dataclass

FINAL = ("Complete", "Cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One try. ``instance``: the short name of where it was started; empty before."""

    uuid: str
    state: str = "Queued"
    exit_code: int | None = None
    reason: str = ""
    created_s: float = 0.0
    started_s: float | None = None
    finished_s: float | None = None
    cost: float = 0.0
    instance: str = ""
    waits_for: str = ""

    @property
    def ended(self) -> bool:
        return self.state in FINAL

    @property
    def waited_s(self) -> float | None:
        """From when it was there until it ran, or until it ended without having run."""
        until_s = self.started_s or self.finished_s
        return None if until_s is None else max(0.0, until_s - self.created_s)

    def ran_s(self, now_s: float) -> float | None:
        return None if self.started_s is None else max(0.0, (self.finished_s or now_s) - self.started_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """``tries``: oldest first, at least one. ``ended``: the request is final, so that no further try comes."""

    request: str
    name: str
    tries: tuple[Container, ...]
    ended: bool = False
    priority: int = 1

    @property
    def wanted(self) -> bool:
        return self.priority > 0

    @property
    def now(self) -> Container:
        return self.tries[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """``state`` is the dispatcher's word. ``runs``: uuids of containers."""

    name: str
    state: str
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    jobs: tuple[Job, ...] = ()
    instances: tuple[Instance, ...] = ()
    dispatcher_answers: bool = False
    queue_answers: bool = False

    @property
    def cost(self) -> float:
        return sum(each.cost for job in self.jobs for each in job.tries)

    def count(self, *states: str) -> int:
        """Jobs whose latest container is in one of these states and that are not over."""
        return sum(not job.ended and job.now.state in states for job in self.jobs)

    @property
    def ended(self) -> int:
        return sum(job.ended for job in self.jobs)


def short_name(instance: str, instance_type: str) -> str:
    """``compute-SET-0a1b2c3d4e5f6g7`` of type small is ``small-0a1b2``."""
    return f"{instance_type or 'instance'}-{instance.rpartition('-')[2][:5]}"


# ------------------------------------------------------------------------------------------------------------------ verdict


def problems(pieces: Iterable[Piece], picture: Picture) -> list[str]:
    """Every piece that did not end as it should, in a sentence each."""
    jobs = {job.name: job for job in picture.jobs}
    found = [(piece.name, _problem(piece, jobs.get(piece.name))) for piece in pieces]
    return [f"{name}: {text}" for name, text in found if text]


def _problem(piece: Piece, job: Job | None) -> str:
    if job is None:
        return "was never asked for"
    last = job.now
    if not job.ended or not last.ended:
        return f"has not ended: {last.state}"
    if any(each.state != "Cancelled" for each in job.tries[:-1]):
        return f"ended more than once: {', '.join(each.state for each in job.tries)}"
    if piece.ends == COMPLETE:
        if last.state != "Complete":
            return f"ended {last.state}: {last.reason or 'no reason given'}"
        return "" if last.exit_code == piece.exit_code else f"exit code {last.exit_code} instead of {piece.exit_code}"
    if last.state != "Cancelled":
        return f"ended {last.state} and should have been {piece.ends}"
    if piece.ends == CANCELLED:
        return "" if not job.wanted else f"was cancelled by itself: {last.reason}"
    return "" if last.reason and last.started_s is None else "was not refused with a reason"
