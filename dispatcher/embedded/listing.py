"""The other parameters of a list: what to return, in which order, how much, and whether to count.

Unknown columns of an order are left out without a word; unknown columns of a selection are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import cast, filters
from .errors import bad_argument
from .resources import Resource

LIMIT_DEFAULT = 100
LIMIT_GREATEST = 1000
_ALWAYS_SELECTABLE = ("kind", "etag")
_DIRECTIONS = {"": "ASC", "asc": "ASC", "desc": "DESC"}
_TIE_BREAK = (("modified_at", "DESC"), ("uuid", "DESC"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One list, understood. ``select`` is None for everything."""

    where: str
    parameters: list[Any]
    order: str
    select: list[str] | None
    limit: int
    offset: int
    counts: bool
    distinct: bool


def understood(resource: Resource, given: Mapping[str, Any]) -> Query:
    """The query that the parameters of a request describe. Raises ApiError 422."""
    select = selection(resource, given.get("select"))
    where, parameters = filters.conditions(resource, array_parameter("filters", given.get("filters")))
    more, values = _conditions_of_where(resource, given.get("where"))
    return Query(
        where=f"{where} AND {more}",
        parameters=parameters + values,
        order=ordering(resource, given.get("order"), select),
        select=select,
        limit=min(cast.whole_number("limit", given.get("limit", LIMIT_DEFAULT)), LIMIT_GREATEST),
        offset=cast.whole_number("offset", given.get("offset", 0)),
        counts=_counts(given.get("count")),
        distinct=cast.flag_parameter(given.get("distinct")),
    )


def array_parameter(name: str, value: Any) -> list[Any]:
    """A parameter that is an array, or JSON text of one; empty when it was not given."""
    if value in (None, ""):
        return []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = False
    if value is None and name == "filters":
        return []
    if not isinstance(value, list):
        raise bad_argument(f'Could not parse "{name}" param as an array')
    return value


def _conditions_of_where(resource: Resource, value: Any) -> filters.Condition:
    """The old form of filters: an object of attributes and the value, or values, that they must have."""
    given = cast.object_parameter("where", value) if value not in (None, "") else {}
    listed = [[name, "in" if isinstance(each, list) else "=", each] for name, each in given.items()]
    return filters.conditions(resource, listed)


def _counts(value: Any) -> bool:
    if value not in (None, "", "exact", "none"):
        raise bad_argument("count parameter must be 'exact' or 'none'")
    return str(value) != "none"


def selection(resource: Resource, value: Any) -> list[str] | None:
    """The names to return, or None for all. Raises ApiError for an empty list and for a name that does not exist."""
    if value is None or value == "":
        return None
    names = [str(each) for each in array_parameter("select", value)]
    if not names:
        raise bad_argument("Attribute selection list cannot be empty")
    known = {*resource.visible(), *_ALWAYS_SELECTABLE}
    for name in names:
        if name not in known:
            raise bad_argument(f"Invalid attribute '{name}' of {resource.model} in select parameter")
    return list(dict.fromkeys(names))


def ordering(resource: Resource, value: Any, select: list[str] | None) -> str:
    """The ORDER BY of a list: what was asked for, then newest change first. Only selected columns count."""
    known = [name for name in resource.visible() if select is None or name in select]
    wanted = [_one_order(resource, str(each)) for each in _order_words(value)]
    columns: dict[str, str] = {}
    for name, direction in [*filter(None, wanted), *_TIE_BREAK]:
        if name in known:
            columns.setdefault(name, direction)
    return ", ".join(_order_sql(resource, name, direction) for name, direction in columns.items()) or f"{resource.name}.id"


def _order_words(value: Any) -> list[Any]:
    if isinstance(value, str) and not value.lstrip().startswith(("[", '"')):
        return value.split(",")
    if isinstance(value, str):
        parsed = cast.parse_json(value)
        return [parsed] if isinstance(parsed, str) else array_parameter("order", parsed)
    return array_parameter("order", value)


def _one_order(resource: Resource, text: str) -> tuple[str, str] | None:
    words = text.strip().split()
    if not words or len(words) > 2:
        return None
    name, direction = words[0], _DIRECTIONS.get(words[1].lower() if len(words) == 2 else "")
    table, _, column = name.rpartition(".")
    return (column, direction) if direction and table in ("", resource.name) else None


def _order_sql(resource: Resource, name: str, direction: str) -> str:
    nulls = "LAST" if direction == "ASC" else "FIRST"
    return f'{resource.name}."{name}" {direction} NULLS {nulls}'
