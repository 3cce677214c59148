"""What is due by the clock: polls, reads, lists and probes, at our own pace or exactly at the site's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import cadence
from dispatcher.core import messages as m
from dispatcher.core.looks import PAGE, PEEK, Look, Span
from dispatcher.core.model import NEVER, Bucket, ContainerState, Phase
from dispatcher.core.reports import CloudFailure
from dispatcher.core.transitions import begin, observe
from tests.core.build import C1, NOW, after, container, instance, settings, state

POLLS = [
    # (PollInterval, containers, seconds since the queue last brought news, failures in a row, seconds between polls)
    (None, 1, 0.0, 0, 1.0),  # work waits
    (None, 0, 3.0, 0, 1.0),
    (None, 0, 30.0, 0, 5.0),
    (None, 0, 600.0, 0, 10.0),  # nothing happens
    (10.0, 1, 0.0, 0, 10.0),  # what the site named wins
    (0.5, 0, 600.0, 0, 0.5),
    (None, 1, 0.0, 1, 1.0),
    (None, 1, 0.0, 4, 8.0),
    (None, 1, 0.0, 20, 10.0),
]


@pytest.mark.parametrize(("named", "count", "quiet_s", "failures", "interval_s"), POLLS)
def test_the_poll_interval(named, count, quiet_s, failures, interval_s):
    """From one second to ten by what goes on, or exactly as named; longer after failures."""
    things = [container()] * count
    before = state(*things, settings=settings(poll_interval_s=named), queue={"changed_s": NOW - quiet_s, "failures": failures})
    assert cadence.poll_interval_s(before, NOW) == pytest.approx(interval_s)
    assert cadence.poll_due_s(before, NOW) == pytest.approx(before.queue.poll_ended_s + interval_s)


def test_a_hint_makes_a_poll_due_at_once_and_only_once():
    """What an event feed tells need not wait; a poll that began after it answers it."""
    before = state(settings=settings(poll_interval_s=60.0))
    hinted = after(before, m.QueueHinted())
    look = m.PollQueue(look=Look(exact=True, full=True))
    assert (cadence.plan_queue(before, NOW), cadence.plan_queue(hinted, NOW)) == ([], [look])
    rests = replace(hinted, queue=replace(hinted.queue, poll_ended_s=NOW - 0.05, poll_took_s=0.15))
    assert cadence.poll_due_s(rests, NOW) == pytest.approx(NOW + 0.1)
    assert cadence.plan_queue(after(hinted, m.PollQueue(), m.QueuePolled(began_s=NOW)), NOW) == []


def test_hints_that_come_while_a_look_is_on_its_way_are_not_lost():
    """It may have read past what changed. Between two looks passes as long as one takes: a thousand hints are few looks."""
    begun = after(state(queue={"poll_took_s": 0.1, "poll_ended_s": NOW - 1.0}), m.PollQueue(look=Look()), m.QueueHinted())
    answered = after(begun, m.QueuePolled(began_s=NOW, look=Look()))
    assert answered.queue.hinted_s == NOW
    late = replace(answered, queue=replace(answered.queue, poll_took_s=0.1))
    assert cadence.poll_due_s(late, NOW) == pytest.approx(NOW + 0.1)


EMPTY = Bucket(tokens=0.0, at_s=NOW)
SOON = {"poll_ended_s": NOW - 0.03, "poll_took_s": 0.02}
HINTED = [  # what the site named, when everything was last shown, what the queue is like: when a hint is followed
    (None, NOW - 5.0, SOON, NOW),
    (0.1, NOW - 0.03, SOON, NOW),
    (0.1, NOW - 0.03, {**SOON, "poll_took_s": 0.5}, NOW + 0.07),  # the named pace, however slow looks are
    (60.0, NOW - 5.0, {**SOON, "lists": EMPTY}, NOW + 0.2),  # requests are left again
    (0.05, NOW - 0.03, {**SOON, "lists": EMPTY}, NOW + 0.02),
]


@pytest.mark.parametrize(("named_s", "shown_s", "queue", "due_s"), HINTED)
def test_a_hint_waits_for_no_pace_that_the_site_named(named_s, shown_s, queue, due_s):
    """It is followed as it is where none was named; and never later than that pace would look anyway."""
    hinted = after(state(settings=settings(poll_interval_s=named_s), queue={"shown_s": shown_s, **queue}), m.QueueHinted())
    assert cadence.poll_due_s(hinted, NOW) == pytest.approx(due_s)


def test_looks_for_hints_push_no_named_pace_back():
    """They are counted and show what a hint is about; everything is shown as often as the site wished, and not counted."""
    calm = state(settings=settings(poll_interval_s=10.0), queue={**SOON, "shown_s": NOW - 9.0, "page_ended_s": NOW - 0.5})
    hinted = after(calm, m.QueueHinted(container="zzzzz-dz642-000000000000099"))
    (action,) = cadence.plan_queue(hinted, NOW)
    begun = after(hinted, action)
    assert (action.look.own, begun.queue.expected) == (False, 1)
    looked = after(begun, m.QueuePolled(began_s=NOW, look=action.look))
    assert (looked.queue.shown_s, cadence.poll_due_s(looked, NOW)) == (NOW - 9.0, NOW + 1.0)
    (regular,) = cadence.plan_queue(looked, NOW + 1.0)
    shown = observe(begin(looked, regular, NOW + 1.0), m.QueuePolled(began_s=NOW + 1.0, look=regular.look), NOW + 1.5)
    assert (regular.look.own, shown.queue.shown_s, shown.queue.lists) == (True, NOW + 1.5, looked.queue.lists)


@pytest.mark.parametrize(("size", "ended", "shown"), [(PEEK, False, False), (PEEK, True, True), (PAGE, False, True)])
def test_a_glance_at_the_top_is_no_poll_of_the_named_pace(size, ended, shown):
    """Also one that shows what we hold: the first thousand of those who wait belong to it."""
    hinted = after(state(settings=settings(poll_interval_s=10.0), queue={**SOON, "shown_s": NOW - 9.0}), m.QueueHinted())
    look = Look(own=True, size=size)
    seen = after(hinted, m.PollQueue(look=look), m.QueuePolled(began_s=NOW, look=look, span=Span(ended=ended)))
    assert seen.queue.shown_s == (NOW if shown else NOW - 9.0)


def test_after_a_look_that_failed_the_named_pace_is_kept():
    """The next is not due at once because nothing was shown."""
    begun = after(state(settings=settings(poll_interval_s=10.0), queue={"shown_s": NOW - 10.0}), m.PollQueue(look=Look()))
    failed = after(begun, m.QueuePollFailed(began_s=NOW, failure=m.QueueFailure(text="no answer", status=0)))
    assert cadence.poll_due_s(failed, NOW) == NOW + 10.0


def test_a_hint_about_somebody_new_looks_at_those_who_wait_alone():
    """What we hold has not changed by it; a hint that names nobody asks for everything."""
    quiet = state(queue={"page_ended_s": NOW - 0.5, "polled_s": NOW - 0.5})
    new = after(quiet, m.QueueHinted(container="zzzzz-dz642-000000000000099"))
    both = after(new, m.QueueHinted())
    assert [action.look.own for seen in (new, both) for action in cadence.plan_queue(seen, NOW)] == [False, True]


def test_a_hint_about_a_container_that_we_know_reads_its_record():
    """No look at the queue for it."""
    known = container(state=ContainerState.QUEUED)
    hinted = after(state(known, queue={"poll_ended_s": NOW - 0.1}), m.QueueHinted(container=known.uuid))
    assert cadence.plan_queue(hinted, NOW) == [m.ReadContainers(uuids=(known.uuid,))]


def test_while_events_flow_polls_are_the_safety_net():
    """Ten seconds apart, also while work waits; as soon as they flow no more, each second."""
    waiting = state(container(), queue={"changed_s": NOW})
    flowing = after(waiting, m.EventsFlowing(flowing=True))
    gone = after(flowing, m.EventsFlowing(flowing=False))
    assert [cadence.poll_interval_s(seen, NOW) for seen in (waiting, flowing, gone)] == [1.0, 10.0, 1.0]


def test_the_end_of_somebody_unknown_wakes_nobody():
    """Another dispatcher's container, or one that we have forgotten."""
    before = state()
    assert after(before, m.QueueHinted(container="zzzzz-dz642-000000000000099", ended=True)) is before


def test_a_young_instance_without_an_address_is_listed_often():
    """Half a second apart at first, and less and less often; never so that lists take more than half of the time."""

    def gap_s(age_s: float, took_s: float = 0.1) -> float:
        booting = instance(phase=Phase.BOOTING, address=None, create_changed_s=NOW - age_s)
        seen = state(booting, cloud={"list_ended_s": NOW, "listed_s": NOW - took_s})
        return cadence.list_interval_s(seen, NOW)

    assert [gap_s(age) for age in (0.0, 4.0, 60.0)] == [0.5, 1.0, 5.0]
    assert gap_s(0.0, took_s=3.0) == 3.0


def test_a_new_term_polls_and_lists_at_once():
    """What another dispatcher may have changed has to be seen anew."""
    before = after(state(leadership={"leading": False}), m.LeadershipGained(quiet_s=10.0))
    assert cadence.plan_queue(before, NOW) == [m.PollQueue(look=Look(full=True, exact=True))]
    assert cadence.plan_lists(before, NOW) == [m.ListInstances()]


def test_never_two_polls_at_once():
    """The answer of the first has to come."""
    assert cadence.plan_queue(state(queue={"polling": True, "poll_ended_s": 0.0}), NOW) == []


def test_records_are_asked_for_in_hundreds_and_the_urgent_first():
    """Those that ended, then by priority; at most two questions at once."""
    waiting = [container(f"zzzzz-dz642-{n:015d}", requirements=None, read_due=True, priority=n) for n in range(1, 251)]
    before = state(*waiting, replace(container(C1 + "9", priority=0), read_due=True, exited_s=950.0))
    first, second = cadence.plan_queue(before, NOW)[-2:]
    assert (first.uuids[0], first.uuids[1], len(first.uuids)) == (C1 + "9", "zzzzz-dz642-000000000000250", 100)
    assert len(second.uuids) == 100


def test_a_process_that_nobody_explains_is_asked_for_once_a_poll_could_have():
    """An unknown runner is no orphan before the queue has said so."""
    stray = instance("i1", Phase.READY, C1)
    assert cadence.plan_queue(state(stray), NOW)[-1] == m.ReadContainers(uuids=(C1,))
    assert m.ReadContainers(uuids=(C1,)) not in cadence.plan_queue(state(stray, queue={"polled_s": NEVER}), NOW)


READS = [
    ({"read_due": True, "ask_after_s": NOW}, True),
    ({"read_due": True, "ask_after_s": NOW + 1}, False),
    ({"read_due": True, "reading": True}, False),
    ({"read_due": False}, False),
]


@pytest.mark.parametrize(("fields", "asked"), READS)
def test_a_record_is_asked_for_when_it_is_due(fields, asked):
    """Not while it is being read, not so soon after a failure."""
    before = state(container(**fields), queue={"poll_ended_s": NOW})
    assert (cadence.plan_queue(before, NOW) == [m.ReadContainers(uuids=(C1,))]) is asked


# ------------------------------------------------------------------------------------------------------------------- lists

LISTS = [
    # (an instance, seconds between lists)
    (instance(), 60.0),
    (instance(phase=Phase.UNKNOWN, processes_listed_s=NEVER), 5.0),
    (instance(phase=Phase.UNKNOWN), 60.0),  # heard of in this term: it may stay unfit for days
    (instance(phase=Phase.SHUTDOWN), 5.0),
    (instance(misses=(995.0,)), 5.0),
    (instance(address=None), 5.0),
    (instance(phase=Phase.CREATING, creating=False, create_unknown=True), 5.0),
    (instance(phase=Phase.BOOTING), 60.0),
]


@pytest.mark.parametrize(("one", "interval_s"), LISTS)
def test_lists_are_frequent_while_something_can_only_be_learnt_from_them(one, interval_s):
    """Every five seconds, else SyncInterval, which is the longest gap."""
    ended_s = state().cloud.list_ended_s
    assert cadence.list_due_s(state(one), ended_s) == ended_s + interval_s
    assert cadence.list_due_s(state(one, settings=settings(sync_interval_s=2.0)), ended_s) == ended_s + 2.0


NOT_ALL = [m.ListFailed(began_s=NOW, failure=CloudFailure(text="no")), m.ListEnded(began_s=NOW, complete=False)]


@pytest.mark.parametrize("ended", NOT_ALL)
def test_a_list_that_failed_or_told_a_part_is_asked_for_again_within_seconds(ended):
    """And less and less often while it goes on, up to SyncInterval; after a complete one all is as before."""
    now, seen, gaps_s = NOW, state(), []
    for _ in range(5):
        seen = after(seen, m.ListInstances(), replace(ended, began_s=now), now=now)
        due_s = cadence.list_due_s(seen, now)
        gaps_s.append(due_s - now)
        now = due_s
    assert gaps_s == [10.0, 10.0, 20.0, 40.0, 60.0]
    well = after(seen, m.ListInstances(), m.ListEnded(began_s=now, complete=True), now=now)
    assert cadence.list_due_s(well, now) == now + 60.0


@pytest.mark.parametrize(
    ("phase", "event", "soon_s"),
    [(Phase.CREATING, m.InstanceCreated(name="i1", id="x"), 0.3), (Phase.SHUTDOWN, m.DestroyAccepted(name="i1"), 2.0)],
)
def test_a_list_is_due_soon_after_the_cloud_took_something(phase, event, soon_s):
    """Somebody waits for the address of a new instance, and nobody for the end of an old one."""
    one = instance(phase=phase)
    assert cadence.list_due_s(after(state(one, cloud={"list_ended_s": NOW}), event), NOW) == NOW + soon_s


def test_never_two_lists_at_once_and_none_during_a_pause():
    """The cloud's own word counts."""
    due = {"list_due_s": 0.0}
    assert cadence.plan_lists(state(cloud=due), NOW) == [m.ListInstances()]
    assert cadence.plan_lists(state(cloud={**due, "listing": True}), NOW) == []
    failure = m.CloudFailure(text="slow down", retry_after_s=7.0)
    paused = after(state(cloud={**due, "listing": True}), m.ListFailed(began_s=NOW, failure=failure))
    assert cadence.plan_lists(paused, NOW + 6.9) == []
    assert cadence.list_due_s(paused, NOW) == NOW + 7.0


def test_a_stray_of_a_container_that_is_over_is_known():
    """A container that ended is still held until its runner has gone: its process is no stray."""
    assert len(state(container(state=ContainerState.COMPLETE), instance("i1", Phase.READY, C1)).strays) == 0


OLD = replace(instance(phase=Phase.UNKNOWN), processes_listed_s=NEVER, probed_s=NEVER)
FINDINGS = [
    # (who leads, the first list of this term, instances, whether there is something to be found out)
    ({"leading": False, "holder": ""}, NEVER, (), True),
    ({"leading": False, "holder": "somebody else"}, NEVER, (), False),
    ({"leading": True, "since_s": NOW - 1.0}, NOW - 5.0, (), True),
    ({"leading": True, "since_s": NOW - 1.0}, NOW - 0.5, (), False),
    ({"leading": True, "since_s": NOW - 1.0}, NOW - 0.5, (OLD,), True),
    ({"leading": True, "since_s": NOW - 1.0}, NOW - 0.5, (replace(OLD, probed_s=NOW - 0.2),), False),
    ({"leading": True, "since_s": NOW - 1.0}, NOW - 0.5, (replace(OLD, phase=Phase.BOOTING),), False),
]


@pytest.mark.parametrize(("lead", "first_listed_s", "instances", "expected"), FINDINGS)
def test_a_new_term_has_something_to_find_out(lead, first_listed_s, instances, expected):
    """Who leads, what stands in the cloud, and what runs on what nobody has asked yet."""
    before = state(*instances, cloud={"first_listed_s": first_listed_s})
    before = replace(before, leadership=replace(before.leadership, **lead))
    assert cadence.finds_out(before) is expected
