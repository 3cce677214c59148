"""Finds drivers by the entry points of installed packages. Names are read from metadata; only the chosen driver is imported.

A missing, doubled or broken plug-in is an ``UnusableDriver`` that names the mend, never a crash.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points

from dispatcher.driver import ENTRY_POINT_GROUP, OpenDriver


class UnusableDriver(Exception):
    """The configured driver cannot be used. ``path``: the wrong key below ``DriverParameters``, when it is one."""

    def __init__(self, text: str, *, path: str | None = None) -> None:
        super().__init__(text)
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A driver that some installed package offers. ``target`` is ``package.module:open``."""

    name: str
    package: str
    version: str
    target: str
    point: EntryPoint = field(repr=False)


def find_entries(points: Iterable[EntryPoint] | None = None) -> tuple[Entry, ...]:
    """Every driver of every installed package, by name; nothing is imported. A package that is found twice counts once."""
    found = entry_points(group=ENTRY_POINT_GROUP) if points is None else points
    entries = {(point.name, point.value): _entry(point) for point in found}
    return tuple(entries[key] for key in sorted(entries))


def _entry(point: EntryPoint) -> Entry:
    package = point.dist
    return Entry(
        name=point.name,
        package="" if package is None else str(package.metadata["Name"]),
        version="" if package is None else str(package.version),
        target=point.value,
        point=point,
    )


def choose(name: str, entries: tuple[Entry, ...]) -> Entry:
    """The one driver of this name. Raises UnusableDriver."""
    named = [entry for entry in entries if entry.name == name]
    if len(named) > 1:
        offers = " and ".join(f"{entry.package} ({entry.target})" for entry in named)
        raise UnusableDriver(f"driver {name!r} is offered by {offers}: uninstall all but one")
    if not named:
        raise UnusableDriver(_unknown(name, [entry.name for entry in entries]))
    return named[0]


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no driver {name!r} is installed (installed: {', '.join(sorted(set(known))) or 'none'}){hint}"


def load(entry: Entry) -> OpenDriver:
    """Import it. Raises UnusableDriver for whatever goes wrong in foreign code."""
    try:
        loaded = entry.point.load()
    except Exception as error:
        text = f"driver {entry.name!r} of package {entry.package or '?'} cannot be loaded from {entry.target}"
        raise UnusableDriver(f"{text}: {type(error).__name__}: {error}") from error
    if not callable(loaded):
        raise UnusableDriver(f"{entry.target} is not a function open(settings) but {type(loaded).__name__}")
    opener: OpenDriver = loaded
    return opener


def problem_of(entry: Entry) -> str:
    """Why a driver cannot be loaded; empty when it can. For a list of drivers that somebody asked for."""
    try:
        load(entry)
    except UnusableDriver as error:
        return str(error)
    return ""
