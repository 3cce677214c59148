"""What the web layer is handed: the running dispatcher, seen through a snapshot, and a slot for events.

It satisfies the web's ``View`` protocol without knowing of the web.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.config.problems import InForce
from dispatcher.core import explain
from dispatcher.core.history import Sample
from dispatcher.core.messages import Event
from dispatcher.core.model import State
from dispatcher.runtime import audit
from dispatcher.runtime.health import Health, judge
from dispatcher.runtime.history import Boots, Calls, History
from dispatcher.runtime.outlook import Outlook, Outlooks
from dispatcher.runtime.ports import Clock
from dispatcher.runtime.story import Story
from dispatcher.runtime.times import rfc3339, utc_at

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

STATUS_AGE_S = 1.0

Explain = Callable[[State, float], Mapping[str, str]]


def unexplained(state: State, now_s: float) -> Mapping[str, str]:
    return {}


def nothing_measured() -> CollectorRegistry:
    from prometheus_client import CollectorRegistry  # here: it comes with the pages, and no start waits for it

    return CollectorRegistry()


class Explained:
    """The sentences for all containers, made anew at most once a second and only when something changed."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._made: tuple[float, int, Mapping[str, str]] = (-STATUS_AGE_S, -1, {})

    def __call__(self, state: State, now_s: float) -> Mapping[str, str]:
        made_s, version, made = self._made
        if version == state.version or now_s - made_s < STATUS_AGE_S:
            return made
        made = explain.statuses(state, now_s)
        self._made = (now_s, state.version, made)
        return made


@dataclass(frozen=True, kw_only=True)
class LiveView:
    """``ages_s`` gives the seconds since each loop's last beat, ``explain`` the sentence for each waiting container, ``trouble``
    what the daemon itself met, ``in_force`` the values of the configuration, ``calls`` how many calls ended how."""

    snapshot: Callable[[], State]
    post: Callable[[Event], None]
    clock: Clock
    story: Story
    ages_s: Callable[[], Mapping[str, float]]
    explain: Explain = unexplained
    trouble: Callable[[], Sequence[str]] = tuple
    metrics: CollectorRegistry = field(default_factory=nothing_measured)
    outlooks: Outlooks | None = None  # none: made anew for everybody who asks
    history: History | None = None
    in_force: Callable[[], Sequence[InForce]] = tuple
    calls: Callable[[], Calls] = dict

    def outlook(self) -> Outlook:
        return (self.outlooks or Outlooks(self.snapshot, self.clock.monotonic)).get()

    def samples(self) -> Sequence[Sample]:
        return self.history.samples() if self.history is not None else ()

    def boots(self) -> Boots:
        return self.history.boots() if self.history is not None else {}

    def settings(self) -> Sequence[InForce]:
        return self.in_force()

    def health(self) -> Health:
        return judge(self.snapshot(), self.ages_s(), self.trouble())

    def statuses(self) -> Mapping[str, str]:
        return self.explain(self.snapshot(), self.clock.monotonic())

    def utc(self, at_s: float | None = None) -> str:
        return rfc3339(self.clock.wall()) if at_s is None else utc_at(self.clock, at_s)

    def monotonic(self, unix_s: float | None = None) -> float:
        now_s = self.clock.monotonic()
        return now_s if unix_s is None else now_s + unix_s - self.clock.wall()

    def audit(self, act: Mapping[str, object]) -> None:
        audit.record(act)
