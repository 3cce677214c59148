"""``submit`` without a running demo: where it looks for a queue, and what it refuses."""

from __future__ import annotations

import pytest

from dispatcher.cli.queue_client import NoQueue, cluster_queue, work
from tests.cli.demo_world import command


def test_no_demo_runs(tmp_path):
    """The mend is named."""
    done = command("submit", "--data", str(tmp_path), "--", "true")
    assert done.returncode == 1
    assert f"no queue has been started in {tmp_path}/queue; start one with: cloud-dispatcher demo --stay" in done.stderr


def test_a_cluster_that_does_not_answer(tmp_path):
    """ARVADOS_API_HOST is used when it is set; the token is shown nowhere."""
    token = "v2/zzzzz-gj3su-000000000000000/marked-secret-token"
    done = command("submit", "true", ARVADOS_API_HOST="127.0.0.1:1", ARVADOS_API_TOKEN=token)
    assert done.returncode == 1
    assert "no answer from https://127.0.0.1:1: Connection refused" in done.stderr
    assert "marked-secret-token" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "ARVADOS_API_HOST and ARVADOS_API_TOKEN not set"),
        ({"ARVADOS_API_HOST": "x"}, "ARVADOS_API_TOKEN not set"),
    ],
)
def test_a_cluster_that_is_not_named(environment, words):
    """Both variables are needed."""
    with pytest.raises(NoQueue, match=words):
        cluster_queue(environment)


def test_a_size_that_is_none(tmp_path):
    """Sizes are written as in the cluster's configuration."""
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue/queue.json").write_text('{"url": "http://127.0.0.1:1", "certificate": null}')
    (tmp_path / "queue/user.token").write_text("token")
    done = command("submit", "--data", str(tmp_path), "--ram", "much", "--", "true")
    assert done.returncode == 2
    assert "Invalid value for --ram: 'much'" in done.stderr


def test_what_is_asked_for():
    """Never the container of an equal request: whoever asks twice wants two."""
    asked = work(["sort", "-n"], name="sort", vcpus=2, ram_bytes=1 << 30, priority=7, image="none", tries=1)
    assert asked["runtime_constraints"] == {"vcpus": 2, "ram": 1 << 30}
    assert (asked["use_existing"], asked["container_count_max"], asked["priority"]) == (False, 1, 7)
    assert asked["output_path"] in asked["mounts"]
