"""How long things took lately: the last few of each, so that one odd value decides nothing and an old one is soon forgotten.

It is known only when enough of them were seen in this process; nothing rests on it but what is worth doing.
"""

from __future__ import annotations

from dispatcher.frozen import dataclass

LAST, ENOUGH = 15, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """Seconds, the newest last. ``locks_s``: from the decision to lock until its answer was known; ``runs_s``: of runners."""

    locks_s: tuple[float, ...] = ()
    runs_s: tuple[float, ...] = ()


def noted(times_s: tuple[float, ...], took_s: float) -> tuple[float, ...]:
    return (*times_s, took_s)[-LAST:]


def usual_s(times_s: tuple[float, ...]) -> float | None:
    """The median; None when too few are known."""
    return sorted(times_s)[len(times_s) // 2] if len(times_s) >= ENOUGH else None
