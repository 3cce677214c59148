"""The parts of the SSH executor by themselves: addresses, sockets, keys, deadlines, the watchdog."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from fake_ssh import raw_server
from ssh_support import TIMEOUT_S, eventually, failure
from sshd import make_key

from dispatcher.core.messages import ProbeProblem, Target
from dispatcher.driver import HostKey
from dispatcher.edge.ssh.address import Endpoint, open_tcp, parse_address, parse_port
from dispatcher.edge.ssh.hostkeys import HostKeys, algorithms_for, fingerprint
from dispatcher.edge.ssh.keys import load_private_key, public_key_line
from dispatcher.edge.ssh.remote import Deadline, printable
from dispatcher.edge.ssh.watchdog import Watchdog

# ---------------------------------------------------------------------------------------------------------------- addresses

ADDRESSES = [
    ("10.0.0.1", "10.0.0.1:22", "10.0.0.1"),
    ("10.0.0.1:2222", "10.0.0.1:2222", "10.0.0.1"),
    ("vm-1.internal", "vm-1.internal:22", "vm-1.internal"),
    ("vm-1:ssh", "vm-1:22", "vm-1"),
    ("[fd00::1]:2222", "[fd00::1]:2222", "[fd00::1]"),
    ("[fd00::1]", "[fd00::1]:22", "[fd00::1]"),
    ("fd00::1", "[fd00::1]:22", "[fd00::1]"),
    (" 10.0.0.1 ", "10.0.0.1:22", "10.0.0.1"),
]


@pytest.mark.parametrize(("text", "shown", "host"), ADDRESSES)
def test_addresses(text: str, shown: str, host: str) -> None:
    """All four forms; IPv6 is bracketed wherever it is shown."""
    endpoint = parse_address(text, 22)
    assert (str(endpoint), endpoint.bracketed_host) == (shown, host)


@pytest.mark.parametrize("text", ["", ":22", "a b", "[fd00::1", "[fd00::1]2222", "host:port", "host:0", "host:70000", "http://x"])
def test_what_is_no_address(text: str) -> None:
    """Is refused instead of being guessed at."""
    with pytest.raises(ValueError):
        parse_address(text, 22)


@pytest.mark.parametrize(("text", "port"), [("22", 22), ("2222", 2222), ("ssh", 22), ("", 22)])
def test_ports(text: str, port: int) -> None:
    """A number, a service's name, or nothing."""
    assert parse_port(text) == port


def test_what_was_given_up_never_arrives() -> None:
    """Closing throws unsent bytes away: the other side sees a reset, not the rest of a command."""
    with raw_server(lambda sock: sock.sendall(b"SSH-")) as server:
        sock = open_tcp(Endpoint("127.0.0.1", server.port), Deadline(TIMEOUT_S))
        sock.recv(4)  # an unread greeting alone would make any close a reset
        sock.setblocking(False)
        sent = 0
        with suppress(BlockingIOError):
            while True:
                sent += sock.send(b"x" * 65536)
        sock.close()
        received = 0
        with suppress(ConnectionResetError):
            while piece := server.sockets[0].recv(1 << 20):
                received += len(piece)
    assert received < sent


def test_the_second_address_of_a_name_is_tried() -> None:
    """``localhost`` is ::1 first on many hosts, where nothing listens here."""
    with raw_server(lambda sock: sock.sendall(b"SSH-")) as server:
        open_tcp(Endpoint("localhost", server.port), Deadline(TIMEOUT_S)).close()
    assert server.connections == 1


def test_a_host_that_drops_every_packet_ends_in_time() -> None:
    """A full backlog answers nothing, as a firewall does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((endpoint.host, endpoint.port))
        error = failure(lambda: open_tcp(endpoint, Deadline(0.5)))
        for filler in fillers:
            filler.close()
    assert (error.problem, error.sent) == (ProbeProblem.TIMEOUT, False)


# --------------------------------------------------------------------------------------------------------------------- keys

RSA, EC, ED = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()
OPEN, PKCS8, OLD = PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL
KEY_FORMATS = [(RSA, OPEN), (RSA, PKCS8), (RSA, OLD), (EC, OPEN), (EC, PKCS8), (EC, OLD), (ED, OPEN), (ED, PKCS8)]


def pem(key: object, form: PrivateFormat, lock: KeySerializationEncryption | None = None) -> str:
    text: bytes = key.private_bytes(Encoding.PEM, form, lock or NoEncryption())  # type: ignore[attr-defined]
    return text.decode()


@pytest.mark.parametrize(("key", "form"), KEY_FORMATS)
def test_key_formats(key: object, form: PrivateFormat) -> None:
    """Everything that ssh-keygen or openssl wrote in the last twenty years, also without its last newline."""
    loaded = load_private_key(pem(key, form).rstrip())
    assert loaded.can_sign()
    assert public_key_line(loaded).startswith(("ssh-", "ecdsa-"))


LOCKED = pem(ED, OPEN, BestAvailableEncryption(b"secret"))
OUTDATED = pem(dsa.generate_private_key(1024), PKCS8)


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("", "ssh-keygen -t"),
        ("garbage", "ssh-keygen -t"),
        (LOCKED, "ssh-keygen -p"),
        (OUTDATED, "old type"),
        (pem(ED, OPEN)[:-60], "ssh-keygen -t"),
    ],
    ids=["empty", "garbage", "passphrase", "dsa", "cut off"],
)
def test_what_is_no_usable_key(text: str, mend: str) -> None:
    """The error says how to mend it and repeats nothing of the key."""
    with pytest.raises(ValueError, match=mend) as caught:
        load_private_key(text)
    assert not any(line in str(caught.value) for line in text.splitlines() if line)


# ---------------------------------------------------------------------------------------------------------------- host keys


def target(*known: HostKey) -> Target:
    return Target(name="vm-1", address="10.0.0.1", user="root", host_keys=known)


def test_the_cloud_knows_better_than_our_pin() -> None:
    """What the driver vouches for replaces what was pinned."""
    pinned, vouched = make_key().public, make_key().public
    keys = HostKeys({"vm-1": pinned})
    assert keys.known(target()) == (pinned,)
    assert keys.known(target(vouched)) == (vouched,)


def test_forgotten_pins_are_gone() -> None:
    """A later instance of the same name would be somebody else."""
    keys = HostKeys({"vm-1": make_key().public})
    keys.forget("vm-1")
    assert keys.known(target()) == ()


def test_algorithms_follow_the_known_types() -> None:
    """RSA keys sign with SHA-2 only; a type that cannot be checked is an error, not a silent choice of another."""
    assert algorithms_for([HostKey("ssh-rsa", "")]) == ("rsa-sha2-512", "rsa-sha2-256")
    assert algorithms_for([])[0] == "ssh-ed25519"
    assert failure(lambda: algorithms_for([HostKey("ssh-dss", "")])).problem is ProbeProblem.HOST_KEY


def test_fingerprints_look_as_in_ssh_keygen() -> None:
    """So that an operator can compare them."""
    key = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIMFvf4DGQ7LJ2s0QJHXZCfNWPA1qk8FzNCOfmGP5cp+P")
    assert fingerprint(key).startswith("ssh-ed25519 SHA256:")
    assert fingerprint(HostKey("ssh-ed25519", "not base64!")) == "ssh-ed25519 (unreadable)"


# --------------------------------------------------------------------------------------------------------------------- rest


@pytest.mark.parametrize(
    ("data", "shown"),
    [(b"", ""), (b"one\ntwo\r\n", "one two"), (b"a\x1b[31mb\x00c\xff", "a?[31mb?c\ufffd"), (b"x" * 30, "… " + "x" * 20)],
)
def test_printable(data: bytes, shown: str) -> None:
    """One line, no control characters, the end of it."""
    assert printable(data, 20) == shown


def test_the_watchdog_cuts_only_what_overruns() -> None:
    """One guarded body ends in time, another hangs until it is cut."""
    watchdog, cuts, freed = Watchdog(), [], threading.Event()
    with watchdog.guard(Deadline(TIMEOUT_S), lambda: cuts.append("patient")):
        with watchdog.guard(Deadline(0.01), freed.set):
            assert freed.wait(TIMEOUT_S)
        with watchdog.guard(Deadline(TIMEOUT_S), lambda: cuts.append("quick")):
            pass
    watchdog.stop()
    assert cuts == []


def test_the_watchdog_cuts_again() -> None:
    """A waiter may have begun to wait just after the first cut."""
    watchdog, cuts = Watchdog(), []
    with watchdog.guard(Deadline(0.0), lambda: cuts.append(1)):
        assert eventually(lambda: len(cuts) >= 2)
    watchdog.stop()
