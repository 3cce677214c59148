"""docs/configuration.md follows from the tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config import configuration_page
from dispatcher.config.instance_types import CUDA_KEYS, GPU_KEYS, TYPE_KEYS
from dispatcher.config.keys import KEYS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_page_is_fresh():
    """What stands in docs/ is what the tables say."""
    assert PAGE.read_text(encoding="utf-8") == configuration_page(), "run `make docs` and commit the result"


@pytest.mark.parametrize("key", [*KEYS, *TYPE_KEYS, *GPU_KEYS, *CUDA_KEYS], ids=lambda key: key.path)
def test_every_key_is_on_the_page(key):
    """With its default and whether a reload is enough."""
    rows = [line for line in configuration_page().splitlines() if line.startswith(f"| `{key.path}` |")]
    assert any(key.meaning in row for row in rows)
    assert all(" | reload | " in row or " | restart | " in row or " | no effect | " in row for row in rows)
    assert all(" chosen by us " in row for row in rows if key.default is None)


def test_tables_have_equal_columns():
    """A bar in a text would break the table."""
    lines = configuration_page().splitlines()
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert set(tables) == {7, 6}
