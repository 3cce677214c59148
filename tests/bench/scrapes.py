"""What metrics cost: a whole scrape, and looking at one change. Neither holds the store's lock; putting a change aside does."""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.core import messages as m
from dispatcher.core.model import State
from dispatcher.core.values import replace
from dispatcher.meters import catalogue as c
from dispatcher.runtime.metrics.collector import Metrics
from dispatcher.runtime.metrics.facts import Recorder
from dispatcher.web.metrics import lines
from tests.bench.measure import Results, cpu_s
from tests.bench.states import Clock, fleet, queue_of, report, stirred, with_queue

CONTAINERS, INSTANCES = 10_000, 1_000


def measure(results: Results) -> None:
    if not results.wants("scrape"):
        return
    house = fleet(INSTANCES, busy=True, max_instances=INSTANCES)
    state = with_queue(house, queue_of(CONTAINERS))
    _scrape(results, state, house.clock)
    _survey(results, state, house.clock)


def _scrape(results: Results, state: State, clock: Clock) -> None:
    """A scrape of a busy site, with full windows: of a version that nobody has looked at before."""
    metrics = Metrics(clock)
    for number in range(50_000):
        metrics.acts.board.observe(c.PROBE_DURATION, number / 1e6, "success", at_s=clock.now_s)
    for _ in results.each_round():
        results.add(f"scrape_{CONTAINERS}x{INSTANCES}_ms", 1e3 * cpu_s(_page, metrics, stirred(state)))


def _page(metrics: Metrics, state: State) -> str:
    return "".join(lines(metrics.registry(lambda: state).collect()))


def _survey(results: Results, state: State, clock: Clock) -> None:
    """A thousand probes, heard by the listener and looked at later: microseconds for each."""
    names = [instance.name for instance in list(state.instances.all())[:1000]]
    for _ in results.each_round():
        recorder, changes = Metrics(clock).recorder, list(_changes(state, names, clock.now_s))
        results.add("scrape_hear_one_us", 1e6 * cpu_s(_hear_all, recorder, changes) / len(names))
        results.add("scrape_survey_one_us", 1e6 * cpu_s(recorder.catch_up) / len(names))


def _hear_all(recorder: Recorder, changes: list[tuple[State, State, m.Event]]) -> None:
    for change in changes:
        recorder.hear(*change)


def _changes(state: State, names: list[str], now_s: float) -> Iterator[tuple[State, State, m.Event]]:
    for name in names:
        after = stirred_one(state, name)
        yield state, after, m.Probed(name=name, began_s=now_s, report=report())
        state = after


def stirred_one(state: State, name: str) -> State:
    """The State after a change of one instance."""
    instance = state.instances[name]
    return replace(state, instances=state.instances.set(name, replace(instance, probed_s=instance.probed_s + 1.0)))
