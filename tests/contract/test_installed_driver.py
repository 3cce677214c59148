"""A stranger's driver, installed as a package of its own: found, opened, and tested by the options of pytest.

The driver is ``shelf/shelf.py``: a folder is its cloud. Spoilt in one line each, it shows that the contract notices.
"""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHELF = Path(__file__).parent / "shelf"
FILES = {path.name: path.read_text() for path in SHELF.iterdir() if path.is_file()}

DISCOVER = """
import json, logging, sys
from dispatcher.driver import Call, DriverSettings
from dispatcher.edge.cloud import open_driver
from dispatcher.edge.cloud_discovery import find_entries
log = logging.getLogger()
settings = DriverSettings(parameters={"Folder": sys.argv[1]}, instance_set_id="s", tag_prefix="T", log=log)
cloud = open_driver("shelf", settings, wall=lambda: 0.0)
(entry,) = [entry for entry in find_entries() if entry.name == "shelf"]
print(json.dumps([entry.package, cloud.capabilities.create_is_idempotent, len(cloud.list(Call(timeout_s=5)).instances)]))
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package: its module, and the metadata that pip would write."""
    setup = configparser.ConfigParser()
    setup.read_string(FILES["setup.cfg"])
    site = tmp_path_factory.mktemp("site")
    metadata = site / "shelf_driver-1.0.dist-info"
    metadata.mkdir()
    name, version = setup["metadata"]["name"], setup["metadata"]["version"]
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = setup["options.entry_points"]["dispatcher.drivers"].strip()
    (metadata / "entry_points.txt").write_text(f"[dispatcher.drivers]\n{points}\n")
    (site / "shelf.py").write_text(FILES["shelf.py"])
    (site / "test_shelf.py").write_text(FILES["shelf_contract.py"])
    return site


@pytest.fixture(scope="module")
def contract_run(plugin: Path) -> str:
    """What pytest prints for the driver and for each spoilt one beside it; one process, since it starts slowly."""
    impatient = "\n    @pytest.fixture\n    def patience_s(self):\n        return 0.1\n"
    for number, (right, wrong, _) in enumerate(FAULTS):
        assert right in FILES["shelf.py"]
        (plugin / f"shelf_{number}.py").write_text(FILES["shelf.py"].replace(right, wrong))
        test = FILES["shelf_contract.py"].replace("import shelf\n", f"import shelf_{number} as shelf\n")
        (plugin / f"test_shelf_{number}.py").write_text(test + impatient)
    return run(plugin, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", "-W", "error").stdout


def run(plugin: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{plugin}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, cwd=plugin, capture_output=True, text=True, timeout=120, check=False)


def test_it_is_found_by_its_entry_point_and_works(plugin: Path) -> None:
    """Installed, it is opened by name."""
    finished = run(plugin, "-c", DISCOVER, str(plugin))
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == ["shelf-driver", True, 0]


def test_it_keeps_the_contract(contract_run: str) -> None:
    """With a test module of its own, as an author would run it."""
    assert "test_shelf.py::" not in contract_run, contract_run
    assert " passed" in contract_run


FAULTS = [
    ('"tags": dict(tags)', '"tags": {**facts["tags"], **tags}', "test_tags_are_replaced_by_exactly_those_given"),
    ("if instance.tags.get(self._set_key) == self._set_id", "if True", "test_another_sets_instances_are_invisible"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_the_contract_tests_find_a_bad_driver(contract_run: str, number: int) -> None:
    """Each of these mistakes is caught by the test that is meant for it."""
    assert f"FAILED test_shelf_{number}.py::TestShelf::{FAULTS[number][2]}" in contract_run


OPTIONS = (*"-m pytest -q -rfE -p no:cacheprovider -p dispatcher.contract.plugin --pyargs dispatcher.contract".split(),)


def run_options(plugin: Path, folder: Path, *options: str, **parameters: str) -> subprocess.CompletedProcess[str]:
    """The command of docs/drivers.md, with a file of settings."""
    text = FILES["shelf.yml"].replace("/var/lib/shelf", str(folder))
    (folder / "shelf.yml").write_text(text.replace("Places: 100", "Places: 100, Plaices: 3") if parameters else text)
    return run(plugin, *OPTIONS, "--config", f"{folder}/shelf.yml", "--patience", "5", *options)


def test_the_options_of_pytest_test_an_installed_driver(plugin: Path, tmp_path: Path) -> None:
    """As docs/drivers.md says it; and nothing is left on the shelf."""
    done = run_options(plugin, tmp_path, "--driver", "shelf")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert list(tmp_path.glob("*.json")) == []


def test_a_set_that_is_not_empty_is_refused(plugin: Path, tmp_path: Path) -> None:
    """Somebody's instance, by mistake or from a run that was killed: every test fails, and the instance is as it was."""
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps({"type": "small", "tags": {"ContractTestInstanceSetID": "mine"}}))
    before = theirs.read_text()
    done = run_options(plugin, tmp_path, "--driver", "shelf", "--instance-set-id", "mine")
    assert "the instance set 'mine' is not empty (theirs). Nothing was touched" in done.stdout
    assert done.returncode == 1
    assert (theirs.read_text(), list(tmp_path.glob("*.json"))) == (before, [theirs])


WRONG_OPTIONS = [
    ((), {}, "name the driver and the file with its settings"),
    (("--driver", "shelv"), {}, "did you mean 'shelf'"),
    (("--driver", "shelf", "--instance-type", "big"), {}, "the file has small"),
    (("--driver", "shelf"), {"Plaices": "3"}, "DriverParameters: Plaices: there are Folder and Places"),
]


@pytest.mark.parametrize(("options", "parameters", "said"), WRONG_OPTIONS)
def test_wrong_options_are_told_before_any_test(
    plugin: Path, tmp_path: Path, options: tuple[str, ...], parameters: dict[str, str], said: str
) -> None:
    """One line, and nothing is run."""
    done = run_options(plugin, tmp_path, *options, **parameters)
    assert said in done.stdout + done.stderr
    assert " passed" not in done.stdout
