"""The local driver with real processes: they boot, answer, survive the dispatcher, and leave nothing behind."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from ssh_client import AUTHORIZED, answers, connected, offered_key, run, run_at, wait_until
from stub_world import TYPE, driver_settings, request

from dispatcher.driver import Call, CloudError, CreateRequest, DriverSettings, Instance, Misconfigured, Presence, QuotaReached
from drivers.local import LocalDriver
from drivers.local import open as open_local
from drivers.local.processes import look, look_around, marked
from drivers.ssh_server import load_private_key, new_private_key
from tests.processes import proc_file

SECRET = "correct horse"
INIT = f"#!/bin/sh\numask 0177\nprintf %s '{SECRET}' > /var/run/arvados-instance-secret\n"


def call() -> Call:
    return Call(timeout_s=20.0)


def settings(folder: Path, **parameters: object) -> DriverSettings:
    return dataclasses.replace(driver_settings(), parameters={"Folder": str(folder), "BootTime": 0, **parameters})


def asked(name: str = "vm-1") -> CreateRequest:
    return dataclasses.replace(request(name), init_script=INIT, public_key=AUTHORIZED)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[LocalDriver]:
    """A driver on a folder of its own; afterwards no process of it may be left."""
    driver = open_local(settings(tmp_path))
    yield driver
    for instance in driver.list(call()).instances:
        driver.destroy(instance.id, call())
    assert _processes_of(tmp_path) == []


def _processes_of(folder: Path) -> list[bytes]:
    """Command lines of living processes that belong to any instance in this folder."""
    found = []
    for pid, process in look_around().items():
        environment, command = proc_file(pid, "environ"), proc_file(pid, "cmdline")
        if not process.zombie and pid != os.getpid() and str(folder).encode() in environment + command:
            found.append(command)
    return found


def the_one(driver: LocalDriver) -> Instance:
    (instance,) = driver.list(call()).instances
    return instance


def booted(driver: LocalDriver, name: str = "vm-1") -> str:
    """The address of a new instance that answers."""
    driver.create(asked(name), call())
    wait_until(lambda: answers(_address(driver, name)), "SSH answers")
    return _address(driver, name) or ""


def _address(driver: LocalDriver, name: str) -> str | None:
    return next((instance.address for instance in driver.list(call()).instances if instance.name == name), None)


def test_an_instance_boots_and_answers_with_its_own_host_key(driver: LocalDriver) -> None:
    """The driver vouches for the key that the server shows."""
    address = booted(driver)
    with connected(address) as transport:
        assert (offered_key(transport),) == driver.host_keys("vm-1")
        assert run(transport, "systemctl is-system-running").stdout == b"running\n"


def test_only_the_given_key_may_log_in(driver: LocalDriver) -> None:
    """Another key is refused, and so is everything but a command."""
    address = booted(driver)
    with pytest.raises(paramiko.AuthenticationException), connected(address, load_private_key(new_private_key())):
        pass
    with connected(address) as transport:
        with pytest.raises(paramiko.SSHException):
            transport.open_session(timeout=5).invoke_shell()
        with pytest.raises(paramiko.ChannelException):
            transport.open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 22), timeout=5)


def test_the_secret_of_the_init_script_can_be_read_over_ssh_only(driver: LocalDriver, tmp_path: Path) -> None:
    """At the place where every machine has it; for other users of the host it is closed."""
    address = booted(driver)
    assert run_at(address, "sudo cat /var/run/arvados-instance-secret").stdout == SECRET.encode()
    assert (tmp_path / "instances" / "vm-1").stat().st_mode & 0o077 == 0


def test_a_runner_is_put_in_place_where_the_dispatcher_thinks(driver: LocalDriver) -> None:
    """The answer of md5sum names the path that was asked for, or the dispatcher would copy it again."""
    address = booted(driver)
    content = b"#!/bin/sh\necho ran \"$@\"\n"
    digest = hashlib.md5(content).hexdigest()
    path = f"/tmp/arvados-crunch-run/crunch-run~{digest}"
    script = f"mkdir -p /tmp/arvados-crunch-run; cat > {path}; chmod 0755 {path}"
    with connected(address) as transport:
        assert run(transport, f"md5sum {path}").status == 1
        assert run(transport, f"sudo sh -c '{script}'", content).status == 0
        assert run(transport, f"md5sum {path}").stdout.decode() == f"{digest}  {path}\n"
        assert run(transport, f"sudo {path} --list").stdout == b"ran --list\n"
    assert not Path(path).exists()


def test_commands_run_in_the_instances_own_surroundings(driver: LocalDriver, tmp_path: Path) -> None:
    """Home, lock folder and environment are its own; nothing of ours is handed on."""
    address = booted(driver)
    home = tmp_path / "instances" / "vm-1" / "home"
    output = run_at(address, "pwd; echo $CRUNCH_RUN_LOCK_DIR; echo $CRUNCH_RUN_DATA_DIR; env | grep -c PYTEST")
    assert output.stdout.decode().split() == [str(home), str(home / "lock"), str(tmp_path), "0"]


@pytest.mark.parametrize(
    ("command", "given", "status", "stdout", "stderr"),
    [
        ("cat; exit 3", b"hello", 3, b"hello", b""),
        ("echo no >&2; exit 1", b"", 1, b"", b"no\n"),
        ("kill -9 $$", b"", 137, b"", b""),
        ("no-such-command-here", b"", 127, b"", b"/bin/sh: 1: no-such-command-here: not found\n"),
        ("sleep 600 & echo left", b"", 0, b"left\n", b""),
    ],
)
def test_a_command_is_really_executed(
    driver: LocalDriver, command: str, given: bytes, status: int, stdout: bytes, stderr: bytes
) -> None:
    """Input, both outputs and the exit status pass; a background process does not hold the answer up."""
    output = run_at(booted(driver), command, given)
    assert (output.status, output.stdout) == (status, stdout)
    assert bool(output.stderr) == bool(stderr)


def test_much_output_arrives_whole(driver: LocalDriver) -> None:
    """More than any window or pipe holds."""
    address = booted(driver)
    given = os.urandom(3 << 20)
    assert run_at(address, "cat", given).stdout == given


def test_the_address_comes_first_and_ssh_after_the_boot(tmp_path: Path) -> None:
    """While it boots the port refuses connections."""
    driver = open_local(settings(tmp_path, BootTime="1h"))
    driver.create(asked(), call())
    wait_until(lambda: the_one(driver).address, "an address")
    assert not answers(the_one(driver).address)
    driver.destroy("vm-1", call())
    assert _processes_of(tmp_path) == []


def test_without_create_time_over_there_is_no_address(tmp_path: Path) -> None:
    """A cloud that needs long has nothing to tell yet."""
    driver = open_local(settings(tmp_path, CreateTime="1h"))
    driver.create(asked(), call())
    assert the_one(driver).address is None
    driver.destroy("vm-1", call())


def test_the_quota_holds(tmp_path: Path) -> None:
    """One too many is refused, the call says how many there are, and an end frees the place."""
    driver = open_local(settings(tmp_path, Quota=1))
    driver.create(asked("vm-1"), call())
    driver.create(asked("vm-1"), call())
    report = call()
    with pytest.raises(QuotaReached):
        driver.create(asked("vm-2"), report)
    assert (report.usage, report.limit) == (1, 1)
    driver.destroy("vm-1", call())
    driver.create(asked("vm-2"), call())
    driver.destroy("vm-2", call())


def test_destroy_ends_everything_that_was_started(driver: LocalDriver, tmp_path: Path) -> None:
    """Also what ran away into a session of its own and forgot its environment."""
    address = booted(driver)
    run_at(address, "setsid env -i /bin/sleep 3333 >/dev/null 2>&1 & (setsid sleep 3334 >/dev/null 2>&1 &)")
    (runaway,) = [pid for pid in look_around() if _command(pid) == ["/bin/sleep", "3333"]]
    driver.destroy("vm-1", call())
    assert look(runaway) is None or look(runaway).zombie  # type: ignore[union-attr]
    assert _processes_of(tmp_path) == []
    assert driver.list(call()).instances == ()


def _command(pid: int) -> list[str]:
    return proc_file(pid, "cmdline").decode().split("\0")[:-1]


def test_an_instance_that_does_not_listen_is_ended_all_the_same(driver: LocalDriver, tmp_path: Path) -> None:
    """Stopped, it cannot end itself."""
    booted(driver)
    (pid,) = [pid for pid in marked(str(tmp_path / "instances" / "vm-1")) if "drivers.local.instance" in _command(pid)]
    os.kill(pid, signal.SIGSTOP)
    driver.destroy("vm-1", Call(timeout_s=0.1))
    assert _processes_of(tmp_path) == []


def test_a_killed_instance_is_gone_with_all_that_it_ran(driver: LocalDriver, tmp_path: Path) -> None:
    """The next list does not show it, and when the list is there nothing runs any more."""
    address = booted(driver)
    run_at(address, "setsid sleep 3335 >/dev/null 2>&1 &")
    (pid,) = [pid for pid in marked(str(tmp_path / "instances" / "vm-1")) if "drivers.local.instance" in _command(pid)]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: driver.list(call()).instances == (), "the list without it")
    assert _processes_of(tmp_path) == []


def test_what_cannot_be_looked_at_is_not_taken_for_dead(driver: LocalDriver, tmp_path: Path) -> None:
    """Its lock is out of reach: the list shows the others and proves no absence, and nothing of it is ended."""
    for name in ("vm-1", "vm-2"):
        driver.create(asked(name), call())
    lock = tmp_path / "instances" / "vm-2" / "alive"
    hidden = lock.rename(lock.with_name("hidden"))
    lock.mkdir()
    listing = driver.list(call())
    assert ([instance.id for instance in listing.instances], listing.complete) == (["vm-1"], False)
    lock.rmdir()
    hidden.rename(lock)
    listing = driver.list(call())
    assert ([instance.id for instance in listing.instances], listing.complete) == (["vm-1", "vm-2"], True)


def test_instances_outlive_the_dispatcher(tmp_path: Path) -> None:
    """Killed right after the create; its successor finds, uses and ends them."""
    program = (
        "import logging, sys, os, signal\n"
        "from dispatcher.driver import Call, CreateRequest, DriverSettings, InstanceType\n"
        "from drivers.local import open\n"
        "log = logging.getLogger()\n"
        f"settings = DriverSettings(parameters={{'Folder': {str(tmp_path)!r}, 'BootTime': 0}},"
        " instance_set_id='zzzzz-set', tag_prefix='Arvados', log=log)\n"
        "kind = InstanceType(name='small', provider_type='m1.small', vcpus=1, ram_bytes=1)\n"
        "request = CreateRequest(name='vm-1', instance_type=kind, image_id='', tags={'ArvadosInstanceSetID': 'zzzzz-set'},"
        f" init_script='#!/bin/sh', public_key={AUTHORIZED!r})\n"
        "open(settings).create(request, Call(timeout_s=10))\n"
        "os.killpg(0, signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, start_new_session=True, check=False)
    driver = open_local(settings(tmp_path))
    wait_until(lambda: answers(the_one(driver).address), "SSH answers")
    assert the_one(driver).provider_type == TYPE.provider_type
    assert driver.create(asked(), call()).id == "vm-1"
    driver.destroy("vm-1", call())
    assert _processes_of(tmp_path) == []


def test_an_instance_whose_folder_vanishes_ends_itself(tmp_path: Path) -> None:
    """Whoever removes the data folder has no processes left either."""
    driver = open_local(settings(tmp_path))
    booted(driver)
    (tmp_path / "instances" / "vm-1").rename(tmp_path / "elsewhere")
    wait_until(lambda: _processes_of(tmp_path) == [], "its process ends")


def test_tags_are_replaced_and_others_are_left_alone(driver: LocalDriver, tmp_path: Path) -> None:
    """The full map, visible at once; a foreign set sees and touches nothing."""
    driver.create(asked(), call())
    tags = {"ArvadosInstanceSetID": "zzzzz-set", "ArvadosIdleBehavior": "hold"}
    driver.set_tags("vm-1", tags, call())
    assert the_one(driver).tags == tags
    stranger = open_local(dataclasses.replace(settings(tmp_path), instance_set_id="other"))
    assert stranger.list(call()).instances == ()
    with pytest.raises(CloudError, match="not ours"):
        stranger.destroy("vm-1", call())
    with pytest.raises(CloudError):
        driver.set_tags("vm-2", tags, call())


def test_destroy_of_what_is_not_there_is_success(driver: LocalDriver) -> None:
    """Whatever the id looks like."""
    for instance_id in ("vm-9", "", "../..", "a/b"):
        driver.destroy(instance_id, call())


def test_logs_and_outputs_are_kept_within_bounds(tmp_path: Path) -> None:
    """What an instance said can be read after its end; the oldest goes."""
    driver = open_local(settings(tmp_path, KeptLogs=1, KeptOutputs=1))
    for name in ("vm-1", "vm-2"):
        driver.create(asked(name), call())
        for number in (1, 2):
            (tmp_path / "containers" / f"{name}-{number}").mkdir()
        driver.destroy(name, call())
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert len(list((tmp_path / "containers").iterdir())) == 1
    assert list((tmp_path / "instances").iterdir()) == []


def test_an_instance_shows_as_deleting_while_it_goes(driver: LocalDriver, tmp_path: Path) -> None:
    """A destroy that was interrupted can be seen."""
    driver.create(asked(), call())
    (tmp_path / "instances" / "vm-1" / "deleting").touch()
    assert the_one(driver).state is Presence.DELETING


def test_no_secret_stands_in_a_process_list(driver: LocalDriver, tmp_path: Path) -> None:
    """Command lines can be read by everybody on the host."""
    booted(driver)
    pids = marked(str(tmp_path / "instances" / "vm-1"))
    assert pids
    assert not [pid for pid in pids if SECRET in " ".join(_command(pid))]


MISTAKES = [
    ({}, "Folder"),
    ({"Folder": "relative"}, "Folder"),
    ({"Folder": "/x", "BootTime": "soon"}, "BootTime"),
    ({"Folder": "/x", "CreateTime": -1}, "CreateTime"),
    ({"Folder": "/x", "Quota": "many"}, "Quota"),
    ({"Folder": "/x", "AuthorizedKey": "ssh-rsa"}, "AuthorizedKey"),
    ({"Folder": "/x", "Foldr": "/y"}, "Foldr"),
]


@pytest.mark.parametrize(("parameters", "path"), MISTAKES)
def test_a_wrong_parameter_is_named(parameters: dict, path: str) -> None:
    """``open`` touches nothing and says which key is wrong."""
    with pytest.raises(Misconfigured) as caught:
        open_local(dataclasses.replace(driver_settings(), parameters=parameters))
    assert caught.value.path == path


def test_without_any_key_nothing_is_created(tmp_path: Path) -> None:
    """Nobody could log in; the parameter can name one."""
    keyless = dataclasses.replace(asked(), public_key=None)
    with pytest.raises(Misconfigured) as caught:
        open_local(settings(tmp_path)).create(keyless, call())
    assert caught.value.path == "AuthorizedKey"
    driver = open_local(settings(tmp_path, AuthorizedKey=AUTHORIZED))
    driver.create(keyless, call())
    driver.destroy("vm-1", call())
