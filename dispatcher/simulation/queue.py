"""The queue service of the simulation: the server's state machine in memory, and the faults of a network in front of it.

It is also what the simulated runners speak to, and it knows the truth: a container that would run twice at once is a violation.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from dispatcher.core.looks import PAGE, PEEK, Cursor, Look, Place, Span, place
from dispatcher.core.messages import QueueError, QueueFailure, Records, Sight
from dispatcher.core.model import ContainerRecord, ContainerState, Requirements
from dispatcher.runtime.times import rfc3339
from drivers.stub import Ending

EPOCH = 1_700_000_000.0  # the wall time of the World's time 0
LARGEST_STATUS = 4096
UNFIT_TO_SHOW = re.compile(r"[\x00-\x08\x0b-\x1f]|secret[0-9a-f]{16}")  # secrets of instances are made by the World
TOKEN = "zzzzz-gj3su-000000000000000"  # noqa: S105 - the uuid of a token, which is no secret


@dataclass(slots=True, kw_only=True)
class QueueKnobs:
    """Chances between 0 and 1 per call."""

    error_rate: float = 0.0  # nothing happened, and the caller is told so
    lost_answer_rate: float = 0.0  # it happened, and the caller is not told
    overload_rate: float = 0.0  # 503 on a lock
    overloads: int = 0  # so many locks from now on are answered 503
    short_poll_rate: float = 0.0  # a poll that leaves some out (pages shifted under it)
    garbled_rate: float = 0.0  # an answer with a record in it that nobody understands
    tiny_pages: bool = False  # a page holds five and a look at the top shows two: a handful is a long queue
    down_until_s: float = -1.0
    down: tuple[int | None, str] = (None, "no connection to the queue service")  # how it is down: status and text


@dataclass(slots=True, kw_only=True)
class Entry:
    """One container as the server has it. ``attempts_left``: how often a cancelled one is replaced by a fresh one."""

    uuid: str
    requirements: Requirements
    priority: int
    length_s: float
    attempts_left: int
    state: ContainerState = ContainerState.QUEUED
    locked_by: str | None = None
    lock_count: int = 0
    gateway_address: str = ""
    reason: str = ""
    runtime_status: dict[str, object] = field(default_factory=dict)
    root: str = ""  # the first of the row of containers that replaced each other
    created_at: str = ""


def _place(entry: Entry) -> Place:
    return place(entry.priority, entry.created_at, entry.uuid)


@dataclass(slots=True)
class Violations:
    """What must never happen, in words, with the time."""

    now: Callable[[], float]
    found: list[str] = field(default_factory=list)

    def report(self, text: str) -> None:
        self.found.append(f"at {self.now():.3f} s: {text}")


class FakeQueue:
    """``QueuePort`` for dispatchers, ``Workload`` for the stub's runners."""

    def __init__(self, now: Callable[[], float], chance: random.Random, violations: Violations, max_attempts: int = 10):
        self.now, self.chance, self.violations = now, chance, violations
        self.knobs = QueueKnobs()
        self.max_attempts = max_attempts
        self.entries: dict[str, Entry] = {}
        self.running: dict[str, str] = {}  # uuid → instance on which a runner of it is alive
        self.faults: dict[str, int] = {}
        self.starts: dict[str, int] = {}
        self.ended_at: list[tuple[float, str]] = []
        self.lists: list[float] = []  # when a list request came
        self.serial = 0
        self.status_reads = 0
        self.address_of: Callable[[str], str] = lambda instance_id: ""

    # -- what users do

    def submit(self, requirements: Requirements, priority: int, length_s: float, attempts: int = 3, root: str = "") -> str:
        self.serial += 1
        uuid = f"zzzzz-dz642-{self.serial:015d}"
        self.entries[uuid] = Entry(
            uuid=uuid, requirements=requirements, priority=priority, length_s=length_s, attempts_left=attempts - 1,
            root=root or uuid, created_at=rfc3339(EPOCH + self.now()),
        )  # fmt: skip
        return uuid

    def set_priority(self, uuid: str, priority: int) -> None:
        self.entries[uuid].priority = priority
        entry = self.entries[uuid]
        if priority == 0 and entry.state is ContainerState.QUEUED:
            self._finish(entry, ContainerState.CANCELLED, "the user cancelled it")

    def take_lock_away(self, uuid: str) -> None:
        """An administrator unlocks a container, whatever is being done with it: its runner will not be let in."""
        entry = self.entries[uuid]
        if entry.state is ContainerState.LOCKED:
            entry.state, entry.locked_by, entry.runtime_status = ContainerState.QUEUED, None, {}
            self.set_priority(uuid, entry.priority)  # nobody wanted it any more, and only its lock kept it

    def open_entries(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if not entry.state.final]

    # -- the network in front of it

    def _fault(self, what: str, rate: float) -> bool:
        if self.chance.random() >= rate:
            return False
        self.faults[what] = self.faults.get(what, 0) + 1
        return True

    def _arrive(self, call: str) -> None:
        if self.now() < self.knobs.down_until_s:
            status, text = self.knobs.down
            raise QueueError(QueueFailure(text=f"{text} (req-{self.chance.getrandbits(64):020x})", status=status))
        if self._fault(f"{call}: error", self.knobs.error_rate):
            raise QueueError(QueueFailure(text="internal error", status=500))

    def _leave(self, call: str) -> None:
        if self._fault(f"{call}: lost answer", self.knobs.lost_answer_rate):
            raise QueueError(QueueFailure(text="the answer was lost on the way"))

    @staticmethod
    def _refuse(text: str) -> QueueError:
        return QueueError(QueueFailure(text=text, status=422))

    def _record(self, entry: Entry, *, full: bool = False) -> ContainerRecord:
        return ContainerRecord(
            uuid=entry.uuid, state=entry.state, priority=entry.priority, locked_by_uuid=entry.locked_by,
            lock_count=entry.lock_count, created_at=entry.created_at, gateway_address=entry.gateway_address,
            requirements=entry.requirements if full else None,
        )  # fmt: skip

    # -- QueuePort

    def token_uuid(self) -> str:
        self._arrive("token")
        return TOKEN

    def poll(self, look: Look) -> Sight:
        """As the service answers it, page by page: our own by uuid, then those that wait, in their order."""
        self._arrive("poll")
        ours = [e for e in self.entries.values() if e.locked_by == TOKEN] if look.own else []
        pages, span = self._walk(look)
        shown = [self._record(entry, full=look.full) for entry in [*ours, *pages]]
        if self._fault("poll: short", self.knobs.short_poll_rate):
            shown = [record for record in shown if self.chance.random() < 0.7]
        own_lists = max(1, math.ceil(len(ours) / PAGE)) if look.own else 0
        span = replace(span, lists=own_lists + (look.size > 0) + look.count)
        self.lists += [self.now()] * span.lists
        self._leave("poll")
        answer = self._garble("poll", shown)
        return Sight(records=answer.records, rejected=answer.rejected, span=span)

    def _walk(self, look: Look) -> tuple[list[Entry], Span]:
        """Those that a look shows, and what it covered. They are in order already but for a few, which makes sorting cheap."""
        most = look.after.priority if look.after is not None else 1 << 63
        waiting = [e for e in self.entries.values() if e.state is ContainerState.QUEUED and 0 < e.priority <= most]
        skipped = look.after.passed if look.after is not None else 0
        waiting.sort(key=attrgetter("uuid"))
        waiting.sort(key=attrgetter("priority"), reverse=True)
        size = look.size if not self.knobs.tiny_pages else {PAGE: 5, PEEK: 2}.get(look.size, 0)
        page = waiting[skipped : skipped + size]
        lowest = page[-1].priority if page else 0
        before = skipped if page and lowest == most else 0
        span = Span(
            first=_place(page[0]) if page and look.after is not None else None, last=_place(page[-1]) if page else None,
            ended=skipped + len(page) >= len(waiting) if look.exact else len(page) < size, records=len(page),
            after=Cursor(priority=lowest, passed=before + sum(e.priority == lowest for e in page)) if page else None,
            waiting=len(waiting) if look.after is None and (look.exact or look.count) else None,
        )  # fmt: skip
        return page, span

    def read(self, uuids: Sequence[str]) -> Records:
        self._arrive("read")
        self.lists.append(self.now())
        found = [self._record(self.entries[uuid], full=True) for uuid in uuids if uuid in self.entries]
        self._leave("read")
        return self._garble("read", found)

    def _garble(self, call: str, records: list[ContainerRecord]) -> Records:
        if not records or not self._fault(f"{call}: garbled", self.knobs.garbled_rate):
            return Records(records=tuple(records))
        spoilt = self.chance.choice(records)
        kept = tuple(record for record in records if record is not spoilt)
        return Records(records=kept, rejected={spoilt.uuid: "priority is not a number"})

    def lock(self, uuid: str) -> ContainerRecord:
        self.knobs.overloads, forced = max(0, self.knobs.overloads - 1), self.knobs.overloads > 0
        if forced or self._fault("lock: 503", self.knobs.overload_rate):
            raise QueueError(QueueFailure(text="HTTP 503: no reason given", status=503))
        self._arrive("lock")
        entry = self.entries[uuid]
        if entry.state is not ContainerState.QUEUED or entry.priority < 1:
            raise self._refuse(f"cannot lock when {entry.state.value}")
        entry.state, entry.locked_by, entry.lock_count = ContainerState.LOCKED, TOKEN, entry.lock_count + 1
        self._leave("lock")
        return self._short(entry)

    def _short(self, entry: Entry) -> ContainerRecord:
        return ContainerRecord(
            uuid=entry.uuid, state=entry.state, priority=entry.priority, locked_by_uuid=entry.locked_by
        )

    def unlock(self, uuid: str) -> ContainerRecord:
        self._arrive("unlock")
        entry = self.entries[uuid]
        if entry.state is not ContainerState.LOCKED:
            raise self._refuse(f"cannot unlock when {entry.state.value}")
        if uuid in self.running:
            self.violations.report(f"{uuid} is unlocked while its runner is alive on {self.running[uuid]}")
        entry.state, entry.locked_by, entry.runtime_status = ContainerState.QUEUED, None, {}
        if entry.lock_count >= self.max_attempts:
            self._finish(entry, ContainerState.CANCELLED, "too many attempts")
        elif entry.priority < 1:
            self._finish(entry, ContainerState.CANCELLED, "the user cancelled it")
        self._leave("unlock")
        return self._short(entry)

    def runtime_status(self, uuid: str) -> Mapping[str, object]:
        self.status_reads += 1
        self._arrive("status")
        status = dict(self.entries[uuid].runtime_status)
        self._leave("status")
        return status

    def cancel(self, uuid: str, runtime_status: Mapping[str, str]) -> ContainerRecord:
        self._arrive("cancel")
        entry = self.entries[uuid]
        if entry.state.final:
            raise self._refuse(f"State cannot change from {entry.state.value} to Cancelled")
        if not all(isinstance(value, str) for value in runtime_status.values()):
            raise self._refuse("Runtime status value must be a string")
        self._judge_cancel(entry, runtime_status)
        entry.runtime_status = dict(runtime_status)  # the whole object: what was not sent again is gone
        self._finish(entry, ContainerState.CANCELLED, runtime_status.get("error", ""))
        self._leave("cancel")
        return self._short(entry)

    def _judge_cancel(self, entry: Entry, status: Mapping[str, str]) -> None:
        """What a user would complain about."""
        if (name := self.running.get(entry.uuid)) is not None:
            self.violations.report(f"{entry.uuid} is cancelled ({status}) while its runner is alive on {name}")
        if not status.get("error"):
            self.violations.report(f"{entry.uuid} is cancelled without a reason")
        if UNFIT_TO_SHOW.search("".join(status.values())):
            self.violations.report(f"{entry.uuid} is cancelled, and its runtime_status holds what nobody may see")
        lost = [key for key in entry.runtime_status if key not in status]
        if lost:
            self.violations.report(f"{entry.uuid} is cancelled, and its runtime_status loses {lost}")
        if len(json.dumps(dict(status))) > LARGEST_STATUS:
            self.violations.report(f"{entry.uuid} is cancelled with a runtime_status of {len(json.dumps(dict(status)))} bytes")

    def _finish(self, entry: Entry, state: ContainerState, reason: str) -> None:
        entry.state, entry.reason, entry.locked_by = state, reason, None
        if state is ContainerState.CANCELLED and entry.attempts_left > 0 and entry.priority > 0:
            again = self.submit(entry.requirements, entry.priority, entry.length_s, entry.attempts_left, entry.root)
            self.entries[again].root = entry.root

    # -- Workload: what runners do

    def admits(self, uuid: str, instance_id: str, at_s: float) -> bool:
        other = self.running.get(uuid)
        if other is not None and other != instance_id:
            self.violations.report(f"{uuid} runs on {other}, and a second runner begins on {instance_id}")
        self.running[uuid] = instance_id
        self.starts[uuid] = self.starts.get(uuid, 0) + 1
        return self.entries[uuid].state is ContainerState.LOCKED

    def began(self, uuid: str, instance_id: str, at_s: float) -> bool:
        entry = self.entries[uuid]
        if entry.state is not ContainerState.LOCKED:
            return False
        entry.state = ContainerState.RUNNING
        entry.runtime_status = {"activity": "the runner says what it does", "steps": self.serial}
        entry.gateway_address = f"{self.address_of(instance_id)}:{20000 + self.serial}"
        return True

    def ended(self, uuid: str, instance_id: str, at_s: float, ending: Ending, began: bool) -> None:
        self.ended_at.append((at_s, uuid))
        if self.running.get(uuid) == instance_id:
            del self.running[uuid]
        entry = self.entries[uuid]
        if not began or entry.state is not ContainerState.RUNNING:
            return
        if ending is Ending.FINISHED:
            self._finish(entry, ContainerState.COMPLETE, "")
        elif ending is Ending.TERMINATED:
            self._finish(entry, ContainerState.CANCELLED, "the runner was asked to stop")
