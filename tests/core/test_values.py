"""A copy with changes is what ``dataclasses.replace`` makes of the same value."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dispatcher.core.model import Container, ContainerState, Instance, Phase, Process, ProcessPhase, State
from dispatcher.core.values import replace

VALUES: list[tuple[Any, dict[str, Any]]] = [
    (State(), {"version": 7}),
    (Container(uuid="c", state=ContainerState.QUEUED, priority=3, first_seen_s=1.0), {"priority": 4, "instance": "i"}),
    (Instance(name="i", type="t", phase=Phase.READY, phase_since_s=1.0, appeared_s=0.5), {"phase": Phase.SHUTDOWN}),
    (Process(uuid="c", phase=ProcessPhase.RUNNING, since_s=1.0, changed_s=2.0), {}),
]


@pytest.mark.parametrize(("value", "changes"), VALUES, ids=lambda one: type(one).__name__)
def test_a_copy_is_what_the_standard_library_makes_of_it(value: Any, changes: dict[str, Any]) -> None:
    """Another object, equal in every field, and the value itself stays as it was."""
    before = dataclasses.replace(value)
    copy = replace(value, **changes)
    assert copy == dataclasses.replace(value, **changes)
    assert copy is not value
    assert value == before


def test_a_value_of_one_field_is_copied_too() -> None:
    """The one field is the value's whole row, not a row of its letters."""

    @dataclasses.dataclass(frozen=True, slots=True)
    class Single:
        name: str

    assert replace(Single("abc")) == Single("abc")


def test_a_field_that_does_not_exist_is_refused() -> None:
    """A wrong name is a bug and never passes in silence."""
    with pytest.raises(KeyError):
        replace(State(), unknown=1)  # type: ignore[call-arg]
