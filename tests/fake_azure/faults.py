"""What the network and the gateways do to a call, before or after it took effect. Drawn by chance or planted by a test."""

from __future__ import annotations

import enum
import random
from collections import Counter, defaultdict
from collections.abc import Callable

from tests.fake_azure.knobs import Knobs


class Mishap(enum.StrEnum):
    """``..._AFTER`` and ``HTML_AFTER`` take effect first: the caller cannot know."""

    THROTTLED = "throttled"
    BAD_GATEWAY = "bad gateway"
    BUSY = "busy"
    INTERNAL = "internal error"
    DROPPED_BEFORE = "dropped before"
    DROPPED_AFTER = "dropped after"
    HTML_AFTER = "bad gateway after"
    SLOW = "slow"


AFTER = (Mishap.DROPPED_AFTER, Mishap.HTML_AFTER)
_RATES: dict[Mishap, Callable[[Knobs], float]] = {
    Mishap.THROTTLED: lambda knobs: knobs.throttled_rate,
    Mishap.BAD_GATEWAY: lambda knobs: knobs.bad_gateway_rate,
    Mishap.BUSY: lambda knobs: knobs.busy_rate,
    Mishap.INTERNAL: lambda knobs: knobs.internal_rate,
    Mishap.DROPPED_BEFORE: lambda knobs: knobs.dropped_before_rate,
    Mishap.DROPPED_AFTER: lambda knobs: knobs.dropped_after_rate,
    Mishap.HTML_AFTER: lambda knobs: knobs.html_after_rate,
    Mishap.SLOW: lambda knobs: knobs.slow_rate,
}


class Mishaps:
    """``plant`` decides the next calls of an operation; without it each call draws."""

    def __init__(self, draw: random.Random, counted: Counter[str]) -> None:
        self._random = draw
        self._counted = counted
        self._planted: dict[str, list[Mishap | None]] = defaultdict(list)

    def plant(self, operation: str, *mishaps: Mishap | None) -> None:
        """What happens to the next calls of this operation, in this order; None: nothing."""
        self._planted[operation] += mishaps

    def draw(self, operation: str, knobs: Knobs) -> Mishap | None:
        mishap = self._planted[operation].pop(0) if self._planted[operation] else self._by_chance(knobs)
        if mishap is not None:
            self._counted[f"{operation}: {mishap}"] += 1
        return mishap

    def _by_chance(self, knobs: Knobs) -> Mishap | None:
        drawn = self._random.random()
        for mishap, rate in _RATES.items():
            drawn -= rate(knobs)
            if drawn < 0:
                return mishap
        return None
