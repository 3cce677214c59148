"""Storms from the command line: ``python -m dispatcher.simulation storm --seeds 1000``, or one of them told step by step.

A seed that fails is printed as the one command that repeats it. Over a thousand seeds, what never occurred fails the run too.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator

from dispatcher.core.messages import Action, Event

from .census import IMPOSSIBLE, Census
from .storm import Outcome, run
from .world import Dispatcher

ENOUGH_SEEDS = 1000  # from so many on, everything has to have occurred
REPORT_EVERY_S = 20.0


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dispatcher.simulation", description="Run the house in virtual time.")
    storm = parser.add_subparsers(dest="what", required=True).add_parser("storm", help="everything goes wrong by chance")
    storm.add_argument("--seeds", type=int, default=100, metavar="N", help="how many storms (default: 100)")
    storm.add_argument("--first", type=int, default=1, metavar="N", help="the first seed (default: 1)")
    storm.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="at once (default: one per CPU)")
    storm.add_argument("--until-failure", action="store_true", help="end with the first one that fails")
    storm.add_argument("--seed", type=int, metavar="N", help="this one alone")
    storm.add_argument(
        "--trace", nargs="?", const="", metavar="PATTERN", help="with --seed: tell each change; only those that match PATTERN"
    )
    return parser.parse_args(words)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# ----------------------------------------------------------------------------------------------------------------- one seed


def _tell_one(seed: int, pattern: str | None) -> int:
    wanted = re.compile(pattern) if pattern is not None else None

    def tell(dispatcher: Dispatcher, message: Event | Action) -> None:
        line = f"{dispatcher.world.clock.now_s:10.3f} {dispatcher.name} {message}"
        if wanted is not None and wanted.search(line):
            _say(line)

    outcome = run(seed, tell)
    _say(f"seed {seed}: {outcome.containers} containers, over after {outcome.ended_s:.0f} s")
    for text in outcome.wrong:
        _say(f"  WRONG: {text}")
    return 1 if outcome.wrong else 0


# ---------------------------------------------------------------------------------------------------------------- many seeds


def _outcomes(seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    """Storms in the order in which they end."""
    gc.set_threshold(50_000)  # states die young and hold no cycles
    if jobs <= 1:
        yield from map(run, seeds)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(run, seeds)


def _blow(seeds: range, jobs: int, until_failure: bool) -> tuple[Census, list[int]]:
    census, failed = Census(), []
    reported_s = time.monotonic()
    for count, outcome in enumerate(_outcomes(seeds, jobs), 1):
        census.add(outcome.census)
        if outcome.wrong:
            failed.append(outcome.seed)
            _say(f"seed {outcome.seed} FAILED: {outcome.wrong[0]}")
            _say(f"  repeat it with: python -m dispatcher.simulation storm --seed {outcome.seed} --trace")
            if until_failure:
                break
        if time.monotonic() > reported_s + REPORT_EVERY_S:
            reported_s = time.monotonic()
            _say(f"{count} of {len(seeds)} storms, {len(failed)} failed")
    return census, sorted(failed)


def _print_census(census: Census) -> None:
    for kind, table in census.tables().items():
        _say(f"\n{kind}:")
        for what, count in sorted(table.items(), key=lambda row: -row[1]):
            _say(f"  {count:9d}  {what}")
    _say("\nnot brought about by storms:")
    for what, why in IMPOSSIBLE.items():
        _say(f"  {what}: {why}")


def _blow_and_judge(seeds: range, jobs: int, until_failure: bool) -> int:
    census, failed = _blow(seeds, jobs, until_failure)
    if until_failure and failed:
        return 1
    _print_census(census)
    missing, unlisted = census.missing(), census.unlisted()
    complaints = [*(f"never occurred: {what}" for what in missing), *(f"not in the list of faults: {what}" for what in unlisted)]
    _say("\n".join(complaints))
    _say(f"\n{len(seeds)} storms, {len(failed)} failed{': seeds ' + str(failed) if failed else ''}")
    complete = len(seeds) < ENOUGH_SEEDS or not missing
    return 0 if not failed and complete and not unlisted else 1


def main(words: list[str]) -> int:
    arguments = _arguments(words)
    if arguments.seed is not None:
        return _tell_one(arguments.seed, arguments.trace)
    return _blow_and_judge(range(arguments.first, arguments.first + arguments.seeds), arguments.jobs, arguments.until_failure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
