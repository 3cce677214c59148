"""What a client of the management API needs of the cluster's file: where dispatchers are, and the token they ask for.

Nothing else of the file is read or judged: a workstation has neither the keys nor the runner that the service needs.
"""

from __future__ import annotations

import os
from dataclasses import replace

from dispatcher.config.keys import CLUSTER_KEYS, OWN_KEYS, Key
from dispatcher.config.load import cluster_of, config_place
from dispatcher.config.model import Listen, ManagementPart
from dispatcher.config.places import DEFAULT_PORTS, Place, check_token, parse_url
from dispatcher.config.problems import Severity
from dispatcher.config.reading import Reader
from dispatcher.config.values import Wrong

URLS = "Services.DispatchCloud.InternalURLs"
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (listened on, never called)


def load_management_part(
    config_path: str | os.PathLike[str], settings_path: str | os.PathLike[str] | None = None, cluster_id: str | None = None
) -> ManagementPart:
    """Never raises for what the files hold: ``problems`` says it. Our own file may be absent when it is not named."""
    cluster, own, problems = cluster_of(config_place(os.fspath(config_path)), settings_path, cluster_id, os.environ)
    part = ManagementPart()
    if cluster is not None and own is not None:
        part = ManagementPart(
            urls=_urls(cluster),
            token=_token(cluster),
            insecure=cluster.read(_key(CLUSTER_KEYS, "TLS.Insecure")),
            certificate_file=own.read(_key(OWN_KEYS, "APICertificateFile")),
        )
    return replace(part, problems=tuple(each for each in problems() if each.severity is Severity.ERROR))


def _key(table: tuple[Key, ...], path: str) -> Key:
    return next(key for key in table if key.path == path)


def _token(cluster: Reader) -> str:
    token: str = cluster.read(_key(CLUSTER_KEYS, "ManagementToken"))
    check_token(cluster, "ManagementToken", token)
    return token


def _urls(cluster: Reader) -> tuple[str, ...]:
    """Of each dispatcher, in the order of the file; where one listens by default when none is named."""
    urls = cluster.below(URLS)
    found = []
    for url, entry in urls.fields.entries.items():
        try:
            found.append(_base(parse_url(url)))
        except Wrong as wrong:
            urls.wrong("…" if "@" in url else url, entry.line, str(wrong))
    default = Listen()
    return tuple(found) or (f"http://{default.host}:{default.port}",)


def _base(place: Place) -> str:
    host = EVERY_ADDRESS.get(place.host, place.host or "127.0.0.1")
    return f"{place.scheme}://{Place(place.scheme, host, place.port or DEFAULT_PORTS[place.scheme]).netloc}"
