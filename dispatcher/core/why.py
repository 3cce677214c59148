"""Why does this container wait, and what would have to change? And the same for all who wait, by reason. Pure.

Each change that is named was tried on a copy of State and led to a place for the container: what cannot be tried is not named.
"""

from __future__ import annotations

import itertools

from dispatcher.core import explain, pacing, sizing, spending, what_if
from dispatcher.core.limits import instance_limit
from dispatcher.core.model import NEVER, Container, Fit, Instance, Phase, Requirements, State
from dispatcher.core.reasons import ON_THEIR_WAY, Reason
from dispatcher.core.what_if import Change as Change
from dispatcher.core.what_if import demand, limits, supply
from dispatcher.driver import InstanceType
from dispatcher.frozen import dataclass

MOST_TRIALS, MOST_CHANGES = 40, 12
MOST_AHEAD = 1000  # of those who are served before: with more, it is they who have to be placed first
GROUPS_KEPT = 100
UUIDS_KEPT = 5

SHARED = {
    "booting": "an instance boots for them",
    "creating": "an instance for them is on its way",
    "locking": "they are about to be locked",
    "starting": "they are about to start",
    "moving": "they move to an instance that is ready",
    "preparing": "their runners prepare",
    "writing": "the queue service is being told",
    "last-attempt": "their last attempts have not ended",
    "settling": "it is not settled yet that they run nowhere",
    "unsatisfiable": "constraints not satisfiable by any configured instance type",
    "image-not-allowed": "they ask for an image that they may not have",
    "instance-unfit": "their instances are to go",
    "instance-silent": "their instances do not answer",
    "drained": "their instances are being drained",
    "held": "their instances are on hold",
    "queue-overloaded": "the queue service asks for fewer locks (503)",
    "writes-refused": "what is written to the queue service does not succeed",
    "attempts-fail": "their attempts fail",
}
"""What a group says instead of what differs from container to container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One instance type, and why it is not used for the container; empty: it would be, or is."""

    type: str
    price: float
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """``since_s``: since when it waits, on the monotonic clock."""

    uuid: str
    waits_for: str
    cause: str
    since_s: float
    considered: tuple[Considered, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All who wait for the same. ``oldest_s``: since when the one waits that waits longest; ``uuids``: the first few."""

    cause: str
    text: str
    count: int
    oldest_s: float
    uuids: tuple[str, ...]
    subject: str = ""


def since_s(container: Container) -> float:
    return container.runnable_since_s if container.runnable_since_s is not None else container.first_seen_s


def why(state: State, uuid: str, now: float) -> Why | None:
    """All there is to say of one container; None when it is not known, or has begun."""
    container = state.containers.get(uuid)
    if container is None or not explain.waits(container):
        return None
    reason = explain.reason(state, container, explain.decision(state, now).reasons)
    return Why(
        uuid=uuid, waits_for=reason.text, cause=reason.cause, since_s=since_s(container),
        considered=considered(state, container, reason, now), changes=changes(state, container, reason, now),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ instance types


def considered(state: State, container: Container, reason: Reason, now: float) -> tuple[Considered, ...]:
    """All configured types, cheapest first."""
    offers = sorted(state.settings.instance_types.values(), key=lambda offer: (offer.price, offer.name))
    asks, fit = container.requirements, container.fit
    if asks is None or fit is None:
        return ()
    chosen = _chosen(state, container, reason)
    return tuple(Considered(type=o.name, price=o.price, why_not=_why_not(state, asks, fit, o, chosen, now)) for o in offers)


def _chosen(state: State, container: Container, reason: Reason) -> str:
    """The type on which it has a place, or gets one."""
    if reason.cause not in what_if.PLACED and container.instance is None:
        return ""
    instance = state.instances.get(container.instance or reason.subject)
    return instance.type if instance is not None else reason.subject


def _why_not(state: State, asks: Requirements, fit: Fit, offer: InstanceType, chosen: str, now: float) -> str:
    if offer.name == chosen:
        return ""
    short = "; ".join(sizing.shortfalls(offer, asks, fit.need))
    if short:
        return short
    if fit.problem:
        return fit.problem
    if offer.name not in fit.types:
        lowest = min((state.settings.instance_types[name].price for name in fit.types), default=0.0)
        times = f"{offer.price / lowest:.2f} times the cheapest" if lowest else "more than the cheapest, which is free"
        return f"it costs {times} that fits, and MaximumPriceFactor is {state.settings.maximum_price_factor:g}"
    if chosen:
        return f"{chosen} was chosen"
    held = pacing.holdoff(state, "create", offer.name, now)
    if held is not None:
        return f"{held.kind.value}: {held.reason} (not asked for before {held.until_s - now:.0f} s have passed)"
    left, limit = instance_limit(state)
    return limit.text if left < 1 else spending.why_not(state, offer.name, 0.0, now)


# ------------------------------------------------------------------------------------------------------------------ changes


FINDERS: tuple[what_if.Finder, ...] = (
    demand.wanted, demand.smaller, limits.instances, limits.money, limits.supervisors, supply.operators, supply.refusals,
    limits.dearer, limits.together, demand.beside, supply.pauses, supply.ends,
)  # fmt: skip


def changes(state: State, container: Container, reason: Reason, now: float) -> tuple[Change, ...]:
    """What would have to change, each by itself; what was tried and did not help is left out."""
    if not state.leadership.leading:
        return (Change(text="this dispatcher leads", kind="leader", key="leading", value=True),)
    if reason.cause in what_if.PLACED and reason.subject in state.instances:
        return _comes_up(state, container, state.instances[reason.subject])
    if reason.cause in ON_THEIR_WAY:
        return ()
    served_first = what_if.ahead(state, container)
    before = sum(1 for c in served_first.containers.all() if c.instance is None and explain.waits(c)) - 1
    if before > MOST_AHEAD and container.fit is not None and not container.fit.problem:
        text = f"{before} containers that are served before it have their places"
        return (Change(text=text, kind="queue", key="ahead", value=before),)
    queue = what_if.unhurried(served_first, now)
    found = (trial for finder in FINDERS for trial in finder(queue, container, now))
    return tuple(itertools.islice(what_if.kept(found, container.uuid, now, MOST_TRIALS), MOST_CHANGES))


def _comes_up(state: State, container: Container, instance: Instance) -> tuple[Change, ...]:
    if instance.phase is Phase.READY:
        return ()
    return (Change(text=f"{instance.name} comes up", kind="instance", key=instance.name, value=Phase.READY.value),)


# ------------------------------------------------------------------------------------------------------------------- groups


class _Count:
    __slots__ = ("count", "oldest_s", "reason", "uuids")

    def __init__(self, reason: Reason) -> None:
        self.reason, self.count, self.oldest_s = reason, 0, -NEVER
        self.uuids: list[str] = []

    def with_those(self, others: _Count) -> _Count:
        self.count += others.count
        self.oldest_s = min(self.oldest_s, others.oldest_s)
        self.uuids = [*self.uuids, *others.uuids][:UUIDS_KEPT]
        return self


def groups(state: State, now: float) -> tuple[Group, ...]:
    """Those who wait, by reason: the largest first. At most so many; the last then holds all the others."""
    decided = explain.decision(state, now).reasons
    alike: dict[int, _Count] = {}  # most who wait share one value: nothing is worked out twice for it
    for container in state.containers.all():
        if not explain.waits(container):
            continue
        reason = explain.reason(state, container, decided)
        known = alike.get(id(reason))
        if known is None:
            known = alike[id(reason)] = _Count(reason)
        known.count += 1
        if (at_s := since_s(container)) < known.oldest_s:
            known.oldest_s = at_s
        if known.count <= UUIDS_KEPT:
            known.uuids.append(container.uuid)
    counts: dict[tuple[str, str], _Count] = {}
    for known in alike.values():
        key = (known.reason.cause, _shared(known.reason))
        counts[key] = known if key not in counts else counts[key].with_those(known)
    made = [_group(text, found) for (_, text), found in counts.items()]
    made.sort(key=lambda group: (-group.count, group.cause, group.text))
    return _bounded(made)


def _shared(reason: Reason) -> str:
    """What the sentence of a group says, without what is one container's alone."""
    shared = SHARED.get(reason.cause)
    if shared is None:
        return reason.text
    if reason.cause in ("booting", "creating"):
        _, semicolon, trouble = reason.text.partition("; ")
        return shared if not semicolon or trouble.startswith("since ") else f"{shared}; {trouble}"
    return shared


def _group(text: str, found: _Count) -> Group:
    return Group(
        cause=found.reason.cause, text=text, count=found.count, oldest_s=found.oldest_s, uuids=tuple(found.uuids),
        subject=found.reason.subject,
    )  # fmt: skip


def _bounded(made: list[Group]) -> tuple[Group, ...]:
    if len(made) <= GROUPS_KEPT:
        return tuple(made)
    kept, rest = made[: GROUPS_KEPT - 1], made[GROUPS_KEPT - 1 :]
    others = Group(
        cause="others", text="other reasons", count=sum(group.count for group in rest), uuids=rest[0].uuids,
        oldest_s=min(group.oldest_s for group in rest),
    )  # fmt: skip
    return (*kept, others)
