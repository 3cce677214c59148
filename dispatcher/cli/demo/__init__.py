"""``demo``: the whole thing on one computer, with nothing prepared: an embedded queue, the dispatcher, local instances.

``setup`` writes the configuration, ``services`` and ``processes`` run the parts, ``workload`` is what is asked for, ``watch`` and
``picture`` what is seen, ``news`` and ``screen`` how it is shown, ``show`` the order of it all.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

DEFAULT_DATA = ".demo"


@click.command()
@click.option("--data", default=DEFAULT_DATA, show_default=True, help="The folder of everything that the demo keeps.")
@click.option("--stay", is_flag=True, help="Stay up afterwards, for `cloud-dispatcher submit`.")
@click.option("--stop", "stopping", is_flag=True, help="End a running demo, and whatever one that was killed left behind.")
@click.option("--workload", "workload_file", type=click.Path(path_type=Path), help="Run the containers of this YAML file.")
def demo(data: str, stay: bool, stopping: bool, workload_file: Path | None) -> None:
    """Run a sample workload on this computer: no cloud, no cluster, no root.

    Starts an embedded queue and the dispatcher, which makes instances that are processes of this computer. Shows what
    happens, and ends with a table. Interrupted in whatever way, the next start goes on with the same data folder.

    \b
    Exit status:
      0  every container ended as it should, and no instance is left
      1  something is wrong, or a demo runs in this folder already
    """
    from dispatcher.cli.demo import show
    from dispatcher.cli.demo.folder import InUse, Lock, Unusable, prepare
    from dispatcher.cli.demo.workload import SAMPLE, BadWorkload, read_workload
    from dispatcher.cli.terminal import Screen

    path = show.path_of(data)
    if stopping and not path.exists():
        return
    try:
        pieces = SAMPLE if workload_file is None else read_workload(workload_file)
        folder = prepare(path)
        if stopping:
            raise SystemExit(1 if show.stop(folder) else 0)
        lock = Lock(folder)
        lock.take()
    except InUse as other:
        mend = f"end it with Ctrl-C there, or with: cloud-dispatcher demo --stop --data {data}"
        raise click.ClickException(f"{other}; {mend}") from None
    except (Unusable, BadWorkload) as wrong:
        raise click.ClickException(str(wrong)) from None
    options = show.Options(pieces=pieces, stay=stay, submit_hint=_submit_hint(data))
    try:
        show.interruptible()
        status = show.Demo(folder, lock, Screen(sys.stdout), options).run()
    except show.Interrupted as early:
        status = 128 + early.number
    raise SystemExit(status)


def _submit_hint(data: str) -> str:
    """The command as it can be typed here."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "cloud-dispatcher" else "cloud-dispatcher"
    return f"{program} submit" + (f" --data {data}" if data != DEFAULT_DATA else "")
