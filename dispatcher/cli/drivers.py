"""The installed cloud drivers: listed by their entry points, and opened only to check their settings."""

from __future__ import annotations

import logging
import time

import click

from dispatcher.config import Config, Loaded, Problem
from dispatcher.edge.cloud import Cloud, open_driver
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
    try:
        open_quietly(config, entries)
    except UnusableDriver as wrong:
        if wrong.path is None:
            return loaded.problem_at("Containers.CloudVMs.Driver", str(wrong))
        return loaded.driver_problem(wrong.path, str(wrong).removeprefix(f"{wrong.path}: "))
    return None


def open_quietly(config: Config, entries: tuple[Entry, ...] | None = None) -> Cloud:
    """The configured driver. A foreign one's traceback may hold a parameter: nothing of it reaches the terminal. Raises
    UnusableDriver."""
    log = logging.Logger(f"drivers.{config.driver.name}")
    log.addHandler(logging.NullHandler())
    return open_driver(config.driver.name, config.driver_settings(log), wall=time.time, entries=entries)
