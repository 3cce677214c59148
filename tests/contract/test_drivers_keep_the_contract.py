"""Our own drivers pass the tests that every author runs: the stub kind and lagging, the local driver with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_faults import local_faults
from stub_contract import StubContract, settings

from dispatcher.contract import DriverContract
from dispatcher.contract.suite import DriverFactory, Provoke
from drivers.local import open as open_local
from drivers.stub import StubKnobs


class TestKindStub(StubContract):
    knobs = StubKnobs.kind(tells_usages=True)

    test_host_keys_are_those_of_the_instance = None  # not declared by it; the lagging one does
    # It offers no notices, takes any type and has no secret; the Azure driver has them.
    test_a_notice_is_asked_for_by_one_line = None
    test_an_unknown_type_stops_only_itself = None
    test_no_secret_is_shown = None


class TestLaggingStub(StubContract):
    """Lists that show the past and destroys that take long are within the contract."""

    # Not declared by it; the kind one or the Azure driver declares them.
    test_an_idempotent_create_makes_one_instance = None
    test_usages_are_told_when_they_are_asked_for = None
    test_a_notice_is_asked_for_by_one_line = None
    test_an_unknown_type_stops_only_itself = None
    test_no_secret_is_shown = None

    knobs = StubKnobs.kind(
        list_lag_s=5.0,
        max_destroy_s=20.0,
        boot_s=10.0,
        offers_host_keys=True,
        create_is_idempotent=False,
    )


class TestLocal(DriverContract):
    # Not declared by it; the stub declares them.
    test_a_quota_group_is_a_text = None
    test_a_notice_is_asked_for_by_one_line = None
    test_an_accepted_create_comes_to_an_end = None
    test_a_leftover_is_listed_and_deleted = None
    test_another_sets_leftover_is_left_alone = None
    test_usages_are_told_when_they_are_asked_for = None
    # It is one folder of this host, takes any type, and no answer of it is lost on its way.
    test_an_unknown_type_stops_only_itself = None
    test_a_lack_of_machines_stops_no_other_type = None
    test_too_many_requests_are_told = None
    test_a_lost_answer_leaves_the_outcome_unknown = None
    test_too_many_requests_of_any_kind_are_told = None
    test_a_silent_cloud_holds_no_call = None
    test_a_page_of_a_gateway_is_no_answer = None
    test_a_create_that_fails_later_is_told = None
    test_no_secret_is_shown = None

    @pytest.fixture
    def driver_factory(self, tmp_path: Path) -> DriverFactory:
        parameters = {"Folder": str(tmp_path), "BootTime": 0, "Quota": 3}
        return lambda set_id: open_local(settings(set_id, parameters))

    @pytest.fixture
    def provoke(self, tmp_path: Path, driver_factory: DriverFactory) -> Provoke:
        return local_faults(tmp_path, driver_factory)

    @pytest.fixture
    def patience_s(self) -> float:
        return 20.0
