"""Where SSH is on an instance: two real OpenSSH servers on different ports of one host."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from instance_support import access
from sshd import SSHD, free_port, running_sshd

from dispatcher.edge.instances import connect_instances

SERVICES = ("http-alt", "xmpp-client", "amqp", "rsync", "svn", "git", "openvpn", "puppet", "zabbix-agent", "x11")


def free_service() -> tuple[str, int]:
    """A service that /etc/services names, and its port, on which nobody listens here."""
    for name in SERVICES:
        try:
            port = socket.getservbyname(name, "tcp")
            with socket.create_server(("127.0.0.1", port)):
                return name, port
        except OSError:
            continue
    pytest.skip("needs a tool: /etc/services names no service whose port is free: apt-get install netbase")


def has_ipv6() -> bool:
    try:
        free_port("::1")
    except OSError:
        return False
    return True


@contextmanager
def two(folder: Path, listen: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[SSHD, SSHD]]:
    """The first is where SSHPort says; each has a secret of its own, so that nobody can be taken for the other."""
    for name in ("one", "two"):
        (folder / name).mkdir()
    with (
        running_sshd(folder / "one", secret="secret-one", listen=listen, port=port) as one,
        running_sshd(folder / "two", secret="secret-two", listen=listen) as other,
    ):
        other.login = one.login
        (folder / "two" / "authorized_keys").write_text(one.login.line + "\n")
        for server in (one, other):
            server.install("crunch-run", "#!/bin/sh\nexit 0\n")
        yield one, other


def reached(one: SSHD, other: SSHD, ssh_port: str, address: str) -> str:
    """Which of the two answers there."""
    port = connect_instances(access(one, ssh_port=ssh_port))
    target = one.target()
    answers = [port.probe(replace(target, name=f"vm-{secret}", address=address, secret=secret), boot=False).reached
               for secret in (one.secret, other.secret)]  # fmt: skip
    port.stop()
    return {(True, False): "one", (False, True): "two"}.get((answers[0], answers[1]), str(answers))


def test_the_port_of_the_settings_counts_where_an_address_names_none(tmp_path: Path) -> None:
    """And the one in the address wins over it."""
    with two(tmp_path) as (one, other):
        assert reached(one, other, str(one.port), "127.0.0.1") == "one"
        assert reached(one, other, str(one.port), f"127.0.0.1:{other.port}") == "two"
        assert reached(one, other, str(one.port), f"localhost:{other.port}") == "two"


def test_the_port_may_be_the_name_of_a_service(tmp_path: Path) -> None:
    """As /etc/services knows it, in the settings and in an address."""
    name, port = free_service()
    with two(tmp_path, port=port) as (one, other):
        assert reached(one, other, name, "127.0.0.1") == "one"
        assert reached(one, other, str(other.port), f"127.0.0.1:{name}") == "one"


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6 loopback")
def test_ipv6_stands_in_brackets_when_it_has_a_port(tmp_path: Path) -> None:
    """Bare or in brackets without one."""
    with two(tmp_path, "::1") as (one, other):
        assert reached(one, other, str(one.port), "::1") == "one"
        assert reached(one, other, str(one.port), "[::1]") == "one"
        assert reached(one, other, str(one.port), f"[::1]:{other.port}") == "two"
