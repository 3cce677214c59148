"""More drivers with one mistake each: in what they make of a cloud that is late, silent, full of nonsense, or somebody else's.

``faulty_drivers.py`` collects them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dispatcher.driver import Call, CloudError, Created, CreateRequest, Leftover, Listing, Presence, RateLimited
from drivers.stub import StubDriver

LATE_S = 30.0


class LagNotDeclared(StubDriver):
    """Only what runs already is shown; that this takes a while is said nowhere."""

    def list(self, call: Call) -> Listing:
        listing, now = super().list(call), self.cloud.now()
        born = {instance.id: instance.created_s for instance in self.cloud.instances.values()}
        return replace(listing, instances=tuple(each for each in listing.instances if now >= born[each.id] + LATE_S))


class NeverComplete(StubDriver):
    def list(self, call: Call) -> Listing:
        return replace(super().list(call), complete=False)


class AddressForgotten(StubDriver):
    def list(self, call: Call) -> Listing:
        listing = super().list(call)
        return replace(listing, instances=tuple(replace(each, address=None) for each in listing.instances))


class TakesOver(StubDriver):
    """It looks for the name in the whole account."""

    def create(self, request: CreateRequest, call: Call) -> Created:
        for instance in self.cloud.existing():
            if instance.name == request.name:
                return Created(instance.id)
        return super().create(request, call)


class PaceOfListsIsEmpty(StubDriver):
    def list(self, call: Call) -> Listing:
        try:
            return super().list(call)
        except RateLimited:
            return Listing(())


class PaceOfDestroysIsAnyError(StubDriver):
    def destroy(self, instance_id: str, call: Call) -> None:
        try:
            super().destroy(instance_id, call)
        except RateLimited as error:
            raise CloudError(error.text) from error


class AsksWhenOpened(StubDriver):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        super().list(Call(timeout_s=5.0))


class TellsItsSecret(StubDriver):
    secret = "marked-secret"

    def __repr__(self) -> str:
        return f"TellsItsSecret({self.secret})"


class NoTimeoutForTags(StubDriver):
    """The one request that was written without it."""

    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        try:
            super().set_tags(instance_id, tags, call)
        except CloudError:
            threading.Event().wait(5.0)
            raise


class SilenceIsFailure(StubDriver):
    def create(self, request: CreateRequest, call: Call) -> Created:
        try:
            return super().create(request, call)
        except CloudError as error:
            raise CloudError(error.text) from error


class NonsenseIsABug(StubDriver):
    def list(self, call: Call) -> Listing:
        try:
            return super().list(call)
        except CloudError as error:
            raise ValueError("Expecting value: line 1 column 1") from error


class NonsenseIsEmpty(StubDriver):
    def list(self, call: Call) -> Listing:
        try:
            return super().list(call)
        except CloudError:
            return Listing(())


class FailuresLookAlive(StubDriver):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.capabilities = replace(self.capabilities, poll_create=False)

    def list(self, call: Call) -> Listing:
        listing = super().list(call)
        alive = [replace(each, failure=None, state=Presence.PRESENT) for each in listing.instances]
        return replace(listing, instances=tuple(alive))


class DeletesAnybodysLeftover(StubDriver):
    def delete_leftover(self, leftover: Leftover, call: Call) -> None:
        self.cloud.leftovers = [pair for pair in self.cloud.leftovers if pair[1].id != leftover.id]


class UsagesForgotten(StubDriver):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.capabilities = replace(self.capabilities, usages=True)

    def list(self, call: Call) -> Listing:
        return replace(super().list(call), usages=())


FAULTY: dict[type[StubDriver], str] = {
    LagNotDeclared: "test_a_list_is_no_older_than_declared",
    NeverComplete: "test_a_list_is_complete_on_an_ordinary_day",
    AddressForgotten: "test_an_instance_gets_an_address",
    TakesOver: "test_a_name_that_another_set_has_is_not_taken_over",
    PaceOfListsIsEmpty: "test_too_many_requests_of_any_kind_are_told",
    PaceOfDestroysIsAnyError: "test_too_many_requests_of_any_kind_are_told",
    AsksWhenOpened: "test_opening_makes_no_call",
    TellsItsSecret: "test_no_secret_is_shown",
    NoTimeoutForTags: "test_a_silent_cloud_holds_no_call",
    SilenceIsFailure: "test_a_silent_cloud_holds_no_call",
    NonsenseIsABug: "test_a_page_of_a_gateway_is_no_answer",
    NonsenseIsEmpty: "test_a_page_of_a_gateway_is_no_answer",
    FailuresLookAlive: "test_a_create_that_fails_later_is_told",
    DeletesAnybodysLeftover: "test_another_sets_leftover_is_left_alone",
    UsagesForgotten: "test_usages_are_told_when_they_are_asked_for",
}
