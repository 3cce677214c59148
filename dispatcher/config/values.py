"""The kinds of value that a key can have: how each is read and how it is shown.

Durations are read in Go's syntax and kept in seconds, sizes in bytes, so that what works in the cluster's file works here.
A message quotes only values of kinds that cannot be secret: numbers, durations, sizes and choices.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from dispatcher.config.yaml_lines import Fields, Items, Node, Scalar
from dispatcher.frozen import dataclass

LARGEST = (1 << 63) - 1  # Go's int64: of bytes, of nanoseconds, of everything
QUOTED_CHARACTERS = 40


class Wrong(Exception):
    """A value cannot be used; the text says what to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``parse`` raises Wrong. A value that ``counts_as_absent`` gives way to the default, as upstream does it."""

    name: str
    unit: str = ""
    parse: Callable[[Node], Any]
    show: Callable[[Any], str]
    counts_as_absent: Callable[[Any], bool] = lambda value: False


# ---------------------------------------------------------------------------------------------------------------- scalars


def scalar(node: Node, wanted: str) -> Scalar:
    if isinstance(node, Scalar):
        return node
    raise Wrong(f"has to be {wanted}, not a {'mapping' if isinstance(node, Fields) else 'list'}")


def quote(found: Scalar) -> str:
    return repr(found.text if len(found.text) <= QUOTED_CHARACTERS else found.text[:QUOTED_CHARACTERS] + "…")


def parse_text(node: Node) -> str:
    """Any scalar, as it stands in the file: an unquoted 22 or 12.0 is text too."""
    found = scalar(node, "text")
    return found.value if isinstance(found.value, str) else found.text


def parse_flag(node: Node) -> bool:
    found = scalar(node, "true or false")
    if isinstance(found.value, bool):
        return found.value
    raise Wrong(f"has to be true or false without quotes, not {quote(found)}")


def parse_integer(node: Node) -> int:
    found = scalar(node, "a whole number")
    if isinstance(found.value, bool) or not isinstance(found.value, int) or not 0 <= found.value <= LARGEST:
        raise Wrong(f"has to be a whole number of 0 or more without quotes, not {quote(found)}")
    return found.value


def parse_number(node: Node) -> float:
    found = scalar(node, "a number")
    value = found.value
    if isinstance(value, str) and not found.quoted and re.fullmatch(r"\d+(\.\d*)?[eE][+-]?\d+", value, re.ASCII):
        value = float(value)  # YAML 1.1 does not take 1e-3 for a number, YAML 1.2 does
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        raise Wrong(f"has to be a number of 0 or more without quotes, not {quote(found)}")
    return float(value)


# -------------------------------------------------------------------------------------------------------------- durations

_UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"([+-]?)((?:{_DURATION_PART.pattern})+)", re.ASCII)


def parse_duration(node: Node) -> float:
    """Seconds, from Go's syntax (``1m30s``, ``1.5h``, ``0``)."""
    found = scalar(node, "a duration like 1m30s")
    if found.text in ("0", "+0", "-0"):
        return 0.0
    match = _DURATION.fullmatch(found.text)
    if match is None:
        raise Wrong(f"has to be a duration with its units, like 10s or 1m30s, not {quote(found)}")
    total = sum(Fraction(amount) * _UNITS_NS[unit] for amount, unit in _DURATION_PART.findall(match[2]))
    if total > LARGEST:
        raise Wrong(f"is longer than 292 years: {quote(found)}")
    return float((-total if match[1] == "-" else total) / 10**9)


def show_duration(seconds: float) -> str:
    """Go's syntax without parts that are zero: ``1m30s``, ``0.5s``, ``0s``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{rest:.9g}s" if rest else ""]
    return "".join(parts) or "0s"


# ------------------------------------------------------------------------------------------------------------------ sizes

_SIZE = re.compile(r"(\d+\.?\d*|\.\d+) *(?:([KMGTPE])(i?))?B?", re.ASCII)


def parse_size(node: Node) -> int:
    """Bytes, from a bare number or one with a decimal (K, M, …) or binary (Ki, Mi, …) unit and an optional B."""
    found = scalar(node, "a size like 16GiB")
    text = _without_fraction(found)
    match = _SIZE.fullmatch(text)
    if match is None or isinstance(found.value, bool):
        raise Wrong(f"has to be a size of 0 or more, like 16GiB or 500MB, not {quote(found)}")
    factor = 1
    if match[2]:
        factor = (1024 if match[3] else 1000) ** ("KMGTPE".index(match[2]) + 1)
    size = int(Fraction(match[1]) * factor)
    if size > LARGEST:
        raise Wrong(f"is more than 8 EiB: {quote(found)}")
    return size


def _without_fraction(found: Scalar) -> str:
    """1.6e10 is a size when it is whole."""
    value = found.value
    whole = isinstance(value, float) and math.isfinite(value) and value == int(value)
    return str(int(value)) if whole and isinstance(value, float) else found.text


def show_size(size: int) -> str:
    """The shortest exact way to write it: 4GiB, 20GB, 1000."""
    shown = [str(size)]
    for power, letter in enumerate("KMGTPE", 1):
        shown += [f"{size // unit}{letter}{mark}" for unit, mark in ((1024**power, "iB"), (1000**power, "B")) if size % unit == 0]
    return min(shown, key=len) if size else "0"


# ----------------------------------------------------------------------------------------------------------- collections


def parse_texts(node: Node) -> tuple[str, ...]:
    if not isinstance(node, Items):
        raise Wrong("has to be a list of texts")
    return tuple(parse_text(each) for each in node.items)


def parse_tags(node: Node) -> dict[str, str]:
    if not isinstance(node, Fields):
        raise Wrong("has to be a mapping of names to texts")
    return {name: _tag(name, entry.node) for name, entry in node.entries.items()}


def _tag(name: str, node: Node) -> str:
    if not isinstance(node, Scalar):
        raise Wrong(f"{name} has to be text")
    return "" if node.value is None else parse_text(node)


def parse_path(node: Node) -> str:
    found = parse_text(node)
    if not found.startswith("/") or "\0" in found:
        raise Wrong("has to be an absolute path")
    return found


def parse_port(node: Node) -> str:
    """A number, or the name of a service, which is looked up where it is used."""
    found = parse_text(node)
    named = re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,30}", found)
    if not named and not (re.fullmatch(r"\d{1,5}", found, re.ASCII) and 0 < int(found) < 65536):
        raise Wrong("has to be a port number or the name of a service")
    return found


def parse_optional_path(node: Node) -> str:
    return parse_path(node) if parse_text(node) else ""


def one_of(*words: str) -> Callable[[Node], str]:
    def parse(node: Node) -> str:
        found = scalar(node, "a word")
        if found.text not in words:
            raise Wrong(f"has to be one of {', '.join(words)}, not {quote(found)}")
        return found.text

    return parse


def parse_anything(node: Node) -> Node:
    """What needs more than its own text to be understood is read elsewhere."""
    return node


# ------------------------------------------------------------------------------------------------------------------ kinds


def _show_flag(value: bool) -> str:
    return "true" if value else "false"


def _show_number(value: float) -> str:
    return f"{value:g}"


def _show_list(value: tuple[str, ...]) -> str:
    return f"[{', '.join(map(repr, value))}]"


def _show_tags(value: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {text!r}" for name, text in value.items()) + "}"


def _not_positive(value: float) -> bool:
    return value <= 0


FLAG = Kind(name="true or false", parse=parse_flag, show=_show_flag)
COUNT = Kind(name="whole number", parse=parse_integer, show=str)
NUMBER = Kind(name="number", parse=parse_number, show=_show_number)
RATE = Kind(name="number", unit="per second", parse=parse_number, show=_show_number, counts_as_absent=_not_positive)
DURATION = Kind(name="duration", unit="h, m, s, ms", parse=parse_duration, show=show_duration)
PATIENCE = Kind(name="duration", unit="h, m, s, ms", parse=parse_duration, show=show_duration, counts_as_absent=_not_positive)
SIZE = Kind(name="size", unit="bytes, KiB, MB, …", parse=parse_size, show=show_size)
TEXT = Kind(name="text", parse=parse_text, show=repr)
PORT = Kind(name="port or service", parse=parse_port, show=str)
TEXTS = Kind(name="list of texts", parse=parse_texts, show=_show_list)
TAGS = Kind(name="mapping of texts", parse=parse_tags, show=_show_tags)
PATH = Kind(name="absolute path", parse=parse_path, show=str)
OPTIONAL_PATH = Kind(name="absolute path", parse=parse_optional_path, show=str)
LOG_FORMAT = Kind(name="json or text", parse=one_of("json", "text"), show=str)
LOG_LEVEL = Kind(
    name="level", parse=one_of("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"), show=str
)
STRUCTURE = Kind(name="see below", parse=parse_anything, show=lambda value: "")
