"""Scenes that an operator may come upon, each as a view that can be served: nothing there, a quiet night, an incident, a crowd.

Every fact in them is one that the core can bring about; names and reasons from outside are as bad as an attacker makes them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from dispatcher.core.history import Sample, sample
from dispatcher.core.maps import Map
from dispatcher.core.model import (
    CallReport,
    ContainerState,
    Destroy,
    DestroyCause,
    Holdoff,
    HoldoffKind,
    IdleBehavior,
    KnownLeftover,
    OperatorNote,
    Phase,
    Spending,
    State,
)
from dispatcher.driver import Leftover
from tests.core.build import NOW, container, instance, offer, settings, state, wants
from tests.web.fakes import FakeEntry, FakeSetting, FakeView

HOSTILE = "compute-</script><script>document.title='owned'</script>\"'&‮gnol" + "-very-long-name" * 12
MENU = settings(offer("small", 2, 0.10), offer("medium", 4, 0.20), offer("large", 8, 0.40), cluster_id="zbasic")
MIDNIGHT = Spending(day_began_s=NOW - 5 * 3600, closed=12.34)
SETTINGS = [
    FakeSetting("Containers.CloudVMs.MaxInstances", "64", "/etc/arvados/config.yml:120"),
    FakeSetting("Containers.CloudVMs.TimeoutIdle", "1m"),
    FakeSetting("SystemRootToken", "set", "/etc/arvados/config.yml:3"),
]


def uuid(number: int) -> str:
    return f"zbasi-dz642-{number:015d}"


def view(shown: State, *told: FakeEntry, **more: Any) -> FakeView:
    made = FakeView(state=replace(shown, spending=MIDNIGHT), now_s=NOW, in_force=list(SETTINGS), taken=day(shown), **more)
    made.story.told = [replace(each, number=number) for number, each in enumerate(told, start=1)]
    made.called = {"Create": {"ok": 120, "quota": 3}, "List": {"ok": 900}, "Destroy": {"ok": 88}}
    return made


def day(shown: State) -> list[Sample]:
    """Six hours that swell and ebb, up to what is shown."""
    now = sample(shown, NOW)
    return [_earlier(now, minutes) for minutes in range(360, 0, -1)]


def _earlier(now: Sample, minutes: int) -> Sample:
    share = 0.55 + 0.45 * math.sin(minutes / 45)
    counts = {name: round(count * share) for name, count in now.instances.items()}
    return replace(
        now, at_s=NOW - 60 * minutes, instances=counts, price_per_hour=now.price_per_hour * share,
        oldest_wait_s=now.oldest_wait_s * share,
    )  # fmt: skip


def nothing() -> FakeView:
    """A dispatcher that has just begun on an empty cluster."""
    return view(state(settings=MENU))


def night() -> FakeView:
    """Three instances: one runs, one is idle, one is held, and nobody has to get up."""
    held = OperatorNote(actor="erika", reason="looking at a kernel log", at="2027-01-15T03:10:00Z")
    shown = state(
        container(uuid(1), ContainerState.RUNNING, 1 << 60),
        instance("compute-zbasi-000000000000001", Phase.READY, uuid(1), type="medium", price=0.2),
        instance("compute-zbasi-000000000000002", type="small", price=0.1),
        instance("compute-zbasi-000000000000003", type="large", price=0.4, idle_behavior=IdleBehavior.HOLD, operator=held),
        settings=MENU,
    )
    return view(
        shown,
        FakeEntry(text="compute-zbasi-000000000000001 is asked for", instance="compute-zbasi-000000000000001", at_s=NOW - 900),
        FakeEntry(
            text="starts", container=uuid(1), instance="compute-zbasi-000000000000001", at_s=NOW - 100, kind="process",
        ),
        FakeEntry(
            text="idle behaviour run → hold (erika: looking at a kernel log)", instance="compute-zbasi-000000000000003",
            at_s=NOW - 50, level=30,
        ),
    )  # fmt: skip


def incident() -> FakeView:
    """Quota refused, destroys that do not end, an instance that does not answer, leftovers, a hold that everybody forgot."""
    waiting = [container(uuid(number), priority=(1 << 59) + number, requirements=wants(4)) for number in range(100, 138)]
    stuck = Destroy(
        cause=DestroyCause.IDLE, reason="idle for 60 s", since_s=NOW - 1500, sent_s=NOW - 5, attempts=9,
        error="OperationNotAllowed: the resource is locked",
    )  # fmt: skip
    forgotten = OperatorNote(actor="max", reason="try again on Monday", at="2026-12-01T00:00:00Z")
    shown = state(
        *waiting,
        container(uuid(1), ContainerState.RUNNING, 1 << 60),
        instance("compute-zbasi-000000000000001", Phase.READY, uuid(1), type="medium", price=0.2),
        instance("compute-zbasi-000000000000004", Phase.SHUTDOWN, type="large", price=0.4, destroy=stuck),
        instance(
            "compute-zbasi-000000000000005", type="large", price=0.4, answered_s=NOW - 400, reached_s=NOW - 400,
            probe_failures=40, probe_error="no route to host",
        ),
        instance("compute-zbasi-000000000000006", type="small", price=0.1, idle_behavior=IdleBehavior.HOLD, operator=forgotten),
        instance("compute-zbasi-000000000000007", Phase.CREATING, type="medium", price=0.2, phase_since_s=NOW - 20),
        settings=MENU,
    )  # fmt: skip
    quota = Holdoff(
        call="create", key="*", kind=HoldoffKind.QUOTA, until_s=NOW + 130, since_s=NOW - 700, strikes=5,
        reason="OperationNotAllowed: approved Total Regional Cores quota (100) is reached in westeurope",
    )  # fmt: skip
    disk = Leftover(id="/subscriptions/0/disks/compute-zbasi-0000-os", kind="disk")
    return view(
        replace(
            shown, holdoffs=Map([("create *", quota)]),
            cloud=replace(shown.cloud, leftovers={disk.id: KnownLeftover(leftover=disk, first_s=NOW - 7200)}),
            reports={"create": CallReport(at_s=NOW - 10, left=12.0, limit=100.0, usage=100.0)},
        ),
        FakeEntry(text=f"no create for everything for 130 s: quota (5 in a row): {quota.reason}", at_s=NOW - 30, level=30),
        FakeEntry(
            text="cannot be destroyed: OperationNotAllowed: the resource is locked", at_s=NOW - 5, level=40,
            instance="compute-zbasi-000000000000004",
        ),
        booted={"medium": {"success": 5, "failure": 3}},
    )  # fmt: skip


def hostile() -> FakeView:
    """Names, reasons and errors that try to become a part of the page."""
    note = OperatorNote(actor="<b>eve</b>", reason="\x1b[31m<img src=x onerror=alert(1)>", at="2027-01-15T07:00:00Z")
    shown = state(
        container(uuid(1), last_error="<script>alert(2)</script>"),
        instance(HOSTILE, type="medium", price=0.2, idle_behavior=IdleBehavior.HOLD, operator=note, probe_failures=3,
                 probe_error="\x1b]0;owned\x07<svg onload=alert(3)>" + "x" * 900),
        settings=MENU,
    )  # fmt: skip
    return view(shown, FakeEntry(text="<marquee>\x1b[2Jhello</marquee>", instance=HOSTILE, at_s=NOW - 5))


def crowd(instances: int = 5000, containers: int = 10_000) -> FakeView:
    """A large site that is full: every instance runs a container, and twice as many wait."""
    from tests.bench.states import fleet, queue_of, with_queue

    house = fleet(instances, busy=True, max_instances=instances)
    shown = with_queue(house, queue_of(containers))
    made = view(shown, *(FakeEntry(text=f"something happened {number}", at_s=house.now_s) for number in range(50)))
    made.now_s = house.now_s
    return made


SCENES = {"nothing": nothing, "night": night, "incident": incident, "hostile": hostile}
