"""``python -m tests.bench [--rounds N] [--only TEXT]``: the table, then one JSON object as the last line."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from tests.bench import events, large, latency, memory, packing, pages, passes, scrapes
from tests.bench.measure import Results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What the core and the store cost.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each scene is measured")
    parser.add_argument("--only", default="", help="only groups whose name contains this, as in pass_10000x1000, plan, lock")
    options = parser.parse_args()
    results = Results(options.rounds, options.only)
    passes.measure(results)
    large.measure(results)
    events.measure(results)
    scrapes.measure(results)
    pages.measure(results)
    latency.measure(results)
    packing.measure(results)
    memory.measure(results)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print("\n".join(results.table()))
    sys.stdout.flush()
    print(results.json())


if __name__ == "__main__":
    main()
