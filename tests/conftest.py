"""What all tests share. A run that left tests out because a tool was missing says so in its very last line."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "edge"))  # the SSH servers there serve other rooms' tests too

from needs import missing_tools

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background: programs under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", metavar="FOLDER", help="where to put pictures of the pages; none are taken without")


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path | None:
    """Where pictures are wanted, if they are."""
    given = request.config.getoption("--pictures")
    if given is None:
        return None
    Path(given).mkdir(parents=True, exist_ok=True)
    return Path(given)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    missing = missing_tools(reporter.stats.get("skipped", [])) if reporter else {}
    if missing:
        found = "; ".join(f"{count} not run: {reason}" for reason, count in missing.items())
        reporter.write_line(f"tests left out: {found}", yellow=True)
        if "LEFT_OUT" in os.environ:  # make test runs pytest twice, and tells this last
            with Path(os.environ["LEFT_OUT"]).open("a", encoding="utf-8") as told:
                told.write(f"tests left out: {found}\n")
