"""What happened between two pictures, in short lines; and what became of every container, as a table. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from dispatcher.cli.demo.picture import Container, Job, Picture
from dispatcher.cli.words import duration, fitted

HEADINGS = ("container", "state", "exit", "reason", "instance", "waited", "ran")
RIGHT = {2, 5, 6}  # columns of numbers
REASON_AT_LEAST, REASON_AT_MOST = 14, 160


def news(before: Picture, after: Picture) -> Iterator[str]:
    known = {job.request: job for job in before.jobs}
    for job in after.jobs:
        yield from _job_news(known.get(job.request), job)
    yield from _instance_news(before, after)


def _job_news(before: Job | None, after: Job) -> Iterator[str]:
    known = {each.uuid: each for each in before.tries} if before is not None else {}
    for number, container in enumerate(after.tries):
        old = known.get(container.uuid)
        if old is None and number:
            yield f"{after.name} is tried again"
        if _runs_somewhere(container) and not (old is not None and _runs_somewhere(old)):
            yield f"{after.name} runs on {container.instance}"
        if container.ended and (old is None or not old.ended):
            yield f"{after.name} {end_of(container)}"


def _runs_somewhere(container: Container) -> bool:
    """The queue says that it runs a moment before the log says where."""
    return container.state == "Running" and bool(container.instance)


def end_of(container: Container) -> str:
    """How it ended, in words."""
    if container.state == "Complete":
        took = f" after {duration(container.ran_s(container.finished_s or 0.0))}" if container.started_s else ""
        return f"ended with exit code {container.exit_code}{took}"
    verb = "was cancelled" if container.started_s is not None else "was cancelled before it ran"
    return f"{verb}: {container.reason}" if container.reason else verb


def _instance_news(before: Picture, after: Picture) -> Iterator[str]:
    if not (before.dispatcher_answers and after.dispatcher_answers):
        return
    old = {each.name: each for each in before.instances}
    new = {each.name: each for each in after.instances}
    for name, instance in new.items():
        if name not in old:
            yield f"instance {name} is {instance.state}"
        elif old[name].state == "booting" and instance.state in ("idle", "running"):
            yield f"instance {name} is ready"
    for name in old:
        if name not in new:
            yield f"instance {name} is gone"


# ------------------------------------------------------------------------------------------------------------------- table


def table(jobs: Sequence[Job], width: int, now_s: float) -> list[str]:
    """A row for each container, each try of a job for itself; reasons go on below each other in the room that is left."""
    rows = [row for job in jobs for row in _rows(job, now_s)]
    others = [max(len(text) for text in column) for column in zip(HEADINGS, *rows, strict=True)]
    room = width - 2 * (len(HEADINGS) - 1) - sum(size for number, size in enumerate(others) if number != 3)
    others[3] = min(others[3], max(REASON_AT_LEAST, min(room, REASON_AT_MOST)))
    return [line for row in (HEADINGS, *rows) for line in _lines(row, others)]


def _rows(job: Job, now_s: float) -> Iterator[tuple[str, ...]]:
    for number, container in enumerate(job.tries, start=1):
        yield (
            job.name if number == 1 else f"  try {number}",
            container.state,
            "" if container.exit_code is None else str(container.exit_code),
            reason_of(job, container),
            container.instance,
            duration(container.waited_s),
            duration(container.ran_s(now_s)),
        )


def reason_of(job: Job, container: Container) -> str:
    if container is job.now and not job.wanted and container.started_s is not None and container.state == "Cancelled":
        return "its request was cancelled while it ran"
    return container.reason


def _lines(row: Sequence[str], sizes: Sequence[int]) -> Iterator[str]:
    wrapped = textwrap.wrap(row[3], sizes[3]) or [""]
    first = (*row[:3], wrapped[0], *row[4:])
    yield _line(first, sizes)
    for more in wrapped[1:]:
        yield _line(("", "", "", more, "", "", ""), sizes)


def _line(row: Sequence[str], sizes: Sequence[int]) -> str:
    cells = [
        fitted(text, size).rjust(size) if number in RIGHT else fitted(text, size).ljust(size)
        for number, (text, size) in enumerate(zip(row, sizes, strict=True))
    ]
    return "  ".join(cells).rstrip()
