"""What a reload takes over, and what it leaves to the next start and names."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest

from dispatcher.config import Config, reloaded
from dispatcher.config.keys import KEYS, Key
from dispatcher.config.reload import place
from dispatcher.config.values import STRUCTURE
from tests.config.configuration import CLUSTER, KEY, TOKEN, read, with_line


def config(folder: Path, cluster: str = CLUSTER, own: str = "") -> Config:
    found = read(folder, cluster, own).config
    assert found is not None
    return found


def test_a_key_that_planners_take_comes_into_force(tmp_path: Path) -> None:
    """And nothing has to wait for a start."""
    now, waiting = reloaded(config(tmp_path), config(tmp_path, with_line("TimeoutIdle", "7s")))
    assert now.settings.timeout_idle_s == 7.0
    assert waiting == ()


def test_the_same_files_change_nothing(tmp_path: Path) -> None:
    """SIGHUP without a change."""
    running = config(tmp_path)
    now, waiting = reloaded(running, config(tmp_path))
    assert now.settings == running.settings
    assert waiting == ()


WAITING = [
    (CLUSTER.replace(TOKEN, "v2/zzzzz-gj3su-000000000000000/another"), "", ["SystemRootToken"]),
    (CLUSTER.replace("markedmanagementtoken", "another"), "", ["ManagementToken"]),
    (CLUSTER.replace("api.example.org", "elsewhere.example.org"), "", ["Services.Controller.ExternalURL"]),
    (CLUSTER.replace("here.example.org:9006", "here.example.org:9007"), "", ["Services.DispatchCloud.InternalURLs"]),
    (CLUSTER.replace("markeddatabasepassword", "another"), "", ["PostgreSQL.Connection"]),
    (CLUSTER.replace(KEY, KEY.replace("bWFya2Vk", "YW5vdGhl")), "", ["Containers.DispatchPrivateKey"]),
    (CLUSTER.replace("Driver: stub", "Driver: local"), "", ["Containers.CloudVMs.Driver"]),
    (with_line("DriverParameters", "{Kind: true}"), "", ["Containers.CloudVMs.DriverParameters"]),
    (with_line("TagKeyPrefix", "Other"), "", ["Containers.CloudVMs.TagKeyPrefix"]),
    (with_line("BootProbeCommand", "uptime"), "", ["Containers.CloudVMs.BootProbeCommand"]),
    (with_line("SSHPort", "2222") + "# TimeoutIdle is as before\n", "", ["Containers.CloudVMs.SSHPort"]),
    (CLUSTER, "TimeoutSSHStart: 5s\nTimeoutAPIRequest: 5s\n", ["TimeoutAPIRequest", "TimeoutSSHStart"]),
]


@pytest.mark.parametrize(("cluster", "own", "named"), WAITING, ids=lambda value: str(value)[:60])
def test_a_change_that_needs_a_start_is_named_and_kept_out(tmp_path: Path, cluster: str, own: str, named: list[str]) -> None:
    """Nobody may plan by a new token, prefix or deadline while calls are made with the old one."""
    running = config(tmp_path)
    now, waiting = reloaded(running, config(tmp_path, cluster, own))
    assert list(waiting) == named
    assert now == running


def test_no_secret_is_in_what_is_said(tmp_path: Path) -> None:
    """Keys are named, never their values."""
    _, waiting = reloaded(config(tmp_path), config(tmp_path, CLUSTER.replace("marked", "other")))
    assert waiting
    assert not any("other" in path or "marked" in path for path in waiting)


def test_the_next_reload_is_compared_with_what_is_in_force(tmp_path: Path) -> None:
    """A change that waits for the start is named again each time; one that was taken over is not undone."""
    running = config(tmp_path)
    cluster = with_line("TimeoutIdle", "7s", with_line("TagKeyPrefix", "Other"))
    now, _ = reloaded(running, config(tmp_path, cluster))
    again, waiting = reloaded(now, config(tmp_path, cluster))
    assert (again.settings.timeout_idle_s, again.settings.tag_prefix) == (7.0, "Arvados")
    assert waiting == ("Containers.CloudVMs.TagKeyPrefix",)


@pytest.mark.parametrize("key", [key for key in KEYS if not key.reload], ids=lambda key: key.path)
def test_every_key_that_needs_a_start_is_watched(key: Key, tmp_path: Path) -> None:
    """Each has its place in the Config, so that no change of it goes unnoticed."""
    if not key.target and key.kind is not STRUCTURE:
        return  # of no effect
    assert place(key)
    attrgetter(place(key))(config(tmp_path))


@pytest.mark.parametrize("key", [key for key in KEYS if key.reload and key.kind is not STRUCTURE], ids=lambda key: key.path)
def test_every_key_that_needs_none_is_one_of_planners(key: Key) -> None:
    """Only the Settings are taken over; what else is there would be ignored without a word."""
    assert key.target.startswith(("settings.", "types."))


def test_what_follows_from_the_token_is_kept_with_it(tmp_path: Path) -> None:
    """The set of our instances is named after the token: with another one, none of them would be ours."""
    fresh = config(tmp_path)
    fresh = replace(fresh, settings=replace(fresh.settings, instance_set_id="another", cluster_id="other"))
    now, _ = reloaded(config(tmp_path), fresh)
    assert (now.settings.instance_set_id, now.settings.cluster_id) == (config(tmp_path).settings.instance_set_id, "zzzzz")
