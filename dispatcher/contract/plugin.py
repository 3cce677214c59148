"""The options of pytest with which the contract tests are run on an installed driver.

They exist only where the command line names ``dispatcher.contract``: pytest loads this in every run of the environment, and other
plug-ins have options of the same names.
"""

from __future__ import annotations

import sys

import pytest

ROOM = "dispatcher.contract"


def pytest_addoption(parser: pytest.Parser) -> None:
    if not any(ROOM in argument for argument in sys.argv):
        return
    group = parser.getgroup(ROOM, "the driver whose contract is tested")
    group.addoption("--driver", metavar="NAME", help="an installed driver: cloud-dispatcher drivers lists them")
    group.addoption("--config", metavar="FILE", help="its settings, as in the configuration of a cluster")
    group.addoption("--cluster", metavar="ID", help="which cluster of the file; needed when it holds several")
    group.addoption("--instance-type", metavar="NAME", help="which of its InstanceTypes; the cheapest when not given")
    group.addoption("--instance-set-id", metavar="ID", help="where instances are made; it has to be empty")
    group.addoption("--public-key", metavar="FILE", help="the key that instances get; one that nobody has when not given")
    group.addoption("--patience", metavar="SECONDS", type=float, default=600.0, help="how long a create or destroy may take")


def pytest_report_header(config: pytest.Config) -> str | None:
    name = config.getoption("--driver", None)
    return None if name is None or ROOM not in " ".join(sys.argv) else f"contract of the driver: {name}"
