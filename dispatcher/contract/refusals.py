"""What a driver says when its cloud refuses or is silent. A fake has to provoke that, so these tests are skipped without one.

The core acts by the class of an error, by its scope and by whether its outcome is known: a wrong one stops a whole fleet, or
forgets a machine that is being paid for.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from dispatcher.contract.cloud import Cloud, DriverFactory, Fault, Provoke, call, declared, exists
from dispatcher.contract.fixtures import ContractFixtures
from dispatcher.driver import (
    CloudError,
    Created,
    CreateRequest,
    Denied,
    Driver,
    NoCapacity,
    Presence,
    QuotaReached,
    RateLimited,
    Scope,
)

FLEET = 3
FOUR = 4
SHORT_S = 0.5
PATIENT_S = 60.0


def provoked(provoke: Provoke, fault: Fault) -> AbstractContextManager[object]:
    """The context in which the cloud does it."""
    found = provoke(fault)
    if found is None:
        pytest.skip(f"nothing here provokes {fault.value!r}: override the fixture provoke, if your fake can do it")
    return found


class RefusalTests(ContractFixtures):
    """The class of the error, its scope, and nothing made."""

    def test_a_full_quota_is_told(self, cloud: Cloud, provoke: Provoke) -> None:
        """As QuotaReached: it frees itself when an instance ends. What exists can still be destroyed."""
        instance_id = cloud.create()
        with provoked(provoke, Fault.QUOTA):
            request, error = _refused(cloud)
            cloud.driver.destroy(instance_id, call())
        assert isinstance(error, QuotaReached), repr(error)
        assert error.scope is not Scope.REQUEST, "the next request would meet the same quota"
        _nothing_made(cloud, request, error)

    def test_a_lack_of_machines_stops_no_other_type(self, cloud: Cloud, provoke: Provoke) -> None:
        """As NoCapacity, for the type or less: others may be there."""
        with provoked(provoke, Fault.CAPACITY):
            request, error = _refused(cloud)
        assert isinstance(error, NoCapacity), repr(error)
        assert error.scope in (Scope.TYPE, Scope.REQUEST), f"{error.scope} would stop types that are there"
        _nothing_made(cloud, request, error)

    def test_too_many_requests_are_told(self, cloud: Cloud, provoke: Provoke) -> None:
        """As RateLimited, with a pause that is a number, or none."""
        with provoked(provoke, Fault.PACE):
            request, error = _refused(cloud)
        assert isinstance(error, RateLimited), repr(error)
        pauses = (error.retry_after_s, error.retry_at)
        assert all(pause is None or (math.isfinite(pause) and pause >= 0) for pause in pauses), repr(pauses)
        _nothing_made(cloud, request, error)

    def test_too_many_requests_of_any_kind_are_told(self, cloud: Cloud, provoke: Provoke) -> None:
        """As RateLimited, by each call: a list says in no other way that it saw nothing."""
        instance_id = cloud.create()
        with provoked(provoke, Fault.PACE_OF_ALL):
            errors = [_error_of(act) for act in _four_calls(cloud, instance_id)]
        assert [repr(error) for error in errors if not isinstance(error, RateLimited)] == []
        cloud.let_lag_pass()
        assert exists(cloud.find(instance_id))

    def test_a_wrong_login_is_told(self, cloud: Cloud, provoke: Provoke) -> None:
        """As Denied, by each call: above all no list may say that nothing is there."""
        instance_id = cloud.create()
        with provoked(provoke, Fault.LOGIN):
            errors = [_error_of(act) for act in _four_calls(cloud, instance_id)]
        assert [repr(error) for error in errors if not isinstance(error, Denied)] == []
        cloud.let_lag_pass()
        assert exists(cloud.find(instance_id))

    def test_a_lost_answer_leaves_the_outcome_unknown(self, cloud: Cloud, provoke: Provoke) -> None:
        """The request may have taken effect: whoever does not say so makes a second machine, or forgets one."""
        request = cloud.request()
        with provoked(provoke, Fault.LOST_ANSWER):
            error = _error_of(lambda: cloud.driver.create(request, call()))
        assert isinstance(error, CloudError), repr(error)
        assert error.outcome_unknown
        cloud.wait_until(lambda: cloud.named(request.name), "the instance whose answer was lost is listed")

    def test_opening_makes_no_call(self, cloud: Cloud, driver_factory: DriverFactory, provoke: Provoke) -> None:
        """A driver is opened while the cloud refuses everything, and works when it does not: the dispatcher has to start."""
        with provoked(provoke, Fault.LOGIN):
            driver = driver_factory(cloud.set_id)
        assert driver.list(call()).instances == ()

    def test_no_secret_is_shown(
        self, cloud: Cloud, provoke: Provoke, secrets: tuple[str, ...], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not by the driver's ``repr``, not in what it logs, and not in what it raises when the login is refused."""
        if not secrets:
            pytest.skip("no secret is named: override the fixture secrets")
        caplog.set_level(logging.DEBUG)
        instance_id = cloud.create()
        with provoked(provoke, Fault.LOGIN):
            errors = [_error_of(act) for act in _four_calls(cloud, instance_id)]
        shown = [repr(cloud.driver), caplog.text, *map(str, errors), *map(repr, errors)]
        assert [number for number, secret in enumerate(secrets) for text in shown if secret in text] == []

    def test_a_silent_cloud_holds_no_call(self, cloud: Cloud, provoke: Provoke, grace_s: float) -> None:
        """Each call ends with its time, not with the cloud's; a create does not know what became of it."""
        instance_id, request = cloud.create(), cloud.request()
        with provoked(provoke, Fault.SILENCE):
            ends = _together(_four_calls(cloud, instance_id, request, SHORT_S), SHORT_S + grace_s)
        assert len(ends) == FOUR, f"a call with timeout_s={SHORT_S} still waits after {SHORT_S + grace_s} s"
        _check_ends(cloud, ends, request)

    def test_a_page_of_a_gateway_is_no_answer(self, cloud: Cloud, provoke: Provoke) -> None:
        """Whatever cannot be read becomes an error of the contract, and a create does not know what became of it."""
        instance_id, request = cloud.create(), cloud.request()
        with provoked(provoke, Fault.NONSENSE):
            ends = _together(_four_calls(cloud, instance_id, request), PATIENT_S)
        assert len(ends) == FOUR
        _check_ends(cloud, ends, request)

    def test_a_create_that_fails_later_is_told(self, cloud: Cloud, provoke: Provoke) -> None:
        """By ``poll_create``, by ``failure`` or the state of the listed instance, or by lists without it: not by silence."""
        with provoked(provoke, Fault.LATE_FAILURE):
            created = cloud.driver.create(cloud.request(), call())
        cloud.wait_until(lambda: _has_failed(cloud, created), "it is told that the create failed")

    def test_a_broken_page_proves_nothing(self, cloud: Cloud, provoke: Provoke) -> None:
        """A list that broke off says that it is not complete, or raises."""
        made = {cloud.driver.create(cloud.request(), call()).id for _ in range(FLEET)}
        cloud.wait_until(lambda: made <= {instance.id for instance in cloud.listing().instances}, "all are listed")
        with provoked(provoke, Fault.BROKEN_PAGE):
            for _ in range(10):
                try:
                    listing = cloud.listing()
                except CloudError:
                    continue
                assert not listing.complete or made <= {instance.id for instance in listing.instances}


def _has_failed(cloud: Cloud, created: Created) -> bool:
    poll = getattr(cloud.driver, "poll_create", None) if declared(cloud.driver).poll_create else None
    told = poll(created.operation, call()) if poll is not None and created.operation is not None else None
    if isinstance(told, CloudError):
        return not told.outcome_unknown
    listing = cloud.listing()
    found = next((instance for instance in listing.instances if instance.id == created.id), None)
    if found is None:
        return listing.complete
    return found.state is Presence.FAILED or isinstance(found.failure, CloudError)


def _four_calls(
    cloud: Cloud, instance_id: str, request: CreateRequest | None = None, timeout_s: float = 120.0
) -> list[Callable[[], object]]:
    """Create, list, tags and destroy."""
    driver: Driver = cloud.driver
    return [
        lambda: driver.create(request or cloud.request(), call(timeout_s)),
        lambda: driver.list(call(timeout_s)),
        lambda: driver.set_tags(instance_id, cloud.tags(), call(timeout_s)),
        lambda: driver.destroy(instance_id, call(timeout_s)),
    ]


def _together(acts: list[Callable[[], object]], patience_s: float) -> dict[int, object]:
    """What each answered or raised, by its number; those that are not done in time are left out."""
    ends: dict[int, object] = {}

    def end(number: int, act: Callable[[], object]) -> None:
        try:
            ends[number] = act()
        except Exception as error:  # noqa: BLE001  the test says which it has to be
            ends[number] = error

    threads = [threading.Thread(target=end, args=pair, daemon=True, name="contract: a call") for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    over_s = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, over_s - time.monotonic()))
    return dict(ends)


def _check_ends(cloud: Cloud, ends: dict[int, object], request: CreateRequest) -> None:
    """Of the four calls, while nobody could know what became of them."""
    created, listing, _, _ = (ends[number] for number in range(FOUR))
    strange = [repr(end) for end in ends.values() if isinstance(end, Exception) and not isinstance(end, CloudError)]
    assert strange == [], "what a cloud does is no bug of the driver: raise a CloudError"
    assert isinstance(listing, CloudError) or not getattr(listing, "complete", True), f"the list answered {listing!r}"
    if isinstance(created, CloudError) and not created.outcome_unknown:
        cloud.let_lag_pass()
        assert cloud.named(request.name) == (), "raised without outcome_unknown, and made an instance"


def _refused(cloud: Cloud) -> tuple[CreateRequest, Exception]:
    request = cloud.request()
    return request, _error_of(lambda: cloud.driver.create(request, call()))


def _error_of(act: Callable[[], object]) -> Exception:
    """What it raises; when it raises nothing, the test fails."""
    try:
        answer = act()
    except Exception as error:  # noqa: BLE001  the test says which it has to be
        return error
    pytest.fail(f"the cloud refused, and the driver answered {answer!r}")


def _nothing_made(cloud: Cloud, request: CreateRequest, error: Exception) -> None:
    """A refusal is an answer: its outcome is known."""
    assert isinstance(error, CloudError)
    assert not error.outcome_unknown, "a refusal is an answer"
    cloud.let_lag_pass()
    assert cloud.named(request.name) == ()
