"""debian/ agrees with the rest of the tree, as far as that shows without building anything. `make test-deb` does the rest."""

from __future__ import annotations

import configparser
import hashlib
import importlib.util
import re
import zipfile

import pytest

from dispatcher.config.credentials import FOLDER, HANDED_OVER
from tests.sources import ROOT

DEBIAN = ROOT / "debian"
# Debian's names, where they are not python3- and the name on PyPI.
NAMES = {"pyyaml": "python3-yaml", "websocket-client": "python3-websocket"}


def setup_cfg() -> configparser.ConfigParser:
    found = configparser.ConfigParser()
    found.read(ROOT / "setup.cfg")
    return found


def bounds(text: str) -> dict[str, tuple[int, ...]]:
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?\s*>=\s*([\d.]+)", text, re.MULTILINE)
    return {name.lower(): tuple(map(int, version.split("."))) for name, version in found}


def arrange():
    spec = importlib.util.spec_from_file_location("arrange", DEBIAN / "arrange.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_changelog_has_the_version_of_the_tree():
    """A package by another version than its own command says would confuse everybody."""
    first = (DEBIAN / "changelog").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"cloud-dispatcher ({setup_cfg()['metadata']['version']}-")


@pytest.mark.parametrize("name", bounds(setup_cfg()["options"]["install_requires"]))
def test_what_the_service_imports_is_there_when_it_is_built(name):
    """Pages and completion are made by running the command line; the package's own Depends follow from setup.cfg."""
    assert f" {NAMES.get(name, f'python3-{name}')}," in (DEBIAN / "control").read_text(encoding="utf-8")


def test_what_a_driver_carries_is_as_new_as_it_needs():
    """And pinned by hash, every line of it."""
    lines = [line for line in (DEBIAN / "carried/azure.txt").read_text().splitlines() if not line.startswith("#")]
    carried = {}
    for line in lines:
        name, version = re.fullmatch(r"([\w.-]+)==([\d.]+) --hash=sha256:[0-9a-f]{64}", line).groups()
        carried[name] = tuple(map(int, version.split(".")))
    for name, lowest in bounds(setup_cfg()["options.extras_require"]["azure"]).items():
        assert carried[name] >= lowest


def test_systemd_hands_over_what_the_service_looks_for():
    """The name of the folder of credentials and the path in the unit are those of the code."""
    unit = (DEBIAN / "cloud-dispatcher.service").read_text(encoding="utf-8")
    assert f"LoadCredential={HANDED_OVER.rstrip('_')}:{FOLDER}\n" in unit


@pytest.fixture
def wheel(tmp_path):
    """A wheel, and a line that pins it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    file = folder / "some_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("some_thing/__init__.py", "")
        archive.writestr("some_thing-1.0.dist-info/RECORD", "")
        archive.writestr("some_thing-1.0.dist-info/LICENSE", "")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "pins.txt").write_text(f"# a comment\nsome-thing==1.0 --hash=sha256:{digest}\n")
    return tmp_path


def test_a_wheel_is_unpacked_with_its_licence(wheel):
    """Readable for all, and without the list of files that would no longer be true."""
    arrange().unpack(wheel / "pins.txt", wheel / "wheels", wheel / "out")
    found = {str(path.relative_to(wheel / "out")) for path in (wheel / "out").rglob("*") if path.is_file()}
    assert found == {"some_thing/__init__.py", "some_thing-1.0.dist-info/LICENSE"}


def test_a_wheel_that_was_changed_is_refused(wheel):
    """Whatever happened to it between being fetched and being packed."""
    with zipfile.ZipFile(wheel / "wheels/some_thing-1.0-py3-none-any.whl", "a") as archive:
        archive.writestr("evil.py", "")
    with pytest.raises(SystemExit, match=r"is not what .* names"):
        arrange().unpack(wheel / "pins.txt", wheel / "wheels", wheel / "out")


def test_a_driver_gets_metadata_of_its_own(tmp_path):
    """Its entry point is gone from the main package, so that it exists exactly when its code does."""
    metadata = tmp_path / "cloud_dispatcher-1.2.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text("[dispatcher.drivers]\nazure = drivers.azure:open\nlocal = drivers.local:open\n")
    arrange().split(tmp_path, metadata, "azure", "cloud-dispatcher-driver-azure")
    own = tmp_path / "cloud_dispatcher_driver_azure-1.2.dist-info"
    assert (own / "entry_points.txt").read_text() == "[dispatcher.drivers]\nazure = drivers.azure:open\n"
    assert "Name: cloud-dispatcher-driver-azure\nVersion: 1.2\n" in (own / "METADATA").read_text()
    left = (metadata / "entry_points.txt").read_text()
    assert "azure" not in left
    assert "local = drivers.local:open" in left
