"""The newest observations of a summary, for its quantiles: those of the last ten minutes, in five rings of two.

Within a ring every observation is kept up to a limit; beyond it a fair sample of them stands for all, each with the weight of
those that it stands for.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

AGE_S = 600.0
RINGS = 5
RING_S = AGE_S / RINGS
KEPT = 4096  # observations of one ring, at most


@dataclass(slots=True)
class _Ring:
    number: int
    count: int = 0
    kept: array[float] = field(default_factory=lambda: array("d"))


class Window:
    """Observations with their times. Not safe from several threads by itself: its meter holds the lock."""

    def __init__(self) -> None:
        self._rings: list[_Ring] = []
        self._chance = random.Random(0)

    def add(self, value: float, at_s: float) -> None:
        ring = self._ring(int(at_s // RING_S))
        ring.count += 1
        if len(ring.kept) < KEPT:
            ring.kept.append(value)
        elif (place := self._chance.randrange(ring.count)) < KEPT:
            ring.kept[place] = value

    def _ring(self, number: int) -> _Ring:
        """The ring of this time; a time that is older than the newest ring falls into that one."""
        if not self._rings or self._rings[-1].number < number:
            self._rings = [ring for ring in self._rings if ring.number > number - RINGS] + [_Ring(number)]
        return self._rings[-1]

    def copied(self, now_s: float) -> list[tuple[int, array[float]]]:
        """(how many were observed, those that were kept) for each ring of the last ten minutes."""
        oldest = int(now_s // RING_S) - RINGS
        return [(ring.count, ring.kept[:]) for ring in self._rings if ring.number > oldest]


def weighed(rings: Sequence[tuple[int, array[float]]]) -> list[tuple[float, float]]:
    """(value, how many it stands for), in no order."""
    return [(value, count / len(kept)) for count, kept in rings for value in kept]


def quantiles(weighed: Sequence[tuple[float, float]], wanted: Sequence[float]) -> list[float]:
    """For each wanted share the smallest value that at least this share of all observations does not exceed; NaN of none."""
    if not weighed:
        return [math.nan for _ in wanted]
    ordered = sorted(weighed)
    total = sum(weight for _, weight in ordered)
    found: list[float] = []
    passed, index = 0.0, -1
    for share in sorted(wanted):
        while index < len(ordered) - 1 and passed < share * total - 1e-9:
            index += 1
            passed += ordered[index][1]
        found.append(ordered[max(index, 0)][0])
    return found
