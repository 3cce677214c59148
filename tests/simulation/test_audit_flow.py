"""The audit log through lives in virtual time: what reached the cloud or a runner and destroys stands there, with why."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping

from dispatcher.core import messages as m
from dispatcher.core.messages import Action, Event
from dispatcher.core.model import ContainerState, State
from dispatcher.runtime.story import Story, Teller
from dispatcher.simulation.incidents import Incidents
from dispatcher.simulation.world import Dispatcher
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, idle_instance, settings, wants


class Audited(Town):
    """A Town whose changes are told, as by the thread that does it."""

    def __init__(self, **more: object) -> None:
        self.entries: list[Mapping[str, object]] = []
        self.teller: Teller | None = None
        super().__init__(**more)  # type: ignore[arg-type]

    def note(self, dispatcher: Dispatcher, before: State, after: State, message: Event | Action) -> None:
        super().note(dispatcher, before, after, message)
        if self.teller is None:
            self.teller = Teller(Story(self.clock), self.clock, tell=lambda told: None, audit_log=self.entries.append)
        self.teller.hear(before, after, message)
        self.teller.tell()

    def of(self, act: str) -> list[tuple[object, object]]:
        return [(entry["Actor"], entry["Outcome"]) for entry in self.entries if entry["Act"] == act]


def test_the_life_of_an_instance_leaves_its_destroy_and_its_end() -> None:
    """Nobody asked for it: the actor is the dispatcher."""
    town = Audited(chosen=settings(timeout_idle_s=30.0))
    town.start_dispatcher()
    idle_instance(town)
    town.until_over()
    assert town.of("destroy") == [("dispatcher", "begun"), ("dispatcher", "gone")]
    assert town.entries[0]["Cause"] == "idle"


def test_the_kill_of_a_container_by_an_operator_names_the_operator_to_the_end() -> None:
    """The signal, its end, and the cancel that follows from it."""
    town = Audited(chosen=settings(timeout_idle_s=30.0))
    town.start_dispatcher()
    uuid = town.submit(wants(), length_s=900.0, attempts=1)
    town.until_states([uuid], ContainerState.RUNNING)
    town.leader.post(m.ContainerKillRequested(uuid=uuid, reason="it loops", actor="ada@host"))
    town.until_over()
    assert town.of("signal") == [("ada@host", "begun"), ("ada@host", "ended")]
    assert {actor for actor, _ in town.of("cancel")} <= {"ada@host"}


def test_every_destroy_that_reached_the_cloud_is_in_the_audit_log() -> None:
    """Whatever goes wrong meanwhile, restarts included: each has an entry with a reason before it was sent."""
    town = Audited(chosen=settings(timeout_idle_s=20.0, timeout_booting_s=120.0), knobs=StubKnobs(boot_s=10.0, hang_rate=0.1))
    town.start_dispatcher()
    incidents = Incidents(town, random.Random(5))
    for number in range(20):
        town.later(number * 40.0, incidents.submit)
    for number in range(6):
        town.later(100.0 + number * 90.0, incidents.kill_instance)
    town.later(400.0, town.restart)
    log = logging.getLogger("dispatcher")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        town.run(1500.0)
    finally:
        log.setLevel(level)
    sent = {act.name for act in town.journal.of(m.DestroyInstance)}
    told = {str(entry["InstanceName"]): entry["Reason"] for entry in town.entries if entry["Act"] == "destroy"}
    assert len(sent) > 5
    assert sent == set(told)
    assert all(told.values())
    assert "storm" in {entry["Actor"] for entry in town.entries}
