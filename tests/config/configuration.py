"""A whole, good cluster file that tests change in one place, and a host that does not depend on the machine they run on."""

from __future__ import annotations

from pathlib import Path

from dispatcher.config import Loaded, Machine, load

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\\nbWFya2VkLXByaXZhdGUta2V5\\n-----END OPENSSH PRIVATE KEY-----\\n"
TOKEN = "v2/zzzzz-gj3su-077z32aux8dg2s1/markedroottoken"

CLUSTER = f"""\
Clusters:
  zzzzz:
    SystemRootToken: {TOKEN}
    ManagementToken: markedmanagementtoken
    Services:
      Controller:
        ExternalURL: https://api.example.org:8443/
      DispatchCloud:
        InternalURLs:
          http://here.example.org:9006: {{}}
    PostgreSQL:
      Connection: {{host: db.example.org, DBName: arvados, user: arvados, password: markeddatabasepassword, port: 5433}}
    Containers:
      DispatchPrivateKey: "{KEY}"
      CloudVMs:
        DeployRunnerBinary: ""
        Driver: stub
        # more
    InstanceTypes:
      small: {{VCPUs: 2, RAM: 4GiB, IncludedScratch: 20GB, Price: 0.1}}
"""

HERE = Machine(is_ours=lambda host: host == "here.example.org", is_file=lambda path: False)


def with_line(key: str, value: str, text: str = CLUSTER) -> str:
    """The file with ``key: value`` set below Containers.CloudVMs."""
    return text.replace("        # more", f"        {key}: {value}\n        # more")


def without(line: str, text: str = CLUSTER) -> str:
    """The file without the lines that hold ``line``."""
    assert line in text
    return "".join(each for each in text.splitlines(keepends=True) if line not in each)


def read(folder: Path, cluster: str = CLUSTER, own: str = "", wanted: str | None = None, host: Machine = HERE) -> Loaded:
    """Load the two files from their texts."""
    config, settings = folder / "config.yml", folder / "settings.yml"
    config.write_text(cluster, encoding="utf-8")
    settings.write_text(own, encoding="utf-8")
    return load(config, settings, wanted, machine=host)


def place_of(text: str, part: str) -> int:
    """The number of the line that holds ``part``."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)
