"""What the log says of limits: calls that get scarce, quotas that the cloud names, images that are not given."""

from __future__ import annotations

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import State
from dispatcher.runtime.narrate import narrate
from dispatcher.runtime.told import INFO, WARNING
from tests.core.build import C1, NOW, after, record, settings, state, wants


def said(before: State, *events: m.Event) -> list[tuple[int, str]]:
    """The sentences of all these, one after another."""
    told = []
    for number, event in enumerate(events):
        now = NOW + 10.0 * number
        changed = after(before, event, now=now)
        told += [(one.level, one.text) for one in narrate(before, changed, event, now)]
        before = changed
    return told


def report(**more: float) -> m.CallReported:
    return m.CallReported(call="create", **more)


def test_calls_that_get_scarce_are_told_once():
    """At the crossing, not with each answer; and again when they had been plenty meanwhile."""
    told = said(state(), *(report(calls_remaining=left) for left in (40, 9, 5, 3, 50, 2)))
    assert [text for _, text in told] == [
        "create: the cloud says that 9 calls are left: they are spread",
        "create: the cloud says that 2 calls are left: they are spread",
    ]


def test_a_limit_that_the_cloud_names_is_told_when_it_is_new():
    """Usage changes with each create and is told with it alone."""
    told = said(state(), *(report(limit=limit, usage=usage) for limit, usage in ((10.0, 3.0), (10.0, 4.0), (20.0, 4.0))))
    assert told == [
        (INFO, "create: the cloud names a limit of 10, 3 of it used"),
        (INFO, "create: the cloud names a limit of 20, 4 of it used"),
    ]


@pytest.mark.parametrize(("allowed", "warned"), [((), True), (("gpu-*",), False)])
def test_an_image_that_is_not_given_is_a_warning(allowed, warned):
    """A wish that is ignored is named with the key that would grant it."""
    before = state(settings=settings(allowed_images=allowed))
    seen = m.ContainersObserved(began_s=NOW, records=(record(C1, requirements=wants(image_id="gpu-1")),))
    told = [text for level, text in said(before, seen) if level == WARNING]
    assert bool(told) is warned
    assert all("AllowedImages" in text for text in told)
