"""The installed cloud drivers: listed by their entry points, and opened only to check their settings."""

from __future__ import annotations

import logging
import time

import click

from dispatcher.config import Config, Loaded, Problem
from dispatcher.driver import DriverSettings
from dispatcher.edge.cloud import open_driver
from dispatcher.edge.cloud_discovery import Entry, UnusableDriver, find_entries, problem_of


@click.command()
@click.option("--check", is_flag=True, help="Exit status 1 when one of them cannot be used.")
@click.pass_context
def drivers(context: click.Context, check: bool) -> None:
    """List the cloud drivers that are installed, each with the package that brought it, and why one cannot be used."""
    entries = find_entries()
    problems = {entry: problem_of(entry, entries) for entry in entries}
    for entry in entries:
        click.echo(line(entry, problems[entry]))
    context.exit(1 if check and any(problems.values()) else 0)


def line(entry: Entry, problem: str) -> str:
    """One line of the list."""
    package = f"{entry.package} {entry.version}".strip() or "?"
    return f"{entry.name:<20} {package:<30} {entry.target}" + (f"  UNUSABLE: {problem}" if problem else "")


def driver_problem(loaded: Loaded, config: Config, entries: tuple[Entry, ...] | None = None) -> Problem | None:
    """What is wrong with the choice of the driver or its parameters. Opening a driver makes no cloud call."""
    settings = DriverSettings(
        parameters=config.driver.parameters,
        instance_set_id=config.settings.instance_set_id,
        tag_prefix=config.settings.tag_prefix,
        log=_silent_log(),
    )
    try:
        open_driver(config.driver.name, settings, wall=time.time, entries=entries)
    except UnusableDriver as wrong:
        if wrong.path is None:
            return loaded.problem_at("Containers.CloudVMs.Driver", str(wrong))
        return loaded.driver_problem(wrong.path, str(wrong).removeprefix(f"{wrong.path}: "))
    return None


def _silent_log() -> logging.Logger:
    """A foreign driver's traceback may hold a parameter; nothing of it may reach the terminal."""
    log = logging.Logger("check-config")
    log.addHandler(logging.NullHandler())
    return log
