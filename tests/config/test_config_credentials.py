"""Secrets in files of their own: which count, where they are shown to come from, and what is wrong with one."""

from __future__ import annotations

import pytest

from dispatcher.config import known_secrets, load
from dispatcher.config.credentials import HANDED_OVER, find_credentials
from tests.config.configuration import CLUSTER, HERE, KEY, TOKEN, place_of, without


def read_with(folder, files, cluster=CLUSTER):
    """The configuration of a service to which systemd handed these files over."""
    handed = folder / "handed"
    handed.mkdir()
    for name, text in files.items():
        (handed / f"{HANDED_OVER}{name}").write_text(text, encoding="utf-8")
    (folder / "config.yml").write_text(cluster, encoding="utf-8")
    (folder / "settings.yml").write_text("", encoding="utf-8")
    environment = {"CREDENTIALS_DIRECTORY": str(handed)}
    return load(folder / "config.yml", folder / "settings.yml", machine=HERE, environment=environment)


def test_a_credential_wins_over_the_file(tmp_path):
    """A site may leave the old token in the file, or none: the service uses what it was handed."""
    loaded = read_with(tmp_path, {"SystemRootToken": "handedroottoken\n", "ManagementToken": "handedmanagement"})
    assert loaded.problems == ()
    assert (loaded.config.api.token, loaded.config.management_token) == ("handedroottoken", "handedmanagement")
    assert TOKEN not in known_secrets(loaded.config)
    assert "handedroottoken" in known_secrets(loaded.config)


@pytest.mark.parametrize(
    ("key", "text", "value_of"),
    [
        ("PostgreSQL.Connection.password", "handedpassword", lambda config: config.postgresql.parameters["password"]),
        ("Containers.CloudVMs.DriverParameters.Secret", "handedsecret", lambda config: config.driver.parameters["Secret"]),
        ("Containers.DispatchPrivateKey", KEY.replace("\\n", "\n"), lambda config: config.access.private_key),
    ],
)
def test_a_credential_may_stand_anywhere_below(tmp_path, key, text, value_of):
    """Also where the file has nothing: mappings on the way are made. What has several lines stays as it is."""
    cluster = without("DispatchPrivateKey", CLUSTER)
    whole = read_with(tmp_path, {"Containers.DispatchPrivateKey": KEY.replace("\\n", "\n"), key: text}, cluster)
    assert whole.problems == ()
    assert value_of(whole.config) == text


def test_values_are_shown_with_the_file_that_they_come_from(tmp_path):
    """Whoever looks for the token in force is sent to the right file, and is not shown the token."""
    loaded = read_with(tmp_path, {"SystemRootToken": "handedroottoken"})
    shown = next(each for each in loaded.in_force if each.path == "SystemRootToken")
    assert shown.shown == "set"
    assert str(shown.origin) == f"{tmp_path}/handed/cloud-dispatcher_SystemRootToken"
    other = next(each for each in loaded.in_force if each.path == "ManagementToken")
    assert str(other.origin) == f"{tmp_path}/config.yml:{place_of(CLUSTER, 'ManagementToken')}"


def test_what_is_wrong_with_a_credential_names_its_file(tmp_path):
    """A token with a blank in it, and a key that is none."""
    loaded = read_with(tmp_path, {"SystemRootToken": "two words", "Containers.DispatchPrivateKey": "no key"})
    files = {problem.path.rpartition(".")[2]: problem.file for problem in loaded.problems}
    assert files == {
        "SystemRootToken": f"{tmp_path}/handed/cloud-dispatcher_SystemRootToken",
        "DispatchPrivateKey": f"{tmp_path}/handed/cloud-dispatcher_Containers.DispatchPrivateKey",
    }
    assert loaded.problem_at("Containers.DispatchPrivateKey", "no").file.endswith("Containers.DispatchPrivateKey")


@pytest.mark.parametrize("name", ["SystemRootTokn", "PostgreSQL.Connection", "Containers.CloudVMs.Driver", "SystemRootToken.x"])
def test_a_name_that_is_no_place_of_a_secret_is_told(tmp_path, name):
    """A misspelt file must not be passed over: the service would run with another secret than its owner thinks."""
    (problem,) = read_with(tmp_path, {name: "x"}).problems
    assert problem.file.endswith(name)
    assert "is not named as a key that may hold a secret: SystemRootToken, " in problem.text


def test_leftovers_of_editors_do_not_count(tmp_path):
    """Backup copies and hidden files are nobody's key."""
    assert read_with(tmp_path, {"SystemRootToken~": "x"}).problems == ()


def test_other_credentials_of_the_service_are_not_ours(tmp_path):
    """A driver may be handed files by names of its own."""
    (tmp_path / "azure").write_text("x")
    assert find_credentials({"CREDENTIALS_DIRECTORY": str(tmp_path)}).texts == {}


def test_roots_commands_read_the_originals(tmp_path):
    """Outside of the service the files are named by the key alone."""
    (tmp_path / "ManagementToken").write_text("handedmanagement\n")
    found = find_credentials({}, str(tmp_path))
    assert found.texts == {"ManagementToken": "handedmanagement"}
    assert "handedmanagement" not in repr(found)


def test_without_the_folder_there_are_none(tmp_path):
    """It comes with the Debian package; a command that was handed its own file does not look."""
    assert find_credentials({}, str(tmp_path / "none")) == find_credentials({}, "") == find_credentials({}, str(tmp_path))


def test_a_folder_that_is_closed_to_us_is_a_warning(tmp_path):
    """A user's check-config tells that it does not see everything. (A file in its place cannot be listed by root either.)"""
    (tmp_path / "credentials").write_text("")
    (problem,) = find_credentials({}, str(tmp_path / "credentials")).problems
    assert "cannot be read by user" in problem.text
    assert problem.severity == "warning"
