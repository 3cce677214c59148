"""Dispatchers on loopback for the commands of operators: ours over a view that is a value, and one that answers like Arvados's.

The facts of Arvados's answers stand in one table here, as its release 3.2.1 was seen to give them.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

from dispatcher.cli import main
from dispatcher.cli.operate.place import TOKEN_VARIABLE, URL_VARIABLE
from dispatcher.core.model import ContainerState, IdleBehavior, State
from dispatcher.web.app import make_app
from tests.web.fakes import TOKEN, FakeHealth, FakeView
from tests.web.test_reading import container, instance, process, state, uuid

HUGE_PRIORITY = 1_100_000_000_000_000_007  # priorities reach that; a float could not hold it

STATE = state(
    instance(1),
    instance(2, type="big", processes={uuid(3): process(3)}),
    instance(3, idle_behavior=IdleBehavior.HOLD),
    container(3, state=ContainerState.RUNNING, instance="name-2"),
    container(4, priority=HUGE_PRIORITY),
    container(5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call of the command line ended."""

    status: int
    out: str
    err: str


Call = Callable[..., Ended]


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A dispatcher of ours and a command line that asks it."""

    view: FakeView
    call: Call


def caller(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str = "", token: str = TOKEN) -> Call:
    """Calls the command line in this process, with an environment that names a dispatcher and nothing else."""
    for name in ("NO_COLOR", "ARVADOS_CONFIG", "CLOUD_DISPATCHER_TOKEN_FILE", URL_VARIABLE, TOKEN_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    if url:
        monkeypatch.setenv(URL_VARIABLE, url)
    if token:
        monkeypatch.setenv(TOKEN_VARIABLE, token)

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments, prog_name="cloud-dispatcher")
        told = capsys.readouterr()
        return Ended(status=int(ended.value.code or 0), out=told.out, err=told.err)

    return call


@contextmanager
def served(app: Flask, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The application on a port, or ``unix://`` and a path; its address as ``--url`` takes it."""
    server = make_server(host, 0, app, threaded=True, ssl_context=context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        if host.startswith("unix://"):
            yield "unix:" + host.removeprefix("unix://")
        else:
            shown = f"[{host}]" if ":" in host else host
            yield f"{'https' if context else 'http'}://{shown}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def our_app(view: FakeView | None = None) -> Flask:
    return make_app(view or our_view(), TOKEN)


def our_view(given: State = STATE, *, ready: bool = True, problem: str = "", warnings: tuple[str, ...] = ()) -> FakeView:
    return FakeView(state=given, judged=FakeHealth(ready=ready, problem=problem, warnings=warnings), waiting=dict(WAITING))


WAITING = {
    uuid(4): "waiting at position 1: MaxInstances (4) is reached",
    uuid(5): "waiting at position 2: MaxInstances (4) is reached",
}

# ---------------------------------------------------------------------------------------------------------------- Arvados's

INSTANCES = [
    {
        "instance": f"vm0000{number}", "address": f"127.0.0.1:4595{number}", "price": 0.1, "arvados_instance_type": "type1",
        "provider_instance_type": "p1", "last_container_uuid": container_uuid, "last_busy": "2026-11-21T18:44:45.276108117Z",
        "worker_state": word, "idle_behavior": behaviour,
    }
    for number, word, behaviour, container_uuid in (
        (1, "idle", "hold", uuid(2)), (2, "running", "run", uuid(3)), (3, "booting", "run", ""), (4, "shutdown", "run", uuid(1)),
    )
]  # fmt: skip

CONTAINERS = [
    {
        "container": {"uuid": uuid(number), "state": word, "priority": 500, "created_at": "2026-11-21T18:44:37Z"},
        "instance_types": [{"ProviderType": "p1", "VCPUs": 2, "RAM": 4294967296, "Price": 0.1}],
        "first_seen_at": "2026-11-21T18:44:37.269735107Z", "scheduling_status": status,
    }
    for number, word, status in (
        (3, "Running", ""),
        (4, "Locked", "Waiting in queue at position 1.  Cluster is at cloud account limits and cannot start any new instances."),
        (5, "Queued", "Waiting in queue at position 2.  Cluster is at cloud account limits and cannot start any new instances."),
    )
]  # fmt: skip


@dataclass
class ArvadosDispatcher:
    """Takes one instance at a time, knows no preview, and ignores whatever it does not know. ``acts``: what it did."""

    instances: list[dict[str, Any]] | None = field(default_factory=lambda: [dict(each) for each in INSTANCES])
    acts: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def app(self) -> Flask:
        made = Flask("arvados", static_folder=None)
        api = "/arvados/v1/dispatch"

        @made.before_request
        def check() -> Response | None:
            sent = request.headers.get("Authorization", "")
            told = {"": ("Unauthorized\n", 401), f"Bearer {TOKEN}": None}.get(sent, ("Forbidden\n", 403))
            return None if told is None else Response(*told, mimetype="text/plain")

        made.add_url_rule("/_health/ping", "health", lambda: jsonify(health="OK"))
        made.add_url_rule(f"{api}/instances", "instances", lambda: jsonify(items=self.instances))
        made.add_url_rule(f"{api}/containers", "containers", lambda: jsonify(items=CONTAINERS))

        @made.get(f"{api}/container")
        def one() -> tuple[Response, int]:
            found = [each for each in CONTAINERS if each["container"]["uuid"] == request.args.get("container_uuid")]
            return (jsonify(found[0]), 200) if found else (jsonify(errors=["container not found"]), 404)

        @made.post(f"{api}/<any(instances, containers):kind>/<any(hold, drain, run, kill):act>")
        def acted(kind: str, act: str) -> Response:
            self.acts.append((f"{kind}/{act}", request.values.to_dict()))
            known = {each["instance"] for each in self.instances or ()} | {uuid(3)}
            wanted = request.values.get("instance_id") or request.values.get("container_uuid")
            if wanted in known:
                return Response("", 200)
            return Response('{"errors":["requested instance does not exist"]}\n', 404, mimetype="application/json")

        made.register_error_handler(404, lambda error: Response("404 page not found\n", 404, mimetype="text/plain"))
        return made


def cluster_file(folder: Path, *urls: str, token: str = TOKEN) -> Path:
    """A cluster's file with what a client needs and not much else."""
    lines = "".join(f"          {url}: {{}}\n" for url in urls)
    path = folder / "config.yml"
    path.write_text(
        f"Clusters:\n  zzzzz:\n    ManagementToken: {token!r}\n    Services:\n      DispatchCloud:\n        InternalURLs:\n"
        + (lines or "          {}\n"),
        encoding="utf-8",
    )
    return path
