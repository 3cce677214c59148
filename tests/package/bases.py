"""Clean Debian trees, made once and kept: one that is bare, one that can boot, one in which packages are built.

They lie in ``DEBIAN_TREES`` (by default /var/tmp/cloud-dispatcher-trees), some 2 GB for each suite, and are never written to by a
test: each test works on a layer of its own above one of them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from needs import needs_command

from tests.sources import ROOT

HOME = Path(os.environ.get("DEBIAN_TREES", "/var/tmp/cloud-dispatcher-trees"))
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
SUITES = tuple(os.environ.get("DEBIAN_SUITES", "bookworm trixie").split())
STEP_TIMEOUT_S = 1800
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}

BOOTS = ("systemd-sysv", "dbus", "iproute2", "curl", "procps")
# What the suite wants besides: the tools of its own that Debian has, and servers. What is missing is said by the tests themselves
TESTS = ("python3-selenium", "python3-wheel", "postgresql", "netbase", "openssh-client", "iproute2")
BUILDS = ("build-essential", "debhelper", "fakeroot", "git", "lintian", "python3-pip", "openssh-server", "util-linux", "procps")


class Failed(RuntimeError):
    """A command in a tree did not succeed; the text is what it said."""


def run(command: list[str], *, timeout_s: float = STEP_TIMEOUT_S, shown: bool = False) -> str:
    """What it wrote, unless that is shown as it comes; raises Failed with it when it ends otherwise than with 0."""
    out, none = None if shown else subprocess.PIPE, subprocess.DEVNULL
    done = subprocess.run(
        command, check=False, stdin=none, stdout=out, stderr=subprocess.STDOUT, timeout=timeout_s, text=True, env=CLEAN
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout or '')[-8000:]}")
    return done.stdout or ""


def in_chroot(tree: Path, script: str, *, timeout_s: float = STEP_TIMEOUT_S, shown: bool = False) -> str:
    """A shell script in a tree that does not run, with devices and processes as programs expect them."""
    mounts = f"mount --bind /dev {tree}/dev && mount -t devpts devpts {tree}/dev/pts && mount -t proc proc {tree}/proc"
    mounts += f" && mount -t sysfs -o ro sys {tree}/sys && cp /etc/resolv.conf {tree}/etc/resolv.conf"
    command = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec chroot {tree} sh -ec "$1"', "sh", script]
    return run(command, timeout_s=timeout_s, shown=shown)


def bare(suite: str) -> Path:
    """What debootstrap makes: no Python, no systemd."""
    return _once(f"{suite}-bare", lambda tree: _bootstrap(suite, tree))


def bootable(suite: str) -> Path:
    """It can boot, and has curl. Nothing keeps services from being started."""
    def make(tree: Path) -> None:
        _copy(bare(suite), tree)
        in_chroot(tree, f"apt-get -qq update; apt-get -qq install -y {' '.join(BOOTS)}")
    return _once(f"{suite}-bootable", make)


def building(suite: str) -> Path:
    """With everything that debian/control asks for."""
    control = (ROOT / "debian/control").read_text(encoding="utf-8")
    def make(tree: Path) -> None:
        _copy(bare(suite), tree)
        (tree / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (tree / "usr/sbin/policy-rc.d").chmod(0o755)
        (tree / "control").write_text(control, encoding="utf-8")
        script = "mkdir -p /src/debian; cp /control /src/debian; cd /src; apt-get -qq build-dep -y ./; rm -r /src"
        in_chroot(tree, f"apt-get -qq update; apt-get -qq install -y {' '.join(BUILDS)}; {script}")
    return _of(control, f"{suite}-building", make)


def testing(suite: str) -> Path:
    """With everything that the packages are built from, and what the suite wants besides."""
    built_from = building(suite)
    def make(tree: Path) -> None:
        _copy(built_from, tree)
        in_chroot(tree, f"apt-get -qq update; apt-get -qq install -y {' '.join(TESTS)}")
    return _of((built_from / "control").read_text(encoding="utf-8"), f"{suite}-testing", make)


def _of(control: str, name: str, make: Callable[[Path], None]) -> Path:
    """The tree of this name that was made for these contents of debian/control."""
    tree = _once(name, make)
    if (tree / "control").read_text(encoding="utf-8") != control:
        shutil.rmtree(tree)
        return _once(name, make)
    return tree


def _once(name: str, make: Callable[[Path], None]) -> Path:
    """The tree of this name; a half made one is made anew."""
    tree, half = HOME / name, HOME / f"{name}.half"
    HOME.mkdir(parents=True, exist_ok=True)
    if tree.exists():
        return tree
    with (HOME / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            shutil.rmtree(half, ignore_errors=True)
            make(half)
            half.rename(tree)
    return tree


def _copy(source: Path, target: Path) -> None:
    run(["cp", "-a", str(source), str(target)])


def _bootstrap(suite: str, tree: Path) -> None:
    debootstrap = needs_command("debootstrap", package="debootstrap")
    run([debootstrap, "--variant=minbase", "--include=ca-certificates", suite, str(tree), MIRROR])
    (tree / "etc/dpkg/dpkg.cfg.d/trees").write_text("force-unsafe-io\n")
    options = ('APT::Install-Recommends "false";', 'Acquire::Languages "none";', 'Dpkg::Use-Pty "0";')
    (tree / "etc/apt/apt.conf.d/trees").write_text("\n".join(options) + "\n")
    sources = [f"deb {MIRROR} {suite} main", f"deb {SECURITY_MIRROR} {suite}-security main"]
    (tree / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")
    (tree / "etc/apt/sources.list.d").mkdir(exist_ok=True)
    for known in (tree / "etc/apt/sources.list.d").iterdir():
        known.unlink()
