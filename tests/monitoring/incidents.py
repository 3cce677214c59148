"""What goes wrong at night, as it strikes a World that has ordinary work: each incident with the alert that has to tell of it.

``patience_s`` is how long the evidence itself takes (a boot time-out, ten minutes of a stuck destroy); from then on the alert
has two evaluations. ``beside`` are alerts that may tell of the same incident from another side.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dispatcher.core import messages as m
from dispatcher.core.model import IdleBehavior, Phase
from dispatcher.core.settings import Settings
from dispatcher.runtime.metrics.collector import Surroundings
from dispatcher.runtime.times import rfc3339
from dispatcher.simulation.world import World
from drivers.stub import StubKnobs
from tests.monitoring.prometheus import Scraper
from tests.simulation.worlds import offer, settings, wants

STRIKE_S = 421.0  # just after an evaluation
DAY_S = 86400.0
KIND = StubKnobs.kind(boot_s=30.0, list_lag_s=3.0, detach_s=1.0, max_destroy_s=20.0, address_s=2.0)


@dataclass(slots=True)
class Site:
    """A World with ordinary work, and Prometheus in front of it."""

    world: World
    scraper: Scraper
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def busy(self, until_s: float, *, every_s: float = 25.0, length_s: float = 120.0) -> None:
        """Containers come until then."""
        at_s = self.world.clock.now_s
        while at_s < until_s:
            vcpus = self.chance.choice((1, 1, 2, 4))
            length = self.chance.uniform(0.5, 2.0) * length_s
            self.world.later(at_s - self.world.clock.now_s, lambda v=vcpus, s=length: self.world.submit(wants(v), length_s=s))
            at_s += self.chance.uniform(0.2, 1.8) * every_s

    def knobs(self, **changes: Any) -> None:
        """The cloud behaves otherwise from now on."""
        self.world.stub.knobs = replace(self.world.stub.knobs, **changes)

    def burst(self, count: int, *, vcpus: int = 4, length_s: float = 600.0) -> list[str]:
        return [self.world.submit(wants(vcpus), length_s=length_s) for _ in range(count)]

    def ready(self) -> list[str]:
        return [i.name for i in self.world.state.instances.all() if i.phase is Phase.READY]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    alert: str
    strike: Callable[[Site], None]
    before: Callable[[Site], None] = lambda site: None
    beside: tuple[str, ...] = ()
    patience_s: float = 0.0
    settings: Settings = field(default_factory=lambda: usual())
    knobs: StubKnobs = KIND


def usual(**changes: Any) -> Settings:
    base = {"max_instances": 60, "timeout_idle_s": 60.0, "poll_interval_s": 5.0}
    return settings(offer("a2", 2), offer("b4", 4), **{**base, **changes})


def site(incident: Incident) -> Site:
    world = World(incident.settings, seed=3, knobs=incident.knobs)
    world.start_dispatcher()
    made = Site(world=world, scraper=Scraper(world))
    incident.before(made)
    made.busy(STRIKE_S + incident.patience_s + 900.0, every_s=25.0 if incident.patience_s <= 600.0 else 100.0)
    return made


# ------------------------------------------------------------------------------------------------------------ the dispatcher


def dies(site: Site) -> None:
    site.world.leader.stop()


def leads_no_more(site: Site) -> None:
    site.world.leader.post(m.LeadershipLost(holder="nobody knows"))


def hangs(site: Site) -> None:
    site.world.leader.hung.add("scheduler")


def restarts(site: Site) -> None:
    for delay_s in (0.0, 30.0, 60.0):
        site.world.later(delay_s, site.world.restart)


def says(**around: Any) -> Callable[[Site], None]:
    """What only the process around the World can tell."""

    def strike(site: Site) -> None:
        site.scraper.around = Surroundings(**around)

    return strike


def clock_jumps(site: Site) -> None:
    site.world.clock.wall_offset_s += 3600.0


# ----------------------------------------------------------------------------------------------------------------- the queue


def api_dies(site: Site) -> None:
    site.world.queue.knobs.down_until_s = 1e9


def token_is_refused(site: Site) -> None:
    site.world.queue.knobs.down = (401, "Not logged in")
    api_dies(site)


def api_is_overloaded(site: Site) -> None:
    site.world.queue.knobs.overload_rate = 1.0
    site.burst(20)


def records_are_garbled(site: Site) -> None:
    site.world.queue.knobs.garbled_rate = 1.0
    site.burst(20)


# ----------------------------------------------------------------------------------------------------------------- the cloud


def cloud(**changes: Any) -> Callable[[Site], None]:
    """The cloud turns bad just as work comes in."""

    def strike(site: Site) -> None:
        site.knobs(**changes)
        site.burst(12)

    return strike


def quota(site: Site) -> None:
    site.knobs(quota_instances=len(site.world.stub.existing()) + 2)
    site.burst(12)


def network_cards_stay(site: Site) -> None:
    site.knobs(leftover_rate=1.0, delete_leftover_error_rate=1.0)


# ------------------------------------------------------------------------------------------------------------- the instances


def spot_wave(site: Site) -> None:
    """The cloud takes most machines back at once."""
    for machine in site.world.stub.existing()[:8]:
        site.world.stub.lose(machine.id)


def image_is_bad(site: Site) -> None:
    site.knobs(never_boots_rate=1.0)
    site.burst(6)


def key_is_wrong(site: Site) -> None:
    site.world.instances.knobs.refused_login_rate = 1.0
    site.burst(6)


def impostor(site: Site) -> None:
    """Another machine answers at the address of one of ours."""
    next(machine for machine in site.world.stub.existing() if machine.name in site.ready()).secret = "of somebody else"


def own_network_fails(site: Site) -> None:
    site.world.instances.knobs.down_until_s = 1e9


def one_is_cut_off(site: Site) -> None:
    machine = next(machine for machine in site.world.stub.existing() if machine.has_work)
    machine.cut_off_until_s = 1e9


def much_work(site: Site) -> None:
    site.world.later(120.0, lambda: site.burst(16, length_s=3000.0) and None)


def most_are_cut_off(site: Site) -> None:
    """Two thirds of them; whoever answers proves that it is not our own network."""
    machines = site.world.stub.existing()
    for machine in machines[: len(machines) * 2 // 3]:
        machine.cut_off_until_s = 1e9


def hold_is_forgotten(site: Site) -> None:
    """Chosen almost a day ago, as the tag of the machine says."""
    at = rfc3339(site.world.clock.wall() - DAY_S + 30.0)
    site.world.leader.post(m.IdleBehaviorSet(name=site.ready()[0], behavior=IdleBehavior.HOLD, actor="ada", at=at))


# ------------------------------------------------------------------------------------------------------------ the containers


def one_waits(site: Site) -> None:
    """MaxInstances is reached, and nothing becomes free."""
    site.world.reload(usual(max_instances=1))
    site.burst(40, length_s=9000.0)


def runner_refuses(site: Site) -> None:
    site.world.instances.knobs.refused_start_rate = 1.0


def runners_crash(site: Site) -> None:
    site.knobs(runner_crash_rate=1.0, prepare_s=5.0)
    site.burst(12, length_s=30.0)


def cannot_be_killed(site: Site) -> None:
    """And an operator's hold keeps their instances, so that nobody takes them away."""
    for name in site.ready():
        site.world.leader.post(m.IdleBehaviorSet(name=name, behavior=IdleBehavior.HOLD, actor="ada"))
    running = [c for c in site.world.state.containers.all() if c.state.value == "Running"]
    for process in [p for machine in site.world.stub.existing() for p in machine.processes.values() if p.alive]:
        process.unkillable, process.term_takes_s = True, float("inf")
    for container in running:
        site.world.queue.set_priority(container.uuid, 0)


# ----------------------------------------------------------------------------------------------------------------- the table

_RUNS_LONG = {"timeout_probe_s": 3600.0}

INCIDENTS: dict[str, Incident] = {
    "the dispatcher is dead": Incident(alert="CloudDispatcherAbsent", strike=dies),
    "nobody leads": Incident(alert="CloudDispatcherNobodyLeads", strike=leads_no_more),
    "a loop hangs": Incident(alert="CloudDispatcherLoopStuck", strike=hangs),
    "it is killed again and again": Incident(alert="CloudDispatcherRestarts", strike=restarts, patience_s=60.0),
    "a bug is survived": Incident(alert="CloudDispatcherBug", strike=says(bugs={"delivery": 3})),
    "calls hang": Incident(alert="CloudDispatcherCallsHang", strike=says(given_up=4)),
    "the disk is full": Incident(alert="CloudDispatcherTrouble", strike=says(troubles={"audit log": True}, audit_failures=3)),
    "the clock jumps": Incident(alert="CloudDispatcherClockWrong", strike=clock_jumps),
    "the API is dead": Incident(alert="CloudDispatcherQueueUnreadable", strike=api_dies),
    "the token is refused": Incident(
        alert="CloudDispatcherTokenRefused", strike=token_is_refused, beside=("CloudDispatcherQueueUnreadable",)
    ),
    "the API is overloaded": Incident(alert="CloudDispatcherQueueOverloaded", strike=api_is_overloaded),
    "records are garbled": Incident(alert="CloudDispatcherRecordsRejected", strike=records_are_garbled),
    "the cloud does not list": Incident(alert="CloudDispatcherCloudUnlistable", strike=cloud(list_error_rate=1.0)),
    "the credentials expire": Incident(
        alert="CloudDispatcherCredentialsRefused", strike=cloud(denied=True),
        beside=("CloudDispatcherCloudUnlistable", "CloudDispatcherDestroysFail"),
    ),
    "a quota is reached": Incident(alert="CloudDispatcherQuotaReached", strike=quota),
    "no capacity": Incident(alert="CloudDispatcherNoCapacity", strike=cloud(capacity_by_type={"a2": 0, "b4": 0})),
    "a rate limit": Incident(
        alert="CloudDispatcherRateLimited", strike=cloud(calls_per_minute={"list": 1, "create": 1, "destroy": 1})
    ),
    "creates fail": Incident(alert="CloudDispatcherCreatesFail", strike=cloud(create_error_rate=1.0)),
    "destroys fail": Incident(alert="CloudDispatcherDestroysFail", strike=cloud(destroy_error_rate=1.0), patience_s=300.0),
    "destroys do nothing": Incident(
        alert="CloudDispatcherDestroyStuck", strike=cloud(ignored_destroy_rate=1.0), patience_s=120.0 + 600.0
    ),
    "network cards stay": Incident(
        alert="CloudDispatcherLeftovers", strike=network_cards_stay, patience_s=120.0 + 1800.0
    ),
    "the image is bad": Incident(
        alert="CloudDispatcherBootsFail", strike=image_is_bad, patience_s=300.0, settings=usual(timeout_booting_s=300.0),
        beside=("CloudDispatcherDestroyGuard",),
    ),
    "the key is wrong": Incident(
        alert="CloudDispatcherLoginRefused", strike=key_is_wrong, beside=("CloudDispatcherInstancesUnreachable",)
    ),
    "an impostor": Incident(alert="CloudDispatcherImpostor", strike=impostor),
    "our own network fails": Incident(alert="CloudDispatcherInstancesUnreachable", strike=own_network_fails),
    "one instance is silent": Incident(
        alert="CloudDispatcherInstanceSilent", strike=one_is_cut_off, patience_s=300.0, settings=usual(**_RUNS_LONG)
    ),
    "most instances are silent": Incident(
        alert="CloudDispatcherDestroyGuard", before=much_work, strike=most_are_cut_off, patience_s=240.0,
        settings=usual(timeout_probe_s=200.0),
        beside=("CloudDispatcherInstancesUnreachable", "CloudDispatcherInstanceSilent"),
    ),
    "a spot wave": Incident(alert="CloudDispatcherInstancesVanish", strike=spot_wave),
    "a hold is forgotten": Incident(alert="CloudDispatcherHoldForgotten", strike=hold_is_forgotten, patience_s=30.0),
    "a container waits": Incident(alert="CloudDispatcherContainersWait", strike=one_waits, patience_s=1800.0),
    "the runner refuses": Incident(
        alert="CloudDispatcherStartsFail", strike=runner_refuses, beside=("CloudDispatcherAttemptsFail",)
    ),
    "runners crash": Incident(alert="CloudDispatcherAttemptsFail", strike=runners_crash),
    "a runner cannot be killed": Incident(
        alert="CloudDispatcherRunnerUnkillable", before=much_work, strike=cannot_be_killed, patience_s=40.0,
        settings=usual(timeout_term_s=10.0, timeout_kill_s=10.0),
    ),
    "the day's money is spent": Incident(alert="CloudDispatcherDayIsSpent", strike=lambda site: site.world.reload(
        usual(max_price_per_day=0.01))),
    "the hour's money is full": Incident(alert="CloudDispatcherHourIsFull", strike=lambda site: (
        site.world.reload(usual(max_price_per_hour=0.8)), site.burst(20))),
}  # fmt: skip
