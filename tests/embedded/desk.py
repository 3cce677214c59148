"""A queue in this process, without a server, and somebody who calls it under several names.

``root`` and ``other`` are two tokens of administrators, ``user`` and ``stranger`` ordinary users, ``idle`` an inactive one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dispatcher.embedded import accounts
from dispatcher.embedded.act import Settings
from dispatcher.embedded.app import create_app
from dispatcher.embedded.store import Store

ROOT_SECRET = "rootsecret"
PEOPLE = {"other": (True, True), "user": (False, True), "stranger": (False, True), "idle": (False, False)}
WORK: dict[str, Any] = {
    "command": ["true"],
    "container_image": "image",
    "output_path": "/out",
    "mounts": {"/out": {"kind": "tmp", "capacity": 1}},
    "runtime_constraints": {"vcpus": 1, "ram": 1},
    "priority": 1,
    "state": "Committed",
    "use_existing": False,
}


class Desk:
    """Calls the queue. Answers are (status, body)."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self.store = Store(folder / "queue.sqlite")
        accounts.ensure_users(self.store, folder, settings)
        self.tokens = {"root": ROOT_SECRET, "nobody": ""}
        for name, (is_admin, is_active) in PEOPLE.items():
            path = accounts.add_user(self.store, folder, settings, name, is_admin=is_admin, is_active=is_active)
            self.tokens[name] = path.read_text()
        self._client = create_app(self.store, settings, ROOT_SECRET).test_client()

    def call(self, who: str, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
        token = self.tokens[who]
        response = self._client.open(
            f"/arvados/v1/{path}",
            method=method,
            query_string=texts,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            json=body,
        )
        return response.status_code, json.loads(response.get_data(as_text=True) or "null")

    def done(self, who: str, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer of a call that has to succeed."""
        status, answer = self.call(who, method, path, body, **query)
        assert status == 200, answer
        return answer

    def refused(self, who: str, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, str]:
        """Status and reasons of a call that has to be refused."""
        status, answer = self.call(who, method, path, body, **query)
        assert status != 200, answer
        return status, "; ".join(answer["errors"])

    def ask(self, who: str = "user", **more: Any) -> Any:
        """A new container request."""
        return self.done(who, "POST", "container_requests", {"container_request": {**WORK, **more}})

    def container(self, uuid: str) -> Any:
        return self.done("root", "GET", f"containers/{uuid}")

    def request(self, uuid: str) -> Any:
        return self.done("root", "GET", f"container_requests/{uuid}")

    def put(self, uuid: str, who: str = "root", **changes: Any) -> Any:
        """Change a container."""
        return self.done(who, "PUT", f"containers/{uuid}", {"container": changes})

    def lock(self, uuid: str, who: str = "root") -> Any:
        return self.done(who, "POST", f"containers/{uuid}/lock")

    def bring(self, uuid: str, state: str) -> None:
        """Move a Queued container, by legal steps, to a state."""
        steps = {"Queued": [], "Locked": ["Locked"], "Running": ["Locked", "Running"], "Cancelled": ["Cancelled"]}
        for step in steps.get(state, ["Locked", "Running", "Complete"]):
            self.put(uuid, state=step)

    def inside(self, uuid: str) -> str:
        """The name of the container's own token, from now on."""
        auth = self.done("root", "GET", f"containers/{uuid}/auth")
        self.tokens[uuid] = f"v2/{auth['uuid']}/{auth['api_token']}/{uuid}"
        return uuid

    def close(self) -> None:
        self.store.close()
