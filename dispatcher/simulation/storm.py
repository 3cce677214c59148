"""A storm: some minutes of a World in which everything goes wrong by chance, then the faults stop and all has to end well.

*Safety*: no container runs twice at once, no busy instance is destroyed but by the exceptions, no limit is passed, no law of
State is broken. *Liveness*: every container ends, and no instance is left. A seed repeats exactly.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from dataclasses import dataclass, field, replace

from dispatcher.core import messages
from dispatcher.core.model import IdleBehavior
from dispatcher.core.settings import Settings
from dispatcher.driver import InstanceType
from drivers.stub import StubKnobs

from .census import Census
from .curious import Curious
from .incidents import GIB, Incidents
from .instances import InstanceKnobs
from .queue import QueueKnobs
from .world import Delays, Listener, World

SIZES = (1, 2, 4, 8)
CALLS_PER_MINUTE = {"create": 2, "list": 5, "destroy": 1, "set_tags": 1, "poll_create": 2}
CALM_S = 2 * 3600.0  # in a World without faults everything ends within this


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a storm came to. ``wrong`` is empty when it held."""

    seed: int
    wrong: list[str]
    census: Census = field(default_factory=Census)
    containers: int = 0
    ended_s: float = 0.0


def instance_types() -> dict[str, InstanceType]:
    made = [
        InstanceType(
            name=f"{family}{size}", provider_type=f"{family}{size}", vcpus=size, ram_bytes=size * 4 * GIB,
            included_scratch_bytes=size * 20 * GIB, price=size * price,
        )
        for family, price in (("a", 0.1), ("b", 0.12))
        for size in SIZES
    ]  # fmt: skip
    return {offer.name: offer for offer in made}


def settings(chance: random.Random) -> Settings:
    return Settings(
        instance_types=instance_types(),
        max_instances=chance.choice((2, 4, 8)),
        allowed_images=chance.choice(((), ("gpu-*",))),
        max_price_per_hour=chance.choice((0.0, 0.0, 1.0)),
        max_price_per_day=chance.choice((0.0, 0.0, 0.05)),
        spending_soft_share=chance.choice((0.0, 0.5)),
        max_running_containers_per_instance=chance.choice((0, 0, 1, 3)),
        initial_quota_estimate=chance.choice((0, 0, 3)),
        supervisor_fraction=chance.choice((0.0, 0.3, 0.5)),
        max_concurrent_creates=chance.choice((None, 1, 3)),
        max_dispatch_attempts=chance.choice((10, 3)),
        max_cloud_ops_per_second=chance.choice((None, 2.0, 10.0)),
        max_creates_per_second=chance.choice((None, None, 0.5)),
        max_destroys_per_second=chance.choice((None, None, 1.0)),
        max_probes_per_second=chance.choice((None, 5.0)),
        poll_interval_s=chance.choice((None, 5.0, 5.0)),
        sync_interval_s=30.0,
        timeout_booting_s=120.0,
        timeout_idle_s=chance.choice((20.0, 60.0)),
        timeout_probe_s=100.0,
        timeout_term_s=20.0,
        timeout_kill_s=20.0,
        timeout_shutdown_s=10.0,
    )


class Storm:
    """One storm from one seed."""

    def __init__(self, seed: int, listener: Listener | None = None) -> None:
        self.seed = seed
        self.chance = random.Random(f"storm {seed}")
        chosen = self._settings()
        attempts = self.chance.choice((chosen.max_dispatch_attempts, 1))  # the server may allow fewer than we were told
        knobs = self._bad_catalogue(self._bad_cloud())
        self.world = World(chosen, seed=seed, knobs=knobs, delays=self._bad_delays(), max_attempts=attempts)
        self.world.listener = listener
        self.incidents = Incidents(self.world, self.chance)
        self.curious = Curious(random.Random(f"curious {seed}"))
        self.long_s = self.chance.uniform(300.0, 1200.0)

    def _settings(self) -> Settings:
        """In one storm of four a container may not wait for ever. Drawn apart: the other storms are as they were."""
        max_wait_s = random.Random(f"patience {self.seed}").choice((0.0, 0.0, 0.0, 200.0))
        from_cloud = random.Random(f"prices {self.seed}").choice((True, False))
        return replace(settings(self.chance), max_wait_s=max_wait_s, prices_from_cloud=from_cloud)

    def _bad_catalogue(self, knobs: StubKnobs) -> StubKnobs:
        """Prices that move, types that are not there, or only said not to be. Drawn apart, for one storm of three."""
        chance = random.Random(f"catalogue {self.seed}")
        unoffered = frozenset(chance.choice(((), ("a1", "a8"), ("b2",))))
        if chance.random() < 0.66:
            return replace(knobs, catalogue_error_rate=0.0, unoffered=unoffered if chance.random() < 0.2 else frozenset())
        return replace(
            knobs, tells_types=True, tells_prices=True, unoffered=unoffered, catalogue_error_rate=chance.choice((0.0, 0.3)),
            falsely_unoffered_rate=chance.choice((0.0, 0.2)), max_price_change=chance.choice((0.0, 0.5)),
        )  # fmt: skip

    def _rate(self, most: float) -> float:
        """A chance that is often nothing and sometimes high."""
        return self.chance.choice((0.0, 0.0, most / 4, most))

    def _bad_cloud(self) -> StubKnobs:
        rate = self._rate
        ignored = rate(0.2)
        return StubKnobs(
            create_is_idempotent=self.chance.random() < 0.6, polls_creates=self.chance.random() < 0.5,
            min_create_interval_s=rate(0.4), min_list_interval_s=rate(0.4), min_destroy_interval_s=rate(0.2), rate_hint_rate=0.5,
            calls_per_minute=self.chance.choice(({}, {}, CALLS_PER_MINUTE)),
            create_takes_s=0.0, list_takes_s=0.0, destroy_takes_s=0.0, set_tags_takes_s=0.0,
            quota_instances=self.chance.choice((None, None, 1, 3)), tells_usages=self.chance.random() < 0.4,
            false_full_rate=rate(0.5),
            quota_by_group={"a": 1} if self.chance.random() < 0.2 else {},
            capacity_by_type={"a2": 0, "a4": 1} if self.chance.random() < 0.3 else {},
            create_error_rate=rate(0.3), list_error_rate=rate(0.3), destroy_error_rate=rate(0.3),
            set_tags_error_rate=rate(0.3), poll_create_error_rate=rate(0.3), driver_bug_rate=rate(0.1),
            lost_answer_rate=rate(0.2), false_unknown_rate=rate(0.1), late_failure_rate=rate(0.2),
            list_lag_s=self.chance.choice((0.0, 3.0, 10.0)), tags_lag_s=self.chance.choice((0.0, 5.0)),
            partial_list_rate=rate(0.3), lying_list_rate=rate(0.1) if not ignored else 0.0,
            max_destroy_s=self.chance.choice((0.0, 15.0, 60.0)), ignored_destroy_rate=ignored, leftover_rate=rate(0.3),
            boot_s=self.chance.choice((5.0, 30.0)), max_boot_extra_s=self.chance.choice((0.0, 60.0)),
            never_boots_rate=self.chance.choice((0.0, 0.0, 0.02, 0.1, 0.7)),
            broken_rate=rate(0.1), report_broken_rate=rate(0.1), hang_rate=rate(0.05),
            runner_missing_rate=rate(0.05), detach_s=self.chance.choice((0.0, 1.0)),
            prepare_s=self.chance.choice((0.0, 3.0)), runner_crash_rate=rate(0.15), ignores_term_rate=rate(0.2),
            unkillable_rate=rate(0.05), max_stale_lock_s=self.chance.choice((0.0, 3.0)), stuck_lock_rate=rate(0.05),
        )  # fmt: skip

    def _bad_delays(self) -> Delays:
        slow = self.chance.choice((0.05, 0.5, 3.0))
        create_s = self.chance.choice((0.0, 20.0))
        return Delays(send=(0.001, slow), answer=(0.001, slow), commit=(0.0, 0.02), create_answer_s=create_s)

    def _set_faults(self) -> None:
        rate = self._rate
        self.world.queue.knobs = QueueKnobs(
            error_rate=rate(0.1), lost_answer_rate=rate(0.1), overload_rate=rate(0.3), short_poll_rate=rate(0.2),
            garbled_rate=rate(0.05), tiny_pages=random.Random(f"pages {self.seed}").random() < 0.4,
        )  # fmt: skip
        self.world.instances.knobs = InstanceKnobs(
            lost_start_rate=rate(0.2), unsent_start_rate=rate(0.2), lost_probe_rate=rate(0.1), hung_output_rate=rate(0.3),
            lost_output_rate=rate(0.3), refused_start_rate=rate(0.1),
            refused_login_rate=random.Random(f"logins {self.seed}").choice((0.0, 0.0, 0.1)),
        )

    # -- what happens

    def run(self) -> Outcome:
        self._set_faults()
        self.world.start_dispatcher()
        self._plan_incidents()
        problem = ""
        try:
            self.world.run(self.long_s)
            self._calm_down()
            if not self._ends():
                problem = self._what_is_left()
        except AssertionError as broken:
            problem = f"{type(broken).__name__}: {broken}"
        return self._outcome(problem)

    def _plan_incidents(self) -> None:
        for _ in range(self.chance.randint(3, 25)):
            self.world.later(self.chance.uniform(0.0, self.long_s), self.incidents.submit)
        for incident, most in self.incidents.menu():
            for _ in range(self.chance.randint(0, most)):
                self.world.later(self.chance.uniform(0.0, self.long_s), incident)
        for _ in range(100):
            self.world.later(self.chance.uniform(0.0, self.long_s), self._ask)

    def _ask(self) -> None:
        dispatcher = self.curious.chance.choice(self.world.dispatchers)
        self.curious.ask(dispatcher.store.snapshot(), self.world.clock.now_s, times=25)

    # -- the end

    def _calm_down(self) -> None:
        """All faults stop."""
        world = self.world
        self.incidents.calm = True
        world.stub.knobs = StubKnobs.kind(
            create_is_idempotent=world.stub.knobs.create_is_idempotent, polls_creates=world.stub.knobs.polls_creates,
            boot_s=5.0,
        )  # fmt: skip
        world.queue.knobs, world.instances.knobs = QueueKnobs(), InstanceKnobs()
        free = replace(world.settings, max_price_per_hour=0.0, max_price_per_day=0.0)
        world.reload(replace(free, instance_types=instance_types()))
        for machine in world.stub.existing():
            machine.cut_off_until_s = -1.0

    def _release_holds(self) -> None:
        """Also of those that are only found now, by their tags."""
        for name, instance in self.world.state.instances.items():
            if instance.idle_behavior is not IdleBehavior.RUN:
                self.world.leader.post(messages.IdleBehaviorSet(name=name, behavior=IdleBehavior.RUN))

    def _ends(self) -> bool:
        end_s = self.world.clock.now_s + CALM_S
        while not self.world.over() and self.world.clock.now_s < end_s:
            self._release_holds()
            self.world.run(5.0)
        return self.world.over()

    def _what_is_left(self) -> str:
        world = self.world
        opened = [f"{e.uuid[-6:]} {e.state.value} prio {e.priority >> 50}" for e in world.queue.open_entries()]
        held = [f"{i.name} {i.phase.value} {i.probe_error or i.failure or ''}" for i in world.state.instances.all()]
        exists = [i.name for i in world.stub.existing()]
        minded = [f"{c.uuid[-6:]} {c.state.value} {c.priority >> 50} on {c.instance}" for c in world.state.containers.all()]
        leftovers = [leftover.id for _, leftover in world.stub.leftovers]
        return (
            f"not over after the storm: containers {opened[:5]}, minded {minded[:5]}, "
            f"instances held {held[:5]}, existing {exists[:5]}, left over {leftovers[:5]}"
        )

    def _outcome(self, problem: str) -> Outcome:
        world = self.world
        wrong = [*world.violations.found[:5], *world.stub.bugs[:5], *([problem] if problem else [])]
        wrong += [f"{d.name}: {d.store.planner_bugs} plans were illegal at once" for d in world.ever if d.store.planner_bugs]
        wrong += [f"{d.name}: {d.perform.bugs[0]}" for d in world.ever if d.perform.bugs]
        return Outcome(
            seed=self.seed, wrong=wrong, census=self._census(), containers=len(world.queue.entries), ended_s=world.clock.now_s
        )

    def _census(self) -> Census:
        world = self.world
        faults = self.incidents.counts + Counter(world.queue.faults) + Counter(world.instances.faults) + world.stub.faults
        census = Census(transitions=world.seen.transitions, faults=faults, messages=world.seen.messages)
        census.add_refusals(self.curious.refusals)
        for dispatcher in world.ever:
            census.add_refusals(dispatcher.reasons)
        return census


def run(seed: int, listener: Listener | None = None) -> Outcome:
    """One storm; meanwhile the log of the dispatcher is silent, since faults are what it is about."""
    log = logging.getLogger("dispatcher")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        return Storm(seed, listener).run()
    finally:
        log.setLevel(level)
