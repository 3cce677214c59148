"""What a series is: its name, kind and labels, what it means, and whether other dispatchers have it under this very name.

A name stands as it is served, in the TYPE line as in the samples: nothing is ever put behind it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dispatcher.frozen import dataclass

if TYPE_CHECKING:  # the library is loaded by the first scrape, and no start waits for it
    from prometheus_client.metrics_core import Metric

Labels = tuple[str, ...]
"""The values of a series' labels, in the order in which the series names them."""


class Kind(enum.StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    SUMMARY = "summary"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """``upstream``: the name, kind and labels are those of the Arvados dispatcher and its service frame, so that boards made
    for it keep working. ``presets``: labels that are there from the start, with 0. ``bounds``: of a histogram's buckets.
    ``quantiles``: of a summary."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    upstream: bool = False
    presets: tuple[Labels, ...] = ()
    bounds: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()

    def family(self, samples: Iterable[tuple[Labels, float]] = ()) -> Metric:
        """The family as it is served, with these samples."""
        from prometheus_client.metrics_core import Metric

        made = Metric(self.name, self.meaning, self.kind.value)
        for values, value in sorted(samples):
            made.add_sample(self.name, self.named(values), value)
        return made

    def named(self, values: Sequence[str]) -> dict[str, str]:
        return dict(zip(self.labels, values, strict=True))
