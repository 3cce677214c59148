"""A frozen dataclass is what the standard library would make of it, though its methods are written when they are first called."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from dispatcher.core.model import Container, ContainerState, Instance, Phase
from dispatcher.frozen import dataclass


def made(maker: Callable[..., Callable[[type], Any]], **options: Any) -> Any:
    """The same class by either maker."""

    @maker(frozen=True, slots=True, **options)
    class Value:
        name: str
        shown: int = 3
        hidden: str = field(default="x", repr=False)
        ignored: int = field(default=0, compare=False)
        hashed_not: int = field(default=0, hash=False)
        row: tuple[int, ...] = field(default_factory=lambda: (1, 2))

        @property
        def twice(self) -> int:
            return 2 * self.shown

    return Value


BOTH = [made(dataclass, kw_only=True), made(dataclasses.dataclass, kw_only=True)]


@pytest.mark.parametrize("kind", BOTH, ids=["ours", "the library's"])
def test_it_behaves_as_the_librarys(kind: Any) -> None:
    """Defaults, text, equality, hash, copies, and what is refused: each line is true of both."""
    one, same, other = kind(name="a"), kind(name="a", ignored=9), kind(name="b", row=())
    assert (one.name, one.shown, one.row, one.twice) == ("a", 3, (1, 2), 6)
    assert repr(one).endswith("Value(name='a', shown=3, ignored=0, hashed_not=0, row=(1, 2))")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "a"
    assert hash(one) == hash(kind(name="a", hashed_not=5)) != hash(other)
    assert one != kind(name="a", hashed_not=5)
    assert copy.copy(one) == copy.deepcopy(one) == dataclasses.replace(other, name="a", row=(1, 2)) == one
    assert [each.name for each in dataclasses.fields(kind)] == ["name", "shown", "hidden", "ignored", "hashed_not", "row"]
    assert not hasattr(one, "__dict__")
    for wrong in (lambda: setattr(one, "name", "b"), lambda: delattr(one, "name"), lambda: setattr(one, "more", 1)):
        with pytest.raises((FrozenInstanceError, TypeError)):  # for what is no field the library raises the one or the other
            wrong()
    for call in (lambda: kind(), lambda: kind("a"), lambda: kind(name="a", more=1)):
        with pytest.raises(TypeError):
            call()


def test_what_stands_by_position_may_be_given_by_position() -> None:
    """Only what says so takes names alone."""
    kind = made(dataclass)
    assert kind("a", 4) == kind(name="a", shown=4)


def test_methods_of_its_own_stay() -> None:
    """As with the library: what the class says itself is not written over."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Own:
        name: str

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "mine"

    assert (hash(Own(name="a")), repr(Own(name="a")), Own(name="a") == Own(name="a")) == (7, "mine", True)


def test_a_value_without_fields_equals_its_like() -> None:
    """There is nothing in which they could differ."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Nothing:
        pass

    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())
    assert repr(Nothing()).endswith("Nothing()")


def test_what_looks_at_its_fields_is_refused() -> None:
    """It would never be called: a copy is made slot by slot."""
    with pytest.raises(TypeError, match="has no __post_init__"):

        @dataclass(frozen=True, slots=True, kw_only=True)
        class Wrong:
            name: str

            def __post_init__(self) -> None:
                raise AssertionError("never called")


def test_what_is_not_frozen_is_the_librarys() -> None:
    """It can be changed, and compares as always."""

    @dataclass(slots=True, order=True)
    class Count:
        number: int

    count = Count(1)
    count.number = 2
    assert Count(1) < count


def test_the_values_of_the_core_can_be_stored() -> None:
    """And come back equal, nested ones too."""
    held = (
        Container(uuid="c", state=ContainerState.QUEUED, priority=3, first_seen_s=1.0),
        Instance(name="i", type="t", phase=Phase.READY, phase_since_s=1.0, appeared_s=0.5),
    )
    assert pickle.loads(pickle.dumps(held)) == held
