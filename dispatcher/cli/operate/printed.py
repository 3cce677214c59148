"""Lines that stay: coloured on a terminal only, and not where NO_COLOR is set."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

import click

from dispatcher.cli.terminal import Line, Span


def on_terminal(stream: TextIO | None = None) -> bool:
    return (stream or sys.stdout).isatty()


def columns() -> int | None:
    """How wide lines may be; None where there is no terminal."""
    return shutil.get_terminal_size((80, 24)).columns if on_terminal() else None


def coloured(environment: Mapping[str, str] = os.environ, stream: TextIO | None = None) -> bool:
    return on_terminal(stream) and not environment.get("NO_COLOR") and environment.get("TERM", "dumb") != "dumb"


def show(lines: Iterable[Line], *, err: bool = False) -> None:
    """On standard output, or on the error output."""
    colours = coloured(stream=sys.stderr if err else sys.stdout)
    for line in lines:
        click.echo("".join(styled(span, colours) for span in line).rstrip(), err=err, color=True)


def styled(span: Span, colours: bool) -> str:
    return f"\x1b[{span.colour}m{span.text}\x1b[0m" if colours and span.colour and span.text else span.text
