"""docs/features.md tells of every bullet of the two founding stories and of every defect that must not exist here.

A bullet without a row fails, and so does a row that names a test which pytest does not know.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/features.md"

BULLETS = {
    "14325": (
        "drain by the management API", "metrics", "failing boot probe", "SSH port", "API host and token", "host key",
        "queue on the real API", "resume after a restart", "cancel after N attempts", "no suitable type", "package",
        "rate-limit errors", "lowercase keys", "failed probes in the log", "runtime_status on cancel", "behaviour in tags",
        "activity metrics tested", "output of runners", "SIGKILL", "destroy when SIGKILL fails", "broken-node hook",
        "several drivers", "tests on a real cloud", "metrics of the queue", "periodic status", "runner deployment",
        "spending limits", "driver contract tests", "cancel when not scheduled", "new types one after another",
    ),
    "14807": (
        "SIGKILL", "destroy when still alive", "broken-node script", "output to the journal", "rate of creates and destroys",
        "cost of idle and booting", "cost of held", "unexpected shutdowns logged", "cloud failures", "latencies",
        "matching runner", "runtime_status after a crash", "image of a container", "unexpected shutdowns by type",
        "Azure login user",
    ),
    "Defect": (
        "12.2", "12.3", "12.4", "12.5", "12.7", "12.8", "12.9", "12.10", "12.12", "12.13", "12.14", "12.15", "12.16", "12.17",
        "12.18", "12.19", "12.25", "12.26", "12.27", "12.28 window", "12.28 degraded", "12.28 types", "12.31",
    ),
}  # fmt: skip

NOT_YET: dict[tuple[str, str], str] = {}
"""Bullets whose rooms are still to be built, and with what they come."""

ROW = re.compile(r"^\| (?P<bullet>[^|]+) \| (?P<how>[^|]+) \| (?P<tests>[^|]+) \| (?P<upstream>[^|]+) \|$")
TEST = re.compile(r"`(tests/[\w/]+\.py::\w+)`")


def rows() -> dict[tuple[str, str], re.Match[str]]:
    """(story, bullet) → its row."""
    found: dict[tuple[str, str], re.Match[str]] = {}
    story = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            story = next((name for name in BULLETS if name in line), "")
        row = ROW.match(line)
        if story and row and not row["bullet"].startswith(("Bullet", "-", "Defect")):
            found[story, row["bullet"].strip()] = row
    return found


def named_tests() -> set[str]:
    return {name for row in rows().values() for name in TEST.findall(row["tests"])}


def _parents(name: str) -> list[str]:
    """A test's name and, where it belongs to a class, that of the class."""
    file, *parts = name.split("::")
    return ["::".join((file, *parts[:end])) for end in range(1, len(parts) + 1)]


@pytest.mark.parametrize(("story", "bullet"), [(story, bullet) for story, bullets in BULLETS.items() for bullet in bullets])
def test_every_bullet_has_a_row_that_names_a_test(story, bullet):
    """How it works here, the tests that show it, and how the Arvados dispatcher does it."""
    row = rows().get((story, bullet))
    assert row is not None, f"docs/features.md has no row for {bullet!r} of {story}"
    assert len(row["how"].strip()) > 20
    assert row["upstream"].strip()
    if (story, bullet) in NOT_YET:
        assert NOT_YET[story, bullet] in row["how"]
    else:
        assert TEST.findall(row["tests"]), f"no test is named for {bullet!r}"


def test_no_row_is_about_anything_else():
    """A bullet that was reworded would leave its old row behind."""
    assert set(rows()) == {(story, bullet) for story, bullets in BULLETS.items() for bullet in bullets}


def test_every_named_test_is_collected():
    """A test that was renamed or removed proves nothing."""
    files = sorted({name.partition("::")[0] for name in named_tests()})
    assert not [file for file in files if not (ROOT / file).exists()]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "deb or not deb", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    collected = {part for line in done.stdout.splitlines() for part in _parents(line.partition("[")[0].strip())}
    assert sorted(named_tests() - collected) == []
