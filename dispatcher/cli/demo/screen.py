"""The demo's view as lines of a terminal. ``frame`` is pure: everything that it is made from is handed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dispatcher.cli.demo.picture import Job, Picture
from dispatcher.cli.terminal import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Line, Span, line
from dispatcher.cli.words import duration, money
from dispatcher.frozen import dataclass

STATE_COLOURS = {"running": GREEN, "idle": CYAN, "booting": YELLOW, "shutdown": DIM, "unknown": YELLOW}
MOST_WAITING = 4
BAR_WIDTH = 24
CALM_INSTANCES = 4  # so many lines are kept for instances, so that the view does not jump


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Everything that a frame is made from. ``notes``: news, oldest first; ``now_s`` since 1970."""

    picture: Picture
    now_s: float
    elapsed_s: float
    rows: int
    notes: Sequence[str] = ()
    trouble: str = ""
    plain_letters: bool = False


def frame(sight: Sight) -> list[Line]:
    """The lines of the view; news take the room that is left."""
    lines = [*_head(sight), line(""), *_instances(sight), *_waiting(sight.picture)]
    room = sight.rows - 1 - len(lines) - 2
    notes = sight.notes[-room:] if room > 0 else []
    return [*lines, line(""), *(line("  ", Span(note, _colour(note))) for note in notes)]


def _head(sight: Sight) -> list[Line]:
    picture, total = sight.picture, len(sight.picture.jobs)
    run, wait = picture.count("Running"), picture.count("Queued", "Locked")
    counts = f"  {picture.ended} of {total} ended   {run} run   {wait} wait   {duration(sight.elapsed_s)}   {money(picture.cost)}"
    bar = Span(_bar(picture.ended, total, sight.plain_letters), GREEN)
    head = [line(Span("Cloud Dispatcher", BOLD), Span("   the sample workload", DIM)), line(bar, counts)]
    return [*head, line(Span(sight.trouble, RED))] if sight.trouble else head


def _bar(done: int, total: int, plain_letters: bool) -> str:
    filled = BAR_WIDTH * done // total if total else 0
    full, empty = ("#", ".") if plain_letters else ("█", "░")
    return full * filled + empty * (BAR_WIDTH - filled)


def _instances(sight: Sight) -> Iterable[Line]:
    running = {job.now.uuid: job for job in sight.picture.jobs}
    for instance in sight.picture.instances:
        jobs = [running[uuid] for uuid in instance.runs if uuid in running]
        work = ", ".join(_at_work(job, sight.now_s) for job in jobs)
        yield line(f"  {instance.name:<14} ", Span(f"{instance.state:<9}", STATE_COLOURS.get(instance.state, "")), f" {work}")
    if not sight.picture.instances:
        yield line(Span("  no instance" if sight.picture.dispatcher_answers else "  no word from the dispatcher yet", DIM))
    for _ in range(max(1, len(sight.picture.instances)), CALM_INSTANCES):
        yield line("")


def _at_work(job: Job, now_s: float) -> str:
    ran_s = job.now.ran_s(now_s)
    return job.name if ran_s is None or job.now.ended else f"{job.name} {ran_s:.0f} s"


def _waiting(picture: Picture) -> Iterable[Line]:
    waiting = [job for job in picture.jobs if not job.ended and job.now.state in ("Queued", "Locked")]
    placed = {uuid for instance in picture.instances for uuid in instance.runs}
    waiting = sorted((job for job in waiting if job.now.uuid not in placed), key=lambda job: -job.priority)
    if waiting:
        yield line("")
    for job in waiting[:MOST_WAITING]:
        yield line(f"  {job.name:<14} ", Span(job.now.waits_for or job.now.state, DIM))
    if len(waiting) > MOST_WAITING:
        yield line(Span(f"  and {len(waiting) - MOST_WAITING} more wait", DIM))


def _colour(note: str) -> str:
    return RED if "was killed" in note or "was cancelled" in note else DIM
