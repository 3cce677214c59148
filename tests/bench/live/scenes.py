"""What is measured: how long somebody waits, and what it costs. Each scene takes a House and returns named figures."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable

from tests.bench.live.house import House

Figures = dict[str, float]
Seen = list[tuple[float, str, str]]


def spread(name: str, samples: Iterable[float]) -> Figures:
    """p50 and p95, in seconds."""
    ordered = sorted(samples)
    if not ordered:
        return {}
    return {f"{name}_p50": statistics.median(ordered), f"{name}_p95": ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]}


def times(seen: Seen, what: str) -> dict[str, float]:
    """Container → when it first happened."""
    found: dict[str, float] = {}
    for at_s, kind, who in seen:
        if kind == what:
            found.setdefault(who.split()[0], at_s)
    return found


def idle_instance(house: House, *, rounds: int = 40) -> Figures:
    """A container is queued while an instance stands idle."""
    house.start()
    warm(house, 1)
    for number in range(rounds):
        time.sleep(random.uniform(0.2, 0.8))
        house.ask("submit", number=1, seconds=0.1)
        house.until(lambda number=number: house.count("complete") == number + 2, "the container ended")
    seen = house.seen()
    queued, locked, started = times(seen, "queued"), times(seen, "lock"), times(seen, "started")
    fresh = sorted(queued, key=queued.__getitem__)[1:]
    return {
        **spread("queued_to_started", (started[uuid] - queued[uuid] for uuid in fresh)),
        **spread("locked_to_started", (started[uuid] - locked[uuid] for uuid in fresh)),
    }


def warm(house: House, instances: int) -> None:
    """So many instances stand, and have run something."""
    house.ask("submit", number=instances, seconds=0.5)
    house.until(lambda: house.count("complete") >= instances, "the first containers ended")
    time.sleep(1.5)


def new_instance(house: House, *, boot_s: float = 0.0, rounds: int = 10) -> Figures:
    """A container is queued and there is no instance for it; they all run on, so that each needs a new one."""
    house.ask("knobs", boot_s=boot_s)
    house.start()
    for number in range(rounds + 1):  # the first one waits for the start
        house.ask("submit", number=1, seconds=600.0)
        house.until(lambda number=number: house.count("started") == number + 1, "it was started")
        time.sleep(random.uniform(0.2, 0.6))
    seen = house.seen()
    queued, created, started = (sorted(times(seen, what).values()) for what in ("queued", "create", "started"))
    reachable = sorted(at_s for at_s, what, _ in seen if what == "reachable")
    suffix = f"boot_{boot_s:g}"
    return {
        **spread(f"queued_to_create_{suffix}", _pairs(queued, created)),
        **spread(f"reachable_to_started_{suffix}", _pairs(reachable, started)),
    }


def _pairs(first: list[float], second: list[float]) -> Iterable[float]:
    return [later - earlier for earlier, later in zip(first, second, strict=False)][1:]


def log(house: House) -> str:
    return (house.folder / "log").read_text(errors="replace")


def exit_to_next(house: House, *, containers: int = 60, api_delay_s: float = 0.0) -> Figures:
    """Ten instances, random lengths, always somebody who waits."""
    house.ask("knobs", api_delay_s=api_delay_s)
    house.start()
    for _ in range(containers):
        house.ask("submit", number=1, seconds=random.uniform(0.5, 3.0))
    house.until(lambda: house.count("exit") == containers, "all ended")
    suffix = f"_api_{1000 * api_delay_s:.0f}_ms" if api_delay_s else ""
    return spread(f"exit_to_next_start{suffix}", _gaps(house.seen(), containers))


def _gaps(seen: Seen, containers: int) -> list[float]:
    """From each end on a machine to the next start there, as long as somebody waited."""
    ended: dict[str, float] = {}
    gaps, started = [], 0
    for at_s, what, who in seen:
        machine = who.rpartition(" ")[2]
        if what == "exit":
            ended[machine] = at_s
        elif what == "started":
            started += 1
            if machine in ended:
                gaps.append(at_s - ended.pop(machine))
    return gaps[: max(1, containers - 20)]


def many_short(house: House, *, containers: int = 1000, seconds: float = 1.0, api_delay_s: float = 0.0) -> Figures:
    """A thousand containers of one second, fifty instances, nobody idle before."""
    house.start()
    time.sleep(3.0)
    house.ask("knobs", create_s=0.1, api_delay_s=api_delay_s)
    before_s, before = house.cpu_s(), house.ask("seen")["requests"]
    began_s = time.monotonic()
    house.ask("submit", number=containers, seconds=seconds)
    house.until(lambda: time.sleep(0.5) is None and house.count("exit") == containers, "all ended", patience_s=600)
    seen = house.seen()
    ended_s = max(at_s for at_s, what, _ in seen if what == "exit")
    suffix = f"_api_{1000 * api_delay_s:.0f}_ms" if api_delay_s else ""
    wrong = sum(1 for _, what, _ in seen if what.startswith(("wrong", "started twice")))
    return {
        f"makespan{suffix}_s": ended_s - began_s,
        f"makespan{suffix}_cpu_s": house.cpu_s() - before_s,
        f"makespan{suffix}_api_requests": house.ask("seen")["requests"] - before,
        f"makespan{suffix}_rss_mb": house.memory_mb(),
        f"makespan{suffix}_wrong": wrong,
    }


def many_instances(house: House, *, instances: int = 1000, watched_s: float = 60.0) -> Figures:
    """All of them run something; then the dispatcher is started anew and finds them."""
    house.start()
    house.ask("submit", number=instances, seconds=3600.0)
    house.until(lambda: time.sleep(1) is None and house.count("started") >= instances, "all were started", 600)
    time.sleep(15)
    before_s, began_s = house.cpu_s(), time.monotonic()
    time.sleep(watched_s)
    took_s = time.monotonic() - began_s
    cpu = (house.cpu_s() - before_s) / took_s
    probes = house.ask("probes", since_s=began_s - 1)
    figures = {
        "watched_cpu_percent": 100 * cpu, "watched_rss_mb": house.memory_mb(), "watched_longest_gap_s": probes["longest_gap_s"],
        "watched_probes_per_s": probes["count"] / (took_s + 1),
        "watched_pss_mb": house.proportional_mb(), "watched_threads": house.threads(), "watched_open_files": house.open_files(),
    }  # fmt: skip
    house.kill()
    return {**figures, **_adopted(house)}


def _adopted(house: House) -> Figures:
    """From its start until each instance was probed, with the processor time of both sides until then."""
    rig_before_s, again_s = house.rig_cpu_s(), time.monotonic()
    house.start()
    house.until(lambda: time.sleep(0.5) is None and not house.ask("probes", since_s=again_s)["unprobed"], "all were adopted", 300)
    cpu_s, rig_cpu_s = house.cpu_s(), house.rig_cpu_s() - rig_before_s
    firsts = house.ask("probes", since_s=again_s)["firsts"]
    return {
        "adopted_all_s": max(firsts) - again_s, "adopted_half_s": statistics.median(firsts) - again_s,
        "adopted_first_s": min(firsts) - again_s, "adopted_cpu_s": cpu_s, "adopted_rig_cpu_s": rig_cpu_s,
        "adopted_threads": house.threads(), "adopted_rss_mb": house.memory_mb(),
    }  # fmt: skip


def restart(house: House) -> Figures:
    """kill -9 with fifty running; some end meanwhile, and more wait."""
    house.start()
    house.ask("submit", number=40, seconds=600.0)
    house.ask("submit", number=10, seconds=8.0)
    house.until(lambda: house.count("started") >= 50, "fifty run")
    house.kill()
    house.until(lambda: house.count("exit") >= 10, "ten ended")
    house.ask("submit", number=30, seconds=600.0)
    again_s = time.monotonic()
    house.start()
    house.until(lambda: house.count("started") > 50, "one was started")
    seen = house.seen()
    first_lock = min(at_s for at_s, what, _ in seen if what == "lock" and at_s > again_s)
    first_start = min(at_s for at_s, what, _ in seen if what == "started" and at_s > again_s)
    return {"restart_to_lock_s": first_lock - again_s, "restart_to_start_s": first_start - again_s}


Scene = tuple[Callable[..., Figures], dict[str, object], dict[str, object]]

# name → the scene, how the house is made, and what the scene is told
SCENES: dict[str, Scene] = {
    "idle": (idle_instance, {"max_instances": 1}, {}),
    "idle-polling": (idle_instance, {"max_instances": 1, "events": False}, {}),
    "create": (new_instance, {}, {"boot_s": 0.0}),
    "boot": (new_instance, {}, {"boot_s": 5.0}),
    "turnover": (exit_to_next, {"max_instances": 10}, {}),
    "turnover-slow": (exit_to_next, {"max_instances": 10}, {"api_delay_s": 0.05}),
    "burst": (many_short, {"max_instances": 50}, {}),
    "burst-slow": (many_short, {"max_instances": 50}, {"api_delay_s": 0.05}),
    "restart": (restart, {"max_instances": 60}, {}),
    "fleet": (many_instances, {"max_instances": 1000}, {}),
    "fleet-threads": (many_instances, {"max_instances": 1000, "more": "SSHThreadPerConnection: true\n"}, {}),
}
