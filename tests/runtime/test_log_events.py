"""Each event of the log has the level and the fields of the reference implementation's log: our table, and the recording."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from states import Clock, container, instance, leading, uuid

from dispatcher.core import messages as m
from dispatcher.core.maps import Map
from dispatcher.core.model import (
    CloudView,
    Destroy,
    DestroyCause,
    Fit,
    Holdoff,
    HoldoffKind,
    IdleBehavior,
    Instance,
    Kill,
    Leadership,
    Phase,
    Process,
    ProcessPhase,
    Resources,
    State,
)
from dispatcher.driver import Scope
from dispatcher.runtime.logs import JsonLines, Secrets
from dispatcher.runtime.story import Story, Teller

U = uuid(1)
C = container(1)
FIT = Fit(need=Resources(vcpus=1), types=("small", "large"))
VM = instance("i1", answered_s=80.0, busy_s=50.0)
BOOTING = replace(VM, phase=Phase.BOOTING, ready_s=None, probe_error="command: boot probe: exit status 1")
SAID = m.Said(command="systemctl is-system-running", status=1, stdout="starting", stderr="")
FAILED = m.ProbeReport(reached=True, problem=m.ProbeProblem.COMMAND, error="boot probe: exit status 1", said=SAID)
PROBED = m.Probed(name="i1", began_s=99.0, report=FAILED)
NOTHING = m.ProbeHinted(name="i1")

ON = {"Instance", "InstanceType", "Address"}
COMMAND = {"Command", "stdout", "stderr", "error"}


def with_process(**more: Any) -> Instance:
    process = Process(uuid=U, phase=ProcessPhase.RUNNING, since_s=1.0, changed_s=1.0)
    return replace(VM, processes={U: replace(process, **more)})


def destroyed(cause: DestroyCause) -> Instance:
    return replace(VM, phase=Phase.SHUTDOWN, destroy=Destroy(cause=cause, reason="why", since_s=100.0, attempts=1))


def held(kind: HoldoffKind, key: str) -> State:
    holdoff = Holdoff(call="create", key=key, kind=kind, until_s=160.0, since_s=100.0, strikes=1, reason="no room")
    return leading(holdoffs=Map([("x", holdoff)]))


@dataclass(frozen=True, kw_only=True)
class Event:
    """A change, what its line is recognised by, and what the line must hold."""

    before: State
    after: State
    message: m.Event | m.Action = NOTHING
    says: str
    level: str = "info"
    fields: set[str]


READ = m.ContainersRead(began_s=1.0, asked=(U,), records=())
GONE = m.ForgetContainer(uuid=U)
KILLED = m.KillEnded(name="i1", uuid=U, gone=False, error="kill: exit status 1: still there", said=SAID)
REFUSED = m.StartEnded(name="i1", uuid=U, outcome=m.StartOutcome.REFUSED, error="exit status 1", said=SAID)
LOST_LIST = replace(leading(), cloud=CloudView(listed_s=-1.0))

EVENTS: dict[str, Event] = {
    "container added": Event(
        before=leading(C), after=leading(replace(C, fit=FIT)), message=READ, says="can run on small, large",
        fields={"ContainerUUID", "State", "Priority", "InstanceTypes"},
    ),
    "container dropped": Event(
        before=leading(C), after=leading(), message=GONE, says="dropped", fields={"ContainerUUID", "State"},
    ),
    "no suitable type": Event(
        before=leading(C), after=leading(replace(C, fit=Fit(need=Resources(), types=(), problem="too large"))), message=READ,
        says="fits no instance type", level="warning", fields={"ContainerUUID", "error"},
    ),
    "instance asked for": Event(
        before=leading(), after=leading(replace(BOOTING, phase=Phase.CREATING)), says="is asked for", fields={"InstanceType"},
    ),
    "instance appeared": Event(
        before=leading(replace(BOOTING, id=None, phase=Phase.CREATING)), after=leading(BOOTING), says="was accepted",
        fields=ON | {"State", "IdleBehavior"},
    ),
    "boot probe failed": Event(
        before=leading(replace(BOOTING, probe_error="")), after=leading(BOOTING), message=PROBED,
        says="does not pass its boot probe yet", fields=ON | COMMAND,
    ),
    "in service": Event(
        before=leading(BOOTING), after=leading(VM), says="is ready",
        fields=ON | {"RunningContainers", "State", "ProbeStart"},
    ),
    "boot failed": Event(
        before=leading(BOOTING), after=leading(BOOTING),
        message=m.DestroyInstance(name="i1", cause=DestroyCause.BOOT_TIMEOUT, reason=""),
        says="did not boot", level="warning", fields=ON | {"Duration", "error"},
    ),
    "probe failed": Event(
        before=leading(VM), after=leading(VM), message=PROBED, says="fails its probe", level="warning", fields=ON | COMMAND,
    ),
    "unresponsive": Event(
        before=leading(VM), after=leading(destroyed(DestroyCause.UNRESPONSIVE)), says="is destroyed (unresponsive)",
        level="warning", fields=ON | {"Duration", "Since", "State", "Reason"},
    ),
    "shutdown": Event(
        before=leading(VM), after=leading(destroyed(DestroyCause.IDLE)), says="is destroyed (idle)",
        fields=ON | {"State", "IdleDuration", "IdleBehavior", "Reason"},
    ),
    "disappeared": Event(
        before=leading(VM), after=leading(), says="disappeared", level="warning", fields={"Instance", "WorkerState"},
    ),
    "idle behaviour": Event(
        before=leading(VM), after=leading(replace(VM, idle_behavior=IdleBehavior.HOLD)), says="idle behaviour",
        fields=ON | {"IdleBehavior"},
    ),
    "process started": Event(
        before=leading(with_process(phase=ProcessPhase.STARTING)), after=leading(with_process()), says="runs",
        fields=ON | {"ContainerUUID"},
    ),
    "process ended": Event(
        before=leading(with_process()), after=leading(VM), says="ended", fields=ON | {"ContainerUUID"},
    ),
    "process abandoned": Event(
        before=leading(with_process()), after=leading(), says="is lost with its instance", fields=ON | {"ContainerUUID"},
    ),
    "start refused": Event(
        before=leading(VM), after=leading(VM), message=REFUSED, says="start on i1: refused", level="warning",
        fields={"ContainerUUID", "stdout", "stderr", "error"},
    ),
    "kill": Event(
        before=leading(with_process()), after=leading(with_process(kill=Kill(reason="priority 0", since_s=1.0))),
        says="is sent TERM", fields=ON | {"ContainerUUID", "Reason", "Signal"},
    ),
    "kill failed": Event(
        before=leading(with_process()), after=leading(with_process()), message=KILLED, says="kill on i1 failed", level="warning",
        fields={"ContainerUUID", "stdout", "stderr", "error"},
    ),
    "create failed": Event(
        before=leading(), after=leading(), level="warning", says="create failed",
        message=m.CreateFailed(name="i1", failure=m.CloudFailure(text="no", scope=Scope.REQUEST)),
        fields={"isQuotaError", "isCapacityError", "error"},
    ),
    "quota": Event(
        before=leading(), after=held(HoldoffKind.QUOTA, "*"), says="no create for everything", level="warning",
        fields={"atQuotaUntil"},
    ),
    "capacity": Event(
        before=leading(), after=held(HoldoffKind.CAPACITY, "type:small"), says="no create for type:small", level="warning",
        fields={
            "capacityErrorTTL", "capKey", "atCapacityUntil", "isInstanceTypeSpecific", "isInstanceQuotaGroupSpecific", "error",
        },
    ),
    "rate limit": Event(
        before=leading(), after=held(HoldoffKind.RATE, "*"), says="no create for everything", level="warning",
        fields={"CallType", "Duration", "ResumeAt"},
    ),
    "first list": Event(
        before=LOST_LIST, after=replace(LOST_LIST, cloud=CloudView(listed_s=1.0)), says="first complete list of instances",
        fields={"N"},
    ),
    "waits to lead": Event(
        before=State(), after=State(leadership=Leadership(holder="10.0.0.2")), says="waiting to lead", fields={"DBClient"},
    ),
}  # fmt: skip


def lines(event: Event) -> list[dict[str, Any]]:
    """The change, as it stands in the log of a service."""
    stream, secrets = io.StringIO(), Secrets()
    formatter = JsonLines("zzzzz")
    clock = Clock()

    def write(told: Any) -> None:
        record = logging.makeLogRecord(
            {"msg": told.text, "levelno": told.level, "levelname": logging.getLevelName(told.level), **told.fields}
        )
        secrets.filter(record)
        stream.write(formatter.format(record) + "\n")

    teller = Teller(Story(clock), clock, tell=write)
    teller.hear(event.before, event.after, event.message)
    teller.tell()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_has_its_level_and_its_fields(name: str) -> None:
    """Every line names also the cluster, the process and the time."""
    event = EVENTS[name]
    line = next(line for line in lines(event) if event.says in line["msg"])
    assert line["level"] == event.level
    assert event.fields | {"time", "PID", "ClusterID"} <= set(line), event.fields - set(line)


def test_moments_are_shown_as_utc() -> None:
    """Never as seconds of a clock that nobody else has."""
    found = next(line for line in lines(EVENTS["in service"]) if "ProbeStart" in line)
    assert found["ProbeStart"].endswith("Z")
    assert found["ProbeStart"].startswith("2027-01-15T")


# ---------------------------------------------------------------------------------------------------------- the recording

VARIABLE = "ARVADOS_LOG"
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "upstream-samples" / "log.jsonl"
SAMPLE = Path(os.environ.get(VARIABLE) or BESIDE)

# What the reference implementation writes → our event. None: there is no such thing here, or it is part of another line.
THEIRS: Mapping[str, str | None] = {
    "adding container to queue": "container added",
    "creating new instance": "instance asked for",
    "instance appeared in cloud": "instance appeared",
    "boot probe succeeded": None,
    "instance booted; will try probeRunning": None,
    "probes succeeded, instance is in service": "in service",
    "crunch-run process started": "process started",
    "crunch-run process ended": "process ended",
    "crunch-run process abandoned": "process abandoned",
    "set idle behavior": "idle behaviour",
    "killing crunch-run process": "kill",
    "sending signal": "kill",
    "kill attempt unsuccessful": "kill failed",
    "dropping container from queue": "container dropped",
    "container finished -- dropping from queue": "container dropped",
    "shutting down": "shutdown",
    "instance disappeared in cloud": "disappeared",
    "loaded initial instance list": "first list",
}

# Fields that we do not have there: a create serves whoever has its place in the end, a failed kill is known by its container.
ABSENT = {
    "instance asked for": {"ContainerUUID"},
    "kill failed": {"Instance", "InstanceType", "Address", "Signal"},
}


@pytest.mark.skipif(not SAMPLE.is_file(), reason=f"a log of the reference implementation is not here: {VARIABLE}")
def test_the_recording_has_no_field_that_we_lack() -> None:
    """Every line of a real log whose event we have."""
    common = {"time", "level", "msg", "PID", "ClusterID"}
    for row in map(json.loads, SAMPLE.read_text().splitlines()):
        name = THEIRS.get(row["msg"])
        if name is None:
            continue
        line = next(line for line in lines(EVENTS[name]) if EVENTS[name].says in line["msg"])
        assert set(row) - common - ABSENT.get(name, set()) <= set(line), (row["msg"], set(row) - set(line))
