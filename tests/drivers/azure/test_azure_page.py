"""The page about Azure names every parameter, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from drivers.azure import parameters

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/azure.md").read_text(encoding="utf-8")
SHORT = {"TA": "tests/drivers/azure", "TD": "tests/drivers"}


def test_every_test_that_the_page_names_is_there() -> None:
    """By the text of its file: what is renamed is found out."""
    named = re.findall(r"`((?:TA|TD|tests)/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    missing = []
    for path, test in named:
        first, _, rest = path.partition("/")
        file = ROOT / SHORT.get(first, first) / rest
        if not file.is_file() or f"def {test}(" not in file.read_text(encoding="utf-8"):
            missing.append(f"{path}::{test}")
    assert missing == []


def test_every_parameter_is_explained() -> None:
    """Whatever the driver reads stands on the page."""
    source = (ROOT / "drivers/azure/parameters.py").read_text(encoding="utf-8")
    read = set(re.findall(r"reader\.\w+\(\s*\"(\w+)\"", source))
    assert "RetailPrices" in read
    assert parameters.API_VERSION in PAGE
    assert sorted(name for name in read if name not in PAGE) == []
