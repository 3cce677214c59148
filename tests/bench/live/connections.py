"""``python -m tests.bench.live.connections``: what SSH alone costs, both ways of reading it in turn, in one run on one machine.

Each way is measured in a process of its own, against servers in another one; processor time is that of the client alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import paramiko

from dispatcher.core.messages import Target
from dispatcher.driver import HostKey
from dispatcher.edge.ssh import SSHExecutor, SSHSettings
from dispatcher.edge.ssh.keys import load_private_key, public_key_line
from drivers.ssh_server import SSHServer, host_key_of, new_private_key, quiet_library
from drivers.ssh_server import load_private_key as load_server_key

WAYS = {"one reader": False, "threads": True}
CALLERS = 48  # as many as the lane for probes has
PACED_S = 20.0
INTERVAL_S = 10.0
TIMEOUT_S = 120.0
Figures = dict[str, float]


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def serve(line: str, count: int) -> None:
    """So many machines, each with a server, until whoever started it is gone."""
    quiet_library()
    host_key = load_server_key(new_private_key())

    def run(command: str, channel: paramiko.Channel) -> int:
        channel.sendall(b"zzzzz-dz642-000000000000001\n")
        return 0

    def start() -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        server = SSHServer(listener, host_key=host_key, authorized_keys=[line], handler=run)
        server.start()
        return server.address

    shown = host_key_of(host_key)
    print(json.dumps({"addresses": [start() for _ in range(count)], "type": shown.type, "base64": shown.base64}), flush=True)
    sys.stdin.read()


def measure(way: str, count: int) -> Figures:
    """Connect to all, ask all as fast as it goes, ask them every ten seconds."""
    sys.setswitchinterval(0.001)  # as in the daemon
    key = load_private_key(new_private_key())
    command = [sys.executable, "-m", "tests.bench.live.connections", "--serve", public_key_line(key), "--count", str(count)]
    servers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert servers.stdout is not None
    found = json.loads(servers.stdout.readline())
    known = (HostKey(found["type"], found["base64"]),)
    targets = [Target(name=f"vm-{n}", address=at, user="root", host_keys=known) for n, at in enumerate(found["addresses"])]
    executor = SSHExecutor(SSHSettings(private_key=key, connect_timeout_s=TIMEOUT_S, thread_per_connection=WAYS[way]))
    before_mb = _memory_mb()
    with ThreadPoolExecutor(CALLERS) as pool:
        ask: Callable[[Target], object] = lambda target: executor.run(target, "list", timeout_s=TIMEOUT_S)  # noqa: E731
        figures = {"connect_cpu_ms": _cost_ms(lambda: list(pool.map(ask, targets)), count)}
        figures["memory_kb_each"] = 1000 * (_memory_mb() - before_mb) / count
        figures["flat_out_cpu_ms"] = _cost_ms(lambda: list(pool.map(ask, targets * 2)), 2 * count)
        figures |= _paced(pool, ask, targets)
    figures["threads"] = threading.active_count()
    executor.stop()
    servers.communicate()
    return figures


def _cost_ms(act: Callable[[], object], times: int) -> float:
    before_s = cpu_s()
    act()
    return 1000 * (cpu_s() - before_s) / times


def _paced(pool: ThreadPoolExecutor, ask: Callable[[Target], object], targets: Sequence[Target]) -> Figures:
    before_s, began_s, asked = cpu_s(), time.monotonic(), 0
    waits = []
    while (now_s := time.monotonic()) < began_s + PACED_S:
        waits.append(pool.submit(ask, targets[asked % len(targets)]))
        asked += 1
        time.sleep(max(0.0, began_s + asked * INTERVAL_S / len(targets) - now_s))
    for wait in waits:
        wait.result()
    return {"paced_cpu_percent": 100 * (cpu_s() - before_s) / (time.monotonic() - began_s)}


def _memory_mb() -> float:
    with open("/proc/self/statm") as shown:
        return int(shown.read().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live.connections")
    parser.add_argument("--count", type=int, default=1000, help="connections")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.count)
    elif options.measure:
        print(json.dumps(measure(options.measure, options.count)))
    else:
        compare(options.count, options.rounds)


def compare(count: int, rounds: int) -> None:
    """In turn, so that whatever else the machine does falls on both."""
    found: dict[str, list[Figures]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, figures in found.items():
            command = [sys.executable, "-m", "tests.bench.live.connections", "--measure", way, "--count", str(count)]
            figures.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    print(f"{count} connections, load {os.getloadavg()[0]:.1f}" + "".join(f"{way:>14s}" for way in WAYS))
    for name in found["threads"][0]:
        print(f"{name:40s}" + "".join(f"{statistics.median(one[name] for one in figures):14.2f}" for figures in found.values()))


if __name__ == "__main__":
    main()
