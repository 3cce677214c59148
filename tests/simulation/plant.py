"""Planted faults: small patches that each take a rule away, applied to a copy of the house, and caught.

A patch opens with what it breaks, the named test that catches it, and what storms make of it. ``make planted`` lets storms loose
on each; ``test_planted.py`` runs the named tests.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATCHES = ROOT / "tests/simulation/planted"
COPIED = ("dispatcher", "drivers", "tests/core", "tests/runtime", "tests/simulation")
FILES = ("setup.cfg", "pyproject.toml")
SEEDS = 200


@dataclass(frozen=True, slots=True)
class Fault:
    """``storms``: whether storms are known to find it, and at which seed or why not."""

    name: str
    path: Path
    breaks: str
    test: str
    storms: str

    @property
    def found_by_storms(self) -> bool:
        return self.storms.startswith("seed ")


def faults() -> list[Fault]:
    return [_read(path) for path in sorted(PATCHES.glob("*.patch"))]


def _read(path: Path) -> Fault:
    head = path.read_text(encoding="utf-8").partition("\n--- ")[0]
    breaks, *fields = head.splitlines()
    named = dict(re.findall(r"^(Caught by|Storms): (.*)$", "\n".join(fields), re.MULTILINE))
    return Fault(path.stem, path, breaks, named["Caught by"], named.get("Storms", ""))


def copy_house(where: Path) -> Path:
    """Everything that the tests of the core and the simulation need."""
    for name in COPIED:
        shutil.copytree(ROOT / name, where / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, where / name)
    compile_house(where)
    return where


def compile_house(house: Path) -> None:
    """Compiled files that are told apart by the content of their source, so that only what a fault touches is compiled again."""
    for name in ("dispatcher", "drivers"):
        compileall.compile_dir(house / name, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)


@contextmanager
def planted(house: Path, fault: Fault) -> Iterator[None]:
    """The house with this fault in it, for a while."""
    _apply(house, fault)
    try:
        yield
    finally:
        _apply(house, fault, "--reverse")


def _apply(house: Path, fault: Fault, *options: str) -> None:
    command = ["git", "apply", "-C1", *options, str(fault.path)]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise AssertionError(f"{fault.name} no longer applies, plant it anew: {done.stderr}")


def run(house: Path, *words: str, timeout_s: float, keep: bool = False) -> subprocess.CompletedProcess[str]:
    """A module of Python in this house and in no other. ``keep``: no fault is in it, and what is compiled may stay."""
    command = [sys.executable, "-m", *words]
    # by default compiled files are told apart by size and whole second: a fault just taken out would live on in them
    only_here = {"PYTHONPATH": str(house), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "" if keep else "1"}
    return subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=timeout_s, env=only_here)


# A fault makes huge values differ: nobody reads how, and to show it would take longer than to find it.
PYTEST = ("pytest", "-q", "--no-header", "--assert=plain", "--tb=line", "-p", "no:cacheprovider", "-p", "pytest_timeout")


def named_test(house: Path, fault: Fault) -> subprocess.CompletedProcess[str]:
    return run(house, *PYTEST, "-x", fault.test, timeout_s=120.0)


# -------------------------------------------------------------------------------------------------------------- by storms


def storm_seed(house: Path, fault: Fault) -> str:
    """The first of the seeds that finds it, in words; empty when none does."""
    with planted(house, fault):
        done = run(house, "dispatcher.simulation", "storm", "--seeds", str(SEEDS), "--until-failure", timeout_s=3600.0)
    found = re.search(r"seed (\d+) FAILED: (.*)", done.stdout)
    if found is None and done.returncode:
        return f"it fails outright: {done.stderr.strip().splitlines()[-1:]}"
    return f"seed {found[1]}: {found[2]}" if found is not None else ""


def main(names: list[str]) -> int:
    late = 0
    with tempfile.TemporaryDirectory() as folder:
        house = copy_house(Path(folder))
        for fault in (fault for fault in faults() if not names or fault.name in names):
            found = storm_seed(house, fault)
            late += fault.found_by_storms and not found
            sys.stdout.write(f"{fault.name}: {found or f'not found by {SEEDS} storms'}\n")
            sys.stdout.flush()
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
