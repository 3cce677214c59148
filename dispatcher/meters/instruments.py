"""Counters, summaries and histograms that many threads fill and a scrape copies. No lock is held for longer than that takes.

The number of label sets of a series is bounded: what comes beyond is counted under ``other``.
"""

from __future__ import annotations

import bisect
import math
import threading
from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dispatcher.meters.series import Kind, Labels, Series
from dispatcher.meters.window import Window, quantiles, weighed

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MOST_LABELS = 2_000
OTHER = "other"

_Copy = tuple[Labels, int, float, list[tuple[int, "array[float]"]], list[int]]
"""What a scrape takes out of a cell: labels, count, total, the rings of its window, buckets."""


def number(value: float) -> str:
    """As the text format writes it: whole numbers without a point."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else repr(value)


class _Cell:
    """What one set of labels holds: ``count`` and ``total`` of what was observed, and what quantiles and buckets need."""

    __slots__ = ("buckets", "count", "total", "window")

    def __init__(self, series: Series) -> None:
        self.count = 0
        self.total = 0.0
        self.window = Window() if series.quantiles else None
        self.buckets = [0] * (len(series.bounds) + 1) if series.kind is Kind.HISTOGRAM else []


class Meter:
    """One series that is filled as things happen."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self._lock = threading.Lock()
        self._cells: dict[Labels, _Cell] = {labels: _Cell(series) for labels in series.presets}
        if not series.labels:
            self._cells[()] = _Cell(series)

    def _cell(self, labels: Labels) -> _Cell:
        cell = self._cells.get(labels)
        if cell is None:
            if len(labels) != len(self.series.labels):
                raise ValueError(f"{self.series.name} has the labels {self.series.labels}, not {labels}")
            if len(self._cells) >= MOST_LABELS:
                labels = (OTHER,) * len(labels)
            cell = self._cells.setdefault(labels, _Cell(self.series))
        return cell

    def add(self, amount: float, labels: Labels) -> None:
        """A counter goes up."""
        with self._lock:
            self._cell(labels).total += amount

    def observe(self, value: float, labels: Labels, at_s: float) -> None:
        """A summary or a histogram takes in one value, observed at ``at_s`` of the monotonic clock."""
        with self._lock:
            cell = self._cell(labels)
            cell.count += 1
            cell.total += value
            if cell.window is not None:
                cell.window.add(value, at_s)
            if cell.buckets:
                cell.buckets[bisect.bisect_left(self.series.bounds, value)] += 1

    def value(self, *labels: str) -> float:
        """What it stands at: of a counter its value, else the number of observations. 0 when there was none."""
        with self._lock:
            cell = self._cells.get(labels)
            if cell is None:
                return 0.0
            return cell.total if self.series.kind is Kind.COUNTER else float(cell.count)

    def values(self) -> dict[Labels, float]:
        """Of a counter what each set of labels stands at."""
        with self._lock:
            return {labels: cell.total for labels, cell in self._cells.items()}

    def family(self, now_s: float) -> Metric:
        made = self.series.family()
        for copy in sorted(self._copied(now_s), key=lambda copy: copy[0]):
            self._put(made, copy)
        return made

    def _copied(self, now_s: float) -> list[_Copy]:
        with self._lock:
            return [
                (labels, cell.count, cell.total, cell.window.copied(now_s) if cell.window else [], list(cell.buckets))
                for labels, cell in self._cells.items()
            ]

    def _put(self, made: Metric, copy: _Copy) -> None:
        labels, count, total, rings, buckets = copy
        series, named = self.series, self.series.named(labels)
        if series.kind is Kind.COUNTER:
            made.add_sample(series.name, named, total)
            return
        for share, value in zip(series.quantiles, quantiles(weighed(rings), series.quantiles), strict=True):
            made.add_sample(series.name, {**named, "quantile": number(share)}, value)
        for bound, reached in zip((*series.bounds, math.inf), _summed(buckets), strict=False):
            made.add_sample(f"{series.name}_bucket", {**named, "le": number(bound)}, reached)
        made.add_sample(f"{series.name}_sum", named, total)
        made.add_sample(f"{series.name}_count", named, count)


def _summed(buckets: Iterable[int]) -> Iterator[int]:
    total = 0
    for count in buckets:
        total += count
        yield total


class Board:
    """The meters of one room, by their series."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._meters = {each.name: Meter(each) for each in series}

    def add(self, series: Series, *labels: str, by: float = 1.0) -> None:
        self._meters[series.name].add(by, labels)

    def observe(self, series: Series, value: float, *labels: str, at_s: float) -> None:
        self._meters[series.name].observe(value, labels, at_s)

    def value(self, series: Series, *labels: str) -> float:
        return self._meters[series.name].value(*labels)

    def values(self, series: Series) -> dict[Labels, float]:
        return self._meters[series.name].values()

    def families(self, now_s: float) -> Iterator[Metric]:
        for meter in self._meters.values():
            yield meter.family(now_s)
