"""The stub's driver: kind, it keeps the contract; unkind, it misbehaves exactly as its knobs say."""

from __future__ import annotations

import dataclasses

import pytest
from stub_world import OTHER_TYPE, SET_ID, World, call, driver_settings, request

from dispatcher.driver import (
    CloudError,
    Denied,
    Misconfigured,
    NoCapacity,
    Presence,
    QuotaReached,
    RateLimited,
    Scope,
)
from drivers.stub import StubCloud, StubDriver, StubKnobs
from drivers.stub import open as open_stub
from drivers.stub.refusals import DriverBug


def test_a_kind_cloud_creates_lists_and_destroys_at_once() -> None:
    """What was created is listed with its tags, what was destroyed is not."""
    world = World(StubKnobs.kind())
    instance_id = world.create()
    (listed,) = world.driver.list(call()).instances
    assert (listed.id, listed.name, dict(listed.tags)) == (instance_id, "vm-1", dict(request().tags))
    world.driver.destroy(instance_id, call())
    assert world.listed() == []
    assert world.cloud.bugs == []


def test_kind_means_that_nothing_happens_by_chance() -> None:
    """Every rate is zero in a kind cloud, also of knobs that are added later."""
    kind = StubKnobs.kind()
    rates = [field.name for field in dataclasses.fields(kind) if field.name.endswith("_rate")]
    assert [name for name in rates if getattr(kind, name) and name != "rate_hint_rate"] == []


def test_unkind_is_the_default() -> None:
    """Whoever does not choose gets a cloud that is late, stale and refusing."""
    knobs = StubKnobs()
    assert min(knobs.list_lag_s, knobs.create_error_rate, knobs.lost_answer_rate, knobs.partial_list_rate) > 0


REFUSALS = [
    ({"quota_instances": 1}, QuotaReached, Scope.EVERYTHING),
    ({"quota_by_group": {"m": 1}}, QuotaReached, Scope.GROUP),
    ({"capacity_by_type": {"small": 1}}, NoCapacity, Scope.TYPE),
    ({"min_create_interval_s": 5.0}, RateLimited, Scope.EVERYTHING),
    ({"create_error_rate": 1.0}, CloudError, Scope.REQUEST),
    ({"driver_bug_rate": 1.0}, DriverBug, None),
    ({"denied": True}, Denied, Scope.EVERYTHING),
]


@pytest.mark.parametrize(("change", "error", "scope"), REFUSALS)
def test_a_second_create_is_refused(change: dict, error: type[Exception], scope: Scope | None) -> None:
    """Each knob refuses with its own error and scope, and nothing is made."""
    world = World(StubKnobs.kind())
    world.create("vm-1")
    world.cloud.knobs = StubKnobs.kind(**change)
    with pytest.raises(error) as caught:
        world.create("vm-2")
    assert scope is None or caught.value.scope == scope
    assert len(world.cloud.existing()) == 1


def test_a_full_group_leaves_the_other_groups_open() -> None:
    """Quota and capacity hold for their own group and type only."""
    world = World(StubKnobs.kind(quota_by_group={"m": 0}, capacity_by_type={"small": 0}))
    world.create("vm-1", OTHER_TYPE)
    assert len(world.cloud.existing()) == 1


def test_a_rate_limit_says_when_to_come_back() -> None:
    """The call goes through after the time that was named."""
    world = World(StubKnobs.kind(min_create_interval_s=5.0))
    world.create("vm-1")
    world.pass_time(2)
    with pytest.raises(RateLimited) as caught:
        world.create("vm-2")
    assert caught.value.retry_after_s == 3
    world.pass_time(3)
    world.create("vm-2")


@pytest.mark.parametrize(("knob", "made"), [("lost_answer_rate", 1), ("false_unknown_rate", 0)])
def test_an_unknown_outcome_may_be_either(knob: str, made: int) -> None:
    """A lost answer took effect, a false one did not; the error is the same."""
    world = World(StubKnobs.kind(**{knob: 1.0}))
    with pytest.raises(CloudError, match="connection reset") as caught:
        world.create()
    assert caught.value.outcome_unknown
    assert len(world.cloud.existing()) == made


def test_an_idempotent_create_answers_with_the_first_instance() -> None:
    """The same name again is the same instance."""
    world = World(StubKnobs.kind(create_is_idempotent=True))
    assert world.create("vm-1") == world.create("vm-1")
    assert world.cloud.bugs == []


def test_a_second_create_under_one_name_is_a_bug_when_not_idempotent() -> None:
    """It makes a second instance, as a real cloud would, and says loudly that the caller is wrong."""
    world = World(StubKnobs.kind(create_is_idempotent=False))
    assert world.create("vm-1") != world.create("vm-1")
    assert len(world.cloud.bugs) == 1


def test_a_lagging_list_shows_the_past_but_never_more_than_the_lag() -> None:
    """A fresh instance may be missing, a destroyed one may be shown; after ``list_lag_s`` neither."""
    world = World(StubKnobs.kind(list_lag_s=10.0))
    world.pass_time(60)
    instance_id = world.create()
    world.pass_time(5)
    assert {bool(world.listed()) for _ in range(50)} == {True, False}
    world.pass_time(5)
    assert {bool(world.listed()) for _ in range(50)} == {True}
    world.driver.destroy(instance_id, call())
    world.pass_time(5)
    assert {bool(world.listed()) for _ in range(50)} == {True, False}
    world.pass_time(5)
    assert {bool(world.listed()) for _ in range(50)} == {False}


def test_tags_are_stale_after_set_tags() -> None:
    """A list shows the old tags for a while, and the new ones in the end."""
    world = World(StubKnobs.kind(tags_lag_s=10.0))
    instance_id = world.create()
    world.pass_time(60)
    tags = {**request().tags, "ArvadosIdleBehavior": "hold"}
    world.driver.set_tags(instance_id, tags, call())
    world.pass_time(5)
    seen = {world.driver.list(call()).instances[0].tags.get("ArvadosIdleBehavior") for _ in range(50)}
    assert seen == {None, "hold"}
    world.pass_time(5)
    assert world.driver.list(call()).instances[0].tags == tags


def test_a_partial_list_says_so() -> None:
    """What is left out is left out of an incomplete list."""
    world = World(StubKnobs.kind(partial_list_rate=1.0))
    for number in range(20):
        world.create(f"vm-{number}")
    listing = world.driver.list(call())
    assert not listing.complete
    assert len(listing.instances) < 20


def test_a_lying_list_is_followed_by_an_honest_one() -> None:
    """Two lies in a row would be a cloud that nobody can work with."""
    world = World(StubKnobs.kind(lying_list_rate=1.0))
    for number in range(20):
        world.create(f"vm-{number}")
    assert [len(world.listed()) == 20 for _ in range(4)] == [False, True, False, True]


def test_a_late_failure_shows_in_the_list_and_in_the_operation() -> None:
    """Accepted first, failed afterwards: both ways of asking say so."""
    world = World(StubKnobs.kind(late_failure_rate=1.0, max_late_failure_s=10.0))
    created = world.driver.create(request(), call())
    assert created.operation is not None
    assert not world.driver.poll_create(created.operation, call())
    world.pass_time(10)
    (listed,) = world.driver.list(call()).instances
    assert listed.state is Presence.FAILED
    assert isinstance(listed.failure, NoCapacity | QuotaReached)
    assert isinstance(world.driver.poll_create(created.operation, call()), NoCapacity | QuotaReached)


def test_destroy_takes_its_time_and_is_harmless_twice() -> None:
    """It is shown as deleting, then not at all; what is gone or never was is success."""
    world = World(StubKnobs.kind(max_destroy_s=20.0))
    instance_id = world.create()
    world.driver.destroy(instance_id, call())
    world.driver.destroy(instance_id, call())
    assert world.driver.list(call()).instances[0].state is Presence.DELETING
    world.pass_time(20)
    assert world.listed() == []
    world.driver.destroy(instance_id, call())
    world.driver.destroy("inst999", call())
    assert world.cloud.bugs == []


def test_an_ignored_destroy_changes_nothing() -> None:
    """Accepted is not done."""
    world = World(StubKnobs.kind(ignored_destroy_rate=1.0))
    instance_id = world.create()
    world.driver.destroy(instance_id, call())
    assert world.listed() == [instance_id]


def test_leftovers_are_listed_until_they_are_deleted() -> None:
    """What stays behind when an instance goes can be removed."""
    world = World(StubKnobs.kind(leftover_rate=1.0))
    world.driver.destroy(world.create(), call())
    (leftover,) = world.driver.list(call()).leftovers
    world.driver.delete_leftover(leftover, call())
    assert world.driver.list(call()).leftovers == ()


def test_a_held_call_takes_effect_when_it_is_released() -> None:
    """The caller gave up long ago and does not know."""
    world = World(StubKnobs.kind())
    world.cloud.hold()
    with pytest.raises(CloudError) as caught:
        world.create()
    assert caught.value.outcome_unknown
    assert world.listed() == []
    world.cloud.release()
    assert len(world.listed()) == 1
    world.create("vm-2")


def test_a_permit_lets_one_held_call_through() -> None:
    """``release(1)`` frees the next call and goes on holding."""
    world = World(StubKnobs.kind())
    world.cloud.hold()
    world.cloud.release(1)
    world.create("vm-1")
    with pytest.raises(CloudError):
        world.create("vm-2")


def test_what_belongs_to_another_set_is_neither_shown_nor_touched() -> None:
    """A stranger's instance is invisible, and to name it is a bug."""
    world = World(StubKnobs.kind())
    stranger = StubDriver(world.cloud, driver_settings("other"))
    foreign_id = stranger.create(request("theirs", set_id="other"), call()).id
    assert world.listed() == []
    with pytest.raises(CloudError):
        world.driver.destroy(foreign_id, call())
    assert len(world.cloud.bugs) == 1
    assert len(world.cloud.existing()) == 1


def test_misuse_is_loud() -> None:
    """Tags without our InstanceSetID would lose the instance: a bug of the caller."""
    world = World(StubKnobs.kind())
    instance_id = world.create()
    world.driver.set_tags(instance_id, {"a": "b"}, call())
    world.driver.create(dataclasses.replace(request("vm-2"), tags={}, init_script="echo"), call())
    world.cloud.closed = True
    world.driver.list(call())
    assert len(world.cloud.bugs) == 4


def test_the_same_seed_misbehaves_the_same() -> None:
    """Chance comes only from what was handed in."""

    def run() -> list[str]:
        world = World(StubKnobs(), seed=7)
        outcomes = []
        for number in range(200):
            world.pass_time(1)
            try:
                outcomes.append(world.create(f"vm-{number}"))
            except CloudError as error:
                outcomes.append(str(error))
        return [*outcomes, *world.cloud.faults]

    assert run() == run()


def test_it_opens_as_a_plugin() -> None:
    """By name, on a cloud of its own, or on one that is handed in."""
    settings = dataclasses.replace(driver_settings(), parameters={"Kind": True, "Knobs": {"quota_instances": 3}})
    driver = open_stub(settings)
    assert driver.cloud.knobs == StubKnobs.kind(quota_instances=3)
    assert driver.owner.value == SET_ID
    again = open_stub(dataclasses.replace(settings, parameters={"Cloud": driver.cloud}))
    assert again.cloud is driver.cloud
    assert isinstance(again.cloud, StubCloud)


@pytest.mark.parametrize(
    ("parameters", "path"), [({"Seeed": 1}, "Seeed"), ({"Knobs": {"boot": 1}}, "Knobs.boot"), ({"Cloud": "x"}, "Cloud")]
)
def test_a_wrong_parameter_is_named(parameters: dict, path: str) -> None:
    """``open`` says which key is wrong."""
    with pytest.raises(Misconfigured) as caught:
        open_stub(dataclasses.replace(driver_settings(), parameters=parameters))
    assert caught.value.path == path
