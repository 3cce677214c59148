"""``check-config --cloud``: the cloud is asked about the configured types, and what it says becomes warnings at their places."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from dispatcher.cli.check_cloud import cloud_warnings
from dispatcher.config import Config, Severity
from dispatcher.driver import DriverSettings
from dispatcher.edge.cloud import Cloud
from drivers.stub import StubCloud, StubDriver, StubKnobs
from tests.cli.test_check_config import check
from tests.config.configuration import CLUSTER, read


def asked(folder: Path, **knobs: Any) -> list[str]:
    """What is printed, with the stub as the cloud."""
    loaded = read(folder, CLUSTER)
    assert loaded.config is not None

    def opened(config: Config) -> Cloud:
        chosen = StubKnobs.kind(**knobs)
        given = DriverSettings(parameters={}, instance_set_id="set", tag_prefix="Arvados", log=None)  # type: ignore[arg-type]
        driver = StubDriver(StubCloud(now=lambda: 0.0, random=random.Random(0), knobs=chosen), given)
        return Cloud(driver, given, wall=lambda: 0.0)

    found = cloud_warnings(loaded, loaded.config, opened)
    assert all(one.severity is Severity.WARNING and one.file for one in found)
    return [str(one) for one in found]


def test_what_the_cloud_does_not_have_and_what_costs_otherwise_is_named(tmp_path: Path) -> None:
    """At the table of types, with the file."""
    name = next(iter(read(tmp_path, CLUSTER).config.settings.instance_types))  # type: ignore[union-attr]
    said = asked(tmp_path, tells_types=True, tells_prices=True, unoffered=frozenset([name]), price_of={name: 77.0})
    assert [text for text in said if f"InstanceTypes: instance type {name}" in text and "it is not sold here" in text]
    assert [text for text in said if "the cloud asks 77 per hour" in text and "the file's counts" in text]


@pytest.mark.parametrize(
    ("knobs", "text"),
    [
        ({}, "asks no cloud about types or prices"),
        ({"tells_types": True, "catalogue_error_rate": 1.0}, "the cloud's types cannot be read"),
    ],
)
def test_a_cloud_that_says_nothing_is_told(tmp_path: Path, knobs: dict[str, Any], text: str) -> None:
    """Nobody takes silence for good news."""
    (said,) = asked(tmp_path, **knobs)
    assert text in said


def test_a_good_answer_is_silent(tmp_path: Path) -> None:
    """Everything is offered and costs what the file says."""
    assert asked(tmp_path, tells_types=True, tells_prices=True) == []


def test_the_flag_asks_only_when_everything_else_is_right(tmp_path: Path) -> None:
    """The command itself, on a driver that asks no cloud."""
    done = check(tmp_path, CLUSTER, "--cloud", "--quiet")
    assert done.exit_code == 0, done.output
    assert "asks no cloud about types or prices" in done.output
    assert "asks no cloud" not in check(tmp_path, CLUSTER).output
