"""Limits are checked where acts begin, whatever a planner believes; and nothing begins without leading."""

from __future__ import annotations

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import CataloguePart, ContainerState, DestroyCause, Phase, QueueWrite
from dispatcher.core.transitions import INTENTS, legal
from tests.core.build import C1, C2, NOW, container, instance, offer, settings, state, wants

LOCKED, RUNNING = ContainerState.LOCKED, ContainerState.RUNNING
CREATE = m.CreateInstance(name="new", instance_type="t4", secret="secret")
LOCK, START = m.LockContainer(uuid=C1, instance="i1"), m.StartContainer(uuid=C1, instance="i1")

ONE_OF_EACH = (
    m.PollQueue(), m.ReadContainers(uuids=(C1,)), LOCK, m.UnlockContainer(uuid=C1, reason=""),
    m.CancelContainer(uuid=C1, error=""), m.BindContainer(uuid=C1, instance="i1"), m.ReleaseContainer(uuid=C1),
    m.ForgetContainer(uuid=C1), CREATE, m.PollCreate(name="i1"), m.ListInstances(),
    m.DestroyInstance(name="i1", cause=DestroyCause.OPERATOR, reason=""), m.RemoveInstance(name="i1"), m.SaveTags(name="i1"),
    m.DeleteLeftover(id="d1"), m.ReadCatalogue(part=CataloguePart.PRICES),
    m.CondemnInstance(name="i1", reason=""), m.ExpireIdleBehavior(name="i1"), m.ProbeInstance(name="i1"), START,
    m.KillProcess(name="i1", uuid=C1, signal=15, reason=""), m.FetchOutput(name="i1", uuid=C1),
)  # fmt: skip


@pytest.mark.parametrize("action", ONE_OF_EACH, ids=lambda action: type(action).__name__)
def test_nothing_begins_without_leading(action):
    """Everything here stands on one active dispatcher."""
    assert legal(state(container(), instance(), leadership={"leading": False}), action, NOW) == "another dispatcher leads"


def test_the_list_above_is_complete():
    """One action of each kind."""
    assert {type(action) for action in ONE_OF_EACH} == set(INTENTS)


CREATES = [
    ({"max_instances": 1}, {}, "MaxInstances is reached"),
    ({"max_instances": 2}, {}, None),
    ({"max_instances": 0}, {}, None),
    ({"max_concurrent_creates": 1}, {"phase": Phase.CREATING}, "MaxInstances is reached"),
    ({"max_concurrent_creates": 1}, {}, None),
]


@pytest.mark.parametrize(("changes", "held", "reason"), CREATES)
def test_no_create_begins_above_a_limit(changes, held, reason):
    """An instance counts from its decision to the proof of its absence."""
    assert legal(state(instance(**held), settings=settings(**changes)), CREATE, NOW) == reason


@pytest.mark.parametrize("action", [LOCK, START, m.BindContainer(uuid=C1, instance="i1")])
@pytest.mark.parametrize(("taken", "free"), [(3, True), (4, False)])
def test_a_place_is_taken_only_where_there_is_room(action, taken, free):
    """Whatever a plan that is older than another one believed."""
    one = container(state=ContainerState.QUEUED if action is LOCK else LOCKED)
    other = container(C2, state=RUNNING, requirements=wants(taken))
    before = state(one, other, instance("i1", Phase.READY, C2))
    assert legal(before, action, NOW) == (None if free else "no room")


def test_an_instance_whose_type_does_not_fit_has_no_room():
    """Eligible types are what sizing says."""
    before = state(container(requirements=wants(4)), instance(type="t1"), settings=settings(offer("t1", 1), offer("t4")))
    assert legal(before, LOCK, NOW) == "no room"


@pytest.mark.parametrize("write", list(QueueWrite))
def test_one_write_at_a_time(write):
    """Lock, unlock and cancel of one container never overlap, and nothing starts meanwhile."""
    before = state(container(state=LOCKED, writing=write), instance(), queue={"locks_in_flight": 1})
    for action in (LOCK, START, m.UnlockContainer(uuid=C1, reason=""), m.CancelContainer(uuid=C1, error="")):
        assert legal(before, action, NOW) == f"a {write.value} is on its way"


def test_a_container_that_runs_starts_nowhere_else():
    """Not there again, and not elsewhere."""
    before = state(container(state=LOCKED), instance("i1", Phase.READY, C1), instance("i2"))
    assert legal(before, START, NOW) == "a process of it may run"
    assert legal(before, m.StartContainer(uuid=C1, instance="i2"), NOW) == "a process of it may run"


def test_an_unlock_needs_the_proof_that_nothing_of_it_runs():
    """Queued means that nothing runs."""
    before = state(container(state=LOCKED, priority=0), instance("i1", Phase.READY, C1))
    assert legal(before, m.UnlockContainer(uuid=C1, reason=""), NOW) == "a process of it may run"
