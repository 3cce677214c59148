"""What the tests of the stub share: a clock that is set by hand, and a cloud in its time."""

from __future__ import annotations

import logging
import random

from dispatcher.driver import Call, CreateRequest, DriverSettings, InstanceType
from drivers.stub import StubCloud, StubDriver, StubKnobs, Workload

SET_ID = "zzzzz-set"
TYPE = InstanceType(name="small", provider_type="m1.small", vcpus=1, ram_bytes=1 << 30)
OTHER_TYPE = InstanceType(name="big", provider_type="x1.big", vcpus=8, ram_bytes=8 << 30)


class HandClock:
    """Stands still unless told otherwise."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class World:
    """A cloud, the driver on it, and the clock of both."""

    def __init__(self, knobs: StubKnobs, *, seed: int = 1, workload: Workload | None = None) -> None:
        self.clock = HandClock()
        self.cloud = StubCloud(now=self.clock, random=random.Random(seed), knobs=knobs, workload=workload)
        self.driver = StubDriver(self.cloud, driver_settings())

    def create(self, name: str = "vm-1", instance_type: InstanceType = TYPE) -> str:
        return self.driver.create(request(name, instance_type), call()).id

    def listed(self) -> list[str]:
        return [instance.id for instance in self.driver.list(call()).instances]

    def pass_time(self, seconds: float) -> float:
        self.clock.now_s += seconds
        self.cloud.advance(self.clock.now_s)
        return self.clock.now_s


def call() -> Call:
    return Call(timeout_s=10.0)


def driver_settings(set_id: str = SET_ID) -> DriverSettings:
    return DriverSettings(parameters={}, instance_set_id=set_id, tag_prefix="Arvados", log=logging.getLogger("test"))


def request(name: str = "vm-1", instance_type: InstanceType = TYPE, set_id: str = SET_ID) -> CreateRequest:
    return CreateRequest(
        name=name,
        instance_type=instance_type,
        image_id="image",
        tags={"ArvadosInstanceSetID": set_id, "ArvadosInstanceSecret": f"secret of {name}"},
        init_script=f"#!/bin/sh\nprintf %s 'secret of {name}' > /var/run/arvados-instance-secret\n",
        public_key=None,
    )
