"""``check-config``: everything that is wrong with the configuration, and every value in force with where it came from.

What people need first goes last: values, then warnings, then problems, then one line with the verdict. No secret is printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dispatcher.cli.check_cloud import cloud_warnings
from dispatcher.cli.drivers import driver_problem
from dispatcher.cli.service_user import closed_files
from dispatcher.cli.words import printable
from dispatcher.config import (
    DEFAULT_CONFIG,
    DEFAULT_SETTINGS,
    Config,
    InForce,
    Loaded,
    Origin,
    Problem,
    Severity,
    Source,
    load,
)
from dispatcher.config.load import config_place
from dispatcher.edge.ssh.keys import load_private_key
from dispatcher.edge.transport import tls_context
from dispatcher.frozen import dataclass

GOOD, WRONG, UNREADABLE = 0, 1, 2
WIDEST_VALUE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is printed, and how the command ends."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    in_force: tuple[InForce, ...]
    exit_code: int

    @property
    def words(self) -> str:
        warned = f", {len(self.warnings)} to look at" if self.warnings else ""
        if self.exit_code == GOOD:
            return f"the configuration can be used{warned}"
        return f"the configuration cannot be used: {len(self.problems)} to mend{warned}"


@click.command()
@click.option("--config", "config_path", default=DEFAULT_CONFIG, show_default=True, help="The cluster's configuration.")
@click.option("--settings", "settings_path", help=f"Our own settings; must exist when given.  [default: {DEFAULT_SETTINGS}]")
@click.option("--cluster", "cluster_id", help="Which cluster of the file; needed when it holds several.")
@click.option("--cloud", "ask_cloud", is_flag=True, help="Ask the cloud too: types that it does not offer, prices that differ.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--quiet", is_flag=True, help="Print no values, only what is wrong or to be looked at.")
@click.pass_context
def check_config(
    context: click.Context,
    config_path: str,
    settings_path: str | None,
    cluster_id: str | None,
    ask_cloud: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Tell everything that is wrong with the configuration, and print every value in force and where it came from.

    Secrets are shown only as "set" or "not set". Values go to standard output, warnings and problems to standard error.

    \b
    Exit status:
      0  the dispatcher could start; there may be warnings
      1  something is wrong
      2  the command was called wrongly, or a file cannot be read
    """
    loaded = load(config_path, settings_path, cluster_id)
    verdict = judge(loaded)
    if config_path == DEFAULT_CONFIG:
        verdict = with_closed(verdict, closed_files((config_place(config_path), settings_path or DEFAULT_SETTINGS)))
    if ask_cloud and verdict.exit_code == GOOD and loaded.config is not None:
        verdict = replace(verdict, warnings=(*verdict.warnings, *cloud_warnings(loaded, loaded.config)))
    if as_json:
        click.echo(json.dumps(as_object(verdict), indent=2))
    else:
        show(verdict, quiet=quiet)
    context.exit(verdict.exit_code)


def judge(loaded: Loaded) -> Verdict:
    """What other rooms judge, the files that are named and the driver's parameters, is looked at only when everything else is
    right."""
    config = loaded.config
    judges = (key_problem, certificate_problem, audit_problem, driver_problem)
    found = () if config is None else tuple(each(loaded, config) for each in judges)
    problems = (*loaded.problems, *(each for each in found if each is not None))
    code = UNREADABLE if loaded.unreadable else WRONG if problems else GOOD
    return Verdict(problems=problems, warnings=loaded.warnings, in_force=loaded.in_force, exit_code=code)


def with_closed(verdict: Verdict, closed: Sequence[tuple[str, str]]) -> Verdict:
    """Root reads everything; what the service may not read is no better than what nobody can."""
    found = [Problem(severity=Severity.ERROR, file=file, line=None, path="", text=text) for file, text in closed]
    return replace(verdict, problems=(*verdict.problems, *found), exit_code=UNREADABLE) if found else verdict


def key_problem(loaded: Loaded, config: Config) -> Problem | None:
    """Whether the private key can be used for logging in."""
    try:
        load_private_key(config.access.private_key)
    except ValueError as wrong:
        return loaded.problem_at("Containers.DispatchPrivateKey", str(wrong))
    return None


def certificate_problem(loaded: Loaded, config: Config) -> Problem | None:
    """Whether the authorities that the API's certificate is verified by can be read: without them nothing starts."""
    file = config.api.certificate_file
    if not file or config.api.insecure:
        return None
    try:
        tls_context(file, insecure=False)
    except OSError as wrong:
        reason = wrong.strerror or str(wrong)
        return _own_problem(loaded, "APICertificateFile", f"cannot be read as certificates in PEM form: {reason}")
    return None


def audit_problem(loaded: Loaded, config: Config) -> Problem | None:
    """Whether the file could stand there at all: who may write it is another user's business than the caller's."""
    file = config.logs.audit_file
    if not file:
        return None
    if Path(file).is_dir():
        return _own_problem(loaded, "AuditLog", "is a folder")
    return None if Path(file).parent.is_dir() else _own_problem(loaded, "AuditLog", "its folder does not exist")


def _own_problem(loaded: Loaded, path: str, text: str) -> Problem:
    """With a key of our own file."""
    origin = next((each.origin for each in loaded.in_force if each.path == path), Origin(source=Source.DEFAULT))
    return Problem(severity=Severity.ERROR, file=origin.file, line=origin.line, path=path, text=text)


def show(verdict: Verdict, *, quiet: bool = False) -> None:
    for line in () if quiet else value_lines(verdict.in_force):
        click.echo(line)
    for kind, notes in (("warning", verdict.warnings), ("error", verdict.problems)):
        for note in notes:
            click.echo(printable(f"{kind}: {note}"), err=True)
    click.echo(verdict.words, err=True)


def value_lines(in_force: Iterable[InForce]) -> list[str]:
    """Three columns: key, value, origin."""
    rows = [(printable(each.path), printable(each.shown), printable(str(each.origin))) for each in in_force]
    first = max((len(path) for path, _, _ in rows), default=0)
    second = min(WIDEST_VALUE, max((len(value) for _, value, _ in rows), default=0))
    return [f"{path:<{first}}  {value:<{second}}  {origin}" for path, value, origin in rows]


def as_object(verdict: Verdict) -> dict[str, Any]:
    return {
        "exit": verdict.exit_code,
        "problems": [_note(each) for each in verdict.problems],
        "warnings": [_note(each) for each in verdict.warnings],
        "in_force": [_value(each) for each in verdict.in_force],
    }


def _note(note: Problem) -> dict[str, Any]:
    return {"file": note.file, "line": note.line, "column": note.column, "path": note.path, "text": note.text}


def _value(each: InForce) -> dict[str, Any]:
    origin = each.origin
    from_file = {"file": origin.file, "line": origin.line} if origin.file and origin.line is not None else {}
    return {"path": each.path, "value": each.shown, "source": str(origin.source), "note": origin.note, **from_file}
