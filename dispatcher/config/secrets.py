"""Every secret that the configuration holds, so that whoever writes something can keep it out.

A secret is what stands in a place for one, and every text in the two files whose name says that it is one: drivers and other
services of the cluster have names of their own for theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dispatcher.config.model import Config

WORDS = r"secret|token|password|passphrase|credential"
NAME = re.compile(rf"{WORDS}|(private|signing|access|api|account|storage)_?key$", re.IGNORECASE)
ASSIGNED = re.compile(rf"\w*(?:{WORDS}|key)\w*[=: ]+[\"']?([^\s\"';&|]+)", re.IGNORECASE)
HARMLESS = re.compile(r"id$|ttl$|timeout$|lifetime$|file$|command$|url$", re.IGNORECASE)
SHORTEST = 6
SHORTEST_LINE = 16  # of a script: shorter ones may be anybody's


def known_secrets(config: Config) -> tuple[str, ...]:
    """Longest first. A key counts line by line, since a line of it is as good as lost."""
    found = {config.api.token, config.management_token, config.read_only_token, *config.access.private_key.splitlines()}
    if config.postgresql is not None:
        found.add(config.postgresql.parameters.get("password", ""))
    found |= set(_of_script(config.settings.instance_init_command))
    found |= set(_named(config.cluster)) | set(_named(config.driver.parameters))
    fit = {secret.strip() for secret in found if "-----" not in secret and len(secret.strip()) >= SHORTEST}
    return tuple(sorted(fit, key=lambda secret: (-len(secret), secret)))


def _of_script(text: str) -> Iterator[str]:
    """Sites put passwords into the script for the first boot: what is assigned to such a name, and each longer line."""
    yield from ASSIGNED.findall(text)
    yield from (line.strip() for line in text.splitlines() if len(line.strip()) >= SHORTEST_LINE)


def _named(node: Any, name: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _named(value, str(key))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _named(value, name)
    elif isinstance(node, str) and NAME.search(name) and not HARMLESS.search(name) and not node.startswith("file://"):
        yield from node.splitlines()
