"""The files that ``setup`` writes, with a comment for everything that somebody may want to change.

What stands behind a # in the settings is the default; the table of keys is where it comes from.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

from dispatcher.config.keys import OWN_KEYS, Key

WIDTH = 110

CONFIG = """\
# The cluster that Cloud Dispatcher works for, in the form of an Arvados cluster's /etc/arvados/config.yml, which is used instead
# of this file as soon as it exists. After a change: cloud-dispatcher check-config, and systemctl reload cloud-dispatcher.
# All keys: /usr/share/doc/cloud-dispatcher/configuration.md
#
# Secrets belong into /etc/cloud-dispatcher/credentials, a file for each, named as the key:
#   SystemRootToken                                  the token by which the dispatcher speaks to the API
#   ManagementToken                                  what callers of the management API have to show
#   Containers.DispatchPrivateKey                    the key for logging in to instances (made by cloud-dispatcher setup)
#   PostgreSQL.Connection.password                   of the cluster's database
#   Containers.CloudVMs.DriverParameters.ClientSecret    and whatever else the driver has to keep secret
Clusters:
  {cluster_id}:
    Services:
      Controller:
        ExternalURL: {api_url}
      DispatchCloud:
        InternalURLs:
          http://127.0.0.1:9006: {{}}

    # The cluster's database, whose lock decides which of several dispatchers may act. Without it a lock file of this host does.
    # PostgreSQL:
    #   Connection: {{host: db.example.org, dbname: arvados, user: arvados}}

    Containers:
      CloudVMs:
        Driver: {driver}  # one that `cloud-dispatcher drivers` lists
        DriverParameters: {{}}  # what this driver has to be told
        # ImageID: ""  # the image of new instances, as the driver names it
        # MaxInstances: 64
        # TimeoutIdle: 1m
        # BootProbeCommand: systemctl is-system-running
        # DeployRunnerBinary: /usr/bin/crunch-run

    # What may be created: at least one. ProviderType is the cloud's name of it, Price is per hour.
    InstanceTypes: {{}}
    #   small: {{ProviderType: Standard_D2s_v5, VCPUs: 2, RAM: 8GiB, IncludedScratch: 60GB, Price: 0.11}}
"""

LOCAL_CONFIG = """\
# A cluster of this computer alone: an embedded queue, and instances that are processes of this host, without any isolation.
# After a change: cloud-dispatcher check-config, and systemctl reload cloud-dispatcher.
# Its secrets are in /etc/cloud-dispatcher/credentials.
Clusters:
  zzzzz:
    Services:
      Controller:
        ExternalURL: {queue_url}  # cloud-dispatcher-queue.service
      DispatchCloud:
        InternalURLs:
          http://127.0.0.1:9006: {{}}

    Containers:
      CrunchRunArgumentsList: ["--ca-certs={certificate}"]  # the queue's own certificate
      ReserveExtraRAM: 0  # instances are processes: there is no system beside the containers
      LocalKeepBlobBuffersPerVCPU: 0  # there is no storage server
      MaximumPriceFactor: 100  # a small container may use a large instance that is there
      CloudVMs:
        Driver: local
        DriverParameters:
          Folder: {local}
        DeployRunnerBinary: {runner}
        MaxInstances: {max_instances}
        TimeoutIdle: 1m

    InstanceTypes:
      one: {{VCPUs: 1, RAM: {ram_mib}MiB, IncludedScratch: 20GB, Price: 0.01}}
      whole: {{VCPUs: {all_processors}, RAM: {all_ram_mib}MiB, IncludedScratch: 20GB, Price: 0.1}}
"""

LOCAL_UNIT = """\
# Written by cloud-dispatcher setup --local: instances are processes of this service. They outlive a restart of it, as those of a
# cloud do, and what containers need is more than what the dispatcher alone may have.
[Service]
KillMode=process
MemoryHigh=infinity
MemoryMax=infinity
TasksMax=infinity
MemoryDenyWriteExecute=no
"""

SOCKET_UNIT = """\
# Written by cloud-dispatcher setup, from InternalURLs of the cluster's configuration.
[Socket]
ListenStream=
{listen}
"""

SETTINGS_HEAD = """\
# Cloud Dispatcher's own settings, for what the cluster's file has no key for. After a change: cloud-dispatcher check-config, and
# systemctl reload cloud-dispatcher; keys that say so need a restart.
"""


def settings(*, audit_log: Path, certificate: Path | None = None) -> str:
    """Every key of our own, as a comment with its default; those given stand there."""
    given = {"AuditLog": str(audit_log)}
    if certificate is not None:
        given["APICertificateFile"] = str(certificate)
    return SETTINGS_HEAD + "".join(_setting(key, given.get(key.path)) for key in OWN_KEYS)


def _setting(key: Key, value: str | None) -> str:
    when = "" if key.reload else " Needs a restart."
    lines = textwrap.wrap(key.meaning + when, WIDTH, break_long_words=False, break_on_hyphens=False)
    default = f" {key.default}" if key.default is not None else ""
    last = f"{key.path}: {value}" if value is not None else f"# {key.path}:{default}"
    return "\n" + "".join(f"# {line}\n" for line in lines) + last + "\n"


def listen_streams(hosts: Iterable[str], port: int) -> str:
    return "\n".join(f"ListenStream={host}:{port}" for host in hosts)
