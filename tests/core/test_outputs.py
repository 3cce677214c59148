"""The end of a runner's output: asked for once for each attempt, believed only for that one, and never waited for long."""

from __future__ import annotations

import pytest

from dispatcher.core import messages as m
from dispatcher.core import reconcile
from dispatcher.core.model import ContainerState, Output, Phase
from dispatcher.core.transitions import outputs
from tests.core.build import C1, NOW, after, container, instance, names, state

LOCKED, RUNNING = ContainerState.LOCKED, ContainerState.RUNNING
FETCH = m.FetchOutput(name="i1", uuid=C1)
ENDED = {"exited_s": 950.0, "observed_s": 960.0, "avoid": "i1"}


def answer(began_s: float = NOW, name: str = "i1", text: str = "a line") -> m.OutputFetched:
    return m.OutputFetched(name=name, uuid=C1, began_s=began_s, text=text)


def ended(queue_state=RUNNING, **fields):
    return state(container(state=queue_state, **{**ENDED, **fields}), instance())


@pytest.mark.parametrize("queue_state", [RUNNING, LOCKED])
def test_an_attempt_that_ended_early_is_asked_for_its_output_before_anything_is_said_of_it(queue_state):
    """Then the verdict waits for the answer, and only then comes."""
    before = ended(queue_state)
    assert reconcile.plan(before, NOW) == [FETCH]
    asked = after(before, FETCH)
    assert reconcile.plan(asked, NOW + 4.9) == []
    verdict = "CancelContainer" if queue_state is RUNNING else "UnlockContainer"
    assert names(reconcile.plan(after(asked, answer()), NOW)) == [verdict]


def test_five_seconds_without_an_answer_are_enough():
    """And the clock alone brings the verdict."""
    asked = after(ended(), FETCH)
    assert reconcile.due_s(asked, NOW) == NOW + 5.0
    assert names(reconcile.plan(asked, NOW + 5.0)) == ["CancelContainer"]


@pytest.mark.parametrize(
    "late", [answer(began_s=NOW - 1.0), answer(name="i2")], ids=["of an earlier question", "of another instance"]
)
def test_an_answer_to_another_question_is_left_out(late):
    """It is about an earlier attempt."""
    output = after(ended(), FETCH, late).containers[C1].output
    assert output == Output(instance="i1", asked_s=NOW)


def test_a_new_attempt_forgets_the_output_of_the_last_one():
    """Each speaks for itself."""
    held = container(state=LOCKED, output=Output(instance="i1", asked_s=900.0, asking=False, text="old"))
    started = after(state(held, instance()), m.StartContainer(uuid=C1, instance="i1"))
    assert started.containers[C1].output is None


def test_the_state_keeps_no_more_than_a_record_takes():
    """The log gets all of it."""
    text = "x" * 10_000 + "end"
    output = after(ended(), FETCH, answer(text=text)).containers[C1].output
    assert output is not None
    assert (len(output.text), output.text[-3:], output.asking) == (outputs.MOST_CHARACTERS, "end", False)


REFUSED = [
    (state(instance()), "there is no such container or no such instance"),
    (state(container(state=RUNNING)), "there is no such container or no such instance"),
    (state(container(state=RUNNING), instance(address=None)), "it has no address"),
    (state(container(state=RUNNING, output=Output(instance="i1", asked_s=1.0)), instance()), "its output was asked for already"),
    (state(container(state=RUNNING, output=Output(instance="i2", asked_s=1.0)), instance()), None),
    (state(container(state=RUNNING), instance("i1", Phase.READY, C1)), None),
]


@pytest.mark.parametrize(("before", "reason"), REFUSED)
def test_why_an_output_cannot_be_asked_for(before, reason):
    """Once for each attempt, of a machine that has an address."""
    assert outputs.fetchable(before, FETCH, NOW) == reason
