"""A cloud in memory whose machines are real SSH servers on loopback, each with a runner that does nothing for a given time.

The runner answers at once, so that what is measured is the dispatcher and not the machine. Who serves SSH is exchangeable:
threads of this process, or a lighter program (``light``).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import paramiko

from drivers.ssh_server import SSHServer, load_private_key, new_private_key, quiet_library
from tests.bench.live.queue import Queue


class Server(Protocol):
    """One machine's SSH server. It tells of lists and starts, and is told when a runner has ended."""

    address: str

    def ended(self, uuid: str) -> None: ...
    def close(self) -> None: ...


@dataclass(eq=False)
class Machine:
    id: str
    name: str
    type: str
    tags: dict[str, str]
    secret: str
    up_s: float  # from when on it answers
    running: set[str] = field(default_factory=set)
    probed: list[float] = field(default_factory=list)
    server: Server | None = None
    address: str = ""


Serve = Callable[["Cloud", Machine, str], Server]
"""Starts the server of a machine for the one user whose public key is given."""


class Cloud:
    """Knobs: ``boot_s`` from the create to the first answer, ``create_s`` how long the create call takes."""

    def __init__(self, queue: Queue, serve: Serve) -> None:
        self.queue, self._serve = queue, serve
        self.boot_s = self.create_s = 0.0
        self.machines: dict[str, Machine] = {}
        self.seen: list[tuple[float, str, str]] = []
        self._count = 0
        self._lock = threading.Lock()

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        began_s = time.monotonic()
        time.sleep(self.create_s)
        with self._lock:
            self._count += 1
            made = Machine(
                id=f"vm-{self._count}", name=asked["name"], type=asked["type"], tags=asked["tags"], secret=asked["secret"],
                up_s=time.monotonic() + self.boot_s,
            )  # fmt: skip
        made.server = self._serve(self, made, asked["public_key"])
        made.address = made.server.address
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

    # -- what the servers tell

    def listed(self, machine: Machine, at_s: float) -> None:
        machine.probed.append(at_s)

    def started(self, machine: Machine, uuid: str, at_s: float) -> None:
        with self._lock:
            twice = any(uuid in other.running for other in self.machines.values())
            machine.running.add(uuid)
            self.seen.append((at_s, "started twice" if twice else "started", f"{uuid} {machine.id}"))
        threading.Thread(target=self._work, args=(machine, uuid), daemon=True).start()

    def _work(self, machine: Machine, uuid: str) -> None:
        if self.queue.move(uuid, "Running"):
            time.sleep(self.queue.records[uuid]["seconds"])
            self.queue.move(uuid, "Complete")
        machine.running.discard(uuid)
        if machine.server is not None:
            machine.server.ended(uuid)
        with self._lock:
            self.seen.append((time.monotonic(), "exit", f"{uuid} {machine.id}"))


# ------------------------------------------------------------------------------------------------ served by this process


def serve_here() -> Serve:
    quiet_library()
    host_key = load_private_key(new_private_key())
    return lambda cloud, machine, public_key: OwnServer(cloud, machine, public_key, host_key)


class OwnServer:
    """A thread for each connection and one for each command."""

    def __init__(self, cloud: Cloud, machine: Machine, public_key: str, host_key: paramiko.PKey) -> None:
        self._cloud, self._machine = cloud, machine
        self._watch: paramiko.Channel | None = None
        self._waited: set[str] = set()  # the watcher shall say when they end
        self._server = SSHServer(
            socket.create_server(("127.0.0.1", 0)), host_key=host_key, authorized_keys=[public_key], handler=self._run,
            is_open=lambda: time.monotonic() >= machine.up_s, name=machine.id,
        )  # fmt: skip
        self._server.start()
        self.address = self._server.address

    def close(self) -> None:
        self._server.close()

    def ended(self, uuid: str) -> None:
        if uuid in self._waited and self._watch is not None:
            self._waited.discard(uuid)
            with contextlib.suppress(OSError):
                self._watch.sendall(f"{uuid}\n".encode())

    def _run(self, command: str, channel: paramiko.Channel) -> int:
        machine, words = self._machine, shlex.split(command)
        if "--list" in words:
            self._cloud.listed(machine, time.monotonic())
            channel.sendall("".join(f"{uuid}\n" for uuid in sorted(machine.running)).encode())
            return 0
        if "--detach" in words:
            while channel.recv(65536):
                pass
            self._cloud.started(machine, words[-1], time.monotonic())
            channel.sendall(json.dumps({"UUID": words[-1], "PID": 1}).encode())
            return 0
        if "--kill" in words:
            return 1 if words[-1] in machine.running else 0
        if words[:1] == ["cat"]:
            channel.sendall(machine.secret.encode())
            return 0
        if words[:1] == ["setsid"]:
            return self._follow(channel)
        return 0 if words[:1] in (["true"], ["systemctl"]) else 127

    def _follow(self, channel: paramiko.Channel) -> int:
        """The watcher, without a process for each container: says who has ended, until its input does."""
        self._watch, self._waited = channel, set()
        unread = b""
        while piece := channel.recv(65536):
            *lines, unread = (unread + piece).split(b"\n")
            self._waited |= {line.decode() for line in lines}
            for uuid in self._waited - self._machine.running:
                self.ended(uuid)
        return 0
