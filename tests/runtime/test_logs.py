"""What a log line holds, and what it never holds."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher.runtime.logs import LINE_CHARACTERS, JsonLines, Secrets, TextLines, set_up
from dispatcher.runtime.times import rfc3339

SECRET = "v2/zzzzz-gj3su-000000000000000/thisisthesecretpart"


def record(text: str, *args: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": text, "args": args, "levelno": level, "levelname": logging.getLevelName(level), **extra})
    made.created, made.process = 1_800_000_000.123456, 4711
    return made


def as_json(one: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JsonLines("zzzzz").format(one))
    return found


def test_a_line_has_upstreams_fields() -> None:
    """Tools that read the Arvados dispatcher's log find what they look for."""
    line = as_json(record("instance %s is ready", "i-1", Instance="vm1", Duration=2.5))
    assert line.pop("thread") == "MainThread"
    assert line == {
        "time": "2027-01-15T08:00:00.123456000Z", "level": "info", "msg": "instance i-1 is ready", "PID": 4711,
        "ClusterID": "zzzzz", "Instance": "vm1", "Duration": 2.5,
    }  # fmt: skip


def test_an_extra_field_cannot_disguise_a_line() -> None:
    """The level and the time are ours alone."""
    assert as_json(record("x", level=logging.ERROR, time="never", ClusterID="other"))["ClusterID"] == "zzzzz"


def test_text_is_one_line_and_names_the_thread() -> None:
    """A line break in a message is not a line break in the log."""
    line = TextLines().format(record("two\nlines", State="idle"))
    assert line == "2027-01-15T08:00:00.123Z info    [MainThread] two\\nlines State=idle"


def test_a_line_is_bounded() -> None:
    """Whatever a cloud answers, a line stays readable."""
    assert len(as_json(record("x" * 100_000))["msg"]) < LINE_CHARACTERS + 100


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


PLACES = [
    {"msg": f"sent {SECRET} there"},
    {"msg": "sent %s there", "args": (SECRET,)},
    {"msg": "only %s", "args": ("thisisthesecretpart",)},
    {"msg": "x", "extra": {"Reason": f"was {SECRET}"}},
    {"msg": "x", "extra": {"Parts": ["a", SECRET], "Map": {"token": SECRET}}},
    {"msg": "GET /x?api_token=whatever&y=1"},
    {"msg": "Authorization: Bearer whatever"},
]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("place", PLACES)
def test_a_secret_reaches_no_part_of_a_line(root: logging.Logger, form: str, place: dict[str, Any]) -> None:
    """Message, arguments, fields: registered secrets are blanked, and so is what looks like a token."""
    stream = io.StringIO()
    set_up(form=form, cluster_id="zzzzz", secrets=[SECRET], stream=stream)
    logging.getLogger("toy").info(place["msg"], *place.get("args", ()), extra=place.get("extra"))
    assert "***" in stream.getvalue()
    assert "thisisthesecretpart" not in stream.getvalue()
    assert "whatever" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_secret_in_a_traceback_is_blanked(root: logging.Logger, form: str) -> None:
    """An exception's text often holds what was sent."""
    stream = io.StringIO()
    secrets = set_up(form=form, stream=stream)
    secrets.register("learntlater")
    try:
        raise ValueError("refused: learntlater")
    except ValueError:
        logging.getLogger("toy").exception("failed")
    assert "ValueError: refused: ***" in stream.getvalue()


@pytest.mark.parametrize("args", [(), (1, 2, 3)])
def test_a_wrong_call_is_logged_as_it_is(root: logging.Logger, args: tuple[object, ...]) -> None:
    """A slip in a log line must not become an exception in the thread that wrote it."""
    stream = io.StringIO()
    set_up(form="text", stream=stream, secrets=[SECRET])
    logging.getLogger("toy").warning("%s and %d" if args else "100 % sure %", *args)
    assert ("and %d" if args else "100 % sure %") in stream.getvalue()


def test_short_words_are_no_secrets() -> None:
    """An empty or tiny secret would blank every line."""
    assert Secrets(["", "a", "abc"]).blanked("abc a") == "abc a"


@pytest.mark.parametrize(("level", "lines"), [("debug", 2), ("info", 1), ("warning", 0), ("nonsense", 1)])
def test_the_level_is_the_configured_one(root: logging.Logger, level: str, lines: int) -> None:
    """As ``SystemLogs.LogLevel`` names it; what it does not know is info."""
    stream = io.StringIO()
    set_up(level=level, stream=stream)
    logging.getLogger("toy").info("x")
    logging.getLogger("toy").debug("y")
    assert len(stream.getvalue().splitlines()) == lines


@pytest.mark.parametrize(
    ("wall_s", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000000Z"),
        (-1.5, "1969-12-31T23:59:58.500000000Z"),
        (1_800_000_000.9999999999, "2027-01-15T08:00:01.000000000Z"),
        (1e18, "0001-01-01T00:00:00Z"),
    ],
)
def test_wall_times_are_utc_with_nanoseconds(wall_s: float, text: str) -> None:
    """Also before 1970, when a fraction rounds up, and beyond every calendar."""
    assert rfc3339(wall_s) == text
