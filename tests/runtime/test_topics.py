"""Which loops a change wakes: a probe without news wakes nobody, and every fact by which planners decide wakes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.maps import Map
from dispatcher.core.model import (
    CloudView,
    ContainerRecord,
    ContainerState,
    Holdoff,
    HoldoffKind,
    Leadership,
    Phase,
    Process,
    ProcessPhase,
    QueueView,
    QueueWrite,
    State,
)
from dispatcher.core.settings import Settings
from dispatcher.core.transitions import observe
from dispatcher.runtime.topics import FEW, TOPICS, touched
from tests.runtime.states import container, instance, leading, uuid

PROBED = m.Probed(name="i1", began_s=10.0, report=m.ProbeReport(reached=True, processes=frozenset()))
HINT = m.QueueHinted()
RUNNING = Process(uuid=uuid(1), phase=ProcessPhase.RUNNING, since_s=1.0, changed_s=1.0)


def record() -> ContainerRecord:
    return ContainerRecord(uuid=uuid(1), state=ContainerState.LOCKED, priority=1)


def topics(before: State, after: State, message: m.Event | m.Action = HINT) -> set[str]:
    return set(touched(before, after, message))


# -------------------------------------------------------------------------------------------------------- parts of the State

HOLDOFF = Holdoff(call="create", key="*", kind=HoldoffKind.QUOTA, until_s=9.0, since_s=1.0, strikes=1, reason="r")
PARTS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set()),
    ({"version": 7}, set()),
    ({"buckets": {}}, set()),
    ({"containers": Map([(uuid(1), container())])}, {"containers"}),
    ({"queue": QueueView(failures=1)}, {"queue"}),
    ({"instances": Map([("i1", instance())])}, {"instances"}),
    ({"cloud": CloudView(failures=1)}, {"cloud"}),
    ({"leadership": Leadership(term=2)}, {"control"}),
    ({"settings": Settings(max_instances=3)}, {"control"}),
    ({"holdoffs": Map([("create *", HOLDOFF)])}, {"control"}),
]


@pytest.mark.parametrize(("part", "expected"), PARTS, ids=lambda value: ",".join(value) or "nothing")
def test_a_part_of_the_state_has_its_topic(part: dict[str, Any], expected: set[str]) -> None:
    """One topic for each part by which somebody decides."""
    before = leading()
    assert topics(before, replace(before, **part)) == expected
    assert expected <= set(TOPICS)


# ------------------------------------------------------------------------------------------------------------------- probes

NO_NEWS: list[dict[str, Any]] = [
    {"probing": False},
    {"probed_s": 90.0},
    {"answered_s": 90.0},
    {"reached_s": 90.0},
    {"processes_listed_s": 95.0},
    {"busy_s": 90.0},
    {"probe_error": "another text"},
]


@pytest.mark.parametrize("change", NO_NEWS, ids=str)
def test_a_probe_without_news_wakes_nobody(change: dict[str, Any]) -> None:
    """A thousand instances that answer as always are no reason to plan."""
    before = leading(instance(processes_listed_s=90.0, start_changed_s=80.0))
    fresh = replace(before.instances["i1"], **change)
    after = replace(before, instances=before.instances.set("i1", fresh), cloud=replace(before.cloud, probe_answered_s=9.0))
    assert topics(before, after, PROBED) == set()


NEWS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"phase": Phase.BOOTING}, {"phase": Phase.READY}),
    ({}, {"processes": {uuid(1): RUNNING}}),
    ({"processes": {uuid(1): RUNNING}}, {"processes": {}}),
    ({}, {"bound": {uuid(1): None}}),
    ({}, {"condemned": "broken"}),
    ({"probe_failures": 0}, {"probe_failures": 1}),
    ({"probe_failures": 1}, {"probe_failures": 2}),
    ({"probe_failures": 3}, {"probe_failures": 4}),
    ({"probe_failures": 9}, {"probe_failures": 0}),
    ({"start_changed_s": 80.0, "processes_listed_s": 70.0}, {"processes_listed_s": 90.0}),
    ({"silent_s": 0.0}, {"silent_s": 5.0}),
    ({"silent_s": 5.0}, {"silent_s": 0.0}),
    ({"misses": (5.0,)}, {"misses": ()}),
]


@pytest.mark.parametrize(("known", "learnt"), NEWS, ids=str)
def test_a_probe_with_news_wakes_the_planners(known: dict[str, Any], learnt: dict[str, Any]) -> None:
    """A row for each fact of an instance that a probe may change and somebody decides by."""
    before = leading(instance(**known))
    after = replace(before, instances=before.instances.set("i1", replace(before.instances["i1"], **learnt)))
    room = {"room"} if {"phase", "bound"} & learnt.keys() else set()
    assert topics(before, after, PROBED) == {"instances"} | room


START_SOMEBODY: list[tuple[m.Event, bool]] = [
    (m.ContainerWritten(uuid=uuid(1), write=QueueWrite.LOCK, record=record()), True),
    (m.ContainerWritten(uuid=uuid(1), write=QueueWrite.CANCEL, record=record()), False),
    (m.ContainersRead(began_s=1.0, asked=(uuid(1),), records=(record(),)), True),
    (m.ContainersRead(began_s=1.0, asked=(uuid(1),), records=(record(),) * (FEW + 1)), False),
    (m.QueueHinted(), False),
]


@pytest.mark.parametrize(("event", "wakes"), START_SOMEBODY, ids=lambda value: type(value).__name__)
def test_what_may_start_somebody_at_once_wakes_the_next_step(event: m.Event, wakes: bool) -> None:
    """A lock that succeeded and a newcomer do; a whole page of the queue is left to the full pass."""
    assert ("room" in topics(leading(), replace(leading(), version=7), event)) is wakes


def test_the_begin_of_a_probe_wakes_nobody() -> None:
    """Who began it knows."""
    before = leading(instance())
    after = replace(before, instances=before.instances.set("i1", replace(before.instances["i1"], probing=True)))
    assert topics(before, after, m.ProbeInstance(name="i1")) == set()


def test_a_probe_that_finds_a_process_of_an_unknown_container_wakes_them() -> None:
    """By the core's own hand: what it makes of a report is what is compared."""
    before = leading(instance(probing=True))
    report = m.ProbeReport(reached=True, booted=True, processes=frozenset({uuid(7)}))
    after = observe(before, m.Probed(name="i1", began_s=99.0, report=report), 100.0)
    assert "instances" in topics(before, after, PROBED)


def test_a_probe_that_answers_as_before_is_no_news_to_the_core() -> None:
    """The same, for the answer that comes a thousand times."""
    known = instance(probing=True, processes_listed_s=90.0, start_changed_s=80.0, processes={uuid(1): RUNNING})
    before = leading(known, strays=Map([(uuid(1), "i1")]))
    report = m.ProbeReport(reached=True, processes=frozenset({uuid(1)}))
    event = m.Probed(name="i1", began_s=99.0, report=report)
    assert topics(before, observe(before, event, 100.0), event) == set()


def test_a_probe_of_an_instance_that_is_gone_tells_of_the_others() -> None:
    """Whatever else changed with it is not kept back."""
    before = leading(instance("i2"))
    after = replace(before, instances=before.instances.without("i2"))
    assert topics(before, after, PROBED) == {"instances"}
