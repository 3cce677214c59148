"""The ``runtime_status`` of a cancel: our reason joins what stands there, as strings, in 4 kB; and nothing secret gets in."""

from __future__ import annotations

import json

import pytest

from dispatcher.core import messages as m
from dispatcher.runtime.runtime_status import MOST_BYTES, merged, shortened, size
from dispatcher.runtime.scrub import MOST_CHARACTERS, MOST_LINES, Scrub, last_lines

MERGED = [
    ({}, ("e", ""), {"error": "e"}),
    ({}, ("e", "d"), {"error": "e", "errorDetail": "d"}),
    ({}, ("", ""), {"error": "cancelled by the dispatcher"}),
    ({"activity": "sorting"}, ("e", "d"), {"activity": "sorting", "error": "e", "errorDetail": "d"}),
    ({"preemptionNotice": "in 2 min"}, ("e", ""), {"preemptionNotice": "in 2 min", "error": "e"}),
    ({"steps": 3, "more": {"a": None}}, ("e", ""), {"steps": "3", "more": '{"a": null}', "error": "e"}),
    ({"error": "it coughed"}, ("e", "d"), {"error": "e", "errorDetail": "d\nbefore that: it coughed"}),
    ({"error": "a", "errorDetail": "b"}, ("e", ""), {"error": "e", "errorDetail": "before that: a\nb"}),
]


@pytest.mark.parametrize(("present", "ours", "status"), MERGED)
def test_what_stands_there_is_kept(present, ours, status):
    """The queue service replaces the whole object, and takes only strings."""
    assert merged(present, *ours) == status


@pytest.mark.parametrize("letter", ["x", "\n", "\"", "é", "\U0001f9ec"])
@pytest.mark.parametrize("present", [{}, {"activity": "a" * 9000}, {"activity": "a" * 1500, "warning": "b" * 400}])
def test_all_of_it_fits_into_four_kilobytes(letter, present):
    """Whatever it is made of; the beginning of the detail, which says where, and its end, which is the newest, stay."""
    status = merged(present, "reason", f"instance: i1\n{letter * 20_000}\nthe last line")
    assert size(status) <= MOST_BYTES
    assert size(status) > MOST_BYTES // 2
    assert status["errorDetail"].startswith("instance: i1\n")
    assert status["errorDetail"].endswith("the last line")
    assert ("warning" in status) is ("warning" in present)
    assert json.loads(json.dumps(status)) == status


def test_an_error_without_end_is_cut():
    """It stands in lists."""
    assert len(merged({}, "e" * 5000, "")["error"]) == 1000


def test_a_text_is_cut_in_its_middle():
    """Never longer than asked for."""
    text = "0123456789" * 5
    assert [shortened(text, most) for most in (50, 20, 3)] == [text, "012345\n[…]\n123456789", "012"]


SECRETS = ("the-system-root-token", "v2/zzzzz-gj3su-0123456789abcde/thesecretpart")
DIRTY = [
    ("plain words", "plain words"),
    ("\x1b[31mred\x1b[0m and \x00 nothing\r\nnext", "red and   nothing\nnext"),
    ("\x1b]0;title\x07text", "text"),
    ("token=the-system-root-token.", "token=***."),
    ("thesecretpart", "***"),
    ("v2/xxxxx-gj3su-aaaaaaaaaaaaaaa/ofsomebodyelse rest", "*** rest"),
    ("Authorization: Bearer abcdefgh", "Authorization: Bearer ***"),
    ("the instance's own: own-secret", "the instance's own: ***"),
    ("\u202eturned", "turned"),
]


@pytest.mark.parametrize(("text", "clean"), DIRTY)
def test_what_a_machine_wrote_is_made_fit_to_be_shown(text, clean):
    """No control characters, and no secret that we know of or that looks like a token."""
    assert Scrub(SECRETS)(text, "own-secret").strip() == clean


def test_the_end_of_an_output_is_bounded_whoever_sends_it():
    """Fifty lines, sixteen kilobytes."""
    many = "\n".join(str(number) for number in range(1000))
    assert last_lines(many).split("\n") == [str(number) for number in range(1000 - MOST_LINES, 1000)]
    assert len(last_lines("x" * 100_000)) == MOST_CHARACTERS


def test_no_message_of_an_output_holds_a_secret_of_ours():
    """The event that enters the State is made from scrubbed text, as its port may forget to."""
    event = m.OutputFetched(name="i1", uuid="u", began_s=0.0, text=last_lines(Scrub(SECRETS)("a the-system-root-token b")))
    assert "root" not in repr(event)
