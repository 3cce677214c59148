"""An application served from a thread of this process, for demos and tests. It stands alone because its server takes a while to
load, and a running service has another.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class Unlogged(WSGIRequestHandler):
    """Its own lines would show tokens that stand in addresses."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return


@contextlib.contextmanager
def serve_in_thread(app: Any, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve an application from a thread of this process, for demos and tests; gives its URL."""
    server: BaseWSGIServer = make_server(host, port, app, threaded=True, request_handler=Unlogged)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="web", daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5.0)
        server.server_close()
