"""``setup``: from an installed package to a service that can be started, and what is still missing on the way.

It writes only what is not there, so that it may be run again and again; nothing that somebody changed is lost.
"""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import click

from dispatcher.cli.check_config import judge
from dispatcher.cli.service_user import closed_files
from dispatcher.cli.setup import look, texts
from dispatcher.cli.setup.local import prepare_local
from dispatcher.cli.setup.places import Places, Writer, standard_places
from dispatcher.config import Loaded, Problem, load
from dispatcher.config.model import Listen

GOOD, MISSING = 0, 1
KEY = "Containers.DispatchPrivateKey"
SERVICES = "cloud-dispatcher.socket cloud-dispatcher.service"
QUEUE_SERVICE = "cloud-dispatcher-queue.service"


@click.command()
@click.option("--local", is_flag=True, help="No cluster, no cloud: a queue of its own, and instances that are processes.")
@click.option("--cluster-id", default="zzzzz", show_default=True, help="Five letters or digits, for what it writes.")
@click.option("--api", "api_url", default="https://api.example.org/", show_default=True, help="Where the API is, likewise.")
@click.option("--driver", default="azure", show_default=True, help="The cloud's driver, likewise.")
@click.option("--root", default="/", hidden=True, help="A folder that stands for the whole file system.")
@click.pass_context
def setup(context: click.Context, local: bool, cluster_id: str, api_url: str, driver: str, root: str) -> None:
    """Prepare the service: write what configuration is missing, make an SSH key, try the API token and the cloud's credentials,
    and say what has to be done before it can be started.

    The cluster's own /etc/arvados/config.yml is used where it is, and never changed. Elsewhere a commented
    /etc/cloud-dispatcher/config.yml is written. Secrets belong into /etc/cloud-dispatcher/credentials. What is there is kept.

    \b
    Exit status:
      0  the service can be started
      1  something is missing
    """
    places = standard_places(Path(root))
    writer = Writer(places, click.echo)
    writer.folders()
    if local:
        prepare_local(places, writer)
    elif not places.cluster_config.exists():
        values = {"cluster_id": cluster_id, "api_url": api_url, "driver": driver}
        writer.write(places.config, texts.CONFIG.format(**values))
        writer.secret("ManagementToken", f"{secrets.token_urlsafe(24)}\n")
    if not local:
        writer.write(places.settings, texts.settings(audit_log=places.audit_log))
    loaded = read(places)
    if not has_key(loaded):
        writer.secret(KEY, look.new_private_key())
        loaded = read(places)
    missing = [*look_at(loaded, places, queue_runs=not local), *closed(places)]
    if loaded.config is not None:
        place_socket(loaded.config.listen, places, writer)
    context.exit(tell(missing, local=local, changed_units=writer.changed_units))


def read(places: Places) -> Loaded:
    """The configuration as the service will see it."""
    path = places.cluster_config if places.cluster_config.exists() else places.config
    return load(path, places.settings, credentials=str(places.credentials), environment={})


def closed(places: Places) -> list[str]:
    """Files that the service may not read."""
    config = places.cluster_config if places.cluster_config.exists() else places.config
    return [f"{path}: {text}" for path, text in closed_files((config, places.settings))]


def has_key(loaded: Loaded) -> bool:
    """Whether there is a private key, be it a good one or not. In a file that cannot be understood there may be one."""
    return not loaded.in_force or any(each.path == KEY for each in loaded.in_force)


def look_at(loaded: Loaded, places: Places, *, queue_runs: bool) -> list[str]:
    """What has to be mended, by the configuration and by trying it out."""
    problems = [_with_place(problem, places) for problem in judge(loaded).problems]
    for warning in loaded.warnings:
        click.echo(f"to look at: {warning}")
    if problems or loaded.config is None:
        return problems
    click.echo(f"public key of the dispatcher: {look.public_key(loaded.config)}")
    tried = [look.cloud_problem(loaded.config)]
    if queue_runs:
        tried.append(look.api_problem(loaded.config))
    return [problem for problem in tried if problem]


def _with_place(problem: Problem, places: Places) -> str:
    """A token that is missing is best put where only root can read it."""
    name = problem.path.rpartition(".")[2]
    mend = f"; put it into {places.credentials / name}" if name == "SystemRootToken" and "is missing" in problem.text else ""
    return f"{problem}{mend}"


def place_socket(listen: Listen, places: Places, writer: Writer) -> None:
    """systemd opens the socket, so it has to be told where others look for us."""
    if (listen.host, listen.port) == ("127.0.0.1", 9006):
        writer.remove_unit(places.socket_unit)
        return
    try:
        found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)
    except OSError:
        click.echo(f"to look at: {listen.host} has no address: cloud-dispatcher.socket stays at 127.0.0.1:9006")
        return
    hosts = dict.fromkeys(f"[{each[4][0]}]" if ":" in str(each[4][0]) else str(each[4][0]) for each in found)
    writer.write_unit(places.socket_unit, texts.SOCKET_UNIT.format(listen=texts.listen_streams(hosts, listen.port)))


def tell(missing: list[str], *, local: bool, changed_units: bool) -> int:
    """The last word: what is missing, or how to start. The exit status."""
    for problem in missing:
        click.echo(f"missing: {problem}", err=True)
    if missing:
        click.echo("mend it and run cloud-dispatcher setup again", err=True)
        return MISSING
    click.echo("everything is there; start it:")
    if changed_units:
        click.echo("  systemctl daemon-reload")
    click.echo(f"  systemctl enable {QUEUE_SERVICE + ' ' if local else ''}{SERVICES}")
    click.echo(f"  systemctl restart {QUEUE_SERVICE + ' ' if local else ''}{SERVICES}")
    return GOOD
