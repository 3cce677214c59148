"""Who tries out tokens gets slower and slower; nobody else does."""

from __future__ import annotations

import pytest

from dispatcher.web.guesses import AT_ONCE, ONE_IN_S, SOURCES, Guesses, source


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def guessed(times: int, clock: Clock | None = None, where: str = "10.0.0.1") -> Guesses:
    made = Guesses(clock or Clock())
    for number in range(times):
        made.wrong(where, f"guess {number}")
    return made


@pytest.mark.parametrize(("times", "waits"), [(0, False), (1, False), (AT_ONCE - 1, False), (AT_ONCE, True), (AT_ONCE + 5, True)])
def test_after_so_many_guesses_there_is_a_wait(times: int, waits: bool) -> None:
    """And not before: people mistype."""
    assert (guessed(times).wait_s("10.0.0.1") > 0) is waits


def test_then_it_is_one_every_other_second() -> None:
    """However long it goes on."""
    clock = Clock()
    made = guessed(AT_ONCE, clock)
    heard = 0
    for step in range(1000):
        clock.now_s += 0.1
        if made.wait_s("10.0.0.1") == 0:
            made.wrong("10.0.0.1", f"later {step}")
            heard += 1
    assert heard == pytest.approx(100 / ONE_IN_S, abs=1)


def test_the_same_wrong_token_again_is_no_guess() -> None:
    """A client that still has an old token shuts nobody out."""
    made = Guesses(Clock())
    for _ in range(1000):
        made.wrong("10.0.0.1", "the token of last year")
    assert made.wait_s("10.0.0.1") == 0


def test_others_do_not_wait() -> None:
    """Each address counts for itself."""
    assert guessed(AT_ONCE).wait_s("10.0.0.2") == 0


def test_the_last_guess_for_now_is_told() -> None:
    """So that it is logged once, and not with each."""
    made = Guesses(Clock())
    assert [made.wrong("x", str(number)) for number in range(AT_ONCE)] == [False] * (AT_ONCE - 1) + [True]


def test_the_memory_of_sources_is_bounded() -> None:
    """The oldest is forgotten."""
    made = guessed(AT_ONCE, where="first")
    for number in range(SOURCES):
        made.wrong(f"other {number}", "x")
    assert made.wait_s("first") == 0


def test_no_token_is_kept() -> None:
    """Wrong ones may be right elsewhere."""
    made = guessed(3)
    assert "guess" not in repr(vars(made)["_sources"])
    assert not any(b"guess" in digest for each in vars(made)["_sources"].values() for digest in each.known)


PLACES = [
    ("10.0.0.1", "", "10.0.0.1"),
    ("10.0.0.1", "10.9.9.9", "10.0.0.1"),  # anybody can write that
    ("127.0.0.1", "10.9.9.9", "10.9.9.9"),
    ("127.0.0.1", "1.1.1.1, 10.9.9.9", "10.9.9.9"),  # what the proxy itself added stands last
    ("", "10.9.9.9", "10.9.9.9"),  # by a unix socket
    ("127.0.0.1", "", "127.0.0.1"),
    ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
    ("127.0.0.1", "nonsense", "nonsense"),
]


@pytest.mark.parametrize(("remote", "forwarded_for", "expected"), PLACES)
def test_where_a_request_comes_from(remote: str, forwarded_for: str, expected: str) -> None:
    """A proxy on this host is believed, and nobody else."""
    assert source(remote, forwarded_for) == expected
