"""Where things are: the API, the address to listen on, the database, the key and the runner; and the files they are in."""

from __future__ import annotations

import dataclasses
import hashlib
import socket

import pytest

from dispatcher.config import Listen, Machine
from dispatcher.config.files import Unreadable, permission_mend, read_text
from dispatcher.config.machine import this_machine
from dispatcher.config.places import instance_set_id
from tests.config.configuration import CLUSTER, HERE, KEY, place_of, read, with_line, without

URLS = "          http://here.example.org:9006: {}"


def told(loaded) -> str:
    return " | ".join(str(each) for each in (*loaded.problems, *loaded.warnings))


# -------------------------------------------------------------------------------------------------------------------- API

APIS = [
    ("https://api.example.org", "https://api.example.org", "api.example.org"),
    ("https://api.example.org:443/", "https://api.example.org:443", "api.example.org:443"),
    ("https://API.example.org/", "https://api.example.org", "api.example.org"),
    ("https://192.0.2.7:8000", "https://192.0.2.7:8000", "192.0.2.7:8000"),
    ("https://[2001:db8::7]:8000/", "https://[2001:db8::7]:8000", "[2001:db8::7]:8000"),
    ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "127.0.0.1:8000"),
    ("http://localhost:8000", "http://localhost:8000", "localhost:8000"),
]


@pytest.mark.parametrize(("text", "url", "host"), APIS)
def test_api_place(tmp_path, text, url, host):
    """The host as runners get it, the URL without a slash at its end."""
    loaded = read(tmp_path, CLUSTER.replace("https://api.example.org:8443/", f'"{text}"'))
    assert told(loaded) == ""
    assert (loaded.config.api.url, loaded.config.api.host) == (url, host)


BAD_APIS = ["api", "ftp://api", "https://", "https://api:port", "https://api:99999", "https://u@api", "https://[::1", ""]


@pytest.mark.parametrize("text", BAD_APIS)
def test_no_api_place(tmp_path, text):
    """What is no URL of a web service is refused."""
    loaded = read(tmp_path, CLUSTER.replace("https://api.example.org:8443/", f'"{text}"'))
    assert loaded.config is None
    assert "Services.Controller.ExternalURL" in told(loaded)


# ----------------------------------------------------------------------------------------------------------------- listen

LISTENS = [
    # (the lines of InternalURLs, where to listen)
    (["http://here.example.org:9006: {}"], ("here.example.org", 9006)),
    (["http://here.example.org:9006:"], ("here.example.org", 9006)),
    (["http://here.example.org: {}"], ("here.example.org", 80)),
    (["http://here.example.org:9006: {ListenURL: 'http://0.0.0.0:9100'}"], ("0.0.0.0", 9100)),
    (["http://here.example.org:9006: {ListenURL: 'http://[::]:9100/'}"], ("::", 9100)),
    (["http://here.example.org:9006: {ListenURL: ''}"], ("here.example.org", 9006)),
    (["http://there.example.org:9006: {}", "http://here.example.org:9007: {}"], ("here.example.org", 9007)),
    (["http://there.example.org:9006: {ListenURL: 'http://0.0.0.0:1'}"], ("127.0.0.1", 9006)),
    (["SAMPLE: {ListenURL: ''}"], ("127.0.0.1", 9006)),
    ([], ("127.0.0.1", 9006)),
]


@pytest.mark.parametrize(("lines", "expected"), LISTENS)
def test_listen(tmp_path, lines, expected):
    """The first entry of this host counts, its ListenURL before its name; no entry: the loopback."""
    text = CLUSTER.replace(URLS, "\n".join(f"          {line}" for line in lines) or "          {}")
    listen = read(tmp_path, text).config.listen
    assert (listen.host, listen.port) == expected


def test_https_is_for_a_proxy(tmp_path):
    """The dispatcher speaks plain HTTP, and says so where something else was written."""
    loaded = read(tmp_path, CLUSTER.replace("http://here", "https://here"))
    assert loaded.config.listen.port == 9006
    assert "put a proxy before it" in told(loaded)


def test_a_wrong_url_is_told(tmp_path):
    """Other hosts' entries are checked as far as they have to be understood."""
    assert "InternalURLs.there:9006: has to be a URL" in told(read(tmp_path, CLUSTER.replace(URLS, "          there:9006: {}")))


def test_this_machine_knows_itself():
    """By name, loopback and whatever address can be bound; not by the address of a network for documentation."""
    ours = this_machine().is_ours
    assert all(map(ours, ("localhost", "127.0.0.1", "0.0.0.0", socket.gethostname(), "")))
    assert not any(map(ours, ("192.0.2.1", "2001:db8::1", "no such host", "x" * 300)))


# --------------------------------------------------------------------------------------------------------------- database

NO_DATABASE = ["{}", "~", "{SAMPLE: x}", "{host: '', dbname: '', user: '', password: ''}", "{user: arvados, password: x}"]


@pytest.mark.parametrize("connection", NO_DATABASE)
def test_no_database(tmp_path, connection):
    """Upstream's empty sample is none."""
    line = next(line for line in CLUSTER.splitlines() if "Connection:" in line)
    assert read(tmp_path, CLUSTER.replace(line, f"      Connection: {connection}")).config.postgresql is None


# -------------------------------------------------------------------------------------------------------------------- key


def test_a_key_in_a_file(tmp_path):
    """file:/// and the absolute path; its text is what the edge gets."""
    path = tmp_path / "key"
    path.write_text(KEY.replace("\\n", "\n"), encoding="ascii")
    path.chmod(0o600)
    loaded = read(tmp_path, CLUSTER.replace(f'"{KEY}"', f"file://{path}"))
    assert told(loaded) == ""
    assert loaded.config.access.private_key == path.read_text()


def test_a_key_that_everybody_can_read(tmp_path):
    """It works, and somebody should look."""
    path = tmp_path / "key"
    path.write_text(KEY.replace("\\n", "\n"), encoding="ascii")
    path.chmod(0o644)
    loaded = read(tmp_path, CLUSTER.replace(f'"{KEY}"', f"file://{path}"))
    assert loaded.config is not None
    assert f"{path} can be read by every user of this host: chmod o-r {path}" in told(loaded)


BAD_KEYS = [
    ("''", "is empty: a private key in PEM form is needed"),
    ("nonsense", "has to be a private key in PEM form, or file:/// and the absolute path of one"),
    ("file://key", "has to be a private key in PEM form, or file:///"),
    ("/etc/key", "has to be a private key in PEM form, or file:///"),
    ("file:///nowhere/key", "/nowhere/key cannot be read: No such file or directory"),
    ("file:///dev/null", "/dev/null is empty"),
    ("file:///etc/passwd", "/etc/passwd has to be a private key in PEM form"),
    ("ssh-ed25519 AAAA", "has to be a private key"),
    (KEY.replace("BEGIN OPENSSH", "BEGIN ENCRYPTED"), "is protected by a passphrase"),
    (KEY.replace("KEY-----\\n", "KEY-----\\nProc-Type: 4,ENCRYPTED\\n", 1), "is protected by a passphrase"),
    ("[a]", "has to be text, not a list"),
]


@pytest.mark.parametrize(("value", "words"), BAD_KEYS)
def test_a_key_that_is_none(tmp_path, value, words):
    """What cannot be a key is told, with the file when it is in one."""
    text = CLUSTER.replace(f'"{KEY}"', value if value.startswith(("[", "'")) else f'"{value}"')
    loaded = read(tmp_path, text)
    assert loaded.config is None
    assert f"Containers.DispatchPrivateKey: {words}" in told(loaded)


# ----------------------------------------------------------------------------------------------------------------- runner

DEPLOY = '        DeployRunnerBinary: ""\n'


def having(*files: str) -> Machine:
    return dataclasses.replace(HERE, is_file=lambda path: path in files)


RUNNERS = [
    # (the line, the files of this host, the file that is deployed, what is said)
    ('DeployRunnerBinary: ""', ["/usr/bin/crunch-run"], None, ""),
    ("DeployRunnerBinary: /opt/crunch-run", ["/opt/crunch-run", "/usr/bin/crunch-run"], "/opt/crunch-run", ""),
    ("DeployRunnerBinary: /proc/self/exe", ["/usr/bin/arvados-server", "/proc/self/exe"], "/usr/bin/arvados-server", ""),
    ("MaxInstances: 1", ["/usr/bin/arvados-server", "/usr/bin/crunch-run"], "/usr/bin/crunch-run", ""),
    ("MaxInstances: 1", [], None, "no runner is put on instances: neither /usr/bin/crunch-run nor /usr/bin/arvados-server"),
    ("DeployRunnerBinary: /proc/self/exe", [], None, "no runner is put on instances"),
]


@pytest.mark.parametrize(("line", "files", "binary", "words"), RUNNERS)
def test_runner_binary(tmp_path, line, files, binary, words):
    """Named, found among upstream's files, or none; upstream's own program is never taken for one."""
    loaded = read(tmp_path, CLUSTER.replace(DEPLOY, f"        {line}\n"), host=having(*files))
    assert loaded.config.runner.binary == binary
    assert words in told(loaded)
    assert bool(words) == bool(told(loaded))


@pytest.mark.parametrize("value", ["/opt/none", "crunch-run"])
def test_a_runner_that_is_not_there(tmp_path, value):
    """A named file has to exist: instances could not be used."""
    loaded = read(tmp_path, CLUSTER.replace(DEPLOY, f"        DeployRunnerBinary: {value}\n"))
    assert loaded.config is None
    assert "DeployRunnerBinary: has to be the absolute path of a file" in told(loaded)


# ------------------------------------------------------------------------------------------------------- token, parameters

SET_IDS = [
    ("v2/zzzzz-gj3su-077z32aux8dg2s1/secret", "zzzzz-gj3su-077z32aux8dg2s1"),
    ("plaintoken", hashlib.md5(b"plaintoken").hexdigest()),
    ("v1/a/b", hashlib.md5(b"v1/a/b").hexdigest()),
    ("", "d41d8cd98f00b204e9800998ecf8427e"),
]


@pytest.mark.parametrize(("token", "expected"), SET_IDS)
def test_instance_set_id(token, expected):
    """As upstream makes it, so that its instances are found when the dispatcher is exchanged."""
    assert instance_set_id(token) == expected


@pytest.mark.parametrize("token", ['"a b"', '"a\\n"', '"ä"', '" a"'])
def test_tokens_have_to_fit_into_a_header(tmp_path, token):
    """A blank or a line end would break every request, hours later."""
    loaded = read(tmp_path, without("SystemRootToken").replace("  zzzzz:\n", f"  zzzzz:\n    SystemRootToken: {token}\n"))
    assert "SystemRootToken: holds blanks, line ends or letters beyond ASCII" in told(loaded)


PARAMETERS = """
          Region: r
          Network:
            Subnets:
            - a
            - b"""
COMPLAINTS = [
    # (what the driver names, the part of the file that the line is of)
    ("Region", "Region:"),
    ("Network.Subnets.1", "- b"),
    ("Network.Missing", "Network:"),  # the line of what is above it
    ("Missing", "DriverParameters:"),
    ("", "DriverParameters:"),
]


@pytest.mark.parametrize(("path", "part"), COMPLAINTS)
def test_a_drivers_complaint_gets_its_line(tmp_path, path, part):
    """A driver knows only its own part of the path."""
    text = with_line("DriverParameters", PARAMETERS)
    loaded = read(tmp_path, text)
    problem = loaded.driver_problem(path, "is wrong")
    assert problem.path == ".".join(filter(None, ("Clusters.zzzzz.Containers.CloudVMs.DriverParameters", path)))
    assert problem.line == place_of(text, part)
    assert loaded.config.driver.parameters == {"Region": "r", "Network": {"Subnets": ["a", "b"]}}


def test_without_parameters_a_complaint_has_no_line(tmp_path):
    """It still names the key."""
    problem = read(tmp_path).driver_problem("Region", "is missing")
    assert (problem.line, problem.path) == (None, "Clusters.zzzzz.Containers.CloudVMs.DriverParameters.Region")


# ------------------------------------------------------------------------------------------------------------------ files

MENDS = [
    (0o640, "add crunch to the group (usermod --append --groups arvados crunch) and start the program again"),
    (0o600, "let its group read it (chmod g+r) and crunch be in the group arvados"),
]


@pytest.mark.parametrize(("mode", "words"), MENDS)
def test_a_closed_file_is_told_with_its_mend(mode, words):
    """User, owner, group, mode, and the command that helps."""
    text = permission_mend("crunch", "root", "arvados", 0o100000 | mode)
    assert text.startswith(f"user crunch may not read it (owner root, group arvados, mode {mode:04o}): ")
    assert text.endswith(words)


def test_nobody_is_put_into_the_group_of_root():
    """A file of root and its group is given to a group of its own."""
    for mode in (0o640, 0o600):
        text = permission_mend("crunch", "root", "root", 0o100000 | mode)
        assert text.endswith("give it to a group that crunch is in, and let that read it (chgrp crunch FILE; chmod g+r FILE)")


def test_a_name_that_is_none(tmp_path):
    """Even a path that no system takes is told, not raised."""
    with pytest.raises(Unreadable, match="this is no file name"):
        read_text("a\0b")


def test_the_default_listen_is_the_loopback():
    """Nothing is opened to a network that nobody asked for."""
    assert Listen() == Listen(host="127.0.0.1", port=9006, url="")


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("wss://ws.example.org/", "wss://ws.example.org/websocket"),
        ("wss://ws.example.org/websocket", "wss://ws.example.org/websocket"),
        ("ws://127.0.0.1:8005", "ws://127.0.0.1:8005/websocket"),
        ("https://ws.example.org", "wss://ws.example.org/websocket"),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_where_changes_are_announced(tmp_path, written, url):
    """What is wrong with it is a warning: nothing depends on it but speed."""
    service = f'    Services:\n      Websocket: {{ExternalURL: "{written}"}}\n'
    loaded = read(tmp_path, CLUSTER.replace("    Services:\n", service, 1))
    assert loaded.config is not None
    assert loaded.config.api.events_url == url
    assert ("the queue is only polled" in told(loaded)) == (written == "nonsense")
