"""``python -m tests.fake_azure``: the fake alone, until it is interrupted. It prints, as JSON, what a driver has to be told."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.fake_azure.account import Account
from tests.fake_azure.knobs import Knobs
from tests.fake_azure.machines import SSHMachines
from tests.fake_azure.server import AzureServer

SIMPLE = (int, float, bool)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_azure", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--folder", type=Path, required=True, help="for the certificate")
    parser.add_argument("--seed", type=int, default=0, help="of everything that happens by chance")
    parser.add_argument("--kind", action="store_true", help="no faults; Azure's limits remain")
    parser.add_argument("--no-machines", action="store_true", help="no SSH servers behind the machines")
    parser.add_argument("--knob", action="append", default=[], metavar="NAME=VALUE", help="a number of knobs.py; may be repeated")
    return parser.parse_args(given)


def knobs_of(options: argparse.Namespace) -> Knobs:
    """Raises SystemExit for a knob that does not exist."""
    known = {field.name: field.default for field in dataclasses.fields(Knobs) if isinstance(field.default, SIMPLE)}
    changes: dict[str, float] = {}
    for text in options.knob:
        name, _, value = text.partition("=")
        if name not in known:
            raise SystemExit(f"--knob {name}: no such number; there are {', '.join(sorted(known))}")
        changes[name] = type(known[name])(value)
    return Knobs.kind(**changes) if options.kind else dataclasses.replace(Knobs(), **changes)


def main() -> None:
    options = arguments()
    knobs = knobs_of(options)
    boot_s = (knobs.boot_s, knobs.boot_s + knobs.max_boot_extra_s)
    machines = None if options.no_machines else SSHMachines(seed=options.seed, boot_s=boot_s)
    account = Account(now=time.monotonic, knobs=knobs, seed=options.seed, hardware=machines, epoch=datetime.now(UTC))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with AzureServer(account, options.folder, options.port) as server:
        ssh = {} if machines is None else {"ssh_port": str(machines.port)}
        print(json.dumps({**server.description(), **ssh}, indent=2), flush=True)
        stop.wait()
    if machines is not None:
        machines.close()
    summary = {
        "calls": dict(account.calls),
        "statuses": {str(status): count for status, count in sorted(account.statuses.items())},
        "faults": dict(account.faults),
        "throttled": dict(account.throttle.refusals),
        "left": account.left(),
        "violations": [f"{violation.operation}: {violation.text}" for violation in account.judge.violations],
    }
    print(json.dumps(summary, indent=2), flush=True)


if __name__ == "__main__":
    main()
