"""What a driver says when its cloud refuses or is silent. A fake has to provoke that, so these tests are skipped without one.

The core acts by the class of an error, by its scope and by whether its outcome is known: a wrong one stops a whole fleet, or
forgets a machine that is being paid for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from dispatcher.contract.cloud import Cloud, Fault, Provoke, call, exists
from dispatcher.contract.fixtures import ContractFixtures
from dispatcher.driver import CloudError, CreateRequest, Denied, NoCapacity, QuotaReached, RateLimited, Scope

FLEET = 3


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

    def test_a_wrong_login_is_told(self, cloud: Cloud, provoke: Provoke) -> None:
        """As Denied, by each call: above all no list may say that nothing is there."""
        instance_id = cloud.create()
        acts: list[Callable[[], object]] = [
            lambda: cloud.driver.create(cloud.request(), call()),
            cloud.listing,
            lambda: cloud.driver.set_tags(instance_id, cloud.tags(), call()),
            lambda: cloud.driver.destroy(instance_id, call()),
        ]
        with provoked(provoke, Fault.LOGIN):
            errors = [_error_of(act) for act in acts]
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
