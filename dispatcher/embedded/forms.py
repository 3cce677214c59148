"""The parameters of a request, in all the forms in which clients send them.

Query, form and JSON body are merged into one mapping; the method may be overridden by a header or, in a form, by ``_method``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Request

from . import cast
from .errors import ApiError, raised
from .resources import Record, Resource

BODY_GREATEST_BYTES = 16 << 20
_OVERRIDES = frozenset({"GET", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One request, read: the method that is meant, all parameters, and the JSON body by itself."""

    method: str
    values: dict[str, Any]
    json_body: dict[str, Any] = field(default_factory=dict)
    problem: ApiError | None = None


def read(request: Request, dialect: str) -> Form:
    """Read a request's parameters. A body that is no JSON is kept as a problem, to be told to those who are logged in."""
    values: dict[str, Any] = _nested(request.args.items(multi=True))
    kind = request.mimetype
    if kind == "application/json":
        return _with_json(request, values, dialect)
    form = _nested(request.form.items(multi=True)) if request.form else {}
    method = _method(request, str(form.pop("_method", "")))
    return Form(method=method, values={**values, **form})


def _method(request: Request, from_form: str = "") -> str:
    override = (request.headers.get("X-Http-Method-Override") or from_form).upper()
    if request.method == "POST" and override in _OVERRIDES:
        return override
    return "GET" if request.method == "HEAD" else request.method


def _with_json(request: Request, values: dict[str, Any], dialect: str) -> Form:
    text = request.get_data(cache=False)
    try:
        body = json.loads(text, parse_constant=_refuse_constant) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        return Form(method=_method(request), values=values, problem=_unreadable(dialect, text, error))
    body = body if isinstance(body, dict) else {}
    return Form(method=_method(request), values={**values, **body}, json_body=body)


def _refuse_constant(name: str) -> None:
    """NaN and its like are no JSON, although Python reads them."""
    raise ValueError(f"{name} is no JSON")


def _unreadable(dialect: str, text: bytes, error: Exception) -> ApiError:
    if dialect == "rails":
        return raised("ActionDispatch::Http::Parameters::ParseError", "Error occurred while parsing request parameters")
    at = error.pos if isinstance(error, json.JSONDecodeError) else 0
    rest = text.decode(errors="replace")[at : at + 1]
    return ApiError(400, f"invalid character '{rest}' looking for beginning of value" if rest else "unexpected EOF", bare=True)


def _nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """``container[progress]=0.4`` is an object with one key."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        outer, bracket, inner = name.partition("[")
        if bracket and inner.endswith("]"):
            inside = result.setdefault(outer, {})
            if isinstance(inside, dict):
                _put(inside, inner[:-1], value)
        else:
            result[name] = value
    return result


def _put(inside: dict[str, Any], path: str, value: str) -> None:
    *outer, last = path.split("][")
    for name in outer:
        deeper = inside.setdefault(name, {})
        inside = deeper if isinstance(deeper, dict) else {}
    inside[last] = value


def attributes(resource: Resource, form: Form) -> Record:
    """The attributes to write: below the resource's own name, or, in JSON for the Rails paths, at the top level."""
    if resource.singular in form.values:
        return cast.object_parameter(resource.singular, form.values[resource.singular])
    if resource.dialect == "router":
        return {}
    return {name: value for name, value in form.json_body.items() if resource.attribute(name) is not None}
