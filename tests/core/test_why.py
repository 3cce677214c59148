"""Why one container waits: what was considered, and what would have to change. What is named is true."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from dispatcher.core import schedule, sizing
from dispatcher.core.maps import Map
from dispatcher.core.model import ContainerState, HoldoffKind, IdleBehavior, Phase, State
from dispatcher.core.paces import Holdoff, Spending
from dispatcher.core.refusals import quota_of
from dispatcher.core.why import Change, Why, why
from tests.core.build import C1, C2, GIB, NOW, container, instance, offer, settings, state, wants

QUEUED, LOCKED, RUNNING = ContainerState.QUEUED, ContainerState.LOCKED, ContainerState.RUNNING
ZERO = "zzzzz-dz642-00000000000000"
CORES = (
    "Operation could not be completed as it results in exceeding approved standardDSv5Family Cores quota. Additional details - "
    "Deployment Model: Resource Manager, Location: westeurope, Current Limit: 10, Current Usage: 10, Additional Required: 4"
)


def held(key="*", kind=HoldoffKind.QUOTA, reason=CORES, for_s=27.0):
    made = Holdoff(call="create", key=key, kind=kind, until_s=NOW + for_s, since_s=NOW - 10, strikes=1, reason=reason)
    return Map([(f"create {key}", made)])


def running(name="i1", vcpus=4, which="a", **more):
    """An instance with a container that fills it."""
    uuid = f"{ZERO}{which}"
    return container(uuid, RUNNING, requirements=wants(vcpus)), instance(name, Phase.READY, uuid, **{"price": 1.0, **more})


def told(before: State, uuid: str = C1) -> Why:
    found = why(before, uuid, NOW)
    assert found is not None
    return found


def keys(found: Why) -> set[tuple[str, str]]:
    return {(change.kind, change.key) for change in found.changes}


# ------------------------------------------------------------------------------------------------------- to try it for real


def place(before: State, uuid: str, now: float = NOW) -> bool:
    """Whether the pass that decides gives it a place, with instances asked for as they would be."""
    numbers = iter(range(10_000))
    found = schedule.decide(before, now, lambda: (f"n{next(numbers)}", "s"), everyone=True)
    reason = found.reasons.get(uuid)
    return reason is None or reason.cause in ("creating", "booting", "locking", "starting", "moving")


SETTINGS = {
    "MaxInstances": "max_instances", "InitialQuotaEstimate": "initial_quota_estimate", "MaxPricePerHour": "max_price_per_hour",
    "MaxPricePerDay": "max_price_per_day", "SpendingSoftShare": "spending_soft_share",
    "MaximumPriceFactor": "maximum_price_factor",
    "SupervisorFraction": "supervisor_fraction", "MaxRunningContainersPerInstance": "max_running_containers_per_instance",
}  # fmt: skip
ASKS = {"vcpus": "vcpus", "ram": "ram_bytes", "tmp": "tmp_bytes", "preemptible": "preemptible"}


def concerned(hold: Holdoff, change: Change) -> bool:
    """Whether a refusal is the one that the cloud would take back."""
    if change.kind == "quota":
        return hold.kind is HoldoffKind.QUOTA and (quota_of(hold.reason).name or hold.key) == change.key
    return hold.kind is HoldoffKind.DENIED if change.key == "credentials" else hold.key == change.key


def applied(before: State, uuid: str, change: Change) -> tuple[State, float]:
    """The change done by somebody who knows nothing but the change itself."""
    held_container = before.containers[uuid]
    asks, chosen = held_container.requirements, before.settings
    if change.kind == "time":
        return before, change.value + 0.01
    if change.kind in ("quota", "cloud"):
        return replace(before, holdoffs=Map((n, h) for n, h in before.holdoffs.items() if not concerned(h, change))), NOW
    if change.kind == "instance" and change.value == "run":
        released = replace(before.instances[change.key], idle_behavior=IdleBehavior.RUN)
        return replace(before, instances=before.instances.set(change.key, released)), NOW
    if change.kind == "instance" and change.value == "empty":
        emptied = replace(before.instances[change.key], bound={}, processes={})
        gone = [c.uuid for c in before.containers.all() if c.instance == change.key]
        left = Map((c.uuid, c) for c in before.containers.all() if c.uuid not in gone)
        return replace(before, containers=left, instances=before.instances.set(change.key, emptied)), NOW
    if change.kind == "container" and change.key == "priority":
        wanted = replace(held_container, priority=change.value)
        return replace(before, containers=before.containers.set(uuid, wanted)), NOW
    if change.kind == "container":
        values = change.value if isinstance(change.value, dict) else {change.key: change.value}
        asks = replace(asks, **{ASKS[key]: int(value) if key != "preemptible" else value for key, value in values.items()})
    elif change.key == "AllowedImages":
        chosen = replace(chosen, allowed_images=(*chosen.allowed_images, change.value))
    elif change.key == "InstanceTypes":
        big = offer(
            "new", int(change.value["VCPUs"]), ram_bytes=int(change.value["RAM"]), preemptible=asks.preemptible,
            included_scratch_bytes=int(change.value["IncludedScratch"]), price=change.value["Price"],
        )  # fmt: skip
        chosen = replace(chosen, instance_types={**chosen.instance_types, "new": big})
    else:
        chosen = replace(chosen, **{SETTINGS[change.key]: change.value})
    fitted = [
        replace(c, requirements=asks if c.uuid == uuid else c.requirements)
        for c in before.containers.all()
    ]
    fitted = [replace(c, fit=sizing.fit(c.requirements, chosen)) for c in fitted]
    return replace(before, settings=chosen, containers=Map((c.uuid, c) for c in fitted)), NOW


def prove(before: State, uuid: str = C1) -> Why:
    """Every change that is named leads to a place; without any there is none."""
    found = told(before, uuid)
    if found.changes:
        assert before.containers[uuid].priority < 1 or not place(before, uuid)
    for change in found.changes:
        after, now = applied(before, uuid, change)
        assert place(after, uuid, now), change
    return found


# ------------------------------------------------------------------------------------------------------------------ a table

TWO = settings(offer("t4"), offer("t8", 8, price=1.8), max_instances=1)
WIDE = settings(offer("t4"), offer("t8", 8, price=1.8), maximum_price_factor=1.2)
FILLED = running()
SUPERVISOR = container(f"{ZERO}s", RUNNING, requirements=wants(1, supervisor=True))

WAITING = {
    "max-instances": (state(container(requirements=wants(4)), *FILLED, settings=TWO), {("settings", "MaxInstances")}),
    "initial-quota": (
        state(container(requirements=wants(4)), *FILLED, settings=settings(initial_quota_estimate=1, max_instances=0)),
        set(),  # one instance that is up lets another one be made
    ),
    "quota": (state(container(), holdoffs=held("type:t4"), settings=WIDE), {
        ("quota", "standardDSv5Family"), ("time", "create type:t4"), ("settings", "MaximumPriceFactor")}),
    "no-capacity": (state(container(), holdoffs=held("type:t4", HoldoffKind.CAPACITY, "none"), settings=WIDE), {
        ("cloud", "type:t4"), ("time", "create type:t4"), ("settings", "MaximumPriceFactor")}),
    "rate-limit": (state(container(), holdoffs=held("*", HoldoffKind.RATE, "slower")), {
        ("cloud", "*"), ("time", "create type:t4")}),
    "cloud-credentials": (state(container(), holdoffs=held("*", HoldoffKind.DENIED, "no")), {
        ("cloud", "credentials"), ("time", "create type:t4")}),
    "unsatisfiable": (state(container(requirements=wants(4, ram_bytes=100 * GIB))), {
        ("container", "ram"), ("settings", "InstanceTypes")}),
    "image-not-allowed": (
        state(container(requirements=wants(image_id="mine")), settings=settings(allowed_images=("gpu-*",))),
        {("settings", "AllowedImages")},
    ),
    "price-hour": (state(container(requirements=wants(4)), *FILLED, settings=settings(max_price_per_hour=1.5)), {
        ("settings", "MaxPricePerHour"), ("instance", "i1")}),
    "price-day": (
        state(container(requirements=wants(4)), *FILLED, settings=settings(max_price_per_day=0.5),
              spending=Spending(day_began_s=0.0, closed=0.7)),
        {("settings", "MaxPricePerDay"), ("time", "MaxPricePerDay"), ("instance", "i1")},
    ),
    "supervisors": (
        state(SUPERVISOR, container(requirements=wants(1, supervisor=True)), instance("i1", Phase.READY, SUPERVISOR.uuid),
              settings=settings(max_instances=3, supervisor_fraction=0.4)),
        {("settings", "SupervisorFraction"), ("container", "supervisors")},
    ),
    "priority-zero": (state(container(priority=0)), {("container", "priority")}),
    "next-attempt": (state(container(not_before_s=NOW + 20)), {("time", "attempt")}),
}  # fmt: skip


@pytest.mark.parametrize("cause", WAITING)
def test_each_reason_says_what_would_have_to_change(cause):
    """And every change that is named is true."""
    before, wanted = WAITING[cause]
    if not wanted:
        assert told(before).cause == "creating"
        return
    found = told(before)
    assert found.cause == cause
    assert wanted <= keys(found), found.changes
    for change in found.changes:
        if change.key != "supervisors":  # which of them ends is nobody's choice
            after, now = applied(before, C1, change)
            assert place(after, C1, now), change


def test_the_drain_of_an_instance_is_named():
    """It would have room, and an operator keeps work away."""
    idle = instance("i7", idle_behavior=IdleBehavior.DRAIN)
    before = state(container(), idle, settings=settings(max_instances=1))
    found = prove(before)
    assert ("instance", "i7") in keys(found)
    assert next(change.text for change in found.changes if change.key == "i7") == "drain of i7 ends"


def test_numbers_count_those_who_are_served_before():
    """The third in the queue needs three instances more, and not one."""
    uuids = [f"{ZERO}{number}" for number in range(4, 7)]
    before = state(*(container(uuid, requirements=wants(4)) for uuid in uuids), *FILLED, settings=TWO)
    assert [next(c.value for c in prove(before, uuid).changes if c.key == "MaxInstances") for uuid in uuids] == [2, 3, 4]


def test_who_waits_far_behind_is_told_how_many_come_first():
    """A thousand trials of a long queue would keep who asks waiting, and say less."""
    uuids = [f"zzzzz-dz642-{number:015d}" for number in range(1200)]
    before = state(*(container(uuid, requirements=wants(4)) for uuid in uuids), *FILLED, settings=TWO)
    assert [(c.kind, c.key, c.value) for c in told(before, uuids[-1]).changes] == [("queue", "ahead", 1199)]
    assert told(before, uuids[0]).changes[0].key == "MaxInstances"


def test_a_quota_says_how_much_of_it_where():
    """In the cloud's own words, and in numbers for machines."""
    change = next(c for c in told(state(container(), holdoffs=held("type:t4"))).changes if c.kind == "quota")
    assert change.text == "4 more cores of quota for standardDSv5Family in westeurope"
    assert (change.key, change.value) == ("standardDSv5Family", 4.0)


def test_a_smaller_container_would_fit_beside_others():
    """Where a limit is reached, what is left on an instance is something."""
    half = container(C2, RUNNING, requirements=wants(2))
    before = state(half, container(requirements=wants(4)), instance("i1", Phase.READY, C2), settings=settings(max_instances=1))
    assert ("container", "vcpus") in keys(prove(before))


def test_the_types_that_were_considered_say_why_they_are_not_used():
    """All of them, cheapest first."""
    menu = settings(offer("t2", 2, price=0.5), offer("t4"), offer("t8", 8, price=1.8), max_instances=3)
    before = state(container(requirements=wants(4)), holdoffs=held("type:t4"), settings=menu)
    small, fits, dear = told(before).considered
    assert [small.type, fits.type, dear.type] == ["t2", "t4", "t8"]
    assert small.why_not == "it has 2 of 4 VCPUs"
    assert fits.why_not.startswith("quota: Operation could not be completed")
    assert dear.why_not == "it costs 1.80 times the cheapest that fits, and MaximumPriceFactor is 1.5"


def test_who_waits_for_a_boot_is_told_for_which():
    """Nothing has to change but time, and the type that was chosen stands out."""
    before = state(container(state=LOCKED, instance="i1"), instance("i1", Phase.BOOTING, phase_since_s=NOW - 20))
    found = told(before)
    assert (found.cause, found.waits_for) == ("booting", "i1 boots")
    assert [(c.kind, c.key, c.value) for c in found.changes] == [("instance", "i1", "ready")]
    assert [(c.type, c.why_not) for c in found.considered] == [("t4", "")]


def test_who_runs_or_is_unknown_waits_for_nothing():
    """There is nothing to say of them here."""
    before = state(*FILLED)
    assert why(before, FILLED[0].uuid, NOW) is None
    assert why(before, C1, NOW) is None


def test_who_does_not_lead_says_so():
    """Another dispatcher knows."""
    found = told(state(container(), leadership={"leading": False}))
    assert (found.cause, [change.kind for change in found.changes]) == ("not-leading", ["leader"])


def drawn(seed: int) -> State:
    """Some instances, some containers, some limits that are reached: whatever comes."""
    chance = random.Random(seed)
    menu = [offer(f"t{vcpus}", vcpus, price=round(vcpus * chance.uniform(0.2, 0.4), 2)) for vcpus in (2, 4, 8)]
    busy = chance.randrange(4)
    chosen = settings(
        *menu, max_instances=chance.choice((0, busy, busy + 1)), maximum_price_factor=chance.choice((1.0, 1.5, 3.0)),
        max_price_per_hour=chance.choice((0.0, 1.0, 3.0)), supervisor_fraction=chance.choice((0.0, 0.3)),
    )  # fmt: skip
    things: list = []
    for number in range(busy):
        kind = chance.choice((4, 8))
        behavior = chance.choice((IdleBehavior.RUN, IdleBehavior.RUN, IdleBehavior.HOLD))
        vcpus = chance.choice((kind // 2, kind))
        held_by, machine = running(f"i{number}", vcpus, str(number), type=f"t{kind}", idle_behavior=behavior)
        things += [held_by, machine]
    for number in range(chance.randrange(1, 5)):
        asks = wants(chance.choice((1, 2, 4, 8, 12)), ram_bytes=chance.choice((1, 1, 20)) * GIB, supervisor=chance.random() < 0.2)
        things.append(container(f"{ZERO}w{number}"[-27:], requirements=asks, priority=chance.choice((1, 2))))
    holdoffs: Map = Map()
    for key in chance.sample(["*", "type:t2", "type:t4", "type:t8"], chance.randrange(3)):
        holdoffs = holdoffs.update(held(key, chance.choice((HoldoffKind.QUOTA, HoldoffKind.CAPACITY, HoldoffKind.RATE))).items())
    return state(*things, settings=chosen, holdoffs=holdoffs, cloud={"accepted": Map((each.name, NOW) for each in menu)})


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_named_is_true(seed):
    """In States that nobody thought of."""
    before = drawn(seed)
    for each in before.containers.all():
        if each.state is QUEUED:
            found = told(before, each.uuid)
            for change in found.changes:
                if change.key == "supervisors" or (change.kind == "instance" and change.value == "ready"):
                    continue
                after, now = applied(before, each.uuid, change)
                assert place(after, each.uuid, now), (found.cause, change)
