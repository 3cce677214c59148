"""The values of pacing: hold-offs, token buckets, what the cloud says of its own limits, and money.

A part of State, kept by itself; everybody imports it from ``model``.
"""

from __future__ import annotations

import enum
import math

from dispatcher.frozen import dataclass

NEVER = -math.inf


class HoldoffKind(enum.StrEnum):
    QUOTA = "quota"
    CAPACITY = "capacity"
    RATE = "rate limit"
    DENIED = "credentials"
    UNAVAILABLE = "not offered"  # the cloud's catalogue says so; no call was refused
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdoff:
    """No call of ``call`` (create, list, destroy, set_tags, poll_create, prices, types) for ``key`` until ``until_s``. ``key``
    is ``*`` for everything, ``type:NAME``, ``group:NAME`` or ``offer:NAME`` (not in the cloud's catalogue); ``strikes`` counts
    the refusals in a row and makes it grow."""

    call: str
    key: str
    kind: HoldoffKind
    until_s: float
    since_s: float
    strikes: int
    reason: str
    relieved: bool = False  # it ended early: a refusal that follows is no further strike


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A token bucket: ``tokens`` at ``at_s``."""

    tokens: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """What the cloud's answers say of one kind of call. ``left``: calls that may still be sent, those begun since then taken
    off; None: it did not say. ``limit`` and ``usage`` are of the quota that was touched, in the cloud's own unit."""

    at_s: float
    left: float | None = None
    sent_s: float = NEVER  # when we last began one
    limit: float | None = None
    usage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What refusals for the rate have taught of one kind of call: the last was at ``since_s``, and a pause followed until
    ``until_s``. Between the refusal at ``began_s`` and that one ``taken`` calls went through, since the pause ``accepted``."""

    began_s: float
    since_s: float
    until_s: float
    taken: int = 0
    accepted: int = 0
    least: float = 0.0  # calls a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What instances that are gone have cost in the UTC day that began at ``day_began_s``."""

    day_began_s: float = NEVER  # nobody has told
    closed: float = 0.0
