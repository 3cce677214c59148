"""The end of a runner's output: asked for once for each attempt, believed only for that one, and never waited for long."""

from __future__ import annotations

import pytest

from dispatcher.core import messages as m
from dispatcher.core import reconcile
from dispatcher.core.model import ContainerState, DestroyCause, Output, Phase
from dispatcher.core.transitions import outputs
from dispatcher.core.transitions.legal import legal
from dispatcher.core.values import replace
from tests.core.build import C1, NOW, after, container, instance, names, state

LOCKED, RUNNING, COMPLETE = ContainerState.LOCKED, ContainerState.RUNNING, ContainerState.COMPLETE
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


DRAIN = m.DestroyInstance(name="i1", cause=DestroyCause.DRAINED, reason="broken")
KEPT = "what a runner wrote there may still be asked for"
ASKED = Output(instance="i1", asked_s=997.0)


@pytest.mark.parametrize(
    ("fields", "busy_s", "reason"),
    [
        ({}, 996.0, KEPT),
        ({}, 995.0, None),
        ({"output": ASKED}, 990.0, KEPT),
        ({"output": replace(ASKED, asked_s=995.0)}, 990.0, None),
        ({"output": replace(ASKED, asking=False)}, 999.0, None),
        ({"avoid": "i2"}, 999.0, None),
        ({"lost": "it went away"}, 999.0, None),
        ({"state": COMPLETE}, 999.0, None),
    ],
    ids=["not yet asked", "nobody asked", "asked", "no answer", "answered", "ended elsewhere", "lost", "all is well"],
)
def test_an_instance_is_kept_for_the_output_of_a_runner_that_ended_there(fields, busy_s, reason):
    """For five seconds at most, whether it waits for the question or for the answer; a kill waits for none."""
    gone = container(**{"state": RUNNING, "output": None, **ENDED, **fields})
    before = state(gone, instance(busy_s=busy_s, processes_listed_s=999.0))
    assert legal(before, DRAIN, NOW) == reason
    assert legal(before, replace(DRAIN, cause=DestroyCause.OPERATOR), NOW) is None
