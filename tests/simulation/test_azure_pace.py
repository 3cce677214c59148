"""A thousand machines asked for at the pace that Azure's own limits allow: the production core in virtual time, and before the
stub cloud the token buckets that Azure publishes, whose headers are read by the Azure driver's own reader."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from dispatcher.core.failures import failure_of
from dispatcher.driver import Call, RateLimited
from dispatcher.runtime.ports import CloudCallFailed
from dispatcher.simulation.world import Delays
from drivers.azure.driver import LIMITS
from drivers.azure.headers import pace_of
from drivers.stub import StubKnobs
from tests.fake_azure.buckets import Throttle
from tests.simulation.worlds import Town, offer, settings, wants

MACHINES = int(os.environ.get("AZURE_PACE_MACHINES", "400"))  # a thousand take two minutes of one core
PAGE = 100
FLOOR_S = (MACHINES - 200) / 10  # what Azure's own limits take: 200 at once and ten a second
MOST_S = FLOOR_S * 1.05  # 84 s for a thousand
HOT = "creates within"  # in a storm, so many at once are a loop that runs hot; here they are asked for
Answer = TypeVar("Answer")


class Throttled:
    """A ``CloudPort`` behind Azure's buckets. Each call draws the requests that the Azure driver makes for it."""

    def __init__(self, town: Town) -> None:
        self._inner, self._clock, self._stub = town.cloud, town.clock, town.stub
        self.throttle = Throttle()
        self.refused: list[float] = []
        self.asked: Counter[str] = Counter()
        self.accepted_s: list[float] = []

    def _pass(self, call: Call, *requests: tuple[str, str, str]) -> None:
        for method, operation, machine in requests:
            now = self._clock.now_s
            self.asked[operation] += 1
            verdict = self.throttle.take(now, method, operation, region="eastus", machine=machine)
            refused = verdict.refused
            pace = pace_of(refused.headers if refused is not None else verdict.headers)
            if pace.remaining is not None:
                told = call.calls_remaining
                call.calls_remaining = pace.remaining if told is None else min(told, pace.remaining)
            if refused is not None:
                self.refused.append(now)
                call.retry_after_s = pace.retry_after_s
                error = RateLimited(refused.message, retry_after_s=pace.retry_after_s)
                raise CloudCallFailed(failure_of(error, self._clock.monotonic))

    def create(self, request: Any, call: Call) -> Any:
        self._pass(call, ("PUT", "create vm", request.name))
        created = self._inner.create(request, call)
        self.accepted_s.append(self._clock.now_s)
        return created

    def list(self, call: Call) -> Any:
        pages = 1 + len(self._stub.existing()) // PAGE
        self._pass(call, *[("GET", "list vms", "")] * pages, *[("GET", "list network cards", "")] * pages)
        return self._inner.list(call)

    def poll_create(self, operation: str, call: Call) -> Any:
        self._pass(call, ("GET", "get operation", operation))
        return self._inner.poll_create(operation, call)

    def destroy(self, instance_id: str, call: Call) -> None:
        self._pass(call, ("GET", "get vm", instance_id), ("DELETE", "delete vm", instance_id))
        self._inner.destroy(instance_id, call)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._inner, name)


def world() -> tuple[Town, Throttled]:
    chosen = settings(offer("a1", 1), max_instances=0, sync_interval_s=60.0, timeout_idle_s=600.0)
    knobs = StubKnobs.kind(boot_s=600.0, address_s=600.0, container_s=3600.0, polls_creates=False)
    town = Town(chosen, knobs=knobs)
    town.delays = Delays(send=(0.01, 0.05), answer=(0.1, 0.4))
    town.settings = replace(town.settings, cloud_limits=LIMITS)
    cloud = Throttled(town)
    town.cloud = cloud  # type: ignore[assignment]
    return town, cloud


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_machines_are_asked_for_at_the_pace_that_azure_allows() -> None:
    """At most a twentieth slower than the limits themselves; one call in a hundred is refused at most, and none comes too early.
    A thousand: ``AZURE_PACE_MACHINES=1000``, where the limits take 80 s."""
    town, cloud = world()
    town.start_dispatcher()
    town.run(5.0)
    for _ in range(MACHINES):
        town.submit(wants(), length_s=3600.0)
    assert town.run(300.0, until=lambda: len(cloud.accepted_s) >= MACHINES), len(cloud.accepted_s)
    took_s = cloud.accepted_s[-1] - cloud.accepted_s[0]
    assert FLOOR_S - 1.0 < took_s <= MOST_S
    assert len(cloud.refused) <= sum(cloud.asked.values()) / 100
    assert sum(cloud.throttle.impatience.values()) == 0
    assert len(town.stub.existing()) == MACHINES
    assert [text for text in town.violations.found if HOT not in text] == []
