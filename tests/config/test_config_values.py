"""How values of each kind are read, refused and shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dispatcher.config import values
from dispatcher.config.values import Wrong
from dispatcher.config.yaml_lines import Scalar, parse


def node(text: str):
    return parse(text, "f.yml").root


DURATIONS = [
    ("0", 0.0),
    ("+0", 0.0),
    ("10s", 10.0),
    ("1m30s", 90.0),
    ("1h", 3600.0),
    ("1.5h", 5400.0),
    (".5s", 0.5),
    ("1.s", 1.0),
    ("-10s", -10.0),
    ("+3m", 180.0),
    ("100ms", 0.1),
    ("1s1s", 2.0),
    ("5us", 0.000005),
    ("5µs", 0.000005),
    ("5μs", 0.000005),
    ("7ns", 0.000000007),
    ("'2m'", 120.0),
    ("2562047h47m16s", 9223372036.0),
]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations(text, seconds):
    """Go's syntax, in seconds."""
    assert values.DURATION.parse(node(text)) == seconds


NO_DURATIONS = ["10", "1.5", "s", "10 s", "10S", "1d", "1m 30s", "ten", "''", "1e3s", ".s", "--1s", "true", "[10s]", "{a: 1s}"]


@pytest.mark.parametrize("text", [*NO_DURATIONS, "2562048h", "١s"])
def test_no_durations(text):
    """A bare number but zero, and whatever Go would refuse, is refused."""
    with pytest.raises(Wrong):
        values.DURATION.parse(node(text))


SHOWN_DURATIONS = [(0.0, "0s"), (10.0, "10s"), (90.0, "1m30s"), (3600.0, "1h"), (5400.5, "1h30m0.5s"), (0.1, "0.1s")]


@pytest.mark.parametrize(("seconds", "text"), SHOWN_DURATIONS)
def test_durations_are_shown_as_they_are_written(seconds, text):
    """What is shown can be written into the file."""
    assert values.show_duration(seconds) == text
    assert values.DURATION.parse(node(text)) == seconds


SIZES = [
    ("0", 0),
    ("1000", 1000),
    ("1K", 1000),
    ("1KB", 1000),
    ("1Ki", 1024),
    ("1KiB", 1024),
    ("4GiB", 4 << 30),
    ("4 GiB", 4 << 30),
    ("1.5GiB", 3 << 29),
    ("20GB", 20 * 10**9),
    ("1T", 10**12),
    ("1PiB", 1 << 50),
    ("1E", 10**18),
    ("100B", 100),
    ("0.1K", 100),
    ("1.6e+10", 16 * 10**9),
    ("9223372036854775807", (1 << 63) - 1),
]


@pytest.mark.parametrize(("text", "expected"), SIZES)
def test_sizes(text, expected):
    """Bytes, decimal and binary units, with or without B."""
    assert values.SIZE.parse(node(text)) == expected


NO_SIZES = ["-1", "-1GiB", "1 G iB", "1gib", "1k", "GiB", "''", "true", ".inf", ".nan", "[1]", "8EiB", "1GiBB", "1iB"]


@pytest.mark.parametrize("text", [*NO_SIZES, "9223372036854775808"])
def test_no_sizes(text):
    """What is negative, beyond 64 bits or in unknown units is refused."""
    with pytest.raises(Wrong):
        values.SIZE.parse(node(text))


@budget(deadline=None, max_examples=100)
@given(st.integers(0, (1 << 63) - 1) | st.builds(lambda a, b: a << b, st.integers(1, 1023), st.integers(0, 50)))
def test_sizes_are_shown_as_they_are_written(size):
    """What is shown can be written into the file and means the same."""
    assert values.SIZE.parse(node(values.show_size(size))) == size


SHOWN_SIZES = [(0, "0"), (20 * 10**9, "20GB"), (4 << 30, "4GiB"), (550 << 20, "550MiB"), (1023, "1023")]


@pytest.mark.parametrize(("size", "text"), SHOWN_SIZES)
def test_sizes_are_shown_short(size, text):
    """In the unit that people would choose."""
    assert values.show_size(size) == text


NUMBERS = [("0", 0.0), ("1", 1.0), ("0.5", 0.5), ("1e-3", 0.001), ("2.5e+2", 250.0)]


@pytest.mark.parametrize(("text", "expected"), NUMBERS)
def test_numbers(text, expected):
    """Also in the notation that YAML 1.1 does not know."""
    assert values.NUMBER.parse(node(text)) == expected


@pytest.mark.parametrize("text", ["-1", "'1'", "'1e3'", "one", "true", ".inf", ".nan", "[1]", "1e999"])
def test_no_numbers(text):
    """Text, truth and what is not finite are no numbers."""
    with pytest.raises(Wrong):
        values.NUMBER.parse(node(text))


@pytest.mark.parametrize("text", ["-1", "1.0", "'1'", "true", "x", "9223372036854775808"])
def test_no_counts(text):
    """A count is a whole number of 64 bits without quotes."""
    with pytest.raises(Wrong):
        values.COUNT.parse(node(text))


@pytest.mark.parametrize("text", ["'true'", "1", "maybe", "''"])
def test_no_flags(text):
    """Only YAML's own truth counts."""
    with pytest.raises(Wrong):
        values.FLAG.parse(node(text))


@pytest.mark.parametrize(("text", "expected"), [("22", "22"), ("12.0", "12.0"), ("010", "010"), ("yes", "yes"), ("a b", "a b")])
def test_text_is_what_stands_in_the_file(text, expected):
    """A port or a version needs no quotes."""
    assert values.TEXT.parse(node(text)) == expected


def test_texts_of_other_shapes():
    """Ports, lists of texts and mappings of texts, whatever YAML takes them for."""
    assert values.TEXTS.parse(node("[a, 1, 2.50]")) == ("a", "1", "2.50")
    assert [values.PORT.parse(node(text)) for text in ("22", "'2222'", "ssh")] == ["22", "2222", "ssh"]
    assert values.TAGS.parse(node("{a: 1, b: null, c: x}")) == {"a": "1", "b": "", "c": "x"}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (values.TEXTS, "a"),
        (values.TEXTS, "[[a]]"),
        (values.TAGS, "[a]"),
        (values.TAGS, "{a: [b]}"),
        (values.PATH, "x/y"),
        (values.PATH, "''"),
        (values.TEXT, "[a]"),
        (values.LOG_FORMAT, "xml"),
        (values.LOG_LEVEL, "loud"),
        (values.OPTIONAL_PATH, "x"),
        (values.PORT, "0"),
        (values.PORT, "65536"),
        (values.PORT, "'22 '"),
        (values.PORT, "-22"),
    ],
)
def test_wrong_shapes(kind, text):
    """A value of another shape is refused."""
    with pytest.raises(Wrong):
        kind.parse(node(text))


def test_long_values_are_cut_in_messages():
    """A message stays one line."""
    with pytest.raises(Wrong) as caught:
        values.DURATION.parse(Scalar("x" * 10_000, "x" * 10_000, 1))
    assert len(str(caught.value)) < 150
