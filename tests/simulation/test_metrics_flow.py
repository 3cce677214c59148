"""Metrics through the lives of instances and containers in virtual time, read as a Prometheus server reads them.

Every gauge is asserted with its value, from the first create to the last disappearance.
"""

from __future__ import annotations

import math

import pytest

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, IdleBehavior, Phase
from dispatcher.runtime.status import status
from dispatcher.simulation.queue import EPOCH
from dispatcher.web import upstream
from dispatcher.web.app import make_app
from drivers.stub import StubKnobs
from tests.simulation.worlds import GIB, Town, idle_instance, offer, settings, wants
from tests.web.exposition import Page, read
from tests.web.fakes import TOKEN, FakeView

COMPLETE, RUNNING = ContainerState.COMPLETE, ContainerState.RUNNING
A2 = offer("a2", 2, price=0.36)


class Watched(Town):
    """A Town whose newest dispatcher is scraped."""

    def scrape(self) -> Page:
        registry = self.leader.metrics.registry(self.leader.store.snapshot)
        client = make_app(FakeView(metrics=registry), TOKEN).test_client()
        page = read(client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text)
        assert page.dispatch("bugs_total", where="metrics") == 0
        self.adds_up(page)
        return page

    def adds_up(self, page: Page) -> None:
        """The categories sum to the number of instances, and so do the states."""
        count = len(self.state.instances)
        assert sum(page.of("instances_total", "category", "instance_type").values()) == count
        assert sum(page.of("instances_state", "state").values()) == count

    def by_category(self) -> dict[str, tuple[float, ...]]:
        """Category → (instances, price, vcpus, memory in GiB), where there is any."""
        page = self.scrape()
        return {
            each: (
                count, round(page.dispatch("instances_price", category=each), 6), page.dispatch("vcpus_total", category=each),
                page.dispatch("memory_bytes_total", category=each) / GIB,
            )
            for (each, _), count in page.of("instances_total", "category", "instance_type").items()
        }  # fmt: skip


def town(*offers, knobs: StubKnobs | None = None, **changes) -> Watched:
    made = Watched(settings(*(offers or (A2,)), **changes), knobs=knobs or StubKnobs.kind(boot_s=10.0, container_s=60.0))
    made.start_dispatcher()
    return made


# ------------------------------------------------------------------------------------- idle → booting → in use → hold → gone


def test_nothing_is_there_and_every_gauge_says_so() -> None:
    """Zeros where there is nothing, and the limit that would hold."""
    here = town(max_instances=7)
    here.run(10.0)
    page = here.scrape()
    assert here.by_category() == {}
    for name in (
        "at_quota", "containers_allocated_not_started", "containers_longest_wait_time_seconds", "last_503_time",
        "containers_not_allocated_over_quota", "containers_running", "probe_age_seconds_max", "probe_age_seconds_median",
        "instances_held", "instances_held_price", "containers_longest_runnable_wait_seconds",
    ):  # fmt: skip
        assert page.dispatch(name) == 0, name
    assert page.of("queue_entries", "state") == {}
    assert page.dispatch("max_concurrent_containers") == 7
    assert (page.dispatch("leading"), page.dispatch("leadership_term")) == (1, 1)


def test_the_gauges_from_booting_to_gone() -> None:
    """The test of activity and resource metrics that the stories ask for: each step with all its values."""
    here = town(timeout_idle_s=30.0)
    uuids = [here.submit(wants(), length_s=60.0) for _ in range(4)]

    # 1. Two instances are asked for, then boot: everything waits for them.
    assert here.run(60.0, until=lambda: len(here.held(Phase.BOOTING)) == 2), here.what()
    here.run(2.0)
    page = here.scrape()
    assert here.by_category() == {"booting": (2, 0.72, 4, 16)}
    assert page.of("instances_state", "state") == {"booting": 2}
    assert page.dispatch("containers_allocated_not_started") == 4
    assert page.dispatch("containers_longest_wait_time_seconds") == pytest.approx(here.clock.now_s, abs=0.01)
    assert 0 < page.dispatch("containers_longest_runnable_wait_seconds") <= here.clock.now_s
    assert page.of("queue_entries", "state", "instance_type") == {("Locked", "a2"): 4}
    assert page.dispatch("probe_age_seconds_max") == 0

    # 2. All run, and the poll has seen it.
    assert here.run(60.0, until=lambda: all(each.state is RUNNING for each in here.state.containers.all())), here.what()
    page = here.scrape()
    assert here.by_category() == {"inuse": (2, 0.72, 4, 16)}
    assert page.dispatch("containers_running") == 4
    assert page.dispatch("containers_allocated_not_started") == 0
    assert page.dispatch("containers_longest_wait_time_seconds") == 0
    assert page.of("queue_entries", "state", "instance_type") == {("Running", "a2"): 4}
    answered = sorted(here.clock.now_s - instance.answered_s for instance in here.held())
    assert page.dispatch("probe_age_seconds_max") == pytest.approx(answered[-1])
    assert page.dispatch("probe_age_seconds_median") == pytest.approx(sum(answered) / 2)
    assert page.of("boot_outcomes", "outcome") == {"success": 2}

    # 3. One is held while it is busy: in use it stays, and its price shows as held.
    held = here.held()[0].name
    here.leader.post(m.IdleBehaviorSet(name=held, behavior=IdleBehavior.HOLD))
    page = here.scrape()
    assert here.by_category() == {"inuse": (2, 0.72, 4, 16)}
    assert (page.dispatch("instances_held"), page.dispatch("instances_held_price")) == (1, 0.36)

    # 4. The work ends: one is on hold, the other idle.
    here.until_states(uuids, COMPLETE)
    assert here.run(20.0, until=lambda: not any(instance.processes for instance in here.held()))
    page = here.scrape()
    assert here.by_category() == {"hold": (1, 0.36, 2, 8), "idle": (1, 0.36, 2, 8)}
    assert page.dispatch("containers_running") == 0
    assert page.dispatch("instances_held_price") == 0.36

    # 5. The idle one is destroyed, which is still idle until it is gone.
    assert here.run(60.0, until=lambda: bool(here.held(Phase.SHUTDOWN))), here.what()
    page = here.scrape()
    assert here.by_category() == {"hold": (1, 0.36, 2, 8), "idle": (1, 0.36, 2, 8)}
    assert page.of("instances_state", "state") == {"idle": 1, "shutdown": 1}
    assert page.of("instances_destroyed_total", "cause") == {"idle": 1}
    age_s = here.clock.now_s - here.state.instances[held].answered_s
    assert page.dispatch("probe_age_seconds_median") == pytest.approx(age_s)  # of the held one alone
    assert here.run(60.0, until=lambda: len(here.held()) == 1)
    assert here.scrape().of("instances_disappeared", "state") == {"shutdown": 1}

    # 6. An operator kills the held one, and all is quiet.
    here.leader.post(m.InstanceKillRequested(name=held, reason="enough"))
    here.until_over()
    page = here.scrape()
    assert here.by_category() == {}
    assert page.of("instances_disappeared", "state") == {"shutdown": 2}
    assert page.of("instances_unexpected_shutdowns_total", "state") == {}
    assert page.of("queue_entries", "state") == {}


def test_the_summaries_and_histograms_of_a_life() -> None:
    """Each step of a container and of its instance was timed once, and the parts make up the whole."""
    here = town(timeout_idle_s=30.0)
    uuid = here.submit(wants(), length_s=20.0)
    here.until_states([uuid], RUNNING)
    instance, started_s = here.held()[0], here.clock.now_s
    here.until_over()
    page = here.scrape()
    for name in (
        "instances_time_to_ssh", "instances_time_to_ready_for_container", "containers_time_from_queue_to_crunch_run",
        "instances_time_from_shutdown_request_to_disappearance",
    ):  # fmt: skip
        assert page.dispatch(f"{name}_seconds_count") == page.dispatch(f"{name}_histogram_seconds_count") == 1
        assert page.dispatch(f"{name}_seconds", quantile="0.99") == page.dispatch(f"{name}_seconds_sum")
    boot_s = page.dispatch("instances_time_to_ssh_seconds_sum")
    boot_s += page.dispatch("instances_time_to_ready_for_container_seconds_sum")
    assert instance.ready_s is not None
    assert 9.0 < boot_s < instance.ready_s
    assert page.dispatch("containers_time_from_queue_to_crunch_run_seconds_sum") == pytest.approx(started_s, abs=2.5)
    waited_s = page.dispatch("containers_time_from_runnable_to_started_seconds_sum")
    assert 0 < waited_s < page.dispatch("containers_time_from_queue_to_crunch_run_seconds_sum")
    assert 0 < page.dispatch("containers_time_from_seen_to_locked_seconds_sum") < waited_s
    assert page.dispatch("instances_time_from_ready_to_started_seconds_count") == 1
    assert page.dispatch("instances_run_probe_duration_seconds_count", outcome="success") > 0


def test_old_observations_leave_the_quantiles_and_stay_in_the_sum() -> None:
    """After ten quiet minutes a quantile is NaN, as a Go dispatcher has it."""
    here = town(timeout_idle_s=3600.0)
    idle_instance(here)
    here.run(700.0)
    page = here.scrape()
    assert math.isnan(page.dispatch("instances_time_to_ssh_seconds", quantile="0.5"))
    assert page.dispatch("instances_time_to_ssh_seconds_count") == 1


# -------------------------------------------------------------------------------------------------------------------- cost


def test_cost_is_price_by_time_from_the_accepted_create_until_it_is_gone() -> None:
    """By category and instance type; what it cost while it was held stands apart, and the sum is the whole life."""
    here = town(timeout_idle_s=20.0)
    held = idle_instance(here)
    here.leader.post(m.IdleBehaviorSet(name=held.name, behavior=IdleBehavior.HOLD))
    before = here.scrape().of("instances_cost_total", "category", "instance_type")
    here.run(1000.0)
    after = here.scrape().of("instances_cost_total", "category", "instance_type")
    assert after["hold", "a2"] == pytest.approx(0.36 * 1000.0 / 3600.0, abs=1e-6)
    assert {each: after[each] for each in before} == pytest.approx(before)
    here.leader.post(m.InstanceKillRequested(name=held.name, reason="enough"))
    here.until_over()
    total = sum(here.scrape().of("instances_cost_total", "category", "instance_type").values())
    born_s = next(at for at, _, each in here.journal.lines if isinstance(each, m.InstanceCreated))
    gone_s = next(at for at, _, each in here.journal.lines if isinstance(each, m.RemoveInstance))
    assert total == pytest.approx(0.36 * (gone_s - born_s) / 3600.0)
    here.run(500.0)
    assert sum(here.scrape().of("instances_cost_total", "category", "instance_type").values()) == pytest.approx(total)


def test_a_new_price_counts_from_its_reload_on() -> None:
    """What was used before costs what it cost then."""
    here = town(timeout_idle_s=9000.0)
    idle_instance(here)
    start = sum(here.scrape().of("instances_cost_total", "category", "instance_type").values())
    here.run(100.0)
    here.reload(settings(offer("a2", 2, price=3.6), timeout_idle_s=9000.0))
    here.run(100.0)
    cost = sum(here.scrape().of("instances_cost_total", "category", "instance_type").values()) - start
    assert cost == pytest.approx(0.36 * 100.0 / 3600.0 + 3.6 * 100.0 / 3600.0, rel=1e-3)


def test_an_instance_of_a_type_that_a_reload_removes_keeps_its_price() -> None:
    """It goes on costing until it is gone: gauges and API say so like the limits on spending, which count it."""
    here = town(timeout_idle_s=9000.0)
    name = idle_instance(here).name
    here.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.HOLD))
    here.reload(settings(offer("b8", 8), timeout_idle_s=9000.0))
    here.run(5.0)
    page = here.scrape()
    assert here.state.instances[name].condemned == "its instance type is no longer configured"
    assert (page.dispatch("instances_price", category="hold"), page.dispatch("instances_held_price")) == (0.36, 0.36)
    assert upstream.instances(here.state, lambda at_s: "")[0]["price"] == 0.36
    assert "price per hour: 0.36" in status(here.state, here.clock.now_s).text


# ------------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("when", "outcome", "state"),
    [("booting", "disappeared", "booting"), ("idle", "success", "idle"), ("running", "success", "running")],
)
def test_an_unexpected_shutdown_is_counted_by_type_and_state(when: str, outcome: str, state: str) -> None:
    """The boot of an instance that vanishes has one outcome all the same."""
    here = town(timeout_idle_s=600.0)
    uuid = here.submit(wants(), length_s=600.0 if when == "running" else 5.0)
    if when == "booting":
        assert here.run(60.0, until=lambda: bool(here.held(Phase.BOOTING)))
        here.run(5.0)
    elif when == "running":
        here.until_states([uuid], RUNNING)
    else:
        idle_instance(here)
    name = here.held()[0].name
    here.stub.lose(here.machine(name).id)
    assert here.run(120.0, until=lambda: name not in here.state.instances), here.what()
    page = here.scrape()
    assert page.of("instances_unexpected_shutdowns_total", "instance_type", "state") == {("a2", state): 1}
    assert page.dispatch("instances_disappeared", state=state) == 1
    assert page.of("boot_outcomes_by_type_total", "instance_type", "outcome")["a2", outcome] == 1
    assert page.dispatch("containers_lost_total") == (0 if when == "idle" else 1)


def test_a_boot_that_never_ends_is_a_failure() -> None:
    """Counted once, when it is given up, and not again when the instance is gone."""
    here = town(knobs=StubKnobs.kind(never_boots_rate=1.0), timeout_booting_s=60.0)
    here.submit(wants())
    assert here.run(300.0, until=lambda: bool(here.held(Phase.SHUTDOWN))), here.what()
    name = here.held(Phase.SHUTDOWN)[0].name
    assert here.run(60.0, until=lambda: name not in here.state.instances)
    page = here.scrape()
    assert page.dispatch("boot_outcomes", outcome="failure") == 1
    assert page.dispatch("instances_destroyed_total", instance_type="a2", cause="boot timeout") == 1
    assert {booted for _, booted in page.of("ssh_failures_total", "class", "booted")} == {"0"}


def test_an_instance_that_is_killed_while_it_boots_was_aborted() -> None:
    """Its boot ended by our own hand."""
    here = town(knobs=StubKnobs.kind(boot_s=100.0))
    here.submit(wants())
    assert here.run(60.0, until=lambda: bool(here.held(Phase.BOOTING)))
    here.run(2.0)
    here.leader.post(m.InstanceKillRequested(name=here.held()[0].name, reason="wrong"))
    assert here.run(60.0, until=lambda: bool(here.held(Phase.SHUTDOWN)))
    assert here.scrape().of("boot_outcomes", "outcome") == {"aborted": 1}


def test_every_instance_has_one_boot_outcome_also_over_a_restart() -> None:
    """A new process counts those that it finds, once each."""
    here = town(timeout_idle_s=30.0)
    uuids = [here.submit(wants(), length_s=100.0) for _ in range(6)]
    here.until_states(uuids, RUNNING)
    here.restart()
    here.until_over()
    assert here.scrape().of("boot_outcomes", "outcome") == {"success": 3}
    assert here.scrape().of("instances_disappeared", "state") == {"shutdown": 3}


def test_quota_shows_in_every_gauge_that_it_touches() -> None:
    """At quota, who is shut out, how many may run, the hold-off and the class of the error; then all is well again."""
    here = town(knobs=StubKnobs.kind(quota_instances=1, boot_s=5.0))
    uuids = [here.submit(wants(vcpus=2), length_s=200.0) for _ in range(3)]
    here.until_states(uuids[:1], RUNNING)
    assert here.run(60.0, until=lambda: here.scrape().dispatch("at_quota") == 1), here.what()
    page = here.scrape()
    assert page.dispatch("containers_not_allocated_over_quota") == 2
    assert page.dispatch("max_concurrent_containers") == 1
    assert page.dispatch("holdoffs", call="create", kind="quota") == 1
    assert page.dispatch("holdoff_remaining_seconds", call="create") > 0
    refused = page.dispatch("driver_operations", operation="Create", error="1")
    assert refused == page.dispatch("cloud_calls_total", operation="Create", outcome="quota") >= 1
    assert page.dispatch("driver_operations", operation="Create", error="0") == 1
    assert page.dispatch("create_failing_seconds_total", instance_type="a2") > 0
    assert page.of("boot_outcomes", "outcome") == {"success": 1}  # a create that was refused has none
    assert page.of("instances_disappeared", "state") == {}  # and what never was is not gone
    here.stub.knobs = StubKnobs.kind(boot_s=5.0)
    here.until_over()
    page = here.scrape()
    assert (page.dispatch("at_quota"), page.dispatch("containers_not_allocated_over_quota")) == (0, 0)


def test_our_own_limit_shuts_out_and_is_no_quota_of_the_cloud() -> None:
    """MaxInstances keeps containers waiting; the cloud has refused nothing."""
    here = town(max_instances=1, knobs=StubKnobs.kind(boot_s=5.0))
    uuids = [here.submit(wants(vcpus=2), length_s=60.0) for _ in range(4)]
    here.until_states(uuids[:1], RUNNING)
    here.run(5.0)
    page = here.scrape()
    assert (page.dispatch("containers_not_allocated_over_quota"), page.dispatch("at_quota")) == (3, 0)


def test_supervisors_beyond_their_share_are_shut_out() -> None:
    """They have no place because of a limit, too."""
    here = town(max_instances=4, supervisor_fraction=0.25, knobs=StubKnobs.kind(boot_s=5.0))
    uuids = [here.submit(wants(supervisor=True), length_s=60.0) for _ in range(3)]
    here.until_states(uuids[:1], RUNNING)
    here.run(5.0)
    assert here.scrape().dispatch("containers_not_allocated_over_quota") == 2


def test_a_503_on_a_lock_is_dated_and_counted_by_status() -> None:
    """The date is Unix time, the failure stands by its status."""
    here = town()
    here.queue.knobs.overload_rate = 1.0
    here.submit(wants())
    assert here.run(120.0, until=lambda: here.scrape().dispatch("lock_failures_total", status="503") > 0), here.what()
    page = here.scrape()
    assert page.dispatch("last_503_time") == pytest.approx(EPOCH + here.clock.now_s, abs=60.0)
    assert page.dispatch("queue_requests_total", operation="lock", status="503") >= 1
    here.queue.knobs.overload_rate = 0.0
    here.until_over()
    assert here.scrape().dispatch("queue_requests_total", operation="lock", status="200") >= 1


def test_a_dispatcher_that_lost_the_leadership_sends_nothing_and_counts_nothing_as_sent() -> None:
    """leading is 0; the calls of the driver stand still."""
    here = town()
    idle_instance(here)
    here.leader.post(m.LeadershipLost(holder="another"))
    here.run(5.0)
    before = here.scrape()
    here.run(100.0)
    after = here.scrape()
    assert after.dispatch("leading") == 0
    assert after["arvados_dispatchcloud_driver_operations"].samples == before["arvados_dispatchcloud_driver_operations"].samples


def test_an_instance_of_a_type_that_is_gone_from_the_settings_still_counts() -> None:
    """12.4: neither it nor a container that fits nothing breaks a scrape; it has a category, and costs what it did."""
    here = town(offer("a2", 2, price=0.36), offer("b4", 4), timeout_idle_s=600.0)
    here.until_states([here.submit(wants(vcpus=2), length_s=300.0)], RUNNING)
    here.reload(settings(offer("z1", 1), timeout_idle_s=600.0))
    here.submit(wants(vcpus=64))
    here.restart()
    here.run(30.0)
    page = here.scrape()
    assert page.of("instances_total", "category", "instance_type") == {("inuse", "a2"): 1}
    assert page.of("instances_price", "category") == {"inuse": 0.36}
    assert ("Running", "") in page.of("queue_entries", "state", "instance_type")


def test_an_act_of_an_old_term_and_one_without_its_subject_are_no_calls() -> None:
    """perform says that nothing was sent; a call of the driver that meets a bug was one."""
    here = town()
    here.run(5.0)
    lists = here.scrape().dispatch("driver_operations", operation="List", error="0")
    term = here.state.leadership.term
    here.leader.perform.execute(m.ListInstances(), term - 1)
    here.leader.perform.execute(m.CreateInstance(name="nobody", instance_type="a2", secret="s"), term)
    page = here.scrape()
    assert page.dispatch("acts_total", act="ListInstances", outcome="not sent") == 1
    assert page.dispatch("acts_total", act="CreateInstance", outcome="not sent") == 1
    assert page.dispatch("driver_operations", operation="List", error="0") == lists
    assert sum(page["arvados_dispatchcloud_driver_operations"].samples.values()) == lists


# ----------------------------------------------------------------------------------------------------------------- 12.24

ASKED_FOR = {
    "how long creates take": ("act_duration_seconds_count", {"act": "CreateInstance"}),
    "time spent failing to create": ("create_failing_seconds_total", {"instance_type": "a2"}),
    "boot outcomes by type": ("boot_outcomes_by_type_total", {"instance_type": "a2", "outcome": "success"}),
    "unexpected shutdowns by type": ("instances_unexpected_shutdowns_total", {"instance_type": "a2", "state": "running"}),
    "cloud errors by class": ("cloud_calls_total", {"operation": "Create", "outcome": "quota"}),
    "lock errors": ("lock_failures_total", {"status": "503"}),
    "poll time": ("act_duration_seconds_count", {"act": "PollQueue"}),
    "poll size": ("queue_poll_records", {}),
    "SSH failures by class": ("ssh_failures_total", {"class": "unreachable", "booted": "0"}),
    "those that were not read": ("queue_waiting", {}),
    "wait from becoming runnable": ("containers_time_from_runnable_to_started_seconds_count", {}),
    "wait from being seen to the lock": ("containers_time_from_seen_to_locked_seconds_count", {}),
    "wait from ready to started": ("instances_time_from_ready_to_started_seconds_count", {}),
    "accumulated cost": ("instances_cost_total", {"category": "inuse", "instance_type": "a2"}),
}


@pytest.fixture(scope="module")
def troubled() -> Page:
    """A day with a quota, an overloaded queue service, slow boots and a lost instance."""
    here = town(knobs=StubKnobs.kind(quota_instances=1, boot_s=5.0))
    here.queue.knobs.overload_rate = 0.5
    uuids = [here.submit(wants(vcpus=2), length_s=300.0) for _ in range(8)]
    assert here.run(300.0, until=lambda: any(each.state is RUNNING for each in here.state.containers.all()))
    assert here.run(600.0, until=lambda: here.scrape().dispatch("lock_failures_total", status="503") > 0 or not uuids)
    assert here.run(60.0, until=lambda: any(instance.processes for instance in here.held()))
    here.stub.lose(here.machine(next(instance.name for instance in here.held() if instance.processes)).id)
    here.run(60.0)
    return here.scrape()


@pytest.mark.parametrize("what", ASKED_FOR)
def test_12_24_what_could_not_be_seen_can_be(troubled: Page, what: str) -> None:
    """Each has a series, and it moves when the thing happens."""
    name, labels = ASKED_FOR[what]
    assert troubled.dispatch(name, **labels) > 0


def test_12_24_a_wait_counts_from_when_it_was_wanted_and_not_from_its_creation() -> None:
    """A container that lay for an hour with priority 0 has waited for us since somebody wanted it."""
    here = town()
    uuid = here.submit(wants(), priority=0)
    here.run(3600.0)
    here.queue.set_priority(uuid, 1)
    here.until_states([uuid], RUNNING)
    here.run(5.0)
    page = here.scrape()
    assert page.dispatch("containers_time_from_queue_to_crunch_run_seconds_sum") > 3600.0
    assert page.dispatch("containers_time_from_runnable_to_started_seconds_sum") < 60.0


def test_12_24_durations_can_be_added_up_over_processes(troubled: Page) -> None:
    """Beside each summary of upstream's stands a histogram with the same number of observations."""
    pairs = {
        name: name.removesuffix("_seconds") + "_histogram_seconds"
        for name, family in troubled.items()
        if family.kind == "summary" and name.startswith("arvados_dispatchcloud_")
    }
    assert len(pairs) == 5
    for summary, histogram in pairs.items():
        assert troubled[histogram].kind == "histogram"
        counted = [{labels: value for (name, labels), value in troubled[each].samples.items() if name == f"{each}_count"}
                   for each in (summary, histogram)]  # fmt: skip
        assert counted[0] == counted[1]
