"""A driver's exceptions as data: the one place that says what each of them means to the core."""

from __future__ import annotations

import math
from collections.abc import Callable

from dispatcher.core.messages import CloudFailure
from dispatcher.core.model import HoldoffKind
from dispatcher.driver import CloudError, Denied, Misconfigured, NoCapacity, QuotaReached, RateLimited, Scope

MAX_TEXT = 1000
_KINDS: dict[type[CloudError], HoldoffKind] = {
    RateLimited: HoldoffKind.RATE,
    QuotaReached: HoldoffKind.QUOTA,
    NoCapacity: HoldoffKind.CAPACITY,
    Denied: HoldoffKind.DENIED,
    Misconfigured: HoldoffKind.ERROR,
}


def failure_of(error: CloudError, wall: Callable[[], float]) -> CloudFailure:
    """An exception of the contract as data."""
    return CloudFailure(
        text=tidy_text(str(error) or type(error).__name__),
        kind=kind_of(error),
        scope=Scope(error.scope),
        retry_after_s=_retry_after_s(error, wall) if isinstance(error, RateLimited) else None,
        outcome_unknown=error.outcome_unknown,
    )


def kind_of(error: CloudError) -> HoldoffKind:
    return next((kind for known, kind in _KINDS.items() if isinstance(error, known)), HoldoffKind.ERROR)


def _retry_after_s(error: RateLimited, wall: Callable[[], float]) -> float | None:
    """Seconds from now, however the driver put it."""
    if is_number(error.retry_after_s):
        return max(0.0, float(error.retry_after_s or 0.0))
    if is_number(error.retry_at):
        return max(0.0, float(error.retry_at or 0.0) - wall())
    return None


def tidy_text(text: str) -> str:
    """One line, bounded, without control characters: it goes to logs and pages."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]}…"


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


