"""YAML with line numbers: what is read, what is refused, and that no message quotes the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dispatcher.config.yaml_lines import Fields, lines, parse, plain

READINGS = [
    ("", {}),
    ("# nothing\n", {}),
    ("a: 1\nb: [x, 2.5, true, null, ~]\n", {"a": 1, "b": ["x", 2.5, True, None, None]}),
    ("a: '1'\nb: 2024-01-31\n", {"a": "1", "b": "2024-01-31"}),  # a date is text
    ("1: x\ntrue: y\n", {"1": "x", "true": "y"}),  # names are text
    ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 1}, "c": {"b": 1}}),
    ("base: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n", {"base": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
    ("x: &x {a: 1}\ny: &y {a: 2, b: 3}\nz: {<<: [*x, *y]}\n", {"x": {"a": 1}, "y": {"a": 2, "b": 3}, "z": {"a": 1, "b": 3}}),
    ("SAMPLE: 1\na: {SAMPLE: {b: 1}, c: 2}\n", {"a": {"c": 2}}),
    ("a: !mine x\n", {"a": "x"}),  # foreign tags say nothing to us
    ('{"a": {"b": [1, 2]}}', {"a": {"b": [1, 2]}}),
]


@pytest.mark.parametrize(("text", "expected"), READINGS)
def test_reading(text, expected):
    """Scalars get their types, aliases and merges are followed, samples left out."""
    document = parse(text, "f.yml")
    assert document.problems == ()
    assert plain(document.root) == expected


def test_every_value_knows_its_line():
    """A mapping's entry carries the line of its key, a list's the line of the item."""
    document = parse("a:\n  b:\n    - x\n    - c: 1\n\nd: |\n  text\n", "f.yml")
    found = dict(lines(document.root, "top"))
    assert found == {"top.a": 1, "top.a.b": 2, "top.a.b.0": 3, "top.a.b.1": 4, "top.a.b.1.c": 4, "top.d": 6}


REFUSALS = [
    # (text, place, part of the message)
    ("a: 1\n\tb: 2\n", ":2:1", "indent with spaces, not with tabs"),
    ("a: [1, 2\nb: 3\n", ":2:2", "this is not YAML"),
    ("a: 'x\n", ":2:1", "quoted scalar"),
    ("a: 1\n b: 2\n", ":2:3", "mapping values are not allowed here"),
    ("a: 1\n---\nb: 2\n", ":2:1", "single document"),
    ("a: x\x07y\n", ":1:5", "control characters are not allowed"),
    ("a: *nobody\n", ":1:4", "undefined alias"),
    ("? [a, b]\n: 1\n", ":1:3", "a key has to be a plain name"),
    ("a: &x\n  b: *x\n", ":1:4", "inside the value that it names"),
    ("a: {<<: 3}\n", ":1:9", "only mappings can be merged"),
    (f"a: {'9' * 5000}\n", ":1:4", "not a number"),
    ("a: !!int x\n", ":1:4", "not a number"),
    ("[" * 5000, "", "nested too deeply"),
]


@pytest.mark.parametrize(("text", "place", "words"), REFUSALS)
def test_what_is_no_yaml_is_told_with_its_place(text, place, words):
    """One problem with file, line and column; no root to go on with."""
    document = parse(text, "f.yml")
    assert document.root is None
    assert len(document.problems) == 1
    assert str(document.problems[0]).startswith(f"f.yml{place}: ")
    assert words in document.problems[0].text


def test_aliases_cannot_blow_a_small_file_up():
    """Ten levels of ten aliases would be ten thousand million values."""
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11))
    document = parse(text, "f.yml")
    refused = document.root is None  # a failure must not print the root
    assert refused
    assert "holds more than" in document.problems[0].text


def test_duplicate_keys_are_told_with_both_lines():
    """The last one counts."""
    document = parse("a:\n  b: 1\n  c: 2\n  b: 3\n", "f.yml")
    assert plain(document.root) == {"a": {"b": 3, "c": 2}}
    assert [str(each) for each in document.problems] == [
        "f.yml:4: b: stands twice, in lines 2 and 4: the last one counts; remove one"
    ]


SECRETS = ["*hush", "!hush!hush x", "'hush", "%hush", "@hush", "`hush", "&hush *hush", "{hush: [}"]


@pytest.mark.parametrize("value", SECRETS)
def test_no_message_quotes_the_text(value):
    """An unquoted password that means something in YAML stays secret."""
    document = parse(f"Password: {value}\n", "f.yml")
    assert "hush" not in str(document.problems)
    assert "hush" not in repr(document)


def test_a_document_prints_no_value():
    """A repr in a traceback shows names and lines alone."""
    assert "hush" not in repr(parse("Password: hush\nPasswords: [hush, {a: 'hush'}]\n", "f.yml"))


@budget(deadline=None, max_examples=200)
@given(st.text(alphabet=st.sampled_from("ab:- \n\t[]{}&*!|>'\"%@`#,?<=0~\x00"), max_size=30))
def test_no_text_breaks_the_parser(text):
    """Whatever stands in a file, there is a document or a problem."""
    document = parse(text, "f.yml")
    assert (document.root is None) == (len([each for each in document.problems if each.severity == "error"]) == 1)


def test_an_empty_text_is_an_empty_mapping():
    """A file without anything in it is a file in which every key is absent."""
    assert parse("", "f.yml").root == Fields({}, 1)
