"""The stub cloud itself: what exists, what a list shows of it, and what it does to a call. Any number of drivers share it.

It never reads a clock, waits or rolls dice of its own: ``now``, ``random`` and ``pause`` are handed in. What a caller does wrong
is kept in ``bugs``, what the cloud did to the caller is counted in ``faults``.
"""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dispatcher.driver import Call, CloudError, Created, CreateRequest, HostKey, Leftover
from drivers.stub import refusals
from drivers.stub.build import build_instance
from drivers.stub.instance import StubInstance
from drivers.stub.knobs import StubKnobs
from drivers.stub.process import NoWorkload, Workload

Answer = TypeVar("Answer")
MAX_BUGS = 1000


@dataclass(frozen=True, slots=True)
class Owner:
    """By which tag a driver knows its instances."""

    key: str
    value: str

    def owns(self, tags: Mapping[str, str]) -> bool:
        return tags.get(self.key) == self.value


class Servers(Protocol):
    """What makes instances reachable over real SSH."""

    def open(self, instance: StubInstance) -> tuple[str, tuple[HostKey, ...]]:
        """Start its server; its address and host keys."""

    def close(self, instance: StubInstance) -> None: ...


class StubCloud:
    """``now`` is a monotonic clock in seconds. With ``pause`` (seconds → None) calls really take their time; without it they
    answer at once. With ``blocks`` a held call blocks until its deadline; otherwise its deadline passes at once."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        random: random.Random,
        knobs: StubKnobs | None = None,
        workload: Workload | None = None,
        pause: Callable[[float], None] | None = None,
        blocks: bool = False,
        servers: Servers | None = None,
    ) -> None:
        self.now = now
        self.random = random
        self.knobs = StubKnobs() if knobs is None else knobs
        self.workload: Workload = NoWorkload() if workload is None else workload
        self.closed = False
        self.bugs: list[str] = []
        self.faults: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.leftovers: list[tuple[Owner, Leftover]] = []
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.instances: dict[str, StubInstance] = {}
        self._pause = pause
        self._blocks = blocks
        self._servers = servers
        self._count = 0
        self._last_call_s: dict[str, float] = {}
        self.windows: dict[str, tuple[float, int]] = {}  # kind of call → when its minute began, how many came in it
        self._holding = False
        self._permits = 0
        self._held: list[Callable[[], object]] = []

    # ------------------------------------------------------------------------------------------- for tests and storms

    @property
    def next_s(self) -> float:
        """When something happens next by itself; infinity when nothing will."""
        with self.changed:
            return min((instance.next_s for instance in self.instances.values()), default=math.inf)

    def advance(self, now: float) -> None:
        """Let everything happen that is due, in the order of time across all instances."""
        with self.changed:
            while (at_s := self.next_s) <= now:
                for instance in list(self.instances.values()):
                    instance.advance(at_s)
            self._bury(now)

    def _bury(self, now: float) -> None:
        """Forget what is gone and can no longer show in a list."""
        horizon_s = now - self.knobs.list_lag_s
        for instance in [instance for instance in self.instances.values() if instance.gone_at_s <= now]:
            if self._servers is not None:
                self._servers.close(instance)
            if instance.gone_at_s < horizon_s:
                del self.instances[instance.id]

    def existing(self, now: float | None = None) -> list[StubInstance]:
        """The truth, whatever a list says."""
        at_s = self.now() if now is None else now
        return [instance for instance in self.instances.values() if instance.exists(at_s)]

    def at_address(self, address: str, now: float | None = None) -> StubInstance | None:
        """Who answers there: addresses are used again."""
        return next((instance for instance in self.existing(now) if instance.address == address), None)

    def lose(self, instance_id: str) -> None:
        """The machine dies, with everything on it."""
        with self.changed:
            self.faults["instance lost"] += 1
            self.instances[instance_id].lose(self.now())

    def hold(self) -> None:
        """From now on creates and destroys are held back until ``release``."""
        with self.changed:
            self._holding = True

    def release(self, count: int | None = None) -> None:
        """Let so many held calls through (None: all, and hold no more). A call whose caller gave up takes effect now."""
        with self.changed:
            late = self._held if count is None else self._held[:count]
            self._held = self._held[len(late) :]
            self._permits += 0 if count is None else count - len(late)
            self._holding = count is not None
            for act in late:
                with suppress(CloudError):
                    act()
            self.changed.notify_all()

    @property
    def held_calls(self) -> int:
        """Calls whose caller has given up and that still wait to take effect."""
        return len(self._held)

    def report_bug(self, text: str) -> None:
        if len(self.bugs) < MAX_BUGS:
            self.bugs.append(text)

    # ----------------------------------------------------------------------------------------------- what happens to a call

    def arrive(self, kind: str, interval_s: float, call: Call) -> None:
        """A call comes in: counted, and refused when it comes too soon after the last one of its kind or when its minute is
        used up, of which every answer tells how much is left."""
        with self.changed:
            now = self.now()
            self.advance(now)
            self.calls[kind] += 1
            if self.closed:
                self.report_bug(f"{kind} after the end")
            refusals.check_pace(self, kind, now, self._last_call_s.get(kind, -math.inf), interval_s)
            self._last_call_s[kind] = now
            refusals.check_window(self, kind, now, call)
            refusals.check_login(self)

    def take_time(self, takes_s: float, call: Call) -> bool:
        """Spend the time of a call; False when its deadline passed first."""
        if self._pause is not None and takes_s > 0:
            self._pause(min(takes_s, call.timeout_s))
        return self._pause is None or takes_s < call.timeout_s

    def carry_out(self, kind: str, error_rate: float, in_time: bool, act: Callable[[], Answer]) -> Answer:
        """Do it, or fail, or do it and lose the answer."""
        with self.changed:
            mishap = refusals.draw_mishap(self, kind, error_rate)
            if mishap is not None and not mishap.takes_effect:
                raise mishap.error
            answer = act()
            if mishap is not None:
                raise mishap.error
            if not in_time:
                raise CloudError(f"{kind}: no answer in time", outcome_unknown=True)
            return answer

    def pass_gate(self, kind: str, call: Call, act: Callable[[], object]) -> None:
        """Wait while calls are held. When the deadline passes first the call takes effect later, and the caller cannot know."""
        with self.changed:
            if self._blocks:
                self.changed.wait_for(self._is_open, timeout=call.timeout_s)
            if not self._is_open():
                self.faults[f"{kind}: held"] += 1
                self._held.append(act)
                raise CloudError(f"{kind}: no answer in time", outcome_unknown=True)
            self._permits -= 1 if self._holding else 0

    def _is_open(self) -> bool:
        return not self._holding or self._permits > 0

    # ------------------------------------------------------------------------------------------------------------- effects

    def make(self, request: CreateRequest, owner: Owner, secret: str) -> Created:
        """One more instance, or a refusal."""
        now = self.now()
        named = [each for each in self.existing(now) if each.name == request.name and owner.owns(each.tags_at(now))]
        if named and self.knobs.create_is_idempotent:
            return refusals.existing_answer(named[0], now)
        if named:
            self.report_bug(f"create: a second instance under the name {request.name}")
        refusals.check_room(self, request, now)
        self._count += 1
        instance = build_instance(self, f"inst{self._count},{request.instance_type.provider_type}", request, secret, now)
        self.instances[instance.id] = instance
        if self._servers is not None:
            instance.address, instance.host_keys = self._servers.open(instance)
        self.changed.notify_all()
        return Created(instance.id, f"create/{instance.id}" if self.knobs.polls_creates else None)

    def unmake(self, instance: StubInstance, owner: Owner) -> None:
        """Begin to delete it."""
        if self._happens("destroy: ignored", self.knobs.ignored_destroy_rate):
            return
        now = self.now()
        if instance.deleting_at_s > now and self._happens("leftover", self.knobs.leftover_rate):
            self.leftovers.append((owner, Leftover(f"disk of {instance.name}", "disk")))
        instance.delete(now, self.random.uniform(0, self.knobs.max_destroy_s))
        self.advance(now)

    def discard(self, leftover: Leftover, owner: Owner) -> None:
        """Delete what an instance has left behind. Raises CloudError while that instance exists."""
        for instance in self.existing(self.now()):
            if leftover.id == f"disk of {instance.name}":
                self.report_bug(f"delete_leftover: {leftover.id}, which still exists")
                raise CloudError(f"{leftover.id} is in use")
        self.leftovers = [pair for pair in self.leftovers if pair != (owner, leftover)]

    def retag(self, instance: StubInstance, tags: Mapping[str, str]) -> None:
        instance.tag_history = [*instance.tag_history[-9:], (self.now(), dict(tags))]

    def _happens(self, what: str, rate: float) -> bool:
        if self.random.random() >= rate:
            return False
        self.faults[what] += 1
        return True
