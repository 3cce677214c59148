"""The pace at which a cloud takes calls, learned from refusals where nobody tells it: not the site, not the driver, no answer.

A refusal for the rate means that the cloud's bucket is empty. So what it took from one refusal to the next is what had flown into
the bucket meanwhile, and that is its rate. It is kept to from then on, and tried again a little faster, the longer the more.
"""

from __future__ import annotations

from dispatcher.core.model import Bucket, Learned, State
from dispatcher.core.values import replace

KINDS = ("create", "list", "destroy", "set_tags", "poll_create")
FIRST_RATE, DOUBLED_S = 10.0, 2.0  # after a first refusal nothing is known: so many a second, and soon more
ENOUGH = 3  # fewer calls between two refusals are counted together with those before them
APART_S = 60.0  # refusals that are further apart tell how much was wanted, not how much was given
FASTER_S = 30.0  # after so long without a refusal it is tried twice as fast, after twice as long five times
FORGET_S = 120.0  # and after this it is forgotten
BURST_S = 1.0  # what flows in for so long may be sent at once: as long as the first pause after a refusal


def bucket_of(kind: str) -> str:
    return f"learned {kind}"


def refused(state: State, kind: str, now: float, until_s: float) -> State:
    """The cloud's bucket is empty, and so is ours. ``until_s``: the end of the pause that follows."""
    if kind not in KINDS:
        return state
    learned = {**state.learned, kind: _once_more(state.learned.get(kind), now, until_s)}
    return replace(state, learned=learned, buckets={**state.buckets, bucket_of(kind): Bucket(tokens=0.0, at_s=now)})


def _once_more(before: Learned | None, now: float, until_s: float) -> Learned:
    if before is None or now - before.since_s > APART_S:
        return Learned(began_s=now, since_s=now, until_s=until_s)
    began_s, taken = before.since_s, before.accepted
    if taken < ENOUGH:
        began_s, taken = before.began_s, before.taken + taken
    return Learned(began_s=began_s, since_s=now, until_s=until_s, taken=taken, least=(rate(before) or 0.0) / 2)


def accepted(state: State, kind: str, now: float) -> State:
    """A call went through. While the pause lasts it is one that was sent before the refusal."""
    before = state.learned.get(kind)
    if before is None:
        return state
    if now >= before.until_s:
        after = replace(before, accepted=before.accepted + 1)
    elif rate(before) is not None:
        after = replace(before, taken=before.taken + 1)
    else:  # what a full bucket held tells nothing
        return state
    return replace(state, learned={**state.learned, kind: after})


def rate(known: Learned) -> float | None:
    """Calls a second between the last two refusals; half of what was known before at the least. None after a first refusal."""
    passed_s = known.since_s - known.began_s
    return max(known.least, max(1, known.taken) / passed_s) if passed_s > 0 else None


def pace(state: State, kind: str, now: float) -> tuple[float, float] | None:
    """Calls a second, and how many may be sent at once; None when nothing is known, or not any more."""
    known = state.learned.get(kind)
    if known is None or now > known.since_s + FORGET_S:
        return None
    measured = rate(known)
    if measured is None:
        return FIRST_RATE * 2.0 ** (max(0.0, now - known.until_s) / DOUBLED_S), FIRST_RATE
    now_rate = measured * (1.0 + (max(0.0, now - known.since_s) / FASTER_S) ** 2)
    return now_rate, max(1.0, now_rate * BURST_S)
