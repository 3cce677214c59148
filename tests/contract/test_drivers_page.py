"""The page for driver authors is short and true: what it shows stands in the package that ``new-driver`` writes, and every name,
command and option that it uses exists."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from dispatcher import driver as contract
from dispatcher.cli import main
from dispatcher.cli.new_driver import written
from dispatcher.contract import DriverContract, Fault, plugin
from dispatcher.contract.fixtures import ContractFixtures
from dispatcher.driver import Call, Capabilities, CreateRequest, DriverSettings, Instance, Listing, Scope
from drivers.local.parameters import Parameters

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "drivers.md").read_text()
LOCAL_PAGE = (ROOT / "docs" / "local.md").read_text()
FEWER_LINES_THAN = 200
LONGEST_LINE = 400  # a page of long lines would only look short
CODE = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"`([^`\n]+)`")
COMMANDS = [shlex.split(line, comments=True) for block in SHELL.findall(PAGE) for line in block.splitlines()]
WRITTEN = written("acme", Path("/acme"), "A <a@example.org>", datetime(2026, 1, 1, tzinfo=UTC))


def test_the_page_is_read_in_a_sitting() -> None:
    """In under 200 lines."""
    lines = PAGE.splitlines()
    assert len(lines) < FEWER_LINES_THAN
    assert max(map(len, lines)) < LONGEST_LINE


@pytest.mark.parametrize(("file", "code"), CODE.findall(PAGE))
def test_code_on_the_page_stands_in_the_package(file: str, code: str) -> None:
    """Which passes its tests as it comes (tests/cli/test_new_driver.py)."""
    assert code in WRITTEN[f"acme_driver/{file}"]


def test_every_file_that_is_named_is_written() -> None:
    """By new-driver."""
    named = [word for word in WORD.findall(PAGE) if re.fullmatch(r"(acme_driver|tests)/\S+|debian/|\S+\.(cfg|yml)", word)]
    assert len(named) > 5
    assert [word for word in named if not any(path.startswith(word) for path in WRITTEN) and word != "cloudtest.yml"] == []


@pytest.mark.parametrize("command", [words for words in COMMANDS if words[0] == "cloud-dispatcher"], ids=" ".join)
def test_every_command_of_ours_exists(command: list[str]) -> None:
    """With the options that are typed."""
    found = main.get_command(click.Context(main), command[1])
    assert found is not None
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in command if word.startswith("--")} <= options


def test_every_option_of_pytest_exists() -> None:
    """Those that the plug-in adds."""
    added = Path(plugin.__file__).read_text()
    typed = {word for words in COMMANDS if "dispatcher.contract" in words for word in words if word.startswith("--")}
    named = {word for word in WORD.findall(PAGE) if word.startswith("--") and word != "--command"}
    assert typed | named
    assert [option for option in (typed | named) - {"--pyargs"} if f'"{option}"' not in added] == []


def test_every_part_of_the_contract_that_is_named_exists() -> None:
    """Values, errors, members of the call, scopes, and fixtures of the tests."""
    known = {*(name for name in dir(contract) if name[0].isupper()), "DriverContract", "Fault"}
    capitals = {name for word in WORD.findall(PAGE) for name in re.findall(r"\b[A-Z][A-Za-z]*[a-z][A-Za-z]*\b", word)}
    assert sorted(capitals - known - OF_THE_CONFIGURATION - set(dir(contract.Presence)) - set(dir(Scope))) == []
    members = {name for kind in (Call, Instance, Listing, CreateRequest, DriverSettings) for name in kind.__dataclass_fields__}
    used = {name for word in WORD.findall(PAGE) for name in re.findall(r"\b(?:call|request|settings|Listing)\.([a-z_]+)", word)}
    assert used - members == set()


OF_THE_CONFIGURATION = {
    *("CloudVMs", "Containers", "DispatchPrivateKey", "Driver", "DriverParameters", "InstanceSetID", "None", "True", "False"),
    *("PricesFromCloud", "Token", "Password", "Pnocheck"),
}


def test_every_fixture_and_the_faults_are_named() -> None:
    """What an author may override."""
    own = {"make_cloud", "cloud", "surroundings", "instance_set_id"}
    fixtures = {name for name in vars(ContractFixtures) if not name.startswith("_")} - own
    words = " ".join(WORD.findall(PAGE))
    assert [name for name in fixtures if name not in words] == []
    assert issubclass(DriverContract, ContractFixtures)
    assert "dispatcher.contract.Fault" in words
    assert len(Fault) > 10


def test_every_capability_is_explained() -> None:
    """What a driver can declare stands on the page; ``host_local`` is for local alone."""
    missing = [name for name in Capabilities.__dataclass_fields__ if f"`{name}`" not in PAGE]
    assert missing in ([], ["host_local"])


def test_every_parameter_of_the_local_driver_is_explained() -> None:
    """In the words of the configuration file."""
    names = ["".join(map(str.capitalize, name.removesuffix("_s").split("_"))) for name in Parameters.__dataclass_fields__]
    assert [name for name in names if f"`{name}`" not in LOCAL_PAGE] == []
