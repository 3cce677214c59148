"""Where the dispatchers are and by which token they are asked: options first, then the environment, then the cluster's file.

A token is never an argument, since everybody on the host sees those: it comes from a file or the environment.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TextIO

from dispatcher.cli.operate.ends import NOT_ALLOWED, USAGE, Ended
from dispatcher.config import DEFAULT_CONFIG, ManagementPart, load_management_part
from dispatcher.config.files import Unreadable, read_text
from dispatcher.config.load import STANDARD
from dispatcher.edge.management import UNIX
from dispatcher.frozen import dataclass

TOKEN_VARIABLE = "ARVADOS_MANAGEMENT_TOKEN"  # noqa: S105  (a name)
URL_VARIABLE = "CLOUD_DISPATCHER_URL"
DEMO_CONFIG = ".demo/config.yml"
LONGEST_TOKEN = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options say. Whatever is not given is looked up."""

    config_path: str | None = None
    settings_path: str | None = None
    cluster_id: str | None = None
    urls: tuple[str, ...] = ()
    token_file: str | None = None
    ca_file: str | None = None
    timeout_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``urls`` of all dispatchers of the cluster; which of them acts is found out by asking."""

    urls: tuple[str, ...]
    token: str = field(repr=False)
    ca_file: str | None = None
    insecure: bool = False
    timeout_s: float = 20.0


def find(wanted: Wanted, environment: Mapping[str, str] = os.environ, piped: TextIO | None = None) -> Place:
    """Raises Ended with what is missing and where it was looked for. The file is read only when something is missing."""
    urls = wanted.urls or tuple(environment.get(URL_VARIABLE, "").split())
    token = _given_token(wanted.token_file, environment, piped or sys.stdin)
    part = ManagementPart() if urls and token else _part(wanted, urls=bool(urls))
    return Place(
        urls=tuple(checked(url) for url in urls or part.urls),
        token=_usable(token or part.token),
        ca_file=wanted.ca_file or part.certificate_file or None,
        insecure=part.insecure and not wanted.ca_file,
        timeout_s=wanted.timeout_s,
    )


def config_path(wanted: Wanted) -> tuple[str, str | None]:
    """Both files: those that were named, else the cluster's of this host, else those of a demo in this folder."""
    if wanted.config_path is None and not any(map(os.path.exists, STANDARD)) and os.path.exists(DEMO_CONFIG):
        return DEMO_CONFIG, wanted.settings_path or str(Path(DEMO_CONFIG).with_name("settings.yml"))
    return wanted.config_path or DEFAULT_CONFIG, wanted.settings_path


def checked(url: str) -> str:
    """Without a slash at its end. Raises Ended for what is no place."""
    found = url.rstrip("/")
    if re.fullmatch(r"unix:/[^\s]+", found) or re.fullmatch(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+)(:\d{1,5})?", found):
        return found
    shown = "it" if "@" in url else repr(url)
    raise Ended(USAGE, f"--url: {shown} is no place of a dispatcher: http://host:9006, https://host, http://[::1]:9006 "
                       f"or {UNIX}/path/of/socket, without a path, a user or a password")  # fmt: skip


def _given_token(token_file: str | None, environment: Mapping[str, str], piped: TextIO) -> str:
    if token_file is None:
        return environment.get(TOKEN_VARIABLE, "").strip()
    if token_file == "-":  # noqa: S105  (standard input)
        return piped.readline(LONGEST_TOKEN + 1).strip()
    try:
        return read_text(token_file).strip()
    except Unreadable as error:
        raise Ended(USAGE, f"{token_file} {error}") from None


def _part(wanted: Wanted, *, urls: bool) -> ManagementPart:
    file, settings = config_path(wanted)
    part = load_management_part(file, settings, wanted.cluster_id)
    if part.problems:
        told = "; ".join(str(problem) for problem in part.problems)
        other = f"{TOKEN_VARIABLE} or --token-file" + ("" if urls else f", and {URL_VARIABLE} or --url,")
        raise Ended(USAGE, f"{told}; without the cluster's file, set {other.rstrip(',')}")
    return part


def _usable(token: str) -> str:
    """A token as a header can carry it."""
    if not token:
        raise Ended(NOT_ALLOWED, f"no token: set {TOKEN_VARIABLE}, name a file by --token-file, or set ManagementToken in the "
                                 "cluster's file")  # fmt: skip
    if len(token) > LONGEST_TOKEN or not re.fullmatch(r"[!-~]+", token):
        raise Ended(USAGE, "the token holds blanks, line ends or letters beyond ASCII, or is too long")
    return token
