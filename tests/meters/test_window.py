"""Quantiles over the last ten minutes."""

from __future__ import annotations

import math

import pytest

from dispatcher.meters.window import AGE_S, KEPT, RING_S, Window, quantiles, weighed

WANTED = (0.5, 0.9, 0.95, 0.99)


def told(window: Window, now_s: float) -> list[float]:
    return quantiles(weighed(window.copied(now_s)), WANTED)


def filled(values: list[float], at_s: float = 0.0) -> Window:
    window = Window()
    for value in values:
        window.add(value, at_s)
    return window


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], [math.nan] * 4),
        ([7.0], [7.0] * 4),
        ([3.0, 1.0, 2.0, 23.0, 4.0], [3.0, 23.0, 23.0, 23.0]),
        ([float(each) for each in range(1, 101)], [50.0, 90.0, 95.0, 99.0]),
    ],
)
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], expected: list[float]) -> None:
    """Of none it is NaN, as a Go dispatcher says it."""
    assert told(filled(values), 0.0) == pytest.approx(expected, nan_ok=True)


def test_what_is_older_than_ten_minutes_counts_no_more() -> None:
    """It leaves by rings of two minutes, also when nothing new is observed."""
    window = filled([100.0], at_s=0.0)
    window.add(1.0, at_s=RING_S)
    assert told(window, AGE_S - 1.0)[1] == 100.0
    assert told(window, AGE_S)[1] == 1.0
    assert math.isnan(told(window, AGE_S + RING_S)[0])


def test_a_window_keeps_a_bounded_number() -> None:
    """A fair sample stands for a flood: the quantiles stay near, and what it took in stays known."""
    window = filled([float(each % 1000) for each in range(3 * KEPT)])
    [(count, kept)] = window.copied(0.0)
    assert (count, len(kept)) == (3 * KEPT, KEPT)
    assert told(window, 0.0) == pytest.approx([500.0, 900.0, 950.0, 990.0], abs=25.0)


def test_a_sampled_ring_weighs_as_much_as_what_it_stands_for() -> None:
    """Many observations of one ring are not outweighed by the few that another one kept in full."""
    window = filled([1.0] * (9 * KEPT))
    for _ in range(KEPT):
        window.add(2.0, RING_S)
    assert told(window, RING_S)[:2] == [1.0, 1.0]


def test_an_observation_that_comes_late_is_not_lost() -> None:
    """Two threads may tell in another order than they looked at the clock."""
    window = filled([1.0], at_s=RING_S + 1.0)
    window.add(2.0, at_s=RING_S - 1.0)
    assert sum(count for count, _ in window.copied(RING_S)) == 2
