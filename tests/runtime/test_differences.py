"""What a poll and a list leave out: nothing but what State holds already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.core.looks import Cursor, Look, Span, place
from dispatcher.core.messages import Sight
from dispatcher.core.model import Container, ContainerRecord, ContainerState, QueueWrite, Requirements
from dispatcher.driver import Instance as ListedInstance
from dispatcher.runtime.differences import absent, missed, news
from tests.runtime.states import container, instance, leading, uuid

TOKEN = "zzzzz-gj3su-000000000000001"
OTHER = "zzzzz-gj3su-000000000000002"

KNOWN = container(
    state=ContainerState.LOCKED, priority=5, ours=True, lock_count=2, gateway_address="10.0.0.1:22", created_at="2026-01-01"
)
SAME = ContainerRecord(
    uuid=uuid(1), state=ContainerState.LOCKED, priority=5, locked_by_uuid=TOKEN, lock_count=2, gateway_address="10.0.0.1:22"
)

# -------------------------------------------------------------------------------------------------------------------- news

NOTHING_NEW: list[dict[str, Any]] = [
    {},
    {"lock_count": None},  # a poll that did not ask for it
    {"gateway_address": ""},
    {"created_at": "2026-01-01"},
]


@pytest.mark.parametrize("change", NOTHING_NEW, ids=str)
def test_what_is_known_is_left_out(change: dict[str, Any]) -> None:
    """Ten thousand containers that wait as before cost nothing under the lock."""
    assert news(leading(KNOWN), [replace(SAME, **change)], TOKEN) == []


NEWS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"state": ContainerState.RUNNING}),
    ({}, {"state": ContainerState.QUEUED, "locked_by_uuid": None}),
    ({}, {"priority": 6}),
    ({}, {"priority": 0}),
    ({}, {"lock_count": 3}),
    ({}, {"lock_count": 0}),
    ({}, {"gateway_address": "10.0.0.2:22"}),
    ({}, {"locked_by_uuid": OTHER}),
    ({}, {"locked_by_uuid": None}),
    ({"ours": False}, {}),
    ({"exited_s": 3.0}, {}),  # what the server says after the end is what it waits for
]


@pytest.mark.parametrize(("known", "change"), NEWS, ids=str)
def test_what_differs_is_kept(known: dict[str, Any], change: dict[str, Any]) -> None:
    """A row for each field by which somebody decides."""
    record = replace(SAME, **change)
    assert news(leading(replace(KNOWN, **known)), [record], TOKEN) == [record]


@pytest.mark.parametrize(("known", "told"), [(None, True), (Requirements(vcpus=9, ram_bytes=9), False)])
def test_what_a_container_asks_for_is_news_once(known: Requirements | None, told: bool) -> None:
    """A look in full tells it to whom does not know it yet; it never changes."""
    record = replace(SAME, requirements=Requirements(vcpus=1, ram_bytes=1))
    assert bool(news(leading(replace(KNOWN, requirements=known)), [record], TOKEN)) is told


def test_who_is_not_known_is_news() -> None:
    """In the order of the answer, without those that are known."""
    records = [replace(SAME, uuid=uuid(number)) for number in (3, 1, 2)]
    assert [record.uuid for record in news(leading(KNOWN), records, TOKEN)] == [uuid(3), uuid(2)]


def test_a_lock_of_ours_is_only_one_while_it_is_held() -> None:
    """The token stays in the record of a container that has ended."""
    done = container(state=ContainerState.COMPLETE, ours=False)
    record = replace(SAME, state=ContainerState.COMPLETE, priority=1, lock_count=None, gateway_address="")
    assert news(leading(done), [record], TOKEN) == []


# ------------------------------------------------------------------------------------------------------------------ absent

ABSENT: list[tuple[Container, bool]] = [
    (container(), True),
    (container(state=ContainerState.LOCKED), True),
    (container(state=ContainerState.RUNNING), True),
    (container(state=ContainerState.COMPLETE), False),
    (container(state=ContainerState.CANCELLED), False),
    (container(writing=QueueWrite.LOCK), False),
]


@pytest.mark.parametrize(("held", "asked"), ABSENT, ids=lambda value: str(value)[:80])
def test_who_is_missing_from_a_poll_is_named(held: Container, asked: bool) -> None:
    """But who has ended, or whose record we are just writing, is not expected in it."""
    assert absent(leading(held), Look(), Sight(records=())) == ([uuid(1)] if asked else [])


def test_who_is_shown_or_not_understood_is_not_missing() -> None:
    """A record that cannot be read is there all the same."""
    state = leading(container(1), container(2), container(3))
    answer = Sight(records=(replace(SAME, uuid=uuid(1)),), rejected={uuid(2): "priority is not a number"})
    assert absent(state, Look(), answer) == [uuid(3)]


WAITING = container(priority=5, created_at="2026-01-02")
HELD = container(state=ContainerState.RUNNING)
COVERED: list[tuple[Container, Look, Span, bool]] = [
    # (what we hold, what was asked, what that covered, whether its absence says something)
    (WAITING, Look(), Span(ended=False, last=place(4, "2026-01-01", uuid(9))), True),  # it would stand before the last one
    (WAITING, Look(), Span(ended=False, last=place(5, "2026-01-03", uuid(9))), True),
    (WAITING, Look(), Span(ended=False, last=place(5, "2026-01-01", uuid(9))), False),  # behind: it was not looked for
    (WAITING, Look(), Span(ended=False, last=place(6, "2026-01-03", uuid(9))), False),
    (WAITING, Look(), Span(ended=False), False),  # a page of which nothing was understood
    (WAITING, Look(size=0), Span(), False),
    (WAITING, Look(after=Cursor(priority=9, passed=0)), Span(first=place(8, "", ""), ended=True), True),
    (WAITING, Look(after=Cursor(priority=5, passed=7)), Span(first=place(5, "2026-01-03", ""), ended=True), False),  # above it
    (HELD, Look(own=False), Span(), False),
    (HELD, Look(own=True), Span(ended=False), True),
]


@pytest.mark.parametrize(("held", "look", "span", "says"), COVERED)
def test_only_where_a_look_went_something_can_be_missing(held: Container, look: Look, span: Span, says: bool) -> None:
    """A container that fell out of the window is neither dropped nor asked for."""
    assert absent(leading(held), look, Sight(records=(), span=span)) == ([uuid(1)] if says else [])


# ------------------------------------------------------------------------------------------------------------------ missed


def test_who_is_missing_from_a_list_is_named() -> None:
    """But an instance whose create is on its way cannot be in it yet."""
    state = leading(instance("i1"), instance("i2"), instance("i3", creating=True))
    listed = [ListedInstance(id="1", name="i1", provider_type="s")]
    assert missed(state, listed) == ["i2"]
