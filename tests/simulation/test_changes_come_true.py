"""What would have to change, done in a World: the container that waited begins.

Before it is done nothing begins, for as long as nobody does it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, IdleBehavior
from dispatcher.core.why import Change, why
from dispatcher.driver import RateLimited
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, offer, settings, wants

RUNNING, COMPLETE = ContainerState.RUNNING, ContainerState.COMPLETE
LONG_S = 7200.0
FIELDS = {
    "MaxInstances": "max_instances", "MaxPricePerHour": "max_price_per_hour", "MaxPricePerDay": "max_price_per_day",
    "MaximumPriceFactor": "maximum_price_factor", "SupervisorFraction": "supervisor_fraction",
    "InitialQuotaEstimate": "initial_quota_estimate", "MaxRunningContainersPerInstance": "max_running_containers_per_instance",
}  # fmt: skip


def knobs(town: Town, **changes: Any) -> None:
    town.stub.knobs = replace(town.stub.knobs, **changes)


def configure(town: Town, change: Change) -> None:
    town.reload(replace(town.settings, **{FIELDS[change.key]: change.value}))


def hold_all(town: Town) -> None:
    for machine in town.stub.existing():
        town.leader.post(m.IdleBehaviorSet(name=machine.name, behavior=IdleBehavior.HOLD, actor="ada"))


def end_first(town: Town, change: Change) -> None:
    machine = next(machine for machine in town.stub.existing() if machine.name == change.key)
    for uuid in machine.processes:
        town.leader.post(m.ContainerKillRequested(uuid=uuid, reason="to make room", actor="ada"))


@dataclass(frozen=True, kw_only=True)
class Case:
    """How the World is made to refuse, and what is done when this change is named; of an instance, ``key`` is what it becomes."""

    kind: str
    key: str
    do: Callable[[Town, Change], None] = configure
    settings: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[Town], None] = lambda town: None
    asks: dict[str, Any] = field(default_factory=dict)
    first: dict[str, Any] = field(default_factory=dict)
    offers: tuple[Any, ...] = ()
    waits: bool = True  # it would wait for ever if nothing changed

    @property
    def name(self) -> str:
        return f"{self.kind} {self.key}"


def refuse_pace(town: Town) -> None:
    town.cloud.refusals["create"] = lambda: RateLimited("create: too many requests", retry_after_s=40.0)
    town.later(30.0, town.cloud.refusals.clear)


FULL = {"quota_instances": 1}
TWO = (offer("b4", 4), offer("c8", 8, price=1.0))

CASES = (
    Case(kind="settings", key="MaxInstances", settings={"max_instances": 1}),
    Case(kind="settings", key="MaxPricePerHour", settings={"max_price_per_hour": 0.5}),
    Case(kind="settings", key="MaxPricePerDay", settings={"max_price_per_day": 0.0005}),
    Case(kind="settings", key="MaximumPriceFactor", offers=TWO, spoil=lambda town: knobs(town, capacity_by_type={"b4": 1})),
    Case(kind="settings", key="SupervisorFraction", asks={"vcpus": 1, "supervisor": True}, first={"vcpus": 1, "supervisor": True},
         settings={"max_instances": 4, "supervisor_fraction": 0.25}),
    Case(kind="settings", key="MaxRunningContainersPerInstance", first={"vcpus": 1}, asks={"vcpus": 1},
         settings={"max_running_containers_per_instance": 1, "max_instances": 1}),
    Case(kind="quota", key="*", spoil=lambda town: knobs(town, **FULL),
         do=lambda town, change: knobs(town, quota_instances=2)),
    Case(kind="quota", key="b", spoil=lambda town: knobs(town, quota_by_group={"b": 1}),
         do=lambda town, change: knobs(town, quota_by_group={})),
    Case(kind="cloud", key="type:b4", spoil=lambda town: knobs(town, capacity_by_type={"b4": 1}),
         do=lambda town, change: knobs(town, capacity_by_type={})),
    Case(kind="cloud", key="credentials", spoil=lambda town: knobs(town, denied=True),
         do=lambda town, change: knobs(town, denied=False)),
    Case(kind="time", key="create type:b4", waits=False, spoil=refuse_pace, do=lambda town, change: None),
    Case(kind="instance", key="run", settings={"max_instances": 1}, spoil=hold_all, first={"length_s": 1.0},
         do=lambda town, change: town.leader.post(m.IdleBehaviorSet(name=change.key, behavior=IdleBehavior(str(change.value))))),
    Case(kind="instance", key="empty", settings={"max_instances": 1}, do=end_first),
    Case(kind="container", key="vcpus", settings={"max_instances": 1}, first={"vcpus": 2},
         do=lambda town, change: None),
)  # fmt: skip


def waiting(case: Case) -> tuple[Town, str]:
    """An instance that was made for the first container, and a second one that waits."""
    chosen = settings(*(case.offers or (offer("b4", 4),)), **case.settings)
    town = Town(chosen, knobs=StubKnobs.kind(boot_s=5.0, container_s=LONG_S))
    town.start_dispatcher()
    first = {"vcpus": 4, "length_s": LONG_S, **case.first}
    length_s = first.pop("length_s")
    uuid = town.submit(wants(**first), length_s=length_s)
    town.until_states([uuid], RUNNING, COMPLETE)
    case.spoil(town)
    town.run(5.0)
    second = town.submit(wants(**{"vcpus": 4, **case.asks}), length_s=LONG_S)
    town.run(20.0)
    return town, second


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_change_that_is_named_comes_true(case):
    """Somebody does it, and the container starts."""
    town, uuid = waiting(case)
    told = why(town.state, uuid, town.clock.now_s)
    assert told is not None
    named = ((c.kind, c.value if c.kind == "instance" else c.key, c) for c in told.changes)
    change = next((c for kind, key, c in named if (kind, key) == (case.kind, case.key)), None)
    assert change is not None, (told.cause, told.changes)
    if case.waits:
        town.run(100.0)
        assert not town.is_state(uuid, RUNNING)
    if case.kind == "container":  # what it asks for cannot be changed: another one is submitted
        town.queue.set_priority(uuid, 0)
        uuid = town.submit(wants(**{**case.asks, change.key: change.value}), length_s=LONG_S)
    case.do(town, change)
    town.until_states([uuid], RUNNING, within_s=900.0)
