"""Pages of a list answer put together: what was asked, what was found, and how far a walk through the queue came.

Records are understood one by one; what cannot be understood is set aside and stops no other. A page ends a list only when the
service's own count says so, or when it is empty.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from dispatcher.core.messages import Cursor, Look, Place, QueueError, QueueFailure, Records, Sight, Span, place
from dispatcher.core.model import ContainerRecord
from dispatcher.edge.records import NotUnderstood, is_container_uuid, parse_record
from dispatcher.frozen import dataclass

MOST_PAGES = 20  # of one look: a service that hands out a record at a time gets no thousand questions


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``available``: how many records the question has in all from here on, when that was asked."""

    items: list[Any]
    available: int | None = None

    @property
    def is_last(self) -> bool:
        return not self.items or (self.available is not None and len(self.items) >= self.available)


class Asked:
    """Asks for pages and counts the requests; after ``until_s`` it asks no more."""

    def __init__(self, ask: Callable[..., Page], until_s: float) -> None:
        self._ask, self._until_s = ask, until_s
        self.lists = 0

    def page(self, **question: Any) -> Page:
        self.lists += 1
        page = self._ask(**question)
        if time.monotonic() > self._until_s:
            raise QueueError(QueueFailure(text="the pages of one list took too long: it is given up"))
        return page


class Walk:
    """How far a look has come among those that wait."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self.left, self.read = look.size, 0
        self._ended, self._pages = False, 0
        self._waiting: int | None = None
        self._priorities: list[object] = []

    def step(self, page: Page, offset: int) -> None:
        """``offset``: where the look began."""
        if self._look.at_top and page.available is not None:
            self._waiting = page.available
        self.read += len(page.items)
        self.left -= len(page.items)
        self._priorities += [item.get("priority") if isinstance(item, dict) else None for item in page.items]
        self._pages += 1
        if self._pages >= MOST_PAGES:
            self.left = 0
        if not page.items or (page.available is not None and offset + self.read >= page.available):
            self._ended, self.left = True, 0

    def span(self, found: Found) -> Span:
        first, last = found.first, found.last
        return Span(
            first=None if self._look.at_top else first, last=last, ended=self._ended, after=self._cursor(last),
            records=self.read, waiting=self._waiting,
        )  # fmt: skip

    def _cursor(self, last: Place | None) -> Cursor | None:
        if last is None:
            return None
        priority, before = -last[0], self._look.after
        passed = before.passed if before is not None and before.priority == priority else 0
        return Cursor(priority=priority, passed=passed + sum(1 for each in self._priorities if each == priority))


Parsed = tuple[dict[str, Any], ContainerRecord]


class Found:
    """What the pages of one question brought, by uuid; a later page wins.

    ``known``: what the last one brought. A container that waits shows the same fields in each poll, and comparing them is
    several times cheaper than understanding them again."""

    def __init__(self, known: Mapping[str, Parsed] | None = None) -> None:
        self._known = known or {}
        self._records: dict[str, ContainerRecord] = {}
        self.parsed: dict[str, Parsed] = {}
        self.rejected: dict[str, str] = {}
        self._pages = 0
        self.first: Place | None = None
        self.last: Place | None = None

    def take(self, items: list[Any], whose: str, *, full: bool = False) -> None:
        self._pages += 1
        for number, item in enumerate(items, 1):
            try:
                record = self._understand(item)
                if full and record.requirements is None:
                    raise NotUnderstood("runtime_constraints or mounts is missing")
            except NotUnderstood as error:
                self._set_aside(name_of(item) or f"record {number} of page {self._pages} {whose}", str(error))
            else:
                self.rejected.pop(record.uuid, None)
                self._records[record.uuid] = record
                self.last = place(record.priority, record.created_at, record.uuid)
                self.first = self.first or self.last

    def _understand(self, item: Any) -> ContainerRecord:
        uuid = item.get("uuid") if isinstance(item, dict) else None
        known = self._known.get(uuid) if isinstance(uuid, str) else None
        record = known[1] if known is not None and known[0] == item else parse_record(item)
        self.parsed[record.uuid] = (item, record)
        return record

    def _set_aside(self, name: str, reason: str) -> None:
        self._records.pop(name, None)
        self.rejected[name] = reason

    def names(self, uuid: str) -> bool:
        return uuid in self._records or uuid in self.rejected

    def records(self) -> Records:
        return Records(records=tuple(self._records.values()), rejected=self.rejected)

    def joined(self, later: Found, span: Span) -> Sight:
        """Both, as one answer: what ``later`` found wins, whether it was understood or not."""
        records = {uuid: record for uuid, record in self._records.items() if uuid not in later.rejected} | later._records
        rejected = {name: why for name, why in self.rejected.items() if name not in later._records} | later.rejected
        return Sight(records=tuple(records.values()), rejected=rejected, span=span)


def name_of(item: object) -> str:
    uuid = item.get("uuid") if isinstance(item, dict) else None
    return uuid if isinstance(uuid, str) and is_container_uuid(uuid) else ""
