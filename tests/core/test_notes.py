"""The operator's note: from the event into tags, back from tags, and its end."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dispatcher.core import lifecycle, reconcile
from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, IdleBehavior, OperatorNote, Phase
from dispatcher.core.notes import TAG_CHARACTERS, note_of, note_tags, one_line
from dispatcher.core.transitions import Refused, begin
from dispatcher.core.transitions.cloud import all_tags, own_tags, tags_differ
from tests.core.build import C1, NOW, after, container, instance, listed, settings, state

AT, UNTIL = "2027-01-15T08:00:00Z", "2027-01-15T10:00:00Z"
DRAIN, HOLD, RUN = IdleBehavior.DRAIN, IdleBehavior.HOLD, IdleBehavior.RUN
TERM, ACTOR, REASON = "ArvadosIdleBehaviorTerm", "ArvadosIdleBehaviorActor", "ArvadosIdleBehaviorReason"
NOTE = OperatorNote(actor="ada@host", reason="kernel", at=AT, until=UNTIL, until_s=8200.0)
TAGS = {TERM: f"drain since {AT} until {UNTIL}", ACTOR: "ada@host", REASON: "kernel"}


def chosen(behavior=DRAIN, **more) -> m.IdleBehaviorSet:
    values = {"actor": "ada@host", "reason": "kernel", "at": AT, "until": UNTIL, "until_s": 8200.0, **more}
    return m.IdleBehaviorSet(name="i1", behavior=behavior, **values)


def test_the_choice_becomes_tags_beside_upstreams():
    """The IdleBehavior tag is exactly what every Arvados dispatcher reads; what is ours stands beside it."""
    held = after(state(instance()), chosen()).instances["i1"]
    tags = own_tags(held, settings())
    assert (tags["ArvadosIdleBehavior"], {name: tags[name] for name in TAGS}) == ("drain", TAGS)
    assert tags_differ(held, settings())


@pytest.mark.parametrize("behavior", [DRAIN, HOLD])
@pytest.mark.parametrize("ends", [True, False])
def test_a_note_comes_back_from_its_tags_as_it_was(behavior, ends):
    """Who, why, since when and until when survive a restart."""
    note = NOTE if ends else replace(NOTE, until="", until_s=math.inf)
    tags = note_tags(instance(idle_behavior=behavior, operator=note), "Arvados")
    assert note_of(tags, "Arvados", behavior, 8200.0 if ends else None) == note


OTHERWISE = [
    (HOLD, TAGS, "another dispatcher changed the behaviour and left our note"),
    (RUN, TAGS, "or released it"),
    (DRAIN, {}, "no note"),
    (DRAIN, {**TAGS, TERM: "drain since yesterday"}, "a tag that somebody edited"),
    (DRAIN, {**TAGS, TERM: f"drain since {AT} until {UNTIL} and on"}, "a tag that somebody edited"),
]


@pytest.mark.parametrize(("behavior", "tags", "why"), OTHERWISE, ids=[row[2] for row in OTHERWISE])
def test_a_note_counts_only_for_what_it_was_written_about(behavior, tags, why):
    """A hold must never end because of the time that somebody gave to a drain."""
    assert note_of(tags, "Arvados", behavior, 8200.0) == OperatorNote()


def test_an_end_that_no_calendar_has_is_no_end():
    """The choice stands until somebody changes it: that destroys nothing."""
    note = note_of({**TAGS, TERM: f"drain since {AT} until 2027-13-45T99:00:00Z"}, "Arvados", DRAIN, None)
    assert note == replace(NOTE, until="", until_s=math.inf)


def test_what_is_found_after_a_restart_has_its_note_and_its_end():
    """The list brings the end on our clock, since tags tell it in wall time."""
    found = listed(tags={**listed().tags, "ArvadosIdleBehavior": "drain", **TAGS})
    seen = after(state(), m.InstancesListed(began_s=NOW, instances=(found,), until_s={"i1": 8200.0})).instances["i1"]
    assert (seen.idle_behavior, seen.operator, tags_differ(seen, settings())) == (DRAIN, NOTE, False)


def test_a_stale_note_is_taken_away():
    """Found on an instance that works as usual: its tags are saved without it, and what others put there stays."""
    found = listed(tags={**listed().tags, **TAGS, "Site": "x"})
    seen = after(state(), m.InstancesListed(began_s=NOW, instances=(found,))).instances["i1"]
    assert tags_differ(seen, settings())
    assert not {*TAGS} & {*all_tags(seen, settings())}
    assert all_tags(seen, settings())["Site"] == "x"


def test_a_release_takes_the_note_out_of_the_tags():
    """Run after drain: the tags are those of any instance that works, and who released it is kept in State."""
    drained = after(state(instance(tags=TAGS)), chosen())
    released = after(drained, chosen(RUN, actor="bob", reason="done")).instances["i1"]
    assert released.operator == OperatorNote(actor="bob", reason="done", at=AT)
    assert not {*TAGS} & {*all_tags(released, settings())}


@pytest.mark.parametrize("again", [{"reason": "disk"}, {"actor": "bob"}, {"until": "", "until_s": math.inf}])
def test_another_note_about_the_same_behaviour_is_saved_too(again):
    """The last operator's word counts, and the cloud's copy follows."""
    first = after(state(instance()), chosen()).instances["i1"]
    saved = after(state(instance()), chosen(), m.TagsSaved(name="i1", tags=all_tags(first, settings())))
    assert not tags_differ(saved.instances["i1"], settings())
    assert tags_differ(after(saved, chosen(**again)).instances["i1"], settings())


# --------------------------------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("behavior", [DRAIN, HOLD])
@pytest.mark.parametrize("phase", [Phase.READY, Phase.CREATING, Phase.SHUTDOWN])
def test_the_end_is_planned_when_it_has_come(behavior, phase):
    """Not before, and in whatever phase the instance is."""
    before = state(instance(phase=phase, idle_behavior=behavior, operator=replace(NOTE, until_s=NOW)))
    end = m.ExpireIdleBehavior(name="i1")
    assert end in lifecycle.plan(before, NOW)
    assert end not in lifecycle.plan(before, NOW - 0.1)
    assert lifecycle.due_s(before, NOW - 0.1) == NOW


def test_when_its_time_is_over_it_works_again():
    """Back to run, not idle since long ago, and the note says whose choice ended."""
    before = state(instance(idle_behavior=DRAIN, busy_s=0.0, operator=replace(NOTE, until_s=NOW)))
    seen = after(before, m.ExpireIdleBehavior(name="i1")).instances["i1"]
    assert (seen.idle_behavior, seen.busy_s) == (RUN, NOW)
    assert seen.operator == OperatorNote(reason="the drain of ada@host was meant to end now: kernel", at=UNTIL)


@pytest.mark.parametrize("fields", [{}, {"operator": NOTE, "idle_behavior": HOLD}])
def test_no_choice_ends_before_its_time(fields):
    """Nor one that has no end."""
    with pytest.raises(Refused, match="is not over"):
        begin(state(instance(**fields)), m.ExpireIdleBehavior(name="i1"), NOW)


def test_a_release_has_no_end():
    """Only hold and drain can be for a time."""
    assert after(state(instance()), chosen(RUN)).instances["i1"].operator.until_s == math.inf


def test_a_later_choice_takes_the_end_away():
    """The drain for two hours became a hold: it stays."""
    held = after(state(instance()), chosen(), chosen(HOLD, until="", until_s=math.inf))
    assert m.ExpireIdleBehavior(name="i1") not in lifecycle.plan(held, 1e9)


# ------------------------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\tc\x00\x1b[31md", "a b c [31md"),
        ("  ", ""),
        ("r" * 256, "r" * 256),
        ("r" * 257, "r" * 255 + "…"),
        ("ü" * 300, "ü" * 255 + "…"),
    ],
)
def test_words_of_operators_are_one_bounded_line(text, line):
    """They go to tags, logs and terminals."""
    assert one_line(text) == line


@pytest.mark.parametrize(
    "event",
    [
        m.IdleBehaviorSet(name="i1", behavior=HOLD, actor="a\n" * 999, reason="r\x1b" * 999, at=AT),
        m.InstanceKillRequested(name="i1", actor="a\n" * 999, reason="r\x1b" * 999),
    ],
)
def test_whatever_is_posted_is_kept_in_bounds(event):
    """Also by somebody who is not our web layer."""
    seen = after(state(instance()), event).instances["i1"]
    for text in (seen.operator.actor, seen.operator.reason, seen.kill_requested):
        assert text.isprintable()
        assert len(text) <= 2 * TAG_CHARACTERS + 3


def test_12_28_a_kill_ends_a_hold_and_says_so():
    """Upstream's kill does not respect a hold either, and says nothing of it."""
    before = state(instance(idle_behavior=HOLD, tags={"ArvadosIdleBehavior": "hold"}))
    (action,) = lifecycle.plan(after(before, m.InstanceKillRequested(name="i1", reason="smoke", actor="ada")), NOW)
    assert action.reason == "an operator asked for it: smoke (ada) (it was on hold)"


@pytest.mark.parametrize("known", [True, False])
def test_an_operator_kills_whatever_runs(known):
    """Also a process whose container the queue does not show us: TERM goes out with the next plan, with who and why.

    Regression: that kill was answered 200 and forgotten."""
    things = [container(state=ContainerState.RUNNING)] if known else []
    asked = m.ContainerKillRequested(uuid=C1, reason="loops", actor="ada")
    killed = after(state(*things, instance("i1", Phase.READY, C1)), asked)
    kills = [action for action in reconcile.plan(killed, NOW) if isinstance(action, m.KillProcess)]
    assert kills == [m.KillProcess(name="i1", uuid=C1, signal=15, reason="an operator asked for it: loops (ada)")]


def test_a_second_kill_of_a_stray_does_not_begin_anew():
    """The time until KILL runs from the first one."""
    first = after(state(instance("i1", Phase.READY, C1)), m.ContainerKillRequested(uuid=C1, reason="loops"))
    second = after(first, m.ContainerKillRequested(uuid=C1, reason="again"), now=NOW + 60.0)
    assert second.instances["i1"].processes[C1].kill == first.instances["i1"].processes[C1].kill


def test_a_kill_of_what_is_not_there_changes_nothing():
    """It may have ended between the request and the event."""
    before = state(instance())
    assert after(before, m.ContainerKillRequested(uuid=C1, reason="")) is before
    assert after(before, m.InstanceKillRequested(name="i9", reason="")) is before
    assert after(before, m.IdleBehaviorSet(name="i9", behavior=HOLD)) is before
