"""``submit``: asks a queue for one container, and with ``--wait`` follows it to its end and shows what it wrote.

The queue is that of a running demo, or the cluster of ``ARVADOS_API_HOST``; the token travels in the environment or a file only.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from dispatcher.cli.queue_client import NoQueue, QueueClient, Record, cluster_queue, embedded_queue, work
from dispatcher.config.values import Wrong, parse_size
from dispatcher.config.yaml_lines import parse
from dispatcher.core.messages import QueueError

DEFAULT_DATA = ".demo"
LOOK_S = 0.5
SILENCE_S = 60.0  # for so long a queue may be away while we follow
NOT_DONE = 1
SHOWN_OUTPUT_BYTES = 1 << 20


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--vcpus", default=1, show_default=True, type=click.IntRange(1, 1024), help="Processors that it needs.")
@click.option("--ram", default="256MiB", show_default=True, help="Memory that it needs, like 512MiB or 2GB.")
@click.option("--priority", default=500, show_default=True, type=click.IntRange(1, 1000), help="Greater numbers first.")
@click.option("--name", default="", help="A name for people.  [default: the command]")
@click.option("--image", default="none", help="The image, for clusters that have images.")
@click.option("--wait", is_flag=True, help="Follow it to its end, show its output, and end with its exit code.")
@click.option("--data", help=f"The data folder of a demo.  [default: ARVADOS_API_HOST's cluster if set, else {DEFAULT_DATA}]")
def submit(
    command: tuple[str, ...], vcpus: int, ram: str, priority: int, name: str, image: str, wait: bool, data: str | None
) -> None:
    """Ask a queue for a container that runs COMMAND.

    \b
      cloud-dispatcher submit --wait -- sh -c 'echo hello; sleep 5'
      cloud-dispatcher submit --vcpus 4 --ram 2GiB --name sort -- sort -n numbers

    \b
    Exit status with --wait:
      that of COMMAND when it ran to its end, else 1
    """
    folder = outputs_folder(data)
    try:
        queue = cluster_queue(os.environ) if folder is None else embedded_queue(folder / "queue", "user")
        label = name or " ".join(command)[:60]
        wanted = work(command, name=label, vcpus=vcpus, ram_bytes=size(ram), priority=priority, image=image)
        request = queue.submit(wanted)
        click.echo(f"{request['uuid']}: asked {queue.place} for container {request['container_uuid']}", err=True)
        if wait:
            raise SystemExit(follow(queue, request, folder))
    except NoQueue as missing:
        mend = "start one with: cloud-dispatcher demo --stay" if folder is not None else "set both, or name a demo by --data"
        raise click.ClickException(f"{missing}; {mend}") from None
    except QueueError as refused:
        raise click.ClickException(str(refused)) from None


def outputs_folder(data: str | None) -> Path | None:
    """The data folder of the demo that is meant; None when a cluster is."""
    if data is None and os.environ.get("ARVADOS_API_HOST"):
        return None
    return Path(data or DEFAULT_DATA).expanduser().resolve()


def size(text: str) -> int:
    """Bytes, written as in the cluster's configuration."""
    root = parse(text, "").root
    try:
        if root is None:
            raise Wrong("is empty")
        return int(parse_size(root))
    except Wrong as wrong:
        raise click.BadParameter(f"{text!r} {wrong}", param_hint="--ram") from None


# ------------------------------------------------------------------------------------------------------------------ follow


def follow(queue: QueueClient, request: Record, folder: Path | None) -> int:
    """Tell each change on standard error, then show the output. The exit status."""
    last = ""
    container: Record = {}
    for asked, container in changes(queue, request["uuid"]):
        retried = asked["container_uuid"] != request["container_uuid"]
        told = f"{container['state']} ({container['uuid']})" if retried else str(container["state"])
        if told != last:
            click.echo(told, err=True)
        last = told
    if folder is not None:
        show_output(folder / "local" / "containers" / container["uuid"])
    reason = (container.get("runtime_status") or {}).get("error")
    if reason:
        click.echo(f"reason: {reason}", err=True)
    if container["state"] == "Complete":
        click.echo(f"exit code {container['exit_code']}", err=True)
        return int(container["exit_code"])
    return NOT_DONE


def changes(queue: QueueClient, uuid: str) -> Iterator[tuple[Record, Record]]:
    """The request and its container of now, until the request is final. A queue that is away for a moment is waited for."""
    heard_s = time.monotonic()
    while True:
        try:
            request = queue.request(uuid)
            yield request, queue.container(request["container_uuid"])
            heard_s = time.monotonic()
            if request["state"] == "Final":
                return
        except QueueError:
            if time.monotonic() - heard_s > SILENCE_S:
                raise
        time.sleep(LOOK_S)


def show_output(home: Path) -> None:
    """What the command wrote, as the local instance kept it."""
    for name, stream in (("stdout.txt", sys.stdout), ("stderr.txt", sys.stderr)):
        try:
            with (home / name).open("rb") as file:
                content = file.read(SHOWN_OUTPUT_BYTES)
        except OSError:
            continue
        stream.flush()
        stream.buffer.write(content)
        stream.flush()
    click.echo(f"output: {home}", err=True)
