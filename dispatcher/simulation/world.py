"""The World: dispatchers, a queue service and a cloud in virtual time, on one thread.

The Store, the loops, ``perform`` and the core are the ones that ship. A loop runs only when production would wake it; between
its look and its commit, and between intent, effect and event of an act, anything else may happen.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from dispatcher.core import messages
from dispatcher.core.messages import Action, Event
from dispatcher.core.model import DestroyCause, Instance, Leadership, Phase, Requirements, State
from dispatcher.core.settings import Settings
from dispatcher.driver import DriverSettings
from dispatcher.runtime.clock_watch import ClockWatch
from dispatcher.runtime.declared import with_driver
from dispatcher.runtime.hints import WRITE_EVERY_S, Keeper, MemoryHints
from dispatcher.runtime.loop import HEARTBEAT_S, Loop
from dispatcher.runtime.loops import loops
from dispatcher.runtime.metrics.collector import Metrics, Surroundings
from dispatcher.runtime.outlook import Outlooks
from dispatcher.runtime.perform import Perform, Ports
from dispatcher.runtime.pools import LANES, lane_of
from dispatcher.runtime.store import Store
from drivers.stub import StubCloud, StubDriver, StubKnobs

from .cloud import FakeCloud
from .instances import FakeInstances
from .judge import Judge
from .queue import EPOCH, FakeQueue, Violations

SET_ID = "zzzzz-gj3su-000000000000000"
PROOF_AGE_S = 0.05  # of a proof that somebody leads, as in edge.leader
HEARD = 200  # changes that wait to be counted: nobody scrapes a World that is not asked

Delay = tuple[float, float]
Listener = Callable[["Dispatcher", "Event | Action"], None]


@dataclass(slots=True)
class VirtualClock:
    """Moved by the World alone. ``wall_offset_s`` is where somebody has put the wall clock: nothing may depend on it."""

    now_s: float = 0.0
    wall_offset_s: float = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return EPOCH + self.now_s + self.wall_offset_s

    def utc(self) -> str:
        return datetime.fromtimestamp(self.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(slots=True, kw_only=True)
class Delays:
    """How long things take: (at least, at most) seconds, drawn evenly. ``send`` until an act takes effect, ``answer`` until its
    event is there, ``commit`` from a plan to its commit."""

    send: Delay = (0.001, 0.02)
    answer: Delay = (0.001, 0.05)
    commit: Delay = (0.0, 0.004)
    create_answer_s: float = 0.0  # how much longer the answer to a create may take
    hung_answer_s: float = 10.0  # an instance that does not answer takes this long to be given up


class Dispatcher:
    """One dispatcher process: its own Store and loops, on the shared world."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.alive = True
        self.started_s = world.clock.now_s
        self.superseded_s = math.inf  # when another took its claim, whether it knows that or not
        self.judge = Judge(world.violations)
        self.serial = itertools.count()
        state = State(settings=world.settings)
        state = replace(state, leadership=Leadership(term=world.terms))
        self.store = Store(state, world.clock.monotonic, strict=True, listener=self._changed, spent=lambda: 0.0)
        ports = Ports(
            queue=world.queue, cloud=world.cloud, instances=world.instances, clock=world.clock,
            proves_to_lead=self._proves_to_lead,
        )  # fmt: skip
        self.metrics = Metrics(world.clock)
        self.perform = Perform(ports, self.store.snapshot, self.metrics.acts)
        self.keeper = Keeper(world.hints, self.store.snapshot, self.post, world.clock)
        self.clock_watch = ClockWatch(world.clock, self.post)
        beat_s = world.heartbeat_s
        self.loops = [Loop(s, self.store, world.clock, self._dispatch, heartbeat_s=beat_s) for s in loops(self._draw)]
        self.wakes: dict[str, float] = {loop.spec.name: world.clock.now_s for loop in self.loops}
        self.counts = {loop.spec.name: self.store.counts(loop.spec.topics) for loop in self.loops}
        self.busy: set[str] = set()
        self.hung: set[str] = set()  # loops that do not come back
        self.beats = dict(self.wakes)
        self._due_s: float | None = None  # None: something changed since it was worked out
        self.in_lane: Counter[str] = Counter()
        self.queued: dict[str, list[tuple[Action, int]]] = {name: [] for name in LANES}

    def _draw(self) -> tuple[str, str]:
        number = next(self.world.names)
        return f"compute-{number:05d}", f"secret{self.world.chance.getrandbits(64):016x}"

    # -- events and their consequences

    def post(self, event: Event) -> None:
        if self.alive:
            self.store.post(event)

    def _changed(self, before: State, after: State, message: Event | Action) -> None:
        self._due_s = None
        self.metrics.recorder.hear(before, after, message)
        if self.metrics.recorder.waiting() >= HEARD:
            self.metrics.recorder.catch_up()
        self.world.note(self, before, after, message)

    def wake_due(self) -> float:
        """When the first of its loops has to run."""
        if self._due_s is None:
            self._due_s = self._work_out_due()
        return self._due_s

    def _work_out_due(self) -> float:
        for loop in self.loops:
            name = loop.spec.name
            if name in self.busy:
                continue
            counts = self.store.counts(loop.spec.topics)
            if counts != self.counts[name]:
                self.counts[name] = counts
                self.wakes[name] = min(self.wakes[name], self.world.clock.now_s + 0.005)
        return min((at for name, at in self.wakes.items() if name not in self.busy), default=math.inf)

    def run_loops(self) -> None:
        """Let each loop that is due look and plan; its commit follows a little later."""
        now = self.world.clock.now_s
        if self.hung:
            self.busy |= self.hung
            self._due_s = None
        for loop in self.loops:
            if loop.spec.name not in self.busy and self.wakes[loop.spec.name] <= now:
                self._look(loop)

    def _look(self, loop: Loop) -> None:
        name = loop.spec.name
        self.beats[name] = self.world.clock.now_s
        self.busy.add(name)
        self._due_s = None
        self.counts[name] = self.store.counts(loop.spec.topics)
        seen = self.store.snapshot()
        now = self.world.clock.now_s
        plans = [planner(seen, now) for planner in loop.spec.planners]

        def finish() -> None:
            if not self.alive:
                return
            begun = sum(loop.finish(seen, actions) for actions in plans)
            self.busy.discard(name)
            self._due_s = None
            self.wakes[name] = max(now + 0.005, loop.due_s(begun))

        if any(plans):
            self.world.later(self.world.draw(self.world.delays.commit), finish)
        else:
            finish()

    # -- acts

    def _dispatch(self, action: Action, term: int) -> None:
        lane = lane_of(action, self.store.snapshot())
        self.queued[lane].append((action, term))
        self._fill(lane)

    def _fill(self, lane: str) -> None:
        while self.queued[lane] and self.in_lane[lane] < LANES[lane]:
            action, term = self.queued[lane].pop(0)
            self.in_lane[lane] += 1
            self.world.later(self.world.draw(self.world.delays.send), partial(self._effect, lane, action, term))

    def _effect(self, lane: str, action: Action, term: int) -> None:
        """The act reaches the world, if this process still lives. What it brings back takes its time."""
        if not self.alive:
            return
        self.world.acts[type(action).__name__] += 1
        events = self.perform.execute(action, term)

        def arrive() -> None:
            self.in_lane[lane] -= 1
            for event in events:
                self.post(event)
            if self.alive:
                self._fill(lane)

        self.world.later(self.world.answer_delay(action, events), arrive)

    @property
    def reasons(self) -> Counter[str]:
        """Why its plans were refused when they were committed, without the actions."""
        counts: Counter[str] = Counter()
        for text, count in self.store.refusals.items():
            if not text.endswith(": for other reasons"):
                counts[text.partition(": ")[2]] += count
        return counts

    def surroundings(self) -> Surroundings:
        """What a scrape asks of the process itself."""
        bugs = {"perform": self.perform.bug_count, "delivery": 0, "plan": self.store.planner_bugs, "loop": 0}
        now_s, wall_s = self.world.clock.now_s, self.world.clock.wall()
        return Surroundings(
            bugs=bugs, waiting={name: len(waiting) for name, waiting in self.queued.items()},
            ages_s={name: now_s - at_s for name, at_s in self.beats.items()}, config_sha256="of this world",
            verdict=Outlooks(self.store.snapshot, self.world.clock.monotonic).newest().level_and_cause,
            config_written_s=EPOCH, config_loaded_s=wall_s - (now_s - self.started_s),
        )  # fmt: skip

    def keep_hints(self) -> None:
        """What the threads for hints and for the clock do."""
        if self.alive:
            self.keeper.tick()
            self.clock_watch.tick()
            self.world.later(WRITE_EVERY_S, self.keep_hints)

    def _proves_to_lead(self) -> bool:
        """The proof is a little old when what rests on it takes effect."""
        return self.world.clock.now_s < self.superseded_s + PROOF_AGE_S

    def stop(self) -> None:
        """kill -9: what it had sent has been sent, and nobody hears the answers."""
        self.alive = False


@dataclass(slots=True)
class Seen:
    """What happened in a World, counted: transitions of instances, and messages that changed a State."""

    transitions: Counter[tuple[Phase | None, Phase | None]] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)

    def count_move(self, before: Instance | None, after: Instance | None) -> None:
        """Count it when it is a transition: another phase, or a destroy that is sent again."""
        start, end = before.phase if before is not None else None, after.phase if after is not None else None
        again = before is not None and after is not None and _attempts(before) and _attempts(after) > _attempts(before)
        if start is not end or again:
            self.transitions[start, end] += 1


def _attempts(instance: Instance) -> int:
    return instance.destroy.attempts if instance.destroy is not None else 0


class World:
    """Everything. ``run`` lets time pass; what must never happen is in ``violations.found``."""

    def __init__(
        self, settings: Settings, *, seed: int = 0, knobs: StubKnobs | None = None, delays: Delays | None = None,
        max_attempts: int = 10, heartbeat_s: float = HEARTBEAT_S,
    ) -> None:  # fmt: skip
        self.heartbeat_s = heartbeat_s  # a longer one makes long quiet times cheap
        self.chance = random.Random(seed)
        self.clock = VirtualClock()
        self.delays = delays or Delays()
        self.violations = Violations(self.clock.monotonic)
        self.seen = Seen()
        self.acts: Counter[str] = Counter()
        self.names = itertools.count(1)
        self.terms = 0
        self.hints = MemoryHints()
        self.dispatchers: list[Dispatcher] = []
        self.ever: list[Dispatcher] = []
        self.listener: Listener | None = None
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._stub_next_s = math.inf
        self._order = itertools.count()
        self.queue = FakeQueue(self.clock.monotonic, self.chance, self.violations, max_attempts)
        self.stub = StubCloud(now=self.clock.monotonic, random=self.chance, knobs=knobs or StubKnobs.kind(), workload=self.queue)
        self.driver = driver = StubDriver(
            self.stub,
            DriverSettings(parameters={}, instance_set_id=SET_ID, tag_prefix="Arvados", log=logging.getLogger("stub")),
        )
        self.settings = _with_driver(settings, driver)
        self.cloud = FakeCloud(self.stub, driver, self.violations, self._cause_of, self._most_instances)
        self.queue.address_of = self._address_of
        self.instances = FakeInstances(self.stub, self.chance, self.later, lambda uuid: self.queue.entries[uuid].length_s)

    # -- time

    def draw(self, span: Delay) -> float:
        return self.chance.uniform(*span)

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something after so many seconds."""
        heapq.heappush(self._agenda, (self.clock.now_s + delay_s, next(self._order), act))

    def run(self, for_s: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; stop early, with True, as soon as ``until`` holds."""
        end_s = self.clock.now_s + for_s
        while True:
            if until is not None and until():
                return True
            at_s = self._next_s()
            if at_s > end_s:
                self.clock.now_s = end_s
                self.stub.advance(end_s)
                return until is not None and until()
            self.clock.now_s = max(self.clock.now_s, at_s)
            if self._stub_next_s <= self.clock.now_s:
                self.stub.advance(self.clock.now_s)
            self._step()

    def _next_s(self) -> float:
        wakes = [dispatcher.wake_due() for dispatcher in self.dispatchers if dispatcher.alive]
        agenda = self._agenda[0][0] if self._agenda else math.inf
        self._stub_next_s = self.stub.next_s
        return min([agenda, self._stub_next_s, *wakes])

    def _step(self) -> None:
        while self._agenda and self._agenda[0][0] <= self.clock.now_s:
            heapq.heappop(self._agenda)[2]()
        for dispatcher in self.dispatchers:
            if dispatcher.alive and dispatcher.wake_due() <= self.clock.now_s:
                dispatcher.run_loops()

    def answer_delay(self, action: Action, events: list[Event]) -> float:
        """How long until the event of an act is there: longer when nobody answered, or when a runner is being detached."""
        delay = self.draw(self.delays.answer)
        if isinstance(action, messages.CreateInstance):
            delay += self.delays.create_answer_s * self.chance.random()
        for event in events:
            if isinstance(event, messages.OutputFetched) and event.uuid in self.instances.hung_outputs:
                self.instances.hung_outputs.discard(event.uuid)
                return delay + 30.0 * self.chance.random()
            if isinstance(event, messages.Probed) and not event.report.reached:
                return delay + self.delays.hung_answer_s * self.chance.random()
            if isinstance(event, messages.StartEnded) and event.outcome is messages.StartOutcome.STARTED:
                return delay + self.instances.detaches_for_s(event.name, event.uuid)
        return delay

    # -- who is there

    def start_dispatcher(self, *, quiet_s: float = 12.0) -> Dispatcher:
        """A fresh process that gains the leadership at once."""
        dispatcher = Dispatcher(self, f"d{len(self.ever) + 1}")
        for other in self.dispatchers:
            other.superseded_s = min(other.superseded_s, self.clock.now_s)
        self.dispatchers = [d for d in self.dispatchers if d.alive] + [dispatcher]
        self.ever.append(dispatcher)
        self.terms += 1
        dispatcher.keeper.gained()
        self.later(WRITE_EVERY_S, dispatcher.keep_hints)
        dispatcher.post(messages.LeadershipGained(quiet_s=quiet_s))
        return dispatcher

    def restart(self, *, quiet_s: float = 12.0) -> Dispatcher:
        """kill -9 of whoever runs, and a new start."""
        for dispatcher in self.dispatchers:
            dispatcher.stop()
        return self.start_dispatcher(quiet_s=quiet_s)

    def reload(self, settings: Settings) -> None:
        """The settings file changed: who runs is told, and who starts later reads it."""
        self.settings = _with_driver(settings, self.driver)
        for dispatcher in self.dispatchers:
            dispatcher.post(messages.SettingsLoaded(settings=self.settings))

    @property
    def leader(self) -> Dispatcher:
        return self.dispatchers[-1]

    @property
    def state(self) -> State:
        return self.leader.store.snapshot()

    def submit(self, requirements: Requirements, *, priority: int = 1 << 50, length_s: float = 30.0, attempts: int = 3) -> str:
        return self.queue.submit(requirements, priority, length_s, attempts)

    def over(self) -> bool:
        """Every container has ended and no instance or part of one is left, in truth and in every dispatcher's mind."""
        return (
            not self.queue.open_entries()
            and not self.stub.existing()
            and not self.stub.leftovers
            and not any(d.store.snapshot().instances or d.store.snapshot().containers for d in self.dispatchers if d.alive)
        )

    # -- judges

    def note(self, dispatcher: Dispatcher, before: State, after: State, message: Event | Action) -> None:
        """After each change: the laws hold, and what happened is counted."""
        if self.listener is not None:
            self.listener(dispatcher, message)
        dispatcher.judge.changed(before, after, message, self.clock.now_s)
        self.seen.messages[type(message).__name__] += 1
        if before.instances is after.instances:
            return
        for name in after.instances.changed_since(before.instances):
            self.seen.count_move(before.instances.get(name), after.instances.get(name))

    def _address_of(self, instance_id: str) -> str:
        return self.stub.instances[instance_id].address

    def _cause_of(self, instance_id: str) -> DestroyCause | None:
        for dispatcher in self.dispatchers:
            for instance in dispatcher.store.snapshot().instances.all():
                if instance.id == instance_id and instance.destroy is not None:
                    return instance.destroy.cause
        return None

    def _most_instances(self) -> int:
        return self.settings.max_instances or 1 << 30


def _with_driver(settings: Settings, driver: StubDriver) -> Settings:
    return with_driver(replace(settings, instance_set_id=SET_ID), driver)
