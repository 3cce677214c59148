"""One command lists the processes and asks for news of the instance's end; the question never changes the list."""

from __future__ import annotations

import subprocess

import pytest

from dispatcher.edge.notices import Notices, apart, with_notices


def notices(command: str) -> Notices:
    return Notices(command=command, parse=lambda said, name: said)


COMMANDS = [
    ("printf 'a\\nb'", "echo news", b"a\nb", "news\n", 0),
    ("true", "echo news", b"", "news\n", 0),
    ("echo a; (exit 7)", "echo news", b"a\n", "news\n", 7),
    ("no-such-command", "echo news", b"", "news\n", 127),
    ("echo a", "no-such-command", b"a\n", "", 0),
    ("echo a", "cat; exit 3", b"a\n", "", 0),
    ("echo a", "false", b"a\n", "", 0),
]


@pytest.mark.parametrize(("listing", "asking", "listed", "said", "status"), COMMANDS)
def test_the_list_stands_whatever_becomes_of_the_question(
    listing: str, asking: str, listed: bytes, said: str, status: int
) -> None:
    """In a real shell: output, status, and standard input that nobody eats."""
    command = with_notices(listing, notices(asking))
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False, input=b"secret")
    assert (apart(done.stdout), done.returncode) == ((listed, said), status)


def test_a_flood_is_cut_off() -> None:
    """A probe's output has a limit."""
    done = subprocess.run(["sh", "-c", with_notices("echo a", notices("yes"))], capture_output=True, timeout=30, check=False)
    assert len(apart(done.stdout)[1]) == 65536


def test_output_without_the_question_is_the_list() -> None:
    """An instance whose shell did not understand the rest."""
    assert apart(b"uuid\n") == (b"uuid\n", "")
