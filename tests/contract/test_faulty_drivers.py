"""The contract tests are worth something: each deliberate mistake of ``faulty_drivers.py`` is found by the test meant for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_drivers import FAULTY

HERE = Path(__file__).parent
AT_LEAST = 20
OUTCOME = re.compile(r"^faulty_drivers.py::Test(\w+)::(\w+) (PASSED|FAILED|SKIPPED|ERROR)", re.MULTILINE)


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], str]:
    """What became of each faulty driver in its test; one process for all, since pytest starts slowly."""
    wanted = [f"faulty_drivers.py::Test{driver.__name__}::{test}" for driver, test in FAULTY.items()]
    options = ["-v", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."]
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options, *wanted]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=240, check=False)
    found = {(match[1], match[2]): match[3] for match in reversed(list(OUTCOME.finditer(done.stdout)))}
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.parametrize("driver", FAULTY, ids=lambda driver: driver.__name__)
def test_each_mistake_is_found_by_its_test(driver: type, outcomes: dict[tuple[str, str], str]) -> None:
    """It fails; the stub without the mistake passes it (test_drivers_keep_the_contract.py)."""
    assert outcomes.get((driver.__name__, FAULTY[driver])) == "FAILED"


def test_there_are_enough_of_them() -> None:
    """And most tests of the contract have one that they find."""
    assert len(FAULTY) >= AT_LEAST
    assert len(set(FAULTY.values())) >= AT_LEAST
