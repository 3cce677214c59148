"""``cloud-dispatcher run``: the service itself, on the cluster's configuration, in the foreground.

What is wrong with the configuration is said before anything starts; the daemon is built in the server's one worker.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from dispatcher.config import DEFAULT_CONFIG, DEFAULT_SETTINGS, Config, Loaded, Problem, known_secrets, load

BAD_CONFIGURATION = 1
UNREADABLE = 2
FIRST_WORK_S = 0.75  # so long at most the pages are loaded later than need be
NOT_CONFIGURED = 78  # EX_CONFIG: a service manager should not start it again and again


@click.command()
@click.option("--config", "config_path", default=DEFAULT_CONFIG, show_default=True, help="The cluster's configuration.")
@click.option("--settings", "settings_path", help=f"Our own settings; must exist when given.  [default: {DEFAULT_SETTINGS}]")
@click.option("--cluster", "cluster_id", help="Which cluster of the file; needed when it holds several.")
def run(config_path: str, settings_path: str | None, cluster_id: str | None) -> None:
    """Run the dispatcher in the foreground until SIGTERM. SIGHUP reads the files again.

    \b
    Exit status:
      0   it was asked to end
      78  the configuration cannot be used: starting it again would not help
    """
    from dispatcher.runtime.garbage import no_collections

    with no_collections():
        loaded = load(config_path, settings_path, cluster_id)
        config = startable(loaded)
        serve_on(config, lambda: usable_again(load(config_path, settings_path, cluster_id)), warnings=loaded.warnings)


def startable(loaded: Loaded) -> Config:
    """The configuration when everything that can be judged beforehand is right, the driver's parameters and files included;
    else the end of the process, which a service manager does not answer by a restart."""
    from dispatcher.cli.check_config import judge

    problems = judge(loaded).problems
    if loaded.config is None or problems:
        for problem in (*loaded.warnings, *problems):
            print(problem, file=sys.stderr)
        raise SystemExit(NOT_CONFIGURED)
    return loaded.config


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
    from dispatcher.web.serve import Serving, serve

    secrets = known_secrets(config)
    logs = config.logs
    try:
        set_up(form=logs.format, level=logs.level, cluster_id=config.cluster_id, secrets=secrets, audit_file=logs.audit_file)
    except OSError as error:
        print(f"AuditLog: {logs.audit_file} cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(NOT_CONFIGURED) from error
    sys.setswitchinterval(0.001)

    def build_served() -> Any:
        return Served(build(config, reread=reread), config)

    host = f"[{config.listen.host}]" if ":" in config.listen.host else config.listen.host
    log = logging.getLogger(__name__)
    for problem in warnings:
        log.warning("%s", problem)
    tell_other_sockets(config)
    log.info("starting on cluster %s", config.cluster_id)
    serve(build_served, Serving(listen=(f"{host}:{config.listen.port}",), announce=announce))


def tell_other_sockets(config: Config) -> None:
    """systemd's sockets win over InternalURLs, which says where others look for us."""
    from dispatcher.web.sockets import handed_over, serves

    given = handed_over(os.environ, os.getpid())
    wanted = (config.listen.host, config.listen.port)
    if given and not serves(given, wanted):
        shown = ", ".join(f"{host}:{port}" if port else host for host, port in given)
        logging.getLogger(__name__).warning(
            "listening on %s as cloud-dispatcher.socket says, but the configuration says %s:%s: run cloud-dispatcher setup, or "
            "systemctl edit cloud-dispatcher.socket", shown, *wanted,
        )


class Served:
    """A daemon with the application in front of it: what the server runs."""

    def __init__(self, daemon: Any, config: Config) -> None:
        self.daemon, self._config = daemon, config

    @property
    def app(self) -> Any:
        """Made when it is asked for, and when the daemon has found out what runs: the libraries of the pages take as long to load
        as everything else together, and who waits for a container would wait for them."""
        self.daemon.find_out(FIRST_WORK_S)
        from dispatcher.web.app import make_app
        from dispatcher.web.auth import Door
        from dispatcher.web.page import ready

        token = self._config.management_token
        app = make_app(self.daemon.view(), token, door=Door(token, self._config.read_only_token))
        ready(app)
        return app

    def start(self) -> None:
        self.daemon.start()

    def stop(self, deadline_s: float) -> None:
        self.daemon.stop(deadline_s)

    def reload(self) -> None:
        self.daemon.reload()

    def heartbeats(self) -> Any:
        return self.daemon.heartbeats()

    def standing(self) -> str:
        return str(self.daemon.standing())
