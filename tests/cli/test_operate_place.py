"""Where commands look for dispatchers and the token, and how dispatchers are reached: sockets, IPv6, https."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.cli.operate.ends import NOT_ALLOWED, UNREACHABLE, USAGE, Ended
from dispatcher.cli.operate.place import TOKEN_VARIABLE, URL_VARIABLE, Wanted, checked, find
from dispatcher.config import load_management_part
from dispatcher.config.load import STANDARD
from tests.cli.operated import Call, caller, cluster_file, our_app, served
from tests.edge.queue_server import certificates
from tests.web.fakes import TOKEN

ELSEWHERE = "http://elsewhere:9006"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(our_app()) as found:
        yield found


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return caller(capsys, monkeypatch)


# -------------------------------------------------------------------------------------------------------------- looked up


def test_all_of_the_file_are_asked(tmp_path: Path) -> None:
    """Every entry of InternalURLs is a dispatcher; an address that is only listened on becomes one that can be called."""
    file = cluster_file(tmp_path, "http://one:9006/", '"http://[::]:9006"', "http://0.0.0.0:9007", "https://two")
    place = find(Wanted(config_path=str(file)), {})
    assert place.urls == ("http://one:9006", "http://[::1]:9006", "http://127.0.0.1:9007", "https://two:443")
    assert place.token == TOKEN


def test_without_an_entry_the_default_port_of_this_host_is_asked(tmp_path: Path) -> None:
    """Where the dispatcher listens then."""
    assert find(Wanted(config_path=str(cluster_file(tmp_path))), {}).urls == ("http://127.0.0.1:9006",)


def test_options_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    """The file is not even read when nothing is missing."""
    file = str(cluster_file(tmp_path, "http://file:1"))
    environment = {URL_VARIABLE: "http://one:2 http://two:2", TOKEN_VARIABLE: "of-the-environment"}
    assert find(Wanted(config_path=file), environment).urls == ("http://one:2", "http://two:2")
    assert find(Wanted(config_path=file, urls=("http://option:3",)), environment).urls == ("http://option:3",)
    found = find(Wanted(config_path="/nonesuch", urls=("http://option:3",)), environment)
    assert found.token == "of-the-environment"
    assert find(Wanted(config_path=file), {}).token == TOKEN


def test_a_token_comes_from_a_file(tmp_path: Path) -> None:
    """Blanks at its end do not count."""
    (tmp_path / "token").write_text("of-a-file\n")
    assert find(Wanted(urls=(ELSEWHERE,), token_file=str(tmp_path / "token")), {TOKEN_VARIABLE: "other"}).token == "of-a-file"


def test_the_token_stands_in_no_text() -> None:
    """Not even in a repr."""
    assert "marked" not in repr(find(Wanted(urls=(ELSEWHERE,)), {TOKEN_VARIABLE: "marked-secret"}))


def test_no_option_takes_a_token(call: Call) -> None:
    """Everybody on the host could read it there."""
    assert "--token " not in call("instance", "list", "--help").out
    assert call("instance", "list", "--token", "x").status == USAGE


MISSING = [
    ({}, "http://file:1", "", NOT_ALLOWED, f"no token: set {TOKEN_VARIABLE}"),
    ({TOKEN_VARIABLE: "two words"}, "http://file:1", TOKEN, USAGE, "the token holds blanks"),
    ({}, "http://ada:secret@file:1", TOKEN, USAGE, "must not hold a user or password"),
    ({}, "ftp://file:1", TOKEN, USAGE, "https:// or http://"),
]


@pytest.mark.parametrize(("environment", "entry", "token", "status", "words"), MISSING)
def test_what_is_missing_is_said(
    environment: dict[str, str], entry: str, token: str, status: int, words: str, tmp_path: Path
) -> None:
    """With its mend, and without repeating a password."""
    with pytest.raises(Ended, match=words) as ended:
        find(Wanted(config_path=str(cluster_file(tmp_path, entry, token=token))), environment)
    assert ended.value.exit_code == status
    assert "secret" not in str(ended.value)


def test_a_file_that_is_not_there() -> None:
    """A workstation without the cluster's file is told how to do without it."""
    with pytest.raises(Ended, match=rf"/nonesuch: cannot be read.*.*{TOKEN_VARIABLE} or --token-file, and {URL_VARIABLE}"):
        find(Wanted(config_path="/nonesuch"), {})
    with pytest.raises(Ended, match=rf"set {TOKEN_VARIABLE} or --token-file$"):
        find(Wanted(config_path="/nonesuch", urls=(ELSEWHERE,)), {})


NO_PLACES = ["host:9006", "http://host/path", "http://ada:secret@host", "unix:relative", "http://", "http://h:port", ""]


@pytest.mark.parametrize("text", NO_PLACES)
def test_a_place_that_is_none(text: str) -> None:
    """The forms that are understood are named; a password is not repeated."""
    with pytest.raises(Ended, match=r"http://host:9006") as ended:
        checked(text)
    assert ended.value.exit_code == USAGE
    assert "secret" not in str(ended.value)


def test_the_demo_of_this_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who plays need not name its file; the cluster's file of the host goes before it."""
    if any(map(os.path.exists, STANDARD)):
        pytest.skip("this host has a cluster's file")
    (tmp_path / ".demo").mkdir()
    cluster_file(tmp_path / ".demo", "http://127.0.0.1:20001")
    (tmp_path / ".demo/settings.yml").write_text("APICertificateFile: /authority.pem\n")
    monkeypatch.chdir(tmp_path)
    place = find(Wanted(), {})
    assert (place.urls, place.ca_file) == (("http://127.0.0.1:20001",), "/authority.pem")


def test_nothing_else_of_the_file_is_judged(tmp_path: Path) -> None:
    """A workstation has neither the keys nor the runner of the service."""
    part = load_management_part(cluster_file(tmp_path, "http://one:9006"))
    assert (part.problems, part.urls, part.insecure) == ((), ("http://one:9006",), False)


# ----------------------------------------------------------------------------------------------------------------- reached


def test_a_socket_of_this_host(tmp_path: Path, call: Call) -> None:
    """As a proxy may offer it."""
    with served(our_app(), f"unix://{tmp_path}/s") as url:
        assert call("instance", "list", "--url", url).out.startswith("vm1\t")
    gone = call("instance", "list", "--url", url)
    assert (gone.status, f"no answer from unix:{tmp_path}/s" in gone.err) == (UNREACHABLE, True)


def test_an_address_of_ipv6(call: Call) -> None:
    """In brackets, as in every URL."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this host has no IPv6")
    with served(our_app(), "::1") as url:
        assert call("instance", "list", "--url", url).status == 0


def test_https_is_believed_by_the_named_authority_alone(tmp_path: Path, call: Call) -> None:
    """A certificate that nobody vouches for gets no token, and the mend is named."""
    made = certificates(tmp_path, "127.0.0.1")
    with served(our_app(), context=made.context) as url:
        assert call("instance", "list", "--url", url, "--ca-file", str(made.authority)).status == 0
        refused = call("instance", "list", "--url", url)
    assert refused.status == UNREACHABLE
    assert "TLS with https://127.0.0.1" in refused.err
    unreadable = call("instance", "list", "--url", url, "--ca-file", "/nonesuch.pem")
    assert (unreadable.status, "/nonesuch.pem: cannot be read" in unreadable.err) == (UNREACHABLE, True)


def test_nobody_listens(call: Call) -> None:
    """What to look at is said."""
    refused = call("instance", "list", "--url", "http://127.0.0.1:1")
    assert refused.status == UNREACHABLE
    assert "Connection refused; does it run here (systemctl status cloud-dispatcher)" in refused.err


def test_somebody_listens_and_says_nothing(call: Call) -> None:
    """A request has an end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refused = call("instance", "list", "--timeout", "0.3", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert refused.status == UNREACHABLE
    assert "no complete answer" in refused.err


def test_a_token_that_is_not_accepted(url: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown nowhere."""
    monkeypatch.setenv(TOKEN_VARIABLE, "marked-wrong-token")
    refused = call("instance", "list", "--url", url)
    assert refused.status == NOT_ALLOWED
    assert f"{url} does not accept the token: HTTP 403: Forbidden; it has to be the ManagementToken" in refused.err
    assert "marked" not in refused.out + refused.err


def test_a_dispatcher_that_stands_by_is_no_trouble(url: str, call: Call) -> None:
    """Arvados's does not even listen while another one acts."""
    assert call("instance", "list", "--url", "http://127.0.0.1:1", "--url", url).out.count("\n") == 3


def test_the_token_may_come_by_standard_input() -> None:
    """From a password store, say."""
    assert find(Wanted(urls=(ELSEWHERE,), token_file="-"), {}, io.StringIO("piped\nmore\n")).token == "piped"
