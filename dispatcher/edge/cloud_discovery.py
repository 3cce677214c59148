"""Finds drivers by the entry points of installed packages. Names are read from metadata; only the chosen driver is imported.

A missing, doubled or broken plug-in is an ``UnusableDriver`` that names the mend, never a crash.
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import field
from importlib.metadata import EntryPoint, entry_points

from dispatcher.core.failures import tidy_text
from dispatcher.driver import CONTRACT_VERSION, ENTRY_POINT_GROUP, OpenDriver
from dispatcher.frozen import dataclass

OLDEST_CONTRACT = "1.0"  # of a driver that does not say
VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")


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
    """Import it and see whether it can be one of ours. Raises UnusableDriver for whatever goes wrong in foreign code."""
    whose = f"driver {entry.name!r} of package {entry.package or '?'}"
    try:
        loaded = entry.point.load()
        spoken = getattr(sys.modules.get(entry.point.module), "DRIVER_CONTRACT", OLDEST_CONTRACT)
    except (Exception, SystemExit) as error:  # an import that ends the process is a fault of the plug-in like any other
        reason = tidy_text(f"{type(error).__name__}: {error}")
        raise UnusableDriver(f"{whose} cannot be loaded from {entry.target}: {reason}") from error
    if not callable(loaded):
        raise UnusableDriver(f"{entry.target} is not a function open(settings) but {type(loaded).__name__}")
    if not _takes_settings(loaded):
        raise UnusableDriver(f"{entry.target} cannot be called as open(settings): give it one parameter")
    if problem := _version_problem(spoken):
        raise UnusableDriver(f"{whose} {problem}")
    opener: OpenDriver = loaded
    return opener


def _takes_settings(loaded: Callable[..., object]) -> bool:
    """Whether one argument fits; what hides its parameters is believed."""
    try:
        inspect.signature(loaded).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _version_problem(spoken: object) -> str:
    """Why a driver that was written for this version of the contract does not fit ours; empty when it does."""
    found = VERSION.fullmatch(spoken) if isinstance(spoken, str) else None
    if found is None:
        return f'has a DRIVER_CONTRACT that is no version: write a text such as "{_dotted(CONTRACT_VERSION)}"'
    wanted, ours = (int(found[1]), int(found[2])), CONTRACT_VERSION
    if wanted[0] == ours[0] and wanted <= ours:
        return ""
    mend = "install a newer dispatcher" if wanted > ours else "install a newer release of that package"
    return f"was written for version {spoken} of the driver contract, this dispatcher speaks {_dotted(ours)}: {mend}"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def problem_of(entry: Entry, entries: tuple[Entry, ...] = ()) -> str:
    """Why a driver cannot be used, as far as that shows without opening it; empty when it can. For a list of drivers that
    somebody asked for: ``entries`` are the others."""
    try:
        choose(entry.name, entries or (entry,))
        load(entry)
    except UnusableDriver as error:
        return str(error)
    return ""
