"""The story: bounded, filtered, told outside the lock; and the sentences that changes of State become."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.maps import Map
from dispatcher.core.model import (
    CloudView,
    Container,
    ContainerRecord,
    ContainerState,
    Destroy,
    DestroyCause,
    Fit,
    Holdoff,
    HoldoffKind,
    IdleBehavior,
    Instance,
    Kill,
    Leadership,
    OperatorNote,
    Phase,
    Process,
    ProcessPhase,
    QueueView,
    QueueWrite,
    Resources,
    State,
)
from dispatcher.driver import Scope
from dispatcher.runtime import story as story_module
from dispatcher.runtime.narrate import Message, narrate
from dispatcher.runtime.story import Story, Teller
from dispatcher.runtime.told import DEBUG, ERROR, INFO, WARNING, Kind, Told


@dataclass
class Clock:
    """Stands still until it is told."""

    now_s: float = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now_s - 100.0

    def utc(self) -> str:
        return ""


# ------------------------------------------------------------------------------------------------------------------- story


def told(text: str, **more: Any) -> Told:
    return Told(**{"text": text, "kind": Kind.CONTAINER, **more})


def test_the_oldest_entries_are_forgotten() -> None:
    """A dispatcher that runs for a year needs no more memory than one that runs for a day."""
    story = Story(Clock(), size=3)
    for number in range(5):
        story.record(told(str(number)))
    assert [entry.text for entry in story.entries()] == ["2", "3", "4"]
    assert [entry.number for entry in story.entries()] == [3, 4, 5]


FILTERS = [
    ({}, ["a", "b", "c", "d"]),
    ({"container": "u1"}, ["a", "c"]),
    ({"instance": "i1"}, ["b", "c"]),
    ({"container": "u1", "instance": "i1"}, ["c"]),
    ({"kind": "instance"}, ["b", "d"]),
    ({"level": WARNING}, ["d"]),
    ({"limit": 2}, ["c", "d"]),
    ({"after": 2}, ["c", "d"]),
    ({"container": "u1", "limit": 1}, ["c"]),
]


@pytest.mark.parametrize(("asked", "texts"), FILTERS)
def test_entries_are_filtered(asked: dict[str, Any], texts: list[str]) -> None:
    """The newest that match, oldest first."""
    story = Story(Clock())
    story.record(told("a", container="u1"))
    story.record(told("b", instance="i1", kind=Kind.INSTANCE))
    story.record(told("c", container="u1", instance="i1"))
    story.record(told("d", kind=Kind.INSTANCE, level=ERROR))
    assert [entry.text for entry in story.entries(**asked)] == texts


def test_an_entry_has_the_time_of_the_change() -> None:
    """Not the time at which it was told."""
    clock = Clock()
    story = Story(clock)
    clock.now_s = 160.0
    entry = story.record(told("x"), at_s=130.0)
    assert (entry.at_s, entry.utc) == (130.0, "2027-01-15T08:00:30.000000000Z")


def test_many_threads_may_record() -> None:
    """Every entry gets a number of its own."""
    story = Story(Clock(), size=1000)
    threads = [threading.Thread(target=lambda: [story.record(told("x")) for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.number for entry in story.entries(limit=1000)] == list(range(1, 801))


# ------------------------------------------------------------------------------------------------------------------ teller


@dataclass
class Heard:
    """A teller whose log is a list."""

    clock: Clock = field(default_factory=Clock)
    logged: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.story = Story(self.clock)
        self.teller = Teller(self.story, self.clock, tell=self.logged.append)


BASE = State()
LEADS = replace(BASE, leadership=Leadership(leading=True, term=1))


def test_a_change_is_told_later() -> None:
    """Hearing only puts it aside: nothing is written under the store's lock."""
    heard = Heard()
    heard.teller.hear(BASE, LEADS, m.LeadershipGained())
    assert (heard.logged, heard.story.entries()) == ([], [])
    heard.clock.now_s = 500.0
    assert heard.teller.tell() == 1
    assert [(entry.text, entry.at_s) for entry in heard.story.entries()] == [("leading now, term 1", 100.0)]
    assert [one.text for one in heard.logged] == ["leading now, term 1"]


def test_beginnings_of_observations_are_not_even_heard() -> None:
    """A probe a second per instance would drown everything else."""
    heard = Heard()
    for _ in range(3):
        heard.teller.hear(BASE, LEADS, m.ProbeInstance(name="i"))
    assert heard.teller.tell() == 0


def test_what_comes_too_fast_is_dropped_and_confessed() -> None:
    """Bounded: every waiting change keeps a whole State alive."""
    heard = Heard()
    for _ in range(story_module.WAITING + 5):
        heard.teller.hear(LEADS, LEADS, m.LeadershipGained())
    heard.teller.tell()
    assert [one.text for one in heard.logged] == ["5 changes came too fast to be told"]


def test_a_sentence_that_cannot_be_made_silences_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in the telling is logged, and the next change is told."""
    heard = Heard()
    heard.teller.hear(BASE, None, m.LeadershipGained())  # type: ignore[arg-type]
    heard.teller.hear(BASE, LEADS, m.LeadershipGained())
    assert heard.teller.tell() == 1
    assert "LeadershipGained could not be told" in caplog.text


def test_the_tellers_thread_tells_all_before_it_ends() -> None:
    """The last words before a stop are the most wanted ones."""
    heard, stop = Heard(), threading.Event()
    stop.set()
    heard.teller.hear(BASE, LEADS, m.LeadershipGained())
    heard.teller.run(stop)
    assert len(heard.logged) == 1


# --------------------------------------------------------------------------------------------------------------- sentences


U, I = "zzzzz-dz642-000000000000001", "zzzzz-abc"  # noqa: E741
C = Container(uuid=U, state=ContainerState.QUEUED, priority=500, first_seen_s=90.0)
VM = Instance(name=I, id="vm1", type="small", phase=Phase.READY, phase_since_s=90.0, appeared_s=60.0)
NEW = Instance(name=I, type="small", phase=Phase.CREATING, phase_since_s=90.0, appeared_s=60.0)
RUNS = Process(uuid=U, phase=ProcessPhase.RUNNING, since_s=90.0, changed_s=90.0)
NOTE = m.ContainersRead(began_s=99.0, asked=(U,), records=())  # a message that names the container
LOOK = m.Probed(name=I, began_s=99.0, report=m.ProbeReport(reached=True))  # one that names the instance
ON = f"the process of container {U} on {I}"


def holding(*things: Container | Instance | None, **more: Any) -> State:
    return replace(
        BASE,
        containers=Map((thing.uuid, thing) for thing in things if isinstance(thing, Container)),
        instances=Map((thing.name, thing) for thing in things if isinstance(thing, Instance)),
        **more,
    )


def texts(before: State, after: State, message: Message) -> list[tuple[int, str]]:
    return [(one.level, one.text) for one in narrate(before, after, message, 100.0)]


GONE, DELETING = "it disappeared from the cloud", "the cloud was deleting it, and not for us; it last answered 10 s ago"

CONTAINERS: list[tuple[Container | None, Container | None, list[tuple[int, str]]]] = [
    (None, C, [(DEBUG, f"container {U} found in the queue: Queued, priority 500")]),
    (C, None, [(INFO, f"container {U} dropped: nothing more is to be done for it (Queued)")]),
    (C, replace(C, observed_s=99.0, reading=True, read_due=True), []),
    (C, replace(C, state=ContainerState.LOCKED), [(INFO, f"container {U} is now Locked (was Queued)")]),
    (C, replace(C, priority=0), [(INFO, f"container {U} priority 500 → 0: nobody wants it any more")]),
    (C, replace(C, instance=I), [(INFO, f"container {U} has a place on {I} and is being locked")]),
    (
        C,
        replace(C, fit=Fit(need=Resources(), types=(), problem="needs 9 vcpus")),
        [(WARNING, f"container {U} fits no instance type: needs 9 vcpus")],
    ),
    (
        replace(C, instance=I),
        replace(C, lost="it disappeared", exited_s=100.0),
        [(WARNING, f"container {U} lost its instance {I}: it disappeared")],
    ),
    (
        replace(C, exit_note="refused", lock_count=3),
        replace(C, failed_attempts=1, avoid=I, last_error="its runner was refused", lock_count=3),
        [(WARNING, f"container {U} attempt 3 failed on {I}: its runner was refused")],
    ),
    (
        C,
        replace(C, kill_requested="too dear (ops)"),
        [(WARNING, f"container {U} an operator asked to kill it: too dear (ops)")],
    ),
]


@pytest.mark.parametrize(("before", "after", "expected"), CONTAINERS)
def test_what_changed_about_a_container(
    before: Container | None, after: Container | None, expected: list[tuple[int, str]]
) -> None:
    """One sentence for each thing that concerns somebody, none for stamps."""
    assert texts(holding(before), holding(after), NOTE) == expected


DESTROY = Destroy(cause=DestroyCause.IDLE, reason="idle for 60 s", since_s=95.0, attempts=1)
UNRESPONSIVE = Destroy(cause=DestroyCause.UNRESPONSIVE, reason="silent for 600 s", since_s=95.0)
HELD = replace(VM, idle_behavior=IdleBehavior.HOLD, operator=OperatorNote(actor="ops", reason="look at it"))

INSTANCES: list[tuple[Instance | None, Instance | None, list[tuple[int, str]]]] = [
    (None, NEW, [(INFO, f"instance {I} is asked for: instance type small")]),
    (NEW, None, [(INFO, f"instance {I} was not created")]),
    (None, replace(VM, phase=Phase.UNKNOWN), [(INFO, f"instance {I} was found in the cloud: unknown, instance type small, run")]),
    (
        None,
        replace(HELD, phase=Phase.UNKNOWN),
        [(INFO, f"instance {I} was found in the cloud: unknown, instance type small, hold (ops: look at it)")],
    ),
    (NEW, replace(NEW, id="vm1", phase=Phase.BOOTING), [(INFO, f"instance {I} was accepted by the cloud as vm1 after 40.0 s")]),
    (replace(VM, phase=Phase.BOOTING), VM, [(INFO, f"instance {I} is ready 40.0 s after it appeared")]),
    (VM, replace(VM, probed_s=99.0, probing=True, listed_s=99.0, busy_s=99.0), []),
    (VM, replace(VM, probe_error="timeout: "), [(INFO, f"instance {I} does not pass its boot probe yet: timeout: ")]),
    (replace(VM, ready_s=9.0), replace(VM, ready_s=9.0, probe_error="timeout: "), []),
    (replace(VM, probe_error="timeout: "), replace(VM, probe_error="timeout: ", probe_failures=9), []),
    (VM, HELD, [(INFO, f"instance {I} idle behaviour run → hold (ops: look at it)")]),
    (
        HELD,
        replace(HELD, operator=replace(HELD.operator, until="2027-01-15T10:00:00Z")),
        [(INFO, f"instance {I} idle behaviour hold → hold (ops until 2027-01-15T10:00:00Z: look at it)")],
    ),
    (VM, replace(VM, condemned="broken"), [(WARNING, f"instance {I} gets no new work: broken")]),
    (VM, replace(VM, misses=(99.0,)), [(WARNING, f"instance {I} is missing from a complete list (1 in a row)")]),
    (VM, None, [(WARNING, f"instance {I} shut down unexpectedly, it was ready with 0 containers: {GONE} (it never answered)")]),
    (
        replace(VM, deleting=True, reached_s=90.0),
        None,
        [(WARNING, f"instance {I} shut down unexpectedly, it was ready with 0 containers: {GONE} ({DELETING})")],
    ),
    (VM, replace(VM, phase=Phase.READY, warning=""), []),
    (VM, replace(VM, destroy=DESTROY), [(INFO, f"instance {I} is destroyed (idle): idle for 60 s")]),
    (VM, replace(VM, destroy=UNRESPONSIVE), [(WARNING, f"instance {I} is destroyed (unresponsive): silent for 600 s")]),
    (
        replace(VM, destroy=DESTROY),
        replace(VM, destroy=replace(DESTROY, attempts=2)),
        [(INFO, f"instance {I} is still there and destroyed again (attempt 2)")],
    ),
    (
        replace(VM, destroy=DESTROY),
        replace(VM, destroy=replace(DESTROY, error="locked")),
        [(WARNING, f"instance {I} could not be destroyed: locked")],
    ),
    (replace(VM, destroy=DESTROY), None, [(INFO, f"instance {I} is gone 5.0 s after its destroy: idle for 60 s")]),
    (NEW, replace(NEW, create_unknown=True), [(WARNING, f"instance {I} may or may not have been created: the answer was lost")]),
    (VM, replace(VM, failure="no disk"), [(WARNING, f"instance {I} was accepted and failed later: no disk")]),
    (replace(VM, processes={U: RUNS}), VM, [(INFO, f"instance {I} is idle"), (INFO, f"{ON} ended")]),
]

PROCESSES: list[tuple[Process | None, Process, list[tuple[int, str]]]] = [
    (None, replace(RUNS, phase=ProcessPhase.STARTING), [(INFO, f"{ON} is being started")]),
    (None, RUNS, [(INFO, f"{ON} was found running")]),
    (replace(RUNS, phase=ProcessPhase.STARTING), RUNS, [(INFO, f"{ON} runs")]),
    (
        replace(RUNS, phase=ProcessPhase.STARTING),
        replace(RUNS, phase=ProcessPhase.UNCERTAIN),
        [(WARNING, f"{ON} was not started for sure: the answer was lost")],
    ),
    (RUNS, replace(RUNS, kill=Kill(reason="priority 0", since_s=99.0)), [(INFO, f"{ON} is sent TERM: priority 0")]),
    (
        replace(RUNS, kill=Kill(reason="priority 0", since_s=9.0, signal=9, kill_since_s=70.0)),
        replace(RUNS, kill=Kill(reason="priority 0", since_s=9.0, signal=9, kill_since_s=70.0, unkillable=True)),
        [(WARNING, f"{ON} cannot be killed")],
    ),
    (
        replace(RUNS, kill=Kill(reason="priority 0", since_s=99.0)),
        replace(RUNS, kill=Kill(reason="priority 0", since_s=99.0, sent_s=100.0)),
        [],
    ),
    (
        replace(RUNS, kill=Kill(reason="priority 0", since_s=99.0)),
        replace(RUNS, kill=Kill(reason="priority 0", since_s=99.0, signal=9)),
        [(WARNING, f"{ON} is sent KILL: priority 0")],
    ),
]


@pytest.mark.parametrize(("before", "after", "expected"), INSTANCES)
def test_what_changed_about_an_instance(
    before: Instance | None, after: Instance | None, expected: list[tuple[int, str]]
) -> None:
    """A failing probe is told the first time and when its reason changes, never each time."""
    assert texts(holding(before), holding(after), LOOK) == expected


@pytest.mark.parametrize(("before", "after", "expected"), PROCESSES)
def test_what_changed_about_a_process(before: Process | None, after: Process, expected: list[tuple[int, str]]) -> None:
    """Repeated signals are told once."""
    had = replace(VM, processes={U: before} if before else {})
    assert texts(holding(had), holding(replace(VM, processes={U: after})), LOOK) == expected


def test_a_runner_that_cannot_be_killed_on_a_held_instance_is_an_error() -> None:
    """Nothing of ours ends it: somebody has to look."""
    held = replace(VM, idle_behavior=IdleBehavior.HOLD)
    last = Kill(reason="priority 0", since_s=9.0, signal=9, kill_since_s=70.0)
    before = replace(held, processes={U: replace(RUNS, kill=last)})
    after = replace(held, processes={U: replace(RUNS, kill=replace(last, unkillable=True))})
    text = f"{ON} cannot be killed, and an operator's hold keeps the instance: release or kill it"
    assert texts(holding(before), holding(after), LOOK) == [(ERROR, text)]


QUOTA = Holdoff(
    call="create", key="type:small", kind=HoldoffKind.QUOTA, until_s=130.0, since_s=100.0, strikes=2, reason="10 of 10 vcpus"
)

SURROUNDINGS: list[tuple[dict[str, Any], dict[str, Any], list[tuple[int, str]]]] = [
    (
        {},
        {"holdoffs": Map([("create type:small", QUOTA)])},
        [(WARNING, "no create for type:small for 30 s: quota (2 in a row): 10 of 10 vcpus")],
    ),
    (
        {"holdoffs": Map([("create type:small", QUOTA)])},
        {"holdoffs": Map([("create type:small", replace(QUOTA, until_s=100.0))])},
        [(INFO, "create for type:small may be tried again: quota may have eased")],
    ),
    ({}, {"leadership": Leadership(leading=True, term=3)}, [(INFO, "leading now, term 3")]),
    ({}, {"leadership": Leadership(holder="host-b")}, [(INFO, "waiting to lead: host-b")]),
    (
        {"leadership": Leadership(leading=True)},
        {"leadership": Leadership(holder="host-b")},
        [(WARNING, "leading no more, nothing is acted on: host-b")],
    ),
    ({}, {"cloud": CloudView(alarm="6 destroys in 10 minutes")}, [(ERROR, "alarm: 6 destroys in 10 minutes")]),
    ({}, {"cloud": CloudView(error="503", failures=1)}, [(WARNING, "the list of instances cannot be read (1 in a row): 503")]),
    (
        {"queue": QueueView(error="503", failures=4)},
        {"queue": QueueView()},
        [(INFO, "the queue can be read again after 4 failures")],
    ),
    *(
        ({"queue": QueueView(error=f"{before} (req-1a)", failures=number - 1)},
         {"queue": QueueView(error="HTTP 401 (req-2b)", failures=number)},
         [(WARNING, f"the queue cannot be read ({number} in a row): HTTP 401 (req-2b)")] if told else [])
        for before, number, told in (
            ("HTTP 401", 2, True), ("HTTP 401", 3, False), ("HTTP 401", 100, False), ("HTTP 401", 128, True),
            ("HTTP 502", 3, True),
        )
    ),
    (
        {"queue": QueueView()},
        {"queue": QueueView(waiting=50_000, counted_s=99.0)},
        [(INFO, "50000 containers wait: those that could be placed soon are read, all are counted each minute")],
    ),
    ({"queue": QueueView(waiting=50_000)}, {"queue": QueueView(waiting=49_000)}, []),
    (
        {},
        {"queue": QueueView(rejected=Map([(U, "no state")]))},
        [(WARNING, f"container {U} is set aside, its record cannot be understood: no state")],
    ),
    (
        {},
        {"queue": QueueView(lock_strikes=1, lock_window=8, locks_held_until_s=102.0)},
        [(WARNING, "the queue is overloaded: no lock for 2 s, then at most 8 at once")],
    ),
]


@pytest.mark.parametrize(("before", "after", "expected"), SURROUNDINGS)
def test_what_changed_around_them(before: dict[str, Any], after: dict[str, Any], expected: list[tuple[int, str]]) -> None:
    """Hold-offs with their end and their reason, who leads, alarms, and what cannot be read."""
    assert texts(holding(**before), holding(**after), m.QueueHinted()) == expected


FAILED = m.CloudFailure(text="QuotaExceeded", kind=HoldoffKind.QUOTA, scope=Scope.GROUP)
MESSAGES: list[tuple[Message, tuple[int, str]]] = [
    (
        m.CancelContainer(uuid=U, error="lost", detail="its VM is gone"),
        (WARNING, f"container {U} is being cancelled: lost (its VM is gone)"),
    ),
    (m.UnlockContainer(uuid=U, reason="its runner ended"), (INFO, f"container {U} is being unlocked: its runner ended")),
    (
        m.ContainerWriteFailed(uuid=U, write=QueueWrite.LOCK, failure=m.QueueFailure(text="HTTP 422")),
        (WARNING, f"container {U} lock did not succeed, its record is read again: HTTP 422"),
    ),
    (
        m.CreateFailed(name=I, failure=FAILED),
        (WARNING, f"instance {I}: create failed (quota, concerns group): QuotaExceeded"),
    ),
    (
        m.StartEnded(name=I, uuid=U, outcome=m.StartOutcome.NOT_SENT, error="refused"),
        (WARNING, f"container {U} was not started on {I}, nothing was sent: refused"),
    ),
    (m.KillEnded(name=I, uuid=U, gone=False, error="timeout"), (WARNING, f"container {U} kill on {I} failed: timeout")),
    (
        m.TagsFailed(name=I, failure=FAILED),
        (WARNING, f"instance {I}: its tags cannot be saved, they are sent again: QuotaExceeded"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_what_only_the_message_knows(message: Message, expected: tuple[int, str]) -> None:
    """The reason of an act, and the text of a failure, which State does not keep."""
    assert texts(BASE, BASE, message) == [expected]


def test_a_kill_that_fails_as_before_is_whispered() -> None:
    """A signal is repeated each TimeoutSignal, for days when a hold keeps the instance. Another error is told aloud again."""
    failing = replace(RUNS, kill=Kill(reason="enough", since_s=1.0, error="timeout"))
    before = holding(replace(VM, processes={U: failing}))
    told = [texts(before, before, m.KillEnded(name=I, uuid=U, gone=False, error=error)) for error in ("timeout", "refused")]
    assert [level for ((level, _),) in told] == [DEBUG, WARNING]


def test_a_poll_tells_of_the_containers_that_it_changed() -> None:
    """And of no other, however many it names."""
    records = tuple(ContainerRecord(uuid=f"{U}{n}", state=ContainerState.QUEUED, priority=1) for n in range(200))
    before = holding(*(replace(C, uuid=record.uuid) for record in records))
    after = replace(before, containers=before.containers.set(f"{U}7", replace(C, uuid=f"{U}7", priority=7)))
    told = narrate(before, after, m.ContainersObserved(began_s=99.0, records=records), 100.0)
    assert [one.container for one in told] == [f"{U}7"]


def test_a_removed_instance_tells_of_the_containers_it_held() -> None:
    """They are lost with it, whatever the message names."""
    before = holding(replace(C, instance=I), replace(VM, bound={U: None}))
    told = narrate(before, holding(replace(C, lost="it disappeared")), m.RemoveInstance(name=I), 100.0)
    assert {one.container for one in told if one.kind is Kind.CONTAINER} == {U}


def test_a_sentence_names_whom_it_concerns() -> None:
    """So that logs can be searched by upstream's field names, and pages by ids."""
    (one,) = narrate(holding(VM), holding(replace(VM, processes={U: RUNS})), LOOK, 100.0)
    assert (one.container, one.instance, one.kind) == (U, I, Kind.PROCESS)
    assert one.fields == {
        "ContainerUUID": U, "Instance": "vm1", "InstanceName": I, "InstanceType": "small", "Address": "", "State": "ready",
    }  # fmt: skip
