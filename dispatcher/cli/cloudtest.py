"""``cloudtest``: tries the configured cloud out on one instance of a set of its own, and destroys it however the test ends.

It goes through the dispatcher's own adapters, so it shows what the dispatcher will see. No secret is printed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import click

from dispatcher.cli.cloudtest_cloud import CloudSide, Notes
from dispatcher.cli.cloudtest_steps import CloudTest, Wish
from dispatcher.cli.cloudtest_wish import SET_ID, Options, pace_of, prepared, request_of, variants
from dispatcher.cli.run import usable
from dispatcher.config import DEFAULT_CONFIG, DEFAULT_SETTINGS, Config, known_secrets, load
from dispatcher.edge.cloud_discovery import UnusableDriver
from dispatcher.edge.instances import SSHInstances, connect_instances
from dispatcher.edge.ssh.address import parse_port
from dispatcher.runtime.daemon import SystemClock, access_of, draw_name, open_cloud
from dispatcher.runtime.logs import Secrets, set_up
from dispatcher.runtime.scrub import Scrub

FAILED = 1
SECOND_AFTER_S = 1.0
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option("--config", "-config", "config_path", default=DEFAULT_CONFIG, show_default=True, help="The cluster's file.")
@click.option("--settings", "settings_path", help=f"Our own settings; must exist when given.  [default: {DEFAULT_SETTINGS}]")
@click.option("--cluster", "cluster_id", help="Which cluster of the file; needed when it holds several.")
@click.option("--instance-set-id", "-instance-set-id", default=SET_ID, show_default=True, help="The set of the instance.")
@click.option("--image-id", "-image-id", help="The image.  [default: ImageID]")
@click.option("--instance-type", "-instance-type", help="One of InstanceTypes.  [default: the cheapest]")
@click.option("--destroy-existing", "-destroy-existing", is_flag=True, help="First destroy what the set holds already.")
@click.option("--command", "-command", default="", help="A shell command for the instance; the test fails when it fails.")
@click.option("--command-timeout", default=600.0, show_default=True, help="Seconds that the command may take.")
@click.option("--pause-before-destroy", "-pause-before-destroy", is_flag=True, help="Wait for Enter before destroying it.")
@click.pass_context
def cloudtest(
    context: click.Context, /, config_path: str, settings_path: str | None, cluster_id: str | None, **options: Any
) -> None:
    """Try the configured cloud out: create one instance, find it listed and tagged, log in, run the boot probe and perhaps a
    command, destroy it. Each step is told with the time that it took. What was made is destroyed also after a failure and after
    Ctrl-C; a second Ctrl-C gives that up and says what may be left.

    \b
    Exit status:
      0  all went well
      1  there was a problem, also one that did not end the test
      2  the command was called wrongly, or a file cannot be read
    """
    config, asked = usable(load(config_path, settings_path, cluster_id)), Options(**options)
    logged = set_up(form="text", level="warning", secrets=known_secrets(config))
    with signals_end_the_test():
        good = try_all(config, asked, logged)
    context.exit(0 if good else FAILED)


def try_all(config: Config, options: Options, logged: Secrets) -> bool:
    """Whether all went well. After an interrupt there is no further test."""
    good = True
    for label, each in variants(config):
        notes = try_out(label, each, options, logged)
        good = good and not notes.problems
        if notes.interrupted:
            break
    return good


def try_out(label: str, config: Config, options: Options, logged: Secrets) -> Notes:
    """One test, and what it noted."""
    notes = Notes(tell=teller(config))
    try:
        config = prepared(config, options)
        test, machine = wired(config, options, notes, logged)
    except (UnusableDriver, ValueError) as wrong:
        notes.problem(str(wrong))
        return notes
    settings = config.settings
    (chosen,) = settings.instance_types
    notes.tell(f"{label}driver {config.driver.name}, set {settings.instance_set_id}, image {settings.image_id!r}, type {chosen}")
    try:
        good = test.run()
    finally:
        machine.stop()
    notes.tell("all went well" if good else f"not well: {'; '.join(notes.problems)}")
    return notes


def wired(config: Config, options: Options, notes: Notes, logged: Secrets) -> tuple[CloudTest, SSHInstances]:
    """The steps on the daemon's own adapters. Raises UnusableDriver or ValueError."""
    clock = SystemClock()
    name, secret = draw_name(config.settings.instance_set_id)()
    logged.register(secret)
    tell, scrub = notes.tell, Scrub([secret])
    notes.tell = lambda text: tell(scrub(text))
    wish = Wish(
        request=request_of(config, name, secret, process=os.getpid(), created_at=clock.utc()),
        secret=secret,
        retag={f"{config.settings.tag_prefix}CloudTestTagged": "yes"},
        ssh_port=parse_port(config.access.ssh_port),
        destroy_existing=options.destroy_existing,
        command=options.command,
        command_timeout_s=options.command_timeout,
    )
    cloud = open_cloud(config, clock)
    side = CloudSide(cloud, SystemTime(), pace_of(config.settings, cloud.capabilities.list_lag_s), notes)
    machine = connect_instances(replace(access_of(config), deploy_binary=""))
    pause = wait_for_enter if options.pause_before_destroy else lambda: None
    return CloudTest(wish, side, machine, notes, pause), machine


class SystemTime:
    """The host's clock, and real waiting."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


def teller(config: Config) -> Callable[[str], None]:
    """Prints lines with the seconds since the start; what clouds and machines say cannot play with the terminal. That nobody
    listens any more keeps no instance from being destroyed."""
    scrub, began_s = Scrub(known_secrets(config)), time.monotonic()

    def tell(text: str) -> None:
        for line in scrub(text).splitlines():
            with contextlib.suppress(OSError):
                click.echo(f"{time.monotonic() - began_s:8.1f} s  {line}")

    return tell


def wait_for_enter() -> None:
    """Where nobody can press it, nobody is waited for."""
    click.echo("press Enter to destroy the instance")
    sys.stdin.readline()


@contextlib.contextmanager
def signals_end_the_test() -> Iterator[None]:
    """What a terminal or a service manager sends to end it is as good as Ctrl-C: the instance is destroyed first. Some send it
    twice at once: only a later Ctrl-C is a second one."""
    first_s: list[float] = []

    def end(number: int, frame: object) -> None:
        first_s.append(time.monotonic())
        again = number == signal.SIGINT and first_s[-1] - first_s[0] >= SECOND_AFTER_S
        if len(first_s) == 1 or again:
            raise KeyboardInterrupt

    heard = [number for number in END_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores one
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
