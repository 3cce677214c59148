"""The state file: written whole, read back as hints, and never trusted beyond bounds."""

from __future__ import annotations

import json
import logging
import math
import os
import random
from dataclasses import replace

import pytest

from dispatcher.core import messages as m
from dispatcher.core import pacing, spending
from dispatcher.core.hints import LONGEST_WAIT_S, Hints, InstanceHint
from dispatcher.core.model import ContainerState, Holdoff, HoldoffKind, Phase
from dispatcher.core.transitions import observe
from dispatcher.runtime.hints import FILE_NAME, HintFile, Keeper, MemoryHints, NotUnderstood, understood, written
from tests.core.build import C1, C2, NOW, after, container, instance, listed, record, settings, state

WALL = 1_700_000_000.0
MIDNIGHT = NOW - WALL % 86400.0
BUSY = ContainerState.RUNNING


def held(**more) -> Holdoff:
    values = {"call": "create", "key": "*", "kind": HoldoffKind.QUOTA, "until_s": NOW + 60.0, "since_s": NOW - 60.0, "strikes": 3}
    return Holdoff(**{**values, "reason": "quota reached", **more})


def full():
    """A State with one of everything that is worth a hint."""
    seen = state(
        replace(container(C1), first_seen_s=NOW - 500.0), instance("i1", busy_s=NOW - 40.0, last_container=C2),
        instance("i2", Phase.BOOTING, phase_since_s=NOW - 300.0, price=2.0, paid_since_s=NOW - 1800.0),
    )  # fmt: skip
    seen = after(seen, m.DayTold(midnight_s=MIDNIGHT))
    return replace(seen, holdoffs=seen.holdoffs.set("create *", held()))


def spoilt(text: str, **changes) -> str:
    return json.dumps({**json.loads(text), **changes})


# ------------------------------------------------------------------------------------------------------- there and back


def test_12_27_what_only_we_know_survives_a_restart():
    """Hold-offs, money, start of boot, idle clocks, the order of the queue and the last container, ten seconds later."""
    text = written(full(), NOW, WALL)
    read = understood(text, 50.0, WALL + 10.0, "ours")  # another process has another monotonic clock
    assert read.at_s == 40.0
    assert read.spent_today == pytest.approx(1.0)
    assert [(h.key, h.kind, round(h.until_s), h.strikes) for h in read.holdoffs] == [("*", HoldoffKind.QUOTA, 100, 3)]
    first, second = read.instances["i1"], read.instances["i2"]
    assert (round(first.idle_since_s), first.last_container) == (0, C2)
    assert (second.id, round(second.boot_began_s), second.idle_since_s, second.price) == ("id-i2", -260, 40.0, 2.0)
    assert {uuid: round(at_s) for uuid, at_s in read.first_seen_s.items()} == {C1: -460}


def test_a_file_holds_no_secret():
    """Neither the secrets of instances nor tokens are of any use in it."""
    seen = state(instance("i1", secret="marked-secret", tags={"ArvadosInstanceSecret": "marked-secret"}))
    assert "marked-secret" not in written(seen, NOW, WALL)


def test_what_is_too_old_or_of_others_is_not_understood():
    """A day is the longest; another version or instance set is somebody else's."""
    text = written(full(), NOW, WALL)
    for changes, word in (
        ({"written_at": WALL - 90000.0}, "hours old"),
        ({"version": 2}, "version"),
        ({"instance_set": "theirs"}, "another dispatcher"),
    ):
        with pytest.raises(NotUnderstood, match=word):
            understood(spoilt(text, **changes), NOW, WALL, "ours")


def test_a_file_from_the_future_is_taken_as_written_now():
    """The wall clock was put back: ages count, dates do not."""
    assert understood(written(full(), NOW, WALL + 7200.0), 50.0, WALL, "ours").at_s == 50.0


def test_money_of_yesterday_is_no_money_of_today():
    """The day is part of the hint."""
    assert understood(written(full(), NOW, WALL), NOW, WALL + 80000.0, "ours").spent_today is None


GARBAGE = [
    "", "{", "[]", "null", "17", '"x"', "{}", '{"version":1}', "\0" * 100, "[" * 5000, "not json",
    '{"version":1,"instance_set":"ours","written_at":NaN}', '{"version":1,"instance_set":"ours","written_at":"soon"}',
]  # fmt: skip


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_not_understood(text):
    """Whatever it is, it says so and does nothing else."""
    with pytest.raises(NotUnderstood):
        understood(text, NOW, WALL, "ours")


@pytest.mark.parametrize("seed", range(40))
def test_a_spoilt_file_is_understood_or_not_and_never_breaks_anything(seed):
    """Bytes changed at random: what is still understood leads to a lawful State."""
    chance = random.Random(seed)
    text = list(written(full(), NOW, WALL))
    for _ in range(chance.choice((1, 3, 30))):
        text[chance.randrange(len(text))] = chance.choice('0123456789-eE.,:{}[]"nN\n\x00x')
    try:
        read = understood("".join(text), NOW, WALL, "ours")
    except NotUnderstood:
        return
    found = m.InstancesListed(began_s=NOW, instances=(listed("i1"), listed("i2")))
    after(state(), m.DayTold(midnight_s=MIDNIGHT), m.HintsRead(hints=read), found)


# --------------------------------------------------------------------------------------------------------------- bounds


def told(hints: Hints, **changes):
    return after(state(settings=settings(**changes)), m.DayTold(midnight_s=MIDNIGHT), m.HintsRead(hints=hints))


@pytest.mark.parametrize(("until_s", "ends_s"), [(NOW + 60.0, 60.0), (NOW + 1e9, pacing.LONGEST_S), (NOW - 1e9, None)])
def test_a_hold_off_lasts_no_longer_than_one_of_our_own(until_s, ends_s):
    """However far in the future a file puts its end."""
    seen = told(Hints(holdoffs=(held(until_s=until_s),)))
    found = pacing.holdoff(seen, "create", "t4", NOW)
    assert (found.until_s - NOW if found else None) == ends_s


@pytest.mark.parametrize(
    "changes", [{"call": "format"}, {"kind": HoldoffKind.DENIED}, {"kind": HoldoffKind.ERROR}, {"key": "x" * 300}]
)
def test_only_hold_offs_that_make_sense_come_back(changes):
    """What an operator mended before the restart is tried at once."""
    assert not len(told(Hints(holdoffs=(held(**changes),))).holdoffs)


def test_what_we_know_ourselves_goes_before_a_hint():
    """A hold-off of this process stands."""
    before = replace(state(), holdoffs=state().holdoffs.set("create *", held(until_s=NOW + 5.0)))
    seen = after(before, m.HintsRead(hints=Hints(holdoffs=(held(until_s=NOW + 500.0),))))
    assert seen.holdoffs["create *"].until_s == NOW + 5.0


@pytest.mark.parametrize(("spent", "counts"), [(5.0, 5.0), (-5.0, 0.0), (1e300, 0.0), (None, 0.0)])
def test_no_more_money_is_believed_than_could_have_been_spent(spent, counts):
    """MaxInstances of the dearest type since midnight, at most; nothing negative."""
    assert spending.today(told(Hints(spent_today=spent)), NOW) == counts


def adopted(hint: InstanceHint, **changes):
    found = m.InstancesListed(began_s=NOW, instances=(listed("i1"),))
    return after(told(Hints(at_s=NOW - 30.0, instances={"i1": hint}), **changes), found)


@pytest.mark.parametrize(("began_s", "counts_from_s"), [(NOW - 300.0, 300.0), (NOW - 1e9, 540.0), (NOW + 1e9, 0.0)])
def test_the_start_of_boot_is_kept_within_bounds(began_s, counts_from_s):
    """TimeoutBooting of 10 m goes on, and a minute is always left."""
    seen = adopted(InstanceHint(id="id-i1", boot_began_s=began_s))
    assert NOW - seen.instances["i1"].phase_since_s == counts_from_s


@pytest.mark.parametrize(("idle_s", "counts_from_s"), [(NOW - 20.0, 20.0), (NOW - 1e9, 45.0), (NOW + 1e9, 0.0)])
def test_the_idle_clock_goes_on_within_bounds(idle_s, counts_from_s):
    """TimeoutIdle of 60 s, of which 15 are left at least: the queue may have work for it."""
    seen = adopted(InstanceHint(id="id-i1", boot_began_s=NOW - 900.0, idle_since_s=idle_s))
    report = m.ProbeReport(reached=True, booted=True, processes=frozenset())
    seen = after(seen, m.Probed(name="i1", began_s=NOW, report=report))
    assert NOW - seen.instances["i1"].busy_s == counts_from_s


def test_an_instance_that_is_busy_is_idle_since_it_is_not():
    """The hint of its last rest is about another time."""
    seen = adopted(InstanceHint(id="id-i1", boot_began_s=NOW - 900.0, idle_since_s=NOW - 50.0))
    report = m.ProbeReport(reached=True, booted=True, processes=frozenset({C1}))
    assert after(seen, m.Probed(name="i1", began_s=NOW, report=report)).instances["i1"].busy_s == NOW


def test_a_hint_about_another_machine_of_that_name_is_no_hint():
    """Names may be used again; the id of the cloud tells."""
    seen = adopted(InstanceHint(id="other", boot_began_s=NOW - 300.0, last_container=C1))
    assert (seen.instances["i1"].phase_since_s, seen.instances["i1"].last_container) == (NOW, "")


def test_what_was_paid_while_nobody_looked_is_counted():
    """From the last write on, once for each instance that is still there."""
    seen = adopted(InstanceHint(id="id-i1", boot_began_s=NOW - 300.0))
    assert seen.instances["i1"].paid_since_s == NOW - 30.0


@pytest.mark.parametrize(
    ("kind", "hinted", "costs"),
    [("gone", 0.3, 0.3), ("gone", 1e6, 0.0), ("gone", -1.0, 0.0), ("gone", math.inf, 0.0), ("t4", 0.3, 1.0)],
)
def test_an_instance_whose_type_is_gone_goes_on_costing(kind, hinted, costs):
    """The configuration no longer says how much; a type that it has goes before the hint, and nonsense is not believed."""
    tags = {"ArvadosInstanceType": kind, "ArvadosIdleBehavior": "run", "ArvadosInstanceSetID": "ours"}
    found = m.InstancesListed(began_s=NOW, instances=(listed("i1", tags=tags),))
    hint = InstanceHint(id="id-i1", boot_began_s=NOW - 300.0, price=hinted)
    seen = after(told(Hints(at_s=NOW - 30.0, instances={"i1": hint})), found)
    assert spending.price_of_instance(seen, seen.instances["i1"]) == costs


@pytest.mark.parametrize(("since_s", "waits_s"), [(NOW - 500.0, 500.0), (NOW + 1e9, 0.0), (NOW - 1e12, LONGEST_WAIT_S)])
def test_the_order_of_the_queue_is_kept_within_bounds(since_s, waits_s):
    """Who was first among equals stays first."""
    seen = observe(told(Hints(first_seen_s={C1: since_s})), m.ContainersObserved(began_s=NOW, records=(record(C1),)), NOW)
    assert NOW - seen.containers[C1].first_seen_s == waits_s


# ----------------------------------------------------------------------------------------------------------- the keeper


class Clock:
    def monotonic(self) -> float:
        return NOW

    def wall(self) -> float:
        return WALL

    def utc(self) -> str:
        return ""


def keeper(store, seen=None):
    posted: list[m.Event] = []
    current = [seen if seen is not None else full()]
    return Keeper(store, lambda: current[0], posted.append, Clock()), posted, current


def test_the_day_and_the_hints_are_told_before_anybody_acts():
    """The day first: money is counted by it."""
    made, posted, _ = keeper(MemoryHints(written(full(), NOW, WALL)))
    made.gained()
    assert [type(event).__name__ for event in posted] == ["DayTold", "HintsRead"]


def test_who_does_not_lead_writes_nothing():
    """Another process on this host may lead, and the file is his."""
    store = MemoryHints()
    made, _, _ = keeper(store, after(full(), m.LeadershipLost(holder="other")))
    made.tick()
    assert store.text is None


def test_the_same_is_not_written_twice():
    """Only news are."""
    store = MemoryHints()
    made, _, current = keeper(store)
    made.tick()
    made.tick()
    assert len(store.earlier) == 1
    current[0] = after(current[0], m.IdleBehaviorSet(name="i1", behavior=current[0].instances["i1"].idle_behavior, actor="x"))
    made.tick()
    assert len(store.earlier) == 2


def test_a_bad_file_is_told_once_and_ignored(caplog):
    """Nothing else comes of it."""
    made, posted, _ = keeper(MemoryHints("{"))
    with caplog.at_level(logging.WARNING):
        made.gained()
        made.gained()
    assert [type(event).__name__ for event in posted] == ["DayTold", "DayTold"]
    assert len([line for line in caplog.messages if "hints of the last run are not used" in line]) == 1


def test_a_folder_that_cannot_be_written_is_trouble_and_stops_nothing(tmp_path, caplog):
    """It is shown until a write succeeds."""
    made, _, _ = keeper(HintFile(str(tmp_path / "missing")))
    made.tick()
    assert "cannot be written" in made.problem
    (tmp_path / "missing").mkdir()
    made.tick()
    assert made.problem == ""


def test_a_file_is_replaced_as_a_whole_and_is_ours_alone(tmp_path):
    """No half of a file is ever under its name, and nobody else may read it."""
    file = HintFile(str(tmp_path))
    assert file.read() is None
    file.write("first")
    os.link(tmp_path / FILE_NAME, tmp_path / "witness")
    file.write("second")
    assert (file.read(), (tmp_path / "witness").read_text(encoding="utf-8")) == ("second", "first")
    assert os.stat(tmp_path / FILE_NAME).st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == [FILE_NAME, "witness"]


def test_money_that_gets_short_is_logged_once_and_when_it_is_over(caplog):
    """An alarm at its beginning and its end."""
    dear = replace(full(), settings=settings(max_price_per_day=0.5))
    made, _, current = keeper(MemoryHints(), dear)
    with caplog.at_level(logging.WARNING):
        made.tick()
        made.tick()
        current[0] = replace(dear, settings=settings())
        made.tick()
    assert [line.partition(":")[0] for line in caplog.messages] == ["money", "money"]
    assert "MaxPricePerDay (0.5) is spent" in caplog.messages[0]
