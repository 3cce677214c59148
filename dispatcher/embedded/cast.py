"""From what a client sent to what an attribute holds.

A text may stand for any type, since forms know nothing else; what cannot be understood is refused with 422, and null stands
for the empty value of an object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import ApiError, bad_argument, raised, unknown_attribute
from .resources import Attribute, Record, Resource
from .values import format_time, parse_time, ruby_class

_FALSE = frozenset({"", "0", "f", "false", "off", "no", "F", "FALSE", "OFF"})
_DERIVED = frozenset({"id", "created_at", "modified_at", "modified_by_user_uuid"})


def changes(resource: Resource, sent: Mapping[str, Any]) -> Record:
    """The attributes of a request's body with the types of the table. Raises ApiError at the first that does not exist.

    Attributes that only the server writes are left out; ``id`` stays, to be refused by the rules.
    """
    result: Record = {}
    for name, value in sent.items():
        attribute = resource.attribute(name)
        if name == "id":
            result[name] = value
        elif attribute is None:
            raise unknown_attribute(name, resource.model)
        elif name not in _DERIVED:
            result[name] = cast(attribute, value)
    return result


def cast(attribute: Attribute, value: Any) -> Any:
    """One value with the type of its attribute."""
    if attribute.is_object:
        return _cast_object(attribute, value)
    if value is None:
        return None
    if attribute.type == "integer":
        return _checked_integer(attribute, value)
    to_type: Callable[[Any], Any] = _CASTS.get(attribute.type, _cast_text)
    return to_type(value)


def _cast_object(attribute: Attribute, value: Any) -> Any:
    if value is None or value == "":
        return attribute.empty
    parsed = parse_json(value) if isinstance(value, str) else value
    wanted = list if attribute.type == "Array" else dict
    if not isinstance(parsed, wanted):
        kind = "Array" if wanted is list else "Hash"
        raise raised(
            "ActiveRecord::SerializationTypeMismatch",
            f"can't serialize `{attribute.name}`: was supposed to be a {kind}, but was a {ruby_class(parsed)}.",
        )
    return parsed


def parse_json(text: str) -> Any:
    """JSON given as text inside a parameter."""
    try:
        return json.loads(text)
    except ValueError:
        raise raised("Oj::ParseError", "unexpected character (after ) at line 1, column 1 [parse.c:762]") from None


def _checked_integer(attribute: Attribute, value: Any) -> int | None:
    """A whole number that the real server's column could hold; a priority has to be one from the beginning."""
    if attribute.name == "priority" and not isinstance(value, bool):
        if isinstance(value, str) and not re.fullmatch(r"\s*[-+]?\d+(\.\d+)?\s*", value):
            raise ApiError(422, "Priority is not a number")
        if not re.fullmatch(r"\s*[-+]?\d+\s*", str(value)):
            raise ApiError(422, "Priority must be an integer")
    number = _cast_integer(value)
    size = 8 if attribute.name == "priority" else 4
    if number is not None and not -(1 << (8 * size - 1)) <= number < 1 << (8 * size - 1):
        text = f"{number} is out of range for ActiveModel::Type::Integer with limit {size} bytes"
        raise raised("ActiveModel::RangeError", text)
    return number


def _cast_integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        digits = re.match(r"\s*([-+]?\d+)", value)
        return int(digits.group(1)) if digits else None if not value.strip() else 0
    return int(value) if isinstance(value, int | float) else None


def _cast_number(value: Any) -> float | None:
    if isinstance(value, str):
        digits = re.match(r"\s*[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", value)
        return float(digits.group(0)) if digits else None if not value.strip() else 0.0
    return float(value) if isinstance(value, int | float) else None


def _cast_flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return None if value == "" else value not in _FALSE
    return bool(value)


def _cast_time(value: Any) -> str | None:
    moment = parse_time(value) if isinstance(value, str) else None
    return format_time(moment) if moment else None


def _cast_text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise raised("TypeError", f"can't cast {ruby_class(value)}")
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)


_CASTS: dict[str, Callable[[Any], Any]] = {
    "float": _cast_number,
    "boolean": _cast_flag,
    "datetime": _cast_time,
}


# ------------------------------------------------------------------------------------------------------- request parameters


def whole_number(name: str, value: Any) -> int:
    """A ``limit`` or ``offset``: zero or greater."""
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,18}", text):
        raise bad_argument(f"Invalid value for {name} parameter")
    return int(text)


def flag_parameter(value: Any) -> bool:
    return value not in (None, False, 0) and str(value).lower() not in ("false", "0", "")


def object_parameter(name: str, value: Any) -> dict[str, Any]:
    """The attributes of a record as they stand in the body: an object, or JSON text of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise ApiError(422, f"No {name} hash provided with request")
    return value
