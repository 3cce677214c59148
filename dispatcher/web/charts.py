"""Small pictures: samples in, the points of an SVG out. What they look like stands in the templates and the style sheet.

Pure. Colours are classes, so that light and dark have their own, and no style stands in an attribute.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from dispatcher.core.history import STANDINGS, Sample
from dispatcher.frozen import dataclass
from dispatcher.web.shown import Wall

WIDTH, HEIGHT = 600, 120
HOURS = 6
POINTS = 120  # at most: the eye sees no more
GAP_S = 300.0  # nobody looked for longer than this: the line is broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a sample stands in the picture. ``most`` is the value at the top."""

    from_s: float
    until_s: float
    most: float

    def x(self, at_s: float) -> float:
        return round((at_s - self.from_s) / max(1e-9, self.until_s - self.from_s) * WIDTH, 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - value / max(1e-9, self.most) * HEIGHT, 1)


def pictures(samples: Sequence[Sample], now: Sample, wall: Wall) -> list[dict[str, Any]]:
    """Instances by standing, cost per hour, and the longest wait, over the last hours up to now."""
    since_s = now.at_s - HOURS * 3600
    kept = thinned([*(each for each in samples if since_s <= each.at_s < now.at_s), now])
    return [
        _stacked(kept, wall),
        _line("cost", "Cost per hour", kept, lambda each: each.price_per_hour, "", wall),
        _line("wait", "Longest wait", kept, lambda each: each.oldest_wait_s / 60, "min", wall),
    ]


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """Every so many, and always the last."""
    step = max(1, -(-len(samples) // POINTS))
    return [*samples[:-1:step], samples[-1]]


def top(value: float) -> float:
    """The next round number: 1, 2, 5, 10, 20 …"""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1.0, 2.0, 5.0, 10.0) if value <= step * size * (1 + 1e-9))


def _about(name: str, title: str, samples: Sequence[Sample], most: float, unit: str, wall: Wall) -> dict[str, Any]:
    return {
        "name": name, "title": title, "top": most, "unit": unit, "from": wall.utc(samples[0].at_s),
        "until": wall.utc(samples[-1].at_s), "width": WIDTH, "height": HEIGHT,
    }  # fmt: skip


def _stacked(samples: Sequence[Sample], wall: Wall) -> dict[str, Any]:
    """One band for each standing, one upon the other."""
    most = top(max(sum(each.instances.values()) for each in samples))
    frame = Frame(from_s=samples[0].at_s, until_s=samples[-1].at_s, most=most)
    below, bands = [0.0] * len(samples), []
    for standing in STANDINGS:
        above = [low + each.instances.get(standing, 0) for low, each in zip(below, samples, strict=True)]
        now = samples[-1].instances.get(standing, 0)
        points = _band(frame, samples, below, above) if above != below else ""
        bands.append({"name": standing, "points": points, "now": now, "class": f"band-{STANDINGS.index(standing)}"})
        below = above
    return {**_about("instances", "Instances by state", samples, most, "", wall), "bands": bands, "now": below[-1]}


def _band(frame: Frame, samples: Sequence[Sample], below: Sequence[float], above: Sequence[float]) -> str:
    return " ".join([*_steps(frame, samples, above), *reversed(_steps(frame, samples, below))])


def _steps(frame: Frame, samples: Sequence[Sample], values: Sequence[float]) -> list[str]:
    """It was so until the next look: a slope would tell what nobody saw."""
    points: list[str] = []
    height = frame.y(values[0])
    for each, value in zip(samples, values, strict=True):
        points.append(f"{frame.x(each.at_s)},{height}")
        if frame.y(value) != height:
            height = frame.y(value)
            points.append(f"{frame.x(each.at_s)},{height}")
    return points


def _line(
    name: str, title: str, samples: Sequence[Sample], read: Callable[[Sample], float], unit: str, wall: Wall
) -> dict[str, Any]:
    values = [read(each) for each in samples]
    most = top(max(values))
    frame = Frame(from_s=samples[0].at_s, until_s=samples[-1].at_s, most=most)
    lines = [" ".join(part) for part in _unbroken(frame, samples, values)]
    about = _about(name, title, samples, most, unit, wall)
    return {**about, "lines": lines, "now": round(values[-1], 1 if unit else 2), "highest": round(max(values), 1 if unit else 2)}


def _unbroken(frame: Frame, samples: Sequence[Sample], values: Sequence[float]) -> list[list[str]]:
    gap_s = max(GAP_S, 2 * (frame.until_s - frame.from_s) / POINTS)
    gaps = [number for number in range(1, len(samples)) if samples[number].at_s - samples[number - 1].at_s > gap_s]
    parts = zip([0, *gaps], [*gaps, len(samples)], strict=True)
    return [_steps(frame, samples[start:end], values[start:end]) for start, end in parts]
