"""``cloud-dispatcher watch``: how everything stands, live in a terminal; a line for each change where there is none.

A dispatcher that is away for a moment is waited for, with its last standing on view.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from dispatcher.cli.operate.dispatchers import Dispatchers
from dispatcher.cli.operate.options import Seconds, documented, placed
from dispatcher.cli.operate.scene import change_line, scene
from dispatcher.cli.operate.source import Source
from dispatcher.cli.operate.standing import Standing
from dispatcher.cli.operate.status import as_object
from dispatcher.cli.terminal import Screen
from dispatcher.cli.words import printable


@click.command()
@click.option("--interval", "interval_s", default=1.0, show_default=True, type=Seconds(0.2, 3600.0), metavar="SECONDS",
              help="How often it is looked.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N looks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, on one line, for each change.")
@placed
@documented("""
Watch the dispatcher at work until Ctrl-C: the verdict, the queue, what waits and why, the instances.

\b
  cloud-dispatcher watch
  cloud-dispatcher watch --interval 10 | tee dispatcher.log
""")
def watch(dispatchers: Dispatchers, interval_s: float, count: int | None, as_json: bool) -> None:
    eye = Eye(Source(dispatchers).now, Screen(sys.stdout), as_json=as_json)
    with ending() as stop:
        looks = 0
        while not stop.ended:
            if stop.due():
                with stop.interruptible():
                    eye.look()
                looks += 1
                if count is not None and looks >= count:
                    return
                stop.rest(interval_s)
            eye.draw()
            stop.wait()


class Eye:
    """What was seen last, and how it is shown."""

    def __init__(self, now: Callable[[], Standing], screen: Screen, *, as_json: bool = False) -> None:
        self._now, self._screen, self._as_json = now, screen, as_json
        self._live = screen.live and not as_json
        self._last: Standing | None = None
        self._seen_s = 0.0
        self._trouble = ""
        self._told = ""

    def look(self) -> None:
        """A dispatcher that does not answer leaves what was seen last on view."""
        found = self._now()
        away = found.cause == "unreachable" and self._last is not None
        self._trouble = found.text if away else ""
        if not away:
            self._last, self._seen_s = found, time.time()
        if not self._live:
            self._tell(found)

    def _tell(self, found: Standing) -> None:
        text = change_line(found)
        if text != self._told:
            moment = f"{time.strftime('%H:%M:%S')} {printable(text)}"
            self._screen.say(json.dumps(as_object(found, {})) if self._as_json else moment)
            self._told = text

    def draw(self) -> None:
        if self._last is not None and self._live:
            columns, rows = self._screen.size()
            silent_s = time.time() - self._seen_s if self._trouble else 0.0
            self._screen.show(scene(self._last, columns - 1, rows - 1, trouble=self._trouble, silent_s=silent_s))


class Interrupted(BaseException):
    """A look is left in its midst."""


class Stop:
    """When the next look is due, and whether there is one: Ctrl-C ends it, a terminal of another size only wakes it.

    A handler of a signal may run in the middle of any call of the same thread, so that it can take no lock: it writes a byte."""

    def __init__(self) -> None:
        self.ended = self._looking = False
        self._woken, self._bell = os.pipe()
        for end in (self._woken, self._bell):
            os.set_blocking(end, False)
        self._due_s = 0.0

    def due(self) -> bool:
        return time.monotonic() >= self._due_s

    def rest(self, interval_s: float) -> None:
        self._due_s = time.monotonic() + interval_s

    def wait(self) -> None:
        rung, _, _ = select.select([self._woken], [], [], max(0.0, self._due_s - time.monotonic()))
        if rung:
            os.read(self._woken, 4096)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Whoever wants to go does not wait for an answer that may never come."""
        self._looking = True
        try:
            yield
        finally:
            self._looking = False

    def end(self, *_: Any) -> None:
        first, self.ended = not self.ended, True
        self.wake()
        if self._looking and first:
            raise Interrupted

    def wake(self, *_: Any) -> None:
        with suppress(BlockingIOError):  # it is awake already
            os.write(self._bell, b"!")

    def close(self) -> None:
        os.close(self._woken)
        os.close(self._bell)


@contextmanager
def ending() -> Iterator[Stop]:
    """Signals end the watch, and the terminal is left as it was."""
    stop = Stop()
    handlers = {signal.SIGINT: stop.end, signal.SIGTERM: stop.end, signal.SIGHUP: stop.end, signal.SIGWINCH: stop.wake}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with suppress(Interrupted):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop.close()
