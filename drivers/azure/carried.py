"""Copies of the SDK that a package of this driver carried along: they win over what else is installed, and only in a process
that opened this driver.

Without such a folder, as after an installation by pip, nothing is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parent / "carried"


def use_carried(folder: Path = FOLDER) -> None:
    """Find the top-level packages of ``folder`` there and nowhere else. May be called again and again."""
    if folder.is_dir() and not any(isinstance(finder, Carried) and finder.folder == folder for finder in sys.meta_path):
        sys.meta_path.insert(0, Carried(folder))


class Carried:
    """A finder that knows the packages of one folder. It does not put the folder on the path, where a package of another
    installation, if it has an ``__init__.py`` and ours has none, would win over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = {each.name.removesuffix(".py") for each in folder.iterdir() if not each.name.endswith(".dist-info")}

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None or name not in self._names:
            return None
        return PathFinder.find_spec(name, [str(self.folder)], target)
