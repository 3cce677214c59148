"""States for table tests, with defaults, so that a test names only what it is about.

``NOW`` is 1000 s into the term: the dispatcher leads since 0, has polled and listed twice, and nothing is on its way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dispatcher.core import invariants, sizing
from dispatcher.core.maps import Map
from dispatcher.core.messages import Action, Event
from dispatcher.core.model import (
    CloudView,
    Container,
    ContainerRecord,
    ContainerState,
    Destroy,
    DestroyCause,
    Instance,
    Kill,
    Leadership,
    Phase,
    Process,
    ProcessPhase,
    QueueView,
    Requirements,
    State,
)
from dispatcher.core.settings import Settings
from dispatcher.core.transitions import begin, observe
from dispatcher.driver import Instance as ListedInstance
from dispatcher.driver import InstanceType

GIB = 1 << 30
NOW = 1000.0
OURS, OTHERS = "zzzzz-gj3su-our000000000000", "zzzzz-gj3su-other0000000000"
C1, C2, C3 = (f"zzzzz-dz642-00000000000000{number}" for number in (1, 2, 3))

PAGE_SEEN = {"page_s": 990.0, "page_ended_s": 990.5, "counted_s": 990.0, "waiting": 0}


def offer(name: str, vcpus: int = 4, price: float = 1.0, **more: Any) -> InstanceType:
    values = {"ram_bytes": vcpus * 4 * GIB, "included_scratch_bytes": 100 * GIB, **more}
    return InstanceType(name=name, provider_type=name, vcpus=vcpus, price=price, **values)


def settings(*offers: InstanceType, **changes: Any) -> Settings:
    menu = {each.name: each for each in offers or (offer("t4"),)}
    base = Settings(instance_types=menu, reserve_extra_ram_bytes=0, local_keep_blob_buffers_per_vcpu=0, instance_set_id="ours")
    return replace(base, **changes)


def wants(vcpus: int = 1, **more: Any) -> Requirements:
    return Requirements(vcpus=vcpus, **{"ram_bytes": GIB, **more})


def container(uuid: str = C1, state: ContainerState = ContainerState.QUEUED, priority: int = 1, **more: Any) -> Container:
    """Read, fitted and seen at 900; ours when Locked or Running."""
    ours = state in (ContainerState.LOCKED, ContainerState.RUNNING)
    values = {"ours": ours, "locked_term": 1 if ours else 0, "requirements": wants(), "observed_s": 900.0, **more}
    runnable = 900.0 if priority > 0 and not state.final else None
    return Container(uuid=uuid, state=state, priority=priority, first_seen_s=900.0, runnable_since_s=runnable, **values)


def instance(name: str = "i1", phase: Phase = Phase.READY, *running: str, **more: Any) -> Instance:
    """Up since 500, listed and probed at 990, with these containers running."""
    ready_s = 500.0 if phase in (Phase.READY, Phase.SHUTDOWN) else None
    values: dict[str, Any] = {
        "type": "t4", "id": f"id-{name}" if phase is not Phase.CREATING else None, "address": f"10.0.0.{name[-1]}",
        "phase_since_s": 500.0, "appeared_s": 100.0, "create_changed_s": 100.0, "listed_s": 990.0, "ever_listed": True,
        "probed_s": 990.0, "answered_s": 990.0, "reached_s": 990.0, "processes_listed_s": 990.0, "ready_s": ready_s,
        "booted": ready_s is not None, "busy_s": 990.0, "tags": {"ArvadosIdleBehavior": "run"},
        "processes": {uuid: process(uuid) for uuid in running},
    }  # fmt: skip
    if phase is Phase.CREATING:
        values |= {"creating": True, "address": None, "ever_listed": False, "tags": {}}
    if phase is Phase.SHUTDOWN:
        values["destroy"] = Destroy(cause=DestroyCause.IDLE, reason="idle", since_s=980.0, sent_s=980.0, attempts=1)
    return Instance(name=name, phase=phase, **{**values, **more})


def process(uuid: str, phase: ProcessPhase = ProcessPhase.RUNNING, **more: Any) -> Process:
    return Process(uuid=uuid, phase=phase, **{"since_s": 900.0, "changed_s": 900.0, **more})


def kill(**more: Any) -> Kill:
    return Kill(**{"reason": "because", "since_s": 990.0, "sent_s": 990.0, **more})


def state(*things: Container | Instance, **changes: Any) -> State:
    """The State of these containers and instances: fitted, bound at both ends, strays found; it obeys every law."""
    chosen = changes.pop("settings", settings())
    containers = [_fitted(thing, chosen) for thing in things if isinstance(thing, Container)]
    bound: dict[str, dict[str, Any]] = {}
    runs = {uuid: i.name for i in things if isinstance(i, Instance) for uuid in i.processes}
    placed = [replace(c, instance=c.instance or runs.get(c.uuid)) for c in containers]
    for each in placed:
        if each.instance is not None:
            bound.setdefault(each.instance, {})[each.uuid] = each.fit.need if each.fit is not None else None
    instances = [replace(i, bound=bound.get(i.name, {})) for i in things if isinstance(i, Instance)]
    known = {c.uuid for c in containers}
    made = State(
        settings=chosen,
        containers=Map((c.uuid, c) for c in placed),
        instances=Map((i.name, i) for i in instances),
        strays=Map((uuid, name) for uuid, name in runs.items() if uuid not in known),
        queue=QueueView(
            token_uuid=OURS, polled_s=990.0, poll_ended_s=990.5, shown_s=990.5, changed_s=900.0, backlog=False, **PAGE_SEEN
        ),
        cloud=CloudView(listed_s=990.0, first_listed_s=10.0, confirmed_s=990.0, list_ended_s=990.5),
        leadership=Leadership(leading=True, term=1, since_s=0.0),
    )
    made = _changed(made, changes)
    invariants.check(made)
    return made


def _fitted(each: Container, chosen: Settings) -> Container:
    if each.requirements is None or each.fit is not None:
        return each
    return replace(each, fit=sizing.fit(each.requirements, chosen))


def _changed(made: State, changes: dict[str, Any]) -> State:
    """``queue``, ``cloud`` and ``leadership`` take the fields that differ; anything else is taken as it is."""
    parts = {name: replace(getattr(made, name), **fields) for name, fields in changes.items() if isinstance(fields, dict)}
    return replace(made, **{**changes, **parts})


def record(uuid: str = C1, state: ContainerState = ContainerState.QUEUED, priority: int = 1, **more: Any) -> ContainerRecord:
    """As a poll shows it: Locked and Running by us."""
    locked = state in (ContainerState.LOCKED, ContainerState.RUNNING)
    values = {"locked_by_uuid": OURS if locked else None, "lock_count": 0, **more}
    return ContainerRecord(uuid=uuid, state=state, priority=priority, **values)


def listed(name: str = "i1", **more: Any) -> ListedInstance:
    values = {
        "id": f"id-{name}", "provider_type": "t4", "address": f"10.0.0.{name[-1]}",
        "tags": {"ArvadosInstanceType": "t4", "ArvadosIdleBehavior": "run", "ArvadosInstanceSetID": "ours"},
    }  # fmt: skip
    return ListedInstance(name=name, **{**values, **more})


def after(before: State, *messages: Event | Action, now: float = NOW) -> State:
    """The State after these, each of which leaves it lawful."""
    for message in messages:
        now = max(now, NOW)
        changed = begin(before, message, now) if isinstance(message, Action) else observe(before, message, now)
        invariants.check(changed)
        before = changed
    return before


def names(actions: Iterable[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]
