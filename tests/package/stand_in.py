"""Stands in for the Arvados dispatcher, as far as the next one can see what it did: its lock, its tags, the containers that it
locked, the runners that it started. Written from what is documented of it; it shares nothing with it.

It is copied into the machine, where it runs as the service's user beside the installed code, whose driver and configuration it
borrows. ``stand_in.py leave FOLDER`` leads until it is ended: one instance on hold, and of the containers that it finds it starts
the first and only locks the others. ``stand_in.py find FOLDER`` waits for the lock and writes what it makes of what it finds.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import random
import string
import sys
import time
from pathlib import Path
from typing import Any

import paramiko
import psycopg
import requests

from dispatcher.config import Config, load
from dispatcher.driver import Call, CreateRequest, DriverSettings, Instance
from drivers.local import open as open_driver

LOCK = 10005  # of every Arvados dispatcher
TIMEOUT_S = 30.0
LOOK_S = 0.5
SECRET_FILE = "/var/run/arvados-instance-secret"
BEHAVIORS = ("run", "hold", "drain")


class Other:
    """One process of it, from its files to its lock."""

    def __init__(self, config: Config) -> None:
        self.config = config
        token = config.api.token
        self.set_id = token.split("/")[1] if token.startswith("v2/") else hashlib.md5(token.encode()).hexdigest()
        self.key = paramiko.Ed25519Key.from_private_key(io.StringIO(config.access.private_key))
        settings = DriverSettings(
            parameters=config.driver.parameters, instance_set_id=self.set_id, tag_prefix="Arvados", log=logging.getLogger()
        )
        self.driver = open_driver(settings)
        self.runner = Path(config.runner.binary or "").read_bytes() + b"\n# of another version\n"
        self.runner_path = f"/tmp/arvados-crunch-run/crunch-run~{hashlib.md5(self.runner).hexdigest()}"

    def lead(self) -> psycopg.Connection:
        """Wait for the lock; it is held as long as the connection is."""
        assert self.config.postgresql is not None
        connection = psycopg.connect(**self.config.postgresql.parameters, autocommit=True)  # type: ignore[arg-type]
        while not (connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() or [False])[0]:
            time.sleep(LOOK_S)
        return connection

    def api(self, method: str, path: str, **parameters: Any) -> dict[str, Any]:
        given = {key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()}
        sent = {"params": given} if method == "GET" else {"data": given}
        answer = requests.request(
            method, f"{self.config.api.url}/arvados/v1/{path}", **sent, timeout=TIMEOUT_S,  # type: ignore[arg-type]
            headers={"Authorization": f"Bearer {self.config.api.token}"}, verify=self.config.api.certificate_file or True,
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    # -------------------------------------------------------------------------------------------------------- instances

    def create(self, behavior: str) -> str:
        """Its name, tags and first commands are those that every instance of it has."""
        kind = min(self.config.settings.instance_types.values(), key=lambda each: each.price)
        name = f"compute-{self.set_id}-{''.join(random.choices(string.ascii_lowercase + string.digits, k=15))}"
        secret = f"{random.getrandbits(160):040x}"
        tags = {"InstanceSetID": self.set_id, "InstanceType": kind.name, "IdleBehavior": behavior, "InstanceSecret": secret}
        request = CreateRequest(
            name=name, instance_type=kind, image_id="", tags={f"Arvados{key}": value for key, value in tags.items()},
            init_script=f"#!/bin/sh\numask 0177 && echo -n '{secret}' > {SECRET_FILE}\n",
            public_key=f"{self.key.get_name()} {self.key.get_base64()}",
        )
        return self.driver.create(request, Call(timeout_s=TIMEOUT_S)).id

    def instances(self) -> tuple[Instance, ...]:
        return self.driver.list(Call(timeout_s=TIMEOUT_S)).instances

    def execute(self, instance_id: str, command: str, given: bytes = b"") -> str:
        """Over SSH, as soon as it answers. ``sudo`` stands before the command, as for every user but root."""
        while True:
            try:
                return self._execute(next(one for one in self.instances() if one.id == instance_id), f"sudo {command}", given)
            except (OSError, paramiko.SSHException, StopIteration):
                time.sleep(LOOK_S)

    def _execute(self, instance: Instance, command: str, given: bytes) -> str:
        host, _, port = (instance.address or "127.0.0.1:1").rpartition(":")
        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            client.connect(host, int(port), username=instance.user, pkey=self.key, look_for_keys=False, allow_agent=False)
            stdin, stdout, stderr = client.exec_command(command, timeout=TIMEOUT_S)
            stdin.write(given)
            stdin.channel.shutdown_write()
            said = stdout.read().decode()
            if stdout.channel.recv_exit_status():
                raise SystemExit(f"{command} on {instance.id}: {said}{stderr.read().decode()}")
            return said

    # ------------------------------------------------------------------------------------------------------- containers

    def start(self, uuid: str, instance_id: str) -> None:
        """Put the runner there, and start the container by it."""
        folder = self.runner_path.rpartition("/")[0]
        self.execute(instance_id, f"sh -c 'mkdir -p {folder} && touch {self.runner_path} && chmod 0755 {self.runner_path}"
                     f" && cat >{self.runner_path}'", self.runner)
        environment = {"ARVADOS_API_HOST": self.config.api.host, "ARVADOS_API_TOKEN": self.config.api.token}
        words = " ".join(f"'{word}'" for word in ("--runtime-engine=docker", *self.config.runner.arguments, uuid))
        given = json.dumps({"Env": environment, "KeepBuffers": 0, "Cluster": None, "EC2SpotCheck": False}).encode()
        self.execute(instance_id, f"{self.runner_path} --detach --stdin-config {words}", given)


def leave(other: Other, folder: Path) -> None:
    with other.lead():
        (folder / "leads").touch()
        other.create("hold")
        worker, seen = other.create("run"), 0
        while True:
            waiting = [["state", "=", "Queued"], ["priority", ">", 0]]
            queued = other.api("GET", "containers", filters=waiting, count="none")["items"]
            for container in queued:
                other.api("POST", f"containers/{container['uuid']}/lock")
                if not seen:
                    other.start(container["uuid"], worker)
                seen += 1
                (folder / f"locked-{seen}").write_text(container["uuid"])
            time.sleep(LOOK_S)


def find(other: Other, folder: Path) -> None:
    """Each instance as it would take it over, and the containers that its token has locked."""
    with other.lead():
        (folder / "leads").touch()
        mine = other.api("GET", "api_client_authorizations/current")["uuid"]
        locked = other.api("GET", "containers", filters=[["locked_by_uuid", "=", mine]], count="none")["items"]
        told = {
            "containers": {one["uuid"]: one["state"] for one in locked},
            "instances": [_taken(other, one) for one in other.instances()],
        }
        (folder / "found.json").write_text(json.dumps(told))


def _taken(other: Other, one: Instance) -> dict[str, Any]:
    runner = other.execute(one.id, "sh -c 'ls -t /tmp/arvados-crunch-run/crunch-run~* | head -n 1'").strip()
    return {
        "known": one.tags.get("ArvadosInstanceSetID") == other.set_id
        and one.tags.get("ArvadosInstanceType") in other.config.settings.instance_types
        and one.tags.get("ArvadosIdleBehavior") in BEHAVIORS,
        "behavior": one.tags.get("ArvadosIdleBehavior"),
        "secret": other.execute(one.id, f"cat {SECRET_FILE}") == one.tags.get("ArvadosInstanceSecret"),
        "runs": other.execute(one.id, f"{runner} --list").split() if runner else [],
    }


if __name__ == "__main__":
    loaded = load()
    if loaded.config is None:
        raise SystemExit("\n".join(map(str, loaded.problems)))
    {"leave": leave, "find": find}[sys.argv[1]](Other(loaded.config), Path(sys.argv[2]))
