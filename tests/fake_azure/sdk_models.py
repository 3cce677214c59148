"""The models of the installed SDK, read into our form: names, types and what is read-only, as the vendor's own client has them.

The SDK's newest version knows more than the api-version that a request names, so this opinion alone admits too much, never too
little.
"""

from __future__ import annotations

import datetime
import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from tests.fake_azure.shapes import Kind, Member, Shape

_SIMPLE: dict[Any, Kind] = {
    str: Kind.TEXT,
    bool: Kind.FLAG,
    int: Kind.WHOLE,
    float: Kind.NUMBER,
    datetime.datetime: Kind.TEXT,
    bytes: Kind.TEXT,
}


def sdk_shape(name: str) -> Shape | None:
    """The shape of a model by its name; None while the SDK is not installed or has no such model."""
    try:
        from azure.mgmt.compute import models
    except ImportError:
        return None
    model = getattr(models, name, None)
    return None if model is None else _model_shape(model)


@cache
def _model_shape(model: Any) -> Shape:
    return Shape(kind=Kind.OBJECT, members=dict(_members(model)))


def _members(model: Any) -> Iterator[tuple[str, Member]]:
    from azure.mgmt.compute import models

    model()  # the SDK fills in the names of a model's fields when it is first made
    annotations: dict[str, Any] = {}
    for base in reversed(model.__mro__):
        annotations |= inspect.get_annotations(base)
    known = {"_models": models, **vars(typing), "datetime": datetime}
    for attribute, rest in model._attr_to_rest_field.items():
        hint = _resolved(annotations.get(attribute, Any), known, model)
        read_only = rest._visibility == ["read"]
        yield rest._rest_name, Member(shape=_later(hint), read_only=read_only)


def _resolved(hint: Any, known: dict[str, Any], model: Any) -> Any:
    """Forward references to their classes."""
    holder = type("Holder", (), {"__annotations__": {"it": hint}, "__module__": model.__module__})
    return typing.get_type_hints(holder, localns=known)["it"]


def _later(hint: Any) -> Callable[[], Shape]:
    return lambda: _hint_shape(hint)


def _hint_shape(hint: Any) -> Shape:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union_shape([each for each in inner if each is not type(None)])
    if origin is list:
        return Shape(kind=Kind.LIST, of=_later(inner[0]))
    if origin is dict:
        return Shape(kind=Kind.MAP, of=_later(inner[1]))
    if isinstance(hint, type) and hasattr(hint, "_is_model"):
        return _model_shape(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return Shape(kind=Kind.TEXT)
    return Shape(kind=_SIMPLE.get(hint, Kind.ANY))


def _union_shape(hints: list[Any]) -> Shape:
    """A choice is either an enumeration or a plain text: what the SDK does not know yet may be sent."""
    shapes = [_hint_shape(each) for each in hints]
    return shapes[0] if len({shape.kind for shape in shapes}) == 1 else Shape(kind=Kind.ANY)
