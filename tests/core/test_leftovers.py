"""Leftovers: two complete lists, an age by our own clock, a forgotten instance; then they go, a few at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core import cadence, lifecycle, pacing
from dispatcher.core import messages as m
from dispatcher.core.model import HoldoffKind, KnownLeftover, State
from dispatcher.core.transitions import leftovers, legal
from dispatcher.driver import Leftover
from tests.core.build import NOW, after, instance, settings, state

AGE_S, LAG_S = 20.0, 5.0
CARD = Leftover("/Cards/gone-1-nic", "network card")
DELETE = m.DeleteLeftover(id=CARD.id)
BUSY = m.CloudFailure(text="reserved for another", kind=HoldoffKind.ERROR)


def house(*things: Any, **more: Any) -> State:
    declared = {"deletes_leftovers": True, "leftover_age_s": AGE_S, "list_lag_s": LAG_S, **more}
    return state(*things, settings=settings(**declared))


def knowing(*things: Any, known: KnownLeftover | None = None, **changes: Any) -> State:
    """One card, first seen a minute ago and again ten seconds ago."""
    one = KnownLeftover(leftover=CARD, first_s=NOW - 60, again_s=NOW - 10) if known is None else known
    before = house(*things)
    return replace(before, cloud=replace(before.cloud, leftovers={CARD.id: replace(one, **changes)}, leftovers_listed_s=NOW - 10))


def listed(began_s: float, *shown: Leftover, complete: bool = True) -> m.ListEnded:
    return m.ListEnded(began_s=began_s, complete=complete, leftovers=shown)


def deletes(before: State, now: float = NOW) -> list[str]:
    return [action.id for action in lifecycle.plan(before, now) if isinstance(action, m.DeleteLeftover)]


# ------------------------------------------------------------------------------------------------------------- when it goes


def test_what_two_lists_show_and_is_old_enough_goes():
    """Not before: from the first sighting through the second to its deletion."""
    once = after(house(), listed(NOW - 60, CARD))
    assert deletes(once) == []
    twice = after(once, listed(NOW - 10, CARD))
    assert deletes(twice) == [CARD.id]
    begun = after(twice, DELETE)
    assert begun.cloud.leftovers[CARD.id].deleting
    assert deletes(begun) == []
    assert after(begun, m.LeftoverDeleted(id=CARD.id)).cloud.leftovers == {}


NOT_YET = [
    ({"again_s": NOW - 60}, "one list that shows it proves nothing"),
    ({"again_s": NOW - 60 + LAG_S / 2}, "one list that shows it proves nothing"),
    ({"first_s": NOW - AGE_S + 1, "again_s": NOW - 1}, "it is too early"),
    ({"retry_s": NOW + 1}, "it is too early"),
    ({"deleting": True}, "it, or enough others, are being deleted"),
]


@pytest.mark.parametrize(("changes", "reason"), NOT_YET)
def test_one_sighting_a_young_one_or_a_refused_one_waits(changes, reason):
    """Each reason by itself."""
    assert legal(knowing(), DELETE, NOW) is None
    assert legal(knowing(**changes), DELETE, NOW) == reason


def test_the_instance_after_which_it_is_named_has_to_be_forgotten():
    """Its create may still be on its way, or its absence is not proved; names compare without regard to case."""
    assert legal(knowing(instance("gone-1")), DELETE, NOW) == "gone-1 is not forgotten yet"
    assert legal(knowing(instance("GONE-1")), DELETE, NOW) == "GONE-1 is not forgotten yet"
    assert legal(knowing(instance("other")), DELETE, NOW) is None


def test_a_driver_that_cannot_delete_is_not_asked():
    """Neither for leftovers nor to delete them."""
    before = knowing()
    unable = replace(before, settings=replace(before.settings, deletes_leftovers=False))
    assert deletes(unable) == []
    assert not leftovers.wanted(unable, NOW + 1000)


def test_no_more_than_a_few_go_at_once():
    """The oldest first, one with each look, and no more than four on their way."""
    many = {f"d{n}": KnownLeftover(leftover=Leftover(f"d{n}", "disk"), first_s=NOW - 100 + n, again_s=NOW - 10) for n in range(9)}
    before = house()
    before = replace(before, cloud=replace(before.cloud, leftovers=many))
    for number in range(leftovers.AT_ONCE):
        assert deletes(before) == [f"d{number}"]
        before = after(before, m.DeleteLeftover(id=f"d{number}"))
    assert deletes(before) == []


def test_the_clouds_pause_for_destroys_holds_for_leftovers():
    """A rate limit is one, whichever call met it."""
    refused = after(knowing(), DELETE, m.LeftoverFailed(id=CARD.id, failure=m.CloudFailure(text="slow", kind=HoldoffKind.RATE)))
    assert pacing.holdoff(refused, "destroy", None, NOW) is not None
    again = replace(refused, cloud=knowing().cloud)
    assert legal(again, DELETE, NOW) == "the cloud asked for a pause"


def test_a_refusal_is_tried_again_after_a_pause_that_grows():
    """A card that is reserved for another machine is no error, only later."""
    before, pauses = knowing(), []
    for _ in range(9):
        begun = leftovers.begin_delete(before, DELETE, NOW)
        before = leftovers.failed(begun, m.LeftoverFailed(id=CARD.id, failure=BUSY), NOW)
        pauses.append(before.cloud.leftovers[CARD.id].retry_s - NOW)
    assert pauses == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0, 600.0]
    assert lifecycle.due_s(before, NOW) <= NOW + 600.0
    assert before.cloud.leftovers[CARD.id].error == BUSY.text


# ------------------------------------------------------------------------------------------------------------ what is known


def test_what_a_complete_list_no_longer_shows_is_forgotten():
    """It found a user, or somebody else deleted it. What is being deleted is kept until its call has ended."""
    assert after(knowing(), listed(NOW - 1)).cloud.leftovers == {}
    assert CARD.id in after(knowing(deleting=True), listed(NOW - 1)).cloud.leftovers


@pytest.mark.parametrize("event", [listed(NOW - 1, complete=False), m.ListEnded(began_s=NOW - 1, complete=True)])
def test_a_partial_list_and_one_that_was_not_asked_say_nothing(event):
    """Neither a sighting nor an absence."""
    before = knowing()
    assert after(before, event).cloud.leftovers == before.cloud.leftovers


def test_a_new_term_begins_anew():
    """What an earlier one saw proves nothing."""
    gained = after(knowing(), m.LeadershipGained(quiet_s=1.0))
    assert gained.cloud.leftovers == {}
    assert leftovers.wanted(gained, NOW)


def test_an_end_of_what_is_not_known_any_more_changes_nothing():
    """A list came between."""
    before = house()
    for event in (m.LeftoverDeleted(id=CARD.id), m.LeftoverFailed(id=CARD.id, failure=BUSY)):
        assert after(before, event).cloud.leftovers == {}


def test_what_is_known_is_bounded():
    """A cloud full of rubbish does not fill our memory."""
    shown = [Leftover(f"d{number}", "disk") for number in range(leftovers.MOST_KNOWN + 5)]
    assert len(after(house(), listed(NOW - 1, *shown)).cloud.leftovers) == leftovers.MOST_KNOWN


# ----------------------------------------------------------------------------------------------------------- who asks, when


@pytest.mark.parametrize(("before", "ago_s", "asked"), [(house(), 59.0, False), (house(), 61.0, True), (knowing(), 9.0, False)])
def test_lists_tell_them_once_a_minute_and_oftener_while_some_are_known(before, ago_s, asked):
    """Each look costs some clouds further requests."""
    looked = replace(before, cloud=replace(before.cloud, leftovers_listed_s=NOW - ago_s, list_due_s=NOW))
    assert cadence.plan_lists(looked, NOW) == [m.ListInstances(leftovers=asked)]


def test_lists_tell_them_soon_when_some_are_known():
    """The second sighting is not far."""
    looked = replace(knowing(), cloud=replace(knowing().cloud, leftovers_listed_s=NOW - 11, list_due_s=NOW))
    assert cadence.plan_lists(looked, NOW) == [m.ListInstances(leftovers=True)]
