"""The command line: one table of commands, each in a module of its own that is imported only when it is called.

A module is named in the table with one line of help, so that ``--help`` and completion answer at once.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, NamedTuple

import click

from dispatcher.cli.operate.ends import Ended
from dispatcher.cli.output import open_what_is_closed, writing


class Row(NamedTuple):
    """``source`` is ``module:function``; the function is a click command."""

    source: str
    help: str


COMMANDS: dict[str, Row] = {
    "run": Row("dispatcher.cli.run:run", "Run the dispatcher on the cluster's configuration."),
    "setup": Row("dispatcher.cli.setup:setup", "Prepare the service, and tell what is missing."),
    "demo": Row("dispatcher.cli.demo:demo", "Run a sample workload on this computer; nothing has to be prepared."),
    "status": Row("dispatcher.cli.operate.status:status", "Say whether the dispatcher is healthy, and what limits it."),
    "watch": Row("dispatcher.cli.operate.watch:watch", "Watch the dispatcher at work."),
    "instance": Row("dispatcher.cli.operate.instance:instance", "Show instances; hold, drain, release or kill them."),
    "container": Row("dispatcher.cli.operate.container:container", "Show containers and why they wait; kill those that run."),
    "submit": Row("dispatcher.cli.submit:submit", "Ask for a container, and follow it if you like."),
    "queue": Row("dispatcher.cli.queue:queue", "Run the embedded queue, for a computer without a cluster."),
    "check-config": Row("dispatcher.cli.check_config:check_config", "Tell everything that is wrong with the configuration."),
    "drivers": Row("dispatcher.cli.drivers:drivers", "List the cloud drivers that are installed."),
    "new-driver": Row("dispatcher.cli.new_driver:new_driver", "Write a new driver package, to start from."),
    "cloudtest": Row("dispatcher.cli.cloudtest:cloudtest", "Try the cloud and its driver out on one instance, and destroy it."),
}


class LazyGroup(click.Group):
    """A group whose commands are found in COMMANDS."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        open_what_is_closed()
        try:
            with writing():
                return super().main(*arguments, **options)
        except Ended as ended:
            ended.show()
            sys.exit(ended.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        module, _, function = row.source.partition(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "--version", package_name="cloud-dispatcher", message="%(prog)s %(version)s")
def main() -> None:
    """Runs containers from an Arvados queue on cloud VMs that it creates, watches and destroys."""
