"""Drivers with one mistake each, as an author might make it, and the contract test that is there to find it.

Each is the stub's driver with one thing done wrong. ``test_faulty_drivers.py`` runs this file by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from mistakes_under_fire import FAULTY as UNDER_FIRE
from stub_contract import StubContract

from dispatcher.driver import (
    Call,
    CloudError,
    Created,
    CreateRequest,
    Denied,
    InstanceType,
    Leftover,
    Listing,
    NoCapacity,
    QuotaReached,
    RateLimited,
    Scope,
)
from drivers.stub import StubDriver, StubKnobs

NO_TIME_S = 0.01

# -------------------------------------------------------------------------------------------------------------------- tags


class TagsMerged(StubDriver):
    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        found = self.cloud.instances.get(instance_id)
        old = found.tags_at(self.cloud.now()) if found else {}
        super().set_tags(instance_id, {**old, **tags}, call)


class TagsCut(StubDriver):
    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        super().set_tags(instance_id, {name: value[:100] for name, value in tags.items()}, call)


class TagsOfTheLastCreate(StubDriver):
    def create(self, request: CreateRequest, call: Call) -> Created:
        for instance in self.cloud.instances.values():
            self.cloud.retag(instance, request.tags)
        return super().create(request, call)


class TagsForgotten(StubDriver):
    def create(self, request: CreateRequest, call: Call) -> Created:
        return super().create(replace(request, tags={self.owner.key: self.owner.value}), call)


class TagsRefusedTwice(StubDriver):
    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        if dict(self.cloud.instances[instance_id].tags_at(self.cloud.now())) == dict(tags):
            raise CloudError("nothing to change")
        super().set_tags(instance_id, tags, call)


class TagsOfNobody(StubDriver):
    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        if self._find(instance_id, "set_tags") is None:
            raise KeyError(instance_id)
        super().set_tags(instance_id, tags, call)


# ------------------------------------------------------------------------------------------------------------------- lists


class Spoiling(StubDriver):
    """``spoil`` changes what a list shows."""

    def list(self, call: Call) -> Listing:
        return self.spoil(super().list(call))

    def spoil(self, listing: Listing) -> Listing:
        return listing


class NameForgotten(Spoiling):
    def spoil(self, listing: Listing) -> Listing:
        return replace(listing, instances=tuple(replace(each, name=each.id) for each in listing.instances))


class LastPageMissing(Spoiling):
    def spoil(self, listing: Listing) -> Listing:
        return replace(listing, instances=listing.instances[:2])


class EndOfPageTwice(Spoiling):
    def spoil(self, listing: Listing) -> Listing:
        return replace(listing, instances=listing.instances + listing.instances[1:2])


class BrokenPageHidden(Spoiling):
    def spoil(self, listing: Listing) -> Listing:
        return replace(listing, complete=True)


class AddressAsURL(Spoiling):
    def spoil(self, listing: Listing) -> Listing:
        return replace(listing, instances=tuple(replace(each, address=f"ssh://{each.address}/") for each in listing.instances))


class Flapping(StubDriver):
    looks = 0

    def list(self, call: Call) -> Listing:
        self.looks += 1
        return Listing(()) if self.looks % 3 == 0 else super().list(call)


class Cached(StubDriver):
    kept: Listing | None = None

    def list(self, call: Call) -> Listing:
        if self.kept is None or not self.kept.instances:
            self.kept = super().list(call)
        return self.kept


class EverybodysInstances(StubDriver):
    def list(self, call: Call) -> Listing:
        now = self.cloud.now()
        return Listing(tuple(self._shown(instance, now) for instance in self.cloud.existing(now)))


class DeniedIsEmpty(StubDriver):
    def list(self, call: Call) -> Listing:
        try:
            return super().list(call)
        except Denied:
            return Listing(())


class NoTimeIsEmpty(StubDriver):
    def list(self, call: Call) -> Listing:
        return Listing(()) if call.timeout_s < NO_TIME_S else super().list(call)


class DeadlineIgnored(StubDriver):
    def list(self, call: Call) -> Listing:
        if call.timeout_s < NO_TIME_S:
            threading.Event().wait(2.0)
        return super().list(call)


# ----------------------------------------------------------------------------------------------------------------- destroy


class DestroysAnybodys(StubDriver):
    def destroy(self, instance_id: str, call: Call) -> None:
        if instance_id in self.cloud.instances:
            self.cloud.unmake(self.cloud.instances[instance_id], self.owner)


class TagsAnybodys(StubDriver):
    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        self.cloud.retag(self.cloud.instances[instance_id], tags)


class DestroysTooMuch(StubDriver):
    def destroy(self, instance_id: str, call: Call) -> None:
        for instance in self.list(call).instances:
            super().destroy(instance.id, call)


class DestroysNothing(StubDriver):
    def destroy(self, instance_id: str, call: Call) -> None:
        return


class GoneIsAnError(StubDriver):
    def destroy(self, instance_id: str, call: Call) -> None:
        if self._find(instance_id, "destroy") is None:
            raise CloudError(f"no instance {instance_id}")
        super().destroy(instance_id, call)


class LeftoverGoneIsAnError(StubDriver):
    def delete_leftover(self, leftover: Leftover, call: Call) -> None:
        if leftover not in self._leftovers():
            raise CloudError(f"no {leftover.id}")
        super().delete_leftover(leftover, call)


# ------------------------------------------------------------------------------------------------------------------ create


class SecondMachine(StubDriver):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.capabilities = replace(self.capabilities, create_is_idempotent=True)


class OneIdForAll(StubDriver):
    def create(self, request: CreateRequest, call: Call) -> Created:
        super().create(request, call)
        return Created("instance")


class RequestShared(StubDriver):
    """What belongs to a call is kept in the driver."""

    def create(self, request: CreateRequest, call: Call) -> Created:
        self.request = request
        threading.Event().wait(0.1)
        return super().create(self.request, call)


class StartsThreads(StubDriver):
    def create(self, request: CreateRequest, call: Call) -> Created:
        watcher = threading.Timer(60.0, lambda: None)
        watcher.daemon = True
        watcher.start()
        return super().create(request, call)


class WaitsUntilReady(StubDriver):
    def create(self, request: CreateRequest, call: Call) -> Created:
        time.sleep(1.0)
        return super().create(request, call)


class NoTimeIsNoOutcome(StubDriver):
    def create(self, request: CreateRequest, call: Call) -> Created:
        made = super().create(request, call)
        if call.timeout_s < NO_TIME_S:
            raise CloudError("create: no answer in time")
        return made


class Refusing(StubDriver):
    """``told`` says what becomes of an error of a create."""

    def create(self, request: CreateRequest, call: Call) -> Created:
        try:
            return super().create(request, call)
        except CloudError as error:
            raise self.told(error) from error

    def told(self, error: CloudError) -> CloudError:
        return error


class OutcomeHidden(Refusing):
    def told(self, error: CloudError) -> CloudError:
        return CloudError(error.text)


class QuotaIsAnyError(Refusing):
    def told(self, error: CloudError) -> CloudError:
        return CloudError(error.text, scope=error.scope)


class PaceIsQuota(Refusing):
    def told(self, error: CloudError) -> CloudError:
        return QuotaReached(error.text, scope=Scope.EVERYTHING) if isinstance(error, RateLimited) else error


class CapacityStopsAll(Refusing):
    def told(self, error: CloudError) -> CloudError:
        return NoCapacity(error.text, scope=Scope.EVERYTHING)


class UnknownTypeStopsAll(StubDriver):
    def create(self, request: CreateRequest, call: Call) -> Created:
        if request.instance_type.provider_type == "no-such-type":
            raise NoCapacity("no such type", scope=Scope.EVERYTHING)
        return super().create(request, call)


# -------------------------------------------------------------------------------------------------------- reports, optional


class PauseAsText(StubDriver):
    def create(self, request: CreateRequest, call: Call) -> Created:
        call.retry_after_s = "5"  # type: ignore[assignment]
        return super().create(request, call)


class PollAnswersText(StubDriver):
    def poll_create(self, operation: str, call: Call) -> Any:
        return "Succeeded"


class DeclaresTooMuch(StubDriver):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.capabilities = replace(self.capabilities, notices=True)


class GroupIsNoText(StubDriver):
    def quota_group(self, instance_type: InstanceType) -> Any:
        return None


FAULTY: dict[type[StubDriver], str] = {
    TagsMerged: "test_tags_are_replaced_by_exactly_those_given",
    TagsCut: "test_tags_keep_every_character",
    TagsOfTheLastCreate: "test_tags_stay_with_their_instance",
    TagsForgotten: "test_a_created_instance_is_listed_with_its_name_and_tags",
    TagsRefusedTwice: "test_the_same_tags_may_be_set_again",
    TagsOfNobody: "test_tags_of_what_does_not_exist_are_an_error",
    NameForgotten: "test_a_created_instance_is_listed_with_its_name_and_tags",
    LastPageMissing: "test_several_are_each_listed_exactly_once",
    EndOfPageTwice: "test_two_instances_have_two_ids",
    BrokenPageHidden: "test_a_broken_page_proves_nothing",
    AddressAsURL: "test_a_list_is_made_of_the_contracts_values",
    Flapping: "test_a_listed_instance_stays_listed",
    Cached: "test_tags_are_replaced_by_exactly_those_given",
    EverybodysInstances: "test_another_sets_instances_are_invisible",
    DeniedIsEmpty: "test_a_wrong_login_is_told",
    NoTimeIsEmpty: "test_a_list_without_time_is_honest",
    DeadlineIgnored: "test_a_call_ends_at_its_deadline",
    DestroysAnybodys: "test_destroy_spares_what_is_not_ours",
    TagsAnybodys: "test_tags_of_what_is_not_ours_are_left_alone",
    DestroysTooMuch: "test_destroy_leaves_the_others_alone",
    DestroysNothing: "test_a_destroyed_instance_disappears",
    GoneIsAnError: "test_destroy_is_harmless_when_repeated",
    LeftoverGoneIsAnError: "test_a_leftover_is_listed_and_deleted",
    SecondMachine: "test_an_idempotent_create_makes_one_instance",
    OneIdForAll: "test_two_instances_have_two_ids",
    RequestShared: "test_many_threads_may_create_at_once",
    StartsThreads: "test_no_call_leaves_a_thread_behind",
    WaitsUntilReady: "test_no_call_sleeps",
    NoTimeIsNoOutcome: "test_a_create_without_time_is_honest",
    OutcomeHidden: "test_a_lost_answer_leaves_the_outcome_unknown",
    QuotaIsAnyError: "test_a_full_quota_is_told",
    PaceIsQuota: "test_too_many_requests_are_told",
    CapacityStopsAll: "test_a_lack_of_machines_stops_no_other_type",
    UnknownTypeStopsAll: "test_an_unknown_type_stops_only_itself",
    PauseAsText: "test_a_call_reports_numbers_or_nothing",
    PollAnswersText: "test_an_accepted_create_comes_to_an_end",
    DeclaresTooMuch: "test_what_is_declared_is_there",
    GroupIsNoText: "test_a_quota_group_is_a_text",
    **UNDER_FIRE,
}


class Impatient(StubContract):
    @pytest.fixture
    def grace_s(self) -> float:
        return 0.2

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return ("marked-secret",)


def _tests(driver: type[StubDriver]) -> type[Impatient]:
    knobs = StubKnobs.kind(create_is_idempotent=driver is not SecondMachine)
    return type(f"Test{driver.__name__}", (Impatient,), {"driver_class": driver, "knobs": knobs})


globals().update({f"Test{driver.__name__}": _tests(driver) for driver in FAULTY})
