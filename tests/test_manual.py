"""The manual pages: one for each command, saying what ``--help`` says, in a form that no text can break out of."""

from __future__ import annotations

import importlib.util

import pytest

from dispatcher.cli import COMMANDS
from tests.sources import ROOT


def load():
    spec = importlib.util.spec_from_file_location("manual", ROOT / "docs/manual.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MANUAL = load()
PAGES = dict(MANUAL.pages())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_page(name):
    """With a line for whatis, and the options."""
    text = PAGES[f"cloud-dispatcher-{name}.1"]
    assert rf"cloud\-dispatcher\-{name} \- ".replace(name, name.replace("-", r"\-")) in text
    assert ".SH SYNOPSIS" in text
    assert r"\-\-help" in text


def test_the_first_page_names_all_of_them():
    """And the files that belong to the service."""
    for name in COMMANDS:
        assert name.replace("-", r"\-") in PAGES["cloud-dispatcher.1"]
    assert "credentials" in PAGES["cloud-dispatcher.1"]


def test_no_line_of_text_is_taken_for_a_request():
    """A dot or an apostrophe at the start of a line, a backslash anywhere."""
    assert MANUAL.escaped(".SH x") == r"\&.SH x"
    assert MANUAL.escaped("'quoted' \\ -x") == r"\&'quoted' \e \-x"
    requests = {line.split()[0] for text in PAGES.values() for line in text.splitlines() if line.startswith(".")}
    assert requests <= {".TH", ".SH", ".TP", ".PP", ".nf", ".fi", ".B"}
