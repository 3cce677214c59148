"""A real OpenSSH server in the place of an instance: it accepts what it can, keeps all that it is sent, and gets no secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from instance_support import TYPE, UUID, access
from sshd import SSHD, make_key, running_sshd

from dispatcher.core.messages import ProbeProblem, StartOutcome, Target
from dispatcher.edge.instances import InstanceAccess, SSHInstances, connect_instances
from dispatcher.edge.runner_config import RunnerAccess, gateway_secret

SECRET_OF_THE_INSTANCE = "4c0ffee0secret0of0the0real0instance"
RUNNER_ACCESS = RunnerAccess(
    api_host="api.example.com",
    api_token="v2/zzzzz-gj3su-000000000000000/marked-token",
    system_root_token="marked-root-token",
    cluster_config={"PostgreSQL": {"Connection": {"password": "marked-password"}}},
)
IDENTITY = ("cat /var/run/arvados-instance-secret", "sudo cat /var/run/arvados-instance-secret")


def secrets(server: SSHD) -> list[str]:
    """Everything that must not reach somebody else; the runner's own bytes show that no file was sent either."""
    known = ["marked-token", "marked-root-token", "marked-password", "marked-binary", gateway_secret("marked-root-token", UUID)]
    return [*known, SECRET_OF_THE_INSTANCE, *server.login.private.splitlines()[1:-1]]


@contextmanager
def impostor(folder: Path, **options: object) -> Iterator[SSHD]:
    folder.mkdir()
    with running_sshd(folder, records=True, accepts_anybody=True, secret="a guess", **options) as server:  # type: ignore[arg-type]
        (folder / "booted").touch()
        yield server


def binary(folder: Path) -> str:
    path = folder / "crunch-run"
    path.write_text("#!/bin/sh\n# marked-binary\n")
    return str(path)


def port_for(server: SSHD, folder: Path) -> SSHInstances:
    changes = {"runner_access": RUNNER_ACCESS, "deploy_binary": binary(folder), "deploy_directory": str(folder / "deployed")}
    settings: InstanceAccess = access(server, **changes)
    return connect_instances(settings)


def use_it_in_every_way(port: SSHInstances, target: Target) -> list[ProbeProblem]:
    """What the dispatcher ever does on an instance. Nothing of it succeeds; the problems of the two probes."""
    boot, probe = port.probe(target, boot=True), port.probe(target, boot=False)
    assert port.start(target, UUID, TYPE, vcpus=1).outcome is StartOutcome.NOT_SENT
    assert not port.kill(target, UUID, 15).gone
    assert port.output(target, UUID) == ""
    assert (boot.reached, boot.processes, probe.processes) == (False, None, None)
    return [boot.problem, probe.problem]


def assert_got_nothing(server: SSHD, *, commands: tuple[str, ...] = ()) -> None:
    """No secret, and of commands at most these."""
    everything = server.received() + server.log()
    assert not [secret for secret in secrets(server) if secret in everything]
    ran = [line for line in server.received().splitlines() if line and "=" not in line]
    assert set(ran) <= set(commands), ran


def test_a_host_whose_key_the_driver_does_not_vouch_for_gets_no_login(tmp_path: Path) -> None:
    """The key is compared before anything else: the server does not even learn our public key."""
    with impostor(tmp_path / "vm") as server:
        port = port_for(server, tmp_path)
        target = server.target(secret=SECRET_OF_THE_INSTANCE, host_keys=(make_key().public,))
        assert use_it_in_every_way(port, target) == [ProbeProblem.HOST_KEY] * 2
        port.stop()
        assert_got_nothing(server)
        assert server.logins() == 0


def test_a_host_that_lets_anybody_in_and_lacks_the_secret_gets_one_question(tmp_path: Path) -> None:
    """On first contact no key is known: who cannot show the instance's secret is asked nothing else."""
    with impostor(tmp_path / "vm") as server:
        port = port_for(server, tmp_path)
        assert use_it_in_every_way(port, server.target(secret=SECRET_OF_THE_INSTANCE)) == [ProbeProblem.HOST_KEY] * 2
        port.stop()
        assert server.logins() > 0
        assert_got_nothing(server, commands=IDENTITY)


def test_a_key_that_changes_later_is_an_error_and_not_a_new_trust(tmp_path: Path) -> None:
    """The right instance was known; then another machine answers there, and it even knows the secret."""
    with impostor(tmp_path / "vm") as server:
        server.secret = SECRET_OF_THE_INSTANCE
        (server.folder / "secret").write_text(SECRET_OF_THE_INSTANCE)
        port = port_for(server, tmp_path)
        target = server.target(secret=SECRET_OF_THE_INSTANCE)
        assert port.probe(target, boot=False).reached
        server.stop()
        (server.folder / "received").unlink()
        (server.folder / "log").write_text("")
        server.host_keys = [make_key()]
        server.start()
        for _ in range(2):
            assert use_it_in_every_way(port, target) == [ProbeProblem.HOST_KEY] * 2
        report = port.probe(target, boot=False)
        port.stop()
        assert_got_nothing(server)
        assert server.logins() == 0
    assert "the new key is not learnt" in report.error


def test_a_host_that_nothing_is_known_about_is_not_spoken_to(tmp_path: Path) -> None:
    """Neither a key nor a secret: it can be anybody, so nobody connects."""
    with impostor(tmp_path / "vm") as server:
        port = port_for(server, tmp_path)
        assert use_it_in_every_way(port, server.target(secret="")) == [ProbeProblem.HOST_KEY] * 2
        port.stop()
        assert_got_nothing(server)
        assert "Connection from" not in server.log()


def test_the_right_instance_gets_what_the_impostor_did_not(tmp_path: Path) -> None:
    """The same recorder sees the tokens when it is the right machine: it would have seen them above."""
    with impostor(tmp_path / "vm") as server:
        (server.folder / "secret").write_text(SECRET_OF_THE_INSTANCE)
        port = port_for(server, tmp_path)
        target = server.target(secret=SECRET_OF_THE_INSTANCE, host_keys=(server.host_keys[0].public,))
        port.start(target, UUID, replace(TYPE, vcpus=1), vcpus=1)
        port.stop()
        assert [word for word in secrets(server) if word in server.received()] == [
            "marked-token", "marked-password", gateway_secret("marked-root-token", UUID),
        ]  # fmt: skip


@pytest.mark.parametrize("shown", ["", "a guess", SECRET_OF_THE_INSTANCE + "x", SECRET_OF_THE_INSTANCE[:-1]])
def test_nearly_the_secret_is_not_the_secret(tmp_path: Path, shown: str) -> None:
    """Not a letter more or less."""
    with impostor(tmp_path / "vm") as server:
        (server.folder / "secret").write_text(shown)
        port = port_for(server, tmp_path)
        report = port.probe(server.target(secret=SECRET_OF_THE_INSTANCE), boot=False)
        port.stop()
        assert (report.problem, SECRET_OF_THE_INSTANCE in report.error) == (ProbeProblem.HOST_KEY, False)
