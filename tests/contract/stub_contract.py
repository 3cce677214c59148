"""The stub as an author's fake: in a time that passes only while somebody waits, and ready to do each fault that is asked for."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.contract import DriverContract, Fault
from dispatcher.contract.suite import TAG_PREFIX, DriverFactory, Provoke
from dispatcher.driver import DriverSettings
from drivers.stub import StubCloud, StubDriver, StubKnobs

FAULTS: dict[Fault, dict[str, Any]] = {
    Fault.QUOTA: {"quota_instances": 0},
    Fault.CAPACITY: {"capacity_by_type": {"small": 0}},
    Fault.PACE: {"calls_per_minute": {"create": 0}},
    Fault.LOGIN: {"denied": True},
    Fault.LOST_ANSWER: {"lost_answer_rate": 1.0},
    Fault.BROKEN_PAGE: {"partial_list_rate": 1.0},
    Fault.LEFTOVER: {"leftover_rate": 1.0},
    Fault.PACE_OF_ALL: {"calls_per_minute": {"create": 0, "list": 0, "set_tags": 0, "destroy": 0}},
    Fault.SILENCE: {"create_takes_s": 1e6, "list_takes_s": 1e6, "set_tags_takes_s": 1e6, "destroy_takes_s": 1e6},
    Fault.NONSENSE: {"lost_answer_rate": 1.0, "list_error_rate": 1.0},
    Fault.LATE_FAILURE: {"late_failure_rate": 1.0},
}


def settings(set_id: str, parameters: dict[str, Any]) -> DriverSettings:
    log = logging.getLogger("test.driver")
    return DriverSettings(parameters=parameters, instance_set_id=set_id, tag_prefix=TAG_PREFIX, log=log)


class StubContract(DriverContract):
    """Subclasses say with which knobs."""

    knobs = StubKnobs.kind()
    driver_class: type[StubDriver] = StubDriver
    now_s = 0.0

    @pytest.fixture
    def stub_cloud(self) -> StubCloud:
        self.now_s = 0.0
        def no_wait(seconds: float) -> None:
            """Calls know that they take their time."""

        return StubCloud(now=lambda: self.now_s, random=random.Random(3), knobs=self.knobs, pause=no_wait)

    @pytest.fixture
    def driver_factory(self, stub_cloud: StubCloud) -> DriverFactory:
        return lambda set_id: self.driver_class(stub_cloud, settings(set_id, {}))

    @pytest.fixture
    def pause(self) -> Callable[[float], None]:
        def let_pass(seconds: float) -> None:
            self.now_s += seconds

        return let_pass

    @pytest.fixture
    def provoke(self, stub_cloud: StubCloud) -> Provoke:
        @contextlib.contextmanager
        def misbehaving(fault: Fault) -> Iterator[None]:
            before = stub_cloud.knobs
            stub_cloud.knobs = replace(before, **FAULTS[fault])
            yield
            stub_cloud.knobs = before
            self.now_s += 60.0

        return misbehaving
