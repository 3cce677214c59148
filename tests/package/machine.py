"""A Debian machine for one test: a layer above a clean tree, used as a chroot or booted with its own systemd.

Everything that it changes is gone with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from needs import needs_command

from tests.package.bases import CLEAN, HOME, Failed, in_chroot, run

BOOT_PATIENCE_S = 120.0
LOOK_S = 0.2
HOSTS = "127.0.0.1 localhost\n::1 localhost\n"  # as an installation writes it, and debootstrap does not


@contextlib.contextmanager
def layer(base: Path) -> Iterator[Path]:
    """A tree that looks like ``base`` and may be changed."""
    room = Path(tempfile.mkdtemp(prefix="layer-", dir=HOME))
    tree = room / "tree"
    for name in ("tree", "upper", "work"):
        (room / name).mkdir()
    options = f"lowerdir={base},upperdir={room}/upper,workdir={room}/work"
    run(["mount", "-t", "overlay", "overlay", "-o", options, str(tree)])
    try:
        yield tree
    finally:
        run(["umount", "--lazy", str(tree)])
        shutil.rmtree(room, ignore_errors=True)


class Machine:
    """A booted tree without a network but its loopback. ``tree`` is its root, seen from outside."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._leader = self._start()
        self._init = 0

    def _start(self) -> subprocess.Popen[bytes]:
        nspawn = needs_command("systemd-nspawn", package="systemd-container")
        name = f"cloud-dispatcher-{os.getpid()}-{time.monotonic_ns() % 10**6}"
        command = [nspawn, "--quiet", "--directory", str(self.tree), "--machine", name, "--boot", "--register=no", "--keep-unit"]
        command += ["--console=pipe", "--private-network", "--kill-signal=SIGRTMIN+3", "--settings=no"]
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with (self.tree.parent / "console").open("wb") as console:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=environment, start_new_session=True
            )

    def wait_until_up(self) -> None:
        def is_up() -> bool:
            children = Path(f"/proc/{self._leader.pid}/task/{self._leader.pid}/children").read_text().split()
            self._init = int(children[0]) if children else 0
            return bool(self._init) and self.ask("systemctl is-system-running").strip() in ("running", "degraded")

        self.wait(is_up, BOOT_PATIENCE_S, "the machine does not boot")

    def ask(self, script: str, *, timeout_s: float = 120.0) -> str:
        """What a command answers, whatever its exit status."""
        with contextlib.suppress(Failed):
            return self.do(script, timeout_s=timeout_s)
        return ""

    def do(self, script: str, *, timeout_s: float = 120.0) -> str:
        """A shell script as root inside. Raises Failed."""
        return run(self.command(script), timeout_s=timeout_s)

    def command(self, script: str) -> list[str]:
        enter = ["nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "-C"]
        return [*enter, "sh", "-ec", f"cd /root; {script}"]

    def wait(self, done: Callable[[], bool], patience_s: float, what: str) -> None:
        deadline_s = time.monotonic() + patience_s
        while not done():
            if time.monotonic() > deadline_s or self._leader.poll() is not None:
                raise AssertionError(f"{what}\n{self.story()}")
            time.sleep(LOOK_S)

    def story(self) -> str:
        """What its services said last, but for the questions of the tests themselves."""
        return self.ask("journalctl --no-pager --quiet -o cat | grep -v _health/ping | tail -n 60") if self._init else ""

    def property(self, name: str, unit: str = "cloud-dispatcher.service") -> str:
        return self.ask(f"systemctl show --value -p {name} {unit}").strip()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init or self._leader.pid, signal.SIGRTMIN + 3 if self._init else signal.SIGKILL)
        try:
            self._leader.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._leader.pid, signal.SIGKILL)
            self._leader.wait(30)


@contextlib.contextmanager
def booted(tree: Path) -> Iterator[Machine]:
    (tree / "etc/hosts").write_text(HOSTS)
    machine = Machine(tree)
    try:
        machine.wait_until_up()
        yield machine
    finally:
        machine.stop()


def install(tree: Path, *packages: Path) -> str:
    """As an administrator does it, in a tree that does not run."""
    folder = tree / "root"
    for package in packages:
        shutil.copy(package, folder)
    names = " ".join(f"/root/{package.name}" for package in packages)
    return in_chroot(tree, f"apt-get -qq update; apt-get install -y {names}")


__all__ = ["CLEAN", "Machine", "booted", "install", "layer"]
