"""How fast, and when not: token buckets and hold-offs per kind of call, as State and pure functions.

A hold-off has a scope and grows when the refusal repeats; it ends early when an instance is gone, since quota may be free
again. Nothing here waits: planners ask, ``begin`` takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from dispatcher.core import learned, setbacks
from dispatcher.core.messages import CallReported, CloudFailure
from dispatcher.core.model import NEVER, Bucket, CallReport, Holdoff, HoldoffKind, State
from dispatcher.core.values import replace
from dispatcher.driver import Scope

_FIRST_S = {
    HoldoffKind.QUOTA: 30.0,
    HoldoffKind.CAPACITY: 30.0,
    HoldoffKind.RATE: 1.0,
    HoldoffKind.DENIED: 30.0,
    HoldoffKind.UNAVAILABLE: 30.0,
    HoldoffKind.ERROR: 5.0,
}
LONGEST_S = 600.0
LONGEST_NAMED_S = 3600.0  # a cloud that names a date may have another clock than we
LEAST_NAMED_S = 0.5  # one that says "at once" each time would be asked as fast as it refuses
FORGET_S = 600.0  # a refusal that comes later than this after the last one is a new one

FEW_CALLS = 10  # fewer than this remain: they are spread ...
SPREAD_S = 30.0  # ... over half a minute and more, the fewer the slower
_PATIENT = ("create", "poll_create")  # of many at once; lists, destroys and tags always find one left
SLOWER = 1.02  # than the cloud grants new calls, where that rate is known
LATE_ANSWER_S = 2.0  # answers come in any order: for so long none promises more again, where no rate is known that would grant it
REPORT_COUNTS_S = 300.0  # what an answer said of the calls that remain is of no use after this
PROBES_S = 0.25  # the probes of so long may begin at once: the loop that begins a thousand of them each second looks no oftener


# --------------------------------------------------------------------------------------------------------------- hold-offs


def _key(state: State, failure: CloudFailure, type_name: str | None) -> str:
    if failure.scope is Scope.EVERYTHING or type_name is None:
        return "*"
    group = state.settings.quota_groups.get(type_name)
    if failure.scope is Scope.GROUP:
        return f"group:{group}" if group is not None else "*"
    return f"type:{type_name}"


def _keys(state: State, type_name: str | None) -> Iterator[str]:
    """Every key under which a hold-off can concern a call for this type."""
    yield "*"
    if type_name is not None:
        yield f"type:{type_name}"
        yield f"offer:{type_name}"
        group = state.settings.quota_groups.get(type_name)
        if group is not None:
            yield f"group:{group}"


def hold_off(
    state: State, call: str, failure: CloudFailure, type_name: str | None, now: float, longest_s: float = LONGEST_S
) -> State:
    """No more of these calls for a while: as long as the cloud asked for, else longer each time, up to ``longest_s``."""
    key = _key(state, failure, type_name)
    name = f"{call} {key}"
    before = state.holdoffs.get(name)
    repeated = before is not None and before.kind is failure.kind and now < before.until_s + FORGET_S
    strikes = before.strikes + 1 if before is not None and repeated else 1
    if before is not None and repeated and (now < before.until_s or before.relieved):
        strikes = before.strikes  # sent before the first refusal was known, or earlier than it asked for: no further strike
    pause_s = min(longest_s, _FIRST_S[failure.kind] * 2.0 ** min(strikes - 1, 10))
    if failure.retry_after_s is not None:
        pause_s = min(LONGEST_NAMED_S, max(LEAST_NAMED_S, failure.retry_after_s))
    since_s = before.since_s if before is not None and repeated else now
    made = Holdoff(
        call=call, key=key, kind=failure.kind, until_s=now + pause_s, since_s=since_s, strikes=strikes, reason=failure.text
    )
    if failure.kind is HoldoffKind.RATE and (before is None or now >= before.until_s):
        state = learned.refused(state, call, now, made.until_s)
    noted = setbacks.refused(state.setbacks, call, failure.kind, failure.text, now)
    return replace(state, holdoffs=state.holdoffs.set(name, made), setbacks=noted)


def hold_off_all(state: State, call: str, failure: CloudFailure, now: float) -> State:
    """After a failed call that is about one instance: others of its kind wait only when the cloud refuses them all."""
    if failure.kind in (HoldoffKind.RATE, HoldoffKind.DENIED) or failure.scope is Scope.EVERYTHING:
        return hold_off(state, call, failure, None, now)
    return state


def holdoff(state: State, call: str, type_name: str | None, now: float) -> Holdoff | None:
    """The hold-off that forbids this call now, if any; the one that lasts longest."""
    if not len(state.holdoffs):
        return None
    names = (f"{call} {key}" for key in _keys(state, type_name))
    found = [held for name in names if (held := state.holdoffs.get(name)) is not None and held.until_s > now]
    return max(found, key=lambda held: held.until_s, default=None)


def relieve(state: State, type_name: str, now: float) -> State:
    """An instance of this type is going or gone: quota may be free again, and so may be the room that it took. The hold-offs
    that this concerns end now; a new refusal finds its strikes again."""
    ours = {f"create {key}" for key in _keys(state, type_name)}
    ended = [
        (name, replace(held, until_s=now, relieved=True))
        for name, held in state.holdoffs.items()
        if held.until_s > now and (held.kind is HoldoffKind.QUOTA or (held.kind is HoldoffKind.CAPACITY and name in ours))
    ]
    return replace(state, holdoffs=state.holdoffs.update(ended)) if ended else state


def forgive(state: State, call: str, type_name: str | None, now: float) -> State:
    """A call succeeded: its hold-offs that have run out are forgotten."""
    state = learned.accepted(state, call, now)
    holdoffs = state.holdoffs
    for name in [f"{call} {key}" for key in _keys(state, type_name)]:
        held = holdoffs.get(name)
        if held is not None and held.until_s <= now:
            holdoffs = holdoffs.without(name)
    return replace(state, holdoffs=holdoffs) if holdoffs is not state.holdoffs else state


# ----------------------------------------------------------------------------------------------------- what the cloud says


def reported(state: State, event: CallReported, now: float) -> State:
    """What an answer said beside the answer: how many calls are left, when to come back, how much of a quota is used."""
    before = state.reports.get(event.call) or CallReport(at_s=now)
    left = before.left if event.calls_remaining is None else event.calls_remaining - _in_flight(state, event.call)
    if left is not None and before.left is not None and now < before.at_s + LATE_ANSWER_S:
        left = min(left, before.left) if _own_rates(state, event.call)[1] is None else left
    after = replace(
        before, at_s=now if event.calls_remaining is not None else before.at_s, left=left,
        limit=before.limit if event.limit is None else event.limit,
        usage=before.usage if event.usage is None else event.usage,
    )  # fmt: skip
    if after != before or event.call not in state.reports:
        state = replace(state, reports={**state.reports, event.call: after})
    return _pause(state, event.call, event.retry_after_s, now) if event.retry_after_s else state


def _in_flight(state: State, call: str) -> int:
    """Calls of this kind whose answers are still to come: what another answer said did not know of them."""
    instances = state.instances.all()
    match call:
        case "create":
            return sum(1 for i in instances if i.creating)
        case "destroy":
            return sum(1 for i in instances if i.destroy is not None and i.destroy.in_flight)
        case "set_tags":
            return sum(1 for i in instances if i.saving_tags)
        case "poll_create":
            return sum(1 for i in instances if i.polling_create)
    return 0


def _pause(state: State, call: str, pause_s: float, now: float) -> State:
    """The cloud answered and asked for a pause all the same. A longer hold-off stands."""
    name, until_s = f"{call} *", now + min(LONGEST_NAMED_S, pause_s)
    before = state.holdoffs.get(name)
    if before is not None and before.until_s >= until_s:
        return state
    if before is not None and before.until_s > now:
        return replace(state, holdoffs=state.holdoffs.set(name, replace(before, until_s=until_s)))
    reason = "the cloud asked for a pause in its answer"
    made = Holdoff(call=call, key="*", kind=HoldoffKind.RATE, until_s=until_s, since_s=now, strikes=1, reason=reason)
    return replace(state, holdoffs=state.holdoffs.set(name, made))


def usage(state: State, call: str) -> str:
    """The quota that this kind of call last touched, in words; empty when no answer named one."""
    report = state.reports.get(call)
    if report is None or report.limit is None:
        return ""
    used = "" if report.usage is None else f"{report.usage:g} of "
    return f" (the cloud counts {used}{report.limit:g})"


def _remaining(state: State, kind: str, now: float) -> float:
    """How many calls may go by what the cloud said of those that remain: the last few are spread."""
    report = state.reports.get(kind)
    if report is None or report.left is None or now >= report.at_s + REPORT_COUNTS_S:
        return math.inf
    _, known = _own_rates(state, kind)
    left = report.left + (now - report.at_s) * (known or 0.0)
    if left >= FEW_CALLS:
        return left - FEW_CALLS + 1
    return 1.0 if now >= _spread_until_s(report, known) else 0.0


def _told(state: State, kind: str, now: float) -> bool:
    """Whether answers tell how many calls remain."""
    report = state.reports.get(kind)
    return report is not None and report.left is not None and now < report.at_s + REPORT_COUNTS_S


def _spread_until_s(report: CallReport, known: float | None) -> float:
    """When the next of the last few calls may go: by and by, and where the rate is known at which the cloud grants new ones,
    a little slower than that, so that a few remain."""
    left = max(0.0, report.left or 0.0)
    pause_s = SPREAD_S / (1.0 + left)
    return report.sent_s + (min(pause_s, SLOWER / known) if known else pause_s)


# ---------------------------------------------------------------------------------------------------------------- buckets


class _Draw(NamedTuple):
    """A bucket that a call draws from: how fast it fills, how much it holds, and what this kind of call leaves to others."""

    name: str
    rate: float
    size: float
    leaves: float = 0.0


def _draws(state: State, kind: str, now: float) -> Iterator[_Draw]:
    """The buckets of a kind of call: the one that all calls share, and its own."""
    settings = state.settings
    if kind == "probe":
        if settings.max_probes_per_second:
            yield _Draw("probe", settings.max_probes_per_second, max(1.0, settings.max_probes_per_second * PROBES_S))
        return
    if settings.max_cloud_ops_per_second:
        rate = settings.max_cloud_ops_per_second
        size = float(settings.cloud_ops_burst or max(2.0, rate))
        leaves = kind in _PATIENT and size >= 2 and rate >= 1  # at a slower pace the others alone would use it up
        yield _Draw("cloud", rate, size, leaves=1.0 if leaves else 0.0)
    own, known = _own_rates(state, kind)
    if own:
        yield _Draw(kind, own, float(settings.cloud_ops_burst or max(1.0, own)))
    elif known:
        yield _Draw(kind, known, float(max(1, settings.cloud_limits.burst)))
    elif not _told(state, kind, now) and (pace := learned.pace(state, kind, now)) is not None:
        yield _Draw(learned.bucket_of(kind), *pace)


def _own_rates(state: State, kind: str) -> tuple[float | None, float | None]:
    """What the site allows for this kind of call, and what the driver knows of its cloud."""
    settings, limits = state.settings, state.settings.cloud_limits
    match kind:
        case "create":
            return settings.max_creates_per_second, limits.create
        case "list":
            return settings.max_lists_per_second, limits.list
        case "destroy":
            return settings.max_destroys_per_second, limits.destroy
        case "set_tags":
            return settings.max_tag_updates_per_second, limits.set_tags
    return None, None


def _level(state: State, draw: _Draw, now: float) -> float:
    """What this kind of call finds in the bucket."""
    bucket = state.buckets.get(draw.name)
    level = draw.size if bucket is None else min(draw.size, bucket.tokens + (now - bucket.at_s) * draw.rate)
    return level - draw.leaves


def tokens(state: State, kind: str, now: float) -> float:
    """How many calls of this kind may go now."""
    levels = (_level(state, draw, now) for draw in _draws(state, kind, now))
    return min([_remaining(state, kind, now), *levels])


def next_token_s(state: State, kind: str, now: float) -> float:
    """When the next call of this kind may go."""
    times = [now]
    for draw in _draws(state, kind, now):
        missing = 1.0 - _level(state, draw, now)
        if missing > 0:
            times.append(now + missing / draw.rate)
    report = state.reports.get(kind)
    if report is not None and _remaining(state, kind, now) < 1:
        times.append(min(_spread_until_s(report, _own_rates(state, kind)[1]), report.at_s + REPORT_COUNTS_S))
    return max(times)


def take(state: State, kind: str, now: float) -> State:
    """One call of this kind goes now."""
    changed = {
        draw.name: Bucket(tokens=_level(state, draw, now) + draw.leaves - 1.0, at_s=now) for draw in _draws(state, kind, now)
    }
    if changed:
        state = replace(state, buckets={**state.buckets, **changed})
    report = state.reports.get(kind)
    if report is not None and report.left is not None:
        state = replace(state, reports={**state.reports, kind: replace(report, left=report.left - 1.0, sent_s=now)})
    return state


# ---------------------------------------------------------------------------------------------------------------- to be told


def in_force(state: State, kind: str) -> tuple[float | None, str]:
    """The pace that limits this kind of call, per second, and who set it; None while nobody has."""
    draws = list(_draws(state, kind, NEVER))
    if not draws:
        return None, "no limit known"
    slowest = min(draws, key=lambda draw: draw.rate)
    if slowest.name == "cloud":
        return slowest.rate, "the site, for all calls together"
    if slowest.name == learned.bucket_of(kind):
        return slowest.rate, "the cloud, as its refusals taught"
    own, _ = _own_rates(state, kind)
    return slowest.rate, "the site" if own else "the driver, which knows its cloud"
