"""``setup``: what it writes, what it keeps, and what it says is missing. Below a folder that stands for the file system."""

from __future__ import annotations

import re
import stat

import pytest
from click.testing import CliRunner

from dispatcher.cli import main
from dispatcher.config import load
from tests.cli.test_check_config import real_key
from tests.config.configuration import CLUSTER, KEY, without

OWN = "etc/cloud-dispatcher"


@pytest.fixture
def root(tmp_path):
    """A host on which the package was just installed."""
    return tmp_path


def setup(root, *options):
    return CliRunner().invoke(main, ["setup", "--root", str(root), *options])


def mode(path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_local_needs_nothing_else(root):
    """Afterwards the configuration can be used, and the next commands are said."""
    result = setup(root, "--local")
    assert result.exit_code == 0, result.output
    assert "cloud-dispatcher-queue.service cloud-dispatcher.socket cloud-dispatcher.service" in result.output
    loaded = load(root / OWN / "config.yml", root / OWN / "settings.yml", credentials=str(root / OWN / "credentials"))
    assert loaded.problems == ()
    assert loaded.config.driver.name == "local"
    assert loaded.config.api.token == (root / "var/lib/cloud-dispatcher/queue/root.token").read_text()
    assert loaded.config.logs.audit_file == str(root / "var/log/cloud-dispatcher/audit.jsonl")


def test_secrets_are_roots_alone(root):
    """Neither the configuration nor what is printed holds one."""
    said = setup(root, "--local").output
    folder = root / OWN / "credentials"
    assert mode(folder) == "0o700"
    for file in folder.iterdir():
        assert mode(file) == "0o600"
        secret = file.read_text().strip()
        assert secret not in said
        assert secret not in (root / OWN / "config.yml").read_text()


def test_what_is_there_is_kept(root):
    """A second run changes nothing, whatever was changed by hand."""
    setup(root, "--local")
    (root / OWN / "settings.yml").write_text("StatusInterval: 1m\n")
    before = {path: path.read_text() for path in (root / OWN).rglob("*") if path.is_file()}
    result = setup(root, "--local")
    assert result.exit_code == 0, result.output
    assert "daemon-reload" not in result.output
    assert {path: path.read_text() for path in (root / OWN).rglob("*") if path.is_file()} == before


def test_without_a_cluster_a_commented_configuration_is_written(root):
    """What is still missing is said, with the place for the token; a key was made."""
    result = setup(root, "--cluster-id", "abcde", "--api", "https://api.example.net/", "--driver", "stub")
    assert result.exit_code == 1
    assert re.search(r"missing: .*SystemRootToken: is missing.*put it into \S+/credentials/SystemRootToken", result.output)
    assert "InstanceTypes: is empty" in result.output
    assert "OPENSSH PRIVATE KEY" in (root / OWN / "credentials/Containers.DispatchPrivateKey").read_text()
    text = (root / OWN / "config.yml").read_text()
    assert "  abcde:" in text
    assert "ExternalURL: https://api.example.net/" in text


def test_every_key_of_our_own_is_explained(root):
    """As comments with their defaults: a file of comments alone is a good file."""
    setup(root)
    text = (root / OWN / "settings.yml").read_text()
    assert "\n# MaxPricePerHour: 0\n" in text
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == [
        f"AuditLog: {root}/var/log/cloud-dispatcher/audit.jsonl"
    ]


@pytest.fixture
def with_cluster(root):
    """A host of a cluster, whose API is not there."""
    (root / "etc/arvados").mkdir(parents=True)
    text = CLUSTER.replace("here.example.org:9006", "127.0.0.1:9106").replace("https://api.example.org:8443/", "http://127.0.0.1:1/")
    (root / "etc/arvados/config.yml").write_text(text.replace(KEY, real_key()).replace("Driver: stub", "Driver: local"))
    return root


def test_the_clusters_file_is_used_and_left_alone(with_cluster):
    """No other is written beside it; systemd is told to listen where the cluster looks for this host."""
    before = (with_cluster / "etc/arvados/config.yml").read_text()
    result = setup(with_cluster)
    assert (with_cluster / "etc/arvados/config.yml").read_text() == before
    assert not (with_cluster / OWN / "config.yml").exists()
    assert list((with_cluster / OWN / "credentials").iterdir()) == []
    assert result.exit_code == 1


def test_what_the_world_says_is_told(with_cluster):
    """A cloud that cannot list and an API that does not answer are both missing, each with its key."""
    config = with_cluster / "etc/arvados/config.yml"
    folder = f"DriverParameters: {{Folder: {with_cluster}/instances}}"
    config.write_text(config.read_text().replace("# more", folder))
    (with_cluster / "instances").write_text("no folder")
    result = setup(with_cluster)
    assert "missing: Services.Controller.ExternalURL: http://127.0.0.1:1 does not answer as an API should" in result.output
    assert "missing: Containers.CloudVMs.DriverParameters: driver local cannot list instances" in result.output
    unit = with_cluster / "etc/systemd/system/cloud-dispatcher.socket.d/setup.conf"
    assert "ListenStream=\nListenStream=127.0.0.1:9106\n" in unit.read_text()


def test_a_cluster_without_a_key_gets_one(with_cluster):
    """As a credential: the cluster's file is not ours to write."""
    config = with_cluster / "etc/arvados/config.yml"
    config.write_text(without("DispatchPrivateKey", config.read_text()))
    setup(with_cluster)
    assert (with_cluster / OWN / "credentials/Containers.DispatchPrivateKey").exists()
