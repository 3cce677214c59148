"""Stub instances behind real SSH: the same objects, asked by the command lines of the dispatcher."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import threading
from collections.abc import Iterator

import paramiko
import pytest
from ssh_client import AUTHORIZED, answers, connected, offered_key, run
from stub_world import HandClock, call, driver_settings, request

from drivers.ssh_server import MAX_SESSIONS, load_private_key, new_private_key
from drivers.stub import StubCloud, StubDriver, StubInstance, StubKnobs
from drivers.stub import open as open_stub
from drivers.stub.servers import SSHServers

UUID = "zzzzz-dz642-000000000000001"
CONFIG = json.dumps({"Env": {"ARVADOS_API_HOST": "h", "ARVADOS_API_TOKEN": "t", "InstanceType": "{}"}}).encode()


class SSHWorld:
    """A kind cloud whose machines answer on loopback, in a time that stands still."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.servers = SSHServers(now=self.clock, pause=lambda seconds: None)
        knobs = StubKnobs.kind(offers_host_keys=True)
        self.cloud = StubCloud(now=self.clock, random=random.Random(1), knobs=knobs, servers=self.servers)
        self.driver = StubDriver(self.cloud, driver_settings())

    def machine(self, name: str = "vm-1") -> StubInstance:
        asked = dataclasses.replace(request(name), public_key=AUTHORIZED)
        return self.cloud.instances[self.driver.create(asked, call()).id]


@pytest.fixture
def world() -> Iterator[SSHWorld]:
    world = SSHWorld()
    yield world
    world.servers.close_all()


def test_each_machine_has_its_own_key_and_the_driver_knows_it(world: SSHWorld) -> None:
    """Host keys from the driver can be compared before the login."""
    first, second = world.machine("vm-1"), world.machine("vm-2")
    with connected(first.address) as transport:
        assert (offered_key(transport),) == world.driver.host_keys(first.id)
    assert world.driver.host_keys(first.id) != world.driver.host_keys(second.id)


def test_another_key_is_refused(world: SSHWorld) -> None:
    """Only the key of the create is accepted."""
    vm = world.machine()
    with pytest.raises(paramiko.AuthenticationException), connected(vm.address, load_private_key(new_private_key())):
        pass


def test_a_machine_that_boots_does_not_answer_yet(world: SSHWorld) -> None:
    """And one that is gone does not answer any more."""
    vm = world.machine()
    vm.ssh_at_s = vm.created_s + 60
    assert not answers(vm.address)
    world.clock.now_s += 60
    assert answers(vm.address)
    world.driver.destroy(vm.id, call())
    assert not answers(vm.address)


def test_the_whole_life_of_a_container(world: SSHWorld) -> None:
    """Boot probe, identity, runner, start, list, kill: as the dispatcher asks for them."""
    vm = world.machine()
    runner = b"#!/bin/sh\n"
    path = f"/tmp/arvados-crunch-run/crunch-run~{hashlib.md5(runner).hexdigest()}"
    with connected(vm.address) as transport:
        assert run(transport, "true").status == 0
        assert run(transport, "systemctl is-system-running").stdout == b"running\n"
        assert run(transport, "cat /var/run/arvados-instance-secret").stdout == b"secret of vm-1"
        assert run(transport, f"md5sum {path}").status == 1
        assert run(transport, f"{path} --list").status == 127
        assert run(transport, f"sudo sh -c 'cat > {path}'", runner).status == 0
        assert run(transport, f"md5sum {path}").stdout.decode().split()[1] == path
        started = run(transport, f"sudo {path} --detach --stdin-config '--runtime-engine=x' '{UUID}'", CONFIG)
        assert (started.status, json.loads(started.stdout)["UUID"]) == (0, UUID)
        assert run(transport, f"{path} --list").stdout.decode() == f"{UUID}\n"
        assert run(transport, f"{path} --kill 15 {UUID}").status == 0
        assert run(transport, f"{path} --list").stdout == b""


@pytest.mark.parametrize(
    ("command", "given", "status"),
    [
        (f"crunch-run --detach --stdin-config '{UUID}'", b"", 2),
        (f"crunch-run --detach --stdin-config '{UUID}'", b'{"Env": {"ARVADOS_API_HOST": "h"}}', 2),
        ("sh -c 'cat > /tmp/x/crunch-run~00000000000000000000000000000000'", b"damaged", 1),
        ("rm -rf /", b"", 127),
    ],
)
def test_what_makes_no_sense_fails(world: SSHWorld, command: str, given: bytes, status: int) -> None:
    """A configuration without token, a damaged runner, a command that nobody asked for."""
    vm = world.machine()
    with connected(vm.address) as transport:
        output = run(transport, command, given)
    assert output.status == status
    assert output.stderr


def test_a_broken_machine_says_so_over_ssh(world: SSHWorld) -> None:
    """It answers, and cannot fork."""
    vm = world.machine()
    vm.broken_at_s = vm.created_s
    with connected(vm.address) as transport:
        assert run(transport, "true").status == 2


def test_a_hung_machine_says_nothing(world: SSHWorld) -> None:
    """The command is taken, and no answer comes."""
    vm = world.machine()
    vm.hung_at_s = vm.created_s
    with connected(vm.address) as transport, transport.open_session(timeout=5) as channel:
        channel.exec_command("true")
        assert not channel.exit_status_ready()
        assert not channel.closed


def test_more_sessions_than_a_real_server_allows_are_refused(world: SSHWorld) -> None:
    """A client that opens too many finds out here."""
    vm = world.machine()
    vm.hung_at_s = vm.created_s
    with connected(vm.address) as transport:
        channels = [transport.open_session(timeout=5) for _ in range(MAX_SESSIONS)]
        with pytest.raises(paramiko.ChannelException):
            transport.open_session(timeout=5)
        assert len(channels) == MAX_SESSIONS


def test_no_answer_comes_before_its_reply(world: SSHWorld) -> None:
    """Many quick commands at once: each client sees reply, output, status, end in this order."""
    vm = world.machine()
    wrong: list[object] = []

    def ask(transport: paramiko.Transport) -> None:
        for _ in range(40):
            output = run(transport, "systemctl is-system-running")
            if (output.status, output.stdout) != (0, b"running\n"):
                wrong.append(output)

    with connected(vm.address) as transport:
        threads = [threading.Thread(target=ask, args=(transport,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert wrong == []


def test_a_plugin_can_have_real_servers() -> None:
    """By a parameter, as a configuration file would say it."""
    parameters = {"Kind": True, "SSH": True}
    driver = open_stub(dataclasses.replace(driver_settings(), parameters=parameters))
    driver.create(dataclasses.replace(request(), public_key=AUTHORIZED), call())
    (listed,) = driver.list(call()).instances
    assert answers(listed.address)
    driver.destroy(listed.id, call())
    assert not answers(listed.address)
