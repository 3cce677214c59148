"""Locked ahead, in the World: what a slow queue service no longer costs, and that drains, priorities and cancels go before it."""

from __future__ import annotations

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, IdleBehavior
from dispatcher.core.transitions.ahead import GIVE_BACK_S, held
from dispatcher.simulation.queue import Entry
from tests.simulation.worlds import Town, offer, settings, wants

LENGTH_S = 2.0


def slow_town(*, instances: int = 2, **changes) -> Town:
    """A queue service that takes a quarter of a second for a lock; one place on each instance."""
    here = Town(settings(offer("a1", 1), max_instances=instances, **changes))
    here.delays.answer = (0.2, 0.3)
    here.start_dispatcher()
    return here


def many(here: Town, number: int, *, length_s: float = LENGTH_S, priority: int = 1) -> list[str]:
    return [here.submit(wants(), priority=priority, length_s=length_s) for _ in range(number)]


def waiting_s(here: Town) -> list[float]:
    """From the probe that showed that a place is free to the start there, as often as somebody was waiting."""
    free: dict[str, float] = {}
    gaps = []
    for at_s, _, message in here.journal.lines:
        if isinstance(message, m.StartContainer) and message.instance in free:
            gaps.append(at_s - free.pop(message.instance))
        elif isinstance(message, m.Probed) and message.report.processes == frozenset():
            free.setdefault(message.name, at_s)
    return gaps


def test_a_place_that_becomes_free_is_taken_without_waiting_for_a_lock():
    """From the moment on at which locks are known to be slow; and each container is locked once."""
    here = slow_town()
    uuids = many(here, 20)
    here.until_over()
    assert max(waiting_s(here)[-8:]) < 0.1
    assert [here.entry(uuid).lock_count for uuid in uuids] == [1] * 20
    early = [message for message in here.journal.of(m.LockContainer) if message.ahead]
    assert len(early) >= 8


def test_long_containers_are_locked_late():
    """Where nothing is to be gained nobody is held."""
    here = slow_town()
    many(here, 8, length_s=100.0)
    here.until_over()
    assert not any(message.ahead for message in here.journal.of(m.LockContainer))


def _until_early(here: Town) -> list[Entry]:
    """Until as many are locked ahead as there are places; they are told."""
    assert here.run(200.0, until=lambda: len(held(here.state)) == 2 and all(c.writing is None for c in held(here.state)))
    return [here.entry(container.uuid) for container in held(here.state)]


def test_a_newcomer_that_is_more_urgent_comes_first():
    """Who is locked ahead keeps its lock, and follows."""
    here = slow_town()
    many(here, 30)
    early = [entry.uuid for entry in _until_early(here)]
    urgent = many(here, 2, priority=9)
    here.run(1.0)  # it is known
    here.journal.lines.clear()
    here.until_states(urgent, ContainerState.RUNNING, within_s=20.0)
    here.until_over()
    started = [message.uuid for message in here.journal.of(m.StartContainer)]
    assert max(map(started.index, urgent)) < 4
    assert [here.entry(uuid).lock_count for uuid in early] == [1, 1]


def test_when_no_place_becomes_free_the_locks_are_given_back():
    """An operator drains everything: a minute later nobody is held any more, and nothing is lost."""
    here = slow_town()
    uuids = many(here, 30)
    early = _until_early(here)
    for instance in here.held():
        here.leader.post(m.IdleBehaviorSet(name=instance.name, behavior=IdleBehavior.HOLD))
    here.run(GIVE_BACK_S + 5.0)
    assert [entry.state for entry in early] == [ContainerState.QUEUED] * 2
    assert not held(here.state)
    for instance in here.held():
        here.leader.post(m.IdleBehaviorSet(name=instance.name, behavior=IdleBehavior.RUN))
    here.until_states(uuids, ContainerState.COMPLETE, within_s=600.0)
    here.check()


def test_a_restart_goes_on_with_those_who_were_locked_ahead():
    """They are ours, and have no place: they are served first, and no attempt is spent."""
    here = slow_town()
    uuids = many(here, 30)
    early = _until_early(here)
    here.leader.stop()
    here.start_dispatcher()
    here.until_states(uuids, ContainerState.COMPLETE, within_s=600.0)
    assert [entry.lock_count for entry in early] == [1, 1]
    here.check()


def test_who_is_cancelled_is_not_held():
    """Its lock is given back at once, and nothing of it is ever started."""
    here = slow_town()
    many(here, 30)
    gone = _until_early(here)[0]
    here.journal.lines.clear()
    here.queue.set_priority(gone.uuid, 0)
    here.until_states([gone.uuid], ContainerState.CANCELLED, within_s=20.0)
    assert gone.uuid not in [message.uuid for message in here.journal.of(m.StartContainer)]
    here.until_over()
