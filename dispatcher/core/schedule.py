"""Containers onto instances: start, lock, bind, create, make room. One pure pass over everything; nothing is remembered.

A container is locked only when an instance for it exists, never to wait for quota or capacity. Containers with the same need
and the same eligible types share one ``Shape``, so that a pass costs containers + shapes × instances, not their product; and
only those are looked at one by one for whom a place may be had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice

from dispatcher.core import ahead, pacing, replacing, setbacks, sizing, spending, turns
from dispatcher.core.limits import instance_limit, supervisor_limit
from dispatcher.core.messages import (
    Action,
    BindContainer,
    CreateInstance,
    DestroyInstance,
    LockContainer,
    ReleaseContainer,
    StartContainer,
)
from dispatcher.core.model import (
    Container,
    ContainerState,
    DestroyCause,
    HoldoffKind,
    IdleBehavior,
    Instance,
    Phase,
    Resources,
    State,
)
from dispatcher.core.reasons import NO_REASON, Reason, not_startable
from dispatcher.core.refusals import cause_of
from dispatcher.core.slots import Decision as Decision
from dispatcher.core.slots import Shape, Slot, slots_of
from dispatcher.core.transitions import locks
from dispatcher.core.transitions.legal import creates_left, elsewhere, legal, startable
from dispatcher.core.transitions.room import accepts_work, empty, unfit_cause
from dispatcher.core.waiting import Lines, Waiting, is_odd, queued, supervises, turn_of, waiting

Draw = Callable[[], tuple[str, str]]
"""Draws a fresh instance name and an instance secret: identity and chance enter from outside."""

SLOW_BOOT_S = 60.0  # from then on what the probes of a booting instance say is told
FIRST = 32  # so many who have no place on a ready instance are looked at by ``next_step``
PASSED_OVER = 500  # and so many at most are asked whether anything can be had for them
SUPERVISORS = Reason("supervisors", "as many supervisors run as SupervisorFraction allows")
PACE = Reason("pace", "more instances are asked for as soon as the pace of creates allows")


# ------------------------------------------------------------------------------------------------------------------- pass


class _Pass:
    """One pass: its slots, its shapes and its decision. Lives for one call of ``decide``."""

    def __init__(self, state: State, now: float, draw: Draw | None) -> None:
        self.state, self.now, self.draw = state, now, draw
        self.decision = Decision()
        self.placed: set[str] = set()  # who found a place, or waits for one that is on its way
        self.slots = slots_of(state, now)
        self.shapes: dict[tuple[Resources, tuple[str, ...], str], Shape] = {}
        self.known_shapes: dict[int, Shape] = {}
        self.locks_left = locks.free(state.queue, now)
        self.limit_left, self.limit_name = instance_limit(state)
        self.creates_left = min(creates_left(state), pacing.tokens(state, "create", now))
        self.price_asked = 0.0  # by the hour, of what this pass asks for
        self.ahead: dict[str, float] = {}  # types on their way for those who were served → since when
        self.unplaced = 0
        self.troubles: dict[str, str] = {}  # instance type → what is wrong with its boots
        if not self.slots and self.limit_left < 1:  # nobody finds a place: whoever has none need not be looked at
            self.decision.over_limit = self.limit_name

    @cached_property
    def supervisors_left(self) -> float:
        most = supervisor_limit(self.state)
        if most is None:
            return math.inf
        return most - sum(1 for c in self.state.containers.all() if c.instance is not None and supervises(c))

    @cached_property
    def saves(self) -> Reason:
        """Why nothing is bought for supervisors, which only begin more work: the rest is for work that has begun."""
        soft = spending.soft_limit(self.state, self.now)
        return Reason("price-supervisors", f"no instance is created for supervisors: {soft}") if soft else NO_REASON

    def act(self, action: Action) -> bool:
        """Take the action into the decision if it is legal on the snapshot."""
        if legal(self.state, action, self.now) is not None:
            return False
        self.decision.actions.append(action)
        return True

    def wait(self, container: Container, why: Reason) -> None:
        self.decision.reasons[container.uuid] = why

    def hopeless(self) -> bool:
        """Whether no place can be had any more, and enough are waiting for all that may be freed."""
        return bool(self.decision.over_limit) and self.unplaced >= len(self.slots) + self.leaving

    @cached_property
    def leaving(self) -> int:
        """How many instances make room already."""
        return sum(1 for i in self.state.instances.all() if i.phase is Phase.SHUTDOWN)

    def serve_all(self, group: list[Container], *, everyone: bool) -> None:
        """One after another, as long as there is hope."""
        for container in sorted(group, key=turn_of):
            if not everyone and self.hopeless():
                return
            self.serve(container)

    def serve_first(self, containers: Iterator[Container], most: int) -> None:
        """So many of them, in turn; nothing is counted of those for whom nothing can be had."""
        for container in islice(containers, PASSED_OVER):
            if most < 1 or self.decision.over_limit:
                return
            if is_odd(container) or not self._in_vain(container):
                self.serve(container)
                most -= 1

    def serve_lines(self, lines: Lines) -> None:
        """Those who wait, in turn. A line for which nothing can be had is counted and put aside as a whole, for good: a type that
        was refused to it is refused to the others too, so that nobody buys what it could use."""
        while (head := lines.head()) is not None:
            container, line = head
            if not line.odd and self._in_vain(container):
                self.unplaced += lines.put_aside()
                continue
            self.serve(container)
            lines.pop()

    def _in_vain(self, container: Container) -> bool:
        """Whether nobody of its line finds a place now, whoever it is."""
        if self.decision.over_limit:
            return True
        shape = self._shape(container)
        return bool(shape.refused) and self._find(shape, None) is None

    # -- one container

    def serve(self, container: Container) -> None:
        if container.instance is not None:
            self._serve_bound(container, self.state.instances[container.instance])
            return
        why = startable(self.state, container, self.now)
        if why is not None:
            self.wait(container, not_startable(why))
        elif supervises(container) and self.supervisors_left < 1:
            self.decision.shut_out += 1
            self.wait(container, SUPERVISORS)
        elif self.decision.over_limit:
            self._count_out(container)
        else:
            self._place(container)

    def _serve_bound(self, container: Container, instance: Instance) -> None:
        if container.state is ContainerState.QUEUED or container.uuid in instance.processes:
            self.wait(container, Reason("last-attempt", f"its last attempt on {instance.name} has not ended", instance.name))
            return
        why = accepts_work(self.state, instance, self.now)
        if why is not None:
            self.act(ReleaseContainer(uuid=container.uuid))
            self.wait(container, Reason(unfit_cause(instance), why, instance.name))
        elif instance.phase is not Phase.READY:
            self._serve_booting(container, instance)
        elif not self.act(StartContainer(uuid=container.uuid, instance=instance.name)):
            held = startable(self.state, container, self.now)
            self.wait(container, not_startable(held) if held else Reason("starting", "it is about to start", instance.name))

    def _serve_booting(self, container: Container, instance: Instance) -> None:
        """It waits for its instance, unless room has become free on one that is ready: then it is served there next."""
        ready = None
        if startable(self.state, container, self.now) is None and elsewhere(self.state, container, self.now) is None:
            shape = self._shape(container)
            ready = self._find(shape, container.avoid)
        if ready is not None and ready.phase is Phase.READY and self.act(ReleaseContainer(uuid=container.uuid)):
            ready.put(shape.fit.need)
            self.wait(container, Reason("moving", f"it moves from {instance.name}, which boots, to {ready.name}", ready.name))
        else:
            self.wait(container, self.boots(instance.name, instance.type))

    def boots(self, name: str, type_name: str, doing: str = "boots") -> Reason:
        """It waits for an instance to come up; when the last of its type did not, that is what there is to know."""
        if type_name not in self.troubles:
            self.troubles[type_name] = setbacks.boot_trouble(self.state.setbacks, type_name, self.now)
        trouble = self.troubles[type_name]
        instance = self.state.instances.get(name)
        if not trouble and instance is not None and instance.probe_error and self.now > instance.phase_since_s + SLOW_BOOT_S:
            trouble = f"since {self.now - instance.phase_since_s:.0f} s; its last probe: {instance.probe_error[:200]}"
        cause = "creating" if doing != "boots" else "booting"
        return Reason(cause, f"{name or 'an instance'} {doing}{f'; {trouble}' if trouble else ''}", name or type_name)

    def _place(self, container: Container) -> None:
        shape = self._shape(container)
        saved = self.saves if supervises(container) else NO_REASON
        slot = self._find(shape, container.avoid) or (self._find(shape, None) if saved else self._find_or_buy(shape))
        if slot is None:
            self.unplaced += 1
            self.decision.shut_out += bool(shape.over_quota or not (saved or shape.refused))
            self._wait_for_room(container, saved or shape.refused or self.decision.over_limit)
            return
        slot.put(shape.fit.need)
        if slot.phase is Phase.CREATING:
            since_s = slot.instance.create_changed_s if slot.instance is not None else self.now
            self.ahead[slot.type] = max(since_s, self.ahead.get(slot.type, since_s))
        if supervises(container):
            self.supervisors_left -= 1
        self._use(container, slot)

    def _use(self, container: Container, slot: Slot) -> None:
        self.placed.add(container.uuid)
        self.decision.promised += slot.phase is not Phase.READY
        if slot.phase in (Phase.CREATING, Phase.UNKNOWN) or not slot.name:
            self.wait(container, self.boots(slot.name, slot.type, f"of type {slot.type} is on its way"))
        elif container.state is ContainerState.QUEUED:
            self._lock(container, slot)
        elif (why := elsewhere(self.state, container, self.now)) is not None:
            self.wait(container, Reason("settling", why, slot.name))
        elif slot.phase is Phase.READY:
            self.act(StartContainer(uuid=container.uuid, instance=slot.name))
        else:
            self.act(BindContainer(uuid=container.uuid, instance=slot.name))
            self.wait(container, self.boots(slot.name, slot.type))

    def _lock(self, container: Container, slot: Slot) -> None:
        if self.locks_left > 0 and self.act(LockContainer(uuid=container.uuid, instance=slot.name)):
            self.locks_left -= 1
        cause = "locking" if self.now >= self.state.queue.locks_held_until_s else "queue-overloaded"
        self.wait(container, Reason(cause, f"its place on {slot.name} is ready: it is about to be locked", slot.name))

    def _count_out(self, container: Container) -> None:
        self.unplaced += 1
        self.decision.shut_out += 1
        self._wait_for_room(container, self.decision.over_limit)

    def _wait_for_room(self, container: Container, why: Reason) -> None:
        self.wait(container, why._replace(text=ahead.waits_locked(container, why.text)) if container.ahead else why)

    # -- where

    def _shape(self, container: Container) -> Shape:
        fit = container.fit
        assert fit is not None
        shape = self.known_shapes.get(id(fit))
        if shape is None:
            key = (fit.need, fit.types, fit.image)
            shape = self.shapes.get(key)
            if shape is None:
                types = frozenset(fit.types)
                suited = [slot for slot in self.slots if slot.type in types and slot.image == fit.image]
                shape = self.shapes[key] = Shape(fit=fit, slots=suited)
            self.known_shapes[id(fit)] = shape
        return shape

    def _find(self, shape: Shape, avoid: str | None) -> Slot | None:
        """The first slot in rank that has room: ready before booting, then the fullest, then the cheapest; not where the last
        attempt failed."""
        slots, need = shape.slots, shape.fit.need
        while shape.next < len(slots) and not slots[shape.next].fits(need):
            shape.next += 1
        for index in range(shape.next, len(slots)):
            if slots[index].name != avoid and slots[index].fits(need):
                return slots[index]
        return None

    def _find_or_buy(self, shape: Shape) -> Slot | None:
        """Another instance, or the one where the last attempt failed when no limit leaves room for another."""
        same = self._find(shape, None)
        if same is not None and (self.limit_left < 1 or pacing.holdoff(self.state, "create", None, self.now) is not None):
            return same
        return self._buy(shape) or same

    def _buy(self, shape: Shape, reason: str = "") -> Slot | None:
        """Ask for an instance of the cheapest type that the cloud may give us, within every limit."""
        if shape.refused:
            return None
        if self.limit_left < 1 and self._is_offered(shape):
            self.decision.over_limit = self.limit_name
            return None
        for type_name in shape.fit.types:
            held = pacing.holdoff(self.state, "create", type_name, self.now)
            if held is None:
                shape.refused = self._out_of_turn(type_name)
                if not shape.refused:
                    return self._ask(shape, type_name, reason)
                continue
            quota = pacing.usage(self.state, "create") if held.kind is HoldoffKind.QUOTA else ""
            if held.key == "*" and held.kind is HoldoffKind.QUOTA:
                text = f"the cloud refuses more instances: {held.reason}{quota}"
                self.decision.over_limit = Reason(cause_of(held.kind, held.reason), text, held.key)
                return None
            text = f"no {type_name}: {held.kind.value}: {held.reason}{quota}"
            shape.refused = Reason(cause_of(held.kind, held.reason), text, held.key)
            shape.over_quota = held.kind is HoldoffKind.QUOTA
        return None

    def _is_offered(self, shape: Shape) -> bool:
        """Whether the limit alone keeps it: nobody gives way to those for whom the cloud has nothing."""
        return any(pacing.holdoff(self.state, "create", name, self.now) is None for name in shape.fit.types)

    def _out_of_turn(self, type_name: str) -> Reason:
        """Why nothing of this type is asked for now although the cloud might give it; empty when it is."""
        first = turns.waits_for(self.state, type_name, self.ahead, self.now)
        if first:
            text = f"no {type_name} before the cloud has answered for {first}, which is wanted more urgently"
            return Reason("order", text, type_name)
        text = spending.why_not(self.state, type_name, self.price_asked, self.now)
        return Reason("price-day" if spending.over_day(self.state, self.now) else "price-hour", text) if text else NO_REASON

    def _ask(self, shape: Shape, type_name: str, reason: str) -> Slot | None:
        if self.creates_left < 1:
            shape.refused = PACE
            return None
        if self.draw is not None:
            name, secret = self.draw()
            wanted = CreateInstance(name=name, instance_type=type_name, secret=secret, image=shape.fit.image, reason=reason)
            if not self.act(wanted):
                shape.refused = Reason("starting-up", "the cloud has not been listed twice yet")
                return None
        self.creates_left -= 1
        self.limit_left -= 1
        self.price_asked += spending.price_of(self.state, type_name)
        offer = self.state.settings.instance_types[type_name]
        most = self.state.settings.max_running_containers_per_instance
        slot = Slot(
            name="", type=type_name, phase=Phase.CREATING, left=sizing.room(offer), shared=False,
            places=most or math.inf, rank=(2, 0, offer.price, 0, 0, 0, ""), image=shape.fit.image,
        )  # fmt: skip
        for other in self.shapes.values():
            if type_name in other.fit.types and other.fit.image == slot.image:
                other.slots.append(slot)
        self.slots.append(slot)
        return slot

    # -- those who will come back

    def serve_expected(self) -> None:
        """Room for those whose instances are about to end, once everybody who waits has his: nobody gives way to them."""
        limit = self.decision.over_limit
        if limit and self.unplaced:
            return
        for container in replacing.expected(self.state, self.now):
            self.decision.ahead[container.uuid] = self._room_ahead(container)
        self.decision.over_limit = limit

    def _room_ahead(self, container: Container) -> str:
        shape = self._shape(container)
        slot, saved = self._find(shape, None), self.saves if supervises(container) else NO_REASON
        if slot is None and self.limit_left >= 1 and not saved:
            slot = self._buy(shape, f"ahead of the announced end of {container.instance}, for {container.uuid}")
        if slot is None:
            why = saved or shape.refused or self.decision.over_limit or self.limit_name
            return f"there is no room for its next attempt: {why.text}"
        slot.put(shape.fit.need)
        return f"room for its next attempt is on {slot.name}" if slot.name else "an instance for its next attempt is asked for"

    def lock_ahead(self, wait: Waiting) -> None:
        """For the places that become free next."""
        for action in ahead.plan(self.state, self.now, wait, self.placed, self.locks_left):
            self.locks_left -= self.act(action)

    # -- room for others

    def make_room(self) -> None:
        """When a limit on all instances keeps containers waiting, instances that this pass had no use for give way."""
        if not self.decision.over_limit:
            return
        leaving = self.leaving
        for slot in self._unused():
            if self.unplaced <= leaving:
                return
            reason = f"to make room: {self.decision.over_limit.text}"
            if self.act(DestroyInstance(name=slot.name, cause=DestroyCause.MAKE_ROOM, reason=reason)):
                leaving += 1

    def _unused(self) -> Iterator[Slot]:
        for slot in reversed(self.slots):
            instance = slot.instance
            if slot.taken or instance is None or not empty(instance):
                continue
            if instance.idle_behavior is IdleBehavior.RUN and slot.phase in (Phase.BOOTING, Phase.READY):
                yield slot


def decide(state: State, now: float, draw: Draw | None = None, *, everyone: bool = False) -> Decision:
    """One pass. Without ``draw`` nothing is asked for, as for an explanation; ``everyone``: a reason for each that waits."""
    turn, wait = _Pass(state, now, draw), waiting(state)
    seated, booting = _seated(state, wait.placed)
    for container in seated:
        turn.serve(container)
    if everyone or not turn.hopeless():
        turn.serve_all(wait.locked, everyone=everyone)
    for container in booting:  # after those who gave up a place like theirs to move
        turn.serve(container)
    if everyone:
        turn.serve_all(queued(state), everyone=True)
    elif not turn.hopeless():
        turn.serve_lines(wait.lines())
    turn.serve_expected()
    turn.make_room()
    turn.lock_ahead(wait)
    return turn.decision


def _seated(state: State, placed: list[Container]) -> tuple[list[Container], list[Container]]:
    """Those that have a place on an instance that is ready, and those that wait until theirs is: in turn, the Queued last."""
    found = sorted(placed, key=lambda c: (c.state is ContainerState.QUEUED, turn_of(c)))
    ready = [c for c in found if not _awaits_boot(state, c)]
    return ready, [c for c in found if _awaits_boot(state, c)]


def _awaits_boot(state: State, container: Container) -> bool:
    return container.instance is not None and state.instances[container.instance].phase is not Phase.READY


def plan(state: State, now: float, draw: Draw) -> list[Action]:
    """What to do now with the containers that wait."""
    if not _may_plan(state) or not (waiting(state).anybody or replacing.expected(state, now)):
        return []
    return decide(state, now, draw).actions


def _may_plan(state: State) -> bool:
    return state.leadership.leading and state.cloud.listed_s >= state.leadership.since_s


def next_step(state: State, now: float, *, first: int = FIRST) -> list[Action]:
    """The beginning of a pass, and nothing else: starts on instances that are ready, then the first few. What is decided
    here the whole pass decides too, which follows; so nobody is overtaken, however often this is asked. It buys nothing: two who
    plan on one snapshot would buy twice, while a start or a lock is accepted once."""
    wait = waiting(state)
    if not _may_plan(state) or not wait.anybody:
        return []
    turn = _Pass(state, now, lambda: ("not asked for", ""))
    seated, booting = _seated(state, wait.placed)
    for container in seated:
        turn.serve(container)
    left = first - len(wait.locked) - len(booting)
    if left > 0 and turn.slots:  # all of those come before the first in line; without any room nobody is locked
        turn.serve_all(wait.locked, everyone=True)
        for container in booting:
            turn.serve(container)
        turn.serve_first(wait.in_turn(), left)
    return [action for action in turn.decision.actions if not isinstance(action, CreateInstance)]
