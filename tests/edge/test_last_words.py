"""The end of a runner's output, fetched from a real OpenSSH server: from a file, from a journal, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from instance_support import UUID, access
from sshd import SSHD, running_sshd

from dispatcher.edge.instances import SSHInstances, connect_instances
from dispatcher.edge.last_words import BYTES, LINES, MARGIN_BYTES
from dispatcher.edge.runner_config import gateway_secret

OTHER = "zzzzz-dz642-000000000000002"

# What a journal shows of two runners: only the first and the last line of ours name its container.
JOURNAL = f"""\
2026-11-21T08:00:00+0000 vm crunch-run[11]: begins with container {UUID}, process 11
2026-11-21T08:00:01+0000 vm crunch-run[22]: begins with container {OTHER}, process 22
2026-11-21T08:00:02+0000 vm crunch-run[11]: cannot load the image
2026-11-21T08:00:03+0000 vm crunch-run[22]: disk full
2026-11-21T08:00:04+0000 vm crunch-run[33]: no container named
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SSHD]:
    folder = tmp_path / "vm"
    (folder / "lock").mkdir(parents=True)
    with running_sshd(folder) as running:
        running.install("sh", f'#!/bin/sh\nCRUNCH_RUN_LOCK_DIR={folder}/lock exec /bin/sh "$@"\n')
        running.install("journalctl", "#!/bin/sh\nexit 1\n")
        yield running


@pytest.fixture
def instances(server: SSHD) -> Iterator[SSHInstances]:
    port = connect_instances(access(server))
    yield port
    port.stop()


def write_output(server: SSHD, text: str) -> None:
    (server.folder / "lock" / f"crunch-run-{UUID}.log").write_text(text)


def journal(server: SSHD, text: str) -> None:
    (server.folder / "journal").write_text(text)
    server.install("journalctl", f'#!/bin/sh\necho "$@" >{server.folder}/asked\ncat {server.folder}/journal\n')


def test_from_the_file_beside_the_lock_file(server: SSHD, instances: SSHInstances) -> None:
    """Line breaks stay; the runner may have ended long ago."""
    write_output(server, "begins\ncannot load the image\n")
    assert instances.output(server.target(), UUID) == "begins\ncannot load the image"


def test_the_last_lines_only(server: SSHD, instances: SSHInstances) -> None:
    """Fifty of them."""
    write_output(server, "".join(f"line {n}\n" for n in range(500)))
    assert instances.output(server.target(), UUID).split("\n") == [f"line {n}" for n in range(500 - LINES, 500)]


@pytest.mark.parametrize("line", ["x" * 5000 + "\n", "ü" * 50_000], ids=["long lines", "one endless line"])
def test_never_more_than_sixteen_thousand_bytes(server: SSHD, instances: SSHInstances, line: str) -> None:
    """Whatever the lines are made of, and no half character."""
    write_output(server, line * 20)
    output = instances.output(server.target(), UUID)
    assert 0.9 * BYTES < len(output.encode()) <= BYTES
    assert set(output) <= set(line)


def test_from_the_journal_by_process(server: SSHD, instances: SSHInstances) -> None:
    """The lines of the process that named the container, also those that do not name it."""
    journal(server, JOURNAL)
    output = instances.output(server.target(), UUID)
    assert [line.partition(": ")[2] for line in output.split("\n")] == [
        f"begins with container {UUID}, process 11",
        "cannot load the image",
    ]
    assert "--identifier=crunch-run" in (server.folder / "asked").read_text()


def test_from_the_journal_by_the_lock_file(server: SSHD, instances: SSHInstances) -> None:
    """A runner that never names its container is known by its process while its lock file is there."""
    journal(server, JOURNAL)
    (server.folder / "lock" / f"crunch-run-{UUID}.lock").write_text(f'{{"UUID":"{UUID}","PID":33}}\n')
    assert instances.output(server.target(), UUID).endswith("crunch-run[33]: no container named")


def test_nothing_of_another_container(server: SSHD, instances: SSHInstances) -> None:
    """Its words would end in the record of somebody else."""
    journal(server, JOURNAL)
    assert instances.output(server.target(), "zzzzz-dz642-000000000000009") == ""


def test_control_characters_and_secrets_are_gone(server: SSHD, instances: SSHInstances) -> None:
    """Our tokens, the instance's secret, the container's own gateway secret, the private key, and any token's form."""
    foreign = "v2/zzzzz-gj3su-000000000000009/abcdefghijklmnop"
    key = server.login.private.splitlines()[1]
    secrets = ["v2/secret-token", "secret-token", server.secret, gateway_secret("root", UUID), key, foreign, "database-password"]
    write_output(server, "".join(f"\033[31msaid {secret}\r\n" for secret in secrets) + "\a\0end")
    port = connect_instances(access(server, secrets=("database-password",)))
    output = port.output(server.target(), UUID)
    port.stop()
    assert output == "?[31msaid ***\n" * len(secrets) + "??end"


def test_half_a_secret_is_not_shown_either(server: SSHD, instances: SSHInstances) -> None:
    """What is fetched begins somewhere: that may be in the middle of a token."""
    for shift in range(0, 40, 7):
        write_output(server, "v2/zzzzz-gj3su-000000000000009/abcdefghijklmnop\n" + "x" * (BYTES + MARGIN_BYTES - shift - 1))
        output = instances.output(server.target(), UUID)
        assert set(output) == {"x"}


def test_a_uuid_is_never_a_command(server: SSHD, instances: SSHInstances) -> None:
    """Whatever the queue calls a container."""
    assert instances.output(server.target(), "x'; touch reached; '") == ""
    assert not (server.folder / "reached").exists()


def test_12_8_an_instance_that_hangs_is_not_waited_for(server: SSHD, instances: SSHInstances) -> None:
    """Its disk hangs: the command ends there by itself, and the connection with what else runs on it stays."""
    server.install("journalctl", "#!/bin/sh\nexec sleep 60\n")
    assert instances.output(server.target(), UUID) == ""
    assert instances.probe(server.target(), boot=False).reached
    assert server.logins() == 1


def test_nobody_there_is_no_output(server: SSHD, instances: SSHInstances) -> None:
    """And no error: it was only for information."""
    assert instances.output(replace(server.target(), address="127.0.0.1:1"), UUID) == ""
