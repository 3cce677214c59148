"""What the contract tests made, they take away again: also what the cloud makes only after they had looked."""

from __future__ import annotations

import random

import pytest
from _pytest.outcomes import Failed
from stub_contract import settings

from dispatcher.contract.cloud import Cloud, Surroundings, call
from dispatcher.driver import Call, InstanceType, Listing
from drivers.stub import StubCloud, StubDriver, StubKnobs

TYPE = InstanceType(name="small", provider_type="small", vcpus=1, ram_bytes=1 << 30)


class ArrivesLate(StubDriver):
    """A create that was broken off is still on its way, and comes to the cloud before the list with this number is answered."""

    arrives_before_list = 0
    lists = 0

    def list(self, call: Call) -> Listing:
        self.lists += 1
        if self.lists == self.arrives_before_list:
            self.create(self.late, call)
        return super().list(call)


@pytest.fixture
def cloud() -> Cloud:
    now_s = [0.0]

    def pause(seconds: float) -> None:
        now_s[0] += seconds

    stub = StubCloud(now=lambda: now_s[0], random=random.Random(3), knobs=StubKnobs.kind(), pause=lambda seconds: None)
    around = Surroundings(instance_type=TYPE, image_id="image", public_key=None, pause=pause, patience_s=60.0)
    return Cloud(ArrivesLate(stub, settings("set", {})), "set", around)


@pytest.mark.parametrize("number", [1, 2])
def test_what_comes_between_two_looks_is_taken_too(cloud: Cloud, number: int) -> None:
    """Before the first look, or after it was found that nothing is there."""
    cloud.driver.late, cloud.driver.arrives_before_list = cloud.request(), number
    cloud.take_away()
    assert not cloud.listed()
    assert cloud.driver.lists > number


def test_what_stays_is_told(cloud: Cloud) -> None:
    """A driver whose destroy does nothing passes no test."""
    cloud.driver.create(cloud.request(), call())
    cloud.driver.destroy = lambda instance_id, call: None
    with pytest.raises(Failed, match=r"not within 60\.0 s: everything is gone that was made in the set 'set'"):
        cloud.take_away()
