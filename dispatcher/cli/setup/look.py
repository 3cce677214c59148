"""Trying out what a configuration says: the API's token, and the cloud's credentials.

Each trial is one call with a deadline, and answers with what is wrong or with nothing.
"""

from __future__ import annotations

import threading

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dispatcher.cli.drivers import open_quietly
from dispatcher.config import Config
from dispatcher.core.messages import CloudCallFailed, QueueError
from dispatcher.driver import Call
from dispatcher.edge.cloud_discovery import UnusableDriver
from dispatcher.edge.ssh.keys import load_private_key, public_key_line
from dispatcher.runtime.daemon import queue_of

CLOUD_TIMEOUT_S = 60.0


def new_private_key() -> str:
    """A fresh ed25519 key as OpenSSH text."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def public_key(config: Config) -> str:
    return public_key_line(load_private_key(config.access.private_key))


def api_problem(config: Config) -> str:
    """Whether the API answers and knows our token."""
    queue = queue_of(config)
    try:
        queue.check(threading.Event(), patience_s=0.0)
    except QueueError as error:
        if error.failure.status in (401, 403):
            return f"SystemRootToken: {config.api.url} refuses it: {error}"
        return f"Services.Controller.ExternalURL: {config.api.url} does not answer as an API should: {error}"
    finally:
        queue.close()
    return ""


def cloud_problem(config: Config) -> str:
    """Whether the cloud lists our instances. Nothing is made or changed."""
    try:
        open_quietly(config).list(Call(timeout_s=CLOUD_TIMEOUT_S))
    except (UnusableDriver, CloudCallFailed) as error:
        return f"Containers.CloudVMs.DriverParameters: driver {config.driver.name} cannot list instances: {error}"
    return ""
