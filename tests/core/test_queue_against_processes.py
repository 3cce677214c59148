"""The reference's table of queue state against processes (its section 4.7), row by row, and where we differ from it and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import reconcile
from dispatcher.core.model import NEVER, ContainerState, Instance, Phase, ProcessPhase
from tests.core.build import C1, NOW, container, instance, process, state

QUEUED, LOCKED, RUNNING, COMPLETE, CANCELLED = ContainerState
HERE = instance("i1", Phase.READY, C1)
SILENT = instance("i2", Phase.UNKNOWN, processes_listed_s=NEVER)  # nobody knows what runs there
ENDED = {"exited_s": 950.0, "observed_s": 960.0}
STALE = {"exited_s": 950.0, "observed_s": 940.0}  # the record is older than the end
FOUND = {"locked_term": 0}  # not locked in this term: it may run where we have not looked yet

ROWS = [
    # (row, state in the queue, its fields, instances, what is done)
    ("Running, on no instance: cancel", RUNNING, FOUND, (), "CancelContainer"),
    ("Running, on no instance, one has not answered: wait", RUNNING, FOUND, (SILENT,), ""),
    ("Running, ended, newer record: cancel", RUNNING, ENDED, (), "CancelContainer"),
    ("Running, ended, older record: wait", RUNNING, STALE, (), ""),
    ("Running, runs, wanted: nothing", RUNNING, {}, (HERE,), ""),
    ("Running, runs, priority 0: kill", RUNNING, {"priority": 0}, (HERE,), "KillProcess"),
    ("Complete, runs: kill", COMPLETE, {"observed_s": NOW - 6}, (HERE,), "KillProcess"),
    ("Cancelled, runs: kill", CANCELLED, {}, (HERE,), "KillProcess"),
    ("Complete, does not run: forget", COMPLETE, {}, (), "ForgetContainer"),
    ("Cancelled, does not run: forget", CANCELLED, {}, (), "ForgetContainer"),
    ("Queued, runs: kill", QUEUED, {}, (HERE,), "KillProcess"),
    ("Queued, does not run, priority 0: forget", QUEUED, {"priority": 0}, (), "ForgetContainer"),
    ("Queued, does not run, wanted: the scheduler's", QUEUED, {}, (), ""),
    ("Locked, ended, newer record: unlock", LOCKED, ENDED, (), "UnlockContainer"),
    ("Locked, ended, older record: wait", LOCKED, STALE, (), ""),
    ("Locked, runs, wanted: nothing", LOCKED, {}, (HERE,), ""),
    ("Locked, runs, priority 0: kill", LOCKED, {"priority": 0}, (HERE,), "KillProcess"),
    ("Locked, does not run, priority 0: unlock", LOCKED, {"priority": 0}, (), "UnlockContainer"),
    ("Locked, does not run, wanted: the scheduler's", LOCKED, {}, (), ""),
    # Where we differ
    ("Locked, its instance was lost: keeps its lock", LOCKED, {**ENDED, "lost": "gone"}, (), "ReleaseContainer"),
    ("Locked, the last attempt ended: cancel with the reason", LOCKED, {**ENDED, "lock_count": 10}, (), "CancelContainer"),
    ("Locked, priority 0, may run where nobody has looked: wait", LOCKED, {**FOUND, "priority": 0}, (SILENT,), ""),
    ("Running, another dispatcher has it: forget", RUNNING, {"ours": False}, (), "ForgetContainer"),
]


@pytest.mark.parametrize(("queue_state", "fields", "instances", "done"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_4_7_every_row(queue_state, fields, instances, done):
    """One look, one action, or none."""
    before = state(container(state=queue_state, **fields), *instances)
    assert [type(action).__name__ for action in reconcile.plan(before, NOW)] == ([done] if done else [])


@pytest.mark.parametrize(("known", "done"), [(False, []), (True, ["KillProcess"])])
def test_4_7_not_in_the_queue_but_running(known, done):
    """Killed once the queue service said that there is no such container: a poll that lacks it proves nothing."""
    there: Instance = replace(instance(), processes={C1: process(C1, ProcessPhase.RUNNING, orphan=known)})
    assert [type(action).__name__ for action in reconcile.plan(state(there), NOW)] == done
