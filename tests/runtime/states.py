"""Small States for the tests of the crank: a leader with what the test needs, and a clock that it moves itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dispatcher.core.maps import Map
from dispatcher.core.model import CloudView, Container, ContainerState, Instance, Leadership, Phase, State
from dispatcher.core.settings import Settings
from dispatcher.driver import InstanceType

TYPE = InstanceType(name="small", provider_type="s", vcpus=2, ram_bytes=4 << 30, included_scratch_bytes=1 << 30, price=0.1)


@dataclass
class Clock:
    """Stands still until it is told, or goes on by ``step_s`` with each look."""

    now_s: float = 100.0
    step_s: float = 0.0

    def monotonic(self) -> float:
        self.now_s += self.step_s
        return self.now_s

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now_s

    def utc(self) -> str:
        return ""


def uuid(number: int) -> str:
    return f"zzzzz-dz642-{number:015d}"


def container(number: int = 1, **more: Any) -> Container:
    known = {"state": ContainerState.QUEUED, "priority": 1, "first_seen_s": 1.0, "observed_s": 1.0}
    return Container(uuid=uuid(number), **{**known, **more})


def instance(name: str = "i1", **more: Any) -> Instance:
    known = {
        "type": "small", "phase": Phase.READY, "id": f"id-{name}", "address": "10.0.0.1", "secret": "s", "phase_since_s": 1.0,
        "appeared_s": 1.0, "ready_s": 2.0,
    }  # fmt: skip
    return Instance(name=name, **{**known, **more})


def leading(*things: Container | Instance, **more: Any) -> State:
    """A leader in term 1 that has listed the cloud and holds these."""
    known: dict[str, Any] = {
        "settings": Settings(instance_types={"small": TYPE}),
        "leadership": Leadership(leading=True, term=1, since_s=0.0),
        "cloud": CloudView(listed_s=50.0, confirmed_s=50.0),
        "containers": Map((each.uuid, each) for each in things if isinstance(each, Container)),
        "instances": Map((each.name, each) for each in things if isinstance(each, Instance)),
    }
    return State(**{**known, **more})
