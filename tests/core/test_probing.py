"""When instances are probed: at the site's pace, sooner where something is about to be known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.core import messages as m
from dispatcher.core import probing
from dispatcher.core.maps import Map
from dispatcher.core.model import NEVER, Bucket, ContainerState, Phase, ProcessPhase
from dispatcher.core.transitions import begin
from tests.core.build import C1, NOW, after, container, instance, process, settings, state

PROBES = [
    # (an instance probed at 990, when it is probed next)
    (instance(), 1000.0),  # ProbeInterval: 10 s
    (instance(phase=Phase.BOOTING), 991.0),
    (instance(phase=Phase.BOOTING, probe_failures=120), 995.0),
    (instance(phase=Phase.UNKNOWN), 991.0),
    (instance(probe_due=True), 990.0),
    (instance(probe_due=True, probe_failures=4), 990.2),
    (instance(probe_failures=1), 992.0),
    (instance(probe_failures=9), 1000.0),
    (replace(instance(), processes={C1: process(C1, ProcessPhase.UNCERTAIN)}), 992.0),
    (replace(instance(start_changed_s=989.0)), 1000.0),  # an attempt that is over
    (instance(processes_listed_s=NEVER, probed_s=NEVER), NOW),  # not heard of in this term
    (instance(probing=True), float("inf")),
    (instance(address=None), float("inf")),
    (instance(phase=Phase.SHUTDOWN), float("inf")),
    (instance(phase=Phase.CREATING), float("inf")),
]


@pytest.mark.parametrize(("one", "due_s"), PROBES)
def test_when_an_instance_is_probed(one, due_s):
    """Each second while it boots or an attempt is young, every two while something is uncertain, else at ProbeInterval; and at
    once on a hint."""
    assert probing.probe_due_s(state(one), one, NOW) == pytest.approx(due_s)


ATTEMPTS = [
    # (what the queue says of the container, when it was started, when its instance is probed next)
    (ContainerState.LOCKED, 980.1, 991.0),  # younger than 10 s
    (ContainerState.LOCKED, 979.9, 1000.0),
    (ContainerState.RUNNING, 980.1, 1000.0),  # the runner has come as far as its container
    (None, 980.1, 1000.0),  # nobody of ours
]


@pytest.mark.parametrize(("said", "started_s", "due_s"), ATTEMPTS)
def test_an_attempt_is_asked_about_until_its_container_runs(said, started_s, due_s):
    """Each second for ten seconds: what comes to nothing does so soon, and is to be tried again soon."""
    one = replace(instance(), processes={C1: process(C1)}, start_changed_s=started_s)
    before = state(one) if said is None else state(one, container(C1, said, instance=one.name))
    assert probing.probe_due_s(before, one, NOW) == due_s
    assert probing.due_s(before, 991.0) == due_s


@pytest.mark.parametrize("interval_s", [0.5, 60.0])
def test_probe_interval_is_the_longest_gap(interval_s):
    """Obeyed exactly: sooner where we know better, never later."""
    before = state(instance(), settings=settings(probe_interval_s=interval_s))
    assert probing.probe_due_s(before, before.instances["i1"], NOW) == 990.0 + interval_s


def test_a_probe_follows_the_time_in_which_an_earlier_leader_may_still_start():
    """Only then can the instance say what it runs."""
    before = state(instance(), leadership={"since_s": 985.0, "quiet_s": 8.0}, settings=settings(probe_interval_s=60.0))
    assert probing.probe_due_s(before, before.instances["i1"], NOW) == 993.0


def test_the_rate_of_probes_is_a_ceiling_and_the_longest_waiting_go_first():
    """MaxProbesPerSecond: what has tokens goes."""
    fleet = [instance(f"i{number}", probed_s=900.0 + number) for number in range(5, 0, -1)]
    before = state(*fleet, settings=settings(max_probes_per_second=8.0))
    assert probing.plan(before, NOW) == [m.ProbeInstance(name="i1"), m.ProbeInstance(name="i2")]
    empty = replace(before, buckets={"probe": Bucket(tokens=0.0, at_s=NOW)})
    assert probing.plan(empty, NOW) == []
    assert probing.due_s(empty, NOW) == pytest.approx(NOW + 1 / 8)


def test_after_a_start_those_are_asked_first_that_were_filled_last():
    """New instances are asked, and so filled, in the order of their names; those that are found in the opposite one."""
    never = {"probed_s": NEVER, "processes_listed_s": NEVER}
    for phase, names in ((Phase.BOOTING, ["i1", "i2", "i3"]), (Phase.UNKNOWN, ["i3", "i2", "i1"])):
        fleet = [instance(f"i{number}", phase, **never) for number in (2, 3, 1)]
        assert [action.name for action in probing.plan(state(*fleet), NOW)] == names


@pytest.mark.parametrize("look_s", [0.05, 0.2])
def test_the_rate_of_probes_is_used_by_a_loop_that_looks_seldom(look_s):
    """A thousand probes a second are allowed and wanted: with turns that take long, as many begin as with short ones."""
    fleet = [instance(f"i{number}", probed_s=980.0) for number in range(1000)]
    seen, begun = state(*fleet, settings=settings(max_probes_per_second=1000.0)), 0
    for turn in range(int(1.0 / look_s)):
        actions = probing.plan(seen, NOW + turn * look_s)
        begun += len(actions)
        for action in actions:
            seen = begin(seen, action, NOW + turn * look_s)
    assert begun == 1000


def test_the_end_of_a_container_has_its_instance_probed_often():
    """Its runner ends soon: each twentieth of a second at first, each second later, and after ten seconds as always."""
    one = instance("i1", Phase.READY, C1)
    held = container(C1, ContainerState.RUNNING, instance=one.name)
    hinted = after(state(held, one), m.QueueHinted(container=held.uuid, ended=True)).instances[one.name]
    assert hinted.probe_due

    def gap_s(ago_s: float) -> float:
        probed = replace(hinted, probe_due=False, runner_ends_s=NOW - ago_s, probed_s=NOW, start_changed_s=NOW - 100.0)
        return probing.probe_due_s(state(held, probed), probed, NOW) - NOW

    assert [gap_s(ago) for ago in (0.0, 2.0, 8.0, 11.0)] == pytest.approx([0.05, 0.5, 2.0, 10.0])


def test_once_the_runner_is_gone_its_instance_is_probed_as_always():
    """The next container there is nobody's end."""
    one = instance("i1", Phase.READY, C1, runner_ends_s=NOW - 0.1, start_changed_s=NOW - 100.0)
    held = container(C1, ContainerState.COMPLETE, instance=one.name)
    report = m.ProbeReport(reached=True, processes=frozenset())
    probed = after(state(held, one), m.ProbeInstance(name="i1"), m.Probed(name="i1", began_s=NOW - 0.01, report=report))
    assert probed.instances["i1"].runner_ends_s == NEVER


TIMES = st.sampled_from((NEVER, 940.0, 979.0, 985.0, 990.0, 999.0, NOW))
ONES = st.builds(
    lambda probed_s, listed_s, phase, probing_now, failures, due, started_s, kind, address: replace(
        instance(phase=phase, address=address, probed_s=probed_s, probing=probing_now, probe_failures=failures, probe_due=due),
        processes_listed_s=listed_s, start_changed_s=started_s, processes={} if kind is None else {C1: process(C1, kind)},
    ),
    TIMES, TIMES, st.sampled_from((Phase.READY, Phase.BOOTING, Phase.UNKNOWN, Phase.CREATING)), st.booleans(),
    st.sampled_from((0, 1, 9)), st.booleans(), TIMES, st.sampled_from((None, ProcessPhase.RUNNING, ProcessPhase.UNCERTAIN)),
    st.sampled_from((None, "10.0.0.1")),
)  # fmt: skip


@given(st.lists(ONES, max_size=40), st.sampled_from((900.0, 985.0)), st.sampled_from((0.0, 8.0, 60.0)))
def test_what_is_kept_with_the_parts_of_the_map_changes_no_plan(ones, since_s, quiet_s):
    """Whoever is due is probed, whoever is not is not, and nobody is due before somebody looks."""
    named = [replace(one, name=f"i{number}") for number, one in enumerate(ones)]
    before = replace(state(leadership={"since_s": since_s, "quiet_s": quiet_s}), instances=Map((i.name, i) for i in named))
    due = {i.name: probing.probe_due_s(before, i, NOW) for i in named}
    for _ in range(2):  # the second time nothing is looked at anew
        assert {action.name for action in probing.plan(before, NOW)} == {name for name, at_s in due.items() if at_s <= NOW}
        soonest_s = min(due.values(), default=float("inf"))
        assert probing.due_s(before, NOW) <= max(soonest_s, NOW)
