"""The keys whose value is more than its text: where the API and the database are, where to listen, which key and runner to use.

URLs may carry a password by mistake, so no message repeats one that has an ``@``.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import SplitResult, urlsplit

from dispatcher.config.files import Unreadable, open_to_others, read_text
from dispatcher.config.machine import Machine
from dispatcher.config.model import Listen, PostgreSQL
from dispatcher.config.problems import Origin, Source
from dispatcher.config.reading import Reader, hidden
from dispatcher.config.values import Wrong, parse_tags, parse_text
from dispatcher.config.yaml_lines import Entry, Fields
from dispatcher.frozen import dataclass

DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
RUNNER_CANDIDATES = ("/usr/bin/crunch-run", "/usr/bin/arvados-server")
UPSTREAMS_OWN_BINARY = "/proc/self/exe"
SHOWN_CONNECTION_PARAMETERS = ("host", "hostaddr", "port", "user", "dbname", "sslmode", "connect_timeout", "client_encoding")

_BEGIN = re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----")


# ------------------------------------------------------------------------------------------------------------------ texts


def read_text_at(reader: Reader, path: str) -> tuple[str, Entry | None]:
    """A text and where it stands; empty when it is absent or wrong."""
    entry = reader.find(path)
    if entry is None:
        return "", None
    try:
        return parse_text(entry.node), entry
    except Wrong as wrong:
        reader.wrong(path, entry.line, str(wrong))
        return "", entry


def check_token(reader: Reader, path: str, token: str) -> None:
    """A token travels in an HTTP header: printable ASCII without blanks."""
    if token and not re.fullmatch(r"[!-~]+", token):
        entry = reader.find(path)
        reader.wrong(path, entry.line if entry else None, "holds blanks, line ends or letters beyond ASCII")


def read_only_token(own: Reader, given: str, management_token: str) -> str:
    """The second token, from wherever our own file says that it is."""
    path = "ReadOnlyToken"
    entry = own.find(path)
    line = entry.line if entry else None
    try:
        token = secret_text(given)
    except (Unreadable, Wrong) as problem:
        own.wrong(path, line, f"{given} {problem}")
        return ""
    if token and token == management_token:
        own.wrong(path, line, "is the ManagementToken: who reads could act; make another, by openssl rand -hex 32")
    elif token and not management_token:
        own.warn(path, line, "has no effect: without a ManagementToken the management API refuses everybody")
    check_token(own, path, token)
    return token


def secret_text(given: str) -> str:
    """The secret itself, or what the file holds that ``file:///…`` names, without the line's end. Raises Unreadable or Wrong."""
    if not (named := _key_file(given)):
        return given
    text = read_text(named).strip()
    if not text:
        raise Wrong("is empty: write the secret into it")
    return text


def instance_set_id(token: str) -> str:
    """By what our instances are told from others': the uuid of a version 2 token, else the token's MD5, as upstream does it."""
    parts = token.split("/")
    if len(parts) >= 2 and parts[0] == "v2":
        return parts[1]
    return hashlib.md5(token.encode(), usedforsecurity=False).hexdigest()


# ------------------------------------------------------------------------------------------------------------------- URLs


@dataclass(frozen=True, slots=True)
class Place:
    """The useful part of a URL. ``host`` has no brackets."""

    scheme: str
    host: str
    port: int | None

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def parse_url(text: str) -> Place:
    """Raises Wrong."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Wrong("is not a URL: its host or port cannot be understood") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise Wrong("has to be a URL that begins with https:// or http://")
    if "@" in parts.netloc:
        raise Wrong("must not hold a user or password")
    return Place(parts.scheme, _host(parts), port)


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if re.search(r"[\s%]", host):
        raise Wrong("names a host that cannot be understood")
    return host


def read_api_place(cluster: Reader) -> Place:
    """Where the API is."""
    path = "Services.Controller.ExternalURL"
    text, entry = read_text_at(cluster, path)
    if not text:
        cluster.wrong(path, entry.line if entry else None, "is missing: it says where the API is, like https://api.example.org")
        return Place("https", "", None)
    try:
        place = parse_url(text)
    except Wrong as wrong:
        cluster.wrong(path, entry.line if entry else None, str(wrong))
        return Place("https", "", None)
    _check_api_place(cluster, path, place, entry)
    cluster.show_found(path, f"{place.scheme}://{place.netloc}", entry)
    return place


def _check_api_place(cluster: Reader, path: str, place: Place, entry: Entry | None) -> None:
    line = entry.line if entry else None
    if not place.host:
        cluster.wrong(path, line, "names no host")
    elif place.scheme == "http" and place.host not in LOOPBACK:
        cluster.warn(path, line, "is not https: tokens cross the network unprotected")


EVENT_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
EVENT_PATH = "/websocket"


def read_events_url(cluster: Reader) -> str:
    """Where the API announces changes, with ws or wss. Nothing depends on it but speed, so what is wrong with it is a warning."""
    path = "Services.Websocket.ExternalURL"
    text, entry = read_text_at(cluster, path)
    if not text:
        cluster.show_found(path, '""', None)
        return ""
    line = entry.line if entry else None
    scheme, _, rest = text.partition("://")
    try:
        place = parse_url(f"{EVENT_SCHEMES.get(scheme, scheme)}://{rest}")
    except Wrong:
        place = Place("", "", None)
    if not place.host:
        cluster.warn(path, line, "is no URL like wss://ws.example.org/: the queue is only polled")
        return ""
    below = urlsplit(text).path.rstrip("/") or EVENT_PATH
    url = f"{place.scheme.replace('http', 'ws')}://{place.netloc}{below}"
    cluster.show_found(path, url, entry)
    if place.scheme == "http" and place.host not in LOOPBACK:
        cluster.warn(path, line, "is not wss: the token crosses the network unprotected")
    return url


# ----------------------------------------------------------------------------------------------------------------- listen


def read_listen(cluster: Reader, machine: Machine) -> Listen:
    """The entry of InternalURLs that names this host, else a port of the loopback."""
    path = "Services.DispatchCloud.InternalURLs"
    urls = cluster.below(path)
    for url, entry in urls.fields.entries.items():
        found = _listen_of(urls, url, entry, machine)
        if found is not None:
            cluster.show_found(path, f"listen on {_shown(found)}", entry)
            return found
    if urls.fields.entries:
        cluster.warn(path, urls.fields.line, f"no entry names this host, so {_shown(Listen())} is used")
    cluster.show_found(path, f"listen on {_shown(Listen())}", None)
    return Listen()


def _listen_of(urls: Reader, url: str, entry: Entry, machine: Machine) -> Listen | None:
    """How this host listens for ``url``; None when it is another host's or cannot be understood."""
    name = "…" if "@" in url else url
    try:
        if not machine.is_ours(parse_url(url).host):
            return None
        text = _listen_url(entry)
        place = parse_url(text or url)
    except Wrong as wrong:
        urls.wrong(name, entry.line, str(wrong))
        return None
    if place.scheme == "https":
        urls.warn(name, entry.line, "is https, but the dispatcher itself speaks plain HTTP: put a proxy before it")
    return Listen(host=place.host or "0.0.0.0", port=place.port or DEFAULT_PORTS[place.scheme], url=url)  # noqa: S104


def _listen_url(entry: Entry) -> str:
    found = entry.node.entries.get("ListenURL") if isinstance(entry.node, Fields) else None
    return parse_text(found.node) if found is not None else ""


def _shown(listen: Listen) -> str:
    return f"{listen.host}:{listen.port}"


# --------------------------------------------------------------------------------------------------------------- database


def read_postgresql(cluster: Reader) -> PostgreSQL | None:
    """The connection parameters that are filled in. Upstream's empty samples count as none."""
    path = "PostgreSQL.Connection"
    entry = cluster.find(path)
    parameters: dict[str, str] = {}
    if entry is not None:
        try:
            parameters = {name.lower(): text for name, text in parse_tags(entry.node).items() if text}
        except Wrong as wrong:
            cluster.wrong(path, entry.line, str(wrong))
    if not {"host", "hostaddr", "dbname", "service"} & set(parameters):
        cluster.warn(
            path, entry.line if entry else None,
            "names no database: a lock file is used, which cannot notice a dispatcher on another host",
        )
        cluster.show_found(path, "not set", None)
        return None
    for name, text in parameters.items():
        cluster.show_found(f"{path}.{name}", text if name in SHOWN_CONNECTION_PARAMETERS else hidden(text), entry)
    return PostgreSQL(parameters=parameters)


# ------------------------------------------------------------------------------------------------------- key and runner


def read_private_key(cluster: Reader) -> str:
    """PEM text. Only the edge can tell whether it is a good key."""
    path = "Containers.DispatchPrivateKey"
    text, entry = read_text_at(cluster, path)
    line = entry.line if entry else None
    source = _key_file(text)
    try:
        pem = read_text(source) if source else text
        _check_pem(pem, source)
    except (Unreadable, Wrong) as problem:
        cluster.wrong(path, line, f"{source} {problem}" if source else str(problem))
        return ""
    if source and open_to_others(source):
        cluster.warn(path, line, f"{source} can be read by every user of this host: chmod o-r {source}")
    cluster.show_found(path, f"set, from {source}" if source else "set", entry)
    return pem


def _key_file(text: str) -> str:
    """The path when the key is named by a file URL; what is neither a path nor a key is no path."""
    return text.removeprefix("file://").strip() if text.startswith("file:///") else ""


def _check_pem(text: str, source: str) -> None:
    found = _BEGIN.search(text)
    if not text.strip():
        raise Wrong("is empty: a private key in PEM form is needed, made by ssh-keygen -t ed25519")
    if found is None:
        raise Wrong("has to be a private key in PEM form" + ("" if source else ", or file:/// and the absolute path of one"))
    if "ENCRYPTED" in found[1] or "Proc-Type: 4,ENCRYPTED" in text:
        raise Wrong("is protected by a passphrase, which nobody could type in: remove it with ssh-keygen -p")


def read_runner_binary(cluster: Reader, machine: Machine) -> str | None:
    """The file that is put on instances, or None when their own runner is used.

    Upstream's default is its own program, which holds the runner too; ours does not, so a file of upstream's stands in.
    """
    path = "Containers.CloudVMs.DeployRunnerBinary"
    text, entry = read_text_at(cluster, path)
    line = entry.line if entry else None
    if entry is not None and text not in ("", UPSTREAMS_OWN_BINARY):
        if not text.startswith("/") or not machine.is_file(text):
            cluster.wrong(path, line, "has to be the absolute path of a file that can be read: the runner, crunch-run")
        cluster.show_found(path, text, entry)
        return text
    if entry is not None and text == "":
        cluster.show_found(path, "none: CrunchRunCommand is used", entry)
        return None
    return _runner_found(cluster, path, line, machine)


def _runner_found(cluster: Reader, path: str, line: int | None, machine: Machine) -> str | None:
    for candidate in RUNNER_CANDIDATES:
        if machine.is_file(candidate):
            cluster.show(path, candidate, Origin(source=Source.DERIVED, note="found on this host"))
            return candidate
    cluster.warn(path, line, f"no runner is put on instances: neither {' nor '.join(RUNNER_CANDIDATES)} is here")
    cluster.show(path, "none: CrunchRunCommand is used", Origin(source=Source.DERIVED, note="nothing found on this host"))
    return None
