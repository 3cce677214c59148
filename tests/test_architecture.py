"""Who may import whom. The rows are the law of the house: deciding, turning the crank and touching the world stay apart.

Each row is checked twice: what a module imports itself, and what it reaches by way of others.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache

import pytest

from tests.sources import ROOT, imported, modules, parents, within

CORE = "dispatcher.core"
CONTRACT = "dispatcher.driver"
SECRECY = "dispatcher.secrecy"
FROZEN = "dispatcher.frozen"
DAEMON = "dispatcher.runtime.daemon"

PURE_STDLIB = {
    *("__future__", "abc", "bisect", "collections", "dataclasses", "enum", "fnmatch", "functools", "heapq", "itertools"),
    *("math", "operator", "re", "types", "typing"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``room`` may import ``may`` and the ``libraries`` of others, and never reaches ``never``, not even through others."""

    law: str
    room: str
    may: tuple[str, ...] = ()
    except_for: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


EDGE, RUNTIME, WEB = "dispatcher.edge", "dispatcher.runtime", "dispatcher.web"
METERS = "dispatcher.meters"
SIMULATION, EMBEDDED, CLI, CONFIG = "dispatcher.simulation", "dispatcher.embedded", "dispatcher.cli", "dispatcher.config"

LAWS = (
    Row(
        law="core decides and knows nothing but itself and the driver contract",
        room=CORE,
        may=(CORE, CONTRACT, FROZEN),
        never=(EDGE, RUNTIME, WEB, SIMULATION, EMBEDDED, CLI, CONFIG, "drivers"),
    ),
    Row(
        law="meters count what they are told and know nothing of what it means",
        room=METERS,
        may=(METERS, FROZEN),
        libraries=("prometheus_client",),
        never=(CORE, CONTRACT, EDGE, RUNTIME, WEB, SIMULATION, EMBEDDED, CLI, CONFIG, "drivers"),
    ),
    Row(law="what is secret is blanked by a module that stands alone", room=SECRECY, never=(CORE, CONTRACT, EDGE, RUNTIME, WEB)),
    Row(law="how values are made stands alone", room=FROZEN, never=(CORE, CONTRACT, EDGE, RUNTIME, WEB)),
    Row(law="the driver contract stands alone on the standard library", room=CONTRACT, never=(CORE, EDGE, RUNTIME, WEB)),
    Row(
        law="the contract tests need the contract, pytest, and the way in which a driver is found and configured",
        room="dispatcher.contract",
        may=("dispatcher.contract", CONTRACT, "dispatcher.edge.cloud_discovery", CONFIG),
        libraries=("pytest",),
        never=(RUNTIME, WEB, CLI, SIMULATION, "drivers"),
    ),
    Row(
        law="config turns YAML into settings and touches nothing else",
        room=CONFIG,
        may=(CONFIG, "dispatcher.core.settings", CONTRACT, FROZEN),
        libraries=("yaml",),
        never=(EDGE, RUNTIME, WEB, "drivers"),
    ),
    Row(
        law="drivers speak the contract and their cloud's language, and never with the core, runtime, edge or web",
        room="drivers",
        may=("drivers", CONTRACT),
        libraries=("azure", "requests", "paramiko", "cryptography"),
        never=(CORE, RUNTIME, EDGE, WEB),
    ),
    Row(
        law="edge translates the world into the core's words and never turns the crank",
        room=EDGE,
        may=(EDGE, CONTRACT, SECRECY, FROZEN, "dispatcher.core.model", "dispatcher.core.messages", "dispatcher.core.failures"),
        libraries=("requests", "urllib3", "paramiko", "cryptography", "tenacity", "psycopg", "certifi", "websocket"),
        never=(RUNTIME, WEB, SIMULATION, CLI),
    ),
    Row(
        law="runtime turns the crank with the ports that it is handed",
        room=RUNTIME,
        except_for=(DAEMON,),
        may=(RUNTIME, CORE, CONFIG, CONTRACT, METERS, SECRECY, FROZEN),
        libraries=("prometheus_client",),
        never=(EDGE, WEB, SIMULATION, CLI, "drivers"),
    ),
    Row(
        law="the daemon alone wires the edge to the runtime",
        room=DAEMON,
        may=(RUNTIME, CORE, CONFIG, CONTRACT, METERS, EDGE, SECRECY, FROZEN),
        libraries=("prometheus_client",),
        never=(WEB, SIMULATION, CLI, "drivers"),
    ),
    Row(
        law="web shows what the View gives it and posts events; it decides nothing",
        room=WEB,
        may=(
            *(WEB, METERS, "dispatcher.core.model", "dispatcher.core.messages", "dispatcher.core.explain", CONTRACT),
            *("dispatcher.core.verdict", "dispatcher.core.why", "dispatcher.core.history", "dispatcher.core.notes", FROZEN),
            *("dispatcher.core.pacing", "dispatcher.core.spending", "dispatcher.core.window"),
        ),
        libraries=("flask", "markupsafe", "werkzeug", "gunicorn", "prometheus_client", "jinja2", "itsdangerous"),
        never=(EDGE, RUNTIME, "drivers", CLI),
    ),
    Row(
        law="the simulation is the production house with other ports: no edge, no web, no daemon",
        room=SIMULATION,
        may=(SIMULATION, CORE, RUNTIME, CONTRACT, "drivers.stub"),
        never=(EDGE, WEB, CLI, DAEMON),
    ),
    Row(
        law="the embedded queue and runner stand apart and are spoken to over HTTP",
        room=EMBEDDED,
        may=(EMBEDDED,),
        libraries=("flask", "werkzeug", "cryptography", "websocket"),
        never=(CORE, RUNTIME, EDGE, WEB, "drivers"),
    ),
    Row(
        law="cli puts everything together, and finds drivers by their entry points alone",
        room=CLI,
        may=("dispatcher",),
        libraries=("click", "flask", "yaml", "requests", "cryptography"),
        never=("drivers",),
    ),
)

OWN = ("dispatcher", "drivers")


@cache
def known() -> frozenset[str]:
    return frozenset(modules())


def members(row: Row) -> list[str]:
    return [name for name in known() if within(name, row.room) and not any(within(name, out) for out in row.except_for)]


@cache
def direct(name: str) -> frozenset[str]:
    return imported(modules()[name], known())


@cache
def reached(name: str) -> frozenset[str]:
    """Every module of ours that runs when this one is imported, with the packages on the way."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        module = todo.pop()
        if module in known() and module not in seen:
            seen.add(module)
            todo.extend({*direct(module), *parents(module)})
    return frozenset(seen)


def allowed(row: Row, name: str) -> bool:
    root = name.split(".")[0]
    if root in OWN:
        return any(within(name, place) for place in row.may)
    return root in sys.stdlib_module_names or root in row.libraries


@pytest.mark.parametrize("row", LAWS, ids=[row.law for row in LAWS])
def test_a_room_imports_only_what_its_row_allows(row: Row) -> None:
    """A module of a room imports what the row names, the standard library, and nothing else."""
    broken = [f"{member} imports {name}" for member in members(row) for name in direct(member) if not allowed(row, name)]
    assert not broken, f"{row.law}: " + "; ".join(sorted(broken))


@pytest.mark.parametrize("row", LAWS, ids=[row.law for row in LAWS])
def test_a_room_never_reaches_what_is_closed_to_it(row: Row) -> None:
    """Nor does it reach a closed room by way of others, or through the packages on the way."""
    broken = [
        f"{member} reaches {name}"
        for member in members(row)
        for name in reached(member)
        for closed in row.never
        if within(name, closed) and not within(name, row.room)
    ]
    assert not broken, f"{row.law}: " + "; ".join(sorted(broken))


def test_core_uses_only_the_modules_of_values() -> None:
    """Core has no clock, no threads, no randomness, no logging and no files: only modules that compute values."""
    names = [(name, used) for name in known() if within(name, CORE) for used in direct(name)]
    broken = [f"{name} imports {used}" for name, used in names if used.split(".")[0] not in {*PURE_STDLIB, *OWN}]
    assert not broken, "core is pure: " + "; ".join(sorted(broken))


def test_every_module_stands_in_a_room() -> None:
    """A new module at the top needs a row in the table before it can be used."""
    homeless = [
        name
        for name in known()
        if name not in ("dispatcher", "dispatcher.__main__") and not any(name in members(row) for row in LAWS)
    ]
    assert not homeless, f"no row of LAWS covers {sorted(homeless)}"


def test_a_driver_imports_no_other_driver() -> None:
    """Each driver can be installed without the others; the SSH server that two of them share belongs to none."""
    packages = [(name, ".".join(name.split(".")[:2])) for name in known() if name.count(".") >= 1 and within(name, "drivers")]
    broken = [
        f"{name} imports {used}" for name, own in packages for used in direct(name)
        if within(used, "drivers") and not within(used, own) and used not in ("drivers", "drivers.ssh_server")
    ]
    assert not broken, "; ".join(sorted(broken))


@pytest.mark.parametrize("closed", [EDGE, RUNTIME, WEB, EMBEDDED, SIMULATION, CLI])
def test_nothing_but_cli_imports_what_is_above_it(closed: str) -> None:
    """Only cli and the daemon's wiring look into these rooms from outside."""
    openers = {EDGE: (DAEMON, CLI, "dispatcher.contract.chosen"), RUNTIME: (SIMULATION, CLI)}.get(closed, (CLI,))
    broken = [
        f"{name} imports {used}"
        for name in known()
        for used in direct(name)
        if within(used, closed) and not within(name, closed) and not any(within(name, place) for place in openers)
        and name != "dispatcher.__main__"
    ]
    assert not broken, "; ".join(sorted(broken))


WITHOUT_EDGE = """
import importlib, importlib.abc, pkgutil, sys
class Closed(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "dispatcher.edge" or name.startswith("dispatcher.edge."):
            raise ImportError(f"{name} is closed")
        return None
sys.meta_path.insert(0, Closed())
import dispatcher.simulation as simulation
for module in pkgutil.walk_packages(simulation.__path__, "dispatcher.simulation."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def test_the_simulation_runs_with_the_edge_closed() -> None:
    """Every module of the simulation can be imported where dispatcher.edge cannot."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_EDGE], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
