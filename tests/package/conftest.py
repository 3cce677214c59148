"""The packages, built once from what is committed, and machines on which they are installed, for each suite of Debian."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.bases import SUITES, bootable, building, in_chroot, run
from tests.package.libraries import fetch
from tests.package.machine import Machine, booted, install, layer
from tests.sources import ROOT

MAINTAINER = "DEBFULLNAME='A. Site & Co' DEBEMAIL=packages@example.org"


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    if os.geteuid() != 0:
        pytest.skip("clean Debian trees need root: sudo make test-deb")
    return str(request.param)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What drivers carry, fetched by its hash."""
    return fetch(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def built(suite: str, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``debian/build.sh`` filled in a clean tree of the suite, with what lintian says of it in ``lintian``. With
    DEBIAN_PACKAGES, the one of this suite below it, from an earlier build."""
    if "DEBIAN_PACKAGES" in os.environ:
        return Path(os.environ["DEBIAN_PACKAGES"]) / suite
    with layer(building(suite)) as tree:
        run(["git", "clone", "--quiet", str(ROOT), str(tree / "src")])
        shutil.copytree(wheels, tree / "wheels")
        build = "DEB_BUILD_OPTIONS=nocheck WHEELS=/wheels debian/build.sh /out"
        in_chroot(tree, f"git config --global --add safe.directory /src; cd /src; {MAINTAINER} {build}")
        in_chroot(tree, "cd /out; lintian --allow-root --tag-display-limit 0 *.changes >lintian 2>&1 || true")
        folder = tmp_path_factory.mktemp(f"built-{suite}") / "out"
        shutil.copytree(tree / "out", folder)
    return folder


@pytest.fixture(scope="session")
def package(built: Path) -> Path:
    return next(built.glob("cloud-dispatcher_*_all.deb"))


@pytest.fixture(scope="session")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package by a greater version."""
    folder = tmp_path_factory.mktemp("newer") / "files"
    run(["dpkg-deb", "--raw-extract", str(package), str(folder)])
    control = folder / "DEBIAN/control"
    control.write_text(control.read_text().replace("-1\n", "-2\n", 1))
    file = folder.with_name("newer.deb")
    run(["dpkg-deb", "--root-owner-group", "--build", str(folder), str(file)])
    return file


@pytest.fixture(scope="module")
def service(suite: str, package: Path, newer: Path) -> Iterator[Machine]:
    """A machine on which the package was installed and nothing else was done yet."""
    with layer(bootable(suite)) as tree:
        install(tree, package)
        for file, name in ((package, "old.deb"), (newer, "new.deb"), (Path(__file__).with_name("hammer.py"), "hammer.py")):
            shutil.copy(file, tree / "root" / name)
        with booted(tree) as machine:
            yield machine


class Hammer:
    """Clients that ask the service all the time while something is done to it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __enter__(self) -> Hammer:
        self._process = subprocess.Popen(
            self._machine.command("rm -f /run/enough /run/hammering; exec python3 /root/hammer.py"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        self._machine.wait(self._begun, 60, "no client begins")
        return self

    def _begun(self) -> bool:
        return "yes" in self._machine.ask("test -e /run/hammering && echo yes")

    def __exit__(self, *_: object) -> None:
        self._machine.ask("sleep 1; touch /run/enough")
        self.told = json.loads(self._process.communicate(timeout=180)[0])


@pytest.fixture
def hammer(service: Machine) -> Hammer:
    return Hammer(service)
