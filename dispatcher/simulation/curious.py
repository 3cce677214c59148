"""Somebody who asks for anything: actions that no planner would propose, judged on the States that a storm brings about.

What ``legal`` refuses, ``begin`` refuses with the same words; what it allows leads to a lawful State. Nothing is committed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from dispatcher.core import invariants
from dispatcher.core import messages as m
from dispatcher.core.model import CataloguePart, DestroyCause, State
from dispatcher.core.transitions import Refused, begin, legal

NOBODY, NOWHERE = "zzzzz-dz642-nosuchcontainer", "compute-nowhere"


class Disagreement(AssertionError):
    """``legal`` and ``begin`` say different things about one action."""


class Curious:
    """Asks about one drawn action at a time and keeps count of the answers."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.refusals: Counter[str] = Counter()

    def ask(self, state: State, now: float, times: int) -> None:
        uuids = [*state.containers, *state.strays, NOBODY]
        names = [*state.instances, NOWHERE]
        for _ in range(times):
            self.judge(state, self._draw(state, uuids, names), now)

    def _pair(self, state: State, uuids: list[str], names: list[str]) -> tuple[str, str]:
        """A container and an instance: often those that belong together."""
        uuid, name = self.chance.choice(uuids), self.chance.choice(names)
        container = state.containers.get(uuid)
        home = state.strays.get(uuid) if container is None else container.instance
        return uuid, home if home is not None and self.chance.random() < 0.6 else name

    def judge(self, state: State, action: m.Action, now: float) -> None:
        reason = legal(state, action, now)
        try:
            after = begin(state, action, now)
        except Refused as refused:
            if refused.reason != reason:
                raise Disagreement(f"{action}: legal says {reason}, begin says {refused.reason}") from refused
            self.refusals[reason] += 1
            return
        if reason is not None:
            raise Disagreement(f"{action}: legal says {reason}, and begin does it")
        invariants.check_change(state, after)

    def _draw(self, state: State, uuids: list[str], names: list[str]) -> m.Action:
        chance = self.chance
        uuid, name = self._pair(state, uuids, names)
        kinds: tuple[Callable[[], m.Action], ...] = (
            m.PollQueue,
            lambda: m.ReadContainers(uuids=(uuid,) * chance.choice((1, 1, 1, 101))),
            lambda: m.LockContainer(uuid=uuid, instance=name, ahead=chance.random() < 0.5),
            lambda: m.UnlockContainer(uuid=uuid, reason="curious"),
            lambda: m.CancelContainer(uuid=uuid, error="curious"),
            lambda: m.BindContainer(uuid=uuid, instance=name),
            lambda: m.ReleaseContainer(uuid=uuid),
            lambda: m.ForgetContainer(uuid=uuid),
            lambda: m.CreateInstance(name=name, instance_type=self._type(state), secret="curious"),  # noqa: S106
            lambda: m.PollCreate(name=name),
            m.ListInstances,
            lambda: m.DestroyInstance(name=name, cause=chance.choice(list(DestroyCause)), reason="curious"),
            lambda: m.RemoveInstance(name=name),
            lambda: m.SaveTags(name=name),
            lambda: m.ReadCatalogue(part=chance.choice(list(CataloguePart))),
            lambda: m.DeleteLeftover(id=self._leftover(state)),
            lambda: m.CondemnInstance(name=name, reason="curious"),
            lambda: m.ExpireIdleBehavior(name=name),
            lambda: m.ProbeInstance(name=name),
            lambda: m.StartContainer(uuid=uuid, instance=name),
            lambda: m.FetchOutput(name=name, uuid=uuid),
            lambda: m.KillProcess(name=name, uuid=uuid, signal=15, reason="curious"),
        )
        return chance.choice(kinds)()

    def _leftover(self, state: State) -> str:
        return self.chance.choice([*state.cloud.leftovers, "no such leftover"])

    def _type(self, state: State) -> str:
        return self.chance.choice([*state.settings.instance_types, "no such type"])
