"""The small pictures: points in their frame, a broken line where nobody looked, and never more points than the eye sees."""

from __future__ import annotations

import pytest

from dispatcher.core.history import IDLE, RUNNING, Sample
from dispatcher.web.charts import HEIGHT, HOURS, POINTS, WIDTH, pictures, thinned, top
from dispatcher.web.shown import Wall

WALL = Wall(0.0)


def at(minutes: float, running: int = 0, idle: int = 0, cost: float = 0.0, wait_s: float = 0.0) -> Sample:
    return Sample(at_s=60 * minutes, instances={RUNNING: running, IDLE: idle}, price_per_hour=cost, oldest_wait_s=wait_s)


def test_bands_are_stacked_and_end_with_what_is_now() -> None:
    """Two that run below one that idles, in a frame of five."""
    drawn = pictures([at(0, running=2), at(1, running=2, idle=1)], at(2, running=2, idle=1), WALL)[0]
    assert (drawn["top"], drawn["now"]) == (5.0, 3.0)
    shown = {band["name"]: band for band in drawn["bands"] if band["now"]}
    assert shown[RUNNING]["points"].startswith(f"0.0,{HEIGHT * 3 / 5} ")
    low, high, half = HEIGHT * 3 / 5, HEIGHT * 2 / 5, WIDTH / 2
    assert shown[IDLE]["points"].split()[1:4] == [f"{half},{low}", f"{half},{high}", f"{float(WIDTH)},{high}"]


def test_a_line_is_broken_where_nobody_looked() -> None:
    """A dispatcher that was down for an hour drew nothing in it."""
    told = [*(at(minute, cost=1.0) for minute in range(10)), *(at(minute, cost=2.0) for minute in range(70, 80))]
    cost = pictures(told, at(80, cost=2.0), WALL)[1]
    assert len(cost["lines"]) == 2
    assert (cost["now"], cost["highest"]) == (2.0, 2.0)


def test_only_the_last_hours_are_drawn() -> None:
    """What is older is no part of the picture."""
    drawn = pictures([at(0, cost=99.0), at(HOURS * 60 + 10, cost=1.0)], at(HOURS * 60 + 11, cost=1.0), WALL)[1]
    assert (drawn["top"], drawn["from"]) == (1.0, "1970-01-01T06:10:00Z")


def test_a_single_sample_makes_a_picture() -> None:
    """Just after the start there is only now."""
    assert [each["name"] for each in pictures([], at(5), WALL)] == ["instances", "cost", "wait"]


def test_points_are_few_and_the_last_is_kept() -> None:
    """A day of minutes is more than a small picture has columns."""
    many = [at(minute) for minute in range(1440)]
    assert len(thinned(many)) <= POINTS + 1
    assert thinned(many)[-1] is many[-1]


TOPS = [(0, 1.0), (0.3, 0.5), (1, 1.0), (3, 5.0), (17, 20.0), (5000, 5000.0), (5001, 10000.0)]


@pytest.mark.parametrize(("value", "above"), TOPS)
def test_the_top_is_a_round_number(value: float, above: float) -> None:
    """1, 2, 5 and their tens."""
    assert top(value) == pytest.approx(above)
