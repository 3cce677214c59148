"""``cloudtest``, step by step in virtual time: on the stub cloud, through the dispatcher's own adapter of its driver."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.cli.cloudtest_cloud import CloudSide, Notes, Pace
from dispatcher.cli.cloudtest_steps import CloudTest, Wish, ssh_command
from dispatcher.cli.cloudtest_wish import Options, choose_type, prepared, request_of, variants
from dispatcher.config import Config
from dispatcher.core.messages import CloudCallFailed, CloudFailure, ProbeReport, Target
from dispatcher.driver import Call, Created, CreateRequest, DriverSettings, InstanceType
from dispatcher.edge.cloud import Cloud
from dispatcher.edge.instances import CommandReport
from drivers.stub import StubCloud, StubDriver, StubKnobs
from drivers.stub.commands import answer
from tests.cli.test_check_config import real_key
from tests.config.configuration import CLUSTER, KEY, read, with_line

SECRET = "known-to-this-instance-alone"
TYPE = InstanceType(name="small", provider_type="m1.small", vcpus=1, ram_bytes=1 << 30)
PACE = Pace(list_s=5.0, probe_s=10.0, destroy_s=60.0, lag_s=3.0, call_s=20.0, boot_s=600.0)


class Time:
    """Passes while somebody waits. ``hooks``: what happens when a wait begins, by its number from 1."""

    def __init__(self) -> None:
        self.now_s, self.waits = 1000.0, 0
        self.cloud: StubCloud | None = None
        self.hooks: dict[int, Callable[[], None]] = {}

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.waits += 1
        self.hooks.get(self.waits, lambda: None)()
        self.now_s += max(seconds, 0.001)
        assert self.now_s < 100_000, "it never ends"
        if self.cloud is not None:
            self.cloud.advance(self.now_s)


class Machines:
    """The stub's instances, asked directly."""

    def __init__(self, cloud: StubCloud, failing: str = "") -> None:
        self.cloud, self.failing = cloud, failing
        self.closed: list[str] = []

    def boots(self, target: Target) -> ProbeReport:
        reply = self._ask(target, "systemctl is-system-running")
        if reply is None:
            return ProbeReport(reached=False, error="nobody answers")
        return ProbeReport(reached=True, booted=reply[0] == 0, error=reply[2])

    def command(self, target: Target, command: str, *, timeout_s: float) -> CommandReport:
        if command == self.failing:
            return CommandReport(status=3, stderr="no such thing\n")
        reply = self._ask(target, command)
        return CommandReport(error="lost") if reply is None else CommandReport(status=reply[0], stdout=reply[1], stderr=reply[2])

    def close(self, name: str) -> None:
        self.closed.append(name)

    def _ask(self, target: Target, command: str) -> tuple[int, str, str] | None:
        instance = self.cloud.at_address(target.address or "")
        if instance is None or not instance.accepts_connections(self.cloud.now()):
            return None
        reply = answer(instance, command, b"", self.cloud.now())
        return None if reply is None else (reply.status, reply.stdout.decode(), reply.stderr.decode())


class House:
    """A test on a stub cloud, ready to run."""

    def __init__(self, knobs: StubKnobs, *, seed: int = 1, cloud: type[Cloud] = Cloud, failing: str = "", **wish: Any) -> None:
        self.time = Time()
        self.stub = StubCloud(now=self.time.monotonic, random=random.Random(seed), knobs=knobs)
        self.time.cloud = self.stub
        self.lines: list[str] = []
        self.notes = Notes(tell=self.lines.append)
        self.adapter = self.opened("test-set", cloud)
        self.side = CloudSide(self.adapter, self.time, PACE, self.notes)
        self.machines = Machines(self.stub, failing)
        self.paused = 0
        self.tags: dict[str, str] = {}
        made = Wish(request=asked("mine"), secret=SECRET, retag={"ArvadosCloudTestTagged": "yes"}, **wish)
        self.test = CloudTest(made, self.side, self.machines, self.notes, self.pause)

    def opened(self, set_id: str, cloud: type[Cloud] = Cloud) -> Cloud:
        log = logging.getLogger("test.cloudtest")
        settings = DriverSettings(parameters={}, instance_set_id=set_id, tag_prefix="Arvados", log=log)
        return cloud(StubDriver(self.stub, settings), settings, wall=self.time.monotonic)

    def pause(self) -> None:
        self.paused += 1
        self.tags = {name: value for one in self.stub.existing() for name, value in one.tags_at(self.time.now_s).items()}

    def left(self) -> list[str]:
        return [instance.name for instance in self.stub.existing()]

    def told(self, part: str) -> bool:
        return any(part in line for line in self.lines)

    def problem(self, part: str) -> bool:
        return any(part in text for text in self.notes.problems)


def asked(name: str, set_id: str = "test-set") -> CreateRequest:
    tags = {"ArvadosInstanceSetID": set_id, "ArvadosInstanceSecret": SECRET, "ArvadosCloudTestPID": "77", "site": "here"}
    script = f"#!/bin/sh\nprintf %s '{SECRET}' > /var/run/arvados-instance-secret\n"
    return CreateRequest(name=name, instance_type=TYPE, image_id="image", tags=tags, init_script=script, public_key=None)


def interrupt() -> None:
    raise KeyboardInterrupt


class LosesTheAnswer(Cloud):
    """The create takes effect, and nobody hears of it."""

    def create(self, request: CreateRequest, call: Call) -> Created:
        super().create(request, call)
        raise CloudCallFailed(CloudFailure(text="connection lost", outcome_unknown=True))


class Late(Cloud):
    """The create fails without an answer, and takes effect minutes later."""

    made_s = 0.0
    request: CreateRequest | None = None

    def create(self, request: CreateRequest, call: Call) -> Created:
        self.request, self.made_s = request, self._wall() + 200
        raise CloudCallFailed(CloudFailure(text="time-out", outcome_unknown=True))

    def list(self, call: Call) -> Any:
        if self.request is not None and self._wall() >= self.made_s:
            super().create(self.request, call)
            self.request = None
        return super().list(call)


# ------------------------------------------------------------------------------------------------------------------ steps


def test_all_goes_well_on_a_kind_cloud() -> None:
    """Created, listed, tagged, booted, asked, destroyed; each step is told with its time, and the address as a command line."""
    house = House(StubKnobs.kind(address_s=12.0, boot_s=30.0, list_lag_s=3.0), command="true")
    assert house.test.run()
    assert (house.notes.problems, house.left(), house.paused) == ([], [], 1)
    steps = ("listed: ok", "tags: ok", "tags after set_tags: ok", "boot probe: ok", "command: done", "destroyed")
    assert [step for step in ("create: accepted", *steps) if not house.told(step)] == []
    assert house.told("ssh -p 22 -- ")
    assert house.machines.closed == ["mine"]
    assert house.stub.bugs == []


@pytest.mark.parametrize("seed", range(12))
def test_on_an_unkind_cloud_nothing_is_left(seed: int) -> None:
    """Lists that lag, lie and break, lost answers, late failures, destroys that are ignored: what was made is gone in the end."""
    house = House(StubKnobs(), seed=seed, command="true")
    house.test.run()
    assert house.left() == []
    assert house.stub.bugs == []


@pytest.mark.parametrize("cloud", [LosesTheAnswer, Late])
def test_an_instance_of_a_create_that_failed_is_found_and_destroyed(cloud: type[Cloud]) -> None:
    """The failure is remembered, the instance is tried out all the same."""
    house = House(StubKnobs.kind(list_lag_s=3.0), cloud=cloud, command="true")
    assert not house.test.run()
    assert house.problem("create failed")
    assert house.told("command: done")
    assert house.stub.calls["destroy"] == 1
    assert house.left() == []


def test_a_create_that_is_refused_is_looked_for_a_while_and_no_longer() -> None:
    """Longer than lists lag, and not for the whole boot."""
    house = House(StubKnobs.kind(quota_instances=0))
    assert not house.test.run()
    assert house.problem("create failed")
    assert 60 < house.time.now_s - 1000 < 200
    assert (house.left(), house.paused) == ([], 0)


@pytest.mark.parametrize(("polls", "told"), [(True, "accepted the create and failed later"), (False, "lists it as failed")])
def test_a_create_that_fails_after_it_was_accepted_ends_the_test(polls: bool, told: str) -> None:
    """Whether the driver can be asked how it stands, or the list alone tells; its remains are destroyed."""
    knobs = StubKnobs.kind(late_failure_rate=1.0, max_late_failure_s=5.0, address_s=60.0, polls_creates=polls)
    house = House(knobs, command="true")
    assert not house.test.run()
    assert house.problem(told)
    assert house.left() == []


def test_what_was_accepted_is_destroyed_also_when_no_list_shows_it() -> None:
    """And a destroy that fails is sent again."""

    class Hides(Cloud):
        refusals = 3

        def list(self, call: Call) -> Any:
            return replace(super().list(call), instances=())

        def destroy(self, instance_id: str, call: Call) -> None:
            self.refusals -= 1
            if self.refusals >= 0:
                raise CloudCallFailed(CloudFailure(text="not now"))
            super().destroy(instance_id, call)

    house = House(StubKnobs.kind(), cloud=Hides)
    assert not house.test.run()
    assert house.problem("listed: not within 600 s: no list shows it")
    assert house.left() == []


def test_tags_of_others_stay() -> None:
    """A driver keeps the login user or a fingerprint in one of its own."""

    class Marks(Cloud):
        def create(self, request: CreateRequest, call: Call) -> Created:
            return super().create(replace(request, tags={**request.tags, "LoginUser": "root"}), call)

    house = House(StubKnobs.kind(), cloud=Marks)
    assert house.test.run()
    assert house.tags == {**asked("mine").tags, "LoginUser": "root", "ArvadosCloudTestTagged": "yes"}


def test_tags_that_stay_old_are_a_problem_and_no_end() -> None:
    """The instance is booted and asked all the same."""
    house = House(StubKnobs.kind(tags_lag_s=1e9), command="true")
    assert not house.test.run()
    assert house.problem("tags after set_tags: not within 123 s: not as they were set: ArvadosCloudTestTagged")
    assert house.told("command: done")
    assert house.left() == []


def test_an_instance_that_never_boots_is_given_up_in_time() -> None:
    """After TimeoutBooting, with the last thing that was heard of it."""
    house = House(StubKnobs.kind(never_boots_rate=1.0), command="true")
    assert not house.test.run()
    assert house.problem("boot probe: not within")
    assert not house.told("command: done")
    assert 600 <= house.time.now_s - 1000 < 700
    assert (house.left(), house.paused) == ([], 1)


def test_a_command_that_fails_fails_the_test() -> None:
    """What it said is shown."""
    house = House(StubKnobs.kind(), failing="try it", command="try it")
    assert not house.test.run()
    assert house.problem("exit status 3")
    assert house.told("stderr: no such thing")
    assert house.left() == []


def test_a_destroy_that_is_ignored_is_sent_again() -> None:
    """And what the cloud says that it is deleting is not asked for twice."""
    house = House(StubKnobs.kind(ignored_destroy_rate=1.0))
    house.time.hooks = {house.time.waits + 3: lambda: setattr(house.stub, "knobs", StubKnobs.kind(max_destroy_s=300.0))}
    assert house.test.run()
    assert house.stub.calls["destroy"] == 2
    assert house.left() == []


def test_to_be_asked_to_slow_down_is_no_problem() -> None:
    """It is obeyed."""
    house = House(StubKnobs.kind(min_list_interval_s=30.0))
    assert house.test.run()
    refused = [line for line in house.lines if line.startswith("list failed after")]
    assert 0 < len(refused) <= house.stub.calls["list"] / 2


# -------------------------------------------------------------------------------------------------------------- interrupts


@pytest.mark.parametrize("wait", range(1, 9))
def test_what_was_made_is_destroyed_after_an_interrupt(wait: int) -> None:
    """Wherever it comes."""
    house = House(StubKnobs.kind(address_s=12.0, boot_s=15.0, max_destroy_s=12.0, list_lag_s=3.0))
    house.time.hooks = {wait: interrupt}
    good = house.test.run()
    assert good == (house.time.waits < wait)
    assert house.left() == []


def test_an_interrupt_while_create_is_under_way_makes_us_look_for_it() -> None:
    """Nobody knows then whether there is one."""

    class Interrupted(Cloud):
        def create(self, request: CreateRequest, call: Call) -> Created:
            super().create(request, call)
            raise KeyboardInterrupt

    house = House(StubKnobs.kind(list_lag_s=3.0), cloud=Interrupted)
    assert not house.test.run()
    assert house.problem("interrupted")
    assert (house.left(), house.stub.calls["destroy"]) == ([], 1)


def test_a_second_interrupt_gives_up_and_says_what_is_left() -> None:
    """By name and id, since it costs money."""
    house = House(StubKnobs.kind(ignored_destroy_rate=1.0))
    house.time.hooks = {1: interrupt, 2: interrupt}
    assert not house.test.run()
    (name,) = house.left()
    (instance,) = house.stub.existing()
    assert house.problem(f"given up: {name} ({instance.id})")


# ------------------------------------------------------------------------------------------------------------- other sets


def test_a_set_that_is_not_empty_is_left_alone() -> None:
    """Another test, or a dispatcher, may be at work there."""
    house = House(StubKnobs.kind())
    house.adapter.create(asked("there"), Call(timeout_s=9.0))
    assert not house.test.run()
    assert house.problem("--destroy-existing")
    assert (house.left(), house.stub.calls["create"]) == (["there"], 1)


def test_a_set_is_emptied_first_when_this_is_asked_for() -> None:
    """Never another set than the one that was named."""
    house = House(StubKnobs.kind(max_destroy_s=20.0), destroy_existing=True)
    house.adapter.create(asked("there"), Call(timeout_s=9.0))
    house.adapter.create(asked("too"), Call(timeout_s=9.0))
    house.opened("others").create(asked("theirs", "others"), Call(timeout_s=9.0))
    assert house.test.run()
    assert house.left() == ["theirs"]


# ------------------------------------------------------------------------------------------------------------------- wish


@pytest.fixture
def config(tmp_path: Any) -> Config:
    own = with_line("ResourceTags", "{site: here, ArvadosInstanceSecret: mine}", CLUSTER.replace(KEY, real_key()))
    text = own + "      tiny: {VCPUs: 1, RAM: 1GiB, Price: 0.05}\n"
    loaded = read(tmp_path, text)
    assert loaded.config is not None, loaded.problems
    return loaded.config


def test_the_cheapest_type_is_taken_unless_one_is_named(config: Config) -> None:
    """As the dispatcher would."""
    known = config.settings.instance_types
    assert choose_type(known, None).name == "tiny"
    assert choose_type(known, "small").name == "small"
    with pytest.raises(ValueError, match="--instance-type huge is not configured; there are small, tiny"):
        choose_type(known, "huge")


def test_the_set_of_the_dispatcher_itself_is_refused(config: Config) -> None:
    """--destroy-existing would end its containers, and it would use our instance."""
    with pytest.raises(ValueError, match="the set of the dispatcher itself"):
        prepared(config, Options(instance_set_id=config.settings.instance_set_id))


def test_the_request_is_the_dispatchers_with_the_tags_of_the_test(config: Config) -> None:
    """Ours win over those of the site."""
    changed = prepared(config, Options(image_id="mine"))
    request = request_of(changed, "one", SECRET, process=7, created_at="")
    assert request.tags == {
        "site": "here", "ArvadosCloudTestPID": "7", "ArvadosInstanceSetID": "zzzzz-zzzzz-zzzzzzcloudtest",
        "ArvadosInstanceSecret": SECRET,
    }  # fmt: skip
    assert (request.image_id, request.instance_type.name) == ("mine", "tiny")
    assert SECRET in request.init_script
    assert SECRET not in repr(changed)


def test_each_of_several_subnets_is_tried(config: Config) -> None:
    """One after the other; a single one needs no second test."""
    assert [label for label, _ in variants(config)] == [""]
    several = replace(config, driver=replace(config.driver, parameters={"SubnetID": ["a", "b"]}))
    assert [each.driver.parameters["SubnetID"] for _, each in variants(several)] == ["a", "b"]


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("10.0.0.1", "ssh -p 22 -- crunch@10.0.0.1"),
        ("10.0.0.1:2222", "ssh -p 2222 -- crunch@10.0.0.1"),
        ("[2001:db8::1]:9", "ssh -p 9 -- crunch@2001:db8::1"),
        ("a;reboot", "ssh -p 22 -- 'crunch@a;reboot'"),
    ],
)
def test_the_command_line_can_be_pasted(address: str, line: str) -> None:
    """What a cloud reports is data, not a shell command."""
    assert ssh_command(Target(name="one", address=address, user="crunch"), 22) == line
