"""Runs the suite on Debian's own Python and Debian's own packages of every library, in a clean tree of each suite.

The one thing that is not Debian's is what the packages carry too: the SDK of the Azure driver, as pinned there.
What is given on the command line goes to pytest; without anything it is the whole suite but the tests of the packages.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.package.bases import HOME, STEP_TIMEOUT_S, SUITES, Failed, in_chroot, run, testing
from tests.package.machine import layer
from tests.sources import ROOT

PYTEST = ("-m", "not deb")
# Tools that install Python packages or start what has no part in the libraries: their tests say why they did not run
ENVIRONMENT = "CLOUD_DISPATCHER_TEST_INSTALL=0 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/src:/carried HOME=/root LC_ALL=C.UTF-8"
CARRY = "import pathlib, arrange; arrange.unpack(*map(pathlib.Path, ('carried/azure.txt', '/wheels', '/carried')))"
KNOWN = "import setuptools; setuptools.setup()"
TESTED = "click cryptography flask gunicorn paramiko prometheus-client psycopg requests tenacity websocket yaml pytest hypothesis"


def fetch(folder: Path) -> Path:
    """What drivers carry, each proved by its hash."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--dest", str(folder), "--requirement", str(ROOT / "debian/carried/azure.txt")]
    subprocess.run(command, check=True, timeout=600)
    return folder


def prepare(tree: Path, wheels: Path) -> str:
    """What is committed goes to /src, and is made known to Python as an installation would; the versions that are tested."""
    run(["git", "clone", "--quiet", str(ROOT), str(tree / "src")])
    shutil.copytree(wheels, tree / "wheels")
    in_chroot(tree, f'cd /src/debian; python3 -c "{CARRY}"; cd ..; python3 -c "{KNOWN}" --quiet egg_info; mkdir -p /run/sshd')
    names = " ".join(["python3", *(f"python3-{name}" for name in TESTED.split())])
    return in_chroot(tree, f"dpkg-query --show --showformat='${{Package}} ${{Version}}\\n' {names}")


def judge(suite: str, wheels: Path, arguments: list[str]) -> bool:
    """Whether all tests that were asked for held on this suite of Debian. What pytest says is shown as it comes."""
    with layer(testing(suite)) as tree:
        print(f"== {suite}\n{prepare(tree, wheels)}", flush=True)
        words = " ".join(f"'{word}'" for word in (arguments or PYTEST))
        script = f"cd /src; exec env {ENVIRONMENT} python3 -m pytest {words}"
        try:
            in_chroot(tree, script, timeout_s=4 * STEP_TIMEOUT_S, shown=True)
        except Failed as failed:
            print(failed, file=sys.stderr)
            return False
    return True


def main(arguments: list[str]) -> int:
    HOME.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        wheels = fetch(Path(folder))
        held = [judge(suite, wheels, arguments) for suite in SUITES]
    return 0 if all(held) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
