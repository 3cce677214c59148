"""Secrets that stand in no configuration file: a file for each, named as the key whose value it holds, below Clusters.ID or, for
our own, in our own file.

systemd hands copies of them to the service (``LoadCredential=``); root's own commands read the originals, which nobody else may.
What stands there wins over either file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import field, replace

from dispatcher.config.files import Unreadable, read_text, user_name
from dispatcher.config.problems import Problem, Severity
from dispatcher.config.yaml_lines import Entry, Fields, Scalar
from dispatcher.frozen import dataclass

FOLDER = "/etc/cloud-dispatcher/credentials"
HANDED_OVER = "cloud-dispatcher_"  # begins the names of a folder that systemd hands over under the name cloud-dispatcher
MOST = 100
PLACES = (
    "SystemRootToken",
    "ManagementToken",
    "ReadOnlyToken",
    "Containers.DispatchPrivateKey",
    "PostgreSQL.Connection.",
    "Containers.CloudVMs.DriverParameters.",
)
OF_OUR_OWN = ("ReadOnlyToken",)
_NAME = re.compile(r"\w+(?:\.\w+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """``texts``: key → the secret; ``files``: key → where it was read."""

    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def divided(found: Credentials) -> tuple[Credentials, Credentials]:
    """Those of the cluster's keys, and those of our own."""
    ours = replace(found, texts=_only(found.texts, ours=True), files=_only(found.files, ours=True))
    return replace(found, texts=_only(found.texts, ours=False), files=_only(found.files, ours=False)), ours


def _only(each: Mapping[str, str], *, ours: bool) -> dict[str, str]:
    return {key: value for key, value in each.items() if (key in OF_OUR_OWN) is ours}


def find_credentials(environment: Mapping[str, str], folder: str = FOLDER) -> Credentials:
    """Those that systemd handed over, else those of ``folder``, which is empty when the command reads files of its own."""
    handed = environment.get("CREDENTIALS_DIRECTORY", "")
    try:
        if handed:
            return _read(handed, [name for name in os.listdir(handed) if name.startswith(HANDED_OVER)], HANDED_OVER)
        return _read(folder, os.listdir(folder), "") if folder else Credentials()
    except FileNotFoundError:
        return Credentials()
    except OSError as error:
        text = f"cannot be read by user {user_name(os.geteuid())} ({error.strerror}): what stands there does not count here"
        return Credentials(problems=(Problem(severity=Severity.WARNING, file=handed or folder, text=text),))


def _read(folder: str, names: list[str], prefix: str) -> Credentials:
    texts: dict[str, str] = {}
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for name in sorted(names)[:MOST]:
        file, key = os.path.join(folder, name), name.removeprefix(prefix)
        if name.startswith(".") or name.endswith("~") or os.path.isdir(file):
            continue
        try:
            texts[key], files[key] = _secret(key, file), file
        except Unreadable as wrong:
            problems.append(Problem(severity=Severity.ERROR, file=file, text=str(wrong)))
    return Credentials(texts=texts, files=files, problems=tuple(problems))


def _secret(key: str, file: str) -> str:
    """The blank line that editors leave at the end does not belong to it. Raises Unreadable."""
    if not _NAME.fullmatch(key) or not _may_hold(key):
        known = ", ".join(place + ("…" if place.endswith(".") else "") for place in PLACES)
        raise Unreadable(f"is not named as a key that may hold a secret: {known}")
    text = read_text(file)
    return text if len(text.splitlines()) > 1 else text.strip()


def _may_hold(key: str) -> bool:
    return any(key == place or (place.endswith(".") and key.startswith(place)) for place in PLACES)


def with_credentials(fields: Fields, found: Credentials) -> Fields:
    """The mapping of a file as if they had stood in it."""
    for key, text in found.texts.items():
        fields = _with(fields, key.split("."), text)
    return fields


def _with(fields: Fields, path: list[str], text: str) -> Fields:
    name, *rest = path
    if not rest:
        entry = Entry(Scalar(text, text, 0, quoted=True), 0)
    else:
        below = fields.entries.get(name)
        inner = below.node if below is not None and isinstance(below.node, Fields) else Fields({}, 0)
        entry = Entry(_with(inner, rest, text), below.line if below is not None else 0)
    return Fields({**fields.entries, name: entry}, fields.line)
