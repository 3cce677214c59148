"""Counters, summaries and histograms, and what they give to a scrape."""

from __future__ import annotations

import threading

import pytest

from dispatcher.meters.instruments import MOST_LABELS, Board, Meter, number
from dispatcher.meters.series import Kind, Series

CALLS = Series(name="toy_calls", kind=Kind.COUNTER, meaning="Calls.", labels=("error",), presets=(("0",), ("1",)))
WAIT = Series(name="toy_wait", kind=Kind.SUMMARY, meaning="Wait.", quantiles=(0.5,))
SIZE = Series(name="toy_size", kind=Kind.HISTOGRAM, meaning="Size.", bounds=(1.0, 2.0))


def samples(meter: Meter, now_s: float = 0.0) -> list[tuple[str, dict[str, str], float]]:
    return [(sample.name, sample.labels, sample.value) for sample in meter.family(now_s).samples]


def test_a_counter_keeps_its_name_and_begins_at_0() -> None:
    """Nothing is put behind the name; labels that are known are there from the start."""
    meter = Meter(CALLS)
    meter.add(2.0, ("1",))
    assert samples(meter) == [("toy_calls", {"error": "0"}, 0.0), ("toy_calls", {"error": "1"}, 2.0)]
    assert meter.family(0.0).name == "toy_calls"


def test_a_summary_gives_quantiles_sum_and_count() -> None:
    """The quantiles are of the window, sum and count of all time."""
    meter = Meter(WAIT)
    meter.observe(3.0, (), 0.0)
    assert samples(meter) == [
        ("toy_wait", {"quantile": "0.5"}, 3.0), ("toy_wait_sum", {}, 3.0), ("toy_wait_count", {}, 1),
    ]  # fmt: skip
    assert samples(meter, 1000.0)[1:] == [("toy_wait_sum", {}, 3.0), ("toy_wait_count", {}, 1)]


def test_a_histogram_counts_up_to_each_bound() -> None:
    """A value on the bound is below it; the last bucket holds all."""
    meter = Meter(SIZE)
    for value in (1.0, 1.5, 9.0):
        meter.observe(value, (), 0.0)
    assert samples(meter) == [
        ("toy_size_bucket", {"le": "1"}, 1), ("toy_size_bucket", {"le": "2"}, 2), ("toy_size_bucket", {"le": "+Inf"}, 3),
        ("toy_size_sum", {}, 11.5), ("toy_size_count", {}, 3),
    ]  # fmt: skip


def test_the_number_of_label_sets_is_bounded() -> None:
    """Names that others choose fill no memory: what comes beyond is counted together."""
    meter = Meter(Series(name="toy", kind=Kind.COUNTER, meaning="Toy.", labels=("name",)))
    for each in range(MOST_LABELS + 7):
        meter.add(1.0, (f"n{each:05d}",))
    assert len(samples(meter)) == MOST_LABELS + 1
    assert meter.value("other") == 7.0


def test_wrong_labels_are_an_error() -> None:
    """A series that is told with too few would be served wrongly for ever."""
    with pytest.raises(ValueError, match="toy_calls has the labels"):
        Meter(CALLS).add(1.0, ())


def test_many_threads_add() -> None:
    """None of their additions is lost."""
    board = Board((CALLS, SIZE))

    def work() -> None:
        for _ in range(500):
            board.add(CALLS, "0")
            board.observe(SIZE, 1.0, at_s=0.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (board.value(CALLS, "0"), board.value(SIZE)) == (4000.0, 4000.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (0.25, "0.25"), (1e18, "1e+18"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")],
)
def test_numbers_are_written_as_prometheus_reads_them(value: float, text: str) -> None:
    """Whole ones without a point."""
    assert number(value) == text
