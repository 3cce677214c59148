"""``queue``: the embedded queue as a service, for a computer that has no cluster.

It is the same as ``python -m dispatcher.embedded.serve``, by a name that a unit and a person can use.
"""

from __future__ import annotations

import os

import click

from dispatcher.embedded.serve import main
from dispatcher.web.notify import service_manager


@click.command()
@click.option("--data", required=True, help="The folder of everything that the queue keeps.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=0, help="By default the port of the last time, else any free one.")
@click.option("--cluster-id", default="zzzzz", show_default=True, help="Five letters or digits.")
@click.pass_context
def queue(context: click.Context, data: str, host: str, port: int, cluster_id: str) -> None:
    """Run the embedded queue until SIGTERM. It speaks the part of the Arvados API that a dispatcher needs, over TLS with a
    certificate of its own."""
    manager = service_manager(os.environ)
    arguments = ["--data", data, "--host", host, "--port", str(port), "--cluster-id", cluster_id]
    context.exit(main(arguments, listens=lambda: manager.tell(READY="1")))
