"""Measures in thread CPU time, which a busy machine disturbs least, and keeps every round.

Beside them runs a fixed piece of pure Python, the calibration: two runs are compared by their ratio to it.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

CALIBRATION_STEPS = 20_000
ROW = "{:58s} {:>10s} {:>10s} {:>10s} {:>4s}"


def cpu_s(act: Callable[..., object], *arguments: object) -> float:
    """The thread CPU time of one call. The collector runs as in production, so its time counts."""
    began = time.thread_time()
    act(*arguments)
    return time.thread_time() - began


def calibrate() -> None:
    """Calls, dictionaries and a sort, as in a plan."""
    table: dict[int, tuple[int, str]] = {}
    for number in range(CALIBRATION_STEPS):
        key = number * 7919 % 10_007
        table[key] = (table.get(key, (0, ""))[0] + 1, "x")
    sorted(table.items(), key=lambda item: (-item[1][0], item[0]))


@dataclass(slots=True)
class Results:
    """Every number by its name, in the order in which it was measured. The unit is part of the name."""

    rounds: int
    wanted: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.samples.setdefault(name, []).append(value)

    def wants(self, name: str) -> bool:
        return self.wanted in name

    def each_round(self) -> Iterator[int]:
        """The rounds of one scene; the machine is calibrated before each, and what the last scene left behind is swept."""
        gc.collect()
        for number in range(self.rounds):
            self.add("calibration_ms", 1e3 * cpu_s(calibrate))
            yield number

    def summary(self) -> dict[str, float]:
        """Name → median of the rounds; of what is a maximum by its name, the maximum."""
        judge = {name: max if "_max_" in name else statistics.median for name in self.samples}
        return {name: round(judge[name](values), 4) for name, values in self.samples.items()}

    def table(self) -> Iterator[str]:
        yield ROW.format("thread CPU time", "median", "min", "max", "n")
        for name, values in self.samples.items():
            cells = (statistics.median(values), min(values), max(values))
            yield ROW.format(name, *(f"{cell:.3f}" for cell in cells), str(len(values)))

    def json(self) -> str:
        return json.dumps(self.summary())
