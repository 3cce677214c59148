"""What stands in the way, looked for in one room for each source of evidence. Each room reads State and yields factors.

Several may be true at once, and one of them is often what the others come from: the order of ``RANKS`` puts roots before what
follows from them.
"""

from __future__ import annotations

from collections.abc import Iterable

from dispatcher.core.model import NEVER
from dispatcher.frozen import dataclass

LEVELS = ("ok", "busy", "limited", "degraded", "stopped")
"""From good to bad. limited: something keeps more from running; degraded: something is wrong; stopped: nothing can begin."""

MAX_TEXT = 240

RANKS = (
    # who we are, and whether we can see at all
    "not-leading", "loop-stuck", "clock-wrong", "queue-token", "queue-certificate", "queue-unreachable", "queue-garbage",
    "queue-error", "cloud-credentials", "cloud-permission", "subscription-disabled", "cloud-unreachable",
    # what no instance can be made with
    "policy", "resource-group-not-found", "subnet-not-found", "image-not-found", "image-terms", "instance-size", "cloud-error",
    # what no instance can be reached by
    "network-down", "login-refused", "impostor", "does-not-boot", "runner-broken", "instances-silent",
    # what goes wrong with those there are
    "stuck-destroys", "spot-wave", "instances-lost", "destroy-guard", "attempts-fail", "containers-lost", "writes-refused",
    "queue-overloaded", "records-unread", "creates-unknown", "rate-limit", "unkillable", "cloud-list-partial",
    # what keeps more from running
    "fleet-held", "subnet-full", "address-quota", "card-quota", "disk-quota", "quota-spot", "quota-region", "quota",
    "no-capacity", "not-offered", "price-day", "price-hour", "price-supervisors", "max-instances", "initial-quota",
    "supervisors", "pace", "slow-boot", "unsatisfiable", "image-not-allowed", "max-wait",
    # what should be known
    "clock-jump", "disk-full", "reload-refused", "bugs", "calls-given-up", "state-folder", "tags-refused", "leftovers-stay",
    "records-rejected", "insecure", "instance-silent", "instance-lost",
)  # fmt: skip
_RANK = {cause: rank for rank, cause in enumerate(RANKS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One thing that stands in the way. ``text``: one sentence for an operator, with the mend where there is one;
    ``containers``: how many wait because of it; ``since_s``: on the monotonic clock, ``NEVER`` when it is not known."""

    cause: str
    text: str
    level: str = "degraded"
    containers: int = 0
    since_s: float = NEVER


def in_order(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Worst first; of equals the root before what follows from it. One of each cause, the worst."""
    ordered = sorted(factors, key=lambda f: (-LEVELS.index(f.level), _RANK.get(f.cause, len(RANKS)), -f.containers, f.text))
    kept: dict[str, Factor] = {}
    for factor in ordered:
        kept.setdefault(factor.cause, factor)
    return tuple(kept.values())


def cut(text: str, most: int = MAX_TEXT) -> str:
    """A text from outside, bounded for a sentence."""
    return text if len(text) <= most else f"{text[:most]}…"


def span(seconds: float) -> str:
    """A time that has passed, for people."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"
