"""Root finds out what the service's user may not read, and takes it for an error."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.cli.check_config import GOOD, UNREADABLE, Verdict, with_closed
from dispatcher.cli.service_user import closed_files

NOBODY, GOOD_VERDICT = "nobody", Verdict(problems=(), warnings=(), in_force=(), exit_code=GOOD)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Everybody may enter it, which is not so of pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_file_that_the_service_may_not_read(open_folder: Path) -> None:
    """Named with its mend, when root asks; others cannot know. What is open or not there is no matter."""
    closed, opened = open_folder / "closed.yml", open_folder / "open.yml"
    for path, mode in ((closed, 0o600), (opened, 0o644)):
        path.touch()
        path.chmod(mode)
    found = closed_files((closed, opened, open_folder / "absent.yml"), NOBODY)
    assert [path for path, _ in found] == ([str(closed)] if os.geteuid() == 0 else [])
    assert all(text.startswith(f"user {NOBODY} may not read it") for _, text in found)


def test_without_the_user_nothing_is_said(open_folder: Path) -> None:
    """The program was not installed as a package."""
    assert closed_files((open_folder,), "no-such-user") == []


def test_a_closed_file_is_an_unreadable_one() -> None:
    """The verdict is that of a file that nobody can read, so that a reload is refused."""
    judged = with_closed(GOOD_VERDICT, [("/etc/config.yml", "may not be read")])
    assert judged.exit_code == UNREADABLE
    assert [str(each) for each in judged.problems] == ["/etc/config.yml: may not be read"]
    assert with_closed(GOOD_VERDICT, []) is GOOD_VERDICT
