"""Rules that hold for every file of the house, whoever writes it: sizes, openings, what is never left behind.

A rule that a tool already holds (style by ruff, types by mypy) is not repeated here.
"""

from __future__ import annotations

import ast
import configparser
import importlib.util
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.sources import PACKAGES, ROOT, Source, sources

LINES_PER_FILE = 450
LINES_PER_FUNCTION = 70
# One list of values is best read in one place; the runner is copied to instances as one file.
LISTS = {"dispatcher/core/messages.py": 550, "dispatcher/core/model.py": 500, "dispatcher/embedded/runner.py": 660}


# Real processes and sockets have to be waited for; everything else runs in virtual time.
MAY_SLEEP = (
    *("tests/bench/live/", "tests/bench/pages.py", "tests/bench/latency.py"),
    *("tests/edge/", "tests/drivers/", "tests/embedded/", "tests/cli/demo_world.py"),
    "tests/package/",
    "tests/contract/faulty_drivers.py",  # a driver that sleeps is one of the mistakes
    *("tests/web/test_serve.py", "tests/web/toy.py", "tests/test_real_threads.py"),
)

@cache
def product() -> tuple[Source, ...]:
    """Read when the first test asks, not when tests are collected."""
    return tuple(source for package in PACKAGES for source in sources(package))


@cache
def everything() -> tuple[Source, ...]:
    return (*product(), *sources("tests"))


LEFT_BEHIND = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")


def test_no_file_outgrows_a_sitting() -> None:
    """A file that passes the limit is two files."""
    long = [
        f"{source.where}: {lines}"
        for source in product()
        if (lines := source.text.count("\n")) > LISTS.get(source.where, LINES_PER_FILE)
    ]
    assert not long, f"more than {LINES_PER_FILE} lines: {long}"


def test_no_function_outgrows_a_page() -> None:
    """A function that passes the limit does several things."""
    long = [
        f"{source.where}:{node.lineno} {node.name}"
        for source in everything()
        for node in source.functions()
        if (node.end_lineno or node.lineno) - node.lineno + 1 > LINES_PER_FUNCTION
    ]
    assert not long, f"more than {LINES_PER_FUNCTION} lines: {long}"


def test_every_module_opens_with_its_law() -> None:
    """Whoever opens a file is told first what it is for."""
    silent = [source.where for source in everything() if source.tree.body and ast.get_docstring(source.tree) is None]
    assert not silent, f"no docstring at the top: {silent}"


def test_every_test_says_what_it_proves() -> None:
    """A test carries a sentence, so that a failure names the broken promise."""
    silent = [
        f"{source.where}:{node.lineno} {node.name}"
        for source in sources("tests")
        for node in source.functions()
        if node.name.startswith("test_") and ast.get_docstring(node) is None
    ]
    assert not silent, f"no docstring: {silent}"


def test_nothing_is_left_for_later_in_the_code() -> None:
    """What is to be done stands in the tracker; the code is finished or not there."""
    left = [
        f"{source.where}:{number}"
        for source in everything()
        for number, line in enumerate(source.text.splitlines(), 1)
        if LEFT_BEHIND.search(line)
    ]
    assert not left


def calls(source: Source, name: str) -> list[str]:
    """Where a plain ``name(...)`` or dotted ``a.name(...)`` is called."""
    return [
        f"{source.where}:{node.lineno}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name
    ]


def test_only_the_command_line_prints() -> None:
    """A daemon logs; only cli speaks to the terminal."""
    silent = [source for source in product() if not source.where.startswith("dispatcher/cli/")]
    printed = [place for source in silent for place in calls(source, "print")]
    assert not printed


def test_tests_do_not_sleep() -> None:
    """Time is an argument: only tests of real processes and sockets may wait for them."""
    slept = [
        place
        for source in sources("tests")
        if not source.where.startswith(MAY_SLEEP)
        for name in ("time.sleep", "sleep")
        for place in calls(source, name)
    ]
    assert not slept


def test_tests_patch_nothing_of_ours() -> None:
    """Values and small fakes are handed in; nothing is replaced behind the code's back."""
    patched = [place for source in sources("tests") for place in calls(source, "monkeypatch.setattr")]
    mocked = [
        f"{source.where}:{node.lineno}"
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and "mock" in ast.unparse(node)
    ]
    assert not patched + mocked


def bounds() -> dict[str, str]:
    """Requirement → the lower bound that setup.cfg gives it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"] + setup["options.extras_require"]["test"]
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?\s*>=\s*([\w.]+)", lines, re.MULTILINE)
    return {name.lower(): version for name, version in found}


def oldest() -> dict[str, str]:
    """Requirement → the version that the run on the oldest versions takes."""
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", (ROOT / "tests/oldest.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return {name.lower(): version for name, version in found}


@pytest.mark.parametrize("name", sorted(bounds().keys() - {"mypy", "ruff"}))
def test_the_oldest_run_takes_exactly_the_lower_bounds(name: str) -> None:
    """What setup.cfg promises is what the suite was run on; mypy and ruff check the code and do not run it."""
    lowest, taken = bounds()[name], oldest().get(name, "")
    assert taken == lowest or taken.startswith(lowest + "."), f"setup.cfg: >= {lowest}; tests/oldest.txt: {taken or 'none'}"


def test_the_generated_pages_are_fresh() -> None:
    """docs/ says what the tables in the code say."""
    path = Path(ROOT / "docs/generate.py")
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert sorted(generate.stale()) == [], "run `make docs` and commit the result"


def test_every_target_of_the_makefile_says_what_it_does() -> None:
    """`make` alone lists every target with a sentence."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^\.PHONY: ([\w-]+)$", text, re.MULTILINE)
    explained = re.findall(r"^([\w-]+):.*  ## .+$", text, re.MULTILINE)
    assert targets == explained


def test_every_file_of_tests_has_a_name_of_its_own() -> None:
    """Pytest imports them by name alone: two of one name stop the whole run, and no run of one folder shows it."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
