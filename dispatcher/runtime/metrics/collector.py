"""One scrape: the gauges of one snapshot, what acts and changes added up to, and how the process itself stands.

It is a collector of prometheus_client, which makes nothing of its own here: names, kinds and labels are those of the catalogue.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from dispatcher.core.model import State
from dispatcher.frozen import dataclass
from dispatcher.meters import catalogue as c
from dispatcher.meters.instruments import Board
from dispatcher.runtime.metrics.acts import ActMeter
from dispatcher.runtime.metrics.facts import Recorder
from dispatcher.runtime.metrics.gauges import gauges
from dispatcher.runtime.ports import Clock

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What only the running process knows. ``verdict``: level and cause; ``troubles``: what is worked around; ``bugs`` by
    where, ``waiting`` by lane, ``ages_s`` by loop; the configuration by the hash of its file, with Unix times."""

    bugs: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    ages_s: Mapping[str, float] = field(default_factory=dict)
    given_up: int = 0
    longest_change_s: float = 0.0
    verdict: tuple[str, str] = ("", "")
    troubles: Mapping[str, bool] = field(default_factory=dict)
    audit_failures: int = 0
    config_sha256: str = ""
    config_written_s: float = 0.0
    config_loaded_s: float = 0.0


class Metrics:
    """Everything that is told and collected. ``registry`` is what the web layer is handed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.acts = ActMeter(clock)
        self.recorder = Recorder(clock)
        self._loops = Board((c.PASS_DURATION,))

    def passed(self, loop: str, seconds: float) -> None:
        """A loop has made a turn."""
        self._loops.observe(c.PASS_DURATION, seconds, loop, at_s=self._clock.monotonic())

    def boots(self) -> dict[str, dict[str, int]]:
        """Instance type → outcome → how many boots ended so, since the start."""
        found: dict[str, dict[str, int]] = {}
        for (kind, outcome), count in self.recorder.board.values(c.TYPED_OUTCOMES).items():
            found.setdefault(kind, {})[outcome] = int(count)
        return found

    def registry(
        self, snapshot: Callable[[], State], surroundings: Callable[[], Surroundings] = Surroundings
    ) -> CollectorRegistry:
        from prometheus_client import CollectorRegistry  # here: it is asked for with the pages, and no start waits for it

        made = CollectorRegistry()
        made.register(_Collector(lambda: self.collect(snapshot, surroundings())))
        return made

    def collect(self, snapshot: Callable[[], State], around: Surroundings) -> Iterator[Metric]:
        now_s, wall_s, state = self._clock.monotonic(), self._clock.wall(), snapshot()
        self.recorder.catch_up(now_s)
        yield from gauges(state, now_s, wall_s)
        for board in (self.recorder.board, self.acts.board, self._loops):
            yield from board.families(now_s)
        yield c.LAST_503.family([((), self.acts.last_503_s)])
        yield c.POLL_SIZE.family([((), float(self.acts.poll_records))])
        yield from _process(around, self.recorder.bugs + self.acts.bugs)


def _process(around: Surroundings, bugs_here: int) -> Iterator[Metric]:
    yield c.VERSION.family([((version(),), 1.0)])
    yield c.CONFIG_LOADED.family([((around.config_sha256,), around.config_loaded_s)])
    yield c.CONFIG_WRITTEN.family([((around.config_sha256,), around.config_written_s)])
    bugs = {**around.bugs, "metrics": bugs_here}
    yield c.BUGS.family(((where,), float(count)) for where, count in bugs.items())
    yield c.VERDICT.family([(around.verdict, 1.0)] if any(around.verdict) else [])
    yield c.TROUBLE.family(((what,), float(around.troubles.get(what, False))) for what in c.TROUBLES)
    yield c.AUDIT_FAILURES.family([((), float(around.audit_failures))])
    yield c.GIVEN_UP.family([((), float(around.given_up))])
    yield c.LANE_WAITING.family(((lane,), float(count)) for lane, count in around.waiting.items())
    yield c.LOOP_AGE.family(((loop,), age_s) for loop, age_s in around.ages_s.items())
    yield c.LOCK_TIME.family([((), around.longest_change_s)])


class _Collector:
    """What a registry asks. It is not asked for names beforehand: that would cost a whole scrape."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        return self._collect()


@functools.cache
def version() -> str:
    """Of this program and of Python, for display."""
    try:
        own = importlib.metadata.version("cloud-dispatcher")
    except importlib.metadata.PackageNotFoundError:
        own = "dev"
    return f"{own} (python{platform.python_version()})"
