"""The demo's cluster: a configuration like any Arvados cluster's, our own settings beside it, and the key for the instances.

Written once, so that it can be read and changed by whoever plays; written anew only when what it was made from has changed.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import dispatcher.embedded
from dispatcher.cli.demo.folder import Folder, read_json, write

CLUSTER_ID = "zzzzz"
MAX_INSTANCES = 4
PORTS = range(20_000, 32_000)  # below those that outgoing connections are given
VERSION = 2  # of the files below

CONFIG = """\
# The cluster of `cloud-dispatcher demo`, read by the dispatcher like that of any Arvados cluster.
# Change it as you like and start the demo again; remove it to have it written anew.
#   cloud-dispatcher check-config --config {config} --settings {settings}
Clusters:
  {cluster_id}:
    SystemRootToken: {root_token}
    ManagementToken: {management_token}

    Services:
      Controller:
        ExternalURL: {queue_url}  # the embedded queue
      Websocket:
        ExternalURL: {events_url}  # where it announces changes
      DispatchCloud:
        InternalURLs:
          {dispatcher_url}: {{}}

    Containers:
      DispatchPrivateKey: {private_key}
      CrunchRunArgumentsList: [{certificates_argument}]  # the queue's own certificate
      ReserveExtraRAM: 0  # instances are processes: there is no system beside the containers
      LocalKeepBlobBuffersPerVCPU: 0  # there is no storage server
      MaximumPriceFactor: 4  # a small container may use a large instance that is there
      CloudVMs:
        Driver: local  # instances are processes on this host
        DriverParameters:
          Folder: {local}
          BootTime: 1s
        ImageID: none
        DeployRunnerBinary: {runner}
        BootProbeCommand: systemctl is-system-running
        MaxInstances: {max_instances}
        TimeoutIdle: 3s
        ProbeInterval: 2s
        SyncInterval: 5s
        TimeoutBooting: 1m
        TimeoutProbe: 30s
        TimeoutTERM: 10s

    # Prices per hour. 0.36 is a hundredth of a cent per second.
    InstanceTypes:
      small: {{VCPUs: 1, RAM: 2GiB, IncludedScratch: 20GB, Price: 0.36}}
      medium: {{VCPUs: 2, RAM: 4GiB, IncludedScratch: 40GB, Price: 0.72}}
      large: {{VCPUs: 4, RAM: 8GiB, IncludedScratch: 80GB, Price: 1.44}}
"""

SETTINGS = """\
# Our own settings for `cloud-dispatcher demo`: what the cluster's file has no key for.
StateFolder: {state}
APICertificateFile: {certificates}
"""


def ensure_key(folder: Folder) -> None:
    """The key by which the dispatcher logs in to instances."""
    if not folder.private_key.exists():
        key = Ed25519PrivateKey.generate()
        write(folder.private_key, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())


def is_current(folder: Folder, queue: dict[str, Any]) -> bool:
    """Whether the configuration names this folder, this queue and a port that we know."""
    facts = read_json(folder.facts)
    return folder.config.exists() and folder.settings.exists() and facts == {**_facts(folder, queue), "port": facts.get("port")}


def configure(folder: Folder, queue: dict[str, Any]) -> None:
    """Write the configuration for a dispatcher on a free port. ``queue`` is what ``queue.json`` says."""
    facts = {**_facts(folder, queue), "port": free_port()}
    values = {
        "config": folder.config,
        "settings": folder.settings,
        "cluster_id": CLUSTER_ID,
        "root_token": quoted(Path(queue["root_token_file"]).read_text().strip()),
        "management_token": quoted(secrets.token_urlsafe(24)),
        "queue_url": quoted(f"{queue['url']}/"),
        "events_url": quoted(queue["events_url"]),
        "dispatcher_url": quoted(f"http://127.0.0.1:{facts['port']}/"),
        "private_key": quoted(f"file://{folder.private_key}"),
        "certificates_argument": quoted(f"--ca-certs={queue['certificate']}"),
        "certificates": quoted(queue["certificate"]),
        "local": quoted(folder.local),
        "runner": quoted(Path(str(dispatcher.embedded.__file__)).with_name("runner.py")),
        "state": quoted(folder.state),
        "max_instances": MAX_INSTANCES,
    }
    write(folder.config, CONFIG.format(**values))
    write(folder.settings, SETTINGS.format(**values))
    write(folder.facts, json.dumps(facts))


def _facts(folder: Folder, queue: dict[str, Any]) -> dict[str, Any]:
    return {"version": VERSION, "folder": os.fspath(folder.path), "queue": queue.get("url"), "code": dispatcher.embedded.__file__}


def quoted(text: object) -> str:
    """A text of YAML."""
    return json.dumps(str(text), ensure_ascii=False)


def free_port() -> int:
    """One on which nobody listens now."""
    for number in random.sample(PORTS, 50):
        if is_free(number):
            return number
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: what lingers is no listener
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
