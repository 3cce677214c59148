"""What is said of a plug-in that cannot be used: its name, the reason and the mend; the others are listed all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from dispatcher.driver import CONTRACT_VERSION
from dispatcher.edge.cloud_discovery import UnusableDriver, choose, find_entries, load, problem_of

ROOT = Path(__file__).parents[2]
GOOD = "def open(settings): ...\n"
FAULTY = {
    "missing_module": ("import no_such_sdk\n" + GOOD, "No module named 'no_such_sdk'"),
    "broken_syntax": ("def open(settings)\n", "SyntaxError"),
    "raising": ("raise ValueError('first line\\nsecond line')\n", "ValueError: first line second line"),
    "leaving": ("import sys\nsys.exit('goodbye')\n", "SystemExit: goodbye"),
    "no_open": ("", "has no attribute 'open'"),
    "not_callable": ("open = {}\n", "is not a function open(settings) but dict"),
    "no_parameter": ("def open(): ...\n", "give it one parameter"),
    "two_parameters": ("def open(settings, account): ...\n", "give it one parameter"),
    "newer_major": (GOOD + "DRIVER_CONTRACT = '9.0'\n", "this dispatcher speaks 1.0: install a newer dispatcher"),
    "newer_minor": (GOOD + "DRIVER_CONTRACT = '1.9'\n", "written for version 1.9 of the driver contract"),
    "older_major": (GOOD + "DRIVER_CONTRACT = '0.3'\n", "install a newer release of that package"),
    "no_version": (GOOD + "DRIVER_CONTRACT = 1.0\n", 'write a text such as "1.0"'),
    "strange_version": (GOOD + "DRIVER_CONTRACT = 'latest'\n", 'write a text such as "1.0"'),
}


def plugin(folder: Path, name: str, text: str) -> EntryPoint:
    """A module of its own, which no other test has imported."""
    (folder / f"plugin_{name}.py").write_text(text)
    return EntryPoint(name=name, value=f"plugin_{name}:open", group="dispatcher.drivers")


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_plugin_is_told_by_name_and_reason(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, whatever foreign code does; when it is chosen it is refused with the same words."""
    monkeypatch.syspath_prepend(str(tmp_path))
    text, reason = FAULTY[name]
    entries = find_entries((plugin(tmp_path, name, text),))
    problem = problem_of(entries[0])
    assert reason in problem
    assert name in problem
    assert "\n" not in problem
    with pytest.raises(UnusableDriver, match=name):
        load(choose(name, entries))


@pytest.mark.parametrize("declared", ["", "DRIVER_CONTRACT = '1.0'\n"])
def test_a_driver_for_this_contract_is_loaded(declared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing was written for the first version."""
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = find_entries((plugin(tmp_path, f"good{len(declared)}", GOOD + declared),))
    assert problem_of(entries[0]) == ""


def test_our_own_drivers_say_for_which_contract_they_are() -> None:
    """As every author is asked to."""
    ours = [entry for entry in find_entries() if entry.target.startswith("drivers.")]
    assert {sys.modules[entry.point.module].DRIVER_CONTRACT for entry in ours if load(entry)} == {"1.0"}
    assert CONTRACT_VERSION == (1, 0)


def test_a_name_that_two_packages_offer_is_told_of_both() -> None:
    """Neither of them can be chosen."""
    entries = find_entries(EntryPoint("two", f"{module}:open", "dispatcher.drivers") for module in ("a", "b"))
    assert all("uninstall all but one" in problem_of(entry, entries) for entry in entries)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """What the command prints where three plug-ins are installed, two of them faulty; by its option."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "plugins-3.2.dist-info"
    metadata.mkdir()
    modules = {"good": GOOD, "leaving": FAULTY["leaving"][0], "newer": FAULTY["newer_major"][0]}
    points = [plugin(site, name, text) for name, text in modules.items()]
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 3.2\n")
    lines = "\n".join(f"{point.name} = {point.value}" for point in points)
    (metadata / "entry_points.txt").write_text(f"[dispatcher.drivers]\n{lines}\n")
    environment = {**os.environ, "PYTHONPATH": f"{site}:{ROOT}"}
    command = [sys.executable, "-m", "dispatcher", "drivers"]

    def run(option: str) -> subprocess.CompletedProcess[str]:
        done = [*command, *option.split()]
        return subprocess.run(done, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return {option: run(option) for option in ("", "--check")}


def test_a_faulty_driver_does_not_hide_the_others(listed: dict[str, subprocess.CompletedProcess[str]]) -> None:
    """``cloud-dispatcher drivers`` names each, and the reason where there is one."""
    lines = {line.split()[0]: line for line in listed[""].stdout.splitlines()}
    assert {"good", "leaving", "newer"} <= set(lines), listed[""].stderr
    assert "UNUSABLE" not in lines["good"]
    assert "plugins 3.2" in lines["good"]
    assert "UNUSABLE" in lines["leaving"]
    assert "goodbye" in lines["leaving"]
    assert "install a newer dispatcher" in lines["newer"]


def test_only_a_check_ends_with_an_error(listed: dict[str, subprocess.CompletedProcess[str]]) -> None:
    """To look is no failure; to check is."""
    assert (listed[""].returncode, listed["--check"].returncode) == (0, 1)
