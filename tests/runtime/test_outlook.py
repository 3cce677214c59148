"""The outlook is there for whoever asks: cheap ones are made at once, dear ones by the thread that does nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from states import Clock, container, leading

from dispatcher.core.model import State
from dispatcher.core.verdict import Factor
from dispatcher.runtime.outlook import CHEAP_S, FRESH_S, IDLE_S, LOOKED_AT_S, Outlooks


@dataclass
class Site:
    """A State that changes with each touch, and outlooks whose cost is what a test says."""

    cost_s: float = 0.0
    clock: Clock = field(default_factory=Clock)
    state: State = field(default_factory=lambda: leading(container()))
    troubles: list[Factor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._spent = self._ticks()
        self.outlooks = Outlooks(
            lambda: self.state, self.clock.monotonic, lambda: self.troubles, spent=lambda: next(self._spent)
        )

    def _ticks(self) -> Iterator[float]:
        spent_s = 0.0
        while True:
            yield spent_s
            spent_s += self.cost_s

    @property
    def made_s(self) -> float:
        """When the one that is kept was made, without looking at it."""
        kept = self.outlooks._made
        return kept.at_s if kept is not None else 0.0

    def touch(self, after_s: float) -> None:
        self.state = replace(self.state, version=self.state.version + 1)
        self.clock.now_s += after_s


def test_a_cheap_one_is_made_for_who_asks_as_soon_as_something_changed() -> None:
    """A small site is shown as it is now."""
    site = Site(cost_s=CHEAP_S / 2)
    first = site.outlooks.get()
    assert site.outlooks.get() is first
    site.touch(after_s=0.1)
    assert site.outlooks.get().version == site.state.version


def test_a_dear_one_is_left_to_its_thread() -> None:
    """Who asks gets the last one at once."""
    site = Site(cost_s=0.1)
    first = site.outlooks.get()
    site.touch(after_s=5.0)
    assert site.outlooks.get() is first
    site.outlooks.tick()
    assert site.outlooks.get().version == site.state.version


def test_while_somebody_looks_it_is_made_anew_each_second_and_else_now_and_then() -> None:
    """A page that nobody has open costs next to nothing, and is warm for the first who opens it."""
    site = Site(cost_s=0.1)
    site.outlooks.get()
    made = _made_in(site, seconds=10)
    assert made == 10 / FRESH_S
    site.clock.now_s += LOOKED_AT_S
    site.outlooks.tick()
    assert _made_in(site, seconds=2 * IDLE_S) == 2


def _made_in(site: Site, seconds: float) -> int:
    """How many times its thread makes one in so long, while everything changes all the time."""
    made = [site.made_s]
    for _ in range(round(seconds * 4)):
        site.touch(after_s=0.25)
        site.outlooks.tick()
        made.append(site.made_s)
    return len(set(made)) - 1


def test_a_very_dear_one_takes_a_bounded_part_of_a_processor() -> None:
    """Half a second of work is done every two and a half."""
    site = Site(cost_s=0.5)
    site.outlooks.get()
    assert _made_in(site, seconds=10) == 4


def test_what_the_process_itself_met_is_in_the_verdict() -> None:
    """A loop that hangs is no fact of State."""
    site = Site(troubles=[Factor(cause="loop-stuck", text="no sign of life from prober", level="stopped")])
    found = site.outlooks.get().verdict
    assert (found.level, found.cause) == ("stopped", "loop-stuck")
