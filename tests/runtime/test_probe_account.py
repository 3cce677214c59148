"""The account of failed probes: the numbers in the lines add up to the probes that failed, however many fail at once."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from states import Clock, instance, leading

from dispatcher.core import messages as m
from dispatcher.core.maps import Map
from dispatcher.core.model import Destroy, DestroyCause, Instance, Phase, State
from dispatcher.core.values import replace
from dispatcher.runtime.probe_account import ERRORS_APART, ProbeAccount
from dispatcher.runtime.story import Story, Teller
from dispatcher.runtime.told import INFO, WARNING, Told

LINES_IN_A_SECOND = 20
SAID = m.Said(command="sudo crunch-run --list", status=3, stdout="half a list", stderr="disk full")
GOOD = m.ProbeReport(reached=True, booted=True, processes=frozenset())


def bad(error: str = "list: exit status 3: disk full", said: m.Said | None = SAID) -> m.ProbeReport:
    return m.ProbeReport(reached=True, problem=m.ProbeProblem.COMMAND, error=error, said=said)


@dataclass
class Log:
    """An account over one State, and everything that it told with its time."""

    state: State
    now_s: float = 100.0
    account: ProbeAccount = field(default_factory=ProbeAccount)
    told: list[tuple[float, Told]] = field(default_factory=list)
    failed: int = 0

    def probe(self, name: str, report: m.ProbeReport) -> None:
        self.failed += report.processes is None
        event = m.Probed(name=name, began_s=self.now_s, report=report)
        self.account.hear(self.state, self.state, event, self.now_s)

    def pass_time(self, seconds: float) -> list[Told]:
        """By half seconds, as the teller looks."""
        lines = []
        for _ in range(int(seconds * 2)):
            self.now_s += 0.5
            lines += self.keep(self.account.lines(self.now_s))
        return lines

    def keep(self, lines: list[Told]) -> list[Told]:
        self.told += [(self.now_s, line) for line in lines]
        return lines

    def close(self) -> None:
        self.keep(self.account.close(self.now_s))

    @property
    def accounted(self) -> int:
        return sum(number(line) for _, line in self.told)


def number(line: Told) -> int:
    found = line.fields["Failed"]
    assert isinstance(found, int)
    return found


def texts(lines: Iterable[Told]) -> list[str]:
    return [line.text for line in lines]


def most_in_a_second(log: Log) -> int:
    window: deque[float] = deque()
    most = 0
    for at_s, _ in log.told:
        window.append(at_s)
        while window[0] <= at_s - 1.0:
            window.popleft()
        most = max(most, len(window))
    return most


@pytest.fixture
def log() -> Log:
    return Log(leading(instance("i1"), instance("i2")))


def test_the_first_failure_is_told_at_once_with_what_the_command_said(log: Log) -> None:
    """Command, exit status, and the ends of both outputs, in fields of their own."""
    log.probe("i1", bad())
    (line,) = log.pass_time(0.5)
    assert (line.text, line.level) == ("instance i1 fails its probe: command: list: exit status 3: disk full", WARNING)
    wanted = {
        "Command": "sudo crunch-run --list", "ExitStatus": 3, "stdout": "half a list", "stderr": "disk full",
        "error": "command: list: exit status 3: disk full", "Failed": 1, "Instance": "id-i1", "InstanceType": "small",
    }  # fmt: skip
    assert {name: line.fields[name] for name in wanted} == wanted


def test_further_ones_are_told_once_a_minute_with_their_number(log: Log) -> None:
    """The same instance and the same error: twelve in two minutes are three lines."""
    lines = []
    for _ in range(13):
        log.probe("i1", bad())
        lines += log.pass_time(10)
    assert [number(line) for line in lines] == [1, 6, 6]
    assert lines[1].text.startswith("instance i1 still fails its probe, 6 more failed since: ")


def test_another_error_is_told_at_once(log: Log) -> None:
    """A second reason is news; coming back to the first is not."""
    for error in ("a", "b", "a", "b"):
        log.probe("i1", bad(error))
        log.pass_time(1)
    assert [line.fields["error"] for _, line in log.told] == ["command: a", "command: b"]


def test_the_recovery_tells_the_total(log: Log) -> None:
    """And how many no line has told before."""
    for _ in range(4):
        log.probe("i1", bad())
        log.pass_time(1)
    log.probe("i1", GOOD)
    (line,) = log.pass_time(1)
    assert line.text == "instance i1 answers again after 4 failed probes (3 of them not told yet)"
    assert (line.level, line.fields["Failed"], line.fields["Total"]) == (INFO, 3, 4)
    log.probe("i1", GOOD)
    assert log.pass_time(1) == []


def test_a_streak_that_is_over_at_once_is_told_whole(log: Log) -> None:
    """Failure and recovery between two looks: both lines come."""
    log.probe("i1", bad())
    log.probe("i1", GOOD)
    assert [number(line) for line in log.pass_time(1)] == [1, 0]


def test_an_instance_that_goes_takes_no_number_with_it(log: Log) -> None:
    """Its streak ends with it, and the rest of the number is told."""
    for _ in range(3):
        log.probe("i1", bad())
        log.pass_time(1)
    after = leading(instance("i2"))
    log.account.hear(log.state, after, m.RemoveInstance(name="i1"), log.now_s)
    (line,) = log.pass_time(1)
    assert line.text == "instance i1 is gone after 3 failed probes (2 of them not told yet)"


def test_ever_new_errors_of_one_instance_are_bounded(log: Log) -> None:
    """An error with a number in it is another each time: from some on they are counted together."""
    for count in range(100):
        log.probe("i1", bad(f"attempt {count} failed"))
    log.pass_time(5)
    log.close()
    assert log.accounted == 100
    assert len(log.told) == ERRORS_APART


def test_boot_probes_are_no_business_of_this_account() -> None:
    """An instance that comes up fails many probes, and that is no news."""
    log = Log(leading(instance("i1", phase=Phase.BOOTING, ready_s=None)))
    log.probe("i1", bad())
    assert log.pass_time(1) == []


def test_a_boot_that_failed_shows_the_last_words_of_its_last_probe() -> None:
    """When it is destroyed for it, once."""
    booting = instance("i1", phase=Phase.BOOTING, ready_s=None, phase_since_s=40.0)
    log = Log(leading(booting))
    log.probe("i1", bad("boot probe: exit status 1: starting", m.Said(command="is-up", status=1, stderr="starting")))
    log.now_s = 640.0
    destroy = m.DestroyInstance(name="i1", cause=DestroyCause.BOOT_TIMEOUT, reason="it did not come up in time")
    log.account.hear(log.state, log.state, destroy, log.now_s)
    again = replace(booting, destroy=Destroy(cause=DestroyCause.BOOT_TIMEOUT, reason="", since_s=640.0))
    log.account.hear(leading(again), log.state, destroy, log.now_s)
    (line,) = log.pass_time(1)
    assert "did not boot within 600 s; its last boot probe: command: boot probe: exit status 1: starting" in line.text
    assert (line.fields["stderr"], line.fields["Command"], line.fields["Duration"]) == ("starting", "is-up", 600.0)


def many(count: int) -> tuple[list[str], State]:
    names = [f"i{n:04}" for n in range(count)]
    instances: list[Instance] = [instance(name) for name in names]
    return names, leading(*instances)


def test_a_thousand_at_once_are_summed() -> None:
    """The whole fleet fails in the same moment: a few single lines, one sum, and nothing is missing."""
    names, state = many(1000)
    log = Log(state)
    for name in names:
        log.probe(name, bad("no route to host"))
    lines = log.pass_time(0.5)
    assert log.accounted == 1000
    assert len(lines) <= LINES_IN_A_SECOND
    assert "failed probes of 99" in lines[-1].text
    assert "no route to host" in lines[-1].text
    assert lines[-1].fields["Instances"] == 1000 - len(lines) + 1


def test_looking_more_often_tells_no_more() -> None:
    """The budget is of time, not of looks: instances that fail one after another, and a look after each few."""
    names, state = many(1000)
    log = Log(state)
    for number, name in enumerate(names):
        log.probe(name, bad("no route to host"))
        if number % 5 == 0:
            log.now_s += 0.01
            log.keep(log.account.lines(log.now_s))
    log.close()
    assert log.accounted == 1000
    assert most_in_a_second(log) <= LINES_IN_A_SECOND


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_add_up_and_no_second_is_flooded(seed: int) -> None:
    """A thousand instances that fail, recover and go at random for minutes of virtual time."""
    chance = random.Random(seed)
    names, state = many(1000)
    log = Log(state)
    for _ in range(25):
        sick = chance.random()
        for name in names:
            if name in log.state.instances:
                log.probe(name, bad(f"error {chance.randrange(12)}") if chance.random() < sick else GOOD)
        if chance.random() < 0.2 and len(names) > 700:
            gone = set(names[-50:])
            names = names[:-50]
            after = replace(log.state, instances=Map((i.name, i) for i in log.state.instances.all() if i.name not in gone))
            log.account.hear(log.state, after, m.RemoveInstance(name="x"), log.now_s)
            log.state = after
        log.pass_time(chance.choice([1, 10, 20]))
    assert most_in_a_second(log) <= LINES_IN_A_SECOND
    log.close()
    assert log.accounted == log.failed
    assert most_in_a_second(log) <= LINES_IN_A_SECOND


def test_what_came_too_fast_to_be_heard_is_counted_all_the_same() -> None:
    """The teller's queue is bounded: of what it has no room for, the number survives."""
    told: list[Told] = []
    clock = Clock()
    teller = Teller(Story(clock), clock, tell=told.append, waiting=10)
    state = leading(instance("i1"))
    for _ in range(25):
        teller.hear(state, state, m.Probed(name="i1", began_s=1.0, report=bad()))
    teller.tell()
    teller.close()
    assert sum(number(line) for line in told if "Failed" in line.fields) == 25
