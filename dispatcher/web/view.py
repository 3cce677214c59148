"""What the web layer is handed: a view of the running dispatcher, and the health of it.

Web reads snapshots and posts events; it decides nothing and never learns how the dispatcher is wired. These are protocols, so
that the runtime can offer them without knowing of the web.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry

from dispatcher.core.history import Sample
from dispatcher.core.messages import Event
from dispatcher.core.model import State
from dispatcher.core.verdict import Verdict
from dispatcher.core.why import Group


class Heartbeat(Protocol):
    """One loop: ``age_s`` since its last sign of life; ``late`` when that is longer than it may be."""

    @property
    def name(self) -> str: ...
    @property
    def age_s(self) -> float: ...
    @property
    def late(self) -> bool: ...


class Health(Protocol):
    """``ready``: the dispatcher may act and knows its surroundings. ``problem`` says why it is not; ``warnings`` name what an
    operator should look at while it works on."""

    @property
    def ready(self) -> bool: ...
    @property
    def problem(self) -> str: ...
    @property
    def warnings(self) -> Sequence[str]: ...
    @property
    def heartbeats(self) -> Sequence[Heartbeat]: ...


class Entry(Protocol):
    """One line of the story."""

    @property
    def number(self) -> int: ...
    @property
    def at_s(self) -> float: ...
    @property
    def utc(self) -> str: ...
    @property
    def level(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def container(self) -> str | None: ...
    @property
    def instance(self) -> str | None: ...


class Story(Protocol):
    def entries(
        self, *, container: str | None = None, instance: str | None = None, kind: str | None = None, level: int = 0,
        limit: int = 200,
    ) -> Iterable[Entry]:  # fmt: skip
        """The newest entries that match, oldest first; ``level``: as in logging, none below it."""


class Outlook(Protocol):
    """The verdict and why containers wait, as they were a moment ago."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def groups(self) -> Sequence[Group]: ...


class Setting(Protocol):
    """A value in force: its key, the value as people may see it, and where it comes from."""

    @property
    def path(self) -> str: ...
    @property
    def shown(self) -> str: ...
    @property
    def origin(self) -> object: ...


class View(Protocol):
    """The running dispatcher as the web sees it. Every method is cheap, and safe from many threads at once."""

    def snapshot(self) -> State: ...

    def post(self, event: Event) -> None:
        """Tell the dispatcher what an operator wants."""

    def health(self) -> Health: ...

    def statuses(self) -> Mapping[str, str]:
        """Container uuid → what it waits for, in a sentence."""

    def outlook(self) -> Outlook:
        """The newest that there is; it never makes anybody wait."""

    def samples(self) -> Sequence[Sample]:
        """How it stood, minute by minute, oldest first."""

    def settings(self) -> Sequence[Setting]:
        """Every value in force."""

    def calls(self) -> Mapping[str, Mapping[str, int]]:
        """Operation of the driver → outcome → how many calls, since the start."""

    def boots(self) -> Mapping[str, Mapping[str, int]]:
        """Instance type → outcome → how many boots ended so, lately."""

    def utc(self, at_s: float | None = None) -> str:
        """RFC 3339 UTC text of a monotonic time, or of now."""

    def monotonic(self, unix_s: float | None = None) -> float:
        """The monotonic time of a wall time in Unix seconds, or of now: the other way round."""

    def audit(self, act: Mapping[str, object]) -> None:
        """Write an operator's act down."""

    @property
    def story(self) -> Story: ...
    @property
    def metrics(self) -> CollectorRegistry: ...
