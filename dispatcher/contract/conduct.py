"""How a driver behaves: it spares what is not ours, keeps to its deadline, bears many threads, and starts none of its own."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import pytest

from dispatcher.contract.cloud import TAG_PREFIX, Cloud, call, exists, tags_of
from dispatcher.contract.fixtures import ContractFixtures
from dispatcher.driver import Call, CloudError, InstanceType, Scope

Answer = TypeVar("Answer")
MAX_SLEEP_S = 0.05
THREADS = 3
HURRY_S = 0.001
REPORTS = ("calls_remaining", "retry_after_s", "poll_after_s", "limit", "usage")


class ConductTests(ContractFixtures):
    """A translator, no actor."""

    # ---------------------------------------------------------------------------------------------------------- ownership

    def test_another_sets_instances_are_invisible(self, make_cloud: Callable[[], Cloud]) -> None:
        """Two dispatchers share an account and never see each other."""
        ours, theirs = make_cloud(), make_cloud()
        assert theirs.find(ours.create()) is None

    def test_destroy_spares_what_is_not_ours(self, make_cloud: Callable[[], Cloud]) -> None:
        """Whatever id it is given: another set's instance lives on. Whether the call raises is up to the driver."""
        ours, theirs = make_cloud(), make_cloud()
        instance_id = ours.create()
        _error_of(lambda: theirs.driver.destroy(instance_id, call()))
        ours.let_lag_pass()
        assert exists(ours.find(instance_id))

    def test_tags_of_what_is_not_ours_are_left_alone(self, make_cloud: Callable[[], Cloud]) -> None:
        """To write our InstanceSetID over theirs would take the instance away from them."""
        ours, theirs = make_cloud(), make_cloud()
        instance_id = ours.create()
        tags = tags_of(ours.find(instance_id))
        with pytest.raises(CloudError):
            theirs.driver.set_tags(instance_id, theirs.tags(), call())
        ours.let_lag_pass()
        assert tags_of(ours.find(instance_id)) == tags

    def test_a_name_that_another_set_has_is_not_taken_over(self, make_cloud: Callable[[], Cloud]) -> None:
        """An idempotent create answers with what is there only when that is ours; else it makes its own, or raises."""
        ours, theirs = make_cloud(), make_cloud()
        request = ours.request()
        first = ours.driver.create(request, call())
        ours.wait_until(lambda: ours.find(first.id), "the created instance is listed")
        second = _answer_of(lambda: theirs.driver.create(theirs.request(name=request.name), call()))
        assert second is None or second.id != first.id, "it answered with the other set's instance"
        ours.let_lag_pass()
        assert tags_of(ours.find(first.id)) == dict(request.tags)

    # ------------------------------------------------------------------------------------------ deadlines, unknown outcomes

    def test_a_create_without_time_is_honest(self, cloud: Cloud) -> None:
        """It may succeed. When it raises and does not say that the outcome is unknown, there is no such instance."""
        request = cloud.request()
        error = _error_of(lambda: cloud.driver.create(request, call(HURRY_S)))
        if error is None or error.outcome_unknown:
            return
        for _ in range(3):
            cloud.let_lag_pass()
            assert cloud.named(request.name) == (), "raised without outcome_unknown, and made an instance"

    def test_a_list_without_time_is_honest(self, cloud: Cloud) -> None:
        """It may succeed or raise; it never says that nothing is there when it had no time to look."""
        instance_id = cloud.create()
        try:
            listing = cloud.driver.list(call(HURRY_S))
        except CloudError:
            return
        assert not listing.complete or instance_id in {instance.id for instance in listing.instances}

    def test_a_call_ends_at_its_deadline(self, cloud: Cloud, grace_s: float) -> None:
        """Nobody can break it off: a driver that waits for longer holds a thread of the dispatcher."""
        done = threading.Event()

        def look() -> None:
            _error_of(lambda: cloud.driver.list(call(HURRY_S)))
            done.set()

        threading.Thread(target=look, daemon=True, name="contract: a call without time").start()
        assert done.wait(grace_s), f"a list with timeout_s={HURRY_S} still waits after {grace_s} s"

    # ------------------------------------------------------------------------------------------------------------- threads

    def test_many_threads_may_create_at_once(self, cloud: Cloud) -> None:
        """Each gets its own instance, under the name that it gave."""
        requests = [cloud.request() for _ in range(THREADS)]
        together = threading.Barrier(THREADS)

        def create(number: int) -> str:
            together.wait(timeout=60)
            return cloud.driver.create(requests[number], call()).id

        with ThreadPoolExecutor(THREADS) as pool:
            made = dict(zip(pool.map(create, range(THREADS)), (request.name for request in requests), strict=True))
        cloud.wait_until(lambda: set(made) <= {instance.id for instance in cloud.listing().instances}, "all are listed")
        assert {instance.id: instance.name for instance in cloud.listing().instances} == made

    def test_many_threads_may_list_at_once(self, cloud: Cloud) -> None:
        """Each sees the whole, while tags are set."""
        instance_id = cloud.create()
        with ThreadPoolExecutor(2 * THREADS) as pool:
            writing = pool.submit(cloud.driver.set_tags, instance_id, cloud.tags(**{f"{TAG_PREFIX}Note": "x"}), call())
            listings = list(pool.map(lambda _: cloud.listing(), range(2 * THREADS)))
            writing.result()
        seen = [[instance.id for instance in listing.instances] for listing in listings if listing.complete]
        assert [ids for ids in seen if ids != [instance_id]] == []

    # ------------------------------------------------------------------------------------------------- a translator, no actor

    def test_no_call_leaves_a_thread_behind(self, cloud: Cloud, grace_s: float) -> None:
        """Threads belong to the core. (Those of a fake in this process are given the time to end.)"""
        before = set(threading.enumerate())
        created = cloud.driver.create(cloud.request(), call())
        cloud.listing()
        cloud.driver.destroy(created.id, call())
        for thread in set(threading.enumerate()) - before:
            thread.join(grace_s)
        assert [thread.name for thread in threading.enumerate() if thread not in before] == []

    def test_no_call_sleeps(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        """To wait and to try again is the core's business."""
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        created = cloud.driver.create(cloud.request(), call())
        cloud.listing()
        cloud.driver.destroy(created.id, call())
        assert sum(slept) <= MAX_SLEEP_S

    # ----------------------------------------------------------------------------------------------------- reports, refusals

    def test_a_call_reports_numbers_or_nothing(self, cloud: Cloud) -> None:
        """The core paces itself by them."""
        calls = [call() for _ in range(4)]
        created = cloud.driver.create(cloud.request(), calls[0])
        cloud.driver.list(calls[1])
        cloud.wait_until(lambda: cloud.find(created.id), "the created instance is listed")
        cloud.driver.set_tags(created.id, cloud.tags(), calls[2])
        cloud.driver.destroy(created.id, calls[3])
        assert [mistake for made in calls for mistake in _wrong_reports(made)] == []

    def test_an_unknown_type_stops_only_itself(self, cloud: Cloud, instance_type: InstanceType) -> None:
        """A cloud that refuses it proves nothing about other types, and nothing was made."""
        unknown = replace(instance_type, name="no-such-type", provider_type="no-such-type")
        request = cloud.request(instance_type=unknown)
        error = _error_of(lambda: cloud.driver.create(request, call()))
        if error is None:
            pytest.skip("this cloud takes any type")
        assert error.scope in (Scope.REQUEST, Scope.TYPE), f"{type(error).__name__} has the scope {error.scope}"
        assert not error.outcome_unknown, "a refusal is an answer"
        assert str(error).strip(), "an operator has to be told what is wrong"
        cloud.let_lag_pass()
        assert cloud.named(request.name) == ()


def _answer_of(act: Callable[[], Answer]) -> Answer | None:
    """None when it raises an error of the contract."""
    try:
        return act()
    except CloudError:
        return None


def _error_of(act: Callable[[], object]) -> CloudError | None:
    """What it raises, when it is an error of the contract; any other exception is a mistake."""
    try:
        act()
    except CloudError as error:
        return error
    return None


def _wrong_reports(made: Call) -> list[str]:
    found = {name: getattr(made, name) for name in REPORTS}
    return [f"{name} = {value!r}" for name, value in found.items() if value is not None and not _is_amount(value)]


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
