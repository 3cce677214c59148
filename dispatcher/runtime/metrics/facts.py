"""What happened, read off the changes of State: boot outcomes, losses, how long things took.

The store's listener only puts a change aside (two references). It is looked at later, outside the store's lock; when too many
wait, neighbours are merged, so that nothing is forgotten but what came and went in between.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

from dispatcher.core import messages as m
from dispatcher.core.model import NEVER, Container, ContainerState, DestroyCause, Instance, Phase, Process, ProcessPhase, State
from dispatcher.meters import catalogue as c
from dispatcher.meters.instruments import Board
from dispatcher.meters.series import Series
from dispatcher.runtime.metrics.categories import worker_state
from dispatcher.runtime.metrics.cost import Cost
from dispatcher.runtime.ports import Clock
from dispatcher.runtime.times import unix_s

Message = m.Event | m.Action

WAITING = 5_000  # changes that wait to be looked at, at most: each keeps a whole State alive
LOOK_S = 1.0
BEGINNINGS = frozenset({
    m.PollQueue, m.ReadContainers, m.ListInstances, m.ProbeInstance, m.PollCreate, m.SaveTags, m.ReadCatalogue,
})  # fmt: skip

_BEFORE_READY = (Phase.CREATING, Phase.BOOTING, Phase.UNKNOWN)
_NOT_YET = (ProcessPhase.STARTING, ProcessPhase.UNCERTAIN)
_FAILED_BOOT = (DestroyCause.BOOT_TIMEOUT, DestroyCause.CREATE_FAILED)

SERIES = (
    c.BOOT_OUTCOMES, c.TYPED_OUTCOMES, c.DISAPPEARED, c.UNEXPECTED, c.DESTROYED, c.CREATE_FAILING, c.COST,
    c.TIME_TO_SSH, c.SSH_HISTOGRAM, c.TIME_TO_READY, c.READY_HISTOGRAM, c.TIME_TO_GONE, c.GONE_HISTOGRAM,
    c.QUEUE_TO_START, c.START_HISTOGRAM, c.RUNNABLE_TO_STARTED, c.SEEN_TO_LOCKED, c.READY_TO_STARTED,
    c.ATTEMPTS_FAILED, c.CONTAINERS_LOST,
)  # fmt: skip

log = logging.getLogger(__name__)


def boot_outcome(before: Instance | None, after: Instance | None) -> str | None:
    """How the boot of an instance ended, if this change ended it. Each instance that the cloud accepted ends once."""
    if before is not None and before.phase not in _BEFORE_READY:
        return None
    if after is None:
        return "disappeared" if before is not None and before.id is not None else None
    if after.ready_s is not None:
        return "success"
    if after.phase is not Phase.SHUTDOWN:
        return None
    failed = after.broken or (after.destroy is not None and after.destroy.cause in _FAILED_BOOT)
    return "failure" if failed else "aborted"


@dataclass(slots=True)
class _Change:
    at_s: float
    before: State
    after: State


class Recorder:
    """``hear`` is the store's listener, ``catch_up`` looks at what was heard."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.board = Board(SERIES)
        self.bugs = 0
        self._cost = Cost(self.board)
        self._heard: deque[_Change] = deque()
        self._lock = threading.Lock()
        self._first_reached_s: dict[str, float] = {}  # booting instances: when SSH first answered
        self._unused: set[str] = set()  # instances that are ready and on which nothing was started yet

    def hear(self, before: State, after: State, message: Message) -> None:
        """Called under the store's lock: it only takes note, and never raises."""
        if type(message) in BEGINNINGS:
            return
        if before.instances is after.instances and before.containers is after.containers and before.settings is after.settings:
            return
        at_s = self._clock.monotonic()
        if len(self._heard) >= WAITING:
            try:
                last = self._heard.pop()
                at_s, before = last.at_s, last.before
            except IndexError:  # all of them have just been taken
                pass
        self._heard.append(_Change(at_s, before, after))

    def waiting(self) -> int:
        return len(self._heard)

    def run(self, stop: threading.Event) -> None:
        """The body of its thread."""
        while not stop.wait(LOOK_S):
            self.catch_up()

    def catch_up(self, now_s: float | None = None) -> None:
        """Look at all that was heard. With ``now_s`` the accounts are settled as well."""
        with self._lock:
            while self._heard:
                self._survey(self._heard.popleft())
            if now_s is not None:
                self._cost.settle(now_s)

    def _survey(self, change: _Change) -> None:
        try:
            self._look(change.before, change.after, change.at_s)
        except Exception:
            log.exception("a change of State could not be counted")
            self.bugs += 1

    def _look(self, before: State, after: State, at_s: float) -> None:
        if before.settings is not after.settings:
            self._cost.reprice(before.instances, after.settings, at_s)
        if before.instances is not after.instances:
            for name in after.instances.changed_since(before.instances):
                self._instance(before.instances.get(name), after.instances.get(name), after, at_s)
        if before.containers is not after.containers:
            for uuid in after.containers.changed_since(before.containers):
                self._container(before.containers.get(uuid), after.containers.get(uuid), at_s)

    def _both(self, summary: Series, histogram: Series, value: float, at_s: float) -> None:
        self.board.observe(summary, max(0.0, value), at_s=at_s)
        self.board.observe(histogram, max(0.0, value), at_s=at_s)

    # -- instances

    def _instance(self, before: Instance | None, after: Instance | None, state: State, at_s: float) -> None:
        known = after or before
        if known is None:
            return
        outcome = boot_outcome(before, after)
        if outcome is not None:
            self.board.add(c.BOOT_OUTCOMES, outcome)
            self.board.add(c.TYPED_OUTCOMES, known.type, outcome)
        self._create(before, after, at_s)
        if after is None:
            self._gone(known, at_s)
        elif before is not None:
            self._booting(before, after)
            if before.processes is not after.processes:
                self._processes(before, after, state, at_s)
        if after is not None and after.destroy is not None and (before is None or before.destroy is None):
            self.board.add(c.DESTROYED, after.type, after.destroy.cause.value)
        self._cost.follow(known.name, after, state.settings, at_s)

    def _create(self, before: Instance | None, after: Instance | None, at_s: float) -> None:
        """A create was refused, proved to have made nothing, or was accepted and failed later."""
        if before is None:
            return
        refused = after is None and before.id is None
        failed_later = after is not None and bool(after.failure) and not before.failure and after.phase in _BEFORE_READY
        if refused or failed_later:
            self.board.add(c.CREATE_FAILING, before.type, by=max(0.0, at_s - before.appeared_s))

    def _gone(self, before: Instance, at_s: float) -> None:
        self._first_reached_s.pop(before.name, None)
        self._unused.discard(before.name)
        if before.id is None:
            return
        self.board.add(c.DISAPPEARED, worker_state(before))
        if before.destroy is None:
            self.board.add(c.UNEXPECTED, before.type, worker_state(before))
        else:
            self._both(c.TIME_TO_GONE, c.GONE_HISTOGRAM, at_s - before.destroy.since_s, at_s)

    def _booting(self, before: Instance, after: Instance) -> None:
        """The two halves of a boot: until SSH first answered, and from then on until it was ready."""
        if before.phase is not Phase.BOOTING:
            return
        if before.reached_s == NEVER and after.reached_s != NEVER:
            self._first_reached_s[after.name] = after.reached_s
            self._both(c.TIME_TO_SSH, c.SSH_HISTOGRAM, after.reached_s - before.phase_since_s, after.reached_s)
        if after.phase is Phase.READY and after.ready_s is not None:
            reached_s = self._first_reached_s.pop(after.name, after.ready_s)
            self._both(c.TIME_TO_READY, c.READY_HISTOGRAM, after.ready_s - reached_s, after.ready_s)
            self._unused.add(after.name)

    def _processes(self, before: Instance, after: Instance, state: State, at_s: float) -> None:
        for uuid, process in after.processes.items():
            if _has_begun(before.processes.get(uuid), process):
                self._started(after, state.containers.get(uuid), at_s)

    def _started(self, instance: Instance, container: Container | None, at_s: float) -> None:
        if instance.name in self._unused and instance.ready_s is not None:
            self._unused.discard(instance.name)
            self.board.observe(c.READY_TO_STARTED, max(0.0, at_s - instance.ready_s), at_s=at_s)
        if container is None:
            return
        created_s = unix_s(container.created_at)
        if created_s is not None:
            wall_s = self._clock.wall() - (self._clock.monotonic() - at_s)
            self._both(c.QUEUE_TO_START, c.START_HISTOGRAM, wall_s - created_s, at_s)
        if container.runnable_since_s is not None:
            self.board.observe(c.RUNNABLE_TO_STARTED, max(0.0, at_s - container.runnable_since_s), at_s=at_s)

    # -- containers

    def _container(self, before: Container | None, after: Container | None, at_s: float) -> None:
        if before is None or after is None:
            return
        locked = after.state is ContainerState.LOCKED and before.state is ContainerState.QUEUED and after.ours
        if locked and not after.failed_attempts:
            self.board.observe(c.SEEN_TO_LOCKED, max(0.0, at_s - after.first_seen_s), at_s=at_s)
        if after.failed_attempts > before.failed_attempts:
            self.board.add(c.ATTEMPTS_FAILED, by=after.failed_attempts - before.failed_attempts)
        if after.lost and not before.lost:
            self.board.add(c.CONTAINERS_LOST)


def _has_begun(before: Process | None, after: Process) -> bool:
    return before is not None and before.phase in _NOT_YET and after.phase is ProcessPhase.RUNNING
