"""``dataclass`` for values: what the standard library's gives, made in a fraction of its time.

A start makes two hundred values, and the library compiles six functions for each at once. Here a frozen, slotted one gets its
``__init__``, ``__eq__`` and ``__hash__`` when they are first called; they are then as quick as the library's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the type checker knows that function, and what it promises is kept
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool = False, slots: bool = False, kw_only: bool = False, **more: Any) -> Callable[[type], type]:
        """As ``dataclasses.dataclass``, to which everything is left that is not frozen and slotted, or asks for more."""
        if not (frozen and slots) or more:
            return dataclasses.dataclass(frozen=frozen, slots=slots, kw_only=kw_only, **more)
        return lambda kind: _made(kind, kw_only)


Method = Callable[..., Any]


def _made(kind: Any, kw_only: bool) -> type:
    if hasattr(kind, "__post_init__"):
        raise TypeError(f"{kind.__qualname__}: a value has no __post_init__; look at what goes into it where it is made")
    kind.__doc__ = kind.__doc__ or kind.__name__  # the library would write a signature there, which takes it long
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(kind)
    for name, method in {**_SHARED, **{name: _late(made, name) for name in _TEXTS}}.items():
        if kind.__dict__.get(name) is None:  # beside an __eq__ of its own stands a __hash__ of None
            setattr(made, name, method)
    return made  # type: ignore[no-any-return]


def _late(kind: type, name: str) -> Method:
    """Writes the method when it is first called, and takes its place."""

    def first(self: Any, *given: Any, **named: Any) -> Any:
        method = _written(kind, name)
        setattr(kind, name, method)
        return method(self, *given, **named)

    return first


def _written(kind: type, name: str) -> Method:
    names: dict[str, Any] = {"_set": object.__setattr__, "_absent": MISSING}
    exec(_TEXTS[name](fields(kind), names), names)  # noqa: S102 - of names of fields, as the library does
    method: Method = names[name]
    method.__qualname__, method.__module__ = f"{kind.__qualname__}.{name}", kind.__module__
    return method


Fields = tuple[Field[Any], ...]


def _init(known: Fields, names: dict[str, Any]) -> str:
    first = [_parameter(each, names) for each in known if not each.kw_only]
    named = [_parameter(each, names) for each in known if each.kw_only]
    asked = ", ".join(["self", *first, *(["*", *named] if named else [])])
    return "\n ".join([f"def __init__({asked}):", *(f"_set(self, {each.name!r}, {_taken(each)})" for each in known), "pass"])


def _parameter(each: Field[Any], names: dict[str, Any]) -> str:
    if each.default is not MISSING:
        names[f"_default_{each.name}"] = each.default
        return f"{each.name}=_default_{each.name}"
    if each.default_factory is not MISSING:
        names[f"_new_{each.name}"] = each.default_factory
        return f"{each.name}=_absent"
    return each.name


def _taken(each: Field[Any]) -> str:
    if each.default_factory is MISSING:
        return each.name
    return f"_new_{each.name}() if {each.name} is _absent else {each.name}"


def _eq(known: Fields, names: dict[str, Any]) -> str:
    compared = [each for each in known if each.compare]
    same = f"{_row('self', compared)} == {_row('other', compared)}"
    return f"def __eq__(self, other):\n return {same} if other.__class__ is self.__class__ else NotImplemented"


def _hash(known: Fields, names: dict[str, Any]) -> str:
    return f"def __hash__(self):\n return hash({_row('self', [e for e in known if (e.compare if e.hash is None else e.hash)])})"


def _row(whose: str, of: list[Field[Any]]) -> str:
    return f"({''.join(f'{whose}.{each.name}, ' for each in of)})"


def _repr(known: Fields, names: dict[str, Any]) -> str:
    shown = ", ".join(f"{each.name}={{self.{each.name}!r}}" for each in known if each.repr)
    return f"def __repr__(self):\n return f'{{type(self).__qualname__}}({shown})'"


def _refuse_to_set(self: Any, name: str, value: Any) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    """What a copy is made of."""
    return [getattr(self, each.name) for each in fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for each, held in zip(fields(self), state, strict=True):
        object.__setattr__(self, each.name, held)


_TEXTS: dict[str, Callable[[Fields, dict[str, Any]], str]] = {
    "__init__": _init, "__eq__": _eq, "__hash__": _hash, "__repr__": _repr,
}  # fmt: skip
_SHARED: dict[str, Method] = {
    "__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete, "__getstate__": _state, "__setstate__": _restore,
}  # fmt: skip
