"""Evidence that was misread, found by reading: a State in, one event or question, a State out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dispatcher.core import messages as m
from dispatcher.core import pacing
from dispatcher.core.model import (
    NEVER,
    CloudView,
    Container,
    ContainerRecord,
    ContainerState,
    HoldoffKind,
    Instance,
    Leadership,
    Phase,
    Process,
    ProcessPhase,
    QueueView,
    QueueWrite,
    State,
)
from dispatcher.core.settings import Settings
from dispatcher.core.transitions import legal, observe
from dispatcher.driver import InstanceType, Scope

UUID = "zzzzz-dz642-000000000000001"
TOKEN = "zzzzz-gj3su-000000000000000"
TYPES = {"a1": InstanceType(name="a1", provider_type="a1", vcpus=1, ram_bytes=1 << 32, price=0.1)}


def container(state: ContainerState = ContainerState.LOCKED, **facts: Any) -> Container:
    made = Container(uuid=UUID, state=state, priority=1, first_seen_s=1.0, runnable_since_s=1.0, observed_s=5.0)
    return replace(made, ours=state in (ContainerState.LOCKED, ContainerState.RUNNING), **facts)


def instance(phase: Phase = Phase.READY, name: str = "i1", **facts: Any) -> Instance:
    made = Instance(name=name, id=f"id-{name}", type="a1", phase=phase, phase_since_s=1.0, appeared_s=1.0, address="10.0.0.1")
    return replace(made, ready_s=1.0 if phase is Phase.READY else None, **facts)


def state(*entities: Container | Instance, **facts: Any) -> State:
    """A State of the second term, which began at 2 s, in which queue and cloud have been read."""
    made = State(
        settings=Settings(instance_types=TYPES), leadership=Leadership(leading=True, term=2, since_s=2.0),
        queue=QueueView(token_uuid=TOKEN, polled_s=5.0), cloud=CloudView(listed_s=4.0, confirmed_s=4.0),
    )  # fmt: skip
    for one in entities:
        if isinstance(one, Container):
            made = replace(made, containers=made.containers.set(one.uuid, one))
        else:
            made = replace(made, instances=made.instances.set(one.name, one))
    return replace(made, **facts)


def record(of: ContainerState) -> ContainerRecord:
    holder = TOKEN if of in (ContainerState.LOCKED, ContainerState.RUNNING) else None
    return ContainerRecord(uuid=UUID, state=of, priority=1, locked_by_uuid=holder)


def test_an_absence_is_proved_however_long_the_drivers_lag():
    """With a lag of a minute and a list each five seconds, the lists without an instance add up to a minute."""
    before = state(instance(), settings=Settings(instance_types=TYPES, list_lag_s=60.0))
    for began_s in range(100, 170, 5):
        before = observe(before, m.InstancesMissed(began_s=float(began_s), names=("i1",)), began_s + 0.1)
    assert legal(before, m.RemoveInstance(name="i1"), 170.0) is None
    assert len(before.instances["i1"].misses) <= 4


def test_a_lock_that_was_refused_and_then_found_may_be_that_of_an_earlier_leader():
    """Locked by our common token although our own lock failed: it is started only when everybody has said what runs there."""
    silent = instance(Phase.UNKNOWN, "i2")
    locking = container(ContainerState.QUEUED, writing=QueueWrite.LOCK, locked_term=2, state_changed_s=6.0)
    after = observe(
        state(locking, silent), m.ContainerWriteFailed(uuid=UUID, write=QueueWrite.LOCK, failure=m.QueueFailure(text="422")), 7.0
    )
    found = m.ContainersRead(began_s=8.0, asked=(UUID,), records=(record(ContainerState.LOCKED),))
    after = observe(after, found, 8.1)
    assert after.containers[UUID].ours
    assert "i2 has not said yet" in str(legal(after, m.UnlockContainer(uuid=UUID, reason="priority 0"), 60.0))


def test_a_lock_of_an_earlier_term_is_not_taken_for_one_of_this_term():
    """Its answer came late: what the lock proves ended with its term."""
    locking = container(ContainerState.QUEUED, writing=QueueWrite.LOCK, locked_term=1, state_changed_s=1.5)
    event = m.ContainerWritten(uuid=UUID, write=QueueWrite.LOCK, record=record(ContainerState.LOCKED))
    assert observe(state(locking), event, 7.0).containers[UUID].locked_term == 1


def test_a_container_found_locked_is_not_unlocked_at_priority_0_while_it_may_run_somewhere():
    """Queued has to mean that nothing runs."""
    nobody_wants = container(priority=0, runnable_since_s=None)
    silent = instance(Phase.UNKNOWN)
    asked = m.UnlockContainer(uuid=UUID, reason="priority 0")
    assert "has not said yet" in str(legal(state(nobody_wants, silent), asked, 60.0))
    assert legal(state(nobody_wants, replace(silent, processes_listed_s=6.0)), asked, 60.0) is None


def test_the_gateway_of_an_earlier_attempt_does_not_say_where_a_locked_container_is():
    """Only of a Running one its address tells the machine."""
    held = container(gateway_address="10.9.9.9:22")
    silent = instance(Phase.UNKNOWN)
    assert legal(state(held, silent), m.UnlockContainer(uuid=UUID, reason=""), 60.0) is not None


def test_a_failed_lock_does_not_take_away_the_place_where_a_process_was_found_meanwhile():
    """The container is where its process runs, whatever became of the lock."""
    locking = container(ContainerState.QUEUED, writing=QueueWrite.LOCK, instance="i1")
    process = Process(uuid=UUID, phase=ProcessPhase.RUNNING, since_s=3.0, changed_s=NEVER)
    busy = instance(processes={UUID: process}, bound={UUID: None})
    event = m.ContainerWriteFailed(uuid=UUID, write=QueueWrite.LOCK, failure=m.QueueFailure(text="lost"))
    assert observe(state(locking, busy), event, 7.0).containers[UUID].instance == "i1"


def test_a_read_from_before_the_end_of_a_process_leaves_the_next_read_due():
    """What became of the container is told by a record that was asked for afterwards."""
    ended = container(ContainerState.RUNNING, exited_s=9.0, read_due=True, reading=True)
    event = m.ContainersRead(began_s=8.0, asked=(UUID,), records=(record(ContainerState.RUNNING),))
    after = observe(state(ended), event, 9.5).containers[UUID]
    assert (after.read_due, after.reading) == (True, False)


def test_a_list_of_processes_that_began_in_an_earlier_term_says_nothing():
    """Two probes may overlap when leadership comes back: the one that began before must not end what the other has found."""
    process = Process(uuid=UUID, phase=ProcessPhase.RUNNING, since_s=8.0, changed_s=NEVER)
    busy = instance(processes={UUID: process}, bound={UUID: None}, processes_listed_s=8.0, probing=True)
    late = m.Probed(name="i1", began_s=1.9, report=m.ProbeReport(reached=True, processes=frozenset()))
    after = observe(state(container(ContainerState.RUNNING, instance="i1"), busy), late, 9.0)
    assert UUID in after.instances["i1"].processes


def test_a_create_whose_answer_was_lost_after_a_list_showed_the_instance_has_a_known_outcome():
    """It is there: nothing is asked for again under its name."""
    creating = instance(Phase.CREATING, creating=True, create_changed_s=3.0)
    event = m.CreateFailed(name="i1", failure=m.CloudFailure(text="time-out", outcome_unknown=True))
    after = observe(state(creating), event, 9.0).instances["i1"]
    assert (after.phase, after.create_unknown) == (Phase.BOOTING, False)


def test_a_pause_that_a_cloud_names_has_a_limit():
    """A date of another day, or a wall clock that jumped, does not stop creates for a day."""
    failure = m.CloudFailure(text="slow down", kind=HoldoffKind.RATE, scope=Scope.EVERYTHING, retry_after_s=86400.0)
    after = pacing.hold_off(state(), "create", failure, "a1", 10.0)
    assert pacing.holdoff(after, "create", "a1", 10.0 + 3601.0) is None
