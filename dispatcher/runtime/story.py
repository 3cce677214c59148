"""What happened and why, as a bounded log that people can ask; and the teller, which makes it from changes of State.

Under the store's lock a change is only put aside (two references). Sentences, the ring and the log are made by a thread of
their own, so that a slow terminal never holds up a decision.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from dispatcher.core import messages as m
from dispatcher.core.model import State
from dispatcher.frozen import dataclass
from dispatcher.runtime import audit
from dispatcher.runtime.decisions import DECIDED, decisions
from dispatcher.runtime.narrate import Message, narrate
from dispatcher.runtime.ports import Clock
from dispatcher.runtime.probe_account import ProbeAccount, failed_after_boot
from dispatcher.runtime.times import utc_at
from dispatcher.runtime.told import WARNING, Kind, Moment, Told

log = logging.getLogger("dispatcher")

ENTRIES = 10_000
SUBJECTS = 10_000  # containers and instances whose own story is kept beyond that, those that were last heard of
OF_ONE = 200  # of each so many sentences
WAITING = 20_000  # changes that wait to be told, at most: each keeps a whole State alive
LOOK_S = 0.5

# Beginnings of observations: what they bring is told, not that they began.
SILENT = frozenset({
    m.PollQueue, m.ReadContainers, m.ListInstances, m.ProbeInstance, m.PollCreate, m.SaveTags, m.QueueHinted, m.ReadCatalogue,
    m.EventsFlowing,
})  # fmt: skip


AUDITED = frozenset({m.ExpireIdleBehavior, *DECIDED})  # left out last, and only when twice as much waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One sentence with its time: ``at_s`` monotonic, ``utc`` for display. ``number`` counts up without gaps."""

    number: int
    at_s: float
    utc: str
    level: int
    kind: Kind
    text: str
    container: str | None = None
    instance: str | None = None


class Story:
    """The newest sentences, oldest first, and those of each container and instance. Safe from many threads."""

    def __init__(self, clock: Clock, *, size: int = ENTRIES, subjects: int = SUBJECTS) -> None:
        self._clock = clock
        self._ring: deque[Entry] = deque(maxlen=size)
        self._of: OrderedDict[str, deque[Entry]] = OrderedDict()  # by uuid or name, the last heard of at the end
        self._subjects = subjects
        self._count = 0
        self._lock = threading.Lock()

    def record(self, told: Told, at_s: float | None = None) -> Entry:
        at_s = self._clock.monotonic() if at_s is None else at_s
        utc = utc_at(self._clock, at_s)
        with self._lock:
            self._count += 1
            entry = Entry(
                number=self._count, at_s=at_s, utc=utc, level=told.level, kind=told.kind, text=told.text,
                container=told.container, instance=told.instance,
            )  # fmt: skip
            self._ring.append(entry)
            for subject in (entry.container, entry.instance):
                if subject is not None:
                    self._keep(subject, entry)
        return entry

    def _keep(self, subject: str, entry: Entry) -> None:
        """What was last heard of longest ago makes room."""
        if subject not in self._of and len(self._of) >= self._subjects:
            self._of.popitem(last=False)
        self._of.setdefault(subject, deque(maxlen=OF_ONE)).append(entry)
        self._of.move_to_end(subject)

    def entries(
        self,
        *,
        container: str | None = None,
        instance: str | None = None,
        kind: str | None = None,
        level: int = 0,
        after: int = 0,
        limit: int = 200,
    ) -> list[Entry]:
        """The newest ``limit`` entries that match everything given, oldest first; ``after``: only those with a higher number."""
        with self._lock:
            newest = list(self._known(container, instance))
        found: list[Entry] = []
        for entry in reversed(newest):
            if entry.number <= after or len(found) >= limit:
                break
            if _matches(entry, container, instance, kind, level):
                found.append(entry)
        return found[::-1]

    def _known(self, container: str | None, instance: str | None) -> Iterable[Entry]:
        """Where to look: the own story of whom the question is about reaches further back than that of all."""
        subject = container if container is not None else instance
        return self._ring if subject is None else self._of.get(subject, ())


def _matches(entry: Entry, container: str | None, instance: str | None, kind: str | None, level: int) -> bool:
    return (
        (container is None or entry.container == container)
        and (instance is None or entry.instance == instance)
        and (kind is None or entry.kind == kind)
        and entry.level >= level
    )


@dataclass(frozen=True, slots=True)
class _Change:
    at_s: float
    before: State
    after: State
    message: Message


class Teller:
    """Hears every change from the store and tells it, later, to the story and the log."""

    def __init__(
        self, story: Story, clock: Clock, *, tell: Callable[[Told], None] | None = None, waiting: int = WAITING,
        audit_log: Callable[[Mapping[str, object]], None] = audit.record,
    ) -> None:  # fmt: skip
        self._story = story
        self._audit = audit_log
        self._clock = clock
        self._tell = tell or to_log
        self._heard: queue.SimpleQueue[_Change] = queue.SimpleQueue()
        self._waiting = waiting
        self._account = ProbeAccount()
        self._dropped = self._failures_dropped = 0

    def hear(self, before: State, after: State, message: Message) -> None:
        """The store's listener: called under its lock."""
        if type(message) in SILENT:
            return
        if self._heard.qsize() >= self._waiting * (2 if type(message) in AUDITED else 1):
            self._dropped += 1
            self._failures_dropped += failed_after_boot(before, message)
            return
        self._heard.put(_Change(self._clock.monotonic(), before, after, message))

    def tell(self) -> int:
        """Tell all that was heard; how many sentences that gave."""
        count = 0
        while True:
            try:
                count += self._tell_one(self._heard.get_nowait())
            except queue.Empty:
                return count + self._confess() + self._record(self._account.lines(self._clock.monotonic()), None)

    def run(self, stop: threading.Event, more: Callable[[], Sequence[Told]] = list) -> None:
        """The body of its thread: it ends when asked, after everything was told. ``more``: what nobody's change tells."""
        while not stop.is_set():
            self.tell()
            self._record(more(), None)
            stop.wait(LOOK_S)
        self.close()

    def close(self) -> None:
        """Tell everything, also what was put off."""
        self.tell()
        self._record(self._account.close(self._clock.monotonic()), None)

    def _tell_one(self, change: _Change) -> int:
        try:
            self._account.hear(change.before, change.after, change.message, change.at_s)
            told = narrate(change.before, change.after, change.message, change.at_s)
        except Exception:  # a sentence that cannot be made must not silence all others
            log.exception("a change of %s could not be told", type(change.message).__name__)
            return 0
        if (act := audit.expiry(change.before, change.message)) is not None:
            self._audit(act)
        for entry in decisions(change.before, change.after, change.message, change.at_s):
            self._audit({**entry, "At": utc_at(self._clock, change.at_s)})
        return self._record(told, change.at_s)

    def _dated(self, told: Told) -> Told:
        """With its moments as people and tools read them."""
        moments = {name: utc_at(self._clock, of.at_s) for name, of in told.fields.items() if isinstance(of, Moment)}
        return replace(told, fields={**told.fields, **moments}) if moments else told

    def _confess(self) -> int:
        dropped, self._dropped = self._dropped, 0
        failures, self._failures_dropped = self._failures_dropped, 0
        self._account.unheard(failures)
        if not dropped:
            return 0
        return self._record([Told(text=f"{dropped} changes came too fast to be told", kind=Kind.SETTINGS, level=WARNING)], None)

    def _record(self, told: Sequence[Told], at_s: float | None) -> int:
        for one in told:
            self._story.record(one, at_s)
            self._tell(self._dated(one))
        return len(told)


def to_log(told: Told) -> None:
    """Without a look at who calls: that is always this line, and it costs a third of the record."""
    if log.isEnabledFor(told.level):
        log.handle(log.makeRecord(log.name, told.level, "", 0, "%s", (told.text,), None, extra=told.fields))
