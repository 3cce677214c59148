"""A view of a dispatcher that is only a value: a state to be shown, and a list of what was posted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from dispatcher.core.history import Sample
from dispatcher.core.messages import Event
from dispatcher.core.model import State
from dispatcher.core.transitions import observe
from dispatcher.core.verdict import Verdict, verdict
from dispatcher.core.why import Group, groups

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeEntry:
    text: str
    number: int = 1
    at_s: float = 0.0
    level: int = 20
    kind: str = "instance"
    container: str | None = None
    instance: str | None = None
    utc: str = ""


@dataclass(frozen=True, slots=True)
class FakeSetting:
    path: str
    shown: str
    origin: str = "default"


@dataclass
class FakeStory:
    told: list[FakeEntry] = field(default_factory=list)

    def entries(
        self, *, container: str | None = None, instance: str | None = None, kind: str | None = None, level: int = 0,
        limit: int = 200,
    ) -> list[FakeEntry]:  # fmt: skip
        return [
            each for each in self.told
            if container in (None, each.container) and instance in (None, each.instance) and each.level >= level
        ][-limit:]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FakeOutlook:
    verdict: Verdict
    groups: Sequence[Group]


@dataclass
class FakeView:
    """Answers with what it holds."""

    state: State = field(default_factory=State)
    judged: FakeHealth = field(default_factory=FakeHealth)
    waiting: Mapping[str, str] = field(default_factory=dict)
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    posted: list[Event] = field(default_factory=list)
    acts: list[Mapping[str, object]] = field(default_factory=list)
    now_s: float = NOW_S
    taken: list[Sample] = field(default_factory=list)
    in_force: list[FakeSetting] = field(default_factory=list)
    called: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    booted: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    story: FakeStory = field(default_factory=FakeStory)

    def snapshot(self) -> State:
        return self.state

    def post(self, event: Event) -> None:
        self.posted.append(event)
        self.state = observe(self.state, event, self.now_s)

    def health(self) -> FakeHealth:
        return self.judged

    def statuses(self) -> Mapping[str, str]:
        return self.waiting

    def utc(self, at_s: float | None = None) -> str:
        told = datetime.fromtimestamp(START + (self.now_s if at_s is None else at_s), UTC).isoformat()
        return re.sub(r"\+00:00$", "Z", told)

    def monotonic(self, unix_s: float | None = None) -> float:
        return self.now_s if unix_s is None else unix_s - START

    def outlook(self) -> FakeOutlook:
        return FakeOutlook(verdict(self.state, self.now_s), groups(self.state, self.now_s))

    def samples(self) -> list[Sample]:
        return self.taken

    def settings(self) -> list[FakeSetting]:
        return self.in_force

    def calls(self) -> Mapping[str, Mapping[str, int]]:
        return self.called

    def boots(self) -> Mapping[str, Mapping[str, int]]:
        return self.booted

    def audit(self, act: Mapping[str, object]) -> None:
        self.acts.append(act)
