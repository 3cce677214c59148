"""Sessions as values: who opened one is known again, until it ends, is signed out, or its token changes."""

from __future__ import annotations

import pytest

from dispatcher.web.session import LIFETIME_S, OPERATOR, READER, Sessions

TOKENS = {OPERATOR: "the-management-token", READER: "the-read-only-token"}


class Clock:
    """Stands still until it is set."""

    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def sessions(clock: Clock | None = None, **changes: str) -> Sessions:
    return Sessions({**TOKENS, **changes}, clock or Clock())


@pytest.mark.parametrize("role", [OPERATOR, READER])
def test_a_session_is_known_again(role: str) -> None:
    """With its role and the name; also by another dispatcher that has the same tokens."""
    opened, cookie = sessions().open(role, "ada")
    assert sessions().read(cookie) == opened
    assert (opened.role, opened.name) == (role, "ada")


def test_the_token_is_not_in_the_cookie() -> None:
    """Neither as it is nor in base64: who copies a cookie gets a session that ends."""
    _, cookie = sessions().open(OPERATOR, "ada")
    assert TOKENS[OPERATOR] not in cookie
    assert not any(part in cookie for part in ("dGhlLW1hbmFnZW1lbnQ", "the-"))


@pytest.mark.parametrize(("after_s", "there"), [(0, True), (LIFETIME_S - 1, True), (LIFETIME_S, False), (10 * LIFETIME_S, False)])
def test_a_session_ends_by_itself(after_s: float, there: bool) -> None:
    """Whatever the browser keeps."""
    clock = Clock()
    here = sessions(clock)
    _, cookie = here.open(OPERATOR, "")
    clock.now_s += after_s
    assert (here.read(cookie) is not None) is there


def test_a_session_ends_when_its_token_changes() -> None:
    """That of the other token goes on."""
    here, changed = sessions(), sessions(operator="another-management-token")
    (_, of_operator), (_, of_reader) = here.open(OPERATOR, ""), here.open(READER, "")
    assert changed.read(of_operator) is None
    assert changed.read(of_reader) is not None


def test_who_signed_out_is_out() -> None:
    """Also with a copy of the cookie; other sessions stay."""
    here = sessions()
    first, cookie = here.open(OPERATOR, "ada")
    _, other = here.open(OPERATOR, "ada")
    here.close(first)
    assert here.read(cookie) is None
    assert here.read(other) is not None


FORGED = ["", "x", "x" * 5000, "WzEsMl0.abc", "....", "é"]


@pytest.mark.parametrize("cookie", FORGED)
def test_what_we_did_not_sign_is_nothing(cookie: str) -> None:
    """And no error."""
    assert sessions().read(cookie) is None


def test_a_reader_cannot_make_an_operator_of_itself() -> None:
    """The role is under the signature, and each role has a key of its own."""
    forger = Sessions({OPERATOR: TOKENS[READER]}, Clock())
    _, cookie = forger.open(OPERATOR, "mallory")
    assert sessions().read(cookie) is None
    _, mine = sessions().open(READER, "mallory")
    head, _, signature = mine.rpartition(".")
    _, theirs = sessions().open(OPERATOR, "ada")
    assert sessions().read(f"{theirs.rpartition('.')[0]}.{signature}") is None
    assert sessions().read(f"{head}x.{signature}") is None


def test_a_role_without_a_token_has_no_sessions() -> None:
    """An empty key would be anybody's."""
    forger = Sessions({READER: "x"}, Clock())
    _, cookie = forger.open(READER, "")
    assert Sessions({OPERATOR: "t", READER: ""}, Clock()).read(cookie) is None


def test_a_form_key_is_of_one_session() -> None:
    """And of one token."""
    keys = {sessions().form_key(OPERATOR, "a"), sessions().form_key(OPERATOR, "b"), sessions().form_key(READER, "a")}
    assert len(keys) == 3
    assert sessions().form_key(OPERATOR, "a") in keys


def test_what_signed_out_is_forgotten_when_it_would_have_ended() -> None:
    """The memory is bounded by that, and by a number."""
    clock = Clock()
    here = sessions(clock)
    first, cookie = here.open(OPERATOR, "")
    here.close(first)
    clock.now_s += LIFETIME_S + 1
    second, _ = here.open(OPERATOR, "")
    here.close(second)
    assert here.read(cookie) is None
    assert here.remembered() == 1
