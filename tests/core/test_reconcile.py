"""The queue against the processes: each row of what is to be killed, cancelled, requeued, forgotten or left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core import reconcile
from dispatcher.core.model import ContainerState, Phase, ProcessPhase, QueueWrite
from dispatcher.core.transitions import locks
from tests.core.build import C1, NOW, OTHERS, OURS, after, container, instance, kill, process, record, settings, state, wants

QUEUED, LOCKED, RUNNING, COMPLETE, CANCELLED = ContainerState


def plan(before, now=NOW):
    return reconcile.plan(before, now)


def term(reason: str, signal: int = 15) -> m.KillProcess:
    return m.KillProcess(name="i1", uuid=C1, signal=signal, reason=reason)


FORGET, RELEASE = m.ForgetContainer(uuid=C1), m.ReleaseContainer(uuid=C1)
ENDED = {"exited_s": 950.0, "observed_s": 960.0, "avoid": "i1"}
LOST = {**ENDED, "lost": "it disappeared from the cloud"}
KNOWN = "instance: i1\nlast signal: none was sent"
RAN = m.CancelContainer(uuid=C1, error="the container's runner ended on i1 without a result", detail=KNOWN)
WAS_LOST = m.CancelContainer(
    uuid=C1, error="the instance on which the container ran was lost: it disappeared from the cloud", detail=KNOWN
)
NOBODY_LOOKED = "the container runs on no instance: its runner or its instance was lost while no dispatcher looked"
NOWHERE = m.CancelContainer(uuid=C1, error=NOBODY_LOOKED)

NO_PROCESS = [
    # (state in the queue, its fields, what is done)
    (RUNNING, {}, [NOWHERE]),
    (RUNNING, ENDED, [RAN]),
    (RUNNING, LOST, [WAS_LOST]),
    (RUNNING, {**ENDED, "observed_s": 950.0}, []),  # only a record asked for after the end says what became of it
    (RUNNING, {**ENDED, "ours": False}, [FORGET]),
    (RUNNING, {"ours": False}, [FORGET]),
    (LOCKED, {"ours": False}, [FORGET]),  # another dispatcher's
    (COMPLETE, {}, [FORGET]),
    (CANCELLED, ENDED, [FORGET]),
    (QUEUED, {}, []),
    (QUEUED, {"priority": 0}, [FORGET]),
    (QUEUED, {**ENDED, "exited_s": 970.0}, []),
    (LOCKED, {}, []),  # the scheduler places it
    (LOCKED, {"priority": 0}, [m.UnlockContainer(uuid=C1, reason="priority 0")]),
    (LOCKED, ENDED, [m.UnlockContainer(uuid=C1, reason="its runner ended on i1 before the container began")]),
    (LOCKED, LOST, [RELEASE]),  # no attempt is spent for an instance that died
    (LOCKED, {**ENDED, "ours": False}, [FORGET]),
    (RUNNING, {**ENDED, "writing": QueueWrite.CANCEL}, []),
    (RUNNING, {**ENDED, "read_due": True}, []),  # its record decides first
    (RUNNING, {**ENDED, "ask_after_s": NOW + 1}, []),  # not so soon after a failure
]


@pytest.mark.parametrize(("queue_state", "fields", "actions"), NO_PROCESS)
def test_a_container_without_a_process(queue_state, fields, actions):
    """What is cancelled, requeued, forgotten or left alone when nothing of ours runs it."""
    assert plan(state(container(state=queue_state, **fields))) == actions


PROCESS = [
    # (state in the queue, fields, what is done with its process)
    (RUNNING, {}, []),
    (LOCKED, {}, []),
    (RUNNING, {"priority": 0}, [term("its priority is 0")]),
    (LOCKED, {"priority": 0}, [term("its priority is 0")]),
    (CANCELLED, {}, [term("the container is Cancelled")]),
    (COMPLETE, {"observed_s": NOW - 4.9}, []),  # the runner writes Complete before it cleans up
    (COMPLETE, {"observed_s": NOW - 5.1}, [term("the container is Complete")]),
    (QUEUED, {}, [term("it is Queued again")]),
    (RUNNING, {"kill_requested": "enough (ada)"}, [term("an operator asked for it: enough (ada)")]),
]


@pytest.mark.parametrize(("queue_state", "fields", "actions"), PROCESS)
def test_a_container_with_a_process(queue_state, fields, actions):
    """What should not run is asked to stop."""
    before = state(container(state=queue_state, **fields), instance("i1", Phase.READY, C1))
    assert plan(before) == actions


def test_a_process_of_which_the_queue_knows_nothing_is_killed_once_it_was_asked():
    """Not in the queue, proved by an answer without it: an orphan."""
    stray = replace(instance(), processes={C1: process(C1)})
    assert plan(state(stray)) == []
    orphan = replace(instance(), processes={C1: process(C1, orphan=True)})
    assert plan(state(orphan)) == [term("the queue has no such container")]


def test_the_empty_answer_to_a_question_by_uuid_makes_it_an_orphan():
    """A container missing from a poll is asked for, and that answer drops it; but its process is killed only after another."""
    before = state(container(state=RUNNING), instance("i1", Phase.READY, C1))
    missed = after(before, m.ContainersAbsent(began_s=995.0, uuids=(C1,)))
    assert (missed.containers[C1].read_due, missed.containers[C1].instance) == (True, "i1")
    gone = after(missed, m.ContainersRead(began_s=998.0, asked=(C1,), records=()))
    assert (C1 in gone.containers, gone.instances["i1"].processes[C1].orphan) == (False, False)
    again = after(gone, m.ContainersRead(began_s=1010.0, asked=(C1,), records=()))
    assert again.instances["i1"].processes[C1].orphan


def test_one_empty_answer_by_mistake_ends_no_work():
    """The next one shows the container: it is where its process is, and as much in doubt as any other."""
    before = state(container(state=RUNNING), instance("i1", Phase.READY, C1))
    gone = after(before, m.ContainersRead(began_s=998.0, asked=(C1,), records=()))
    found = after(gone, m.ContainersRead(began_s=1010.0, asked=(C1,), records=(record(state=RUNNING, locked_by_uuid=OURS),)))
    process = found.instances["i1"].processes[C1]
    assert (found.containers[C1].instance, process.unheard_of, process.orphan) == ("i1", False, False)


def test_a_second_process_elsewhere_is_killed():
    """A container is where its process is known; another one has to go."""
    twice = state(container(state=RUNNING), instance("i2", Phase.READY, C1))
    other = replace(instance("i1"), processes={C1: process(C1)})
    before = replace(twice, instances=twice.instances.set("i1", other))
    assert plan(before) == [term("it runs on i2 already")]


def test_a_container_that_no_type_can_run_is_cancelled_in_one_request():
    """Queued or locked, with the reason in the same request.

    Regression: it took three requests, and the lock spent an attempt."""
    for queue_state in (QUEUED, LOCKED):
        before = state(container(state=queue_state, requirements=wants(1000)))
        (action,) = plan(before)
        assert isinstance(action, m.CancelContainer)
        assert "1000 VCPUs" in action.error


# ---------------------------------------------------------------------------------------- runs nowhere, after a restart


FRESH = [
    # (what is known since the term began at 980, is the Running container without an instance cancelled)
    ({}, {}, True),
    ({"confirmed_s": 970.0}, {}, False),  # the cloud has not been listed twice yet
    ({}, {"polled_s": 985.0}, False),  # no poll since the cloud is known
]


@pytest.mark.parametrize(("cloud", "queue", "cancelled"), FRESH)
def test_runs_nowhere_needs_two_lists_and_a_later_poll(cloud, queue, cancelled):
    """Nothing is cancelled on the word of what was known before."""
    before = state(
        container(state=RUNNING, locked_term=0), cloud={"confirmed_s": 988.0, **cloud}, queue={"polled_s": 989.0, **queue},
        leadership={"since_s": 980.0},
    )  # fmt: skip
    assert plan(before) == ([NOWHERE] if cancelled else [])


@pytest.mark.parametrize(("address", "cancelled"), [("", False), ("10.0.0.1:80", False), ("10.0.0.7:80", True)])
def test_runs_nowhere_needs_the_answer_of_whoever_might_run_it(address, cancelled):
    """An instance that has not listed its processes in this term, unless the record names another one."""
    silent = instance("i1", Phase.UNKNOWN, processes_listed_s=970.0)
    before = state(container(state=RUNNING, locked_term=0, gateway_address=address), silent, leadership={"since_s": 980.0})
    told = replace(NOWHERE, detail=f"instance: at {address}")
    assert plan(before) == ([told] if cancelled else [])


@pytest.mark.parametrize(("found_s", "cancelled"), [(980.0, True), (990.0, True), (995.0, False)])
def test_runs_nowhere_needs_an_answer_from_after_it_was_found(found_s, cancelled):
    """Who does not know yet that another leads sees containers run that it never started: what an instance had said before
    proves nothing of them."""
    told = instance("i1", processes_listed_s=990.0)
    before = state(container(state=RUNNING, locked_term=0, found_s=found_s), told, leadership={"since_s": 500.0})
    assert plan(before) == ([NOWHERE] if cancelled else [])


def test_found_is_when_a_record_first_showed_it_as_ours():
    """Later looks at the same attempt change nothing of that."""
    seen = m.ContainersObserved(began_s=NOW - 1.0, records=(record(state=RUNNING, locked_by_uuid=OURS),))
    first = after(state(container(observed_s=900.0)), seen)
    again = after(first, replace(seen, began_s=NOW), now=NOW + 5.0)
    assert (first.containers[C1].ours, first.containers[C1].found_s, again.containers[C1].found_s) == (True, NOW, NOW)


# ------------------------------------------------------------------------------------------------------------- escalation

CANCELLED_RUNS = container(state=CANCELLED)
ESCALATION = [
    # (the kill so far, now, what is sent)
    (kill(since_s=990.0, sent_s=996.0), 1000.0, []),  # once each TimeoutSignal (5 s)
    (kill(since_s=990.0, sent_s=995.0), 1000.0, [(15, False)]),
    (kill(since_s=990.0, sent_s=995.0, sending=True), 1001.0, []),
    (kill(since_s=880.0, sent_s=995.0, heard=True), 1000.0, [(9, True)]),  # TimeoutTERM (120 s) has passed
    (kill(since_s=880.0, sent_s=995.0), 1000.0, [(15, False)]),  # nobody heard a TERM: no patience has begun
    (kill(since_s=880.0, sent_s=995.0, heard=True, kill_since_s=990.0), 1000.0, [(9, True)]),
]


@pytest.mark.parametrize(("so_far", "now", "sent"), ESCALATION)
def test_term_then_kill_then_given_up(so_far, now, sent):
    """TERM again and again, KILL from TimeoutTERM on; and with the KILL, before anybody knows whether it works, the instance
    is condemned."""
    standing = replace(instance(), processes={C1: process(C1, kill=so_far)})
    before = state(CANCELLED_RUNS, standing)
    actions = plan(before, now)
    signals = [action.signal for action in actions]
    condemned = bool(after(before, *actions, now=now).instances["i1"].condemned)
    assert (signals, condemned) == ([signal for signal, _ in sent], any(gives_up for _, gives_up in sent))


def test_a_kill_that_has_begun_goes_on_whatever_the_queue_says_later():
    """Half a kill is no state to leave a runner in."""
    standing = replace(instance(), processes={C1: process(C1, kill=kill(sent_s=900.0))})
    assert plan(state(container(state=RUNNING), standing)) == [term("because")]


@pytest.mark.parametrize("phase", [ProcessPhase.STARTING, ProcessPhase.ENDED])
def test_what_is_starting_or_proved_gone_is_not_killed(phase):
    """The start has to end first; and the end needs only a list that agrees."""
    standing = replace(instance(), processes={C1: process(C1, phase)})
    assert plan(state(CANCELLED_RUNS, standing)) == []


def test_an_uncertain_start_that_two_lists_did_not_show_is_asked_for_by_a_kill():
    """The kill command is the last witness that nothing is there."""
    lonely = replace(instance(), processes={C1: process(C1, ProcessPhase.UNCERTAIN, absences=2)})
    assert plan(state(container(state=LOCKED), lonely)) == [term("its start has no known outcome")]
    early = replace(instance(), processes={C1: process(C1, ProcessPhase.UNCERTAIN, absences=1)})
    assert plan(state(container(state=LOCKED), early)) == []


KILLED = [
    (ProcessPhase.RUNNING, ProcessPhase.ENDED),
    (ProcessPhase.UNCERTAIN, ProcessPhase.UNCERTAIN),
    (ProcessPhase.ENDED, ProcessPhase.ENDED),
]


@pytest.mark.parametrize(("phase", "becomes"), KILLED)
def test_what_the_kill_command_says(phase, becomes):
    """Gone: it ended, once a list agrees; an uncertain start needs more than that."""
    standing = replace(instance(), processes={C1: process(C1, phase, kill=kill(sending=True))})
    held = after(state(CANCELLED_RUNS, standing), m.KillEnded(name="i1", uuid=C1, gone=True)).instances["i1"].processes[C1]
    assert (held.phase, held.proven_absent) == (becomes, phase is ProcessPhase.UNCERTAIN)


# ---------------------------------------------------------------------------------------------------------------- attempts


def test_an_unlock_after_an_exit_spends_an_attempt_and_delays_the_next():
    """One second, then two, four …, at most a minute; and the next attempt goes elsewhere if it can."""
    pauses = []
    for failed in range(8):
        before = state(container(state=LOCKED, writing=QueueWrite.UNLOCK, failed_attempts=failed, **ENDED))
        seen = after(before, m.ContainerWritten(uuid=C1, write=QueueWrite.UNLOCK, record=record())).containers[C1]
        pauses.append(seen.not_before_s - NOW)
        assert (seen.failed_attempts, seen.exited_s, seen.state) == (failed + 1, None, QUEUED)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_an_unlock_at_priority_0_spends_none():
    """Nothing had been started."""
    before = state(container(state=LOCKED, writing=QueueWrite.UNLOCK))
    answer = m.ContainerWritten(uuid=C1, write=QueueWrite.UNLOCK, record=record(priority=0))
    assert after(before, answer).containers[C1].failed_attempts == 0


# ------------------------------------------------------------------------------------------------- answers that are not 200


@pytest.mark.parametrize("write", list(QueueWrite))
@pytest.mark.parametrize("status", [None, 422, 500, 503])
def test_after_any_answer_but_200_the_record_decides(write, status):
    """The record is read, and nothing is written before it was.

    Regression: a lock that failed was sent again in each pass, and nothing was ever read."""
    before = state(container(state=QUEUED if write is QueueWrite.LOCK else LOCKED, writing=write), queue={"locks_in_flight": 1})
    failed = m.ContainerWriteFailed(uuid=C1, write=write, failure=m.QueueFailure(text="no", status=status))
    seen = after(before, failed).containers[C1]
    assert (seen.writing, seen.read_due, seen.ask_after_s) == (None, True, NOW + 0.2)


def test_locked_by_our_token_is_success_whoever_sent_it():
    """The answer of a lock was lost; the record says that it worked."""
    before = state(container(), queue={"locks_in_flight": 0})
    read = m.ContainersRead(began_s=NOW, asked=(C1,), records=(record(state=LOCKED),))
    seen = after(before, read).containers[C1]
    assert (seen.state, seen.ours, seen.read_due) == (LOCKED, True, False)
    theirs = m.ContainersRead(began_s=NOW, asked=(C1,), records=(record(state=LOCKED, locked_by_uuid=OTHERS),))
    assert after(before, theirs).containers[C1].ours is False


WINDOW = [
    # (status of the answer, strikes before, window and pause after)
    (200, 2, 9, 0.0),
    (503, 0, 4, 1.0),
    (503, 1, 4, 2.0),
    (503, 9, 4, 30.0),
    (500, 0, 8, 0.0),  # only 503 is a brake
    (None, 0, 8, 0.0),
]


@pytest.mark.parametrize(("status", "strikes", "window", "pause_s"), WINDOW)
def test_503_on_locks_halves_the_window_and_success_widens_it(status, strikes, window, pause_s):
    """Additive increase, multiplicative decrease, on locks alone.

    Regression: one 503 of any call collapsed the throughput for dozens of boots."""
    before = state(
        container(writing=QueueWrite.LOCK, state_changed_s=NOW - 0.5),
        queue={"lock_window": 8, "locks_in_flight": 1, "lock_strikes": strikes, "overloaded_s": NOW - 1},
    )
    failed = m.ContainerWriteFailed(uuid=C1, write=QueueWrite.LOCK, failure=m.QueueFailure(text="", status=status))
    done = m.ContainerWritten(uuid=C1, write=QueueWrite.LOCK, record=record(state=LOCKED))
    queue = after(before, done if status == 200 else failed).queue
    assert (queue.lock_window, queue.locks_in_flight, max(0.0, queue.locks_held_until_s - NOW)) == (window, 0, pause_s)


def test_locks_that_are_refused_together_are_one_pull_of_the_brake():
    """Sixteen that were on their way when the service had enough are one reason to pause, and not sixteen."""
    uuids = [f"zzzzz-dz642-{number:015d}" for number in range(16)]
    sent = [container(uuid, writing=QueueWrite.LOCK, state_changed_s=NOW - 2) for uuid in uuids]
    refused = [
        m.ContainerWriteFailed(uuid=uuid, write=QueueWrite.LOCK, failure=m.QueueFailure(text="", status=503)) for uuid in uuids
    ]
    braked = after(state(*sent, queue={"locks_in_flight": 16}), *refused)
    assert (braked.queue.lock_window, braked.queue.lock_strikes, braked.queue.locks_held_until_s) == (8, 1, NOW + 1)
    assert {(c.write_failures, c.not_before_s, c.read_due) for c in braked.containers.all()} == {(0, NOW + 1, True)}


@pytest.mark.parametrize(("later_s", "most"), [(0.0, 0), (1.0, 8), (30.0, 16), (59.0, 16), (60.0, 16)])
def test_12_12_the_window_of_locks_opens_with_time_alone(later_s, most):
    """One 503 is over within a minute also where hardly anything is locked."""
    queue = state(queue={"lock_window": 8, "overloaded_s": NOW, "locks_held_until_s": NOW + 1}).queue
    assert locks.free(queue, NOW + later_s) == most


def test_a_lock_that_failed_gives_its_place_back():
    """The room on the instance is free for others until the record has decided."""
    before = state(container(writing=QueueWrite.LOCK, instance="i1"), instance(), queue={"locks_in_flight": 1})
    failed = m.ContainerWriteFailed(uuid=C1, write=QueueWrite.LOCK, failure=m.QueueFailure(text="", status=503))
    assert after(before, failed).instances["i1"].bound == {}


def test_settings_that_forbid_every_type_cancel_what_waits():
    """A reload is judged like a start."""
    before = after(state(container()), m.SettingsLoaded(settings=settings(*[], instance_types={})))
    (action,) = plan(before)
    assert isinstance(action, m.CancelContainer)
