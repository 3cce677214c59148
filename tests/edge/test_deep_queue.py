"""Fifty thousand in the embedded queue, behind real HTTP: the production planner and client in virtual time, with every list
request counted where it arrives.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from dispatcher.core import cadence, window
from dispatcher.core import messages as m
from dispatcher.core.maps import Map
from dispatcher.core.model import ContainerState, Holdoff, HoldoffKind, State
from dispatcher.core.settings import Settings
from dispatcher.driver import InstanceType
from dispatcher.edge.arvados import ArvadosQueue
from dispatcher.edge.http import Endpoint
from dispatcher.embedded.resources import CONTAINERS
from dispatcher.runtime.perform import Perform, Ports
from dispatcher.runtime.store import Store
from tests.edge.queue_server import Asked, Reply, serve
from tests.embedded.desk import ROOT_SECRET, WORK, Desk

pytestmark = pytest.mark.slow

GIB = 1 << 30
MANY, BLOCKED = 50_000, 5_000
SIZE = {"gpu": {"device_count": 0}, "vcpus": 1, "ram": GIB, "keep_cache_ram": 0, "keep_cache_disk": 0}
TYPES = {
    name: InstanceType(name=name, provider_type=name, vcpus=vcpus, ram_bytes=vcpus * 4 * GIB, price=float(vcpus))
    for name, vcpus in (("small", 4), ("large", 64))
}

NONE_LEFT = Holdoff(
    call="create", key="type:large", kind=HoldoffKind.CAPACITY, until_s=3600.0, since_s=0.0, strikes=1, reason="none left"
)


def number(index: int) -> str:
    return f"zzzzz-dz642-{index:015d}"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The first five thousand want an instance that cannot be had, and come before everybody else."""
    made = Desk(tmp_path_factory.mktemp("deep"))
    with made.store.write() as transaction:
        for index in range(MANY):
            first = index < BLOCKED
            born = f"2026-11-21T17:{index // 1000:02d}:{index % 1000 // 20:02d}.000000000Z"
            row = {
                "uuid": number(index), "state": "Queued", "priority": (900 if first else 100) << 50, "created_at": born,
                "modified_at": born, "runtime_constraints": SIZE | {"vcpus": 64 if first else 1}, "mounts": {},
            }  # fmt: skip
            transaction.insert(CONTAINERS, CONTAINERS.blank() | row)
    yield made
    made.store.close()


class Clock:
    """Moved by the test alone."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return self.now_s

    def utc(self) -> str:
        return ""


class House:
    """The store, the queue's planner and ``perform``; nothing else is there."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.queue = ArvadosQueue(Endpoint(url=url, token=ROOT_SECRET, server_address=""))
        chosen = Settings(instance_types=TYPES, reserve_extra_ram_bytes=0, local_keep_blob_buffers_per_vcpu=0, max_instances=64)
        state = State(settings=chosen, holdoffs=Map([(f"create {NONE_LEFT.key}", NONE_LEFT)]))
        self.store = Store(state, self.clock.monotonic, strict=True, spent=lambda: 0.0)
        nobody: Any = None
        self.perform = Perform(
            Ports(queue=self.queue, cloud=nobody, instances=nobody, clock=self.clock), self.store.snapshot
        )
        self.store.post(m.LeadershipGained())

    @property
    def state(self) -> State:
        return self.store.snapshot()

    def small(self) -> set[str]:
        """Who could run."""
        return {c.uuid for c in self.state.containers.all() if c.fit is not None and "small" in c.fit.types}

    def run(self, for_s: float, until: Any = lambda: False) -> bool:
        """What is due is done at once and takes no time; then the clock goes to when the next is due."""
        end_s = self.clock.now_s + for_s
        while self.clock.now_s < end_s:
            state = self.state
            for action in self.store.commit(cadence.plan_queue(state, self.clock.now_s), state):
                for event in self.perform.execute(action, state.leadership.term):
                    self.store.post(event)
            if until():
                return True
            self.clock.now_s = max(self.clock.now_s + 0.05, min(end_s, cadence.queue_due_s(self.state, self.clock.now_s)))
        return bool(until())


def test_50_000_in_the_embedded_queue(desk: Desk) -> None:
    """At most sixty list requests in any minute; who could run is found below the five thousand who could not; who comes to the
    top is seen with the next look; and those that wait beyond what is read are counted."""
    lists: list[float] = []
    kinds: Counter[str] = Counter()
    client = desk._client

    def answer(asked: Asked) -> Reply:
        if asked.path == "/arvados/v1/containers":
            lists.append(house.clock.now_s)
            kinds["count" if asked.fields["limit"] == "0" else "page"] += 1
        override = asked.headers.get("x-http-method-override")
        headers = {"Authorization": asked.headers["authorization"]} | ({"X-Http-Method-Override": override} if override else {})
        made = client.open(
            asked.path, method=asked.method, query_string=asked.query, data=asked.body, headers=headers,
            content_type="application/x-www-form-urlencoded",
        )  # fmt: skip
        return Reply(status=made.status_code, body=made.get_data())

    with serve(answer) as server:
        house = House(server.url)
        with closing(house.queue):
            _prove(house, desk)
    assert max(bisect_right(lists, at_s + 60.0) - index for index, at_s in enumerate(lists)) <= 60
    assert kinds["count"] >= 2


def _prove(house: House, desk: Desk) -> None:
    assert house.run(30.0, until=lambda: len(house.small()) >= 128)
    assert house.small() >= {number(BLOCKED + index) for index in range(128)}
    house.run(60.0)
    came = desk.done("root", "POST", "container_requests", {"container_request": {**WORK, "priority": 1000}})["container_uuid"]
    came_s = house.clock.now_s
    assert house.run(5.0, until=lambda: came in house.state.containers)
    assert house.clock.now_s - came_s <= 3.0
    house.run(90.0)
    assert house.state.queue.waiting == MANY + 1
    assert window.beyond(house.state) == MANY + 1 - len(house.state.containers)
    assert not [c for c in house.state.containers.all() if c.read_due and c.uuid != came]
    assert {c.state for c in house.state.containers.all()} == {ContainerState.QUEUED}
