"""Missing tools are told, and in CI they fail."""

from __future__ import annotations

import pytest
from needs import find_command, missing_tools, needs_command, needs_module


def ask() -> None:
    needs_command("no-such-tool", package="no-such-package")


@pytest.mark.parametrize(("in_ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_tool(monkeypatch: pytest.MonkeyPatch, in_ci: str, outcome: type[BaseException]) -> None:
    """A skip on a developer's machine, a failure in CI, both with the command that mends it."""
    monkeypatch.setenv("CLOUD_DISPATCHER_TEST_INSTALL", "0")
    monkeypatch.setenv("CI", in_ci)
    with pytest.raises(outcome, match="no-such-tool is missing: apt-get install no-such-package"):
        ask()


@pytest.mark.parametrize(("in_ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_package_of_python(monkeypatch: pytest.MonkeyPatch, in_ci: str, outcome: type[BaseException]) -> None:
    """As a missing tool, with the command of pip; one that is there is given."""
    monkeypatch.setenv("CI", in_ci)
    with pytest.raises(outcome, match="no_such_module is missing: pip install no-such-package"):
        needs_module("no_such_module", package="no-such-package")
    assert needs_module("pytest", package="pytest") is pytest


def test_a_tool_that_is_there() -> None:
    """Is named by its path."""
    assert needs_command("sh", package="dash") == find_command("sh")


def skipped(reason: str) -> pytest.TestReport:
    return pytest.TestReport("test", ("file", 1, "test"), {}, "skipped", ("file", 1, reason), "setup")


def test_the_last_line_counts_what_was_left_out() -> None:
    """By tool, and only what a missing tool left out."""
    reports = [skipped("Skipped: needs a tool: x is missing"), skipped("Skipped: needs a tool: x is missing"), skipped("slow")]
    assert missing_tools(reports) == {"x is missing": 2}
