"""Writes the manual pages from the command line itself: ``docs/manual.py FOLDER`` makes one page for each command.

What a page says is what ``--help`` says. It is run when the Debian package is built; nobody edits a page by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dispatcher.cli import COMMANDS, main

PROGRAM = "cloud-dispatcher"
FILES = {
    "/etc/arvados/config.yml": "The cluster's configuration.",
    "/etc/cloud-dispatcher/config.yml": "The same, on a computer that has no such file.",
    "/etc/cloud-dispatcher/settings.yml": "Our own settings, for what the cluster's file has no key for.",
    "/etc/cloud-dispatcher/credentials/": "Secrets that belong into no file: each is named as the key whose value it holds.",
    "/var/lib/cloud-dispatcher/": "What is kept over a restart.",
    "/var/log/cloud-dispatcher/": "The audit log.",
}


def pages() -> Iterator[tuple[str, str]]:
    """File name and text of each page."""
    yield f"{PROGRAM}.1", overview()
    context = click.Context(main, info_name=PROGRAM)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield from pages_of(command, f"{PROGRAM} {name}")


def pages_of(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    """Of a command and, where it is a group, of each of its commands."""
    yield f"{path.replace(' ', '-')}.1", page(command, path)
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from pages_of(below, f"{path} {name}")


def overview() -> str:
    lines = [*head(PROGRAM, "runs containers from an Arvados queue on cloud VMs"), ".SH SYNOPSIS", f".B {PROGRAM}"]
    lines += [r"\fICOMMAND\fR [\fIARGUMENT\fR]...", ".SH DESCRIPTION", *paragraphs(main.help or ""), ".SH COMMANDS"]
    for name, row in COMMANDS.items():
        lines += [".TP", rf"\fB{escaped(name)}\fR", escaped(row.help), f"See {reference(f'{PROGRAM}-{name}')}."]
    lines += [".SH FILES"]
    for file, what in FILES.items():
        lines += [".TP", rf"\fI{escaped(file)}\fR", escaped(what)]
    lines += [".SH SEE ALSO", "The documentation in", r"\fI/usr/share/doc/cloud\-dispatcher/\fR."]
    return "\n".join(lines) + "\n"


def page(command: click.Command, path: str) -> str:
    """One command's page."""
    context = click.Context(command, info_name=path)
    words = " ".join(command.collect_usage_pieces(context))
    lines = [*head(path, summary(command)), ".SH SYNOPSIS", rf"\fB{escaped(path)}\fR {escaped(words)}"]
    lines += [".SH DESCRIPTION", *paragraphs(command.help or ""), ".SH OPTIONS"]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            lines += [".TP", rf"\fB{escaped(record[0])}\fR", *plain(record[1])]
    lines += [".SH SEE ALSO", reference(PROGRAM)]
    return "\n".join(lines) + "\n"


def head(path: str, what: str) -> list[str]:
    title = path.replace(" ", "-")
    first = f'.TH "{title.upper()}" "1" "" "Cloud Dispatcher" "Cloud Dispatcher"'
    return [first, ".SH NAME", rf"{escaped(title)} \- {escaped(what)}"]


def summary(command: click.Command) -> str:
    """The first sentence of its help, as the line of a list."""
    text = " ".join((command.help or command.name or "").split("\n\n")[0].split())
    return (text[:1].lower() + text[1:]).split(". ")[0].rstrip(".")


def paragraphs(text: str) -> list[str]:
    """click's text: a paragraph that begins with \\b keeps its lines."""
    found: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        verbatim = block.lstrip().startswith("\b")
        found += [".PP"] if not verbatim else [".PP", ".nf"]
        found += plain(block.replace("\b\n", "").replace("\b", ""), verbatim)
        found += [".fi"] if verbatim else []
    return found


def plain(text: str, verbatim: bool = False) -> list[str]:
    lines = text.splitlines()
    return [escaped(line if verbatim else line.strip()) for line in lines if line.strip()]


def escaped(text: str) -> str:
    """Nothing of it may be taken for a request of roff."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


def reference(name: str) -> str:
    return rf"\fB{escaped(name)}\fR(1)"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in pages():
        (folder / file).write_text(text, encoding="utf-8")
