"""What limits creates, in virtual time: pace, quota, whose turn it is, what the cloud says of its own limits."""

from __future__ import annotations

import itertools

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, Phase
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, offer, settings, wants

RUNNING, COMPLETE = ContainerState.RUNNING, ContainerState.COMPLETE


def town(*offers, knobs: StubKnobs | None = None, seed: int = 1, **changes) -> Town:
    here = Town(settings(*offers, **changes), knobs=knobs, seed=seed)
    here.start_dispatcher()
    return here


def asked_types(here: Town) -> list[str]:
    return [create.instance_type for create in here.journal.of(m.CreateInstance)]


# ------------------------------------------------------------------------------------------------------------------- pace


def test_12_2_sixty_four_creates_go_out_at_once_by_default():
    """No limit is configured and none is known: the last of 64 instances is asked for within a second of the first.

    Regression: one create at a time, five seconds apart, so that the last one went out after five minutes."""
    here = town(offer("a1", 1))
    for _ in range(64):
        here.submit(wants(), length_s=30.0)
    assert here.run(60.0, until=lambda: len(here.journal.of(m.InstanceCreated)) == 64), here.what()
    times = here.journal.times(m.CreateInstance)
    assert times[-1] - times[0] < 1.0
    here.until_over()


def test_12_2_slow_answers_to_creates_hold_up_no_other_create():
    """A cloud that takes a minute to answer is asked for all of them meanwhile."""
    here = town(offer("a1", 1))
    here.delays.create_answer_s = 60.0
    for _ in range(30):
        here.submit(wants(), length_s=30.0)
    here.run(5.0)
    assert here.stub.calls["create"] == 30
    here.until_over()


@pytest.mark.parametrize(("changes", "at_once", "a_second"), [
    ({"max_cloud_ops_per_second": 2.0, "cloud_ops_burst": 5}, 5, 2.0),
    ({"max_creates_per_second": 1.0, "cloud_ops_burst": 3}, 3, 1.0),
    ({"max_creates_per_second": 0.5}, 1, 0.5),
    ({"max_cloud_ops_per_second": 0.5}, 2, 0.5),
])  # fmt: skip
def test_creates_keep_the_pace_that_the_site_names(changes, at_once, a_second):
    """A burst, then so many a second and no more; the rest goes out as soon as it may."""
    here = town(offer("a1", 1), **changes)
    for _ in range(20):
        here.submit(wants(), length_s=600.0)
    here.run(120.0)
    times = here.journal.times(m.CreateInstance)
    assert len(times) == 20
    for first in times:
        assert len([at_s for at_s in times if first <= at_s < first + 4.0]) <= at_once + 4.0 * a_second
    assert times[-1] - times[0] < 3 * (20 - at_once) / a_second + 20.0  # other calls have their part
    here.until_over()


def test_at_most_so_many_creates_at_once():
    """MaxConcurrentInstanceCreateOps is a number of calls, and no pause follows when it is reached."""
    here = town(offer("a1", 1), max_concurrent_creates=3)
    here.delays.create_answer_s = 2.0
    for _ in range(12):
        here.submit(wants(), length_s=60.0)
    most = 0

    def all_there() -> bool:
        nonlocal most
        most = max(most, sum(1 for i in here.held() if i.creating))
        return len(here.held(Phase.BOOTING, Phase.READY)) == 12

    assert here.run(30.0, until=all_there), here.what()
    assert most == 3
    here.until_over()


# ------------------------------------------------------------------------------------------------- what the cloud itself says


def test_calls_slow_down_before_the_clouds_limit_is_hit():
    """The answers say how many calls are left of a minute's 40: sixty creates are made without one refusal."""
    here = town(offer("a1", 1), knobs=StubKnobs.kind(boot_s=10.0, calls_per_minute={"create": 40}))
    first = here.submit(wants(), length_s=300.0)
    here.until_states([first], RUNNING)
    for _ in range(59):
        here.submit(wants(), length_s=300.0)
    assert here.run(600.0, until=lambda: len(here.held(Phase.READY)) == 60), here.what()
    assert here.stub.faults["create: too many in a minute"] == 0
    here.until_over()


@pytest.mark.parametrize("call", ["create", "list", "destroy", "set_tags", "poll_create"])
def test_no_kind_of_call_is_sent_while_the_cloud_asked_for_a_pause(call):
    """The stub refuses a second call of a minute and says when to come back: nothing comes earlier."""
    knobs = StubKnobs.kind(boot_s=10.0, address_s=20.0, polls_creates=True, calls_per_minute={call: 1})
    here = town(offer("a1", 1), knobs=knobs)
    refused_s: list[float] = []
    here.listener = lambda dispatcher, message: refused_s.append(here.clock.now_s) if _refusal(message) else None
    for _ in range(2):
        here.submit(wants(), length_s=20.0)
    here.until_over(within_s=4 * 3600.0)
    gaps = [later - sooner for sooner, later in itertools.pairwise(refused_s)]
    assert all(gap > 25.0 for gap in gaps if gap > 1.0), refused_s


def _refusal(message: m.Event | m.Action) -> bool:
    failure = getattr(message, "failure", None)
    return isinstance(failure, m.CloudFailure) and "a minute" in failure.text


# ------------------------------------------------------------------------------------------------------------- whose turn


@pytest.mark.parametrize("seed", range(1, 9))
def test_the_type_of_the_more_urgent_container_is_asked_for_first(seed):
    """Nobody knows the quota, and it is one instance: the urgent container gets it, however fast the other call would be."""
    here = town(offer("a1", 1), offer("b4", 4), knobs=StubKnobs.kind(boot_s=5.0, quota_instances=1), seed=seed)
    patient, urgent = here.submit(wants(1), priority=1), here.submit(wants(4), priority=2, length_s=600.0)
    here.run(60.0)
    assert asked_types(here)[0] == "b4"
    assert here.entry(urgent).state in (RUNNING, COMPLETE)
    assert not here.is_state(patient, RUNNING, COMPLETE)
    here.until_over()


def test_a_quota_answer_stops_whoever_is_less_urgent():
    """After the refusal of the first nobody asks for another type until the pause is over, and then it is the first again."""
    here = town(offer("a1", 1), offer("b4", 4), knobs=StubKnobs.kind(boot_s=5.0, quota_instances=1))
    running = here.submit(wants(1), priority=9, length_s=1000.0)
    here.until_states([running], RUNNING)
    asked = len(asked_types(here))
    urgent, patient = here.submit(wants(4), priority=2), here.submit(wants(1), priority=1)
    here.run(20.0)
    assert asked_types(here)[asked:] == ["b4"]
    assert "quota" in here.why(patient)
    assert here.run(600.0, until=lambda: len(asked_types(here)) > asked + 1)
    assert asked_types(here)[asked + 1] == "b4"
    here.until_over()
    assert here.is_state(urgent, COMPLETE)


def test_who_is_less_urgent_is_told_for_whom_he_waits_and_not_for_long():
    """While quota is not known to be short, order costs two seconds at most."""
    here = town(offer("a1", 1), offer("b4", 4))
    here.delays.create_answer_s = 600.0
    here.chance.seed(0)
    here.submit(wants(4), priority=2)
    patient = here.submit(wants(1), priority=1)
    assert here.run(10.0, until=lambda: "b4" in asked_types(here))
    assert "before the cloud has answered for b4" in here.why(patient)
    here.run(3.0)
    assert "a1" in asked_types(here)
    times = here.journal.times(m.CreateInstance)
    assert 1.9 < times[1] - times[0] < 2.2


# ------------------------------------------------------------------------------------------------------------------ quota


def test_12_13_quota_is_tried_again_when_a_destroy_is_confirmed():
    """The cloud keeps showing the instance for a minute, but gives its quota back at once: nobody waits for the list."""
    knobs = StubKnobs.kind(boot_s=5.0, quota_by_group={"a": 1})
    here = town(offer("a1", 1), offer("a4", 4), knobs=knobs, timeout_idle_s=20.0)
    small = here.submit(wants(1), length_s=60.0)
    here.until_states([small], RUNNING)
    big = here.submit(wants(4), length_s=10.0)
    here.until_states([small], COMPLETE)
    assert here.run(100.0, until=lambda: bool(here.journal.of(m.DestroyAccepted)))
    confirmed_s = here.clock.now_s
    here.until_states([big], RUNNING, COMPLETE, within_s=20.0)
    assert next(at_s for at_s in here.journal.times(m.CreateInstance) if at_s >= confirmed_s) - confirmed_s < 0.1
    here.until_over()


def test_a_quota_of_one_group_stops_no_other_group():
    """The refusal reaches as far as the cloud says."""
    here = town(offer("a1", 1), offer("b4", 4), knobs=StubKnobs.kind(boot_s=5.0, quota_by_group={"b": 0}))
    big, small = here.submit(wants(4), priority=2), here.submit(wants(1), priority=1, length_s=5.0)
    here.until_states([small], COMPLETE)
    assert "quota of group b" in here.why(big)
    here.stub.knobs = StubKnobs.kind(boot_s=5.0)
    here.until_over()


# ------------------------------------------------------------------------------------------- loss, idle clocks, packing


def test_12_25_a_dead_instance_is_known_within_fifteen_seconds():
    """Its connection breaks, a list is due at once, the next one proves it, whatever SyncInterval and TimeoutProbe say.

    Regression: it was noticed at the next list, a minute later, or after ten minutes of failed probes."""
    here = town(sync_interval_s=600.0, probe_interval_s=600.0, timeout_probe_s=3600.0)
    uuid = here.submit(wants(), length_s=300.0, attempts=1)
    here.until_states([uuid], RUNNING)
    here.run(30.0)
    lost_s = here.clock.now_s
    here.lose(here.held()[0].name)
    here.until_states([uuid], ContainerState.CANCELLED, within_s=60.0)
    assert here.clock.now_s - lost_s < 15.0
    assert "disappeared from the cloud" in here.entry(uuid).reason


def test_12_25_connections_that_break_together_ask_for_one_list():
    """Our own network drops: a hundred broken connections are no hundred lists."""
    here = town(offer("a1", 1))
    for _ in range(20):
        here.submit(wants(), length_s=900.0)
    assert here.run(120.0, until=lambda: len(here.held(Phase.READY)) == 20)
    here.run(30.0)
    before = here.stub.calls["list"]
    for _ in range(5):
        for instance in here.held():
            here.leader.post(m.ConnectionLost(name=instance.name))
            here.run(0.01)
    here.run(3.0)
    assert here.stub.calls["list"] - before <= 5
    here.until_over()


def test_12_14_a_fresh_instance_is_idle_only_since_it_was_ready():
    """Booted for longer than TimeoutIdle, and its container is gone meanwhile: it stays for TimeoutIdle after it was ready.

    Regression: the clock began when it appeared, so that slow boots were destroyed at the moment they were over."""
    here = town(timeout_idle_s=60.0, knobs=StubKnobs.kind(boot_s=200.0, container_s=60.0))
    uuid = here.submit(wants())
    assert here.run(60.0, until=lambda: bool(here.held(Phase.BOOTING)))
    here.run(20.0)
    here.queue.set_priority(uuid, 0)
    here.until_ready(within_s=400.0)
    ready_s = here.clock.now_s
    here.until_over()
    destroyed_s = here.journal.times(m.DestroyInstance)[0]
    assert here.journal.of(m.DestroyInstance)[0].cause.value == "idle"
    assert 60.0 <= destroyed_s - ready_s < 75.0


def test_12_16_an_idle_instance_beats_one_that_boots_with_work():
    """Work starts at once on what is ready, however full what boots will be.

    Regression: a booting instance with one container on it was preferred to an idle one."""
    here = town(offer("b4", 4), timeout_idle_s=3600.0, knobs=StubKnobs.kind(boot_s=300.0, container_s=60.0))
    here.stub.knobs = StubKnobs.kind(boot_s=5.0)
    first = here.submit(wants(4), length_s=40.0)
    here.until_states([first], RUNNING)
    here.stub.knobs = StubKnobs.kind(boot_s=300.0)
    second = here.submit(wants(1), length_s=30.0)
    assert here.run(20.0, until=lambda: here.is_state(second, ContainerState.LOCKED))
    here.until_states([first], COMPLETE)
    third = here.submit(wants(1), length_s=5.0)
    here.until_states([second, third], COMPLETE, within_s=60.0)
    assert {start.instance for start in here.journal.of(m.StartContainer)} == {here.held(Phase.READY)[0].name}
    assert here.entry(second).lock_count == 1
    here.until_over(within_s=3 * 3600.0)
