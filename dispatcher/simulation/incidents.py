"""What happens in a storm beside the faults of single calls: users, operators, outages, machines and dispatchers that die.

Each incident is a method without arguments that strikes once, at the time at which it is called, and counts itself.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from dispatcher.core import messages
from dispatcher.core.model import ContainerState, IdleBehavior, Requirements

from .world import World

GIB = 1 << 30
LONG = "because\n" * 100  # longer than a tag may be, and on many lines


def whole_seconds(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Incidents:
    """They strike a World, by chance, until ``calm``."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world, self.chance = world, chance
        self.calm = False
        self.counts: Counter[str] = Counter()

    def menu(self) -> tuple[tuple[Callable[[], None], int], ...]:
        """Every incident, and how often it may strike in one storm."""
        return (
            (self.lose_instance, 4), (self.announce_end, 3),
            (self.restart, 3), (self.cut_off, 3), (self.own_outage, 2), (self.queue_outage, 2),
            (self.change_priority, 4), (self.take_lock_away, 2), (self.choose_behavior, 5), (self.hand_over, 1),
            (self.jump_wall_clock, 1), (self.kill_container, 2), (self.kill_instance, 2), (self.lose_connection, 3),
            (self.hint, 3), (self.expire_credentials, 1), (self.reload_settings, 1), (self.turn_unfit, 1),
            (self.spoil_hints, 2),
        )  # fmt: skip

    # -- users

    def submit(self) -> None:
        chance = self.chance
        vcpus = chance.choice((0, 1, 1, 1, 2, 3, 6))
        wanted = Requirements(
            vcpus=vcpus, ram_bytes=GIB // 2, tmp_bytes=chance.choice((0, GIB)), supervisor=chance.random() < 0.15,
            image_id=chance.choice(("", "", "", "gpu-1", "gpu-2", "evil")),
        )
        if chance.random() < 0.03:
            wanted = Requirements(vcpus=1000, ram_bytes=GIB)
        length_s = chance.choice((1.0, 20.0, 60.0, 200.0))
        self.world.submit(wanted, priority=chance.choice((1, 500, 1000)) << 50, length_s=length_s)

    def change_priority(self) -> None:
        opened = self.world.queue.open_entries()
        if opened:
            self.counts["priority changed"] += 1
            self.world.queue.set_priority(self.chance.choice(opened).uuid, self.chance.choice((0, 1 << 50)))

    def take_lock_away(self) -> None:
        locked = [entry.uuid for entry in self.world.queue.open_entries() if entry.state is ContainerState.LOCKED]
        if locked:
            self.counts["unlocked by somebody"] += 1
            self.world.queue.take_lock_away(self.chance.choice(locked))

    # -- operators

    def choose_behavior(self) -> None:
        name = self._any_instance()
        if name is not None:
            behavior = self.chance.choice(list(IdleBehavior))
            self.counts[f"operator: {behavior.value}"] += 1
            clock, for_s = self.world.clock, float(self.chance.choice((0, 0, 20, 300)))
            chosen = messages.IdleBehaviorSet(
                name=name, behavior=behavior, actor="storm@host", reason=LONG, at=whole_seconds(clock.wall())
            )
            if for_s:
                self.counts["operator: for a time"] += 1
                chosen = replace(chosen, until=whole_seconds(clock.wall() + for_s), until_s=clock.now_s + for_s)
            self.world.leader.post(chosen)

    def kill_container(self) -> None:
        bound = [c.uuid for c in self.world.state.containers.all() if c.instance is not None]
        if bound:
            self.counts["operator: kill container"] += 1
            uuid = self.chance.choice(bound)
            self.world.leader.post(messages.ContainerKillRequested(uuid=uuid, reason="storm"))

    def kill_instance(self) -> None:
        young = [i.name for i in self.world.state.instances.all() if i.creating and i.id is not None]
        name = young[0] if young else self._any_instance()
        if name is not None:
            self.counts["operator: kill instance"] += 1
            self.world.leader.post(messages.InstanceKillRequested(name=name, reason="storm", actor="storm"))

    def reload_settings(self) -> None:
        """Another idle time-out, and one instance type less, as a site does it."""
        self.counts["settings reloaded"] += 1
        kept = dict(self.world.settings.instance_types)
        kept.pop(self.chance.choice(sorted(kept)), None)
        self.world.reload(replace(self.world.settings, instance_types=kept, timeout_idle_s=self.chance.choice((10.0, 90.0))))

    # -- machines and networks

    def _any_instance(self) -> str | None:
        names = list(self.world.state.instances)
        return self.chance.choice(names) if names else None

    def lose_instance(self) -> None:
        existing = self.world.stub.existing()
        if existing:
            machine = self.chance.choice(existing)
            self.world.stub.lose(machine.id)
            if self.chance.random() < 0.5:  # its end may be seen at once, or not
                self.world.leader.post(messages.ConnectionLost(name=machine.name))

    def announce_end(self) -> None:
        """A machine is told that it ends within half a minute, mostly with the time, and ends."""
        existing = self.world.stub.existing()
        if existing:
            self.counts["end announced"] += 1
            doomed = self.chance.choice(existing)
            doomed.notice = "the cloud takes this machine back"
            in_s = 30.0 * self.chance.random()
            doomed.notice_ends_s = self.world.clock.now_s + in_s if in_s < 20.0 else None  # not every cloud says when
            self.world.later(in_s, lambda: self._end(doomed.id))

    def _end(self, instance_id: str) -> None:
        if instance_id in self.world.stub.instances:
            self.world.stub.lose(instance_id)

    def cut_off(self) -> None:
        existing = self.world.stub.existing()
        if existing:
            self.counts["instance cut off"] += 1
            self.chance.choice(existing).cut_off_until_s = self.world.clock.now_s + self.chance.uniform(5.0, 400.0)

    def turn_unfit(self) -> None:
        """A machine's boot probe fails from now on, though it works; who leads is killed, so that somebody asks."""
        busy = [machine for machine in self.world.stub.existing() if machine.has_work]
        if busy:
            self.counts["instance turns unfit"] += 1
            self.chance.choice(busy).unfit_at_s = self.world.clock.now_s
            self.restart()

    def own_outage(self) -> None:
        self.counts["own network outage"] += 1
        self.world.instances.knobs.down_until_s = self.world.clock.now_s + self.chance.uniform(5.0, 300.0)

    def queue_outage(self) -> None:
        self.counts["queue outage"] += 1
        self.world.queue.knobs.down_until_s = self.world.clock.now_s + self.chance.uniform(5.0, 300.0)

    def expire_credentials(self) -> None:
        """The cloud refuses us for a while."""
        self.counts["credentials expired"] += 1
        self._deny(True)
        self.world.later(self.chance.uniform(5.0, 120.0), lambda: self._deny(False))

    def _deny(self, denied: bool) -> None:
        if not self.calm:
            self.world.stub.knobs = replace(self.world.stub.knobs, denied=denied)

    def lose_connection(self) -> None:
        name = self._any_instance()
        if name is not None:
            self.counts["connection lost"] += 1
            self.world.leader.post(messages.ConnectionLost(name=name))

    def hint(self) -> None:
        """Something claims that there is news, whether there is or not."""
        self.counts["hint"] += 1
        post = self.world.leader.post
        known = sorted(self.world.leader.store.snapshot().containers)
        about = self.chance.choice([*known, "zzzzz-dz642-nobodyknowsthis"]) if self.chance.random() < 0.5 else ""
        post(messages.QueueHinted(container=about, ended=self.chance.random() < 0.5))
        post(messages.EventsFlowing(flowing=not self.calm and self.chance.random() < 0.5))
        name = self._any_instance()
        if name is not None:
            self.world.leader.post(messages.ProbeHinted(name=name))

    # -- hints

    def spoil_hints(self) -> None:
        """The state file is deleted, put back, cut off, or full of numbers that mean nothing."""
        hints, kind = self.world.hints, self.chance.choice(("deleted", "old", "cut off", "garbage"))
        if hints.text is None:
            return
        self.counts[f"hints {kind}"] += 1
        if kind == "old":
            hints.text = self.chance.choice(hints.earlier)
        elif kind == "cut off":
            hints.text = hints.text[: self.chance.randrange(len(hints.text))]
        else:
            hints.text = None if kind == "deleted" else self._garbage(hints.text)
        self.restart()

    def _garbage(self, text: str) -> str:
        """The form of hints, and other numbers, except for the version and the time."""
        head, spent, rest = text.partition('"spent"')
        numbers = ("-1", "0", "1e9", "1e300", "-1e300", "17.5")
        return head + spent + re.sub(r"(?<=:)-?[0-9.]+", lambda number: self.chance.choice(numbers), rest)

    # -- dispatchers

    def restart(self) -> None:
        self.counts["dispatcher killed"] += 1
        self.world.restart()

    def hand_over(self) -> None:
        """The leader loses its lock without dying; another takes over, and the first gets to know it a little late."""
        self.counts["leader changed"] += 1
        old = self.world.leader
        self.world.start_dispatcher()
        self.world.later(self.chance.choice((0.0, 1.0, 3.0)), lambda: old.post(messages.LeadershipLost(holder="another host")))
        self.world.later(self.chance.uniform(4.0, 60.0), old.stop)

    def jump_wall_clock(self) -> None:
        self.counts["wall clock jumped"] += 1
        self.world.clock.wall_offset_s += self.chance.choice((-86400.0, 86400.0))
