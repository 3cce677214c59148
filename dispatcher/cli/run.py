"""``cloud-dispatcher run``: the service itself, on the cluster's configuration, in the foreground.

What is wrong with the configuration is said before anything starts; the daemon is built in the server's one worker.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import click

from dispatcher.config import DEFAULT_CONFIG, DEFAULT_SETTINGS, Config, Loaded, Problem, known_secrets, load

BAD_CONFIGURATION = 1  # a service manager should not start it again and again
UNREADABLE = 2


@click.command()
@click.option("--config", "config_path", default=DEFAULT_CONFIG, show_default=True, help="The cluster's configuration.")
@click.option("--settings", "settings_path", help=f"Our own settings; must exist when given.  [default: {DEFAULT_SETTINGS}]")
@click.option("--cluster", "cluster_id", help="Which cluster of the file; needed when it holds several.")
def run(config_path: str, settings_path: str | None, cluster_id: str | None) -> None:
    """Run the dispatcher in the foreground until SIGTERM."""
    loaded = load(config_path, settings_path, cluster_id)
    config = usable(loaded)
    serve_on(config, lambda: usable_again(load(config_path, settings_path, cluster_id)), warnings=loaded.warnings)


def usable(loaded: Loaded) -> Config:
    """The configuration, or the end of the process with everything that is wrong with it."""
    if loaded.config is None:
        for problem in (*loaded.warnings, *loaded.problems):
            print(problem, file=sys.stderr)
        raise SystemExit(UNREADABLE if loaded.unreadable else BAD_CONFIGURATION)
    return loaded.config


def usable_again(loaded: Loaded) -> Config:
    """For a reload: a bad file is refused, and what is in force stays in force."""
    if loaded.config is None:
        raise ValueError("; ".join(str(problem) for problem in loaded.problems))
    return loaded.config


def serve_on(config: Config, reread: Any, announce: Any = None, warnings: Sequence[Problem] = ()) -> None:
    """Serve with this configuration; ``warnings`` about it are logged once. The rooms below are imported here: only a running
    service needs them."""
    from dispatcher.runtime.daemon import build
    from dispatcher.runtime.logs import set_up
    from dispatcher.web.app import make_app
    from dispatcher.web.auth import Door
    from dispatcher.web.serve import Serving, serve

    secrets = known_secrets(config)
    logs = config.logs
    try:
        set_up(form=logs.format, level=logs.level, cluster_id=config.cluster_id, secrets=secrets, audit_file=logs.audit_file)
    except OSError as error:
        print(f"AuditLog: {logs.audit_file} cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(BAD_CONFIGURATION) from error
    sys.setswitchinterval(0.001)

    def build_served() -> Any:
        daemon = build(config, reread=reread)
        door = Door(config.management_token, config.read_only_token)
        return Served(daemon, make_app(daemon.view(), config.management_token, door=door))

    host = f"[{config.listen.host}]" if ":" in config.listen.host else config.listen.host
    log = logging.getLogger(__name__)
    for problem in warnings:
        log.warning("%s", problem)
    log.info("starting on cluster %s", config.cluster_id)
    serve(build_served, Serving(listen=(f"{host}:{config.listen.port}",), announce=announce))


class Served:
    """A daemon with the application in front of it: what the server runs."""

    def __init__(self, daemon: Any, app: Any) -> None:
        self.daemon, self.app = daemon, app

    def start(self) -> None:
        self.daemon.start()

    def stop(self, deadline_s: float) -> None:
        self.daemon.stop(deadline_s)

    def reload(self) -> None:
        self.daemon.reload()

    def heartbeats(self) -> Any:
        return self.daemon.heartbeats()
