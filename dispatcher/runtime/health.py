"""How the dispatcher stands, judged from a snapshot and the beats of its loops. Pure.

Ready means: it leads, and has seen the queue and the cloud once in this term. Trouble that it works around is a warning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.core.model import State
from dispatcher.frozen import dataclass

LATE_S = 60.0  # a loop beats every few seconds; silent for so long, it hangs


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """``age_s`` since a loop's last sign of life."""

    name: str
    age_s: float

    @property
    def late(self) -> bool:
        return self.age_s > LATE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``problem`` says why it is not ready; ``warnings`` are for operators while it works on."""

    ready: bool
    problem: str = ""
    warnings: tuple[str, ...] = ()
    heartbeats: tuple[Heartbeat, ...] = ()


def judge(state: State, ages_s: Mapping[str, float], trouble: Sequence[str] = ()) -> Health:
    """``ages_s``: loop → seconds since its last beat; ``trouble``: what the daemon itself met (a full disk)."""
    beats = tuple(Heartbeat(name=name, age_s=age_s) for name, age_s in sorted(ages_s.items()))
    problem = _problem(state, beats)
    return Health(ready=not problem, problem=problem, warnings=(*_warnings(state), *trouble), heartbeats=beats)


def _problem(state: State, beats: Sequence[Heartbeat]) -> str:
    """The first thing that is in the way, in the order in which they are overcome."""
    late = [f"{beat.name} ({beat.age_s:.0f} s)" for beat in beats if beat.late]
    if not beats:
        return "starting: no loop runs yet"
    if late:
        return f"no sign of life from {', '.join(late)}"
    if not state.leadership.leading:
        return f"waiting to lead: {state.leadership.holder or 'asking who leads'}"
    if state.queue.polled_s < state.leadership.since_s:
        return f"waiting for the first complete poll of the queue{_because(state.queue.error)}"
    if state.cloud.listed_s < state.leadership.since_s:
        return f"waiting for the first complete list of instances{_because(state.cloud.error)}"
    return ""


def _because(error: str) -> str:
    return f": {error}" if error else ""


def _warnings(state: State) -> tuple[str, ...]:
    found = [
        state.cloud.alarm,
        f"the queue cannot be read: {state.queue.error}" if state.queue.error else "",
        f"the cloud cannot be listed: {state.cloud.error}" if state.cloud.error else "",
        f"{len(state.queue.rejected)} containers cannot be understood" if len(state.queue.rejected) else "",
    ]
    return tuple(text for text in found if text)
