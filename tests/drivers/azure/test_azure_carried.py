"""Copies of the SDK that a package carried along: they win, and nothing else is hidden by them."""

from __future__ import annotations

import importlib
import sys

import pytest

from drivers.azure.carried import Carried, use_carried


@pytest.fixture
def finders():
    """The interpreter's own, as they were before."""
    before = list(sys.meta_path)
    yield sys.meta_path
    sys.meta_path[:] = before
    for name in [each for each in sys.modules if each.partition(".")[0] in ("carriedspace", "carriedalone")]:
        del sys.modules[name]


@pytest.fixture
def both(tmp_path, monkeypatch):
    """A folder of carried copies, and an older installation of one of them on the path."""
    for folder, text in ((tmp_path / "carried", "carried"), (tmp_path / "installed", "installed")):
        (folder / "carriedspace" / "part").mkdir(parents=True)
        (folder / "carriedspace" / "part" / "__init__.py").write_text(f"WHO = {text!r}\n")
    (tmp_path / "installed" / "carriedspace" / "__init__.py").write_text("")  # wins over a folder without one on a plain path
    (tmp_path / "carried" / "carriedalone.py").write_text("WHO = 'carried'\n")
    (tmp_path / "carried" / "carriedspace-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    return tmp_path / "carried"


def test_a_carried_copy_wins_over_an_installed_one(finders, both):
    """Debian 12 has an Azure SDK that is too old: installing it must not break the driver."""
    use_carried(both)
    assert importlib.import_module("carriedspace.part").WHO == "carried"
    assert importlib.import_module("carriedalone").WHO == "carried"


def test_what_is_not_carried_is_found_as_ever(finders, both):
    """Only its top-level names are the finder's business."""
    finder = Carried(both)
    assert finder.find_spec("json") is None
    assert finder.find_spec("carriedspace-1") is None
    assert finder.find_spec("carriedspace.part", ["/nowhere"]) is None


def test_it_is_put_there_once_and_only_where_there_is_a_folder(finders, both):
    """After an installation by pip nothing is carried, and nothing is changed."""
    before = len(finders)
    use_carried(both / "none")
    assert len(finders) == before
    use_carried(both)
    use_carried(both)
    assert len(finders) == before + 1
