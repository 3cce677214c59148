"""Properties of the whole core under random histories: laws hold, plans are legal, and nothing happens when nothing changed."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dispatcher.core import cadence, invariants, lifecycle, probing, reconcile, schedule, sizing
from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, DestroyCause, HoldoffKind, IdleBehavior, QueueWrite
from dispatcher.core.transitions import INTENTS, OBSERVERS, Refused, begin, legal, observe
from dispatcher.driver import Leftover, Scope
from tests.core.build import OTHERS, OURS, listed, offer, record, settings, state, wants

UUIDS = [f"zzzzz-dz642-{number:015d}" for number in range(4)]
NAMES = ["i1", "i2", "new1"]
MENU = settings(offer("t4"), offer("t1", 1, 0.3), max_instances=3, create_is_idempotent=True)

LEFTOVER = Leftover("d1", "disk")
uuids, names = st.sampled_from(UUIDS), st.sampled_from(NAMES)
ago = st.sampled_from((0.0, 0.5, 3.0, 30.0))
sets = st.frozensets(uuids, max_size=3)
texts = st.sampled_from(("", "because"))


@st.composite
def records(draw):
    locked_by = draw(st.sampled_from((OURS, OTHERS, None)))
    return record(
        draw(uuids), draw(st.sampled_from(list(ContainerState))), draw(st.sampled_from((0, 1, 1 << 50))),
        locked_by_uuid=locked_by, requirements=draw(st.sampled_from((None, wants(), wants(0), wants(3), wants(99)))),
        gateway_address=draw(st.sampled_from(("", "10.0.0.1:80"))),
    )  # fmt: skip


@st.composite
def reports(draw):
    reached = draw(st.booleans())
    processes = draw(st.one_of(st.none(), sets)) if reached else None
    return m.ProbeReport(
        reached=reached, booted=processes is not None and draw(st.booleans()), processes=processes,
        stale=draw(sets), broken=draw(st.booleans()),
        problem=m.ProbeProblem.NONE if processes is not None else draw(st.sampled_from(list(m.ProbeProblem)[1:])),
    )  # fmt: skip


failures = st.builds(m.QueueFailure, text=texts, status=st.sampled_from((None, 422, 503)))
cloud_failures = st.builds(
    m.CloudFailure, text=texts, kind=st.sampled_from(list(HoldoffKind)), scope=st.sampled_from(list(Scope)),
    outcome_unknown=st.booleans(),
)  # fmt: skip
lists = st.lists(names, max_size=3, unique=True).map(lambda found: tuple(listed(name) for name in found))
batches = st.lists(records(), max_size=4, unique_by=lambda one: one.uuid).map(tuple)
asked = st.lists(uuids, min_size=1, max_size=4, unique=True).map(tuple)


def events(now: float):
    """One event, of any kind, at a time: observations began some time before it."""
    began = ago.map(lambda before: now - before)
    return st.one_of(
        st.builds(m.ContainersObserved, began_s=began, records=batches),
        st.builds(m.ContainersAbsent, began_s=began, uuids=asked),
        st.builds(m.QueuePolled, began_s=began),
        st.builds(m.ContainersRead, began_s=began, asked=asked, records=batches),
        st.builds(m.ContainersReadFailed, asked=asked, failure=failures),
        st.builds(m.ContainerWriteFailed, uuid=uuids, write=st.sampled_from(list(QueueWrite)), failure=failures),
        st.tuples(records(), st.sampled_from(list(QueueWrite))).map(
            lambda pair: m.ContainerWritten(uuid=pair[0].uuid, write=pair[1], record=pair[0])
        ),
        st.builds(m.InstanceCreated, name=names, id=texts, operation=st.sampled_from((None, "op"))),
        st.builds(m.CreateFailed, name=names, failure=cloud_failures, accepted=st.booleans()),
        st.builds(m.CreatePolled, name=names, done=st.booleans()),
        st.builds(m.InstancesListed, began_s=began, instances=lists),
        st.builds(m.InstancesMissed, began_s=began, names=st.lists(names, max_size=3, unique=True).map(tuple)),
        st.builds(m.ListEnded, began_s=began, complete=st.booleans(), leftovers=st.sampled_from((None, (), (LEFTOVER,)))),
        st.builds(m.LeftoverDeleted, id=st.just(LEFTOVER.id)),
        st.builds(m.LeftoverFailed, id=st.just(LEFTOVER.id), failure=cloud_failures),
        st.builds(m.ListFailed, began_s=began, failure=cloud_failures),
        st.builds(m.DestroyAccepted, name=names),
        st.builds(m.DestroyFailed, name=names, failure=cloud_failures),
        st.builds(m.TagsSaved, name=names, tags=st.just({"ArvadosIdleBehavior": "run"})),
        st.builds(m.TagsFailed, name=names, failure=cloud_failures),
        st.builds(m.Probed, name=names, began_s=began, report=reports()),
        st.builds(m.StartEnded, name=names, uuid=uuids, outcome=st.sampled_from(list(m.StartOutcome))),
        st.builds(m.KillEnded, name=names, uuid=uuids, gone=st.booleans()),
        st.builds(m.ConnectionLost, name=names),
        st.builds(
            m.IdleBehaviorSet, name=names, behavior=st.sampled_from(list(IdleBehavior)), actor=texts, reason=texts,
            at=st.just("2027-01-15T08:00:00Z"), until=st.just("2027-01-15T09:00:00Z"),
            until_s=st.sampled_from((now - 1.0, now + 5.0, float("inf"))),
        ),
        st.builds(m.InstanceKillRequested, name=names, reason=texts),
        st.builds(m.ContainerKillRequested, uuid=uuids, reason=texts),
        st.sampled_from((m.QueueHinted(), m.LeadershipGained(quiet_s=1.0), m.LeadershipLost(), m.SettingsLoaded(settings=MENU))),
    )


def plans(now_state, now):
    """What every planner proposes."""
    numbers = count(1)
    draw = lambda: (f"new{next(numbers)}", "secret")  # noqa: E731 - as production hands it in
    yield reconcile.plan(now_state, now)
    yield schedule.plan(now_state, now, draw)
    yield lifecycle.plan(now_state, now)
    yield cadence.plan_queue(now_state, now)
    yield cadence.plan_lists(now_state, now)
    yield probing.plan(now_state, now)


def lifecycle_one_by_one(held, now):
    """The same without what is kept with the parts of the map."""
    needs = (action for instance in held.instances.all() for action in lifecycle._needs(held, instance, now))
    return {repr(action) for action in needs if legal(held, action, now) is None}


@given(st.data())
@budget(max_examples=60, deadline=None)
def test_no_history_breaks_a_law_and_every_plan_is_legal(data):
    """Random events, whole plans between them: after each step the laws hold, and each plan is legal on its own snapshot."""
    now, held = 1000.0, state(settings=MENU)
    for _ in range(data.draw(st.integers(1, 14))):
        now += data.draw(st.sampled_from((0.0, 0.1, 5.0, 700.0)))
        after = observe(held, data.draw(events(now)), now)
        invariants.check_change(held, after)
        held = after
        assert {repr(action) for action in lifecycle.plan(held, now)} >= lifecycle_one_by_one(held, now)
        for actions in plans(held, now):
            assert [legal(held, action, now) for action in actions] == [None] * len(actions)
        if data.draw(st.booleans()):
            held = carry_out(held, now)
    invariants.check(held)


def carry_out(held, now):
    for index in range(6):
        for action in list(plans(held, now))[index]:
            try:
                after = begin(held, action, now)
            except Refused:
                continue  # another one came first
            invariants.check_change(held, after)
            held = after
    return held


@given(st.data())
@budget(max_examples=40, deadline=None)
def test_once_a_plan_is_begun_there_is_nothing_more_to_do(data):
    """A pass is idempotent when nothing changes: what was begun is not proposed again."""
    now, held = 1000.0, state(settings=MENU)
    for _ in range(data.draw(st.integers(1, 10))):
        now += 0.5
        held = carry_out(observe(held, data.draw(events(now)), now), now)
    settled = carry_out(carry_out(carry_out(held, now), now), now)
    assert [actions for actions in plans(settled, now) if actions] == []


@given(st.data())
@budget(max_examples=40, deadline=None)
def test_packing_never_exceeds_what_an_instance_has(data):
    """However many are placed, what is bound to an instance fits it."""
    now, held = 1000.0, state(settings=MENU)
    sizes = data.draw(st.lists(st.sampled_from((0, 1, 2, 3)), max_size=12))
    waiting = tuple(record(f"zzzzz-dz642-{index:015d}", requirements=wants(size)) for index, size in enumerate(sizes))
    held = observe(held, m.ContainersObserved(began_s=now, records=waiting), now)
    held = observe(held, m.InstancesListed(began_s=now, instances=(listed("i1"), listed("i2"))), now)
    for name in ("i1", "i2"):
        report = m.ProbeReport(reached=True, booted=True, processes=frozenset())
        held = observe(held, m.Probed(name=name, began_s=now, report=report), now)
    for _ in range(3):
        held = carry_out(held, now)
    for one in held.instances.all():
        left = sizing.room(MENU.instance_types[one.type])
        for need in one.bound.values():
            left = sizing.take(left, need)
        assert min(left.vcpus, left.ram, left.scratch) >= 0


@given(st.data())
@budget(max_examples=100, deadline=None)
def test_begin_refuses_exactly_what_legal_refuses(data):
    """One question, one answer, for actions that no planner would propose too."""
    now, held = 1000.0, state(settings=MENU)
    for _ in range(data.draw(st.integers(0, 8))):
        now += 1.0
        held = observe(held, data.draw(events(now)), now)
    action = data.draw(actions())
    reason = legal(held, action, now)
    if reason is None:
        invariants.check_change(held, begin(held, action, now))
    else:
        with pytest.raises(Refused) as refused:
            begin(held, action, now)
        assert refused.value.reason == reason


def actions():
    """One action of any kind."""
    return st.one_of(
        st.sampled_from((m.PollQueue(), m.ListInstances())),
        st.builds(m.ReadContainers, uuids=asked),
        st.builds(m.LockContainer, uuid=uuids, instance=names, ahead=st.booleans()),
        st.builds(m.UnlockContainer, uuid=uuids, reason=texts),
        st.builds(m.CancelContainer, uuid=uuids, error=texts),
        st.builds(m.BindContainer, uuid=uuids, instance=names),
        st.builds(m.ReleaseContainer, uuid=uuids),
        st.builds(m.ForgetContainer, uuid=uuids),
        st.builds(m.CreateInstance, name=names, instance_type=st.sampled_from(("t4", "gone")), secret=texts),
        st.builds(m.PollCreate, name=names),
        st.builds(m.DestroyInstance, name=names, cause=st.sampled_from(list(DestroyCause)), reason=texts),
        st.builds(m.RemoveInstance, name=names),
        st.builds(m.SaveTags, name=names),
        st.builds(m.DeleteLeftover, id=st.sampled_from((LEFTOVER.id, "none"))),
        st.builds(m.CondemnInstance, name=names, reason=st.just("because")),
        st.builds(m.ProbeInstance, name=names),
        st.builds(m.StartContainer, uuid=uuids, instance=names),
        st.builds(m.KillProcess, name=names, uuid=uuids, signal=st.sampled_from((9, 15)), reason=texts),
    )


def test_every_message_has_its_change():
    """An event that nobody observes or an action that nobody begins would be a silent hole."""
    kinds = {kind for kind in vars(m).values() if isinstance(kind, type)}
    assert {kind for kind in kinds if issubclass(kind, m.Event) and kind is not m.Event} == set(OBSERVERS)
    assert {kind for kind in kinds if issubclass(kind, m.Action) and kind is not m.Action} == set(INTENTS)
