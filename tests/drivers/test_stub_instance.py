"""The stub's machines: they boot, break and go in a time that is handed in, and runners run on them."""

from __future__ import annotations

import math

import pytest
from stub_world import World

from drivers.stub import CommandFailed, Ending, ProcessList, StubInstance, StubKnobs, Unreachable

UUID = "zzzzz-dz642-000000000000001"


class Book:
    """A queue service that writes down what it is told."""

    def __init__(self, *, admits: bool = True, agrees: bool = True) -> None:
        self.lines: list[tuple] = []
        self._admits = admits
        self._agrees = agrees

    def admits(self, uuid: str, instance_id: str, at_s: float) -> bool:
        return self._admits

    def began(self, uuid: str, instance_id: str, at_s: float) -> bool:
        self.lines.append(("began", at_s))
        return self._agrees

    def ended(self, uuid: str, instance_id: str, at_s: float, ending: Ending, began: bool) -> None:
        self.lines.append((ending, at_s, began))


def machine(world: World) -> StubInstance:
    return world.cloud.instances[world.create()]


def test_it_answers_first_and_is_booted_later() -> None:
    """Between the two the boot probe fails as a command, not as a connection."""
    world = World(StubKnobs.kind(boot_s=60.0))
    vm = machine(world)
    with pytest.raises(Unreachable):
        vm.run_boot_probe(1000.0)
    with pytest.raises(CommandFailed):
        vm.run_boot_probe(vm.ssh_at_s)
    vm.run_boot_probe(1060.0)


def test_it_holds_the_secret_that_the_init_script_wrote() -> None:
    """The identity check finds what the tags name."""
    world = World(StubKnobs.kind())
    assert machine(world).read_secret(1000.0) == "secret of vm-1"


def test_a_run_tells_the_queue_service_when_it_begins_and_ends() -> None:
    """Detach, prepare, run: each step at its own time, however late somebody looks."""
    book = Book()
    world = World(StubKnobs.kind(detach_s=1.0, prepare_s=2.0), workload=book)
    vm = machine(world)
    vm.start(UUID, 1000.0, length_s=60.0)
    assert vm.list_processes(1000.5) == ProcessList()
    assert vm.list_processes(1001.0).running == {UUID}
    assert vm.list_processes(1062.0).running == {UUID}
    assert world.cloud.next_s == 1063.0
    world.pass_time(1000.0)
    assert book.lines == [("began", 1003.0), (Ending.FINISHED, 1063.0, True)]


@pytest.mark.parametrize(("book", "lines"), [
    (Book(admits=False), [(Ending.REFUSED, 1001.0, False)]),
    (Book(agrees=False), [("began", 1003.0), (Ending.REFUSED, 1003.0, False)]),
])  # fmt: skip
def test_a_runner_that_the_queue_service_refuses_ends(book: Book, lines: list) -> None:
    """A record that is not Locked is not run."""
    world = World(StubKnobs.kind(detach_s=1.0, prepare_s=2.0), workload=book)
    machine(world).start(UUID, 1000.0)
    world.pass_time(1000.0)
    assert book.lines == lines


@pytest.mark.parametrize(("signal", "takes_s", "gone", "ending"), [
    (15, 0.0, True, Ending.TERMINATED),
    (15, 30.0, False, Ending.TERMINATED),
    (9, 30.0, True, Ending.KILLED),
])  # fmt: skip
def test_a_signal_ends_it_now_or_later(signal: int, takes_s: float, gone: bool, ending: Ending) -> None:
    """The kill command says "gone" only when it is."""
    world = World(StubKnobs.kind())
    vm = machine(world)
    process = vm.start(UUID, 1000.0, length_s=3600.0)
    process.term_takes_s = takes_s
    assert vm.kill(UUID, signal, 1010.0) is gone
    assert process.alive is not gone
    world.pass_time(100.0)
    assert process.ending is ending


def test_what_cannot_be_killed_stays() -> None:
    """Neither TERM nor KILL ends it; with the machine it goes."""
    world = World(StubKnobs.kind(unkillable_rate=1.0))
    vm = machine(world)
    process = vm.start(UUID, 1000.0, length_s=math.inf)
    assert not vm.kill(UUID, 15, 1000.0)
    assert not vm.kill(UUID, 9, 1000.0)
    world.cloud.lose(vm.id)
    assert process.ending is Ending.LOST


def test_killing_what_does_not_run_is_success() -> None:
    """As the runner does it: no lock file, nothing to kill."""
    world = World(StubKnobs.kind())
    assert machine(world).kill(UUID, 15, 1000.0)


def test_a_second_runner_for_one_container_is_refused() -> None:
    """The lock is held, also by a mount that outlived its runner."""
    world = World(StubKnobs.kind(stuck_lock_rate=1.0))
    vm = machine(world)
    vm.start(UUID, 1000.0, length_s=10.0)
    with pytest.raises(CommandFailed, match="held"):
        vm.start(UUID, 1001.0)
    assert vm.list_processes(1010.0) == ProcessList(stale=frozenset({UUID}))
    with pytest.raises(CommandFailed, match="held"):
        vm.start(UUID, 1010.0)


def test_a_stale_lock_goes_in_its_time() -> None:
    """The mount needs a while to let go."""
    world = World(StubKnobs.kind())
    vm = machine(world)
    vm.start(UUID, 1000.0, length_s=10.0).lock_outlives_s = 5.0
    assert vm.list_processes(1014.0).stale == {UUID}
    assert vm.list_processes(1015.0).stale == set()


def test_a_crash_tells_nobody() -> None:
    """Half of the crashes come before the container is Running."""
    book = Book()
    world = World(StubKnobs.kind(runner_crash_rate=1.0, prepare_s=5.0), workload=book)
    vm = machine(world)
    for number in range(40):
        vm.start(f"zzzzz-dz642-{number:015d}", 1000.0, length_s=10.0)
    world.pass_time(100.0)
    ends = [line for line in book.lines if line[0] != "began"]
    assert {line[0] for line in ends} == {Ending.CRASHED}
    assert {line[2] for line in ends} == {True, False}


CONDITIONS = [
    ("hung_at_s", 1000.0, Unreachable),
    ("cut_off_until_s", 1005.0, Unreachable),
    ("failed_at_s", 1000.0, Unreachable),
    ("gone_at_s", 1000.0, Unreachable),
    ("broken_at_s", 1000.0, CommandFailed),
    ("runner_missing", True, CommandFailed),
]


@pytest.mark.parametrize(("attribute", "value", "error"), CONDITIONS)
def test_a_bad_machine_refuses_every_runner_command(attribute: str, value: object, error: type[Exception]) -> None:
    """List, start and kill fail alike."""
    world = World(StubKnobs.kind())
    vm = machine(world)
    setattr(vm, attribute, value)
    for act in (lambda: vm.list_processes(1001.0), lambda: vm.start(UUID, 1001.0), lambda: vm.kill(UUID, 15, 1001.0)):
        with pytest.raises(error):
            act()


def test_a_machine_can_report_that_it_is_broken() -> None:
    """The runner says so in its list, beside what runs."""
    world = World(StubKnobs.kind())
    vm = machine(world)
    vm.start(UUID, 1000.0, length_s=10.0)
    vm.report_broken_at_s = 1000.0
    assert vm.list_processes(1000.0).lines() == [UUID, "broken"]


def test_a_hung_machine_runs_on() -> None:
    """No answer does not mean that nothing happens there."""
    book = Book()
    world = World(StubKnobs.kind(), workload=book)
    vm = machine(world)
    vm.start(UUID, 1000.0, length_s=10.0)
    vm.hung_at_s = 1001.0
    world.pass_time(20.0)
    assert book.lines[-1] == (Ending.FINISHED, 1010.0, True)


def test_an_address_is_used_again() -> None:
    """The next machine gets the address of the one that is gone."""
    world = World(StubKnobs.kind())
    first = machine(world)
    world.cloud.lose(first.id)
    second = world.cloud.instances[world.create("vm-2")]
    assert second.address == first.address
    assert world.cloud.at_address(first.address) is second


def test_a_long_life_forgets_old_processes() -> None:
    """What is over does not pile up."""
    world = World(StubKnobs.kind())
    vm = machine(world)
    for number in range(1000):
        vm.start(f"zzzzz-dz642-{number:015d}", 1000.0 + number, length_s=0.5)
    assert len(vm.processes) <= 100
