"""Our own drivers pass the tests that every author runs: the stub kind and lagging, the local driver with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from stub_contract import StubContract, settings

from dispatcher.contract import DriverContract
from dispatcher.contract.suite import DriverFactory
from drivers.local import open as open_local
from drivers.stub import StubKnobs


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
