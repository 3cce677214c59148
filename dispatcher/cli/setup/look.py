"""Trying out what a configuration says: the API's token, the cloud's credentials, and whether the service may read its files.

Each trial is one call with a deadline, and answers with what is wrong or with nothing.
"""

from __future__ import annotations

import logging
import os
import pwd
import subprocess
import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dispatcher.cli.setup.places import USER, Places
from dispatcher.config import Config
from dispatcher.config.files import group_name, permission_mend, user_name
from dispatcher.core.messages import CloudCallFailed, QueueError
from dispatcher.driver import Call, DriverSettings
from dispatcher.edge.cloud import open_driver
from dispatcher.edge.cloud_discovery import UnusableDriver
from dispatcher.edge.ssh.keys import load_private_key, public_key_line
from dispatcher.runtime.daemon import queue_of

CLOUD_TIMEOUT_S = 60.0
LOOK_TIMEOUT_S = 10.0


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
    log = logging.Logger("setup")
    log.addHandler(logging.NullHandler())
    settings = DriverSettings(
        parameters=config.driver.parameters,
        instance_set_id=config.settings.instance_set_id,
        tag_prefix=config.settings.tag_prefix,
        log=log,
    )
    try:
        open_driver(config.driver.name, settings, wall=time.time).list(Call(timeout_s=CLOUD_TIMEOUT_S))
    except (UnusableDriver, CloudCallFailed) as error:
        return f"Containers.CloudVMs.DriverParameters: driver {config.driver.name} cannot list instances: {error}"
    return ""


def closed_files(places: Places) -> list[str]:
    """Files that the service's user may not read. Only root can find out."""
    if os.geteuid() != 0 or not _is_there(USER):
        return []
    config = places.cluster_config if places.cluster_config.exists() else places.config
    return [f"{path}: {_mend(path)}" for path in (config, places.settings) if path.exists() and not _readable(path)]


def _is_there(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False


def _readable(path: Path) -> bool:
    command = ["runuser", "-u", USER, "--", "test", "-r", str(path)]
    try:
        return subprocess.run(command, check=False, timeout=LOOK_TIMEOUT_S, stdin=subprocess.DEVNULL).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return True  # nothing is known, and check-config of the service tells


def _mend(path: Path) -> str:
    found = path.stat()
    return permission_mend(USER, user_name(found.st_uid), group_name(found.st_gid), found.st_mode)
