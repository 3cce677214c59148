"""What went wrong lately, as a bounded part of State: boots, unexpected ends, jumps of the clock.

Instances that failed are soon gone, and with them what they said. The last of each kind is kept here, so that whoever asks why
nothing runs is told more than "it boots". Recording is done in ``transitions.setbacks``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import field

from dispatcher.core.maps import Map
from dispatcher.core.paces import NEVER, HoldoffKind
from dispatcher.core.problems import ProbeProblem
from dispatcher.core.values import replace
from dispatcher.frozen import dataclass

BOOTS_KEPT = 10  # of each instance type
ENDS_KEPT = CANCELLED_KEPT = 200
TYPES_KEPT = 500
GAP_S = 300.0
COUNTS_S = 1800.0  # a boot that is longer ago says nothing of the next one
UNANSWERED = "create, unanswered"
WAVE_S = 600.0  # ends within this time are one wave


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """How one boot ended. ``error``: of the last probe, or of the create that failed after it was accepted."""

    name: str
    at_s: float
    good: bool
    took_s: float = 0.0
    problem: ProbeProblem = ProbeProblem.NONE
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """An instance ended although nobody here wanted it to, or was given up. ``announced``: the cloud said so before."""

    name: str
    type: str
    at_s: float
    why: str
    preemptible: bool = False
    announced: bool = False
    given_up: bool = False  # it was there, and we destroyed it: it was silent, broken or unkillable


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJump:
    """The wall clock was moved by ``by_s`` against the monotonic one."""

    at_s: float = NEVER
    by_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """We cancelled a container that somebody wanted to run. ``cause`` as in the verdict."""

    uuid: str
    at_s: float
    cause: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The cloud refused calls of one kind for one kind of reason, ``count`` times since ``first_s`` without a long gap."""

    call: str
    kind: HoldoffKind
    text: str
    first_s: float
    last_s: float
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Setbacks:
    """All of it. ``boots``: instance type → the last ones, newest last; ``refusals``: call and kind → the last."""

    boots: Map[tuple[Boot, ...]] = field(default_factory=Map)
    ends: tuple[End, ...] = ()
    refusals: Map[Refusal] = field(default_factory=Map)
    cancelled: tuple[Cancelled, ...] = ()
    clock: ClockJump = field(default_factory=ClockJump)


def refused(setbacks: Setbacks, call: str, kind: HoldoffKind, text: str, now: float) -> Setbacks:
    """One more refusal. After a long gap it is the first again."""
    name = f"{call} {kind.value}"
    before = setbacks.refusals.get(name)
    again = before is not None and now - before.last_s <= GAP_S
    first_s, counted = (before.first_s, before.count + 1) if before is not None and again else (now, 1)
    made = Refusal(call=call, kind=kind, text=text, first_s=first_s, last_s=now, count=counted)
    return replace(setbacks, refusals=setbacks.refusals.set(name, made))


# --------------------------------------------------------------------------------------------------------------- questions


def failed_boots(setbacks: Setbacks, type_name: str, now: float) -> tuple[Boot, ...]:
    """The boots of a type that failed since the last good one, oldest first."""
    failed: list[Boot] = []
    for boot in reversed(setbacks.boots.get(type_name) or ()):
        if boot.good or boot.at_s < now - COUNTS_S:
            break
        failed.append(boot)
    return tuple(reversed(failed))


def recent_ends(setbacks: Setbacks, now: float) -> tuple[End, ...]:
    return tuple(end for end in setbacks.ends if end.at_s > now - WAVE_S)


def commonest(errors: Sequence[str]) -> str:
    """The error that came most often; of equals the newest."""
    counts = Counter(reversed([error for error in errors if error]))
    return counts.most_common(1)[0][0] if counts else ""


def boot_trouble(setbacks: Setbacks, type_name: str, now: float) -> str:
    """That the last boots of a type failed and why, in words; empty while there is nothing to say."""
    failed = failed_boots(setbacks, type_name, now)
    if not failed:
        return ""
    tried = [boot for boot in setbacks.boots.get(type_name) or () if boot.at_s >= now - COUNTS_S]
    which = f"{len(failed)} of the last {len(tried)} instances" if len(tried) > 1 else "the last instance"
    many = f"{which} of type {type_name} did not come up"
    error = commonest([boot.error for boot in failed])
    return f"{many}{f' ({error[:200]})' if error else ''}"
