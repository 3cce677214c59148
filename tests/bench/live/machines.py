"""A cloud in memory whose machines are real SSH servers on loopback, each with a runner that does nothing for a given time.

The runner answers at once, so that what is measured is the dispatcher and not the machine.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import paramiko

from drivers.ssh_server import SSHServer, load_private_key, new_private_key, quiet_library
from tests.bench.live.queue import Queue


@dataclass(eq=False)
class Machine:
    id: str
    name: str
    type: str
    tags: dict[str, str]
    secret: str
    up_s: float  # from when on it answers
    running: dict[str, float] = field(default_factory=dict)  # container → since when
    probed: list[float] = field(default_factory=list)
    server: SSHServer | None = None
    watch: paramiko.Channel | None = None
    waited: set[str] = field(default_factory=set)  # the watcher shall say when they end

    @property
    def address(self) -> str:
        return self.server.address if self.server is not None else ""


class Cloud:
    """Knobs: ``boot_s`` from the create to the first answer, ``create_s`` how long the create call takes."""

    def __init__(self, queue: Queue) -> None:
        quiet_library()
        self.queue = queue
        self.boot_s = self.create_s = 0.0
        self.machines: dict[str, Machine] = {}
        self.seen: list[tuple[float, str, str]] = []
        self._count = 0
        self._lock = threading.Lock()
        self._host_key = load_private_key(new_private_key())

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        began_s = time.monotonic()
        time.sleep(self.create_s)
        with self._lock:
            self._count += 1
            made = Machine(
                id=f"vm-{self._count}", name=asked["name"], type=asked["type"], tags=asked["tags"], secret=asked["secret"],
                up_s=time.monotonic() + self.boot_s,
            )  # fmt: skip
        made.server = SSHServer(
            socket.create_server(("127.0.0.1", 0)), host_key=self._host_key, authorized_keys=[asked["public_key"]],
            handler=lambda command, channel: self._run(made, command, channel),
            is_open=lambda: time.monotonic() >= made.up_s, name=made.id,
        )  # fmt: skip
        made.server.start()
        with self._lock:
            self.machines[made.id] = made
            self.seen += [(began_s, "create", made.id), (made.up_s, "reachable", made.id)]
        return {"id": made.id}

    def list(self) -> dict[str, Any]:
        with self._lock:
            shown = list(self.machines.values())
        return {"machines": [{name: getattr(each, name) for name in ("id", "name", "type", "tags", "address")} for each in shown]}

    def destroy(self, machine_id: str) -> dict[str, Any]:
        with self._lock:
            gone = self.machines.pop(machine_id, None)
            self.seen.append((time.monotonic(), "destroy", machine_id))
        if gone is not None and gone.server is not None:
            gone.server.close()
        return {}

    def tag(self, machine_id: str, tags: dict[str, str]) -> dict[str, Any]:
        self.machines[machine_id].tags = tags
        return {}

    def probes(self, since_s: float) -> dict[str, Any]:
        """Of each machine since then: the first, how many, and the longest time without one, until now."""
        with self._lock:
            machines = list(self.machines.values())
        since = [[at_s for at_s in each.probed[-1000:] if at_s >= since_s] for each in machines]
        gaps = [max((b - a for a, b in itertools.pairwise([*found, time.monotonic()])), default=0.0) for found in since]
        return {
            "firsts": [found[0] for found in since if found], "unprobed": sum(1 for found in since if not found),
            "count": sum(map(len, since)), "longest_gap_s": max(gaps, default=0.0),
        }  # fmt: skip

    # -- what runs there

    def _run(self, machine: Machine, command: str, channel: paramiko.Channel) -> int:
        words = shlex.split(command)
        if "--list" in words:
            machine.probed.append(time.monotonic())
            channel.sendall("".join(f"{uuid}\n" for uuid in sorted(machine.running)).encode())
            return 0
        if "--detach" in words:
            return self._start(machine, words[-1], channel)
        if "--kill" in words:
            return 1 if words[-1] in machine.running else 0
        if words[:1] == ["cat"]:
            channel.sendall(machine.secret.encode())
            return 0
        if words[:1] == ["setsid"]:
            return self._watch(machine, channel)
        return 0 if words[:1] in (["true"], ["systemctl"]) else 127

    def _watch(self, machine: Machine, channel: paramiko.Channel) -> int:
        """The watcher, without a process for each container: says who has ended, until its input does."""
        machine.watch, machine.waited = channel, set()
        unread = b""
        while piece := channel.recv(65536):
            *lines, unread = (unread + piece).split(b"\n")
            machine.waited |= {line.decode() for line in lines}
            for uuid in machine.waited - set(machine.running):
                self._ended(machine, uuid)
        return 0

    def _ended(self, machine: Machine, uuid: str) -> None:
        if uuid in machine.waited and machine.watch is not None:
            machine.waited.discard(uuid)
            with contextlib.suppress(OSError):
                machine.watch.sendall(f"{uuid}\n".encode())

    def _start(self, machine: Machine, uuid: str, channel: paramiko.Channel) -> int:
        now_s = time.monotonic()
        while channel.recv(65536):
            pass
        with self._lock:
            twice = any(uuid in other.running for other in self.machines.values())
            machine.running[uuid] = now_s
            self.seen.append((now_s, "started twice" if twice else "started", f"{uuid} {machine.id}"))
        threading.Thread(target=self._work, args=(machine, uuid), daemon=True).start()
        channel.sendall(json.dumps({"UUID": uuid, "PID": 1}).encode())
        return 0

    def _work(self, machine: Machine, uuid: str) -> None:
        if self.queue.move(uuid, "Running"):
            time.sleep(self.queue.records[uuid]["seconds"])
            self.queue.move(uuid, "Complete")
        machine.running.pop(uuid, None)
        self._ended(machine, uuid)
        with self._lock:
            self.seen.append((time.monotonic(), "exit", f"{uuid} {machine.id}"))
