"""Is it healthy, and what limits it? One sentence from State alone, and every factor behind it, the worst first.

What only the process itself can know (a loop that hangs, a full disk) is handed in as further factors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from dispatcher.core.factors import LEVELS as LEVELS
from dispatcher.core.factors import Factor as Factor
from dispatcher.core.factors import cloud, count, cut, fleet, in_order, queue, span, waiting
from dispatcher.core.model import ContainerState, Phase, State
from dispatcher.core.why import Group, groups
from dispatcher.frozen import dataclass

STARTING_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``level``: ok, busy, limited, degraded or stopped; ``cause``: a stable slug; ``text``: the one sentence; ``factors``: all
    that was found, worst first. At ok and busy there may be factors that are worth knowing and limit nothing."""

    level: str
    cause: str
    text: str
    factors: tuple[Factor, ...] = ()


def verdict(state: State, now: float, troubles: Sequence[Factor] = ()) -> Verdict:
    """``troubles``: what the process itself met."""
    found = in_order([*_found(state, now), *troubles])
    if found and LEVELS.index(found[0].level) >= LEVELS.index("limited"):
        return Verdict(level=found[0].level, cause=found[0].cause, text=found[0].text, factors=found)
    level, cause, text = _calm(state, now)
    return Verdict(level=level, cause=cause, text=text, factors=found)


def _found(state: State, now: float) -> Iterator[Factor]:
    if not state.leadership.leading:
        yield _watching(state)
        return
    yield from queue.factors(state, now)
    yield from cloud.factors(state, now)
    yield from fleet.factors(state, now)
    if _known(state):
        yield from waiting.factors(state, groups(state, now), now)


def _watching(state: State) -> Factor:
    holder = state.leadership.holder
    if "refuses" in holder and "token" in holder:
        return Factor(cause="queue-token", text=f"it does not lead, {cut(holder)}", level="stopped")
    who = f": {cut(holder)}" if holder else ""
    return Factor(cause="not-leading", text=f"another dispatcher leads, this one only watches{who}", level="stopped")


def _known(state: State) -> bool:
    """Whether queue and cloud have been seen in this term."""
    since_s = state.leadership.since_s
    return state.queue.polled_s >= since_s and state.cloud.listed_s >= since_s


# --------------------------------------------------------------------------------------------------------- nothing is wrong


def _calm(state: State, now: float) -> tuple[str, str, str]:
    if not _known(state):
        for_s = now - state.leadership.since_s
        level = "busy" if for_s < STARTING_S else "limited"
        what = "queue" if state.queue.polled_s < state.leadership.since_s else "cloud"
        return level, "starting", f"it leads since {span(for_s)} and has not seen the whole {what} yet"
    found = [group for group in groups(state, now) if group.cause not in waiting.NOBODY]
    running = sum(1 for c in state.containers.all() if c.state is ContainerState.RUNNING)
    runs = f"{count(running, 'container')} {'runs' if running == 1 else 'run'}"
    if found:
        return "busy", found[0].cause, f"{runs}, {_on_their_way(state, found)}"
    if running:
        return "ok", "running", f"{runs} and nobody waits"
    return "ok", "idle", f"nothing waits and nothing runs; {count(len(state.instances), 'instance')}"


def _on_their_way(state: State, found: Sequence[Group]) -> str:
    """Of those who wait without anything being in the way."""
    number = sum(group.count for group in found)
    phases = Counter(i.phase for i in state.instances.all())
    coming = phases[Phase.CREATING] + phases[Phase.BOOTING]
    for_them = f" ({count(coming, 'instance')} on the way)" if coming else ""
    return f"{number} {'is' if number == 1 else 'are'} on the way{for_them}: {found[0].text}"
