"""The race rule, per fact: an observation never overrides what one of our own acts changed at or after the moment it began."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, IdleBehavior, Phase, ProcessPhase, QueueWrite, Requirements
from tests.core.build import C1, NOW, OTHERS, after, container, instance, listed, process, record, settings, state

QUEUED, LOCKED, RUNNING, COMPLETE = (ContainerState(word) for word in ("Queued", "Locked", "Running", "Complete"))


def observed(began_s: float, *records):
    return m.ContainersObserved(began_s=began_s, records=records)


def probed(began_s: float, *running: str, name: str = "i1") -> m.Probed:
    return m.Probed(name=name, began_s=began_s, report=m.ProbeReport(reached=True, booted=True, processes=frozenset(running)))


# ----------------------------------------------------------------------------------------------------- a container's state

STATES = [
    # (when our last write ended, is one on its way, when the poll began, state that stands)
    (950.0, None, 949.0, LOCKED),  # older than our write
    (950.0, None, 950.0, LOCKED),  # a tie is ours
    (950.0, None, 950.1, QUEUED),
    (950.0, QueueWrite.UNLOCK, 999.0, LOCKED),  # dropped while a write is in flight
]


@pytest.mark.parametrize(("changed_s", "writing", "began_s", "stands"), STATES)
def test_the_state_of_a_container_is_ours_until_a_later_poll(changed_s, writing, began_s, stands):
    """What a poll says of the state counts only when it began after our last write ended, and none is on its way."""
    before = state(container(state=LOCKED, state_changed_s=changed_s, writing=writing))
    assert after(before, observed(began_s, record(state=QUEUED))).containers[C1].state is stands


@pytest.mark.parametrize("writing", [None, *QueueWrite])
def test_priority_and_address_are_taken_from_the_newest_observation_always(writing):
    """They are never ours: also a poll that says nothing valid about the state brings them."""
    before = state(container(state=LOCKED, state_changed_s=950.0, writing=writing), queue={"locks_in_flight": 1})
    seen = after(before, observed(940.0, record(state=QUEUED, priority=7, gateway_address="10.0.0.9:80"))).containers[C1]
    assert (seen.state, seen.priority, seen.gateway_address) == (LOCKED, 7, "10.0.0.9:80")


def test_an_observation_older_than_the_last_one_says_nothing():
    """Answers overtake each other: the one that began first is stale whatever it says."""
    before = state(container(observed_s=900.0, priority=5))
    assert after(before, observed(899.0, record(priority=9))).containers[C1].priority == 5


def test_what_a_container_asks_for_is_taken_from_an_older_answer_too_when_there_is_no_other():
    """A read overtaken by a poll: the poll has the newer priority, and only the read says what is needed."""
    before = state(container(observed_s=900.0, priority=5, requirements=None, fit=None, reading=True))
    told = record(priority=9, requirements=Requirements(vcpus=1, ram_bytes=1))
    seen = after(before, m.ContainersRead(began_s=899.0, asked=(C1,), records=(told,))).containers[C1]
    assert (seen.priority, seen.reading, seen.read_due) == (5, False, False)
    assert seen.fit is not None
    assert seen.fit.types


def test_a_record_that_somebody_else_locked_is_not_ours():
    """Locked under another token is another dispatcher's."""
    seen = after(state(container()), observed(NOW, record(state=LOCKED, locked_by_uuid=OTHERS))).containers[C1]
    assert (seen.state, seen.ours) == (LOCKED, False)


def test_the_answer_to_an_unlock_is_the_state_whatever_it_is():
    """The unlock of a container at priority 0 answers Cancelled with 200."""
    before = state(container(state=LOCKED, writing=QueueWrite.UNLOCK))
    answer = m.ContainerWritten(uuid=C1, write=QueueWrite.UNLOCK, record=record(state=ContainerState("Cancelled"), priority=0))
    seen = after(before, answer).containers[C1]
    assert (seen.state, seen.ours, seen.writing) == (ContainerState("Cancelled"), False, None)


# ------------------------------------------------------------------------------------------------- an instance's existence


MISSES = [
    # (fields of the instance, the list began, is it a miss)
    ({"create_changed_s": 950.0}, 950.0, False),  # a tie with our create
    ({"create_changed_s": 950.0, "listed_s": 940.0, "reached_s": 940.0}, 950.1, True),
    ({"listed_s": 995.0}, 995.0, False),  # a list that showed it is as new
    ({"listed_s": 995.0}, 996.0, True),
    ({"reached_s": 996.0}, 996.0, False),  # SSH that answered vetoes
    ({"reached_s": 996.0}, 996.1, True),
]


@pytest.mark.parametrize(("fields", "began_s", "counts"), MISSES)
def test_a_list_without_an_instance_counts_only_after_the_last_sign_of_life(fields, began_s, counts):
    """Existence: our create, a list that showed it and SSH that answered are newer or as new, or it is a miss."""
    seen = after(state(instance(**fields)), m.InstancesMissed(began_s=began_s, names=("i1",))).instances["i1"]
    assert seen.misses == ((began_s,) if counts else ())


def test_a_list_says_nothing_about_what_is_younger_than_its_lag():
    """A list of a driver with lag shows the cloud as it was: a create within the lag is none of its business."""
    before = state(instance(create_changed_s=980.0, listed_s=-1.0, reached_s=-1.0), settings=settings(list_lag_s=10.0))
    assert after(before, m.InstancesMissed(began_s=989.0, names=("i1",))).instances["i1"].misses == ()
    assert after(before, m.InstancesMissed(began_s=990.5, names=("i1",))).instances["i1"].misses == (990.5,)


def test_an_instance_whose_create_is_on_its_way_is_not_missed():
    """In flight: a list that is without it says nothing."""
    before = state(instance(phase=Phase.CREATING))
    assert after(before, m.InstancesMissed(began_s=NOW, names=("i1",))).instances["i1"].misses == ()


def test_a_sign_of_life_clears_the_misses():
    """Listed again or reached by SSH: the count begins anew."""
    before = state(instance(misses=(995.0,)))
    assert after(before, m.InstancesListed(began_s=996.0, instances=(listed(),))).instances["i1"].misses == ()
    assert after(before, probed(996.0)).instances["i1"].misses == ()


def test_the_address_of_the_newest_list_is_taken():
    """A new address is probed at once."""
    seen = after(state(instance()), m.InstancesListed(began_s=NOW, instances=(listed(address="10.0.0.99"),))).instances["i1"]
    assert (seen.address, seen.probe_due) == ("10.0.0.99", True)


# ------------------------------------------------------------------------------------------------------------------- tags

TAGS = [
    # (when ours were saved, is a save on its way, the list began, tags that stand)
    (950.0, False, 949.0, "drain"),
    (950.0, False, 950.0, "drain"),
    (950.0, False, 950.1, "run"),
    (950.0, True, 999.0, "drain"),
]


@pytest.mark.parametrize(("changed_s", "saving", "began_s", "stands"), TAGS)
def test_tags_are_ours_until_a_later_list(changed_s, saving, began_s, stands):
    """A stale list does not make us save again what we have just saved, and a later one does."""
    before = state(
        instance(
            tags={"ArvadosIdleBehavior": "drain"}, idle_behavior=IdleBehavior.DRAIN, tags_changed_s=changed_s,
            saving_tags=saving, listed_s=900.0,
        )
    )  # fmt: skip
    seen = after(before, m.InstancesListed(began_s=began_s, instances=(listed(),))).instances["i1"]
    assert (seen.tags["ArvadosIdleBehavior"], seen.idle_behavior) == (stands, IdleBehavior.DRAIN)


# ------------------------------------------------------------------------------------------------------------ process set

PROCESSES = [
    # (phase, stamp of our last act, the list began, is it still held after a list without it)
    (ProcessPhase.STARTING, 950.0, 999.0, True),  # in flight
    (ProcessPhase.RUNNING, 950.0, 949.0, True),
    (ProcessPhase.RUNNING, 950.0, 950.0, True),  # a tie is ours
    (ProcessPhase.RUNNING, 950.0, 950.1, False),
    (ProcessPhase.ENDED, 950.0, 950.0, True),
    (ProcessPhase.ENDED, 950.0, 950.1, False),
]


@pytest.mark.parametrize(("phase", "changed_s", "began_s", "held"), PROCESSES)
def test_a_process_is_ours_until_a_later_list(phase, changed_s, began_s, held):
    """A probe that began around a start never erases the starting container."""
    standing = replace(instance(), processes={C1: process(C1, phase, changed_s=changed_s)})
    before = state(container(state=LOCKED), standing)
    seen = after(before, probed(began_s))
    assert (C1 in seen.instances["i1"].processes) is held
    assert (seen.containers[C1].exited_s is None) is held


def test_a_list_of_one_fact_does_not_stamp_another():
    """Stamps are per fact: a busy instance starves no list, since a probe does not make lists older."""
    before = state(instance(reached_s=900.0))
    seen = after(before, m.InstancesListed(began_s=995.0, instances=(listed(),)), probed(996.0), probed(997.0)).instances["i1"]
    assert (seen.listed_s, seen.processes_listed_s, seen.tags_changed_s) == (995.0, 997.0, before.instances["i1"].tags_changed_s)


def test_an_ended_process_that_a_later_list_shows_is_back():
    """The kill command may have been wrong: what runs, runs."""
    standing = replace(instance(), processes={C1: process(C1, ProcessPhase.ENDED, changed_s=950.0)})
    seen = after(state(container(state=LOCKED), standing), probed(960.0, C1))
    assert seen.instances["i1"].processes[C1].phase is ProcessPhase.RUNNING


def test_the_end_of_a_process_is_known_with_its_time():
    """Only a record that was asked for after the end says what became of the container."""
    seen = after(state(container(state=RUNNING), instance("i1", Phase.READY, C1)), probed(995.0)).containers[C1]
    assert (seen.exited_s, seen.instance, seen.avoid, seen.read_due) == (995.0, None, "i1", True)


def test_a_container_that_is_over_has_its_instance_probed_at_once():
    """Complete in the queue: the runner is ending, and the next probe is not left to its interval."""
    before = state(container(state=RUNNING), instance("i1", Phase.READY, C1))
    assert after(before, observed(NOW, record(state=COMPLETE))).instances["i1"].probe_due


def test_after_an_outage_nobody_waits_a_minute_for_a_read():
    """However many reads have failed: who ended meanwhile is asked for within ten seconds.

    Regression: a container that was over showed as running for a minute after the service had come back."""
    failed = m.ContainersReadFailed(asked=(C1,), failure=m.QueueFailure(text="503", status=503))
    held = after(state(container(state=ContainerState.RUNNING, read_due=True)), *[failed] * 20).containers[C1]
    assert held.ask_after_s == NOW + 10.0
