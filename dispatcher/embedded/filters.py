"""List filters, from what a client sent to an SQL condition.

Names of attributes come from the table of resources and nothing that a client sent stands in the SQL itself. Null counts as
different from every value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import bad_argument, bad_statement
from .resources import CONTAINER_REQUESTS, CONTAINERS, RESOURCES, Attribute, Resource
from .values import format_time, parse_time, ruby_class

Condition = tuple[str, list[Any]]
FILTERS_GREATEST = 100
_COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">="})
_TEXT_OPERATORS = {"like": (False, False), "ilike": (False, True), "not like": (True, False), "not ilike": (True, True)}
_EXPRESSION = re.compile(r"\(\s*([a-z_]+)\s*(<=|>=|<|>|=|!=)\s*([a-z_]+)\s*\)")
_NUMBER_TYPES = {"integer": "integer", "float": "double precision"}
_BIG_INTEGERS = frozenset({"priority"})
INTEGERS_GREATEST = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What one side of a filter stands for in SQL."""

    sql: str
    attribute: Attribute
    key: str | None = None


def conditions(resource: Resource, filters: Any) -> Condition:
    """All filters together. Raises ApiError for one that cannot be understood."""
    if not isinstance(filters, list):
        raise bad_argument("Invalid filters: not an array")
    if len(filters) > FILTERS_GREATEST:
        raise bad_argument(f"Too many filters: at most {FILTERS_GREATEST}")
    parts = [_one(resource, each) for each in filters]
    sql = " AND ".join(f"({text})" for text, _ in parts) or "1"
    return sql, [value for _, values in parts for value in values]


def _one(resource: Resource, each: Any) -> Condition:
    if not isinstance(each, list) or len(each) != 3:
        raise bad_argument(f"Invalid element in filters array: {json.dumps(each)} is not an array of 3")
    name, operator, operand = each
    operator = str(operator).lower()
    if isinstance(name, str) and name.startswith("("):
        return _expression(resource, name, operator, operand)
    names = _searchable(resource) if name == "any" else name if isinstance(name, list) else [name]
    parts = [_compare(_column(resource, one), operator, operand) for one in names]
    sql = " OR ".join(f"({text})" for text, _ in parts) or "0"
    return sql, [value for _, values in parts for value in values]


def _searchable(resource: Resource) -> list[str]:
    kinds = ("string", "text")
    return [each.name for each in resource if each.type in kinds and not each.hidden and each.filterable]


def _column(resource: Resource, name: Any) -> Column:
    text = str(name)
    table, _, rest = text.partition(".")
    if rest and table in (resource.name, "container") and not (attribute := resource.attribute(table)):
        return _joined(rest) if table == "container" and resource is CONTAINER_REQUESTS else _column(resource, rest)
    attribute = resource.attribute(table)
    if attribute is None or attribute.hidden or not attribute.filterable:
        raise bad_argument(f"Invalid attribute '{text}' in filter")
    if rest and not attribute.subproperties:
        raise bad_argument(f"Invalid attribute '{table}' for subproperty filter")
    return Column(sql=f'{resource.name}."{table}"', attribute=attribute, key=rest or None)


def _joined(name: str) -> Column:
    column = _column(CONTAINERS, name)
    sql = f"(SELECT {column.sql} FROM containers WHERE containers.uuid = container_requests.container_uuid)"  # noqa: S608
    return Column(sql=sql, attribute=column.attribute, key=column.key)


def _expression(resource: Resource, text: str, operator: str, operand: Any) -> Condition:
    match = _EXPRESSION.fullmatch(text)
    if match is None or operator != "=" or operand is not True:
        raise bad_argument(f"Invalid expression '{text}' in filter")
    left, sign, right = match.groups()
    return f"{_column(resource, left).sql} {sign} {_column(resource, right).sql}", []


def _compare(column: Column, operator: str, operand: Any) -> Condition:
    if column.key is not None:
        return _compare_key(column, operator, operand)
    if operator in _COMPARISONS:
        return _compare_value(column.sql, operator, operand, column.attribute)
    if operator in ("in", "not in"):
        return _compare_list(column.sql, operator, operand, column.attribute)
    if operator in _TEXT_OPERATORS:
        return _compare_text(column.sql, operator, operand)
    if operator == "is_a":
        return _compare_kind(column.sql, operand)
    if operator in ("exists", "contains") and column.attribute.is_object:
        return _exists(column.sql, operand) if operator == "exists" else _contains(column.sql, operand)
    if operator in ("exists", "contains"):
        raise bad_argument(f"Invalid attribute '{column.attribute.name}' for operator '{operator}' in filter")
    raise bad_argument(f"Invalid operator '{operator}'")


def _wrong_operand(operand: Any, operator: str) -> Exception:
    return bad_argument(f"Invalid operand type '{ruby_class(operand)}' for '{operator}' operator in filters")


def _compare_value(sql: str, operator: str, operand: Any, attribute: Attribute) -> Condition:
    if isinstance(operand, list | dict) or (operand is None and operator not in ("=", "!=")):
        raise _wrong_operand(operand, operator)
    if operand is None:
        return f"{sql} IS {'NOT ' if operator == '!=' else ''}NULL", []
    value = operand_value(attribute, operand)
    return (f"{sql} IS NOT ?" if operator == "!=" else f"{sql} {operator} ?"), [value]


def operand_value(attribute: Attribute, operand: Any) -> Any:
    """An operand with the type of its column. Raises ApiError as the real server's database would."""
    if attribute.type in _NUMBER_TYPES:
        return _number(attribute, operand)
    if attribute.type == "boolean":
        return _flag(operand)
    if attribute.type == "datetime":
        moment = parse_time(operand)
        if moment is None:
            raise bad_statement(f'invalid input syntax for type timestamp: "{operand}"')
        return format_time(moment)
    if attribute.type == "any":
        return _scalar(operand)
    return operand if isinstance(operand, str) else json.dumps(operand)


def _number(attribute: Attribute, operand: Any) -> int | float:
    kind = "bigint" if attribute.name in _BIG_INTEGERS else _NUMBER_TYPES[attribute.type]
    try:
        number = int(str(operand)) if attribute.type == "integer" else float(str(operand))
    except ValueError:
        raise bad_statement(f'invalid input syntax for type {kind}: "{operand}"') from None
    if not -INTEGERS_GREATEST <= number < INTEGERS_GREATEST:
        raise bad_statement(f'value "{operand}" is out of range for type {kind}')
    return number


def _flag(operand: Any) -> int:
    words = {"true": 1, "t": 1, "1": 1, "false": 0, "f": 0, "0": 0}
    if (word := str(operand).lower()) not in words:
        raise bad_statement(f'invalid input syntax for type boolean: "{operand}"')
    return words[word]


def _compare_list(sql: str, operator: str, operand: Any, attribute: Attribute) -> Condition:
    if not isinstance(operand, list):
        raise _wrong_operand(operand, operator)
    values = [operand_value(attribute, each) for each in operand if each is not None]
    found = f"{sql} IN (SELECT value FROM json_each(?))"  # noqa: S608
    with_null = None in operand
    if operator == "in":
        return found + (f" OR {sql} IS NULL" if with_null else ""), [json.dumps(values)]
    return f"NOT coalesce({found}, 0)" + (f" AND {sql} IS NOT NULL" if with_null else ""), [json.dumps(values)]


def _compare_text(sql: str, operator: str, operand: Any) -> Condition:
    if not isinstance(operand, str):
        raise _wrong_operand(operand, operator)
    negated, ignores_case = _TEXT_OPERATORS[operator]
    matched = f"lower({sql}) LIKE lower(?) ESCAPE '\\'" if ignores_case else f"{sql} LIKE ? ESCAPE '\\'"
    return (f"NOT coalesce({matched}, 0)" if negated else matched), [operand]


def _compare_kind(sql: str, operand: Any) -> Condition:
    kinds = operand if isinstance(operand, list) else [operand]
    if not all(isinstance(each, str) for each in kinds):
        raise _wrong_operand(operand, "is_a")
    infixes = {each.kind: each.infix for each in RESOURCES.values()}
    patterns = [f"_____-{infixes.get(each, '-----')}-_______________" for each in kinds]
    return " OR ".join(f"{sql} LIKE ?" for _ in patterns) or "0", list(patterns)


def _exists(sql: str, operand: Any) -> Condition:
    if not isinstance(operand, str):
        raise _wrong_operand(operand, "exists")
    in_array = f"(json_type({sql}) = 'array' AND json_each.value = ?)"
    return f"EXISTS (SELECT 1 FROM json_each({sql}) WHERE json_each.key = ? OR {in_array})", [operand, operand]  # noqa: S608


def _contains(sql: str, operand: Any) -> Condition:
    wanted = operand.items() if isinstance(operand, dict) else None
    if wanted is not None:
        parts = [f"EXISTS (SELECT 1 FROM json_each({sql}) WHERE key = ? AND value = ?)" for _ in wanted]  # noqa: S608
        return " AND ".join(parts) or "1", [_scalar(value) for pair in wanted for value in pair]
    words: Sequence[Any] = operand if isinstance(operand, list) else [operand]
    if not all(isinstance(each, str) for each in words):
        raise _wrong_operand(operand, "contains")
    return " AND ".join(_exists(sql, each)[0] for each in words) or "1", [each for word in words for each in (word, word)]


def _scalar(value: Any) -> Any:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list) else value


def _compare_key(column: Column, operator: str, operand: Any) -> Condition:
    """A filter on one key inside an object."""
    sql = f"(SELECT value FROM json_each({column.sql}) WHERE json_each.key = ?)"  # noqa: S608
    if operator == "exists":
        if not isinstance(operand, bool):
            raise _wrong_operand(operand, operator)
        there = f"EXISTS (SELECT 1 FROM json_each({column.sql}) WHERE json_each.key = ?)"  # noqa: S608
        return (there if operand else f"NOT {there}"), [column.key]
    plain = Attribute(name=column.attribute.name, type="any")
    if operator in _COMPARISONS:
        text, values = _compare_value(sql, operator, operand, plain)
    elif operator in ("in", "not in"):
        text, values = _compare_list(sql, operator, operand, plain)
    elif operator in _TEXT_OPERATORS:
        text, values = _compare_text(sql, operator, operand)
    else:
        raise bad_argument(f"Invalid operator for subproperty search: '{operator}'")
    return text, [column.key] * text.count("json_each.key = ?") + values
