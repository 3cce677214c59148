"""What the real server answered, and what our queue answers to the same calls.

Each recorded call of our resources is made again; status, keys, types, values that depend on neither time nor chance, and the
inner phrases of errors must be the same. What is left out is counted with its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded import replay, transcripts
from tests.embedded.transcripts import Call
from tests.embedded.world import World

# Names of recorded calls that are not compared, with the reason; the first pattern that fits counts.
LEFT_OUT: tuple[tuple[str, str], ...] = (
    (r"overload/", "the queue has no overload brake"),
    (r"race-8-concurrent", "eight calls at once; test_queue_http makes them"),
    (r"numeric-id", "the real server takes an arbitrary record; ours answers 404"),
    (r"unknown-image", "images are not resolved"),
    (r"output-nonexistent", "there is no Keep: outputs are not looked up"),
    (r"trashed-project|project-trash", "there are no groups"),
    (r"current/root_as_v2", "only the recording has a row for the root token"),
    (r"misc/users-list", "a list of users that only the recording has"),
)


def reason_to_leave_out(call: Call) -> str:
    """Why a call is not compared; empty when it is."""
    for pattern, reason in LEFT_OUT:
        if re.search(pattern, call.name):
            return reason
    if call.resource not in transcripts.COMPARED:
        return f"another resource: {call.resource or call.path}"
    return ""


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    path = transcripts.location()
    if not path.exists():
        pytest.skip(f"no recordings of the real server at {path}; set {transcripts.VARIABLE} to their place")
    return transcripts.load(path)


@pytest.fixture
def world(calls: list[Call], tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "queue", calls)
    yield made
    made.close()


def test_our_answers_are_the_recorded_ones(
    calls: list[Call], world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every compared call answers as the real server did."""
    left_out: Counter[str] = Counter()
    failed: dict[str, list[str]] = {}
    compared = 0
    lists = World(tmp_path / "lists", calls)
    for call in calls:
        if reason := reason_to_leave_out(call):
            left_out[reason] += 1
            continue
        compared += 1
        found = replay.replay_list(lists, call) if call.is_list else replay.replay(world, call)
        if found:
            failed[f"#{call.index} {call.name}"] = found
    lists.close()
    with capsys.disabled():
        print("\n" + report(len(calls), compared, left_out))
    assert compared, "the recording holds no call of our resources"
    assert not failed, "\n".join(f"{name}: {text}" for name, texts in failed.items() for text in texts)


def report(total: int, compared: int, left_out: Counter[str]) -> str:
    lines = [f"recorded calls: {total}, compared: {compared}, left out: {total - compared}"]
    return "\n".join(lines + [f"  {count:4} {reason}" for reason, count in left_out.most_common()])
