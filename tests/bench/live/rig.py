"""The surroundings as one process: ``python -m tests.bench.live.rig [PROGRAM]``. Queue, cloud and control over HTTP on one port;
SSH is served by threads of this process, or by a program of ``light``.

Its first line of output says where it listens. Times are of the monotonic clock, which all processes of a host share.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from dispatcher.embedded.events import PATH, Announcer, event
from tests.bench.live.light import serve_light
from tests.bench.live.machines import Cloud, Serve, serve_here
from tests.bench.live.queue import TOKEN_UUID, Queue, Record, Refused

CONTAINERS = "/arvados/v1/containers"


class Rig:
    def __init__(self, serve: Serve) -> None:
        self.queue = Queue(self._told)
        self.cloud = Cloud(self.queue, serve)
        self.api_delay_s = 0.0
        self.announcer = Announcer()

    def _told(self, kind: str, record: Record) -> None:
        self.announcer.announce(event(kind, "container", record["uuid"], record["state"]))

    def answer(self, method: str, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path.startswith("/rig/"):
            return 200, self._control(path.removeprefix("/rig/"), asked)
        self.queue.requests += 1
        if self.api_delay_s:
            time.sleep(self.api_delay_s)
        try:
            return self._api(method, path, asked)
        except Refused as error:
            return 422, {"errors": [str(error)]}

    def _api(self, method: str, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path.endswith("/api_client_authorizations/current"):
            return 200, {"uuid": TOKEN_UUID}
        if path == CONTAINERS:
            return 200, self.queue.list(asked)
        uuid, _, verb = path.removeprefix(f"{CONTAINERS}/").partition("/")
        if uuid not in self.queue.records:
            return 404, {"errors": ["not found"]}
        if method == "GET":
            return 200, dict(self.queue.records[uuid], runtime_status={})
        return 200, self.queue.write(uuid, verb, json.loads(asked.get("container", "{}")))

    def _control(self, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        cloud, queue = self.cloud, self.queue
        if verb == "knobs":
            self.api_delay_s = asked.get("api_delay_s", self.api_delay_s)
            cloud.boot_s = asked.get("boot_s", cloud.boot_s)
            cloud.create_s = asked.get("create_s", cloud.create_s)
            return {}
        if verb == "submit":
            return {"uuids": queue.submit(**asked)}
        if verb == "seen":
            probed = {each.id: each.probed for each in cloud.machines.values()}
            return {"queue": queue.seen, "cloud": cloud.seen, "probed": probed, "requests": queue.requests}
        if verb == "count":
            return {"count": sum(1 for _, what, _ in [*queue.seen, *cloud.seen] if what == asked["what"])}
        if verb == "probes":
            return cloud.probes(asked["since_s"])
        if verb == "create":
            return cloud.create(asked)
        if verb == "list":
            return cloud.list()
        return cloud.destroy(asked["id"]) if verb == "destroy" else cloud.tag(asked["id"], asked["tags"])


def handler(rig: Rig) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            if self.path.startswith(PATH):
                self.close_connection = True
                rig.announcer.serve(self.connection, self.headers["Sec-WebSocket-Key"], self.connection.sendall)
                return
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("GET" if self.headers.get("X-Http-Method-Override") == "GET" else "POST")

        def do_PUT(self) -> None:
            self._answer("PUT")

        def _answer(self, method: str) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if parts.path.startswith("/rig/"):
                asked = json.loads(body or b"{}")
            else:
                asked = dict(parse_qsl(body.decode() or parts.query))
            status, answer = rig.answer(method, parts.path, asked)
            said = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            self.wfile.flush()

        def log_message(self, format: str, *arguments: Any) -> None:
            return

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    sys.setswitchinterval(0.001)
    rig = Rig(serve_light(sys.argv[1]) if sys.argv[1:] else serve_here())
    server = Server(("127.0.0.1", 0), handler(rig))
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # until whoever started it is gone


if __name__ == "__main__":
    main()
