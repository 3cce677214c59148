"""``new-driver``: what it writes can be installed, is found by its entry point, and passes its own tests and the contract."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dispatcher.cli import main
from dispatcher.cli.new_driver import FILES, TEMPLATES
from drivers.ssh_server import new_private_key

ROOT = Path(__file__).parents[2]


MARK = re.compile("@[A-Z]+@")


def new_driver(*arguments: str):
    return CliRunner().invoke(main, ["new-driver", *arguments])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "package"
    result = new_driver("far-away", "--folder", str(folder))
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def site(package: Path) -> Path:
    """Where it is installed: its modules and its metadata, as setuptools makes them from its setup.cfg. pip would need a tool to
    make a wheel, or the network."""
    pytest.importorskip("setuptools")
    site = package.parent / "site"
    site.mkdir()
    build = f"import setuptools; setuptools.setup(script_args={['-q', 'build_py', '-d', str(site), 'egg_info', '-e', str(site)]})"
    run(package, "-c", build)
    return site


def run(folder: Path, *arguments: str, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{path}:{ROOT}" if path else str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_installed_and_found(package: Path, site: Path) -> None:
    """``cloud-dispatcher drivers`` has nothing against it."""
    lines = [line for line in run(package.parent, "-m", "dispatcher", "drivers", path=site).splitlines() if "far-away" in line]
    assert len(lines) == 1
    assert "far_away_driver:open" in lines[0]
    assert "UNUSABLE" not in lines[0]


@pytest.mark.slow
def test_it_passes_its_tests_as_it_comes(package: Path, site: Path) -> None:
    """The contract against its fake over a real socket, warnings being errors, and nothing is left out."""
    said = run(package, "-m", "pytest", "-q", "-rs", "-W", "error", "-p", "no:cacheprovider", path=site)
    assert " passed" in said
    assert "skipped" not in said


@pytest.mark.slow
def test_its_fake_is_a_cloud_to_log_in_to(package: Path, site: Path, tmp_path: Path) -> None:
    """As its README says: the fake by itself, and cloudtest on it, which creates, logs in, runs a command and destroys."""
    (package / "ssh-key").write_text(new_private_key())
    path = {**os.environ, "PYTHONPATH": f"{site}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    fake = [sys.executable, "tests/fake_cloud.py", "--port", "0", "--machines", str(tmp_path)]
    with subprocess.Popen(fake, cwd=package, env=path, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        url = re.findall(r"http://[\d.:]+", serving.stdout.readline())[0]
        text = (package / "cluster.yml").read_text().replace("http://127.0.0.1:8000", url)
        (package / "here.yml").write_text(text.replace("CloudVMs:", "CloudVMs:\n        SyncInterval: 1s"))
        said = run(package, "-m", "dispatcher", "cloudtest", "--config", "here.yml", "--command", "echo so far", path=site)
        serving.terminate()
    assert "stdout: so far" in said
    assert "all went well" in said


def test_its_debian_package_is_its_own(package: Path) -> None:
    """Named after the driver; the rules are a program; the maintainer is whoever Debian's tools know."""
    assert "Package: cloud-dispatcher-driver-far-away\n" in (package / "debian/control").read_text()
    assert os.access(package / "debian/rules", os.X_OK)
    written_as = CliRunner().invoke(
        main,
        ["new-driver", "other", "--folder", str(package.parent / "other")],
        env={"DEBFULLNAME": "Ada Example", "DEBEMAIL": "ada@example.org"},
    )
    assert written_as.exit_code == 0
    changelog = (package.parent / "other/debian/changelog").read_text()
    assert re.search(r"^ -- Ada Example <ada@example.org>  \w{3}, \d\d \w{3} \d{4} [\d:]+ \+0000$", changelog, re.MULTILINE)


def test_nothing_of_the_template_shows(package: Path) -> None:
    """Every mark was filled in, and every template is used."""
    texts = [(package / path.replace("@MODULE@", "far_away_driver")).read_text() for path in FILES]
    assert [mark for text in texts for mark in MARK.findall(text)] == []
    assert {path.name.removesuffix(".tmpl") for path in TEMPLATES.iterdir()} == set(FILES.values())


@pytest.mark.parametrize("name", ["", "Far", "far_away", "-far", "far--away", "../far", "class", "x" * 41])
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    """Before anything is written."""
    result = new_driver("--folder", str(tmp_path / "new"), "--", name)
    assert result.exit_code == 2
    assert not (tmp_path / "new").exists()


def test_what_exists_is_left_alone(tmp_path: Path) -> None:
    """Somebody's work may be in it."""
    result = new_driver("far", "--folder", str(tmp_path))
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []
