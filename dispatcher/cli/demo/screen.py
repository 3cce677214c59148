"""The terminal: a compact view that is drawn over itself, or plain lines where there is no terminal. ``frame`` is pure.

Nothing is hidden and no other screen is used, so that a demo that is killed leaves the terminal as it should be.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from dispatcher.cli.demo.news import duration, fitted, money
from dispatcher.cli.demo.picture import Job, Picture

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"
STATE_COLOURS = {"running": GREEN, "idle": CYAN, "booting": YELLOW, "shutdown": DIM, "unknown": YELLOW}
UP, CLEAR_LINE, CLEAR_BELOW, CLEAR_ALL = "\x1b[{}A", "\x1b[K", "\x1b[J", "\x1b[2J\x1b[H"
MOST_WAITING = 4
BAR_WIDTH = 24
CALM_INSTANCES = 4  # so many lines are kept for instances, so that the view does not jump


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    colour: str = ""


Line = tuple[Span, ...]


def line(*parts: Span | str) -> Line:
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


class Screen:
    """``live``: the view is drawn; else only what is said is written."""

    def __init__(self, out: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._out = out
        self.live = out.isatty() and environment.get("TERM", "dumb") != "dumb"
        self._coloured = self.live and not environment.get("NO_COLOR")
        self._drawn = 0
        self._size = self.size()

    def size(self) -> tuple[int, int]:
        """Columns and rows; generous where there is no terminal."""
        found = shutil.get_terminal_size((100, 24))
        return found.columns, found.lines

    @property
    def plain_letters(self) -> bool:
        return "utf" not in (self._out.encoding or "").lower()

    def say(self, text: str = "", colour: str = "") -> None:
        """A line that stays."""
        self.clear()
        self._write(self._styled(Span(text, colour)) + "\n")

    def show(self, lines: Sequence[Line]) -> None:
        """The view of now, over the last one."""
        if not self.live:
            return
        columns, rows = self.size()
        begin = self._back(columns, rows)
        shown = [self._cut(each, columns - 1) for each in lines[: rows - 1]]
        self._write(begin + "".join(f"{text}{CLEAR_LINE}\n" for text in shown) + CLEAR_BELOW)
        self._drawn = len(shown)

    def clear(self) -> None:
        """Take the view away."""
        if self._drawn:
            self._write(self._back(*self.size()) + CLEAR_BELOW)
            self._drawn = 0

    def _back(self, columns: int, rows: int) -> str:
        """To where the view begins. After a change of size nobody knows where that is."""
        changed = (columns, rows) != self._size
        self._size = (columns, rows)
        if changed and self._drawn:
            return CLEAR_ALL
        return UP.format(self._drawn) if self._drawn else ""

    def _cut(self, spans: Line, columns: int) -> str:
        text, left = "", columns
        for span in spans:
            shown = fitted(span.text, left) if len(span.text) > left else span.text
            text += self._styled(Span(shown, span.colour))
            left -= len(shown)
        return text

    def _styled(self, span: Span) -> str:
        if not (span.colour and self._coloured and span.text):
            return span.text
        return f"\x1b[{span.colour}m{span.text}\x1b[0m"

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


# ------------------------------------------------------------------------------------------------------------------- frame


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
