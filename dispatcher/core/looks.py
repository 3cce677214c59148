"""What one look at the queue asks for, and what it covered. A look is a page or two: no poll reads a queue of fifty thousand.

Containers wait in one order, ``Place``: the highest priority first, then the oldest. A look that began at the top and ended at
some place says nothing of what stands behind it.
"""

from __future__ import annotations

from dispatcher.frozen import dataclass

PAGE = 1000  # the most that the service puts into one answer, and the least that is known of a longer queue
PEEK = 100  # enough to see who is new at the top

Place = tuple[int, str, str]
"""Priority as a negative number, time of creation, uuid."""


def place(priority: int, created_at: str, uuid: str) -> Place:
    return (-priority, created_at, uuid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where to go on: after the first ``passed`` of those whose priority is at most this. What leaves the queue above moves
    nothing here, unlike an offset from the top."""

    priority: int
    passed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What to ask for: what we hold (``own``), and ``size`` of those that wait, from the top or ``after`` a cursor.

    ``full``: with what they ask for. ``exact``: counted with the page, which proves its end. ``count``: counted by a question of
    its own."""

    own: bool = True
    size: int = PAGE
    after: Cursor | None = None
    full: bool = False
    exact: bool = False
    count: bool = False

    @property
    def at_top(self) -> bool:
        return self.after is None and self.size > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a look covered of those that wait: from ``first`` (None: the top) to ``last``, or to the very end (``ended``).
    ``waiting``: how many wait in all, when it was counted. ``lists``: requests that it took."""

    first: Place | None = None
    last: Place | None = None
    ended: bool = True
    after: Cursor | None = None
    records: int = 0
    waiting: int | None = None
    lists: int = 1

    def covers(self, at: Place) -> bool:
        """Whether who waits at this place would have been shown."""
        if self.first is not None and at < self.first:
            return False
        return self.ended or (self.last is not None and at < self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Reading on below the first page: ``read`` records so far, and at least ``goal``, as far as the sweep before it went."""

    began_s: float
    cursor: Cursor | None
    read: int
    goal: int = 0
    ended: bool = False
