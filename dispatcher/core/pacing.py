"""How fast, and when not: token buckets and hold-offs per kind of call, as State and pure functions.

A hold-off has a scope and grows when the refusal repeats; it ends early when an instance is gone, since quota may be free
again. Nothing here waits: planners ask, ``begin`` takes.
"""

from __future__ import annotations

import math

from dispatcher.core.messages import CloudFailure
from dispatcher.core.model import Bucket, Holdoff, HoldoffKind, State
from dispatcher.core.values import replace
from dispatcher.driver import Scope

_FIRST_S = {
    HoldoffKind.QUOTA: 30.0,
    HoldoffKind.CAPACITY: 30.0,
    HoldoffKind.RATE: 5.0,
    HoldoffKind.DENIED: 30.0,
    HoldoffKind.ERROR: 5.0,
}
_LONGEST_S = 600.0
_LONGEST_NAMED_S = 3600.0  # a cloud that names a date may have another clock than we
_FORGET_S = 600.0  # a refusal that comes later than this after the last one is a new one


def _key(state: State, failure: CloudFailure, type_name: str | None) -> str:
    if failure.scope is Scope.EVERYTHING or type_name is None:
        return "*"
    group = state.settings.quota_groups.get(type_name)
    if failure.scope is Scope.GROUP:
        return f"group:{group}" if group is not None else "*"
    return f"type:{type_name}"


def hold_off(state: State, call: str, failure: CloudFailure, type_name: str | None, now: float) -> State:
    """No more of these calls for a while: as long as the cloud asked for, else longer each time."""
    key = _key(state, failure, type_name)
    name = f"{call} {key}"
    before = state.holdoffs.get(name)
    repeated = before is not None and before.kind is failure.kind and now < before.until_s + _FORGET_S
    strikes = before.strikes + 1 if before is not None and repeated else 1
    if before is not None and repeated and now < before.until_s:
        strikes = before.strikes  # sent before the first refusal was known: one burst is one strike
    pause_s = min(_LONGEST_S, _FIRST_S[failure.kind] * 2.0 ** min(strikes - 1, 10))
    if failure.retry_after_s is not None:
        pause_s = min(_LONGEST_NAMED_S, max(0.0, failure.retry_after_s))
    since_s = before.since_s if before is not None and repeated else now
    made = Holdoff(
        call=call, key=key, kind=failure.kind, until_s=now + pause_s, since_s=since_s, strikes=strikes, reason=failure.text
    )
    return replace(state, holdoffs=state.holdoffs.set(name, made))


def holdoff(state: State, call: str, type_name: str | None, now: float) -> Holdoff | None:
    """The hold-off that forbids this call now, if any; the one that lasts longest."""
    keys = ["*"]
    if type_name is not None:
        keys.append(f"type:{type_name}")
        group = state.settings.quota_groups.get(type_name)
        if group is not None:
            keys.append(f"group:{group}")
    found = [held for key in keys if (held := state.holdoffs.get(f"{call} {key}")) is not None and held.until_s > now]
    return max(found, key=lambda held: held.until_s, default=None)


def relieve(state: State, now: float) -> State:
    """An instance is gone: quota may be free again, so its hold-offs end now (a new refusal finds its strikes again)."""
    ended = [
        (name, replace(held, until_s=now))
        for name, held in state.holdoffs.items()
        if held.kind is HoldoffKind.QUOTA and held.until_s > now
    ]
    return replace(state, holdoffs=state.holdoffs.update(ended)) if ended else state


def forgive(state: State, call: str, type_name: str | None, now: float) -> State:
    """A call succeeded: its hold-offs that have run out are forgotten."""
    keys = [f"{call} *"]
    if type_name is not None:
        keys.append(f"{call} type:{type_name}")
        keys.append(f"{call} group:{state.settings.quota_groups.get(type_name)}")
    holdoffs = state.holdoffs
    for name in keys:
        held = holdoffs.get(name)
        if held is not None and held.until_s <= now:
            holdoffs = holdoffs.without(name)
    return replace(state, holdoffs=holdoffs) if holdoffs is not state.holdoffs else state


# ---------------------------------------------------------------------------------------------------------------- buckets


def _rate(state: State, kind: str) -> tuple[str, float | None, float]:
    """Which bucket a call of this kind draws from, how fast it fills (None: unlimited), and how much it holds."""
    settings = state.settings
    if kind == "probe":
        rate = settings.max_probes_per_second
        return "probe", rate, max(1.0, (rate or 0.0) / 20)
    if settings.max_cloud_ops_per_second is not None:
        return "cloud", settings.max_cloud_ops_per_second or None, 1.0
    limits = settings.cloud_limits
    rate = {"create": limits.create, "list": limits.list, "destroy": limits.destroy, "set_tags": limits.set_tags}[kind]
    return kind, rate, float(max(1, limits.burst))


def tokens(state: State, kind: str, now: float) -> float:
    """How many calls of this kind may go now."""
    name, rate, size = _rate(state, kind)
    if rate is None or rate <= 0:
        return math.inf
    bucket = state.buckets.get(name)
    return size if bucket is None else min(size, bucket.tokens + (now - bucket.at_s) * rate)


def next_token_s(state: State, kind: str, now: float) -> float:
    """When the next call of this kind may go."""
    _, rate, _ = _rate(state, kind)
    missing = 1.0 - tokens(state, kind, now)
    return now if missing <= 0 or not rate else now + missing / rate


def take(state: State, kind: str, now: float) -> State:
    """One call of this kind goes now."""
    name, rate, _ = _rate(state, kind)
    if rate is None or rate <= 0:
        return state
    left = Bucket(tokens=tokens(state, kind, now) - 1.0, at_s=now)
    return replace(state, buckets={**state.buckets, name: left})
