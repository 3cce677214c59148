"""A view of a dispatcher that is only a value: a state to be shown, and a list of what was posted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from dispatcher.core.messages import Event
from dispatcher.core.model import State
from dispatcher.core.transitions import observe

TOKEN = "toy-management-token"
NOW_S = 0.0
START = 1_800_000_000  # the wall time, in Unix seconds, of the monotonic time 0


@dataclass(frozen=True, slots=True)
class FakeBeat:
    name: str
    age_s: float = 0.0
    late: bool = False


@dataclass(frozen=True, slots=True)
class FakeHealth:
    ready: bool = True
    problem: str = ""
    warnings: tuple[str, ...] = ()
    heartbeats: tuple[FakeBeat, ...] = ()


class FakeStory:
    def entries(
        self, *, container: str | None = None, instance: str | None = None, kind: str | None = None, limit: int = 200
    ) -> list[object]:
        return []


@dataclass
class FakeView:
    """Answers with what it holds."""

    state: State = field(default_factory=State)
    judged: FakeHealth = field(default_factory=FakeHealth)
    waiting: Mapping[str, str] = field(default_factory=dict)
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    posted: list[Event] = field(default_factory=list)
    acts: list[Mapping[str, object]] = field(default_factory=list)
    story: FakeStory = field(default_factory=FakeStory)

    def snapshot(self) -> State:
        return self.state

    def post(self, event: Event) -> None:
        self.posted.append(event)
        self.state = observe(self.state, event, NOW_S)

    def health(self) -> FakeHealth:
        return self.judged

    def statuses(self) -> Mapping[str, str]:
        return self.waiting

    def utc(self, at_s: float | None = None) -> str:
        told = datetime.fromtimestamp(START + (at_s or 0.0), UTC).isoformat()
        return re.sub(r"\+00:00$", "Z", told)

    def monotonic(self, unix_s: float | None = None) -> float:
        return NOW_S if unix_s is None else unix_s - START

    def audit(self, act: Mapping[str, object]) -> None:
        self.acts.append(act)
