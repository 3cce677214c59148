"""``python -m tests.bench.aims [GROUP ...]``: every figure that is aimed at, beside its aim, with the load of the machine.

Each group is measured by a program of its own, one after the other, and its rows are printed when it is done; the whole table
stands at the end, and as the last line one JSON object. Nothing is judged: who reads it knows what else the machine did.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.bench.live import light
from tests.sources import ROOT

PATIENCE_S = 1800.0
ROW = "{:70s} {:>22s} {:>22s} {:>13s}"
HEAD = ROW.format("figure", "aim", "measured", "load")


@dataclass(frozen=True, slots=True)
class Aim:
    """``names``: of the figures in the answer of the group's program; two of them are the median and the 95th percentile."""

    group: str
    text: str
    aim: str
    names: tuple[str, ...]


def _live(scene: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{scene}.{name}" for name in names)


def _both(scene: str, name: str) -> tuple[str, ...]:
    return _live(scene, f"{name}_p50", f"{name}_p95")


HUGE, CHANGE, LARGE = "huge_{}_100000x5000x500_pass_ms", "change_{}_ms_10000x1000", "50000x5000"
LATE = "latency_event_ms_busy_p95"
AIMS: tuple[Aim, ...] = (
    Aim("idle", "queued → started, an instance stands idle, with events (s)", "0.03 / 0.10", _both("idle", "queued_to_started")),
    Aim("idle-polling", "the same, polling only (s)", "– / 1.2", _both("idle-polling", "queued_to_started")),
    Aim("create", "queued → create called (s)", "0.03 / 0.10", _both("create", "queued_to_create_boot_0")),
    Aim("create", "instance reachable → first start, no boot (s)", "0.6 / 1.0", _both("create", "reachable_to_started_boot_0")),
    Aim("boot", "the same, a boot of 5 s (s)", "0.6 / 1.0", _both("boot", "reachable_to_started_boot_5")),
    Aim("turnover", "end of a container → next start there (s)", "0.06 / 0.25", _both("turnover", "exit_to_next_start")),
    Aim("turnover-slow", "the same, an API request takes 50 ms (s)", "", _both("turnover-slow", "exit_to_next_start_api_50_ms")),
    Aim("burst", "1,000 containers of 1 s on 50 instances (s)", "24", _live("burst", "makespan_s")),
    Aim("burst", "processor time of that (s)", "15", _live("burst", "makespan_cpu_s")),
    Aim("burst-slow", "the same, an API request takes 50 ms (s)", "30", _live("burst-slow", "makespan_api_50_ms_s")),
    Aim("restart", "kill -9 with 50 running: first start after (s)", "1", _live("restart", "restart_to_start_s")),
    Aim("fleet", "1,000 running, probed each 10 s: of one core (%)", "30", _live("fleet", "watched_cpu_percent")),
    Aim("fleet", "memory of that (MB)", "200", _live("fleet", "watched_rss_mb")),
    Aim("fleet", "longest time between two probes of one (s)", "12", _live("fleet", "watched_longest_gap_s")),
    Aim("fleet", "1,000 existing instances adopted within (s)", "12", _live("fleet", "adopted_all_s")),
    Aim("huge", "a pass, 100,000 × 5,000 × 500, all busy (CPU ms)", "2,000", (HUGE.format("busy"),)),
    Aim("huge", "the same, all idle (CPU ms)", "2,000", (HUGE.format("idle"),)),
    Aim("change", "one change, 10,000 × 1,000, whole pass (CPU ms)", "25", (CHANGE.format("full_pass"),)),
    Aim("change", "the same, by the one-entity planner (CPU ms)", "5", (CHANGE.format("next_step"),)),
    Aim("latency", "an event while polls and plans use the store (ms)", "", ("latency_event_ms_busy_p50", LATE)),
    Aim("packing", "packing, heavy-tailed: cost to a greedy pass", "1", ("packing_heavy_tailed_cost_to_greedy",)),
    Aim("packing", "the same: mean wait to that", "1", ("packing_heavy_tailed_wait_to_greedy",)),
    Aim("packing", "packing, bursty: cost to a greedy pass", "1", ("packing_bursty_cost_to_greedy",)),
    Aim("packing", "the same: mean wait to that", "1", ("packing_bursty_wait_to_greedy",)),
    Aim("packing", "packing, mixed: cost to a greedy pass", "1", ("packing_mixed_cost_to_greedy",)),
    Aim("packing", "the same: mean wait to that", "1", ("packing_mixed_wait_to_greedy",)),
    Aim("packing", "packing, all alike: cost to the least possible", "1.03", ("packing_even_cost_to_least",)),
    Aim("memory", "State and plans, 50,000 × 5,000, as a process (MB)", "300", (f"memory_process_mb_{LARGE}",)),
    Aim("month", "objects kept at the ends of 30 days: least, most", "flat", ("month_objects_least", "month_objects_most")),
    Aim("start", "cloud-dispatcher --help (s)", "0.3", ("help_s",)),
)
LIVE = tuple(dict.fromkeys(aim.group for aim in AIMS if aim.names[0].startswith(f"{aim.group}.")))


LIGHT = ("fleet",)  # with the light SSH servers, where they can be had


def command(group: str) -> list[str]:
    if group in LIVE:
        is_light = group in LIGHT and not light.missing()
        return [sys.executable, "-m", "tests.bench.live", group, *(["--light"] if is_light else [])]
    return [sys.executable, "-m", "tests.bench", "--only", group]


def measured(group: str) -> Mapping[str, float]:
    """What the group's program said, with nothing in it when it failed: that stands on standard error."""
    if group == "start":
        return {"help_s": _help_s()}
    done = subprocess.run(command(group), cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S)
    said = done.stdout.splitlines()
    found: Mapping[str, float] = json.loads(said[-1]) if said and not done.returncode else {}
    return found


def _help_s(times: int = 5) -> float:
    """Wall time, the median."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "dispatcher", "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        took.append(time.monotonic() - began)
    return sorted(took)[times // 2]


def shown(found: Mapping[str, float], names: tuple[str, ...]) -> str:
    return " / ".join(f"{found[name]:,.4g}" if name in found else "failed" for name in names)


def rows(group: str, found: Mapping[str, float], load: str) -> Iterator[str]:
    for aim in AIMS:
        if aim.group == group:
            yield ROW.format(aim.text, aim.aim, shown(found, aim.names), load)


def main() -> None:
    groups = list(dict.fromkeys(aim.group for aim in AIMS))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.aims", description="Every figure beside its aim.")
    parser.add_argument("groups", nargs="*", default=groups, metavar="GROUP", help=", ".join(groups))
    table, figures = [HEAD], {}
    sys.stdout.write(HEAD + "\n")
    for group in parser.parse_args().groups:
        before = os.getloadavg()[0]
        found = measured(group)
        made = list(rows(group, found, f"{before:.1f} … {os.getloadavg()[0]:.1f}"))
        sys.stdout.write("\n".join([*made, ""]))
        sys.stdout.flush()
        table += made
        figures |= {name: value for name, value in found.items() if "calibration" not in name}
    host = f"Python {platform.python_version()}, {os.cpu_count()} processors; two figures: the median and the 95th percentile"
    heavy = [f"{', '.join(LIGHT)}: with SSH servers that need as much of the processor as the dispatcher; {light.missing()}"]
    sys.stdout.write("\n".join(["", host, *(heavy if light.missing() else []), *table, json.dumps(figures), ""]))


if __name__ == "__main__":
    main()
