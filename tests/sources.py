"""The source files of the house as values, for the tests that read the code instead of running it.

Imports are found wherever they stand: at the top, in a function, under TYPE_CHECKING. All of them bind one room to another.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dispatcher", "drivers")


@dataclass(frozen=True, slots=True)
class Source:
    """One file. ``module`` is its dotted name; for a test file its path without the ending."""

    path: Path
    module: str
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def read(path: Path) -> Source:
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Source(path=path, module=module, text=text, tree=ast.parse(text, filename=str(path)))


@cache
def sources(folder: str) -> tuple[Source, ...]:
    return tuple(read(path) for path in sorted((ROOT / folder).rglob("*.py")))


@cache
def modules() -> dict[str, Source]:
    """Every module of the product by its dotted name."""
    return {source.module: source for package in PACKAGES for source in sources(package)}


def imported(source: Source, known: frozenset[str]) -> frozenset[str]:
    """The dotted names that a module imports; ``from package import name`` gives the module of that name when there is one."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(source, node)
            found.update(f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names)
    return frozenset(found)


def _base(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    is_package = source.path.name == "__init__.py"
    parts = source.module.split(".")
    package = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*package, *([node.module] if node.module else [])])


def parents(module: str) -> Iterator[str]:
    """The packages whose ``__init__`` runs before the module does."""
    parts = module.split(".")
    for end in range(1, len(parts)):
        yield ".".join(parts[:end])


def within(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")
