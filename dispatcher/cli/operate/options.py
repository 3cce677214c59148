"""The options that the commands of operators share, and how a command is put together from them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import click

from dispatcher.cli.operate.dispatchers import Dispatchers
from dispatcher.cli.operate.ends import TABLE
from dispatcher.cli.operate.place import TOKEN_VARIABLE, URL_VARIABLE, Wanted, find
from dispatcher.config import DEFAULT_CONFIG


class Seconds(click.FloatRange):
    """``nan`` is within every range, and no time."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value} is no time.", param, ctx)
        return found


NAMES = ("config_path", "settings_path", "cluster_id", "urls", "token_file", "ca_file", "timeout_s")

_PLACE = (
    click.option("--config", "-config", "config_path", envvar="ARVADOS_CONFIG", metavar="FILE",
                 help=f"The cluster's file: where dispatchers are, and the token.  [default: {DEFAULT_CONFIG}]"),
    click.option("--settings", "settings_path", metavar="FILE", help="Our own settings file."),
    click.option("--cluster", "cluster_id", metavar="ID", help="Which cluster of the file."),
    click.option("--url", "urls", multiple=True, metavar="URL",
                 help="A dispatcher: http://host:9006, https://host, unix:/path.  [default: "
                      f"{URL_VARIABLE}, else all of the file]"),
    click.option("--token-file", envvar="CLOUD_DISPATCHER_TOKEN_FILE", metavar="FILE",
                 help=f"Holds the token; - for standard input.  [default: {TOKEN_VARIABLE}, else that of the file]"),
    click.option("--ca-file", metavar="FILE", help="The only authorities whose certificates are believed, for https."),
    click.option("--timeout", "timeout_s", default=20.0, show_default=True, type=Seconds(0.1, 600.0),
                 metavar="SECONDS", help="How long one request may take."),
)  # fmt: skip

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say where the dispatchers are, and hands ``dispatchers`` to the command instead."""

    def with_dispatchers(**given: Any) -> Any:
        wanted = Wanted(**{name: given.pop(name) for name in NAMES})
        dispatchers = Dispatchers(find(wanted))
        try:
            return command(dispatchers=dispatchers, **given)
        finally:
            dispatchers.close()

    with_dispatchers.__name__, with_dispatchers.__doc__ = command.__name__, command.__doc__
    if hasattr(command, "__click_params__"):
        with_dispatchers.__click_params__ = command.__click_params__  # type: ignore[attr-defined]
    for option in reversed(_PLACE):
        option(with_dispatchers)
    return with_dispatchers


def documented(text: str, table: str = TABLE) -> Decorator:
    """The help of a command: what it does, examples, and how it ends."""

    def dress(command: Callable[..., Any]) -> Callable[..., Any]:
        command.__doc__ = f"{text.strip()}\n\n{table}"
        return command

    return dress


def show_json(value: object) -> None:
    """Letters beyond ASCII are escaped, and so is whatever could steer a terminal."""
    click.echo(json.dumps(value, indent=2))
