"""Our own drivers pass the tests that every author runs: the stub kind and lagging, the local driver with real processes."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dispatcher.contract import DriverContract
from dispatcher.contract.suite import TAG_PREFIX, DriverFactory
from dispatcher.driver import DriverSettings
from drivers.local import open as open_local
from drivers.stub import StubCloud, StubDriver, StubKnobs


def settings(set_id: str, parameters: dict[str, Any]) -> DriverSettings:
    log = logging.getLogger("test.driver")
    return DriverSettings(parameters=parameters, instance_set_id=set_id, tag_prefix=TAG_PREFIX, log=log)


class StubContract(DriverContract):
    """The stub in a time that passes only while somebody waits."""

    knobs = StubKnobs.kind()

    @pytest.fixture
    def stub_cloud(self) -> StubCloud:
        self.now_s = 0.0
        return StubCloud(now=lambda: self.now_s, random=random.Random(3), knobs=self.knobs)

    @pytest.fixture
    def driver_factory(self, stub_cloud: StubCloud) -> DriverFactory:
        return lambda set_id: StubDriver(stub_cloud, settings(set_id, {}))

    @pytest.fixture
    def pause(self) -> Callable[[float], None]:
        def let_pass(seconds: float) -> None:
            self.now_s += seconds

        return let_pass


class TestKindStub(StubContract):
    test_host_keys_are_those_of_the_instance = None  # not declared by it; the lagging one does


class TestLaggingStub(StubContract):
    """Lists that show the past and destroys that take long are within the contract."""

    test_an_idempotent_create_makes_one_instance = None  # not declared by it; the kind one does

    knobs = StubKnobs.kind(
        list_lag_s=5.0,
        max_destroy_s=20.0,
        boot_s=10.0,
        offers_host_keys=True,
        create_is_idempotent=False,
    )


class TestLocal(DriverContract):
    test_a_quota_group_is_a_text = None  # not declared by it; the stub does

    @pytest.fixture
    def driver_factory(self, tmp_path: Path) -> DriverFactory:
        return lambda set_id: open_local(settings(set_id, {"Folder": str(tmp_path), "BootTime": 0}))

    @pytest.fixture
    def patience_s(self) -> float:
        return 20.0
