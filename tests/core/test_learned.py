"""The pace that refusals teach: when it is measured, what it bounds, how it is tried again and forgotten."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dispatcher.core import learned, pacing
from dispatcher.core.messages import CallReported, CloudFailure
from dispatcher.core.model import HoldoffKind
from dispatcher.driver import RateLimits, Scope
from tests.core.build import NOW, after, settings, state

FAST = CloudFailure(text="too many requests", kind=HoldoffKind.RATE, scope=Scope.EVERYTHING)
AGAIN_S = NOW + 10.0


def refused(before, at_s: float, kind: str = "create", failure: CloudFailure = FAST):
    return pacing.hold_off(before, kind, failure, "t4", at_s)


def taken(before, count: int, at_s: float, kind: str = "create"):
    for _ in range(count):
        before = pacing.forgive(before, kind, "t4", at_s)
    return before


def taught(count: int = 20, kind: str = "create", **changes):
    """Two refusals ten seconds apart, and so many calls that went through between them; the pause is over at ``AGAIN_S`` + 1."""
    return refused(taken(refused(state(**changes), NOW, kind), count, NOW + 6.0, kind), AGAIN_S, kind)


def measured(seen, kind: str = "create"):
    return learned.rate(seen.learned[kind])


def test_after_one_refusal_it_is_tried_quickly_and_not_with_all_at_once():
    """Nobody knows how fast the cloud's bucket fills: ten, and so many a second, twice as many every two seconds."""
    seen = refused(state(), NOW)
    assert measured(seen) is None
    assert pacing.tokens(seen, "create", NOW + 6.0) == 10.0
    assert [learned.pace(seen, "create", NOW + s)[0] for s in (0.5, 1.0, 3.0, 7.0)] == [10.0, 10.0, 20.0, 80.0]


@pytest.mark.parametrize("kind", learned.KINDS)
def test_two_refusals_measure_it(kind):
    """What went through between them in that time; each kind of call for itself."""
    seen = taught(20, kind)
    assert measured(seen, kind) == 2.0
    assert [name for name in learned.KINDS if pacing.tokens(seen, name, AGAIN_S + 1) != math.inf] == [kind]


def test_the_bucket_is_empty_at_a_refusal_and_fills_during_the_pause():
    """What flowed in meanwhile may be sent at once, and then one at a time. Nobody knows how much the cloud's bucket holds: what
    flows in for a second is the most."""
    seen = taught(20)
    assert pacing.tokens(seen, "create", AGAIN_S) == 0.0
    assert 1.0 <= pacing.tokens(seen, "create", AGAIN_S + 0.5) < 1.1
    assert 2.0 <= pacing.tokens(seen, "create", AGAIN_S + 5.0) < 2.1
    spent = replace(seen, buckets=pacing.take(seen, "create", AGAIN_S + 0.5).buckets)
    assert AGAIN_S + 0.5 < pacing.next_token_s(spent, "create", AGAIN_S + 0.5) < AGAIN_S + 1.1


def test_answers_that_come_during_the_pause_are_of_calls_from_before_it():
    """They count for what lies behind; of what a full bucket held nothing is counted."""
    assert measured(taken(taught(20), 10, AGAIN_S + 0.9)) == 3.0
    first = taken(refused(state(), NOW), 50, NOW + 0.9)
    assert (first.learned["create"].taken, first.learned["create"].accepted) == (0, 0)


def test_refusals_of_calls_that_were_under_way_are_one():
    """Thirty are refused together: the bucket was empty once."""
    seen = refused(refused(taken(refused(state(), NOW), 20, NOW + 6.0), AGAIN_S), AGAIN_S + 0.2)
    assert (seen.learned["create"].since_s, measured(seen)) == (AGAIN_S, 2.0)


def test_it_is_tried_faster_the_longer_nothing_is_refused_and_then_forgotten():
    """Twice as fast after half a minute, five times after a minute, at any pace after two."""
    seen = taught(20)
    assert [learned.pace(seen, "create", AGAIN_S + s)[0] for s in (0.0, 30.0, 60.0)] == [2.0, 4.0, 10.0]
    assert pacing.tokens(seen, "create", AGAIN_S + 121.0) == math.inf


def test_a_few_calls_are_counted_with_those_before_them():
    """One that went through between two refusals is no measure."""
    seen = refused(taken(taught(20), 1, AGAIN_S + 6.0), AGAIN_S + 10.0)
    assert measured(seen) == 21 / 20


def test_it_is_halved_at_most():
    """A refusal after next to nothing was wanted does not bring everything to a stand."""
    seen = refused(taken(taught(20), 4, AGAIN_S + 6.0), AGAIN_S + 50.0)
    assert measured(seen) == 1.0


def test_refusals_that_are_far_apart_measure_nothing():
    """They tell how much was wanted."""
    assert measured(refused(taken(refused(state(), NOW), 20, NOW + 6.0), NOW + 61.0)) is None


@pytest.mark.parametrize("changes", [{"max_creates_per_second": 9.0}, {"cloud_limits": RateLimits(create=9.0, burst=9)}])
def test_who_knows_the_rate_is_not_taught(changes):
    """The site's word and the driver's knowledge come first."""
    seen = taught(20, settings=replace(settings(), **changes))
    assert pacing.tokens(seen, "create", AGAIN_S + 5.0) == 9.0


def test_what_answers_say_comes_first_too():
    """The cloud counts down itself."""
    seen = after(taught(20), CallReported(call="create", calls_remaining=100.0))
    assert pacing.tokens(seen, "create", AGAIN_S + 5.0) > 50


def test_only_refusals_for_the_rate_teach():
    """A quota says nothing about a pace."""
    seen = refused(state(), NOW, failure=replace(FAST, kind=HoldoffKind.QUOTA))
    assert not seen.learned


def test_who_set_the_pace_is_told():
    """For whoever asks why it is so slow."""
    assert pacing.in_force(taught(20), "create") == (2.0, "the cloud, as its refusals taught")


# ------------------------------------------------------------------------------------------------------- beside a real bucket


class Cloud:
    """A bucket that nobody is told of, asked by somebody who always wants more; answers take a fifth of a second."""

    def __init__(self, rate: float, burst: float, hint_s: float | None) -> None:
        self.rate, self.burst, self.tokens, self.hint_s = rate, burst, burst, hint_s
        self.seen, self.now = state(), NOW
        self.answers: list[tuple[float, bool]] = []
        self.accepted: list[float] = []
        self.refused: list[float] = []

    def run(self, for_s: float) -> None:
        for _ in range(round(for_s / STEP_S)):
            self.now += STEP_S
            self.tokens = min(self.burst, self.tokens + self.rate * STEP_S)
            while self.answers and self.answers[0][0] <= self.now:
                self._answer(self.answers.pop(0)[1])
            while len(self.answers) < LANES and self._may():
                self._send()

    def _may(self) -> bool:
        return pacing.holdoff(self.seen, "create", "t4", self.now) is None and pacing.tokens(self.seen, "create", self.now) >= 1

    def _send(self) -> None:
        self.seen = pacing.take(self.seen, "create", self.now)
        good = self.tokens >= 1
        self.tokens -= good
        (self.accepted if good else self.refused).append(self.now)
        self.answers.append((self.now + 0.2, good))

    def _answer(self, good: bool) -> None:
        failure = replace(FAST, retry_after_s=self.hint_s)
        self.seen = taken(self.seen, 1, self.now) if good else refused(self.seen, self.now, failure=failure)


STEP_S, LANES = 0.05, 32
WATCHED_S = 60.0


@pytest.mark.parametrize("hint_s", [None, 1.0])
@pytest.mark.parametrize(("rate", "burst"), [(1, 10), (2, 20), (10, 200), (0.5, 30), (20, 20), (50, 50), (5, 5), (1, 1)])
def test_the_limit_is_found_again_within_three_fillings_of_the_bucket(rate, burst, hint_s):
    """From then on four fifths and more of what the cloud would give are used, pauses included, and few calls are refused."""
    cloud = Cloud(rate, burst, hint_s)
    cloud.run(90.0)
    found_s = cloud.refused[0] + 3 * burst / rate
    cloud.run(found_s + WATCHED_S - cloud.now)
    later = [at_s for at_s in cloud.accepted if found_s < at_s <= found_s + WATCHED_S]
    assert len(later) >= 0.8 * rate * WATCHED_S
    assert sum(at_s > found_s for at_s in cloud.refused) <= max(6, len(later) / 5)
