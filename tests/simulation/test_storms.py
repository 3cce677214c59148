"""A few dozen storms, and what their census knows. Thousands: ``make storm SEEDS=1000``."""

from __future__ import annotations

import pytest

from dispatcher.core.model import Phase
from dispatcher.core.transitions.table import EDGES
from dispatcher.simulation import storm
from dispatcher.simulation.__main__ import main
from dispatcher.simulation.census import FAULTS, IMPOSSIBLE, Census, refusal_of, refusals

# The first were failures once, and each stands for what it found.
FOUND_SOMETHING = (10, 12, 14, 32, 67, 85, 104, 397, 485)
SEEDS = (*FOUND_SOMETHING, *range(2000, 2021))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_storm_ends_well(seed):
    """Safety while everything goes wrong, liveness when it has stopped."""
    outcome = storm.run(seed)
    assert outcome.wrong == [], f"repeat it with: python -m dispatcher.simulation storm --seed {seed} --trace"
    assert outcome.containers > 0
    assert outcome.census.unlisted() == []


def test_a_seed_repeats_exactly():
    """The same storm twice: or a failure could not be looked at."""
    first, second = storm.run(41), storm.run(41)
    assert (first.ended_s, first.census) == (second.ended_s, second.census)


def test_one_seed_is_told_step_by_step(capsys):
    """The command that a failure prints."""
    assert main(["storm", "--seed", "2", "--trace", " CreateInstance"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " CreateInstance(name='compute-00001'" in lines[0]
    assert lines[-1].startswith("seed 2: ")


def test_the_census_is_printed_and_what_never_occurred_is_named(capsys):
    """A few storms are not enough to fail for it; a thousand are."""
    assert main(["storm", "--seeds", "1", "--first", "2", "--jobs", "1"]) == 0
    text = capsys.readouterr().out
    assert "nothing → creating" in text
    assert "1 storms, 0 failed" in text


def test_the_census_asks_for_every_edge_and_every_refusal():
    """An empty one misses them all; a transition that occurred is missed no longer."""
    census = Census()
    missing = census.missing()
    assert sum(text.startswith("transitions") for text in missing) == len(EDGES)
    asked = [refusal.label for refusal in refusals() if refusal.label not in IMPOSSIBLE]
    assert sum(text.startswith("refusals") for text in missing) == len(asked) > 40
    census.transitions[Phase.BOOTING, Phase.READY] += 1
    assert len(census.missing()) == len(missing) - 1


def test_what_cannot_occur_is_named_as_the_code_names_it():
    """A reason that was reworded would otherwise stay excused, or be asked for again, unseen."""
    known = {refusal.label for refusal in refusals()} | set(FAULTS)
    held = {"create: held", "destroy: held"}  # knobs of the stub that storms leave alone
    assert set(IMPOSSIBLE) - held <= known


def test_a_refusal_is_known_by_its_words():
    """Names and numbers taken out; what the source does not say is a mistake."""
    assert refusal_of("compute-00001 does not answer") == "{instance.name} does not answer"
    assert refusal_of("another dispatcher leads") == "another dispatcher leads"
    with pytest.raises(LookupError):
        refusal_of("because")
