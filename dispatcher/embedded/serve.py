"""The embedded queue as a process of its own: ``python -m dispatcher.embedded.serve --data DIR``.

One process per data folder, held by a lock that the system gives back however the process ends. ``DIR/queue.json`` says where it
listens; after a kill the next start takes the same port again if it is free, so that clients find it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from . import accounts, events, tls, tokens
from .act import Settings
from .app import create_app
from .errors import ApiError
from .server import Listeners, Server
from .store import Store

LOCK_FILE = "queue.lock"
PORTS = range(20000, 30000)  # below those that the system gives to outgoing connections
LAST_PORT_PATIENCE_S = 5.0


class FolderInUse(RuntimeError):
    """Another queue serves this data folder."""


def serve(
    data_folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    with_tls: bool = True,
    settings: Settings | None = None,
    listens: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT. ``port`` 0 is the port of the last time if it is free, else any free one. ``listens`` is
    called when the port is open.

    Raises FolderInUse when another process serves the same folder, OSError when a given port is taken.
    """
    settings = settings or Settings()
    data_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _FolderLock(data_folder):
        store = Store(data_folder / accounts.DATABASE_FILE)
        try:
            _run(_server(data_folder, store, host, port, with_tls, settings), data_folder, settings, listens)
        finally:
            store.close()


def _server(folder: Path, store: Store, host: str, port: int, with_tls: bool, settings: Settings) -> Server:
    root_token = accounts.root_token(folder)
    accounts.ensure_users(store, folder, settings)
    context = tls.server_context(*tls.ensure_certificate(folder, host)) if with_tls else None
    app = create_app(store, settings, root_token)
    listeners = Listeners(announcer=store.announcer, may_hear=partial(_sees_everything, store, settings, root_token))
    if port:
        return Server((host, port), app, context, listeners)
    return _on_a_free_port(lambda number: Server((host, number), app, context, listeners), _last_port(folder))


def _sees_everything(store: Store, settings: Settings, root_token: str, token: str) -> bool:
    try:
        with store.read() as transaction:
            return tokens.authenticate(transaction, settings, root_token, token).is_admin
    except ApiError:
        return False


def _on_a_free_port(listen: Callable[[int], Server], last: int) -> Server:
    """On the port of the last time, since clients wait for it there; else on one that no outgoing connection is given."""
    deadline = time.monotonic() + LAST_PORT_PATIENCE_S
    while last:
        try:
            return listen(last)
        except OSError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    for number in random.sample(PORTS, 50):
        with contextlib.suppress(OSError):
            return listen(number)
    return listen(0)


def _last_port(folder: Path) -> int:
    try:
        return int(json.loads((folder / accounts.READY_FILE).read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _run(server: Server, folder: Path, settings: Settings, listens: Callable[[], None]) -> None:
    """Answer until a signal; the file that says where is written when the port listens."""

    def stop(*_: Any) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    ready = _description(server, folder, settings)
    tls.write_secret(folder / accounts.READY_FILE, json.dumps(ready, indent=1).encode())
    logging.getLogger(__name__).info("the queue listens at %s", ready["url"])
    listens()
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        server.server_close()
        if server.listeners is not None:
            server.listeners.announcer.close()


def _description(server: Server, folder: Path, settings: Settings) -> dict[str, Any]:
    host = f"[{server.server_name}]" if ":" in server.server_name else server.server_name
    scheme = "https" if server.context else "http"
    return {
        "url": f"{scheme}://{host}:{server.server_port}",
        "events_url": f"{scheme.replace('http', 'ws')}://{host}:{server.server_port}{events.PATH}",
        "host": f"{host}:{server.server_port}",
        "port": server.server_port,
        "pid": os.getpid(),
        "cluster_id": settings.cluster_id,
        "certificate": str((folder / "certificate.pem").resolve()) if server.context else None,
        "root_token_file": str((folder / accounts.ROOT_FILE).resolve()),
    }


class _FolderLock:
    """Holds the folder for this process; the lock ends with the process, whatever ends it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE

    def __enter__(self) -> None:
        self._file = self._path.open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise FolderInUse(
                f"another queue serves {self._path.parent}: stop it, or give another folder with --data"
            ) from None

    def __exit__(self, *_: object) -> None:
        self._file.close()


def main(arguments: list[str] | None = None, listens: Callable[[], None] = lambda: None) -> int:
    """Serve the embedded queue from a data folder. Returns the exit status. ``listens`` is called when it can be asked."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.embedded.serve", description="Serve the embedded queue.")
    parser.add_argument("--data", type=Path, required=True, help="the folder of everything that the queue keeps")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: this host only)")
    parser.add_argument("--port", type=int, default=0, help="default: the port of the last time, else any free one")
    parser.add_argument("--plain-http", action="store_true", help="no TLS")
    parser.add_argument("--cluster-id", default="zzzzz", help="five letters or digits")
    parser.add_argument("--max-retry-attempts", type=int, default=3, help="containers tried for each request")
    parser.add_argument("--max-dispatch-attempts", type=int, default=10, help="locks before a container is cancelled")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings(
        cluster_id=options.cluster_id,
        max_retry_attempts=options.max_retry_attempts,
        max_dispatch_attempts=options.max_dispatch_attempts,
    )
    try:
        with_tls = not options.plain_http
        serve(options.data, host=options.host, port=options.port, with_tls=with_tls, settings=settings, listens=listens)
    except (FolderInUse, OSError) as error:
        logging.getLogger(__name__).error("the queue did not start: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
