"""Tools that some tests need besides Python: looked for, installed when that is allowed, and never missed in silence.

On a developer's machine a test whose tool is missing is skipped with the command that installs it; in CI it fails.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

MARK = "needs a tool:"  # begins every reason, so that the last line of a run can count them
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not in everybody's PATH
INSTALL_TIMEOUT_S = 300

_tried: set[str] = set()


def needs_command(command: str, *, package: str, service: str | None = None) -> str:
    """The path of ``command``; skips (in CI: fails) the test when it is neither there nor may be installed. ``service``: what
    the package would leave running, which is stopped after we installed it."""
    path = find_command(command)
    if path is None and package not in _tried:
        _tried.add(package)
        _install(package, service)
        path = find_command(command)
    if path is None:
        _give_up(f"{MARK} {command} is missing: apt-get install {package}")
    return path


def needs_module(name: str, *, package: str) -> ModuleType:
    """A Python package that only tests use; skips (in CI: fails) the test when it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        _give_up(f"{MARK} {name} is missing: pip install {package}")
        raise


def find_command(command: str) -> str | None:
    return shutil.which(command) or shutil.which(command, path=os.pathsep.join(SYSTEM_FOLDERS))


def missing_tools(reports: Iterable[pytest.TestReport]) -> Counter[str]:
    """Reasons of skips for a missing tool, and how many tests each left out."""
    reasons = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    return Counter(reason.partition(MARK)[2].strip() for reason in reasons if MARK in reason)


def _give_up(reason: str) -> None:
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _install(package: str, service: str | None) -> None:
    """As root, or by a sudo that asks for no password; ``CLOUD_DISPATCHER_TEST_INSTALL=0`` forbids it."""
    prefix = _become_root()
    if os.environ.get("CLOUD_DISPATCHER_TEST_INSTALL") == "0" or prefix is None or not shutil.which("apt-get"):
        return
    print(f"installing {package} for the tests (CLOUD_DISPATCHER_TEST_INSTALL=0 forbids it)")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", package]
    if not _succeeds([*prefix, *install]) and _succeeds([*prefix, "apt-get", "update"]):
        _succeeds([*prefix, *install])
    if service is not None and Path("/run/systemd/system").exists():
        _succeeds([*prefix, "systemctl", "disable", "--now", service])


def _become_root() -> list[str] | None:
    if os.geteuid() == 0:
        return ["env", "DEBIAN_FRONTEND=noninteractive"]
    if shutil.which("sudo") and _succeeds(["sudo", "-n", "true"]):
        return ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive"]
    return None


def _succeeds(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=INSTALL_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
