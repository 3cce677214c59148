"""The discovery document, by itself and as the real Arvados client for Python reads it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatcher.embedded import discovery
from dispatcher.embedded.act import Settings
from dispatcher.embedded.actions import ACTIONS
from dispatcher.embedded.resources import RESOURCES
from tests.embedded.live import LiveQueue

CLIENT = "arvados-python-client==3.2.1"
VARIABLE = "ARVADOS_CLIENT_PYTHON"
ROOT = Path(__file__).resolve().parents[2]
OWN_VENV = ROOT / ".venv-arvados"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return discovery.document("https://127.0.0.1:1/", Settings())


def test_every_action_is_described_and_nothing_else(document: dict[str, Any]) -> None:
    """The document is made of the table of actions."""
    described = {(name, method) for name, each in document["resources"].items() for method in each["methods"]}
    assert described == {(resource, action.rpartition(" ")[2]) for resource, action in ACTIONS}


def test_every_shown_attribute_is_described(document: dict[str, Any]) -> None:
    """And no hidden one."""
    for resource in RESOURCES.values():
        assert set(document["schemas"][resource.model]["properties"]) == {"etag", *resource.visible()}


def test_a_path_with_a_uuid_says_so(document: dict[str, Any]) -> None:
    """Every placeholder of a path is a required parameter."""
    for each in document["resources"].values():
        for method in each["methods"].values():
            assert ("{uuid}" in method["path"]) == ("uuid" in method["parameters"]), method["id"]


def test_the_document_needs_no_token(live: LiveQueue) -> None:
    """Clients read it before anything else, also with a bad token."""
    connection = live.connection()
    connection.request("GET", discovery.PATH, headers={"Authorization": "Bearer nonsense"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == 200
    assert answer["baseUrl"] == f"{live.description['url']}/arvados/v1/"


def client_python() -> str | None:
    """An interpreter that has the real client: the one that is named, one of its own folder, or this one."""
    named = os.environ.get(VARIABLE) or (str(OWN_VENV / "bin" / "python") if OWN_VENV.exists() else None)
    return named or (sys.executable if importlib.util.find_spec("arvados") else None)


@pytest.mark.slow
def test_the_real_python_client_works_with_it(live: LiveQueue, tmp_path: Path) -> None:
    """A whole life of a container, through the client that users have."""
    python = client_python()
    if python is None:
        assert os.environ.get("CI") != "true", "in CI nothing is skipped: make .venv-arvados/.ready"
        pytest.skip(f"no {CLIENT}: python3 -m venv {OWN_VENV.name} && {OWN_VENV.name}/bin/pip install {CLIENT}")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "ARVADOS_API_HOST": live.description["host"],
        "ARVADOS_API_TOKEN": live.root_token,
        "ARVADOS_API_HOST_INSECURE": "true",
    }
    script = Path(__file__).with_name("python_client.py")
    run = subprocess.run([python, str(script)], capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == {
        "state": "Final",
        "exit_code": 0,
        "cost": 0.25,
        "refused": "cannot lock when Locked",
        "missing": 404,
        "keyset": 3,
        "user": "zzzzz-tpzed-000000000000000",
        "token": "zzzzz-gj3su-000000000000000",
    }
