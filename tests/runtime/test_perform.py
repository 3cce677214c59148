"""Action → I/O → event: each act against each way in which it can end. Nothing raises, and every end is told exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dispatcher.core import messages as m
from dispatcher.core.looks import Look
from dispatcher.core.model import (
    CataloguePart,
    ContainerRecord,
    ContainerState,
    DestroyCause,
    Instance,
    KnownLeftover,
    Leadership,
    Output,
    QueueWrite,
    Requirements,
    State,
)
from dispatcher.core.transitions import INTENTS, WITHOUT_EFFECT
from dispatcher.core.transitions.cloud import own_tags
from dispatcher.driver import Created, HostKey, Leftover, Listing, Price, TypeFacts
from dispatcher.driver import Instance as ListedInstance
from dispatcher.runtime.perform import NOT_LEADING, NOT_PROVED, SLICE, Perform, Ports, failure_of, init_script, slices
from dispatcher.runtime.performed import Tally
from tests.runtime.states import TYPE, Clock, container, instance, leading, uuid

TOKEN = "zzzzz-gj3su-000000000000001"
RECORD = ContainerRecord(uuid=uuid(1), state=ContainerState.LOCKED, priority=1, locked_by_uuid=TOKEN)
LISTED = ListedInstance(id="id-i1", name="i1", provider_type="s")
BEGAN_S = 100.0
TYPES = (TYPE,)
PRICE, FACTS = Price(name=TYPE.name, per_hour=0.5), TypeFacts(name=TYPE.name, vcpus=1)

QUEUE_FAILURE = m.QueueFailure(text="no answer", status=502)
CLOUD_FAILURE = m.CloudFailure(text="refused")
QUEUE_ERROR, CLOUD_ERROR = m.QueueError(QUEUE_FAILURE), m.CloudCallFailed(CLOUD_FAILURE)


@dataclass
class World:
    """All ports in one: it answers, or raises what it is told to, and keeps what was asked."""

    trouble: Exception | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def _answer(self, name: str, otherwise: Any, *arguments: Any) -> Any:
        self.asked.append((name, *arguments))
        if self.trouble is not None:
            raise self.trouble
        return self.answers.get(name, otherwise)

    # queue
    def token_uuid(self) -> str:
        self.asked.append(("token_uuid",))
        return TOKEN

    def poll(self, look: Look) -> m.Sight:
        return self._answer("poll", m.Sight(records=(RECORD,)), look)

    def read(self, uuids: Sequence[str]) -> m.Records:
        return self._answer("read", m.Records(records=(RECORD,)), uuids)

    def lock(self, uuid: str) -> ContainerRecord:
        return self._answer("lock", RECORD, uuid)

    def unlock(self, uuid: str) -> ContainerRecord:
        return self._answer("unlock", RECORD, uuid)

    def runtime_status(self, uuid: str) -> Any:
        return self._answer("runtime_status", {"activity": "it sorts", "error": "it coughed"}, uuid)

    def cancel(self, uuid: str, runtime_status: Any) -> ContainerRecord:
        return self._answer("cancel", RECORD, uuid, dict(runtime_status))


class SlowQueue(World):
    """While it answers, something else happens."""

    meanwhile: Callable[[], object]

    def poll(self, look: Look) -> m.Sight:
        self.meanwhile()
        return super().poll(look)


@dataclass
class CloudWorld(World):
    says: dict[str, float] = field(default_factory=dict)  # what its answers report beside the answer

    def _tell(self, call: Any) -> None:
        for name, value in self.says.items():
            setattr(call, name, value)

    def create(self, request: Any, call: Any) -> Created:
        self._tell(call)
        return self._answer("create", Created(id="id-i1", operation="op"), request, call)

    def poll_create(self, operation: str, call: Any) -> Any:
        self._tell(call)
        return self._answer("poll_create", True, operation)

    def list(self, call: Any) -> Listing:
        self._tell(call)
        return self._answer("list", Listing((LISTED,)))

    def destroy(self, instance_id: str, call: Any) -> None:
        self._tell(call)
        self._answer("destroy", None, instance_id)

    def set_tags(self, instance_id: str, tags: Any, call: Any) -> None:
        self._tell(call)
        self._answer("set_tags", None, instance_id, dict(tags))

    def delete_leftover(self, leftover: Any, call: Any) -> None:
        self._answer("delete_leftover", None, leftover.id)

    def host_keys(self, instance_id: str) -> tuple[HostKey, ...]:
        return self._answer("host_keys", (HostKey("ssh-ed25519", "AAAA"),), instance_id)

    def quota_group(self, instance_type: Any) -> str:
        return ""

    def prices(self, types: Any, call: Any) -> tuple[Price, ...]:
        self._tell(call)
        return self._answer("prices", (PRICE,), types)

    def type_facts(self, types: Any, call: Any) -> tuple[TypeFacts, ...]:
        self._tell(call)
        return self._answer("type_facts", (FACTS,), types)


class InstanceWorld(World):
    def probe(self, target: m.Target, *, boot: bool) -> m.ProbeReport:
        return self._answer("probe", m.ProbeReport(reached=True, processes=frozenset()), target, boot)

    def start(self, target: m.Target, uuid: str, instance_type: Any, *, vcpus: int | None = None) -> m.StartReport:
        return self._answer("start", m.StartReport(outcome=m.StartOutcome.STARTED), target, uuid, instance_type, vcpus)

    def kill(self, target: m.Target, uuid: str, signal: int) -> m.KillReport:
        return self._answer("kill", m.KillReport(gone=True), target, uuid, signal)

    def output(self, target: m.Target, uuid: str) -> str:
        return self._answer("output", "the last line", target, uuid)

    def close(self, name: str) -> None:
        self._answer("close", None, name)


class House:
    """Perform on these ports. ``state`` may be changed in the test; our token is known unless it is taken away."""

    def __init__(
        self, *, queue: Any = None, cloud: Any = None, vouches: bool = False, proves_to_lead: bool = True, **more: Any
    ) -> None:  # fmt: skip
        self.state: State = known(**more)
        self.queue, self.cloud, self.instances = queue or World(), cloud or CloudWorld(), InstanceWorld()
        ports = Ports(
            queue=self.queue, cloud=self.cloud, instances=self.instances, clock=Clock(BEGAN_S), public_key="ssh-ed25519 KEY",
            vouches_host_keys=vouches, proves_to_lead=lambda: proves_to_lead,
        )  # fmt: skip
        self.perform = Perform(ports, lambda: self.state)

    def ports(self) -> list[World]:
        return [self.queue, self.cloud, self.instances]

    def do(self, action: m.Action, term: int = 1) -> list[m.Event]:
        return self.perform.execute(action, term)

    def sent(self) -> list[str]:
        return [asked[0] for port in self.ports() for asked in port.asked if asked[0] != "token_uuid"]


def known(**more: Any) -> State:
    asked = Output(instance="i1", asked_s=BEGAN_S)
    held = container(state=ContainerState.LOCKED, ours=True, output=asked)
    state = leading(held, instance(operation="op", tags={"site": "x"}))
    found = {"d1": KnownLeftover(leftover=Leftover("d1", "disk"), first_s=BEGAN_S)}
    cloud = replace(state.cloud, leftovers=found)
    return replace(state, queue=replace(state.queue, token_uuid=TOKEN), cloud=cloud, **more)


# --------------------------------------------------------------------------------------------------------------- the table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One act. ``error``: what its port raises, and None when the port never raises. ``failed``: the events of its end, given
    the failure, for queue and cloud; ``gone``: of its end when its subject is gone."""

    action: m.Action
    done: list[m.Event]
    refused: list[m.Event] | None  # None: what its port reports is data, so that it never raises
    bug: list[m.Event]
    stopped: list[m.Event]
    gone: list[m.Event] | None  # None: it has no subject, or needs nothing from State


def queue_bug(text: str) -> m.QueueFailure:
    return m.QueueFailure(text=text)


BUG = "a bug in the dispatcher: ZeroDivisionError"
UNKNOWN = m.CloudFailure(text=BUG, outcome_unknown=True)
SAID_BUG = m.CloudFailure(text=BUG)
STOPPED = m.CloudFailure(text=NOT_LEADING)
GONE = m.CloudFailure(text="i1 is gone")


def write_row(action: m.Action, write: QueueWrite) -> Row:
    def failed(failure: m.QueueFailure) -> list[m.Event]:
        return [m.ContainerWriteFailed(uuid=uuid(1), write=write, failure=failure)]

    return Row(
        action=action, done=[m.ContainerWritten(uuid=uuid(1), write=write, record=RECORD)], refused=failed(QUEUE_FAILURE),
        bug=failed(queue_bug(BUG)), stopped=failed(queue_bug(NOT_LEADING)), gone=None,
    )  # fmt: skip


def silent(text: str) -> m.Event:
    report = m.ProbeReport(reached=False, problem=m.ProbeProblem.COMMAND, error=text)
    return m.Probed(name="i1", began_s=BEGAN_S, report=report)


def start(outcome: m.StartOutcome, error: str = "") -> m.Event:
    return m.StartEnded(name="i1", uuid=uuid(1), outcome=outcome, error=error)


def kill(error: str) -> m.Event:
    return m.KillEnded(name="i1", uuid=uuid(1), gone=False, error=error, answered=False)


TABLE = [
    Row(
        action=m.PollQueue(),
        done=[m.QueuePolled(began_s=BEGAN_S)],
        refused=[m.QueuePollFailed(began_s=BEGAN_S, failure=QUEUE_FAILURE)],
        bug=[m.QueuePollFailed(began_s=BEGAN_S, failure=queue_bug(BUG))],
        stopped=[m.QueuePollFailed(began_s=BEGAN_S, failure=queue_bug(NOT_LEADING))],
        gone=None,
    ),
    Row(
        action=m.ReadContainers(uuids=(uuid(1), uuid(2))),
        done=[m.ContainersRead(began_s=BEGAN_S, asked=(uuid(1), uuid(2)), records=(RECORD,))],
        refused=[m.ContainersReadFailed(asked=(uuid(1), uuid(2)), failure=QUEUE_FAILURE)],
        bug=[m.ContainersReadFailed(asked=(uuid(1), uuid(2)), failure=queue_bug(BUG))],
        stopped=[m.ContainersReadFailed(asked=(uuid(1), uuid(2)), failure=queue_bug(NOT_LEADING))],
        gone=None,
    ),
    write_row(m.LockContainer(uuid=uuid(1), instance="i1"), QueueWrite.LOCK),
    write_row(m.UnlockContainer(uuid=uuid(1), reason="r"), QueueWrite.UNLOCK),
    write_row(m.CancelContainer(uuid=uuid(1), error="e", detail="d"), QueueWrite.CANCEL),
    Row(
        action=m.CreateInstance(name="i1", instance_type="small", secret="s"),
        done=[m.InstanceCreated(name="i1", id="id-i1", operation="op")],
        refused=[m.CreateFailed(name="i1", failure=CLOUD_FAILURE)],
        bug=[m.CreateFailed(name="i1", failure=UNKNOWN)],
        stopped=[m.CreateFailed(name="i1", failure=STOPPED)],
        gone=[m.CreateFailed(name="i1", failure=GONE)],
    ),
    Row(
        action=m.PollCreate(name="i1"),
        done=[m.CreatePolled(name="i1", done=True)],
        refused=[m.CreatePolled(name="i1", done=False, failure=CLOUD_FAILURE)],
        bug=[m.CreatePolled(name="i1", done=False)],
        stopped=[m.CreatePolled(name="i1", done=False)],
        gone=[m.CreatePolled(name="i1", done=False)],
    ),
    Row(
        action=m.ListInstances(),
        done=[m.InstancesListed(began_s=BEGAN_S, instances=(LISTED,)), m.ListEnded(began_s=BEGAN_S, complete=True)],
        refused=[m.ListFailed(began_s=BEGAN_S, failure=CLOUD_FAILURE)],
        bug=[m.ListFailed(began_s=BEGAN_S, failure=UNKNOWN)],
        stopped=[m.ListFailed(began_s=BEGAN_S, failure=STOPPED)],
        gone=None,
    ),
    Row(
        action=m.DestroyInstance(name="i1", cause=DestroyCause.IDLE, reason="r"),
        done=[m.DestroyAccepted(name="i1")],
        refused=[m.DestroyFailed(name="i1", failure=CLOUD_FAILURE)],
        bug=[m.DestroyFailed(name="i1", failure=UNKNOWN)],
        stopped=[m.DestroyFailed(name="i1", failure=STOPPED)],
        gone=[m.DestroyAccepted(name="i1")],
    ),
    Row(action=m.RemoveInstance(name="i1"), done=[], refused=None, bug=[], stopped=[], gone=None),
    Row(
        action=m.SaveTags(name="i1"),
        done=[m.TagsSaved(name="i1", tags={"site": "x", **own_tags(instance(), known().settings)})],
        refused=[m.TagsFailed(name="i1", failure=CLOUD_FAILURE)],
        bug=[m.TagsFailed(name="i1", failure=UNKNOWN)],
        stopped=[m.TagsFailed(name="i1", failure=STOPPED)],
        gone=[m.TagsSaved(name="i1", tags={})],
    ),
    Row(
        action=m.ReadCatalogue(part=CataloguePart.PRICES),
        done=[m.CatalogueRead(part=CataloguePart.PRICES, types=TYPES, prices=(PRICE,))],
        refused=[m.CatalogueFailed(part=CataloguePart.PRICES, failure=CLOUD_FAILURE)],
        bug=[m.CatalogueFailed(part=CataloguePart.PRICES, failure=SAID_BUG)],
        stopped=[m.CatalogueFailed(part=CataloguePart.PRICES, failure=STOPPED)],
        gone=None,
    ),
    Row(
        action=m.ReadCatalogue(part=CataloguePart.TYPES),
        done=[m.CatalogueRead(part=CataloguePart.TYPES, types=TYPES, facts=(FACTS,))],
        refused=[m.CatalogueFailed(part=CataloguePart.TYPES, failure=CLOUD_FAILURE)],
        bug=[m.CatalogueFailed(part=CataloguePart.TYPES, failure=SAID_BUG)],
        stopped=[m.CatalogueFailed(part=CataloguePart.TYPES, failure=STOPPED)],
        gone=None,
    ),
    Row(
        action=m.DeleteLeftover(id="d1"),
        done=[m.LeftoverDeleted(id="d1")],
        refused=[m.LeftoverFailed(id="d1", failure=CLOUD_FAILURE)],
        bug=[m.LeftoverFailed(id="d1", failure=UNKNOWN)],
        stopped=[m.LeftoverFailed(id="d1", failure=STOPPED)],
        gone=[m.LeftoverDeleted(id="d1")],
    ),
    Row(
        action=m.ProbeInstance(name="i1"),
        done=[m.Probed(name="i1", began_s=BEGAN_S, report=m.ProbeReport(reached=True, processes=frozenset()))],
        refused=None,
        bug=[silent(BUG)],
        stopped=[silent(NOT_LEADING)],
        gone=[silent("i1 is gone")],
    ),
    Row(
        action=m.StartContainer(uuid=uuid(1), instance="i1"),
        done=[start(m.StartOutcome.STARTED)],
        refused=None,
        bug=[start(m.StartOutcome.UNKNOWN, BUG)],
        stopped=[start(m.StartOutcome.NOT_SENT, NOT_LEADING)],
        gone=[start(m.StartOutcome.NOT_SENT, "i1 is gone")],
    ),
    Row(
        action=m.KillProcess(name="i1", uuid=uuid(1), signal=15, reason="r"),
        done=[m.KillEnded(name="i1", uuid=uuid(1), gone=True)],
        refused=None,
        bug=[kill(BUG)],
        stopped=[kill(NOT_LEADING)],
        gone=[kill("i1 is gone")],
    ),
    Row(
        action=m.FetchOutput(name="i1", uuid=uuid(1)),
        done=[m.OutputFetched(name="i1", uuid=uuid(1), began_s=BEGAN_S, text="the last line")],
        refused=None,
        bug=[m.OutputFetched(name="i1", uuid=uuid(1), began_s=BEGAN_S)],
        stopped=[m.OutputFetched(name="i1", uuid=uuid(1), began_s=BEGAN_S)],
        gone=[m.OutputFetched(name="i1", uuid=uuid(1), began_s=BEGAN_S)],
    ),
]

each_act = pytest.mark.parametrize("row", TABLE, ids=lambda row: type(row.action).__name__)


PROVED = (m.UnlockContainer, m.CancelContainer, m.DestroyInstance, m.StartContainer, m.KillProcess)


@each_act
def test_what_undoes_the_work_of_another_is_done_by_a_proved_leader_only(row: Row) -> None:
    """Who has just lost the claim may not know it yet: nothing is sent, and the act ends as one that was stopped."""
    house = House(proves_to_lead=False)
    if isinstance(row.action, PROVED):
        told = [str(event) for event in house.do(row.action)]
        assert told == [str(event).replace(NOT_LEADING, NOT_PROVED) for event in row.stopped]
        assert house.sent() == []
    else:
        assert house.do(row.action) == row.done


@each_act
def test_an_act_that_is_done(row: Row) -> None:
    """One event says how it ended; a poll and a list tell in parts what they saw before."""
    assert House().do(row.action) == row.done


def test_a_cancel_joins_what_stands_in_the_record():
    """The queue service replaces the whole object, so it is read first; an error that stood there is told at the end."""
    house = House()
    house.do(m.CancelContainer(uuid=uuid(1), error="e", detail="d"))
    status = {"activity": "it sorts", "error": "e", "errorDetail": "d\nbefore that: it coughed"}
    assert house.queue.asked == [("runtime_status", uuid(1)), ("cancel", uuid(1), status)]


def test_a_cancel_of_what_only_waited_is_one_request():
    """A container that was never locked has no status to lose."""
    house = House()
    held = house.state.containers[uuid(1)]
    waits = replace(held, state=ContainerState.QUEUED, ours=False)
    house.state = replace(house.state, containers=house.state.containers.set(uuid(1), waits))
    house.do(m.CancelContainer(uuid=uuid(1), error="fits nowhere"))
    assert house.queue.asked == [("cancel", uuid(1), {"error": "fits nowhere"})]


def test_an_output_that_nobody_waits_for_any_more_is_not_asked_for():
    """It waited in its lane for too long itself."""
    house = House()
    late = replace(house.state.containers[uuid(1)], output=Output(instance="i1", asked_s=BEGAN_S - 6.0))
    house.state = replace(house.state, containers=house.state.containers.set(uuid(1), late))
    (event,) = house.do(m.FetchOutput(name="i1", uuid=uuid(1)))
    assert (event, house.instances.asked) == (m.OutputFetched(name="i1", uuid=uuid(1), began_s=BEGAN_S), [])


@pytest.mark.parametrize("action", [m.CreateInstance(name="i1", instance_type="small", secret="s"), m.PollCreate(name="i1")])
def test_when_to_ask_again_how_a_create_stands_goes_with_that_create(action: m.Action) -> None:
    """It is no pause of others: no report is made of it."""
    house = House(cloud=CloudWorld(says={"poll_after_s": 10.0}))
    (event,) = house.do(action)
    assert isinstance(event, m.InstanceCreated | m.CreatePolled)
    assert event.poll_after_s == 10.0


CALLS = [
    (m.CreateInstance(name="i1", instance_type="small", secret="s"), "create"),
    (m.PollCreate(name="i1"), "poll_create"),
    (m.ListInstances(), "list"),
    (m.ReadCatalogue(part=CataloguePart.PRICES), "prices"),
    (m.ReadCatalogue(part=CataloguePart.TYPES), "types"),
    (m.DestroyInstance(name="i1", cause=DestroyCause.IDLE, reason="idle"), "destroy"),
    (m.SaveTags(name="i1"), "set_tags"),
]


@pytest.mark.parametrize(("action", "call"), CALLS)
@pytest.mark.parametrize("trouble", [None, CLOUD_ERROR])
def test_what_the_driver_reports_of_a_call_is_told_last(action: m.Action, call: str, trouble: Exception | None) -> None:
    """After the event that ends the act, so that this call no longer counts as on its way; also when the call failed."""
    house = House()
    house.cloud.says = {"calls_remaining": 7, "limit": 10.0}
    house.cloud.trouble = trouble
    assert house.do(action)[-1] == m.CallReported(call=call, calls_remaining=7, limit=10.0)


@each_act
def test_an_act_that_its_port_refuses(row: Row) -> None:
    """The failure is data, as the port gave it."""
    house = House()
    house.queue.trouble, house.cloud.trouble = QUEUE_ERROR, CLOUD_ERROR
    if row.refused is not None:
        assert house.do(row.action) == row.refused
        assert not house.perform.bugs


@each_act
def test_an_act_that_meets_a_bug(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """It becomes the failure of the act, with an outcome that nobody knows; it is kept and logged."""
    house = House()
    for port in house.ports():
        port.trouble = ZeroDivisionError("division by zero")
    assert house.do(row.action) == row.bug
    name = type(row.action).__name__
    assert (list(house.perform.bugs), house.perform.bug_count) == ([f"{name}: ZeroDivisionError: division by zero"], 1)
    assert "Traceback" in caplog.text


NOT_OURS: list[tuple[Leadership, int]] = [
    (Leadership(leading=False, term=1), 1),  # lost
    (Leadership(leading=True, term=2), 1),  # lost, and gained again since it was planned
    (Leadership(leading=False, term=2), 2),
]


@pytest.mark.parametrize(("leadership", "term"), NOT_OURS, ids=str)
@each_act
def test_who_does_not_lead_sends_nothing(row: Row, leadership: Leadership, term: int) -> None:
    """Compared just before each act; that nothing was sent is known for sure."""
    house = House(leadership=leadership)
    assert house.do(row.action, term) == row.stopped
    assert house.sent() == (["close"] if isinstance(row.action, m.RemoveInstance) else [])


@each_act
def test_an_act_whose_instance_is_gone_sends_nothing(row: Row) -> None:
    """It was removed between the plan and the act."""
    house = House()
    gone = replace(house.state.cloud, leftovers={})
    house.state = replace(house.state, instances=house.state.instances.without("i1"), cloud=gone)
    if row.gone is not None:
        assert house.do(row.action) == row.gone
        assert house.sent() == []


def test_the_table_misses_no_act() -> None:
    """Every action that is not done once it is recorded."""
    assert {type(row.action) for row in TABLE} == set(INTENTS) - set(WITHOUT_EFFECT)


@each_act
@pytest.mark.parametrize("sent", [True, False])
def test_every_act_that_is_performed_can_fail(row: Row, sent: bool) -> None:
    """Also one that is given up from outside: its end is told, and only what may have taken effect is of unknown outcome."""
    events = failure_of(row.action, BEGAN_S, BUG if sent else NOT_LEADING, sent=sent)
    assert events == (row.bug if sent else row.stopped)


def test_what_is_never_performed_has_no_failure() -> None:
    """A mistake of ours is told at once."""
    with pytest.raises(TypeError, match="BindContainer"):
        failure_of(m.BindContainer(uuid=uuid(1), instance="i1"), BEGAN_S, "t", sent=True)


# -------------------------------------------------------------------------------------------------------------- our own name


def test_our_token_is_told_until_state_knows_it() -> None:
    """By it we know our own locks. It is asked for once."""
    house = House(queue=World())
    house.state = leading()
    told = m.QueueIdentified(token_uuid=TOKEN)
    assert house.do(m.PollQueue())[0] == told
    assert house.do(m.ReadContainers(uuids=(uuid(1),)))[0] == told
    house.state = known()
    assert told not in house.do(m.PollQueue())
    assert [asked for asked in house.queue.asked if asked == ("token_uuid",)] == [("token_uuid",)]


@pytest.mark.parametrize("act", [m.PollQueue(), m.ReadContainers(uuids=(uuid(1),))], ids=lambda act: type(act).__name__)
def test_what_was_learnt_before_a_failure_is_kept(act: m.Action) -> None:
    """The token's uuid was answered, and then the list was not."""
    house = House(queue=World(trouble=QUEUE_ERROR))
    house.state = leading()
    first, last = house.do(act)
    assert first == m.QueueIdentified(token_uuid=TOKEN)
    assert isinstance(last, m.QueuePollFailed | m.ContainersReadFailed)


def test_a_bug_does_not_take_our_name_with_it() -> None:
    """The act fails as a whole; the next one tells it."""
    house = House(queue=World(trouble=ZeroDivisionError()))
    house.state = leading()
    house.do(m.PollQueue())
    house.queue.trouble = None
    assert house.do(m.PollQueue())[0] == m.QueueIdentified(token_uuid=TOKEN)


# ------------------------------------------------------------------------------------------------------------------- slices


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (SLICE, [SLICE]), (2 * SLICE + 1, [SLICE, SLICE, 1])])
def test_slices(count: int, sizes: list[int]) -> None:
    """All of it, in order, never more than so many at a time."""
    parts = list(slices(range(count)))
    assert [len(part) for part in parts] == sizes
    assert [number for part in parts for number in part] == list(range(count))


def kinds(events: list[m.Event]) -> list[type[m.Event]]:
    return [type(event) for event in events]


def test_a_long_poll_is_told_in_slices() -> None:
    """New containers, then those that were not shown, then the end with what was not understood."""
    records = tuple(replace(RECORD, uuid=uuid(number), priority=2) for number in range(SLICE + 1))
    answer = m.Sight(records=records, rejected={uuid(9999): "garbled"})
    house = House(queue=World(answers={"poll": answer}))
    held = [container(5000 + number) for number in range(SLICE + 1)]
    house.state = replace(house.state, containers=house.state.containers.update((each.uuid, each) for each in held))
    events = house.do(m.PollQueue())
    assert kinds(events) == [m.ContainersObserved] * 2 + [m.ContainersAbsent] * 2 + [m.QueuePolled]
    assert events[-1] == m.QueuePolled(began_s=BEGAN_S, rejected={uuid(9999): "garbled"})


def test_a_long_list_is_told_in_slices() -> None:
    """What was shown, what was missed, and the end."""
    listed = tuple(replace(LISTED, name=f"n{number}") for number in range(SLICE + 1))
    leftover = Leftover(kind="disk", id="d1")
    house = House(cloud=CloudWorld(answers={"list": Listing(listed, (leftover,))}))
    held = [instance(f"m{number}") for number in range(SLICE)]
    house.state = replace(house.state, instances=house.state.instances.update((each.name, each) for each in held))
    events = house.do(m.ListInstances(leftovers=True))
    assert kinds(events) == [m.InstancesListed] * 2 + [m.InstancesMissed] * 2 + [m.ListEnded]
    assert events[-1] == m.ListEnded(began_s=BEGAN_S, complete=True, leftovers=(leftover,))


def test_a_partial_list_misses_nobody() -> None:
    """It may add and refresh, never remove."""
    house = House(cloud=CloudWorld(answers={"list": Listing((), complete=False)}))
    assert house.do(m.ListInstances()) == [m.ListEnded(began_s=BEGAN_S, complete=False)]


def test_an_instance_that_is_listed_twice_is_told_once() -> None:
    """The later entry counts."""
    house = House(cloud=CloudWorld(answers={"list": Listing((LISTED, replace(LISTED, address="10.0.0.9")))}))
    assert house.do(m.ListInstances())[0] == m.InstancesListed(
        began_s=BEGAN_S, instances=(replace(LISTED, address="10.0.0.9"),)
    )


def test_the_difference_is_taken_from_what_is_held_after_the_answer() -> None:
    """A poll takes its time, and what was learnt meanwhile is not told again."""
    house = House(queue=SlowQueue())
    house.queue.meanwhile = lambda: setattr(house, "state", known())
    house.state = replace(house.state, containers=house.state.containers.without(uuid(1)))
    assert kinds(house.do(m.PollQueue())) == [m.QueuePolled]


# ------------------------------------------------------------------------------------------------------------ what is asked


def test_a_create_names_everything_that_makes_the_machine_ours() -> None:
    """Our name, our tags, our secret, our key."""
    house = House()
    house.do(m.CreateInstance(name="i1", instance_type="small", secret="hush"))
    _, request, call = house.cloud.asked[0]
    assert (request.name, request.instance_type, request.public_key) == ("i1", TYPE, "ssh-ed25519 KEY")
    assert request.tags == own_tags(house.state.instances["i1"], house.state.settings)
    assert request.init_script == init_script("hush", "")
    assert call.timeout_s == house.state.settings.timeout_cloud_call_s


def test_a_key_that_is_not_to_be_deployed_is_not_handed_on() -> None:
    """DeployPublicKey: false."""
    house = House()
    house.state = replace(house.state, settings=replace(house.state.settings, deploy_public_key=False))
    house.do(m.CreateInstance(name="i1", instance_type="small", secret="s"))
    assert house.cloud.asked[0][1].public_key is None


def test_a_type_that_is_no_longer_configured_is_not_created() -> None:
    """It went with a reload, between the plan and the act."""
    house = House()
    events = house.do(m.CreateInstance(name="i1", instance_type="huge", secret="s"))
    assert events == [m.CreateFailed(name="i1", failure=m.CloudFailure(text="the instance type huge is no longer configured"))]
    assert house.sent() == []


def test_a_create_that_fails_after_it_was_accepted_says_so() -> None:
    """The driver's answer to how it stands is the failure itself."""
    house = House(cloud=CloudWorld(answers={"poll_create": CLOUD_FAILURE}))
    assert house.do(m.PollCreate(name="i1")) == [m.CreateFailed(name="i1", failure=CLOUD_FAILURE, accepted=True)]


def test_a_create_without_an_operation_needs_no_question() -> None:
    """It was done when it was accepted."""
    house = House()
    house.state = leading(instance(operation=None))
    assert house.do(m.PollCreate(name="i1")) == [m.CreatePolled(name="i1", done=True)]
    assert house.sent() == []


@pytest.mark.parametrize(("known_instance", "boot"), [(instance(ready_s=None), True), (instance(ready_s=5.0), False)])
def test_only_an_instance_that_was_never_ready_is_probed_for_its_boot(known_instance: Instance, boot: bool) -> None:
    """The boot probe is the site's command, and may be slow."""
    house = House()
    house.state = leading(known_instance)
    house.do(m.ProbeInstance(name="i1"))
    assert house.instances.asked[0][2] is boot


KEY = HostKey("ssh-ed25519", "BBBB")
VOUCHED = HostKey("ssh-ed25519", "AAAA")
KEYS: list[tuple[bool, Instance, tuple[HostKey, ...]]] = [
    (True, instance(), (VOUCHED,)),
    (True, instance(host_keys=(KEY,)), (KEY,)),
    (True, instance(id=None), ()),
    (False, instance(), ()),
]


@pytest.mark.parametrize(("vouches", "held", "keys"), KEYS, ids=lambda value: str(value)[:40])
def test_host_keys_come_from_the_cloud_when_it_vouches_for_them(
    vouches: bool, held: Instance, keys: tuple[HostKey, ...]
) -> None:
    """And are asked for only while none is known."""
    house = House(vouches=vouches)
    house.state = leading(held)
    house.do(m.ProbeInstance(name="i1"))
    assert house.instances.asked[0][1].host_keys == keys


WANTED: list[tuple[Requirements | None, int | None]] = [(Requirements(vcpus=3, ram_bytes=1), 3), (None, None)]


@pytest.mark.parametrize(("requirements", "vcpus"), WANTED)
def test_a_start_says_how_many_vcpus_the_container_asked_for(requirements: Requirements | None, vcpus: int | None) -> None:
    """Else the runner takes all that the instance has."""
    house = House()
    house.state = leading(container(requirements=requirements), instance())
    house.do(m.StartContainer(uuid=uuid(1), instance="i1"))
    _, target, asked_uuid, offer, asked_vcpus = house.instances.asked[0]
    assert (target.name, target.address, target.secret) == ("i1", "10.0.0.1", "s")
    assert (asked_uuid, offer, asked_vcpus) == (uuid(1), TYPE, vcpus)


def test_an_instance_that_was_never_in_the_cloud_needs_no_destroy() -> None:
    """There is nothing to send."""
    house = House()
    house.state = leading(instance(id=None))
    action = m.DestroyInstance(name="i1", cause=DestroyCause.IDLE, reason="r")
    assert house.do(action) == [m.DestroyAccepted(name="i1")]
    assert house.sent() == []


# -------------------------------------------------------------------------------------------------------------------- tally


FAILED: list[tuple[Callable[[House], object], m.Action, bool]] = [
    (lambda house: None, m.PollQueue(), False),
    (lambda house: setattr(house.queue, "trouble", QUEUE_ERROR), m.PollQueue(), True),
    (lambda house: setattr(house.queue, "trouble", ValueError()), m.PollQueue(), True),
    (lambda house: setattr(house, "state", State()), m.PollQueue(), True),
    (
        lambda house: house.instances.answers.update(probe=m.ProbeReport(reached=True)),
        m.ProbeInstance(name="i1"), True,
    ),
    (
        lambda house: house.instances.answers.update(start=m.StartReport(outcome=m.StartOutcome.REFUSED)),
        m.StartContainer(uuid=uuid(1), instance="i1"), True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("prepare", "action", "failed"), FAILED)
def test_every_act_is_counted(prepare: Callable[[House], object], action: m.Action, failed: bool) -> None:
    """How often, and how often without success, whatever went wrong."""
    house = House()
    prepare(house)
    house.do(action)
    assert house.perform.tally.counts == {type(action).__name__: (1, int(failed), 0.0)}


def test_many_threads_are_counted_exactly() -> None:
    """Metrics that lose counts are believed all the same."""
    tally = Tally()
    threads = [
        threading.Thread(target=lambda: [tally.add("x", failed=True, seconds=1.0) for _ in range(500)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.counts == {"x": (4000, 4000, 4000.0)}


def test_the_secret_is_written_before_the_sites_own_command() -> None:
    """Readable by root alone, so that nobody on the instance can pass for it."""
    first, second, third = init_script("hush", "apt-get update").splitlines()
    assert first == "#!/bin/sh"
    assert second.startswith("umask 0177 && ")
    assert "'hush'" in second
    assert third == "apt-get update"
