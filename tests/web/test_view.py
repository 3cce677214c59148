"""The runtime's view behind the web's pages: the two fit together without knowing each other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from dispatcher.core.messages import Event, IdleBehaviorSet
from dispatcher.core.model import CloudView, Leadership, QueueView, State
from dispatcher.runtime.health import judge
from dispatcher.runtime.story import Story
from dispatcher.runtime.view import LiveView
from dispatcher.web.app import make_app
from dispatcher.web.view import View
from tests.web.fakes import TOKEN
from tests.web.test_reading import container, instance, state

AUTH = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class StillClock:
    """A monotonic 100 s that is a wall time of 2027."""

    def monotonic(self) -> float:
        return 100.0

    def wall(self) -> float:
        return 1_800_000_000.0

    def utc(self) -> str:
        return "2027-01-15T08:00:00Z"


@dataclass
class Dispatcher:
    state: State
    posted: list[Event] = field(default_factory=list)

    def view(self) -> View:
        clock = StillClock()
        return LiveView(
            snapshot=lambda: self.state, post=self.posted.append, clock=clock, story=Story(clock),
            ages_s=lambda: {"prober": 0.5}, explain=lambda state, now: dict.fromkeys(state.containers, "waits"),
        )  # fmt: skip


LEADING = Leadership(leading=True, term=1, since_s=10.0)
SEEN = replace(
    state(container(1), instance(1, busy_s=40.0)),
    leadership=LEADING, queue=QueueView(polled_s=11.0), cloud=CloudView(listed_s=12.0),
)  # fmt: skip


def test_the_pages_work_on_the_runtimes_view() -> None:
    """Times are shown as wall time, statuses and health come through, and a post arrives."""
    dispatcher = Dispatcher(SEEN)
    client = make_app(dispatcher.view(), TOKEN).test_client()
    shown = client.get("/arvados/v1/dispatch/containers", headers=AUTH).json["items"][0]
    assert (shown["scheduling_status"], shown["first_seen_at"]) == ("waits", "2027-01-15T07:58:21.000000000Z")
    assert client.get("/_health/ping", headers=AUTH).json["health"] == "OK"
    client.post("/arvados/v1/dispatch/instances/hold?instance_id=vm1", headers=AUTH)
    assert [event.name for event in dispatcher.posted if isinstance(event, IdleBehaviorSet)] == ["name-1"]


def test_wall_times_become_times_of_our_clock() -> None:
    """There and back: the end of a hold is told in wall time and decided by ours."""
    view = Dispatcher(SEEN).view()
    assert (view.monotonic(), view.monotonic(1_800_000_060.0)) == (100.0, 160.0)
    assert view.utc(view.monotonic(1_800_000_060.0)) == "2027-01-15T08:01:00.000000000Z"


NOT_READY = [
    (SEEN, {}, "starting: no loop runs yet"),
    (SEEN, {"prober": 61.0, "scheduler": 0.0}, "no sign of life from prober (61 s)"),
    (replace(SEEN, leadership=Leadership(holder="pid 7 on host-b")), {"prober": 0.0}, "waiting to lead: pid 7 on host-b"),
    (replace(SEEN, leadership=Leadership()), {"prober": 0.0}, "waiting to lead: asking who leads"),
    (replace(SEEN, queue=QueueView(polled_s=9.0, error="no route")), {"prober": 0.0},
     "waiting for the first complete poll of the queue: no route"),
    (replace(SEEN, cloud=CloudView()), {"prober": 0.0}, "waiting for the first complete list of instances"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "ages_s", "problem"), NOT_READY)
def test_health_names_what_is_in_the_way(given: State, ages_s: dict[str, float], problem: str) -> None:
    """Each in its own words: an operator sees at once whether to wait or to act."""
    health = judge(given, ages_s)
    assert (health.ready, health.problem) == (False, problem)


def test_trouble_that_is_worked_around_is_a_warning() -> None:
    """A queue that fails after the first poll, an alarm or a full disk does not take the dispatcher out of service."""
    given = replace(SEEN, queue=replace(SEEN.queue, error="503"), cloud=replace(SEEN.cloud, alarm="too many destroys"))
    health = judge(given, {"prober": 0.0}, trouble=("the disk is full",))
    assert health.ready
    assert health.warnings == ("too many destroys", "the queue cannot be read: 503", "the disk is full")
