"""Each planted fault is caught by its named test; whether storms find it too is tried by ``make planted``."""

from __future__ import annotations

import pytest

from tests.simulation import plant

pytestmark = pytest.mark.slow  # a run of its own for each, and the versions of libraries do not matter to it

FAULTS = plant.faults()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy in which the named tests pass: what catches everything proves nothing."""
    house = plant.copy_house(tmp_path_factory.mktemp("house"))
    tests = sorted({fault.test for fault in FAULTS})
    done = plant.run(house, *plant.PYTEST, *tests, timeout_s=280.0, keep=True)
    assert done.returncode == 0, done.stdout[-2000:]
    return house


def test_there_are_enough_and_each_says_what_it_is():
    """Fifteen at least, each with what it breaks, who catches it and what storms make of it."""
    assert len(FAULTS) >= 15
    assert [fault.name for fault in FAULTS if not (fault.breaks and fault.test and fault.storms)] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught(house, fault):
    """The patch still applies, and the test that is named in it fails because of it."""
    with plant.planted(house, fault):
        done = plant.named_test(house, fault)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
