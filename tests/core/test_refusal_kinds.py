"""Whatever a driver says, its refusal has a cause."""

from __future__ import annotations

import pytest

from dispatcher.core.model import HoldoffKind
from dispatcher.core.refusals import cause_of


@pytest.mark.parametrize("kind", HoldoffKind)
def test_a_refusal_in_words_that_nobody_knows_has_the_cause_of_its_kind(kind):
    """No kind is left out: who asks for the cause is the very pass that decides."""
    assert cause_of(kind, "words that no row knows")
