"""Each law of State, broken once, is reported; the cheap check of one step finds what the full one finds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.core import invariants
from dispatcher.core.model import ContainerState, Phase, QueueWrite, State
from tests.core.build import C1, C2, container, instance, process, settings, state

RUNNING = ContainerState.RUNNING
SOUND = state(container(state=RUNNING), container(C2), instance("i1", Phase.READY, C1), instance("i2", Phase.BOOTING))


def put(**changes) -> State:
    """The sound State with one container or instance changed, without minding the other end."""
    made = SOUND
    for key, fields in changes.items():
        if key.startswith("c"):
            uuid = C1 if key == "c1" else C2
            made = replace(made, containers=made.containers.set(uuid, replace(made.containers[uuid], **fields)))
        else:
            made = replace(made, instances=made.instances.set(key, replace(made.instances[key], **fields)))
    return made


BROKEN = [
    (put(c2={"priority": -1, "runnable_since_s": None}), "has priority -1"),
    (put(c2={"uuid": "other"}), "is kept under another name: other"),
    (put(c2={"instance": "i9"}), "is bound to i9, which is gone"),
    (put(c2={"instance": "i2"}), "is bound to i2, which does not know it"),
    (put(c2={"ours": True}), "is ours although it is Queued"),
    (put(c2={"runnable_since_s": None}), "since when it could run does not agree"),
    (put(c1={"instance": None}), f"holds room for {C1}, which is not bound to it"),
    (replace(SOUND, strays=SOUND.strays.set(C1, "i1")), "is bound and a stray at once"),
    (replace(SOUND, strays=SOUND.strays.set(C2, "i2")), f"stray {C2} is not on i2"),
    (put(i2={"name": "i3"}), "is kept under another name: i3"),
    (put(i2={"processes": {C2: process(C1)}}), "is kept under another name"),
    (put(i2={"processes": {C2: process(C2)}}), "is neither bound nor a stray"),
    (put(i2={"phase": Phase.SHUTDOWN}), "is shutdown, and its destroy says otherwise"),
    (put(i2={"phase": Phase.CREATING}), "is being created by no call"),
    (put(i1={"ready_s": None}), "is ready since never"),
    (
        replace(put(i2={"bound": {C1: None, C2: None}}), settings=settings(max_running_containers_per_instance=1)),
        "holds 2 containers, more than 1",
    ),
    (put(c2={"writing": QueueWrite.LOCK}), "1 locks are on their way, but 0 are counted"),
]


@pytest.mark.parametrize(("broken", "text"), BROKEN)
def test_a_broken_law_is_reported(broken, text):
    """In words that name who and what, by the full check and by the check of one step."""
    with pytest.raises(invariants.Broken, match=text):
        invariants.check(broken)
    with pytest.raises(invariants.Broken, match=text):
        invariants.check_change(SOUND, replace(broken, settings=broken.settings))


def test_a_sound_state_is_sound():
    """And so is an empty one."""
    invariants.check(SOUND)
    invariants.check(State())
    invariants.check_change(State(), SOUND)
