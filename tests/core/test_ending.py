"""What users and logs are told about the end of a container, an attempt or an instance: every fact that is known, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import ending, explain
from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, Output, Phase, QueueWrite
from tests.core.build import C1, NOW, OURS, after, container, instance, kill, record, settings, state

RUNNING = ContainerState.RUNNING
KILLED = kill(heard=True, signal=9, kill_since_s=950.0, reason="its priority is 0")
WAS_KILLED = "the container's runner on i1 was killed: it had not ended 120 s after SIGTERM (its priority is 0)"
WHY = [
    ({}, "the container's runner ended on i1 without a result"),
    ({"killed": kill(heard=True)}, "the container's runner ended on i1 without a result"),
    ({"lost": "it burnt"}, "the instance on which the container ran was lost: it burnt"),
    ({"killed": KILLED}, WAS_KILLED),
    ({"killed": KILLED, "lost": "x"}, WAS_KILLED),
]


@pytest.mark.parametrize(("fields", "text"), WHY)
def test_why_a_container_is_cancelled(fields, text):
    """The first thing that its user reads."""
    one = container(state=RUNNING, exited_s=950.0, avoid="i1", **fields)
    assert ending.why_cancelled(state(one), one) == text


def test_the_detail_names_instance_signal_attempts_and_output():
    """One fact a line, the runner's own words at the end."""
    one = container(
        state=RUNNING, avoid="i1", exited_s=950.0, ran_on="i1 (id x, type t4)", killed=KILLED, lock_count=4,
        exit_note="start: exit status 3", output=Output(instance="i1", asked_s=1.0, asking=False, text="first\nlast\n"),
    )  # fmt: skip
    assert ending.detail(one).splitlines() == [
        "instance: i1 (id x, type t4)",
        "last signal: SIGKILL (its priority is 0)",
        "the runner said: start: exit status 3",
        "attempts: 4",
        "the end of its output:",
        "first",
        "last",
    ]


EARLY = "its runner ended on i1 before the container began"
SAID = [
    ("", "", EARLY),
    ("start: exit status 1:\nno disk", "other", f"{EARLY}: start: exit status 1: no disk"),
    ("", "first\n last  one \n", f"{EARLY}: last one"),
]


@pytest.mark.parametrize(("note", "output", "text"), SAID)
def test_why_an_attempt_failed_is_one_line(note, output, text):
    """What the start answered; else the last that the runner wrote."""
    held = Output(instance="i1", asked_s=1.0, asking=False, text=output)
    assert ending.attempt_error(container(avoid="i1", exit_note=note, output=held)) == text


def test_a_signal_that_nobody_heard_was_not_sent():
    """What is not known is not claimed."""
    assert "last signal: none was sent" in ending.detail(container(killed=kill(), exited_s=950.0))


def test_of_a_container_that_ran_before_we_came_its_address_is_told():
    """That is all that its record says; whether it was sent a signal nobody knows."""
    assert ending.detail(container(state=RUNNING, gateway_address="10.0.0.9:3456")) == "instance: at 10.0.0.9:3456"


AGO = "it last answered 10 s ago"
CLUES = [
    ({}, False, AGO),
    ({"reached_s": float("-inf")}, True, "it is preemptible: the cloud may have taken it back; it never answered"),
    ({"deleting": True}, False, f"the cloud was deleting it, and not for us; {AGO}"),
    ({"failure": "disk"}, False, f"the cloud said: disk; {AGO}"),
    ({"condemned": "broken"}, False, f"it was to go: broken; {AGO}"),
    ({"probe_error": "no route"}, False, f"its last probe failed: no route; {AGO}"),
]


@pytest.mark.parametrize(("fields", "preemptible", "clues"), CLUES)
def test_why_an_instance_disappeared(fields, preemptible, clues):
    """Everything that points at the cause."""
    text = ending.why_gone(instance(**fields), preemptible=preemptible, now=NOW)
    assert text == f"it disappeared from the cloud ({clues})"


def test_why_an_instance_is_gone_that_was_to_go():
    """Then there is nothing to wonder about."""
    assert ending.why_gone(instance(phase=Phase.SHUTDOWN), preemptible=True, now=NOW) == "it was destroyed: idle"
    assert ending.why_gone(instance(id=None), preemptible=True, now=NOW) == "it was never created"


def test_who_waits_is_told_how_often_it_was_tried_and_what_went_wrong():
    """In the sentence that the management API shows; not once it runs."""
    waits = container(state=ContainerState.LOCKED, lock_count=2, last_error="its runner ended on i1", not_before_s=NOW + 9)
    before = state(waits, settings=settings(max_dispatch_attempts=5))
    assert explain.statuses(before, NOW)[C1].endswith("; it was locked 2 times of 5: its runner ended on i1")
    runs = replace(waits, state=RUNNING)
    assert "its runner ended" not in explain.statuses(state(runs), NOW)[C1]


def test_who_waits_is_told_what_the_queue_service_said_to_its_lock():
    """As long as no write succeeds."""
    refused = m.ContainerWriteFailed(uuid=C1, write=QueueWrite.LOCK, failure=m.QueueFailure(text="HTTP 422: no", status=422))
    locking = container(writing=QueueWrite.LOCK, priority=1)
    waits = after(state(locking, queue={"locks_in_flight": 1}), refused)
    assert explain.statuses(waits, NOW)[C1].endswith("; the last write did not succeed (lock: HTTP 422: no)")
    again = m.ContainerWritten(uuid=C1, write=QueueWrite.LOCK, record=record(state=ContainerState.LOCKED, locked_by_uuid=OURS))
    assert after(waits, again).containers[C1].write_error == ""
