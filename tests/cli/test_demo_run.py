"""The demo as a whole, with real processes: what it shows, and that no way of killing any of it loses or doubles a container."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.demo_world import World, command, kill, until
from tests.processes import below, proc_file

REFUSED = {"name": "refused", "command": ["true"], "vcpus": 64, "ends": "refused"}
CANCELLED = {"name": "cancelled", "command": ["sleep", "900"], "ends": "cancelled", "priority": 900}
FAILS = {"name": "fails", "command": ["sh", "-c", "echo broken pipe dream >&2; exit 3"], "exit_code": 3}
DISPATCHER, QUEUE, INSTANCE = "dispatcher run", "dispatcher.embedded.serve", "drivers.local.instance"
GOOD = "Every container ended as it should, and no instance is left."


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for demo in made.demos:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()
    made.stop()
    kill(made.processes())


def all_once(world: World, *names: str) -> None:
    """Each ended exactly once, and never did two of a name run at once."""
    ledger = world.ledger()
    assert sorted(line for line in ledger if line.startswith("end")) == sorted(f"end {name}" for name in names)
    assert not [line for line in ledger if line.startswith("twice")]


def test_a_workload_from_start_to_end(world):
    """Plain lines where there is no terminal, a table, status 0, nothing left; a second demo says so; no secret is shown."""
    demo = world.start([world.piece("one", 3.0), world.piece("two", vcpus=2), REFUSED, CANCELLED, FAILS])
    demo.says("one runs on small-")
    second = command("demo", "--data", str(world.data))
    lines = " ".join(world.processes().values())
    assert (second.returncode, f"a demo already runs in {world.data}" in second.stderr) == (1, True)
    assert demo.ends() == 0, demo.output
    rows = demo.rows()
    assert rows["one"][1:3] == ["Complete", "0"]
    assert rows["fails"][1:6] == ["Complete", "3", "broken", "pipe", "dream"]
    assert rows["cancelled"][1:8] == ["Cancelled", "its", "request", "was", "cancelled", "while", "it"]
    assert rows["refused"][1:4] == ["Cancelled", "constraints", "not"]
    assert re.search(r"5 containers, \$0\.\d{4} in all", demo.output)
    assert GOOD in demo.output
    assert "\x1b" not in demo.output
    all_once(world, "one", "two")
    assert world.processes() == {}
    logs = "".join(path.read_text() for path in world.data.glob("*.log"))
    for secret in world.secrets():
        assert secret not in lines + demo.output + logs


@pytest.mark.slow
def test_the_demo_and_the_dispatcher_are_killed(world):
    """The next start goes on: what ran runs on, what waited is run, and nothing is asked for twice."""
    pieces = [world.piece(f"piece-{number}", 4.0, vcpus=number % 3 + 1) for number in range(6)]
    first = world.start(pieces)
    first.says(" runs on ")
    world.kill("dispatcher demo", DISPATCHER)
    first.ends()
    second = world.start(pieces)
    assert second.ends() == 0, second.output
    assert "0 containers asked for, 6 were there already" in second.output
    all_once(world, *(piece["name"] for piece in pieces))
    assert "6 containers, " in second.output
    assert world.processes() == {}


@pytest.mark.slow
def test_the_queue_and_an_instance_are_killed(world):
    """The queue is started again and nothing is lost; the instance's container is cancelled with the reason and tried again."""
    demo = world.start([world.piece("long", 6.0, vcpus=4), world.piece("short", 1.0)])
    demo.says("long runs on large-")
    world.kill(QUEUE)
    demo.says("the queue was killed (signal 9) and is started again")
    kill([pid for pid, shown in world.processes().items() if INSTANCE in shown and runs(pid, "long")])
    assert demo.ends() == 0, demo.output
    assert "long is tried again" in demo.output
    assert re.search(r"long was cancelled: \w+", demo.output)
    assert re.search(r"^long +Cancelled +\w.*\n(.*\n)*  try 2 +Complete +0", demo.output, re.MULTILINE)
    all_once(world, "long", "short")
    assert world.processes() == {}


def runs(pid: int, name: str) -> bool:
    """Whether a scribe of this name is below a process; probes are, too, for a moment."""
    return any(f"SAMPLE_NAME={name}".encode() in proc_file(one, "environ").split(b"\0") for one in below(pid))


@pytest.mark.slow
def test_the_dispatcher_alone_is_killed(world):
    """Left alone the demo starts it again; a demo that is started meanwhile goes on instead."""
    pieces = [world.piece(f"piece-{number}", 5.0) for number in range(4)]
    first = world.start(pieces)
    first.says(" runs on ")
    world.kill(DISPATCHER)
    first.says("the dispatcher is started again")
    world.kill(DISPATCHER)
    first.says("the dispatcher was killed (signal 9): what it started runs on; it is started again in 4 s")
    until(lambda: not world.pids(DISPATCHER), "the dispatcher is gone")
    second = world.start(pieces)
    assert second.ends() == 0, second.output
    assert first.ends() in (0, 1)
    all_once(world, *(piece["name"] for piece in pieces))
    assert world.processes() == {}


@pytest.mark.slow
def test_on_a_terminal(world):
    """The view is drawn over itself, without colours when they are not wanted; Ctrl-C ends everything at once; it can go on."""
    pieces = [world.piece("long", 8.0)]
    first = world.start(pieces, terminal=True, NO_COLOR="1")
    first.says("1 run")
    os.kill(first.process.pid, signal.SIGINT)
    assert first.ends() == 128 + signal.SIGINT
    assert world.processes() == {}
    assert "\x1b[J" in first.output
    assert not re.search(r"\x1b\[\d+m", first.output)
    second = world.start(pieces, terminal=True)
    assert second.ends() == 0, second.output
    assert re.search(r"\x1b\[32m", second.output)
    assert "try 2" in second.output
    all_once(world, "long")


@pytest.mark.slow
def test_staying_up(world):
    """Whoever submits sees the output and gets the exit code; --stop ends everything; the token stands in no command line."""
    demo = world.start([world.piece("first", 0.1)], "--stay")
    demo.says("Ctrl-C ends everything.")
    data = ("--data", str(world.data))
    script = "echo hello; echo oh >&2; exit 7"
    asked = command("submit", *data, "--wait", "--name", "mine", "--ram", "1GiB", "--", "sh", "-c", script)
    assert asked.returncode == 7, asked.stderr
    assert asked.stdout == "hello\n"
    assert "oh\n" in asked.stderr
    assert "Complete\n" in asked.stderr
    demo.says("mine ended with exit code 7")
    too_much = command("submit", *data, "--wait", "--vcpus", "99", "true")
    assert (too_much.returncode, "reason: constraints not satisfiable" in too_much.stderr) == (1, True)
    assert world.stop() == 0
    assert demo.ends() == 0, demo.output
    assert world.processes() == {}
