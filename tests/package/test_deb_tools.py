"""Debian's own judges of packages: piuparts installs, purges and looks for what is left; autopkgtest runs debian/tests."""

from __future__ import annotations

import re

import pytest
from needs import needs_command

from tests.package.bases import bare, in_chroot, run
from tests.package.machine import layer

pytestmark = [pytest.mark.deb, pytest.mark.timeout(3000)]

VERDICT = re.compile(r"^(\S+) +(PASS|FAIL|FLAKY|SKIP)\b", re.MULTILINE)  # how a test ended; other programs talk meanwhile

# What systemd's packages make and leave
_STATE = r"var/(lib|cache|log)/private|var/lib/systemd(/(coredump|pstore|rfkill|linger))?"
OF_SYSTEMD = rf"^/(root/\.ssh|{_STATE}|etc/(vconsole\.conf|default/locale))/?$"


def test_nothing_is_left_by_piuparts_own_measure(suite, built):
    """Both packages on a minimal system: installed, removed, purged. There is no archive from which it could upgrade."""
    piuparts = needs_command("piuparts", package="piuparts")
    packages = sorted(str(path) for path in built.glob("cloud-dispatcher*_all.deb"))
    with layer(bare(suite)) as tree:
        in_chroot(tree, "apt-get -qq update")
        command = [piuparts, f"--existing-chroot={tree}", "--no-eatmydata", "--keep-sources-list", "--no-upgrade-test"]
        said = run([*command, f"--ignore-regex={OF_SYSTEMD}", *packages])
    assert "PASS: All tests" in said


def test_the_sample_workload_runs_as_an_autopkgtest(suite, built):
    """As Debian's own machines would run it: the packages are installed, and of the source only its tests are there."""
    autopkgtest = needs_command("autopkgtest", package="autopkgtest")
    packages = " ".join(str(path) for path in sorted(built.glob("cloud-dispatcher*_all.deb")))
    with layer(bare(suite)) as tree:
        in_chroot(tree, "apt-get -qq update; apt-get -qq install -y dpkg-dev")
        mounts = f"mount --bind /dev {tree}/dev && mount -t devpts devpts {tree}/dev/pts && mount -t proc proc {tree}/proc"
        judged = f"{autopkgtest} --no-built-binaries {packages} {next(built.glob('*.dsc'))} -- chroot {tree}"
        said = run(["unshare", "--mount", "sh", "-c", f"{mounts} && exec {judged}"])
    assert VERDICT.findall(said.rsplit("summary", 1)[-1]) == [("workload", "PASS")]
