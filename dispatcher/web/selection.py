"""Which instances a request is about: those that it names, those that its selectors match, or those that both mean.

Values of one selector are alternatives, different selectors all have to match. Pure: a snapshot and words in, instances out.
"""

from __future__ import annotations

from dispatcher.core.model import IdleBehavior, Instance, Phase, State
from dispatcher.frozen import dataclass
from dispatcher.web.errors import Refused
from dispatcher.web.upstream import WORKER_STATES, running, worker_state

STATES = (*dict.fromkeys(WORKER_STATES.values()), "idle", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Words of a request. Whatever is empty matches everything. ``forgiving``: what is named and not there is left out.
    ``seen``: an instance that runs another container than these is not meant."""

    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    behaviors: tuple[str, ...] = ()
    forgiving: bool = False
    seen: frozenset[str] | None = None

    def find(self, state: State, missing: str) -> list[Instance]:
        """The instances, by id. Raises ``Refused``: 400 for words that mean nothing, 404 with ``missing`` for unknown ids."""
        self._check(state)
        pool = self._named(state, missing) if self.ids else state.instances.values()
        found = [instance for instance in pool if self.forgiving or self.matches(instance)]
        return sorted(found, key=lambda instance: (instance.id or "", instance.name))

    def matches(self, instance: Instance) -> bool:
        """Whether the selectors mean it. What shuts down is meant only when it is named, or asked for by that state."""
        if instance.phase is Phase.SHUTDOWN and not self.ids and not self.states:
            return False
        if self.seen is not None and not self.seen.issuperset(running(instance)):
            return False
        return (
            (not self.types or instance.type in self.types)
            and (not self.states or worker_state(instance) in self.states)
            and (not self.behaviors or instance.idle_behavior.value in self.behaviors)
        )

    def _named(self, state: State, missing: str) -> list[Instance]:
        """By the cloud's id, or by our own name while there is none. All of them, or nothing is done."""
        by_id = {instance.id: instance for instance in state.instances.values() if instance.id is not None}
        found = {wanted: state.instances.get(wanted) or by_id.get(wanted) for wanted in self.ids}
        unknown = [wanted for wanted, instance in found.items() if instance is None]
        if unknown and not self.forgiving:
            raise Refused(404, missing if len(self.ids) == 1 else f"{missing}, nothing was done: {', '.join(unknown)[:1000]}")
        return list({instance.name: instance for instance in found.values() if instance is not None}.values())

    def _check(self, state: State) -> None:
        known = {*state.settings.instance_types, *(instance.type for instance in state.instances.values())}
        _demand("instance_type", self.types, tuple(sorted(known)))
        _demand("state", self.states, STATES)
        _demand("idle_behavior", self.behaviors, tuple(IdleBehavior))


def _demand(name: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    strange = [word for word in given if word not in known]
    if strange:
        raise Refused(400, f"unknown {name} {', '.join(strange)[:200]}: it can be {', '.join(known)[:1000]}")
