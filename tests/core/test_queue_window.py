"""How much of the queue is read: what the next look asks for, when it goes deeper, and what it may cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import cadence, window
from dispatcher.core import messages as m
from dispatcher.core.looks import PAGE, PEEK, Cursor, Look, Span, Sweep, place
from dispatcher.core.maps import Map
from dispatcher.core.model import NEVER, Bucket, ContainerState, Holdoff, HoldoffKind, Phase
from dispatcher.core.transitions import legal, polls
from tests.core.build import C1, C2, NOW, after, container, instance, offer, record, settings, state, wants

LAST = place(5, "2026-11-21", C2)
NEXT = Cursor(priority=5, passed=3)
DEEP = {"backlog": True, "sweep": Sweep(began_s=NOW - 1, cursor=NEXT, read=PAGE), "deeper_next": True}

TOPS = [
    # (what is known of the queue, what the next look at the top asks for)
    ({}, Look(size=PAGE, exact=True)),  # all that wait fit on a page: everything, with the count that proves it
    ({"page_ended_s": NOW - 0.5}, Look(size=PEEK, exact=True)),
    ({"backlog": True}, Look(own=False, size=PAGE)),
    ({"backlog": True, "polled_s": NOW - 5, "page_ended_s": NOW - 0.5}, Look(own=False, size=PEEK)),
    ({"backlog": True, "polled_s": NOW - 5, "page_ended_s": NOW - 5, "page_took_s": 0.6}, Look(own=False, size=PEEK)),
    ({"backlog": True, "polled_s": NOW - 5, "page_took_s": 60.0, "page_ended_s": NOW - 10}, Look(own=False, size=PAGE)),
    ({"polled_s": NEVER, "counted_s": NEVER, "backlog": True}, Look(size=PAGE, full=True, exact=True)),  # a new term
    ({"polled_s": NEVER, "full_refused_s": NOW - 1}, Look(size=PAGE, exact=True)),
]


@pytest.mark.parametrize(("queue", "look"), TOPS)
def test_what_a_look_at_the_top_asks_for(queue, look):
    """Each second as little as shows who is new at the top; the rest as seldom as it may be."""
    assert window.at_top(state(container(), queue=queue), NOW) == look


SHORT = [
    # (what the last short look at the top showed, whether another follows at once, and what it asks for)
    ({"unseen": True, "waiting": 1}, False, Look(size=PEEK, exact=True)),  # the one that we know
    ({"unseen": True, "waiting": 201}, True, Look(size=PAGE, exact=True)),
    ({"unseen": True, "waiting": 202}, True, Look(size=PAGE, exact=True, full=True)),
    ({"unseen": True, "waiting": 202, "full_refused_s": NOW - 1}, True, Look(size=PAGE, exact=True)),
    ({"unseen": False, "waiting": 202}, False, Look(size=PEEK, exact=True)),
    ({"unseen": True, "waiting": 202, "failures": 1}, False, Look(size=PEEK, exact=True)),
]


@pytest.mark.parametrize(("queue", "at_once", "look"), SHORT)
def test_a_burst_that_was_longer_than_the_look_is_looked_at_again(queue, at_once, look):
    """Events flow, so that the next look would be ten seconds away; and each of the burst was told of already."""
    known = {"page_ended_s": NOW - 0.5, "poll_ended_s": NOW - 0.5, "poll_took_s": 0.1, "events_flow": True, **queue}
    before = state(container(), queue=known)
    assert (cadence.poll_due_s(before, NOW) <= NOW) is at_once
    assert window.at_top(before, NOW) == look


def test_a_look_at_the_top_says_whether_it_reached_the_end():
    """Also a short one, which tells nothing of a backlog."""
    span = Span(last=LAST, ended=False, after=NEXT, records=PEEK, waiting=500)
    short = looked(Look(size=PEEK, exact=True), span, backlog=False)
    assert (short.unseen, short.backlog) == (True, False)
    assert not looked(Look(exact=True), Span(records=500, waiting=500), unseen=True).unseen


ASIDES = [
    # (what is known of the queue, what is asked beside those at the top)
    ({}, Look(size=0)),  # all that we hold was seen at 990
    ({"polled_s": NOW - 5}, None),
    ({"polled_s": NOW - 5, "counted_s": NOW - 60}, Look(own=False, size=0, count=True)),
    ({"backlog": False}, None),  # each look shows it
    ({"deeper_next": False}, None),
    ({"hinted_s": NOW}, None),
    ({"lists": Bucket(tokens=1.9, at_s=NOW)}, None),
]


@pytest.mark.parametrize(("queue", "look"), ASIDES)
def test_what_is_asked_beside_the_top_when_much_waits(queue, look):
    """One at a time and in turn with it: no newcomer waits for the requests of all three."""
    assert window.aside(state(container(), queue={"backlog": True, "deeper_next": True, **queue}), NOW) == look


def test_a_look_aside_leaves_the_pace_of_the_top_and_the_walk_alone():
    """What we hold was seen, and the next look is one at the top."""
    queue = looked(Look(size=0), Span(ended=False), **DEEP)
    assert (queue.polled_s, queue.poll_ended_s, queue.deeper_next, queue.sweep) == (NOW - 0.5, 990.5, False, DEEP["sweep"])


@pytest.mark.parametrize("backlog", [False, True])
def test_a_pace_that_the_site_named_shows_everything_each_time(backlog):
    """What we hold and a page, at exactly its gap, however few requests are left."""
    empty = Bucket(tokens=0.0, at_s=NOW)
    due = {"backlog": backlog, "poll_ended_s": NOW - 5, "shown_s": NOW - 5, "lists": empty}
    before = state(settings=settings(poll_interval_s=5.0), queue=due)
    (action,) = cadence.plan_queue(before, NOW)
    assert (action.look.own, action.look.size) == (True, PAGE)
    assert after(before, action).queue.lists == empty


def test_many_newcomers_are_asked_for_in_full_and_not_by_the_hundred():
    """One answer instead of three; those that were not on that page are asked for all the same."""
    crowd = [container(f"zzzzz-dz642-{n:015d}", requirements=None, read_due=True, observed_s=995.0) for n in range(10, 211)]
    before = state(*crowd, container(C2, requirements=None, read_due=True), queue={"page_s": 995.0})
    look, read = cadence.plan_queue(before, NOW)
    assert look == m.PollQueue(look=Look(size=PAGE, exact=True, full=True))
    assert read == m.ReadContainers(uuids=(C2,))
    told = [replace(record(c.uuid), requirements=wants(), created_at="2026") for c in crowd]
    seen = after(before, look, m.ContainersObserved(began_s=NOW, records=tuple(told)))
    assert not [c for c in seen.containers.all() if c.uuid != C2 and (c.read_due or c.fit is None)]


def test_a_look_in_full_that_failed_is_not_tried_again_for_a_while():
    """Its answer may be too large."""
    before = state(queue={"polled_s": NEVER})
    failed = m.QueuePollFailed(began_s=NOW, failure=m.QueueFailure(text="the answer is larger than 64 MB", status=200))
    refused = after(before, m.PollQueue(look=Look(full=True)), failed)
    assert [window.at_top(refused, NOW + later_s).full for later_s in (10.0, 599.0, 600.0)] == [False, False, True]


# ----------------------------------------------------------------------------------------------------------------- deeper


def held_off(name):
    return Holdoff(
        call="create", key=f"type:{name}", kind=HoldoffKind.CAPACITY, until_s=NOW + 60, since_s=0.0, strikes=1, reason="none left"
    )


LARGE_ONLY = {
    "settings": settings(offer("t4"), offer("g8", 8), max_instances=16),
    "holdoffs": Map([("create type:g8", held_off("g8"))]),
}
BLOCKED = [container(f"zzzzz-dz642-{n:015d}", requirements=wants(8)) for n in range(200)]
FREE = [container(f"zzzzz-dz642-{n:015d}") for n in range(200, 400)]


@pytest.mark.parametrize(
    ("waiting", "hungry"),
    [(BLOCKED, True), ([*BLOCKED, *FREE], False), ([*BLOCKED, *FREE[:50]], True), ([], True)],
    ids=["all blocked", "enough could run", "too few could run", "nobody"],
)
def test_hunger_is_too_few_that_could_be_placed(waiting, hungry):
    """Those whose only type cannot be had do not count, however many they are."""
    assert window.hungry(state(*waiting, queue=DEEP, **LARGE_ONLY), NOW) is hungry


def test_nobody_is_hungry_when_nothing_could_be_placed_at_all():
    """Reading on would find nobody who could run either."""
    none = Map([("create type:t4", held_off("t4"))])
    assert not window.hungry(state(*BLOCKED, queue=DEEP, holdoffs=none), NOW)


def test_who_could_run_where_everything_is_full_now_is_wanted_too():
    """Its turn comes as soon as something ends."""
    full = [container(C1, ContainerState.RUNNING, requirements=wants(4)), instance("i1", Phase.READY, C1)]
    before = state(*full, *BLOCKED, queue=DEEP, **{**LARGE_ONLY, "settings": replace(LARGE_ONLY["settings"], max_instances=1)})
    assert window.usable_types(before, NOW) == {"t4"}
    assert window.hungry(before, NOW)


DEEPER = [
    # (what is different in a hungry house, the look below the first page)
    ({}, Look(own=False, size=PAGE, after=NEXT, full=True)),
    ({"deeper_next": False}, None),  # the turn of those at the top
    ({"sweep": None}, None),
    ({"sweep": Sweep(began_s=0.0, cursor=NEXT, read=PAGE, ended=True)}, None),
    ({"sweep": Sweep(began_s=0.0, cursor=None, read=PAGE)}, None),
    ({"lists": Bucket(tokens=1.9, at_s=NOW)}, None),
    ({"full_refused_s": NOW - 1}, Look(own=False, size=PAGE, after=NEXT)),
    ({"sweep": Sweep(began_s=0.0, cursor=NEXT, read=PAGE, goal=2 * PAGE)}, Look(own=False, size=PAGE, after=NEXT)),  # known there
    ({"hinted_s": NOW}, None),  # somebody says that there is news: at the top first
]


@pytest.mark.parametrize(("queue", "look"), DEEPER)
def test_when_it_is_read_on_below_the_first_page(queue, look):
    """In turn with the looks at the top, as long as it is needed and requests are left."""
    assert window.deeper(state(*BLOCKED, queue={**DEEP, **queue}, **LARGE_ONLY), NOW) == look


def test_a_walk_once_made_is_made_again_for_who_came_into_its_middle():
    """Also by who is not hungry; and not beyond."""
    walked = {**DEEP, "sweep": Sweep(began_s=NOW, cursor=NEXT, read=PAGE, goal=2 * PAGE)}
    assert window.deeper(state(*FREE, queue=walked, **LARGE_ONLY), NOW) == Look(own=False, size=PAGE, after=NEXT)
    there = {**DEEP, "sweep": Sweep(began_s=NOW, cursor=NEXT, read=2 * PAGE, goal=2 * PAGE)}
    assert window.deeper(state(*FREE, queue=there, **LARGE_ONLY), NOW) is None


# ------------------------------------------------------------------------------------------------------- what a look told


def looked(look, span, now=NOW, **queue):
    polled = m.QueuePolled(began_s=now - 0.5, look=look, span=span)
    return after(state(queue=queue), m.PollQueue(look=look), polled, now=now).queue


def test_a_page_that_does_not_end_the_queue_begins_a_walk():
    """From its last one on; and the number that wait is kept until it is counted again."""
    queue = looked(Look(exact=True), Span(last=LAST, ended=False, after=NEXT, records=PAGE, waiting=50_000))
    assert (queue.backlog, queue.waiting, queue.sweep) == (True, 50_000, Sweep(began_s=NOW, cursor=NEXT, read=PAGE))
    again = looked(Look(own=False), Span(last=LAST, ended=False, after=NEXT, records=PAGE), backlog=True, waiting=50_000)
    assert again.waiting == 50_000


@pytest.mark.parametrize(("age_s", "read", "anew"), [(59.0, 2 * PAGE, False), (60.0, 2 * PAGE, True), (199.0, 10 * PAGE, False)])
def test_a_walk_is_made_anew_after_a_time_that_grows_with_it(age_s, read, anew):
    """And then at least as far as the last one."""
    before = Sweep(began_s=NOW - age_s, cursor=Cursor(priority=1, passed=0), read=read, ended=True)
    queue = looked(Look(own=False), Span(last=LAST, ended=False, after=NEXT, records=PAGE), backlog=True, sweep=before)
    assert queue.sweep == (Sweep(began_s=NOW, cursor=NEXT, read=PAGE, goal=read) if anew else before)


def test_a_look_that_saw_the_end_ends_backlog_and_walk():
    """Also a short one."""
    queue = looked(Look(size=PEEK, exact=True), Span(ended=True, records=7, waiting=7), **DEEP)
    assert (queue.backlog, queue.sweep, queue.page_s, queue.waiting) == (False, None, NOW - 0.5, 7)


def test_a_look_further_down_moves_the_walk_alone():
    """The looks at the top keep their pace, and all that we hold was not seen."""
    look = Look(own=False, after=NEXT)
    further = Cursor(priority=4, passed=1)
    queue = looked(look, Span(first=LAST, last=LAST, ended=False, after=further, records=PAGE), **DEEP)
    assert (queue.sweep.cursor, queue.sweep.read, queue.deeper_next) == (further, 2 * PAGE, False)
    assert (queue.poll_ended_s, queue.polled_s) == (990.5, 990.0)


# ----------------------------------------------------------------------------------------------------------- what it costs


def test_list_requests_are_counted_whatever_asks_for_them():
    """A look by what it asks for and by what it took, a question for records by one."""
    full = {"backlog": True, "lists": Bucket(tokens=6.0, at_s=NOW)}
    look = Look(own=True, size=PAGE, count=True)
    before = after(state(container(read_due=True), queue=full), m.PollQueue(look=look))
    assert polls.tokens(before.queue, NOW) == 3.0
    cut = after(before, m.QueuePolled(began_s=NOW, look=look, span=Span(ended=False, lists=5)))
    assert polls.tokens(cut.queue, NOW) == 1.0
    read = after(cut, m.ReadContainers(uuids=(C1,)))
    assert polls.tokens(read.queue, NOW) == 0.0
    assert polls.tokens(read.queue, NOW + 100.0) == polls.DEEP_BURST


def test_what_a_minute_may_see():
    """All that the bucket holds, and what fills it in a minute."""
    assert polls.DEEP_BURST + 60 * polls.DEEP_RATE <= 60


def test_without_requests_left_nothing_is_asked_and_the_time_is_known():
    """Not by a hint either; and records wait for their turn."""
    spent = {"backlog": True, "lists": Bucket(tokens=0.0, at_s=NOW), "poll_ended_s": NOW - 60, "polled_s": NOW - 5}
    before = after(state(container(read_due=True), queue=spent), m.QueueHinted())
    assert cadence.plan_queue(before, NOW) == []
    assert cadence.queue_due_s(before, NOW) == pytest.approx(NOW + 1 / polls.DEEP_RATE)


def test_all_that_we_hold_is_listed_more_seldom_when_it_takes_many_pages():
    """Two thousand take three requests."""
    many = [container(f"zzzzz-dz642-{n:015d}", ContainerState.RUNNING) for n in range(2000)]
    assert polls.cost(state(*many), Look()) == 4
    seen = {"backlog": True, "polled_s": NOW - 14}
    seen |= {"deeper_next": True}
    assert window.aside(state(*many, queue=seen), NOW) is None
    assert window.aside(state(*many, queue={**seen, "polled_s": NOW - 15}), NOW) == Look(size=0)


def test_a_list_of_many_pages_gets_the_requests_that_it_takes():
    """The looks at the top wait for it as soon as it is due, and not before."""
    many = [container(f"zzzzz-dz642-{n:015d}", ContainerState.RUNNING) for n in range(3000)]
    queue = {"backlog": True, "deeper_next": True, "polled_s": NOW - 20, "lists": Bucket(tokens=3.0, at_s=NOW)}
    waits = state(*many, queue=queue)
    assert cadence.plan_queue(waits, NOW) == []
    later_s = cadence.queue_due_s(waits, NOW)
    assert cadence.plan_queue(waits, later_s) == [m.PollQueue(look=Look(size=0))]
    (look,) = cadence.plan_queue(state(*many, queue={**queue, "polled_s": NOW - 19}), NOW)
    assert look.look.at_top


def test_what_waits_beyond_the_window_is_known():
    """Counted, less those that are known."""
    assert window.beyond(state(container(), queue={"waiting": 50_000})) == 49_999
    assert window.beyond(state(container(), queue={"waiting": None})) == 0


ASKING = [m.PollQueue(look=Look(own=True, size=PAGE)), m.ReadContainers(uuids=(C1,))]


@pytest.mark.parametrize("action", ASKING, ids=["look", "read"])
def test_whoever_asks_is_refused_when_no_list_requests_are_left(action):
    """Also when a planner had counted on more; a look has to be paid for whole."""
    needs = 2.0 if isinstance(action, m.PollQueue) else 1.0
    spent = state(container(), queue={"backlog": True, "lists": Bucket(tokens=needs - 0.1, at_s=NOW)})
    assert legal(spent, action, NOW) == "the rate of list requests"
    enough = state(container(), queue={"backlog": True, "lists": Bucket(tokens=needs, at_s=NOW)})
    assert legal(enough, action, NOW) is None
