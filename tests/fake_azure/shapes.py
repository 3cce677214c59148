"""What a JSON body may look like, as a value: closed objects, types, choices, what is read-only and since which version.

Three sources describe bodies in this one form: our own table, the models of the SDK and Microsoft's schemas. One function
compares a body with any of them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

READ_ONLY = "read-only"


class Kind(enum.StrEnum):
    TEXT = "text"
    WHOLE = "whole number"
    NUMBER = "number"
    FLAG = "true or false"
    LIST = "list"
    MAP = "map"
    OBJECT = "object"
    ANY = "anything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One name of an object. ``shape`` is a function, because schemas may contain themselves."""

    shape: Callable[[], Shape]
    required: bool = False
    read_only: bool = False
    since: str = ""  # the first api-version that knows it


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``words`` closes a text to those choices; ``of`` describes the elements of a list or a map."""

    kind: Kind
    words: tuple[str, ...] = ()
    of: Callable[[], Shape] | None = None
    members: Mapping[str, Member] = field(default_factory=dict)


def mismatches(shape: Shape, value: Any, version: str = "", path: str = "$") -> Iterator[str]:
    """Everything in which a body differs from its shape, each with its place."""
    if shape.kind is Kind.ANY:
        return
    if not _is_of(shape.kind, value):
        yield f"{path}: {shape.kind} expected, not {_described(value)}"
    elif shape.words and value not in shape.words:
        yield f"{path}: {value!r} is none of {', '.join(shape.words)}"
    elif shape.kind is Kind.OBJECT:
        yield from _object_mismatches(shape, value, version, path)
    elif shape.of is not None:
        items = value.items() if shape.kind is Kind.MAP else enumerate(value)
        for key, item in items:
            yield from mismatches(shape.of(), item, version, f"{path}[{key!r}]" if isinstance(key, str) else f"{path}[{key}]")


def _object_mismatches(shape: Shape, value: Mapping[str, Any], version: str, path: str) -> Iterator[str]:
    for name, item in value.items():
        member = shape.members.get(name)
        if member is None:
            yield f"{path}.{name}: unknown member"
        elif member.read_only:
            yield f"{path}.{name}: read-only member"
        elif version and version < member.since:
            yield f"{path}.{name}: unknown before api-version {member.since}, and this is {version}"
        else:
            yield from mismatches(member.shape(), item, version, f"{path}.{name}")
    for name, member in shape.members.items():
        if member.required and not member.read_only and name not in value:
            yield f"{path}.{name}: required and missing"


def _is_of(kind: Kind, value: Any) -> bool:
    if kind in (Kind.WHOLE, Kind.NUMBER):
        return not isinstance(value, bool) and isinstance(value, int if kind is Kind.WHOLE else int | float)
    return isinstance(value, {Kind.TEXT: str, Kind.FLAG: bool, Kind.LIST: list}.get(kind, dict))


def _described(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"


# ---------------------------------------------------------------------------------------------------- our own notation


def shape_of(notation: Any) -> Shape:
    """Ours: ``"text"``, ``"whole"``, ``"number"``, ``"flag"``, ``"any"``, ``"A|B"`` (choices), ``[element]``, ``{"*": element}``
    (a map) and ``{"name!": …, "name@2025-04-01": …}`` (a closed object: required, known since)."""
    if isinstance(notation, list):
        return Shape(kind=Kind.LIST, of=_fixed(shape_of(notation[0])))
    if isinstance(notation, dict) and "*" in notation:
        return Shape(kind=Kind.MAP, of=_fixed(shape_of(notation["*"])))
    if isinstance(notation, dict):
        return Shape(kind=Kind.OBJECT, members=dict(_member(name, inner) for name, inner in notation.items()))
    simple = {"text": Kind.TEXT, "whole": Kind.WHOLE, "number": Kind.NUMBER, "flag": Kind.FLAG, "any": Kind.ANY}
    if notation in simple:
        return Shape(kind=simple[notation])
    return Shape(kind=Kind.TEXT, words=tuple(notation.split("|")))


def _member(name: str, notation: Any) -> tuple[str, Member]:
    name, _, since = name.partition("@")
    required, name = name.endswith("!"), name.removesuffix("!")
    if notation == READ_ONLY:
        return name, Member(shape=_fixed(Shape(kind=Kind.ANY)), read_only=True)
    return name, Member(shape=_fixed(shape_of(notation)), required=required, since=since)


def _fixed(shape: Shape) -> Callable[[], Shape]:
    return lambda: shape


def writable_paths(shape: Shape, path: str = "", depth: int = 14) -> Iterator[str]:
    """Every member that may be written, as a dotted path: to compare two descriptions of one body."""
    if depth == 0:
        return
    if shape.of is not None:
        yield from writable_paths(shape.of(), f"{path}[]", depth - 1)
    for name, member in shape.members.items():
        if not member.read_only:
            yield f"{path}.{name}"
            yield from writable_paths(member.shape(), f"{path}.{name}", depth - 1)
