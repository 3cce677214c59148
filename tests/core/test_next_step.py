"""The beginning of a pass against the whole one, and the short ways of the whole one against the long one, on random States."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dispatcher.core import messages as m
from dispatcher.core import reconcile, schedule
from dispatcher.core.maps import Map
from dispatcher.core.model import Container, ContainerState, Fit, HoldoffKind, Phase, State
from dispatcher.core.pacing import hold_off
from dispatcher.core.recent import Recent
from dispatcher.driver import Scope
from tests.core.build import NOW, container, instance, offer, process, settings, state, wants

QUEUED, LOCKED = ContainerState.QUEUED, ContainerState.LOCKED
NAMES = ("t1", "t2", "t4", "t8")


def _uuid(number: int) -> str:
    return f"zzzzz-dz642-{number:015d}"


def _container(chance: Random, number: int, homes: list[str]):
    locked = chance.random() < 0.25
    more = {"first_seen_s": 900.0 + chance.randrange(3)}
    if chance.random() < 0.1:
        more["not_before_s"] = NOW + chance.choice((-5.0, 5.0))
    if chance.random() < 0.15:
        more["avoid"] = chance.choice(homes) if homes else None
    if chance.random() < 0.05:
        more["exited_s"] = 950.0
    if homes and locked and chance.random() < 0.6:
        more["instance"] = chance.choice(homes)
    elif locked and "exited_s" not in more and chance.random() < 0.5:
        more["ahead"] = True
    first_seen_s = more.pop("first_seen_s")
    made = container(_uuid(number), LOCKED if locked else QUEUED, chance.randrange(5), **more)
    supervisor = chance.random() < 0.15
    return replace(
        made, first_seen_s=first_seen_s, requirements=wants(chance.choice((0, 1, 1, 2, 4)), supervisor=supervisor)
    )


def _with_shared_fit(one: Container, known: dict[Fit, Fit]) -> Container:
    """Equal fits are one object, as sizing makes them: they stand in one line."""
    return one if one.fit is None else replace(one, fit=known.setdefault(one.fit, one.fit))


def _instance(chance: Random, number: int):
    name, phase = f"i{number}", chance.choice((*[Phase.READY] * 3, Phase.BOOTING, Phase.CREATING, Phase.SHUTDOWN))
    busy = [_uuid(1000 + number)] if phase is Phase.READY and chance.random() < 0.4 else []
    return instance(name, phase, *busy, type=chance.choice(NAMES))


def made(seed: int) -> State:
    """A State with some of everything."""
    chance = Random(seed)
    machines = [_instance(chance, number) for number in range(chance.randrange(9))]
    homes = [i.name for i in machines if i.phase in (Phase.READY, Phase.BOOTING) and not i.processes]
    seats = chance.sample(homes, len(homes))
    things = [_container(chance, number, seats[:1] and [seats[number % len(seats)]]) for number in range(chance.randrange(30))]
    seen = dict.fromkeys(homes, 0)
    for index, one in enumerate(things):  # at most one of them on each, so that each fits
        if one.instance is not None and (seen[one.instance] or one.requirements.vcpus > 1):
            things[index] = replace(one, instance=None)
        elif one.instance is not None:
            seen[one.instance] += 1
    running = [
        container(uuid, ContainerState.RUNNING, 3, requirements=wants(1)) for i in machines for uuid in i.processes
    ]
    menu = settings(
        *(offer(name, int(name[1:]), 0.1 * int(name[1:])) for name in NAMES), max_instances=chance.choice((0, 3, 6, 9, 12)),
        supervisor_fraction=chance.choice((0.0, 0.3)), maximum_price_factor=chance.choice((1.0, 100.0)),
        max_price_per_hour=chance.choice((0.0, 0.0, 1.5, 3.0)), max_creates_per_second=chance.choice((None, None, 1.0)),
    )  # fmt: skip
    slow = Recent(locks_s=(0.1,) * 5, runs_s=(chance.choice((1.0, 100.0)),) * 5)
    here = state(*machines, *running, *things, settings=menu, recent=slow)
    known: dict[Fit, Fit] = {}
    here = replace(here, containers=Map((c.uuid, _with_shared_fit(c, known)) for c in here.containers.all()))
    for name in NAMES:
        if chance.random() < 0.3:
            kind = chance.choice((HoldoffKind.QUOTA, HoldoffKind.CAPACITY))
            failure = m.CloudFailure(text="none left", kind=kind, scope=Scope.TYPE, retry_after_s=300.0)
            here = hold_off(here, "create", failure, name, NOW)
    return here


def draw():
    numbers = count(1)
    return lambda: (f"new{next(numbers)}", "secret")


def whole(here: State, *, everyone: bool = False):
    return schedule.decide(here, NOW, draw(), everyone=everyone).actions


SEEDS = st.integers(0, 1 << 30)


@given(SEEDS, st.sampled_from((1, 4, 32)))
@budget(max_examples=150, deadline=None)
def test_what_the_beginning_decides_the_whole_pass_decides_too(seed, first):
    """The same actions in the same order, and none besides: nobody is overtaken."""
    here = made(seed)
    rest = iter(whole(here))
    assert all(action in rest for action in schedule.next_step(here, NOW, first=first))


@given(SEEDS)
@budget(max_examples=150, deadline=None)
def test_whoever_is_not_looked_at_one_by_one_would_have_got_nothing(seed):
    """Lines that are put aside as a whole change no decision."""
    here = made(seed)
    assert whole(here) == whole(here, everyone=True)


@given(SEEDS)
@budget(max_examples=100, deadline=None)
def test_without_what_was_kept_the_plan_is_the_same(seed):
    """What is kept with parts of the maps may be thrown away at any time; also when half of it belongs to an earlier State."""
    here = made(seed)
    whole(here), reconcile.plan(here, NOW)
    chance = Random(seed)
    for one in here.containers.all():
        if chance.random() < 0.3 and one.instance is None:
            here = replace(here, containers=here.containers.set(one.uuid, replace(one, priority=chance.randrange(5))))
    fresh = replace(here, containers=Map(here.containers.items()), instances=Map(here.instances.items()))
    assert whole(here) == whole(fresh)
    assert schedule.next_step(here, NOW) == schedule.next_step(fresh, NOW)
    assert reconcile.plan(here, NOW) == reconcile.plan(fresh, NOW)


def test_new_settings_make_new_room():
    """What was read off an instance under other settings does not count."""
    running = container(_uuid(7), ContainerState.RUNNING)
    one_each = settings(max_instances=1, max_running_containers_per_instance=1)
    here = state(container(), running, instance("i1", Phase.READY, running.uuid), settings=one_each)
    assert whole(here) == []
    more = replace(here, settings=replace(one_each, max_running_containers_per_instance=2))
    assert whole(more) == [m.LockContainer(uuid=container().uuid, instance="i1")]


def test_it_starts_what_was_locked():
    """Its lock has succeeded and its instance is ready."""
    here = state(container(state=LOCKED, instance="i1"), instance("i1"))
    assert schedule.next_step(here, NOW) == [m.StartContainer(uuid=container().uuid, instance="i1")]


def test_it_locks_for_the_room_that_an_end_has_left():
    """Whoever is most urgent of those who wait."""
    one_each = settings(max_instances=1, max_running_containers_per_instance=1)
    here = state(container(_uuid(1), priority=1), container(_uuid(2), priority=2), instance("i1"), settings=one_each)
    assert schedule.next_step(here, NOW) == [m.LockContainer(uuid=_uuid(2), instance="i1")]


def test_those_who_are_locked_come_before_the_first_in_line():
    """A lock that is held already is worth more than the priority of somebody for whom one has still to be asked."""
    one_each = settings(max_instances=1, max_running_containers_per_instance=1)
    locked, urgent = container(_uuid(1), LOCKED, 1), container(_uuid(2), QUEUED, 9)
    here = state(locked, urgent, instance("i1"), settings=one_each)
    assert schedule.next_step(here, NOW) == [m.StartContainer(uuid=_uuid(1), instance="i1")]


def test_it_buys_nothing():
    """The scheduler plans on the same snapshot, and would buy the same once more under another name."""
    small = instance("i1")  # has room, and not for this one
    here = state(container(requirements=wants(8)), small, settings=settings(offer("t4"), offer("t8", 8)))
    assert [type(action) for action in whole(here)] == [m.CreateInstance]
    assert schedule.next_step(here, NOW) == []


def test_it_looks_at_no_more_than_the_first_few():
    """However many could be placed: the rest is left to the whole pass."""
    many = [container(_uuid(number), LOCKED) for number in range(schedule.FIRST + 5)]
    here = state(*many, settings=settings(max_instances=100))
    assert schedule.next_step(here, NOW) == []
    assert whole(here)


@pytest.mark.parametrize("change", [{"leading": False}, {"since_s": 999.0}])
def test_it_decides_nothing_before_the_whole_pass_may(change):
    """Without the lead, or before the first list of this term."""
    here = state(container(), instance("i1"))
    before = replace(here, leadership=replace(here.leadership, **change))
    assert schedule.next_step(before, NOW) == []


def test_a_runner_that_is_there_already_is_not_started_again():
    """A container that is bound and runs keeps its place, whatever its record still says."""
    one = container(state=LOCKED)
    here = state(one, instance("i1", processes={one.uuid: process(one.uuid)}))
    assert schedule.next_step(here, NOW) == []
