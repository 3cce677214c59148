"""A plain SSH client for tests of drivers: log in with a key, run one command, read everything."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import paramiko

from dispatcher.driver import HostKey
from drivers.ssh_server import load_private_key, new_private_key, quiet_library

TIMEOUT_S = 20.0

quiet_library()
USER_KEY = load_private_key(new_private_key())
AUTHORIZED = f"{USER_KEY.get_name()} {USER_KEY.get_base64()} test"


@dataclass(frozen=True)
class Output:
    status: int
    stdout: bytes
    stderr: bytes


@contextlib.contextmanager
def connected(address: str, key: paramiko.PKey = USER_KEY) -> Iterator[paramiko.Transport]:
    host, port = address.rsplit(":", 1)
    transport = paramiko.Transport(socket.create_connection((host, int(port)), timeout=TIMEOUT_S))
    try:
        transport.start_client(timeout=TIMEOUT_S)
        transport.auth_publickey("anybody", key)
        yield transport
    finally:
        transport.close()


def run(transport: paramiko.Transport, command: str, given: bytes = b"") -> Output:
    with transport.open_session(timeout=TIMEOUT_S) as channel:
        channel.settimeout(TIMEOUT_S)
        channel.exec_command(command)
        if given:
            channel.sendall(given)
        channel.shutdown_write()
        stdout = channel.makefile("rb").read()
        stderr = channel.makefile_stderr("rb").read()
        return Output(channel.recv_exit_status(), stdout, stderr)


def run_at(address: str, command: str, given: bytes = b"") -> Output:
    with connected(address) as transport:
        return run(transport, command, given)


def offered_key(transport: paramiko.Transport) -> HostKey:
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.get_base64())


def wait_until(holds: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """For real processes and sockets only."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, f"not in {timeout_s} s: {what}"
        time.sleep(0.02)


def answers(address: str | None) -> bool:
    """Whether SSH answers there."""
    if address is None:
        return False
    try:
        with connected(address):
            return True
    except (OSError, EOFError, paramiko.SSHException):
        return False
