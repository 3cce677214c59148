"""Real SSH servers behind the machines of the fake: each on an address of its own in 127.0.0.0/8, all on one port.

What a login needs comes from the very request that made the machine: the account's keys from osProfile, root's key, the secret
and the host key from customData. Behind the command lines stand the instances of the stub driver.
"""

from __future__ import annotations

import base64
import itertools
import random
import re
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import paramiko

from dispatcher.driver import InstanceType
from drivers.ssh_server import SSHServer, load_private_key, new_private_key, quiet_library
from drivers.stub import NoWorkload, StubInstance, StubKnobs, Workload
from drivers.stub.servers import answer_on
from tests.fake_azure.model import Machine

_KEY_LINE = re.compile(r"(?:ssh-(?:rsa|ed25519)|ecdsa-sha2-\S+) [A-Za-z0-9+/=]{60,}")
_NAMED_USER = re.compile(r"getent passwd (\w+)")
_PRIVATE_KEY = re.compile(r"-----BEGIN OPENSSH PRIVATE KEY-----[^-]*-----END OPENSSH PRIVATE KEY-----")
TICK_S = 0.05


class SSHMachines:
    """Hand it to an Account as ``hardware``. ``port`` is the one on which all machines answer."""

    def __init__(
        self,
        *,
        knobs: StubKnobs | None = None,
        workload: Workload | None = None,
        seed: int = 0,
        boot_s: tuple[float, float] = (0.5, 1.5),
        network: int = 77,
    ) -> None:
        quiet_library()
        self.knobs = StubKnobs.kind(container_s=2.0) if knobs is None else knobs
        self.port = _free_port(network)
        self.instances: dict[str, StubInstance] = {}  # by address
        self.killed_with_work: list[str] = []
        self._workload = NoWorkload() if workload is None else workload
        self._random = random.Random(seed)
        self._boot_s = boot_s
        self._network = network
        self._numbers = itertools.count(2)
        self._servers: dict[str, SSHServer] = {}
        self._owners: dict[str, Machine] = {}
        self._released = threading.Event()
        self._lock = threading.RLock()
        self._gone: list[StubInstance] = []
        self._clock = threading.Thread(target=self._run_clock, name="fake machines", daemon=True)
        self._clock.start()

    # ---------------------------------------------------------------------------------------------------- for the account

    def start(self, machine: Machine, asked: Mapping[str, Any], now: float) -> str:
        number = next(self._numbers)
        address = f"127.{self._network}.{number >> 8 & 255}.{number & 255}"
        account = asked.get("properties", {}).get("osProfile", {})
        script = custom_data_of(account)
        instance = self._new_instance(machine, address, script, secret_of(asked, script))
        listener = socket.create_server((address, self.port))
        server = SSHServer(
            listener,
            host_key=load_private_key(host_key_in(script) or new_private_key()),
            authorized_keys=(),
            accounts=accounts_of(account, script),
            handler=lambda command, channel: self._run(instance, command, channel),
            is_open=lambda: instance.accepts_connections(time.monotonic()),
            name=machine.name,
        )
        with self._lock:
            self.instances[address], self._servers[address], self._owners[address] = instance, server, machine
        server.start()
        return address

    def stop(self, machine: Machine, now: float) -> None:
        """Somebody deletes it: whether anything still ran there is remembered."""
        for instance in [each for each in self.instances.values() if each.id == machine.name]:
            instance.advance(now)
            if instance.has_work:
                self.killed_with_work.append(machine.name)

    def settle(self, machines: Mapping[str, Machine], now: float) -> None:
        """Machines on their way out are told when they go; those that are gone answer no more."""
        with self._lock:
            for address, machine in list(self._owners.items()):
                instance = self.instances[address]
                _follow(instance, machine)
                if instance.gone_at_s <= now:
                    self._servers.pop(address).close()
                    del self._owners[address], self.instances[address]
                    self._gone.append(instance)

    def close(self) -> None:
        self._released.set()
        self._clock.join()
        with self._lock:
            servers, self._servers = list(self._servers.values()), {}
            self._owners.clear()
        for server in servers:
            server.close()

    def _run_clock(self) -> None:
        """Runners run on whether or not somebody looks at them."""
        while not self._released.wait(TICK_S):
            with self._lock:
                instances, self._gone = [*self.instances.values(), *self._gone], []
            for instance in instances:
                with instance.lock:
                    instance.advance(time.monotonic())

    def cut(self, address: str) -> None:
        """Every connection to this machine breaks."""
        self._servers[address].cut_connections()

    # ------------------------------------------------------------------------------------------------------------ inside

    def _new_instance(self, machine: Machine, address: str, script: str, secret: str) -> StubInstance:
        now = time.monotonic()
        booted_s = now + self._random.uniform(*self._boot_s)
        instance_type = InstanceType(
            name=machine.size.name, provider_type=machine.size.name, vcpus=machine.size.cores, ram_bytes=1 << 30
        )
        return StubInstance(
            id=machine.name,
            name=machine.name,
            type=instance_type,
            created_s=now,
            secret=secret,
            init_script=script,
            address=address,
            tag_history=[(now, {})],
            knobs=self.knobs,
            random=random.Random(self._random.getrandbits(64)),
            workload=self._workload,
            ssh_at_s=now + (booted_s - now) * 0.7,
            booted_at_s=booted_s,
        )

    def _run(self, instance: StubInstance, command: str, channel: paramiko.Channel) -> int:
        return answer_on(
            channel, instance, command, now=time.monotonic, pause=self._released.wait, released=self._released
        )


def _follow(instance: StubInstance, machine: Machine) -> None:
    """A failed machine never answers, but for the one that was only slow to say that it is there."""
    instance.deleting_at_s = min(instance.deleting_at_s, machine.deleting_s)
    instance.gone_at_s = min(instance.gone_at_s, machine.gone_s)
    if machine.failure is not None and machine.failure.code != "OSProvisioningTimedOut":
        instance.failed_at_s = machine.created_s


def _free_port(network: int) -> int:
    """A port that is free on the first address is taken to be free on the others: nobody else listens there."""
    with socket.create_server((f"127.{network}.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# ------------------------------------------------------------------------------------------------- what a request says


def custom_data_of(account: Mapping[str, Any]) -> str:
    """The text that the machine would run or read at its first boot; base64 parts of a multipart are opened too."""
    text = base64.b64decode(account.get("customData", "")).decode("utf-8", "replace")
    opened = [_decoded(each) for each in re.findall(r"(?m)^[A-Za-z0-9+/=]{40,}(?:\r?\n[A-Za-z0-9+/=]+)*$", text)]
    return "\n".join([text, *opened])


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except ValueError:
        return ""


def secret_of(asked: Mapping[str, Any], script: str) -> str:
    """What the init script writes to the secret's file: the tag of that name, if the script holds it."""
    secrets = [value for name, value in asked.get("tags", {}).items() if name.endswith("InstanceSecret") and value]
    return next((secret for secret in secrets if secret in script), "")


def host_key_in(script: str) -> str | None:
    """A private host key that was injected, in a script or in the JSON of a cloud-config."""
    lines = "\n".join(line.strip() for line in script.replace("\\n", "\n").splitlines())
    found = _PRIVATE_KEY.search(lines)
    return None if found is None else found.group(0) + "\n"


def accounts_of(account: Mapping[str, Any], script: str) -> dict[str, list[str]]:
    """Who may log in by which key: the account of the request, and whom the script lets in (root, if it names nobody)."""
    keys = account.get("linuxConfiguration", {}).get("ssh", {}).get("publicKeys", [])
    accounts = {account.get("adminUsername", "root"): [key["keyData"] for key in keys]}
    for line in script.splitlines():
        if "authorized_keys" in line and (found := _KEY_LINE.search(line)) is not None:
            named = _NAMED_USER.search(line)
            accounts.setdefault(named.group(1) if named else "root", []).append(found.group(0))
    return accounts
