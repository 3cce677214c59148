"""How a command ends, for scripts: one table of exit statuses, and the exception that carries one with its text."""

from __future__ import annotations

from typing import Any

import click

from dispatcher.cli.words import printable

OK, FAILED, USAGE, NOT_FOUND, NOT_ALLOWED, UNREACHABLE = range(6)

TABLE = """\b
Exit status:
  0  all was done
  1  refused, or done in part, or not confirmed
  2  called wrongly, or a file cannot be read
  3  there is no such instance or container
  4  the token is missing, or is not accepted
  5  no dispatcher answers, or none is ready"""
"""What the help of every command but ``status`` ends with."""


class Ended(click.ClickException):
    """The command ends with ``status``; the text names the place and the mend."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        """Also what an answer said must not steer the terminal."""
        click.echo(f"error: {printable(self.message)}", file=file, err=file is None)


def note(text: str) -> None:
    """Something to know beside the answer."""
    click.echo(f"note: {printable(text)}", err=True)
