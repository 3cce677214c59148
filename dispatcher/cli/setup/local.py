"""A service that needs neither cluster nor cloud: the embedded queue, and instances that are processes of this host.

Its certificate and tokens are made here, before the queue first starts, so that the configuration can name them.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import dispatcher.embedded
from dispatcher.cli.setup import texts
from dispatcher.cli.setup.places import Places, Writer
from dispatcher.embedded import accounts, tls

QUEUE_HOST, QUEUE_PORT = "127.0.0.1", 9007
SPARE_RAM = 0.8  # of the host's memory, for containers


def prepare_local(places: Places, writer: Writer) -> None:
    queue = places.state / "queue"
    queue.mkdir(exist_ok=True, mode=0o700)
    certificate, _ = tls.ensure_certificate(queue, QUEUE_HOST)
    token = accounts.root_token(queue)
    writer.own(places.state)
    writer.secret("SystemRootToken", f"{token}\n")
    writer.secret("ManagementToken", f"{secrets.token_urlsafe(24)}\n")
    writer.write(places.config, texts.LOCAL_CONFIG.format(**values(places)))
    writer.write(places.settings, texts.settings(audit_log=places.audit_log, certificate=Path(certificate)))
    writer.write_unit(places.service_unit, texts.LOCAL_UNIT)


def values(places: Places) -> dict[str, object]:
    """What this host gives: a whole-host instance, and ones that share it."""
    processors = os.cpu_count() or 1
    ram = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * SPARE_RAM) >> 20
    return {
        "queue_url": f"https://{QUEUE_HOST}:{QUEUE_PORT}/",
        "certificate": places.state / "queue/certificate.pem",
        "runner": Path(str(dispatcher.embedded.__file__)).with_name("runner.py"),
        "local": places.state / "local",
        "max_instances": processors,
        "ram_mib": max(64, ram // processors),
        "all_processors": processors,
        "all_ram_mib": max(64, ram),
    }
